"""The venue's decisions: lists, caps, refusals, cancels, errors, at explicit times."""

import json
from typing import Any

import pytest

from bridge.simulator import DEFAULT_TOKEN, SimulatorConfig, Switches
from bridge.simulator.venue import Outcome, Venue


class Desk:
    """One session at a venue, and requests a minute apart so that pacing stays out of the way."""

    def __init__(self, path: str = "/quote-stock-b-ws-api", codes: Any = None, **switches: object) -> None:
        self.switches = Switches()
        self.switches.update(**switches)
        self.venue = Venue(SimulatorConfig(plan="free", codes=codes), self.switches)
        session = self.venue.sessions.admit(f"{path}?token={DEFAULT_TOKEN}", 0).session
        assert session is not None
        self.session = session
        self.now = 0.0

    def ask(self, cmd_id: int, data: Any, **envelope: Any) -> Outcome:
        self.now += 60
        message = {"cmd_id": cmd_id, "seq_id": 9, "trace": "t", "data": data, **envelope}
        return self.venue.receive(self.session, json.dumps(message), self.now)

    def subscribe(self, *codes: str) -> int:
        return self.ask(22004, {"symbol_list": [{"code": code} for code in codes]}).ret

    def depth(self, *codes: str) -> int:
        return self.ask(22002, {"symbol_list": [{"code": code, "depth_level": 5} for code in codes]}).ret


def answer(outcome: Outcome) -> dict[str, Any]:
    assert outcome.answer is not None
    answer: dict[str, Any] = json.loads(outcome.answer)
    return answer


def test_a_new_list_replaces_the_whole_old_one() -> None:
    desk = Desk()
    assert [desk.subscribe("700.HK", "AAPL.US"), desk.subscribe("TSLA.US")] == [200, 200]
    assert desk.session.ticks == ("TSLA.US",)


def test_an_acknowledgement_names_no_codes() -> None:
    outcome = Desk().ask(22004, {"symbol_list": [{"code": "700.HK"}]})
    assert answer(outcome) == {"ret": 200, "msg": "ok", "cmd_id": 22005, "seq_id": 9, "trace": "t", "data": {}}


def test_tick_and_depth_lists_are_independent() -> None:
    desk = Desk()
    desk.subscribe("700.HK")
    assert desk.depth("AAPL.US", "TSLA.US") == 200
    assert (desk.session.ticks, desk.session.depth) == (("700.HK",), ("AAPL.US", "TSLA.US"))


@pytest.mark.parametrize(
    ("kind", "ticks", "depth"),
    [(0, (), ()), (1, ("700.HK",), ()), (2, (), ("AAPL.US",)), (3, ("700.HK",), ("AAPL.US",))],
)
def test_a_cancel_ends_the_kinds_it_names(kind: int, ticks: tuple[str, ...], depth: tuple[str, ...]) -> None:
    desk = Desk()
    desk.subscribe("700.HK")
    desk.depth("AAPL.US")
    outcome = desk.ask(22006, {"cancel_type": kind})
    assert (outcome.ret, answer(outcome)["cmd_id"]) == (200, 22007)
    assert (desk.session.ticks, desk.session.depth) == (ticks, depth)


@pytest.mark.parametrize("data", [{}, {"cancel_type": "2"}, {"cancel_type": 4}, {"cancel_type": True}])
def test_a_malformed_cancel_is_answered_400_and_ends_nothing(data: dict[str, Any]) -> None:
    desk = Desk()
    desk.subscribe("700.HK")
    assert desk.ask(22006, data).ret == 400
    assert desk.session.ticks == ("700.HK",)


def test_a_heartbeat_is_answered_22001() -> None:
    outcome = Desk().ask(22000, {})
    assert (outcome.ret, answer(outcome)["cmd_id"]) == (200, 22001)


def test_a_malformed_list_is_answered_400_and_changes_nothing() -> None:
    desk = Desk()
    desk.subscribe("700.HK")
    assert desk.ask(22004, {"symbol_list": ["AAPL.US"]}).ret == 400
    assert desk.session.ticks == ("700.HK",)


