"""What the status topic and the dead letters say, end to end."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World, newest
from tests.support.kafka import Record
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]


def await_states(world: World, wanted: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Wait until the status topic says just this of just these symbols."""

    def holds(records: list[Record]) -> bool:
        return {symbol: status["state"] for symbol, status in newest(records).items()} == wanted

    return newest(world.cluster.wait_for_records(world.topic("status"), holds, 30))


def test_each_symbol_s_state_and_reason_can_be_read_from_the_topic(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"unknown": {"BAD.US"}})
    world.subscribe("AAPL.US", priority=5)
    world.subscribe("QUIET.US", "BAD.US", "BTCUSDT")
    world.subscribe("OFF.US", enabled=False)
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "QUIET.US", timeout=20)
    venue.tick_now("AAPL.US")
    found = await_states(
        world,
        {"AAPL.US": "live", "QUIET.US": "waiting", "BAD.US": "rejected", "BTCUSDT": "rejected", "OFF.US": "disabled"},
    )
    assert found["BAD.US"]["reason"] == "venue_600"
    assert found["BTCUSDT"]["reason"] == "wrong_endpoint"
    assert found["AAPL.US"]["effective"] == {"priority": 5}
    assert found["AAPL.US"]["bridge"] == world.name
    assert found["AAPL.US"]["control_offset"] == 0
    world.unsubscribe("QUIET.US", "BTCUSDT")
    await_states(world, {"AAPL.US": "live", "BAD.US": "rejected", "OFF.US": "disabled"})
    assert bridge.stop() == 0
    await_states(world, {"AAPL.US": "offline", "BAD.US": "rejected", "OFF.US": "disabled"})


def test_tombstones_that_came_while_nobody_ran_and_leftovers_are_healed(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "GONE.US")
    first = make_bridge(world.settings(venue))
    await_states(world, {"AAPL.US": "waiting", "GONE.US": "waiting"})
    assert first.stop() == 0
    world.unsubscribe("GONE.US")
    theirs = {"v": 1, "bridge": "another", "symbol": "X.US", "state": "live", "since_us": 1, "control_partition": 0}
    world.cluster.produce(world.topic("status"), [("X.US", json.dumps(theirs))])
    second = make_bridge(world.settings(venue))
    await_states(world, {"AAPL.US": "waiting", "X.US": "live"})
    late = {**theirs, "bridge": world.name, "symbol": "AAPL.US", "state": "offline", "instance": "zombie"}
    ((_, offset),) = world.cluster.produce(world.topic("status"), [("AAPL.US", json.dumps(late))])
    records = world.cluster.wait_for_records(
        world.topic("status"), lambda found: any(r.offset > offset and r.key == b"AAPL.US" for r in found), 20
    )
    assert newest(records)["AAPL.US"]["state"] == "waiting"
    assert second.stop() == 0


def test_a_bad_record_is_set_aside_once_and_the_last_good_one_stays_in_force_through_restart_and_compaction(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", code="AAPL.US", priority=3)
    world.subscribe("TSLA.US")
    first = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "TSLA.US", timeout=20)
    bad = b'{"priority": "high"}'
    world.cluster.produce(world.topic("subscriptions"), [("AAPL.US", bad)])
    found = await_states(world, {"AAPL.US": "invalid", "TSLA.US": "waiting"})
    assert found["AAPL.US"]["effective"] == {"code": "AAPL.US", "priority": 3}
    (letter,) = world.cluster.wait_for_records(world.topic("dead_letters"), lambda records: len(records) == 1, 20)
    assert (letter.key, letter.value) == (b"AAPL.US", bad)
    headers = {name: (value or b"").decode() for name, value in letter.headers}
    assert headers["tickbridge-reason"] == found["AAPL.US"]["reason"]
    assert headers["tickbridge-topic"] == world.topic("subscriptions")
    assert headers["tickbridge-partition"] == "0"
    assert headers["tickbridge-offset"] == str(found["AAPL.US"]["control_offset"])
    assert "tickbridge_subscriptions_running_on_old_record 1.0" in first.get("/metrics")[1].decode()
    assert first.stop() == 0
    world.cluster.compact(world.topic("subscriptions"))
    remaining = world.cluster.read_all(world.topic("subscriptions"))
    assert not [record for record in remaining if record.key == b"AAPL.US" and record.value != bad]
    second = make_bridge(world.settings(venue))
    venue.wait_for(lambda record: len(record.connections) == 2, timeout=20)
    venue.wait_until_subscribed("AAPL.US", "TSLA.US", timeout=20)
    found = await_states(world, {"AAPL.US": "invalid", "TSLA.US": "waiting"})
    assert found["AAPL.US"]["effective"] == {"code": "AAPL.US", "priority": 3}
    assert "tickbridge_subscriptions_running_on_old_record 1.0" in second.get("/metrics")[1].decode()
    assert second.stop() == 0
    # Compaction was nudged with a copy of some record, the bad one perhaps: each offset is set aside once.
    letters = [
        dict(record.headers)["tickbridge-offset"] for record in world.cluster.read_all(world.topic("dead_letters"))
    ]
    assert len(letters) == len(set(letters)) <= 2


@pytest.mark.slow
def test_three_thousand_live_symbols_cost_no_status_records_for_a_minute(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    symbols = [f"{number}.HK" for number in range(1, 3001)]
    venue = make_venue(rate=6000)
    world.subscribe(*symbols)
    bridge = make_bridge(world.settings(venue))
    await_states(world, dict.fromkeys(symbols, "live"))
    before = len(world.cluster.read_all(world.topic("status")))
    began = venue.record.heartbeats()[-1].at
    sent = venue.sent_total
    venue.wait_for(lambda record: record.heartbeats()[-1].at > began + 60, timeout=80)
    assert venue.sent_total > sent + 100_000
    assert len(world.cluster.read_all(world.topic("status"))) == before
    assert bridge.stop() == 0
