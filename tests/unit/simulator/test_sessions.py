"""Who may connect and how often it may ask, at explicit times."""

import pytest

from bridge.simulator import DEFAULT_TOKEN, SimulatorConfig, Switches
from bridge.simulator.config import PlanName
from bridge.simulator.sessions import Admission, Session, Sessions

STOCK, OTHER = "/quote-stock-b-ws-api", "/quote-b-ws-api"


class Door:
    """Sessions of one plan, and an upgrade in few words."""

    def __init__(self, plan: PlanName = "professional", **switches: object) -> None:
        self.switches = Switches()
        self.switches.update(**switches)
        self.sessions = Sessions(SimulatorConfig(plan=plan).limits(), self.switches)

    def admit(self, now: float, path: str = STOCK, token: str = DEFAULT_TOKEN) -> Admission:
        return self.sessions.admit(f"{path}?token={token}", now)

    def enter(self, now: float, path: str = STOCK) -> Session:
        session = self.admit(now, path).session
        assert session is not None
        return session

    def asked(self, session: Session, now: float, *, heartbeat: bool = False) -> tuple[str, float, int] | None:
        found = self.sessions.asked(session, now, heartbeat=heartbeat)
        return (found.rule, found.too_early_s, found.answered) if found else None


@pytest.mark.parametrize("path", [f"{STOCK}?token=wrong", STOCK, f"{STOCK}?token=", f"{STOCK}?key={DEFAULT_TOKEN}"])
def test_a_bad_or_missing_token_is_refused_with_401(path: str) -> None:
    assert Door().sessions.admit(path, 0).status == 401


def test_without_a_list_of_tokens_any_but_the_empty_one_will_do() -> None:
    door = Door(tokens=[])
    assert door.admit(0, token="anything").status == 101
    assert door.admit(0, token="").status == 401


def test_a_token_is_percent_decoded() -> None:
    assert Door(tokens=["a+b/c"]).admit(0, token="a%2Bb%2Fc").status == 101


def test_an_unknown_path_is_refused_with_404() -> None:
    assert Door().admit(0, "/ws").status == 404


def test_a_switch_refuses_every_upgrade() -> None:
    assert Door(refuse_upgrades=503).admit(0).status == 503


@pytest.mark.parametrize(("plan", "allowed"), [("free", 1), ("basic", 1), ("premium", 3), ("professional", 10)])
def test_the_plan_bounds_the_connections_of_a_token(plan: PlanName, allowed: int) -> None:
    door = Door(plan)
    for number in range(allowed):
        door.enter(number)
    refused = door.admit(allowed)
    assert (refused.status, [one.rule for one in refused.violations]) == (429, ["connections"])


def test_both_endpoints_at_once_count_as_one_connection() -> None:
    door = Door("free")
    door.enter(0, STOCK)
    assert door.admit(1, OTHER).status == 101
    assert door.admit(2, OTHER).status == 429


def test_tokens_do_not_share_their_connections() -> None:
    door = Door("free", tokens=["a", "b"])
    assert [door.admit(0, token=token).status for token in ("a", "b", "a")] == [101, 101, 429]


def test_surplus_connections_can_be_let_in_and_are_recorded_all_the_same() -> None:
    door = Door("free", refuse_connections=False)
    door.enter(0)
    surplus = door.admit(1)
    assert surplus.session is not None
    assert [(one.rule, one.answered) for one in surplus.violations] == [("connections", 0)]
    assert [one.within_plan for one in surplus.overlaps] == [False]


def test_two_connections_on_one_endpoint_overlap_until_one_closes() -> None:
    door = Door()
    first = door.enter(0)
    admission = door.admit(5)
    (overlap,) = admission.overlaps
    assert (overlap.first, overlap.second, overlap.started_at, overlap.within_plan) == (1, 2, 5, True)
    assert overlap.ended_at is None
    assert door.sessions.close(first, 7) == (overlap,)
    assert overlap.ended_at == 7


def test_connections_on_both_endpoints_do_not_overlap() -> None:
    door = Door()
    door.enter(0, STOCK)
    assert door.admit(1, OTHER).overlaps == ()


@pytest.mark.parametrize(("plan", "interval"), [("free", 10), ("basic", 3), ("professional", 3)])
def test_a_reconnect_before_its_time_is_refused_until_the_interval_is_over(plan: PlanName, interval: float) -> None:
    door = Door(plan)
    door.sessions.close(door.enter(0), 100)
    early = door.admit(100 + interval - 1)
    assert (early.status, early.violations[0].rule, early.violations[0].too_early_s) == (429, "reconnect_interval", 1)
    assert door.admit(100 + interval).status == 101