@pytest.mark.parametrize("code", ["00700.HK", "700.hk", "BTCUSDT", "nonsense"])
def test_codes_that_do_not_exist_on_the_endpoint_are_answered_600(code: str) -> None:
    assert Desk().subscribe("AAPL.US", code) == 600


def test_a_stock_code_on_the_other_endpoint_is_answered_600() -> None:
    desk = Desk("/quote-b-ws-api")
    assert [desk.subscribe("700.HK"), desk.subscribe("BTCUSDT")] == [600, 200]


def test_switches_name_unknown_and_unauthorised_codes() -> None:
    desk = Desk(unknown=["AAPL.US"], unauthorised=["TSLA.US"], strange=["NVDA.US"])
    asked = ("AAPL.US", "TSLA.US", "NVDA.US", "700.HK")
    assert [desk.subscribe(code) for code in asked] == [600, 604, 400, 200]


def test_a_closed_universe_refuses_other_codes() -> None:
    desk = Desk(codes=("700.HK",))
    assert [desk.subscribe("700.HK"), desk.subscribe("AAPL.US")] == [200, 600]


@pytest.mark.parametrize(
    ("refused", "skip_answer", "ret", "ticks"),
    [
        ("keep", "ack", 600, ("700.HK",)),
        ("clear", "ack", 600, ()),
        ("skip", "ack", 200, ("AAPL.US",)),
        ("skip", "error", 600, ("AAPL.US",)),
    ],
)
def test_a_refused_list_does_to_the_old_one_what_the_switch_says(
    refused: str, skip_answer: str, ret: int, ticks: tuple[str, ...]
) -> None:
    desk = Desk(refused=refused, skip_answer=skip_answer)
    desk.subscribe("700.HK")
    assert desk.subscribe("AAPL.US", "00005.HK") == ret
    assert desk.session.ticks == ticks


SIX = ("1.HK", "2.HK", "3.HK", "4.HK", "5.HK", "6.HK")


@pytest.mark.parametrize(
    ("over_cap", "refused", "ret", "ticks"),
    [
        ("ignored", "keep", 200, SIX[:5]),
        ("603", "keep", 603, ("700.HK",)),
        ("603", "clear", 603, ()),
        ("603", "skip", 200, SIX[:5]),
    ],
)
def test_codes_above_the_plan_s_cap_are_left_out_or_refused(
    over_cap: str, refused: str, ret: int, ticks: tuple[str, ...]
) -> None:
    desk = Desk(over_cap=over_cap, refused=refused)
    desk.subscribe("700.HK")
    assert desk.subscribe(*SIX) == ret
    assert desk.session.ticks == ticks


def test_duplicates_in_a_list_count_once_against_the_cap() -> None:
    desk = Desk(over_cap="603")
    assert desk.subscribe(*SIX[:5], *SIX[:5]) == 200


def test_the_cap_can_be_overridden_and_holds_for_depth_apart() -> None:
    desk = Desk(max_codes=2, over_cap="603")
    assert [desk.subscribe(*SIX[:2]), desk.depth(*SIX[:2]), desk.subscribe(*SIX[:3])] == [200, 200, 603]


@pytest.mark.parametrize(
    ("empty_list", "refused", "ret", "ticks"),
    [
        ("clears", "keep", 200, ()),
        ("400", "keep", 400, ("700.HK",)),
        ("400", "clear", 400, ()),
        ("ignored", "keep", 200, ("700.HK",)),
    ],
)
def test_an_empty_list_does_what_the_switch_says(
    empty_list: str, refused: str, ret: int, ticks: tuple[str, ...]
) -> None:
    desk = Desk(empty_list=empty_list, refused=refused)
    desk.subscribe("700.HK")
    assert desk.subscribe() == ret
    assert desk.session.ticks == ticks


