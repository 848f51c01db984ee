"""Which facts make the bridge dead or unready, and which never do."""

import pytest

from bridge.model import State, SymbolState
from bridge.observe.health import BEAT_MAX_S, Health, alive, ready
from bridge.snapshots import ControlSnapshot, FeedSnapshot, LinkState

NOW = 10_000.0
UP = LinkState(0, session=1, connected=True, settled=True)
OWNER = ControlSnapshot(beat=NOW, member=True, owned=(0,), caught_up=(0,))


def readiness(feed: FeedSnapshot, control: ControlSnapshot = OWNER, now: float = NOW) -> Health:
    return ready(feed, control, now, session_timeout_s=10.0, grace_s=60.0)


def failing(health: Health) -> dict[str, str]:
    return {name: check.detail for name, check in health.checks.items() if not check.ok}


def down(since: float | None, *, settled: bool = True, reason: str = "network") -> FeedSnapshot:
    return FeedSnapshot(beat=NOW, links=(LinkState(0, settled=settled, down_since=since, reason=reason),))


def test_two_turning_loops_are_alive() -> None:
    health = alive(FeedSnapshot(beat=NOW - 1), ControlSnapshot(beat=NOW - BEAT_MAX_S), NOW, started=0)
    assert health.ok
    assert set(health.checks) == {"feed_loop", "control_loop"}


@pytest.mark.parametrize(
    ("feed", "control", "name"),
    [(NOW - 31, NOW, "feed_loop"), (NOW, NOW - 31, "control_loop")],
)
def test_a_loop_that_stands_still_is_not_alive(feed: float, control: float, name: str) -> None:
    health = alive(FeedSnapshot(beat=feed), ControlSnapshot(beat=control), NOW, started=0)
    assert failing(health) == {name: "has not turned for 31 s"}


def test_a_loop_that_has_not_begun_counts_from_the_start() -> None:
    assert alive(FeedSnapshot(), ControlSnapshot(), NOW, started=NOW - 29).ok
    assert not alive(FeedSnapshot(), ControlSnapshot(), NOW, started=NOW - 31).ok


def test_an_outage_of_kafka_or_the_venue_is_no_reason_to_restart() -> None:
    feed = FeedSnapshot(
        beat=NOW,
        links=(LinkState(0, down_since=NOW - 9000, reason="network"),),
        kafka_trouble="all brokers down",
        kafka_trouble_since=NOW - 9000,
    )
    control = ControlSnapshot(beat=NOW, trouble="all brokers down", trouble_since=NOW - 9000)
    assert alive(feed, control, NOW, started=0).ok


def test_an_owner_that_serves_is_ready() -> None:
    health = readiness(FeedSnapshot(links=(UP,)))
    assert health.ok
    assert {name: check.detail for name, check in health.checks.items()} == {
        "group": "owns partition 0",
        "control": "read to the end",
        "upstream": "serves what is asked for",
        "kafka": "reachable",
    }


def test_a_member_with_nothing_assigned_is_a_ready_standby() -> None:
    health = readiness(FeedSnapshot(), ControlSnapshot(member=True))
    assert health.ok
    assert health.checks["group"].detail.startswith("standby")


def test_who_is_no_member_is_not_ready() -> None:
    assert list(failing(readiness(FeedSnapshot(), ControlSnapshot()))) == ["group"]


def test_an_owner_that_lost_its_membership_is_not_ready() -> None:
    control = ControlSnapshot(member=False, owned=(0,), caught_up=(0,))
    assert list(failing(readiness(FeedSnapshot(links=(UP,)), control))) == ["group"]


def test_an_owner_is_not_ready_before_the_control_topic_is_read() -> None:
    control = ControlSnapshot(member=True, owned=(0, 2, 1), caught_up=(1,))
    links = tuple(LinkState(number, connected=True, settled=True) for number in range(3))
    found = failing(readiness(FeedSnapshot(links=links), control))
    assert found == {"control": "partitions 0, 2 not read to the end yet"}


def test_an_owner_without_a_connection_yet_is_not_ready() -> None:
    assert failing(readiness(FeedSnapshot())) == {"upstream": "partition 0: no connection yet"}


def test_an_owner_is_not_ready_before_its_first_request_is_answered() -> None:
    feed = FeedSnapshot(links=(LinkState(0, connected=True, settled=False),))
    assert failing(readiness(feed)) == {"upstream": "partition 0: the first request is not answered yet"}


def test_a_reason_for_being_offline_is_told() -> None:
    found = failing(readiness(down(None, settled=False, reason="dns")))
    assert found == {"upstream": "partition 0: the first request is not answered yet (dns)"}


def test_every_owned_partition_counts() -> None:
    control = ControlSnapshot(member=True, owned=(0, 1), caught_up=(0, 1))
    assert failing(readiness(FeedSnapshot(links=(UP,)), control)) == {"upstream": "partition 1: no connection yet"}


def test_a_partition_that_is_not_owned_does_not_count() -> None:
    leaving = LinkState(1, down_since=NOW - 9000, reason="network")
    assert readiness(FeedSnapshot(links=(UP, leaving))).ok


@pytest.mark.parametrize(("for_s", "ok"), [(0.0, True), (59.9, True), (60.0, False), (600.0, False)])
def test_a_lost_connection_shows_after_the_grace(for_s: float, ok: bool) -> None:
    health = readiness(down(NOW - for_s))
    assert health.ok is ok
    if not ok:
        assert failing(health) == {"upstream": "partition 0: down for more than 60 s (network)"}


def test_an_owner_of_nothing_to_ask_for_is_ready() -> None:
    assert readiness(down(None, reason="")).ok


def test_an_owner_that_cannot_connect_is_not_ready_even_with_nothing_to_ask_for() -> None:
    assert failing(readiness(down(None, reason="dns"))) == {"upstream": "partition 0: never connected (dns)"}


@pytest.mark.parametrize(("for_s", "ok"), [(10.0, True), (10.1, False)])
def test_a_kafka_outage_shows_after_the_session_timeout(for_s: float, ok: bool) -> None:
    reading = ControlSnapshot(
        member=True, owned=(0,), caught_up=(0,), trouble="no coordinator", trouble_since=NOW - for_s
    )
    writing = FeedSnapshot(links=(UP,), kafka_trouble="no broker", kafka_trouble_since=NOW - for_s)
    assert readiness(FeedSnapshot(links=(UP,)), reading).ok is ok
    assert readiness(writing).ok is ok
    if not ok:
        assert failing(readiness(writing, reading)) == {"kafka": "reading: no coordinator; writing: no broker"}


def test_trouble_with_single_symbols_never_makes_it_unready() -> None:
    symbols = tuple(SymbolState(state.value, state.value, state) for state in State)
    assert readiness(FeedSnapshot(links=(UP,), symbols=symbols)).ok


def test_the_answer_does_not_change_while_nothing_does() -> None:
    feed = FeedSnapshot(links=(UP,))
    assert readiness(feed) == readiness(feed, now=NOW + 5)


def test_a_refused_token_makes_it_unready_at_once() -> None:
    health = readiness(down(since=NOW - 1, reason="token"))
    assert failing(health) == {"upstream": "partition 0: the venue does not accept the token"}
