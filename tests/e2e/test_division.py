"""A control topic that is divided into another number of partitions than before: grown, or made anew."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bridge.control.murmur2 import partition_of
from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

pytestmark = pytest.mark.slow

ALL = tuple(f"{number}.HK" for number in range(1, 25))
HOLD_S = 4.0


def home(symbol: str) -> int:
    return partition_of(symbol.encode(), 2)


#: Who belongs where when there are two partitions.
PARTS = tuple(frozenset(symbol for symbol in ALL if home(symbol) == part) for part in range(2))


def await_lists(venue: Simulator, *lists: frozenset[str], timeout: float = 40.0) -> None:
    """Wait until the venue has just these connections open, each with these codes."""

    def hold(record: Any) -> bool:
        return sorted(sorted(one.codes) for one in record.open_connections) == sorted(sorted(one) for one in lists)

    venue.wait_for(hold, timeout, f"{len(lists)} connections with {[len(one) for one in lists]} codes")


def open_gaps(world: World) -> set[str]:
    """Give the ids of gaps that nobody has closed."""
    newest = {
        gap["id"]: gap for gap in (json.loads(r.value or b"{}") for r in world.cluster.read_all(world.topic("gaps")))
    }
    return {id_ for id_, gap in newest.items() if "to_us" not in gap}


def settings(world: World, venue: Simulator) -> dict[str, str]:
    return world.settings(venue, RECONCILE__REMOVAL_HOLD_S=str(HOLD_S))


def make_topic_anew(world: World, partitions: int) -> None:
    topic = world.topic("subscriptions")
    world.cluster.delete_topic(topic)
    world.cluster.create_topic(topic, partitions, {"cleanup.policy": "compact"})


@pytest.mark.parametrize("bridges", [1, 2])
def test_a_topic_that_grows_under_the_bridge_costs_no_symbol_and_doubles_none(
    world: World, venue: Simulator, make_bridge: MakeBridge, bridges: int
) -> None:
    world.subscribe(*ALL)
    running = [make_bridge(settings(world, venue)) for _ in range(bridges)]
    await_lists(venue, frozenset(ALL))
    running[0].wait_until("told", lambda: {one["state"] for one in world.statuses().values()} == {"waiting"})
    world.cluster.grow_topic(world.topic("subscriptions"), 2)
    await_lists(venue, *PARTS)  # who moved stays, since nothing was said yet where it belongs now
    assert sum(bridge.count("control_topic_divided_anew") for bridge in running) >= 1
    letters = world.cluster.wait_for_records(world.topic("dead_letters"), lambda found: len(found) == len(PARTS[1]))
    assert {dict(letter.headers)["tickbridge-reason"] for letter in letters} == {b"wrong_partition"}
    assert {(letter.key or b"").decode() for letter in letters} == PARTS[1]
    world.subscribe(*ALL, priority=1)
    running[0].wait_until(
        "told", lambda: {one["effective"].get("priority") for one in world.statuses().values()} == {1}, 40
    )
    await_lists(venue, *PARTS)
    for symbol in ALL:
        venue.tick_now(symbol)
    found = world.cluster.wait_for_records(world.topic("ticks"), lambda records: len(records) >= len(ALL))
    assert sorted((tick.key or b"").decode() for tick in found) == sorted(ALL)
    assert {symbol: one["control_partition"] for symbol, one in world.statuses().items()} == {s: home(s) for s in ALL}
    running[0].wait_until("gaps closed", lambda: not open_gaps(world))
    assert {bridge.stop() for bridge in running} == {0}


def test_a_new_topic_with_more_partitions_moves_symbols_and_removes_none(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe(*ALL)
    first = make_bridge(settings(world, venue))
    await_lists(venue, frozenset(ALL))
    first.wait_accepted(*ALL)
    assert first.stop() == 0
    make_topic_anew(world, 2)
    world.subscribe(*ALL)
    second = make_bridge(settings(world, venue))
    await_lists(venue, *PARTS)
    second.wait_accepted(*ALL)
    lists = [
        frozenset(request.codes) for one in venue.record.open_connections for request in venue.requests(22004, one.id)
    ]
    assert sorted(map(sorted, lists)) == sorted(map(sorted, PARTS))  # accepted before: all at once, each in its place
    assert second.count("removals_held") == 0
    second.wait_until("gaps closed", lambda: not open_gaps(world))
    assert second.stop() == 0
    assert world.cluster.read_all(world.topic("dead_letters")) == []


def test_a_new_topic_with_fewer_partitions_is_guarded_as_a_whole_and_leaves_no_status_behind(
    kafka: Any, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world, venue, few = World(kafka, partitions=2), make_venue(), ALL[:4]
    world.subscribe(*ALL)
    first = make_bridge(settings(world, venue))
    await_lists(venue, *PARTS)
    first.wait_accepted(*ALL)
    assert first.stop() == 0
    make_topic_anew(world, 1)
    world.subscribe(*few)
    second = make_bridge(settings(world, venue))
    await_lists(venue, frozenset(ALL))
    assert second.wait_for("removals_held")["symbols"] == 20
    await_lists(venue, frozenset(few))
    second.wait_until("nulled", lambda: world.statuses().keys() == set(few))
    second.wait_until("gaps closed", lambda: not open_gaps(world))
    assert second.stop() == 0
