"""What an operator's mistake cannot do: mass removals are held, and a restart remembers what was good and bad."""

import time
from collections.abc import Callable

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.kafka import Cluster, KafkaBroker
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
ALL = tuple(f"{number}.HK" for number in range(1, 41))
#: Long enough that a test can look around in it, short enough to be waited for.
HOLD_S = 4.0
#: What is held for so long is not seen to go unless something releases it.
FOR_LONG_S = 300.0
DISABLED = '{"enabled": false}'


def removals_held(bridge: BridgeProcess) -> int:
    text = bridge.get("/metrics")[1].decode()
    line = next(line for line in text.splitlines() if line.startswith("tickbridge_removals_held "))
    return round(float(line.split()[1]))


def remove(world: World, symbol: str, *, road: int) -> None:
    """Take one of the two roads."""
    world.cluster.produce(world.topic("subscriptions"), [(symbol, None if road % 2 else DISABLED)])


def confirm(world: World, *symbols: str, value: str | None = None) -> None:
    pairs = [(symbol, value) for symbol in symbols]
    world.cluster.produce(world.topic("subscriptions"), pairs, headers=[("tickbridge-confirm", "true")])


def settled(world: World, venue: Simulator, make_bridge: MakeBridge, symbols: tuple[str, ...] = ALL) -> BridgeProcess:
    """Start a bridge and wait until its symbols were accepted for the length of the hold."""
    bridge = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    bridge.wait_accepted(*symbols)
    accepted_at = time.time()
    # Its heartbeats tell the time: the hold is over when one comes that long after.
    venue.wait_for(lambda record: record.heartbeats()[-1:] and record.heartbeats()[-1].at > accepted_at + HOLD_S, 15)
    return bridge


def remembered(world: World, venue: Simulator, make_bridge: MakeBridge, *some: str, **more: str) -> BridgeProcess:
    """Start a bridge to which the status topic says that these symbols, or all, were accepted long ago."""
    symbols = some or ALL
    world.subscribe(*symbols)
    former = make_bridge(world.settings(venue, **more))
    await_applied(former, venue, *symbols)
    assert former.stop() == 0
    successor = make_bridge(world.settings(venue, **{"RECONCILE__REMOVAL_HOLD_S": str(FOR_LONG_S), **more}))
    venue.wait_for(lambda record: len(record.connections) == 2 and len(record.subscribed) == len(symbols), 20)
    await_applied(successor, venue, *symbols)
    return successor


def await_subscribed(venue: Simulator, *codes: str, timeout: float = 15.0) -> None:
    """Wait until the venue holds exactly these codes."""
    venue.wait_for(lambda record: record.subscribed == frozenset(codes), timeout, f"{len(codes)} codes")


def await_applied(bridge: BridgeProcess, venue: Simulator, *codes: str) -> None:
    """Wait until the venue holds exactly these codes and the bridge knows: until then removals may be held."""

    def known() -> bool:
        return [(one["settled"], one["accepted"]) for one in bridge.status()["partitions"]] == [(True, len(codes))]

    await_subscribed(venue, *codes, timeout=20)
    bridge.wait_until(f"{len(codes)} accepted", known)


def await_held(bridge: BridgeProcess, count: int) -> None:
    """Wait until the removal of so many symbols is held."""
    bridge.wait_until(f"{count} held", lambda: removals_held(bridge) == count)


@pytest.mark.parametrize("road", ["tombstones", "disabled"])
def test_removing_more_than_half_is_held_loudly_while_additions_proceed(
    world: World, venue: Simulator, make_bridge: MakeBridge, road: str
) -> None:
    world.subscribe(*ALL)
    bridge = settled(world, venue, make_bridge)
    remove = world.unsubscribe if road == "tombstones" else lambda *some: world.subscribe(*some, enabled=False)
    remove(*ALL[:30])
    held = bridge.wait_for("removals_held")
    assert (held["symbols"], held["level"]) == (30, "warning")
    world.subscribe("AAPL.US")
    await_subscribed(venue, *ALL, "AAPL.US")
    await_held(bridge, 30)
    rows = {row["symbol"]: row for row in bridge.status()["symbols"]}
    assert [rows[symbol]["reason"] for symbol in (ALL[0], ALL[39])] == ["removal_held", ""]
    await_subscribed(venue, *ALL[30:], "AAPL.US")
    await_held(bridge, 0)
    assert not venue.record.violations
    assert len(venue.record.connections) == 1
    bridge.wait_until("statuses follow", lambda: len(world.statuses()) == (11 if road == "tombstones" else 41))
    assert bridge.stop() == 0