def test_a_reconnect_of_one_connection_does_not_disturb_another() -> None:
    door = Door()
    first, second = door.enter(0), door.enter(1)
    door.sessions.close(first, 10)
    door.sessions.close(second, 12)
    assert door.admit(13).violations == ()
    assert door.admit(14).violations[0].too_early_s == 1


def test_on_a_plan_of_one_connection_the_last_close_counts() -> None:
    door = Door("basic", refuse_connections=False)
    first, surplus = door.enter(0), door.enter(1)
    door.sessions.close(first, 10)
    door.sessions.close(surplus, 100)
    assert door.admit(101).violations[0].too_early_s == 2


@pytest.mark.parametrize(("pacing", "status", "ret", "answered"), [("606", 101, 606, 606), ("record", 101, 0, 0)])
def test_an_early_reconnect_can_be_told_606_or_only_be_recorded(
    pacing: str, status: int, ret: int, answered: int
) -> None:
    door = Door(pacing=pacing)
    door.sessions.close(door.enter(0), 100)
    early = door.admit(101)
    assert (early.status, early.ret, early.violations[0].answered) == (status, ret, answered)


def test_two_requests_on_a_connection_keep_a_second_apart() -> None:
    door = Door()
    session = door.enter(0)
    assert door.asked(session, 10) is None
    assert door.asked(session, 10.4) == ("request_interval", 0.6, 605)
    assert door.asked(session, 11.4) is None


def test_a_request_that_is_early_by_no_more_than_the_slack_passes() -> None:
    door = Door(pacing_slack_s=0.02)
    session = door.enter(0)
    door.asked(session, 10)
    assert door.asked(session, 10.985) is None
    assert door.asked(session, 11.9) == ("request_interval", 0.085, 605)


def test_requests_on_different_connections_keep_three_seconds_apart() -> None:
    door = Door()
    first, second, other = door.enter(0), door.enter(1), door.enter(2, OTHER)
    assert door.asked(first, 10) is None
    assert door.asked(second, 12) == ("token_interval", 1, 605)
    assert door.asked(other, 15) is None
    door.sessions.close(other, 16)
    assert door.asked(first, 17) == ("token_interval", 1, 605)


def test_heartbeats_are_exempt_from_the_rule_between_connections() -> None:
    door = Door(heartbeats_count="yes")
    first, second = door.enter(0), door.enter(1)
    assert door.asked(first, 10) is None
    assert door.asked(second, 10, heartbeat=True) is None
    assert door.asked(first, 11.5) is None


@pytest.mark.parametrize(
    ("count", "expected"),
    [("no", None), ("record", ("request_interval", 0.5, 0)), ("yes", ("request_interval", 0.5, 605))],
)
def test_a_heartbeat_counts_in_the_one_second_rule_as_the_switch_says(
    count: str, expected: tuple[str, float, int] | None
) -> None:
    door = Door(heartbeats_count=count)
    session = door.enter(0)
    door.asked(session, 10)
    assert door.asked(session, 10.5, heartbeat=True) == expected
    assert door.asked(session, 11, heartbeat=False) == expected


@pytest.mark.parametrize(("pacing", "answered"), [("605", 605), ("606", 606), ("record", 0)])
def test_pacing_is_enforced_as_the_switch_says(pacing: str, answered: int) -> None:
    door = Door(pacing=pacing)
    session = door.enter(0)
    door.asked(session, 10)
    assert door.asked(session, 10.5) == ("request_interval", 0.5, answered)


def test_a_connection_lost_unnoticed_counts_until_it_is_reaped_and_nobody_is_blamed() -> None:
    door = Door("free", reap_delay_s=20)
    door.sessions.close(door.enter(0), 5, unnoticed=True)
    refused = door.admit(24.9)
    assert (refused.status, refused.violations) == (429, ())
    assert door.admit(25).status == 101


def test_a_connection_that_said_good_bye_is_reaped_at_once() -> None:
    door = Door("free", reap_delay_s=60)
    door.sessions.close(door.enter(0), 5)
    assert door.admit(15).status == 101


def test_an_unreaped_connection_keeps_nobody_out_where_the_plan_has_room_or_is_not_enforced() -> None:
    roomy = Door("premium", reap_delay_s=60)
    roomy.sessions.close(roomy.enter(0), 5, unnoticed=True)
    assert roomy.admit(15).status == 101
    lenient = Door("free", reap_delay_s=60, refuse_connections=False)
    lenient.sessions.close(lenient.enter(0), 5, unnoticed=True)
    assert lenient.admit(15).status == 101