@pytest.mark.parametrize(
    ("switch", "bad_envelope", "unknown_cmd", "bad_code"),
    [("no", False, False, False), ("envelope", True, True, False), ("all", True, True, True)],
)
def test_errors_are_correlated_as_the_switch_says(
    switch: str, bad_envelope: bool, unknown_cmd: bool, bad_code: bool
) -> None:
    desk = Desk(uncorrelated_errors=switch)
    asked = [
        desk.ask(22004, {}, trace="x" * 65),
        desk.ask(22098, {}),
        desk.ask(22004, {"symbol_list": [{"code": "nonsense"}]}),
    ]
    assert [one.ret for one in asked] == [400, 402, 600]
    assert [answer(one)["seq_id"] == 0 for one in asked] == [bad_envelope, unknown_cmd, bad_code]


@pytest.mark.parametrize(("refused", "ticks"), [("keep", ("700.HK",)), ("clear", ()), ("skip", ("700.HK",))])
def test_an_injected_answer_refuses_one_request_and_no_heartbeat(refused: str, ticks: tuple[str, ...]) -> None:
    desk = Desk(refused=refused)
    desk.subscribe("700.HK")
    desk.switches.next_ret = 429
    assert desk.ask(22000, {}).ret == 200
    assert desk.subscribe("AAPL.US") == 429
    assert desk.session.ticks == ticks
    assert desk.subscribe("AAPL.US") == 200


def test_an_injected_answer_can_be_uncorrelated() -> None:
    desk = Desk(next_ret=605, next_ret_uncorrelated=True)
    injected, good = desk.ask(22006, {"cancel_type": 0}), desk.ask(22006, {"cancel_type": 0})
    assert (answer(injected)["cmd_id"], answer(injected)["ret"]) == (0, 605)
    assert answer(good)["cmd_id"] == 22007


def test_answers_can_be_dropped_delayed_or_given_a_wrong_seq_id() -> None:
    desk = Desk(drop_acks=1, ack_delay_s=2.0, wrong_seq_id=True)
    assert desk.ask(22006, {"cancel_type": 0}).answer is None
    late, heartbeat = desk.ask(22006, {"cancel_type": 0}), desk.ask(22000, {})
    assert (late.delay_s, answer(late)["seq_id"]) == (2.0, 1009)
    assert (heartbeat.delay_s, answer(heartbeat)["seq_id"]) == (0.0, 9)


def test_heartbeats_can_go_unanswered_while_requests_are_answered() -> None:
    desk = Desk(heartbeat_mute=True)
    assert desk.ask(22000, {}).answer is None
    assert desk.subscribe("700.HK") == 200


@pytest.mark.parametrize(
    ("pacing", "ret", "hang_up"), [("605", 605, False), ("606", 606, True), ("record", 200, False)]
)
def test_a_request_before_its_time_is_not_carried_out(pacing: str, ret: int, hang_up: bool) -> None:
    desk = Desk(pacing=pacing)
    desk.subscribe("700.HK")
    desk.now -= 59.5
    outcome = desk.ask(22004, {"symbol_list": [{"code": "AAPL.US"}]})
    assert (outcome.ret, outcome.hang_up) == (ret, hang_up)
    assert outcome.violation is not None
    assert desk.session.ticks == (("AAPL.US",) if pacing == "record" else ("700.HK",))


def test_removed_codes_are_late_for_a_while_unless_they_come_back() -> None:
    desk = Desk(late_ticks_s=100)
    desk.subscribe("700.HK", "AAPL.US", "TSLA.US")
    desk.subscribe("700.HK")
    assert desk.session.late == {"AAPL.US": 220.0, "TSLA.US": 220.0}
    desk.subscribe("700.HK", "AAPL.US")
    assert desk.session.late == {"TSLA.US": 220.0}


def test_a_replacement_silences_the_connection_and_a_first_list_does_not() -> None:
    desk = Desk(replacement_gap_s=2.0)
    desk.subscribe("700.HK")
    assert desk.session.silent_until == 0
    desk.subscribe("AAPL.US")
    assert desk.session.silent_until == desk.now + 2
