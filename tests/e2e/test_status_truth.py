"""What the status topic says is true at every moment, not only in the end: under faults, mistakes and hand-overs."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # its stubs forget them

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.cluster import Record
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

MANY = tuple(f"{number}.HK" for number in range(1, 31))
SUBSCRIBE = 22004
BAD = b"not JSON"


def history(world: World, symbol: str) -> list[dict[str, Any] | None]:
    """Read everything that was ever said of a symbol."""
    records = world.cluster.read_all(world.topic("status"))
    return [json.loads(one.value) if one.value is not None else None for one in records if one.key == symbol.encode()]


def await_status(world: World, symbol: str, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 30) -> Any:
    """Wait until the newest status of a symbol is such, and give it."""

    def newest(records: list[Record]) -> dict[str, Any] | None:
        mine = [one.value for one in records if one.key == symbol.encode()]
        return json.loads(mine[-1]) if mine and mine[-1] is not None else None

    def told(records: list[Record]) -> bool:
        found = newest(records)
        return found is not None and holds(found)

    return newest(world.cluster.wait_for_records(world.topic("status"), told, timeout_s))


def await_state(world: World, state: str, *symbols: str) -> None:
    for symbol in symbols:
        await_status(world, symbol, lambda status: status["state"] == state)


def bad(world: World, *symbols: str) -> None:
    world.cluster.produce(world.topic("subscriptions"), [(symbol, BAD) for symbol in symbols])


def metric(bridge: BridgeProcess, name: str) -> float:
    lines = bridge.get("/metrics")[1].decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while nobody runs"])
def test_a_removal_that_is_held_is_never_told_as_done(
    world: World, venue: Simulator, make_bridge: MakeBridge, running: bool
) -> None:
    world.subscribe(*MANY)
    settings = world.settings(venue, RECONCILE__REMOVAL_HOLD_S="3")
    bridge = make_bridge(settings)
    await_state(world, "waiting", *MANY)
    if running:
        beat = venue.record.heartbeats()[-1:]
        began = beat[0].at if beat else venue.requests(SUBSCRIBE)[-1].at
        venue.wait_for(lambda record: record.heartbeats()[-1:] and record.heartbeats()[-1].at > began + 4, 15)
    else:
        assert bridge.stop() == 0
    world.unsubscribe(*MANY[:20])
    if not running:
        bridge = make_bridge(settings)
    bridge.wait_for("removals_held")
    of_those = {symbol.encode() for symbol in MANY[:20]}

    def all_held(records: list[Record]) -> bool:
        newest = {one.key: json.loads(one.value or b"{}").get("reason") for one in records if one.key in of_those}
        return set(newest.values()) == {"removal_held"}

    told = world.cluster.wait_for_records(world.topic("status"), all_held)
    assert None not in [one.value for one in told if one.key in of_those]
    bridge.wait_for("removals_applied")
    bridge.wait_until("nulled", lambda: all(history(world, symbol)[-1] is None for symbol in MANY[:20]))
    assert bridge.stop() == 0


@pytest.mark.slow
def test_a_record_that_says_what_is_in_force_says_it_of_the_state_too(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "TSLA.US")
    bridge = make_bridge(world.settings(venue))
    await_state(world, "waiting", "AAPL.US", "TSLA.US")
    for turn in range(4):
        world.subscribe("AAPL.US", enabled=turn % 2 == 1)
        await_status(
            world,
            "AAPL.US",
            lambda status, off=turn % 2 == 0: (status["state"] == "disabled") == off,  # type: ignore[misc]
        )
    assert bridge.stop() == 0


@pytest.mark.slow
def test_what_a_bad_record_runs_on_keeps_its_standing_with_the_venue_through_a_restart(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"unknown": {"BAD.US"}})
    world.subscribe("QUIET.US", "BAD.US", "TSLA.US")
    first = make_bridge(world.settings(venue))
    await_state(world, "waiting", "QUIET.US", "TSLA.US")
    await_state(world, "rejected", "BAD.US")
    bad(world, "QUIET.US", "BAD.US", "NEVER.US")
    quiet = await_status(world, "QUIET.US", lambda status: status["state"] == "invalid" and "effective" in status)
    refused = await_status(world, "BAD.US", lambda status: status["state"] == "invalid" and "effective" in status)
    never = await_status(world, "NEVER.US", lambda status: status["state"] == "invalid")
    assert (quiet["effective_state"], quiet.get("effective_reason")) == ("waiting", None)
    assert (refused["effective_state"], refused["effective_reason"]) == ("rejected", "venue_600")
    assert not {"effective", "effective_state", "effective_reason"} & never.keys()
    first.process.kill()
    first.wait()
    world.subscribe("NEW.US")
    asked = len(venue.requests(SUBSCRIBE))
    second = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("QUIET.US", "TSLA.US", "NEW.US", timeout=40)
    requests = venue.requests(SUBSCRIBE)[asked:]
    assert set(requests[0].codes) == {"QUIET.US", "TSLA.US"}
    assert not [request for request in requests if "BAD.US" in request.codes]

    def crash_told(records: list[Record]) -> bool:
        gaps = [json.loads(one.value or b"") for one in records]
        return {gap["symbol"] for gap in gaps if gap["cause"] == "crash"} >= {"QUIET.US", "TSLA.US"}

    world.cluster.wait_for_records(world.topic("gaps"), crash_told)
    assert second.stop() == 0


@pytest.mark.parametrize("value", [b"rubbish", b"[]", b'{"v":2,"bridge":"{bridge}","symbol":"AAPL.US","state":"live"}'])
def test_rubbish_and_records_of_a_newer_format_over_our_symbols_are_written_over(
    world: World, venue: Simulator, make_bridge: MakeBridge, value: bytes
) -> None:
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue))
    await_state(world, "waiting", "AAPL.US")
    value = value.replace(b"{bridge}", world.name.encode())
    ((_, offset),) = world.cluster.produce(world.topic("status"), [("AAPL.US", value), ("THEIRS.US", value)])[:1]
    records = world.cluster.wait_for_records(
        world.topic("status"), lambda found: any(one.offset > offset and one.key == b"AAPL.US" for one in found)
    )
    assert json.loads(records[-1].value or b"")["state"] == "waiting"
    assert bridge.stop() == 0
    assert history_raw(world, "THEIRS.US") == [value]


def history_raw(world: World, symbol: str) -> list[bytes | None]:
    return [one.value for one in world.cluster.read_all(world.topic("status")) if one.key == symbol.encode()]


@pytest.mark.parametrize("since", [10**30, -(10**30), 2**53])
def test_numbers_beyond_all_measure_in_the_status_topic_stop_nothing(
    world: World, venue: Simulator, make_bridge: MakeBridge, since: int
) -> None:
    theirs = {"v": 1, "bridge": world.name, "symbol": "AAPL.US", "code": "AAPL.US", "state": "rejected"}
    theirs |= {"reason": "venue_600", "since_us": since, "instance": "other", "control_partition": 0}
    world.cluster.produce(world.topic("status"), [("AAPL.US", json.dumps({**theirs, "control_offset": 0}))])
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue))
    await_state(world, "waiting", "AAPL.US")
    assert bridge.stop() == 0


def test_a_status_topic_made_anew_is_told_everything_again(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "TSLA.US")
    bridge = make_bridge(world.settings(venue))
    await_state(world, "waiting", "AAPL.US", "TSLA.US")
    ((_, offset),) = world.cluster.produce(world.topic("status"), [("AAPL.US", b"rubbish")])
    world.cluster.wait_for_records(world.topic("status"), lambda found: found[-1].offset > offset)  # all was heard
    world.cluster.delete_topic(world.topic("status"))
    world.cluster.create_topic(world.topic("status"), 1, {"cleanup.policy": "compact"})
    await_state(world, "waiting", "AAPL.US", "TSLA.US")
    world.subscribe("AAPL.US", note="a change")
    await_status(world, "AAPL.US", lambda status: status["effective"] == {"note": "a change"})
    assert bridge.stop() == 0
    await_state(world, "offline", "AAPL.US", "TSLA.US")


@pytest.mark.slow
def test_a_symbol_that_was_invalid_and_removed_begins_anew_when_it_comes_back(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", priority=5)
    bridge = make_bridge(world.settings(venue))
    await_state(world, "waiting", "AAPL.US")
    bad(world, "AAPL.US")
    await_state(world, "invalid", "AAPL.US")
    assert metric(bridge, "tickbridge_subscriptions_running_on_old_record") == 1
    bad(world, "AAPL.US")
    second = await_status(world, "AAPL.US", lambda status: status["control_offset"] == 2)
    first = history(world, "AAPL.US")[-2]
    assert first is not None
    assert (second["state"], second["since_us"]) == ("invalid", first["since_us"])
    world.unsubscribe("AAPL.US")
    bridge.wait_until("nulled", lambda: history(world, "AAPL.US")[-1] is None)
    assert metric(bridge, "tickbridge_subscriptions_running_on_old_record") == 0
    bad(world, "AAPL.US")
    again = await_status(world, "AAPL.US", lambda status: status["control_offset"] == 4)
    assert (again["state"], "effective" in again) == ("invalid", False)
    world.subscribe("AAPL.US")
    await_state(world, "waiting", "AAPL.US")
    assert bridge.stop() == 0
    assert len(world.cluster.read_all(world.topic("dead_letters"))) == 3


def test_a_status_topic_that_grows_is_read_anew_and_each_status_moves_to_its_new_home(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    symbols = ("AAPL.US", "TSLA.US", "NVDA.US", "700.HK", "5.HK")
    world.subscribe(*symbols)
    extra = json.dumps({"topic.metadata.refresh.interval.ms": "500"})
    bridge = make_bridge(world.settings(venue, KAFKA__EXTRA=extra))
    await_state(world, "waiting", *symbols)
    admin = AdminClient(world.cluster.config())
    admin.create_partitions([NewPartitions(world.topic("status"), 4)])[world.topic("status")].result(25)

    def moved() -> bool:
        world.subscribe(*symbols, note=str(next(notes)))
        newest = {(one.key, one.partition): one.value for one in world.cluster.read_all(world.topic("status"))}
        live = [partition for (_, partition), value in newest.items() if value is not None]
        return len(live) == len(symbols) and len(set(live)) > 1

    notes = count()
    bridge.wait_until("each at home", moved, 40)
    assert bridge.stop() == 0


@pytest.mark.slow
def test_statuses_stand_in_as_many_partitions_as_their_topic_has_and_strays_of_a_former_partitioning_are_cleared(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    name = world.topic("status")
    world.cluster.delete_topic(name)
    world.cluster.create_topic(name, 4, {"cleanup.policy": "compact"})
    world.subscribe("AAPL.US", "TSLA.US", "NVDA.US", "700.HK", "5.HK")
    first = make_bridge(world.settings(venue))
    await_state(world, "waiting", "AAPL.US", "TSLA.US", "NVDA.US", "700.HK", "5.HK")
    assert first.stop() == 0
    homes = {one.key: one.partition for one in world.cluster.read_all(name)}
    assert len(set(homes.values())) > 1
    base = {"v": 1, "bridge": world.name, "state": "live", "since_us": 5, "instance": "old", "effective": {}}
    for symbol in ("AAPL.US", "GONE.US"):
        stray = {**base, "symbol": symbol, "code": symbol, "control_partition": 0, "control_offset": 0}
        home = homes.get(symbol.encode(), 0)
        world.cluster.produce(name, [(symbol, json.dumps(stray))], partition=(home + 1) % 4)
        other = {**stray, "bridge": "another", "symbol": "TSLA.US"}
        world.cluster.produce(name, [("TSLA.US", json.dumps(other))], partition=(homes[b"TSLA.US"] + 1) % 4)
    second = make_bridge(world.settings(venue))
    await_state(world, "waiting", "TSLA.US", "NVDA.US", "700.HK", "5.HK")

    def healed(records: list[Record]) -> bool:
        newest = {(one.key, one.partition): one.value for one in records}
        ours = {place for place, value in newest.items() if value is not None and b'"another"' not in value}
        return ours == set(homes.items())

    world.cluster.wait_for_records(name, healed, 20)
    assert second.stop() == 0