@pytest.mark.parametrize(("count", "may_go"), [(19, 19), (20, 10), (21, 10)])
def test_of_at_least_twenty_half_may_go_and_one_more_is_held(
    world: World, venue: Simulator, make_bridge: MakeBridge, count: int, may_go: int
) -> None:
    symbols = ALL[:count]
    bridge = remembered(world, venue, make_bridge, *symbols)
    world.unsubscribe(*symbols[:may_go])
    await_applied(bridge, venue, *symbols[may_go:])
    assert bridge.count("removals_held") == 0
    if may_go < count:
        world.unsubscribe(symbols[may_go])
        held = bridge.wait_for("removals_held")
        assert (held["symbols"], held["among_them"]) == (1, [symbols[may_go]])
        assert venue.record.subscribed == frozenset(symbols[may_go:])
    assert bridge.stop() == 0


def test_a_script_that_removes_one_by_one_by_every_road_is_stopped_at_half_and_what_it_did_stays_done(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = remembered(world, venue, make_bridge)
    for number, symbol in enumerate(ALL[:20], 1):
        remove(world, symbol, road=number)
        await_applied(bridge, venue, *ALL[number:])
    asked = len(venue.requests(SUBSCRIBE))
    for number, symbol in enumerate(ALL[20:30], 21):
        remove(world, symbol, road=number)
    await_held(bridge, 10)
    world.subscribe("AAPL.US")
    await_subscribed(venue, *ALL[20:], "AAPL.US")
    assert [set(one.codes) for one in venue.requests(SUBSCRIBE)[asked:]] == [{*ALL[20:], "AAPL.US"}]
    # Each is released by its own confirmation alone, whichever way it was removed and is confirmed.
    confirm(world, *ALL[20:22])
    confirm(world, *ALL[22:24], value=DISABLED)
    await_subscribed(venue, *ALL[24:], "AAPL.US")
    assert bridge.wait_for("removals_released")["level"] == "info"
    await_held(bridge, 6)
    # One that is asked for again is an ordinary one again, and nobody asks the venue for what it holds.
    asked = len(venue.requests(SUBSCRIBE))
    world.subscribe(*ALL[24:30])
    await_held(bridge, 0)
    assert venue.requests(SUBSCRIBE)[asked:] == []
    assert len(venue.record.connections) == 2
    assert bridge.stop() == 0


def test_without_a_hold_whatever_is_removed_goes_at_once(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = remembered(world, venue, make_bridge, RECONCILE__REMOVAL_HOLD_S="0")
    world.unsubscribe(*ALL)
    await_subscribed(venue)
    assert bridge.stop() == 0
    assert bridge.count("removals_held") == 0


def test_symbols_that_were_never_accepted_neither_count_nor_are_held(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"unknown": {"BAD1.US", "BAD2.US"}})
    accepted, surplus = ALL[:20], ALL[20:30]
    bridge = remembered(world, venue, make_bridge, *accepted, UPSTREAM__MAX_SYMBOLS="20")
    world.subscribe(*surplus, "BAD1.US", "BAD2.US", "LSE:VOD")
    world.subscribe("BAD1.US", "BAD2.US", priority=1)
    world.cluster.produce(world.topic("subscriptions"), [("INVALID.US", "{")])
    bridge.wait_until("refused", lambda: world.statuses().get("BAD2.US", {}).get("reason") == "venue_600")
    bridge.wait_until("no room", lambda: world.statuses().get(surplus[-1], {}).get("state") == "over_cap")
    await_subscribed(venue, *accepted)
    world.unsubscribe(*surplus, "BAD1.US", "BAD2.US", "LSE:VOD", "INVALID.US", *accepted[:10])
    await_subscribed(venue, *accepted[10:])  # 10 of 20, not 24 of 34
    bridge.wait_until("gone", lambda: set(world.statuses()) == set(accepted[10:]))
    assert bridge.count("removals_held") == 0
    assert bridge.stop() == 0


def test_held_symbols_keep_their_room_in_a_full_plan(world: World, venue: Simulator, make_bridge: MakeBridge) -> None:
    bridge = remembered(world, venue, make_bridge, UPSTREAM__MAX_SYMBOLS="40")
    world.unsubscribe(*ALL[:30])
    bridge.wait_for("removals_held")
    world.subscribe("AAPL.US")
    bridge.wait_until("no room", lambda: world.statuses().get("AAPL.US", {}).get("state") == "over_cap")
    assert venue.record.subscribed == frozenset(ALL)
    confirm(world, ALL[0])
    await_subscribed(venue, *ALL[1:], "AAPL.US")
    assert bridge.stop() == 0


def test_a_confirmed_removal_goes_at_once_and_releases_one_that_is_held(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = remembered(world, venue, make_bridge)
    world.unsubscribe(*ALL[:30])
    bridge.wait_for("removals_held")
    confirm(world, *ALL[:5])
    await_subscribed(venue, *ALL[5:])
    await_held(bridge, 25)
    confirm(world, *ALL[5:])
    await_subscribed(venue)
    assert bridge.stop() == 0


def test_held_symbols_survive_a_reconnect_and_a_restart_of_the_bridge(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = remembered(world, venue, make_bridge)
    world.unsubscribe(*ALL[:30])
    bridge.wait_for("removals_held")
    bridge.wait_until("told", lambda: world.statuses().get(ALL[0], {}).get("reason") == "removal_held")
    venue.faults.reset()
    venue.wait_for(lambda record: len(record.connections) == 3 and record.subscribed == frozenset(ALL), 15)
    bridge.process.kill()
    bridge.wait()
    successor = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    venue.wait_for(lambda record: len(record.connections) == 4 and record.subscribed == frozenset(ALL), 40)
    assert successor.wait_for("removals_held")["symbols"] == 30
    await_subscribed(venue, *ALL[30:])
    assert successor.stop() == 0


def test_each_process_holds_anew_and_knows_what_was_confirmed(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    quick = {"GROUP__SESSION_TIMEOUT_S": "3", "RECONCILE__REMOVAL_HOLD_S": str(FOR_LONG_S)}
    bridge = remembered(world, venue, make_bridge, **quick)
    world.unsubscribe(*ALL[:21])
    world.subscribe(*ALL[21:30], enabled=False)
    await_held(bridge, 30)
    for number in (1, 2):
        bridge.process.kill()
        bridge.wait()
        confirm(world, ALL[number], value=DISABLED)  # nobody runs; a tombstone would soon be compacted away here
        bridge = make_bridge(world.settings(venue, **quick))
        left = (ALL[0], *ALL[number + 1 :])
        venue.wait_for(lambda record, left=left: record.subscribed == frozenset(left), 40)  # type: ignore[misc]
        assert bridge.wait_for("removals_held", symbols=30 - number)["level"] == "warning"
        first = venue.requests(SUBSCRIBE, venue.record.connections[-1].id)[0]
        assert set(first.codes) == set(left)
    confirm(world, ALL[0], *ALL[3:30])
    await_subscribed(venue, *ALL[30:])
    assert bridge.stop() == 0


def test_a_standby_that_takes_over_holds_what_the_owner_held(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    quick = {"GROUP__SESSION_TIMEOUT_S": "3"}
    owner = remembered(world, venue, make_bridge, **quick)
    standby = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(FOR_LONG_S), **quick))
    standby.wait_ready()
    world.unsubscribe(*ALL[:30])
    owner.wait_for("removals_held")
    owner.process.kill()
    venue.wait_for(lambda record: len(record.connections) == 3 and record.subscribed == frozenset(ALL), 30)
    assert standby.wait_for("removals_held")["symbols"] == 30
    await_held(standby, 30)
    confirm(world, *ALL[:30])
    await_subscribed(venue, *ALL[30:])
    assert standby.stop() == 0


@pytest.mark.slow
def test_an_owner_that_had_to_let_go_and_owns_again_still_knows_whom_the_venue_accepted_and_refused(
    own_kafka: KafkaBroker, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world, venue = World(own_kafka.cluster), make_venue(switches={"unknown": {"BAD.US"}})
    world.subscribe(*ALL, "BAD.US")
    quick = {"GROUP__SESSION_TIMEOUT_S": "3", "GROUP__LOST_HOLD_S": "0", "RECONCILE__REMOVAL_HOLD_S": str(FOR_LONG_S)}
    bridge = make_bridge(world.settings(venue, **quick))
    bridge.wait_until("refused", lambda: world.statuses().get("BAD.US", {}).get("reason") == "venue_600", 40)
    await_subscribed(venue, *ALL)
    own_kafka.suspend()
    bridge.wait_for("ownership_given_up", 30)
    venue.wait_for(lambda record: not record.open_connections, 10)
    own_kafka.resume()
    venue.wait_for(lambda record: len(record.connections) == 2 and record.subscribed == frozenset(ALL), 40)
    again = venue.record.connections[1].id
    assert [set(request.codes) for request in venue.requests(SUBSCRIBE, again)] == [set(ALL)]
    world.unsubscribe(*ALL[:30])
    assert bridge.wait_for("removals_held")["symbols"] == 30
    assert bridge.stop() == 0


def by_partition(world: World, symbols: tuple[str, ...]) -> tuple[list[str], ...]:
    """Part symbols by the control partition that their records stand in."""
    parts: tuple[list[str], ...] = tuple([] for _ in range(world.partitions))
    for record in world.cluster.read_all(world.topic("subscriptions")):
        if (symbol := (record.key or b"").decode()) in symbols and symbol not in parts[record.partition]:
            parts[record.partition].append(symbol)
    return parts


@pytest.mark.slow
def test_with_two_partitions_each_is_guarded_and_one_that_moves_is_no_removal_and_disturbs_nobody(
    kafka: Cluster, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world, symbols = World(kafka, partitions=2), tuple(f"{number}.HK" for number in range(1, 61))
    venue = make_venue(time_scale=1.0)  # time slots are the venue's seconds
    pace = {"UPSTREAM__REQUEST_INTERVAL_S": "1", "UPSTREAM__HEARTBEAT_S": "10", "UPSTREAM__SILENCE_S": "25"}
    pace |= {"UPSTREAM__RECONNECT_MIN_S": "3", "UPSTREAM__RECONNECT_MAX_S": "30"}
    pace |= {"RECONCILE__REMOVAL_HOLD_S": str(HOLD_S), "GROUP__SESSION_TIMEOUT_S": "6"}
    world.subscribe(*symbols)
    one = make_bridge(world.settings(venue, **pace))
    venue.wait_until_subscribed(*symbols, timeout=40)
    accepted_at = venue.requests(SUBSCRIBE)[-1].at
    two = make_bridge(world.settings(venue, **pace))
    for bridge in (one, two):
        bridge.wait_until("one each", lambda b=bridge: len(b.status()["partitions"]) == 1, 30)  # type: ignore[misc]
    venue.wait_until_subscribed(*symbols, timeout=60)
    stays = one.status()["partitions"][0]["partition"]
    of_one, of_two = by_partition(world, symbols)[:: 1 if stays == 0 else -1]
    assert min(len(of_one), len(of_two)) >= 20
    kept = next(connection for connection in venue.record.open_connections if set(connection.codes) == set(of_one))

    def written() -> int:
        found = world.cluster.read_all(world.topic("status"))
        return sum((record.key or b"").decode() in of_one for record in found)

    one.wait_until("told", lambda: {world.statuses()[symbol]["state"] for symbol in of_one} == {"waiting"})
    before = written()
    two.process.kill()  # its partition arrives at a working owner
    one.wait_until("both", lambda: len(one.status()["partitions"]) == 2, 30)
    venue.wait_until_subscribed(*symbols, timeout=60)
    one.wait_until("told", lambda: {world.statuses()[symbol]["state"] for symbol in of_two} == {"waiting"})
    assert (kept.is_open, len(venue.requests(SUBSCRIBE, kept.id)), written()) == (True, 1, before)
    assert one.count("removals_held") == two.count("removals_held") == 0

    assert venue.requests(SUBSCRIBE)[-1].at > accepted_at + HOLD_S
    world.unsubscribe(*of_one[: len(of_one) // 2 + 1], *of_two[:5])
    held = one.wait_for("removals_held")
    assert (held["partition"], held["symbols"]) == (stays, len(of_one) // 2 + 1)
    await_subscribed(venue, *of_one, *of_two[5:], timeout=20)
    await_subscribed(venue, *of_one[len(of_one) // 2 + 1 :], *of_two[5:], timeout=20)
    assert not venue.record.violations
    assert one.stop() == 0


def test_what_was_removed_while_nobody_ran_is_held_as_well(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe(*ALL)
    first = make_bridge(world.settings(venue))
    first.wait_accepted(*ALL)
    assert first.stop() == 0
    world.unsubscribe(*ALL[:21])
    confirm(world, ALL[39])
    second = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    await_subscribed(venue, *ALL[:39])
    assert second.wait_for("removals_held")["symbols"] == 21
    await_subscribed(venue, *ALL[21:39])
    assert second.stop() == 0


def test_a_topic_made_anew_holds_everything_until_records_come_also_over_a_restart(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe(*ALL)
    bridge = settled(world, venue, make_bridge)
    topic = world.topic("subscriptions")
    world.cluster.delete_topic(topic)
    world.cluster.create_topic(topic, partitions=1, config={"cleanup.policy": "compact"})
    bridge.wait_until("all held", lambda: removals_held(bridge) == 40, 30)
    assert bridge.stop() == 0
    second = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    await_subscribed(venue, *ALL)
    assert second.wait_for("removals_held", topic_made_anew=True)["symbols"] == 40
    world.subscribe("AAPL.US")
    await_subscribed(venue, *ALL, "AAPL.US")
    await_subscribed(venue, "AAPL.US")
    assert second.stop() == 0


def test_of_what_a_topic_made_anew_holds_a_confirmation_releases_its_own_symbol_and_records_the_rest(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = remembered(world, venue, make_bridge)
    topic = world.topic("subscriptions")
    world.cluster.delete_topic(topic)
    bridge.wait_until("missing", lambda: bool(bridge.status()["control"]["trouble"]), 30)
    world.cluster.create_topic(topic, partitions=1, config={"cleanup.policy": "compact"})
    bridge.wait_until("all held", lambda: removals_held(bridge) == 40, 30)
    confirm(world, *ALL[:3])
    await_subscribed(venue, *ALL[3:])
    await_held(bridge, 37)
    asked = len(venue.requests(SUBSCRIBE))
    world.subscribe(*ALL[3:])
    await_held(bridge, 0)
    assert (len(venue.requests(SUBSCRIBE)), len(venue.record.connections)) == (asked, 2)
    assert bridge.stop() == 0


def test_an_emptied_topic_is_a_removal_of_everything(world: World, venue: Simulator, make_bridge: MakeBridge) -> None:
    world.subscribe(*ALL)
    first = make_bridge(world.settings(venue))
    first.wait_accepted(*ALL)
    assert first.stop() == 0
    world.cluster.empty_topic(world.topic("subscriptions"))
    second = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    await_subscribed(venue, *ALL)
    assert second.wait_for("removals_held")["symbols"] == 40
    await_subscribed(venue)
    assert second.stop() == 0


def test_after_a_restart_the_first_request_holds_only_what_was_accepted_and_a_known_reject_is_left_alone(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"unknown": {"BAD.US"}})
    world.subscribe("AAPL.US", "700.HK", "BAD.US")
    first = make_bridge(world.settings(venue))
    first.wait_until("rejected", lambda: world.statuses().get("BAD.US", {}).get("state") == "rejected")
    first.wait_accepted("AAPL.US", "700.HK")
    assert first.stop() == 0
    world.subscribe("NEW.US")
    asked_before = len(venue.requests(SUBSCRIBE))
    second = make_bridge(world.settings(venue))
    await_subscribed(venue, "AAPL.US", "700.HK", "NEW.US")
    asked = [set(request.codes) for request in venue.requests(SUBSCRIBE)[asked_before:]]
    assert asked == [{"AAPL.US", "700.HK"}, {"AAPL.US", "700.HK", "NEW.US"}]
    assert world.statuses()["BAD.US"]["reason"] == "venue_600"
    assert second.stop() == 0


def test_rewriting_note_or_owner_asks_the_venue_nothing(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "700.HK")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "700.HK", timeout=20)
    world.subscribe("AAPL.US", note="rewritten")
    world.subscribe("700.HK", owner="desk-3")
    bridge.wait_until("told", lambda: world.statuses().get("700.HK", {}).get("effective") == {"owner": "desk-3"})
    world.subscribe("MSFT.US")
    await_subscribed(venue, "AAPL.US", "700.HK", "MSFT.US")
    assert [set(r.codes) for r in venue.requests(SUBSCRIBE)] == [
        {"AAPL.US", "700.HK"},
        {"AAPL.US", "700.HK", "MSFT.US"},
    ]
    assert bridge.stop() == 0


def test_enabled_toggled_takes_a_symbol_out_and_brings_it_back_without_a_reconnect(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "700.HK")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "700.HK", timeout=20)
    world.subscribe("AAPL.US", enabled=False)
    await_subscribed(venue, "700.HK")
    bridge.wait_until("disabled", lambda: world.statuses().get("AAPL.US", {}).get("state") == "disabled")
    world.subscribe("AAPL.US")
    await_subscribed(venue, "AAPL.US", "700.HK")
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
