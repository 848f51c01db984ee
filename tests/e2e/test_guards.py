"""What an operator's mistake cannot do: mass removals are held, and a restart remembers what was good and bad."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
ALL = tuple(f"{number}.HK" for number in range(1, 41))
#: Long enough that a test can look around in it, short enough to be waited for.
HOLD_S = 4.0


def removals_held(bridge: BridgeProcess) -> int:
    text = bridge.get("/metrics")[1].decode()
    line = next(line for line in text.splitlines() if line.startswith("tickbridge_removals_held "))
    return round(float(line.split()[1]))


def confirm(world: World, *symbols: str) -> None:
    pairs = [(symbol, None) for symbol in symbols]
    world.cluster.produce(world.topic("subscriptions"), pairs, headers=[("tickbridge-confirm", "true")])


def settled(world: World, venue: Simulator, make_bridge: MakeBridge, symbols: tuple[str, ...] = ALL) -> BridgeProcess:
    """Start a bridge and wait until its symbols were accepted for the length of the hold."""
    bridge = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    venue.wait_until_subscribed(*symbols, timeout=20)
    accepted_at = venue.requests(SUBSCRIBE)[-1].at
    # Its heartbeats tell the time: the hold is over when one comes that long after.
    venue.wait_for(lambda record: record.heartbeats()[-1:] and record.heartbeats()[-1].at > accepted_at + HOLD_S, 15)
    return bridge


def await_subscribed(venue: Simulator, *codes: str, timeout: float = 15.0) -> None:
    """Wait until the venue holds exactly these codes."""
    venue.wait_for(lambda record: record.subscribed == frozenset(codes), timeout, f"{len(codes)} codes")


def statuses(world: World) -> dict[str, dict[str, Any]]:
    """Read the newest status of each symbol."""
    newest = {record.key or b"": record.value for record in world.cluster.read_all(world.topic("status"))}
    return {key.decode(): json.loads(value) for key, value in newest.items() if value is not None}


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
    assert removals_held(bridge) == 30
    rows = {row["symbol"]: row for row in bridge.status()["symbols"]}
    assert [rows[symbol]["reason"] for symbol in (ALL[0], ALL[39])] == ["removal_held", ""]
    await_subscribed(venue, *ALL[30:], "AAPL.US")
    assert removals_held(bridge) == 0
    assert not venue.record.violations
    assert len(venue.record.connections) == 1
    bridge.wait_until("statuses follow", lambda: len(statuses(world)) == (11 if road == "tombstones" else 41))
    assert bridge.stop() == 0


def test_a_confirmed_removal_goes_at_once_and_releases_one_that_is_held(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe(*ALL)
    bridge = settled(world, venue, make_bridge)
    world.unsubscribe(*ALL[:30])
    bridge.wait_for("removals_held")
    confirm(world, *ALL[:5])
    await_subscribed(venue, *ALL[5:], timeout=HOLD_S / 2)
    assert removals_held(bridge) == 25
    confirm(world, *ALL[5:])
    await_subscribed(venue, timeout=HOLD_S / 2)
    assert bridge.stop() == 0


def test_held_symbols_survive_a_reconnect_and_a_restart_of_the_bridge(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe(*ALL)
    bridge = settled(world, venue, make_bridge)
    world.unsubscribe(*ALL[:30])
    bridge.wait_for("removals_held")
    bridge.wait_until("told", lambda: statuses(world).get(ALL[0], {}).get("reason") == "removal_held")
    venue.faults.reset()
    venue.wait_for(lambda record: len(record.connections) == 2 and record.subscribed == frozenset(ALL), 15)
    bridge.process.kill()
    bridge.wait()
    successor = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S)))
    venue.wait_for(lambda record: len(record.connections) == 3 and record.subscribed == frozenset(ALL), 40)
    assert successor.wait_for("removals_held")["symbols"] == 30
    await_subscribed(venue, *ALL[30:])
    assert successor.stop() == 0


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
    first.wait_until("rejected", lambda: statuses(world).get("BAD.US", {}).get("state") == "rejected")
    first.wait_accepted("AAPL.US", "700.HK")
    assert first.stop() == 0
    world.subscribe("NEW.US")
    asked_before = len(venue.requests(SUBSCRIBE))
    second = make_bridge(world.settings(venue))
    await_subscribed(venue, "AAPL.US", "700.HK", "NEW.US")
    asked = [set(request.codes) for request in venue.requests(SUBSCRIBE)[asked_before:]]
    assert asked == [{"AAPL.US", "700.HK"}, {"AAPL.US", "700.HK", "NEW.US"}]
    assert statuses(world)["BAD.US"]["reason"] == "venue_600"
    assert second.stop() == 0


def test_rewriting_note_or_owner_asks_the_venue_nothing(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "700.HK")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "700.HK", timeout=20)
    world.subscribe("AAPL.US", note="rewritten")
    world.subscribe("700.HK", owner="desk-3")
    bridge.wait_until("told", lambda: statuses(world).get("700.HK", {}).get("effective") == {"owner": "desk-3"})
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
    bridge.wait_until("disabled", lambda: statuses(world).get("AAPL.US", {}).get("state") == "disabled")
    world.subscribe("AAPL.US")
    await_subscribed(venue, "AAPL.US", "700.HK")
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
