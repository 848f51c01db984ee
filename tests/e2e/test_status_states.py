"""Each state on the real topic, come by and left again: what a symbol's statuses say, one after the other."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.cluster import Record
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]
Says = tuple[str, str]

#: The market that is always open.
OTHER = "other"


def statuses(world: World, symbol: str, records: list[Record] | None = None) -> list[dict[str, Any]]:
    """Read what was said of a symbol, in order; nulls are empty."""
    found = world.cluster.read_all(world.topic("status")) if records is None else records
    return [json.loads(one.value or b"{}") for one in found if one.key == symbol.encode()]


def says(status: dict[str, Any]) -> Says:
    return status.get("state", ""), status.get("reason", "")


def await_says(world: World, symbol: str, *wanted: str) -> dict[str, Any]:
    """Wait until the newest status of a symbol has this state, and this reason if one is given."""

    def told(records: list[Record]) -> bool:
        mine = statuses(world, symbol, records)
        return bool(mine) and says(mine[-1])[: len(wanted)] == wanted

    return statuses(world, symbol, world.cluster.wait_for_records(world.topic("status"), told, 30))[-1]


def start(world: World, venue: Simulator, make_bridge: MakeBridge, **more: str) -> BridgeProcess:
    return make_bridge(world.settings(venue, UPSTREAM__MARKET=OTHER, **{"UPSTREAM__URL": venue.url("other"), **more}))


@pytest.mark.slow
def test_a_symbol_s_life_from_pending_to_live_stale_offline_and_back(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"ack_delay_s": 40})  # long enough for "pending" to be written
    world.subscribe("BTCUSDT", stale_after_s=3)
    bridge = start(world, venue, make_bridge, UPSTREAM__ACK_TIMEOUT_S="20")
    pending = await_says(world, "BTCUSDT", "pending", "")
    assert "last_tick_us" not in pending
    waiting = await_says(world, "BTCUSDT", "waiting", "")
    assert waiting["since_us"] > pending["since_us"]
    venue.switches.update(ack_delay_s=0)
    venue.tick_now("BTCUSDT")
    live = await_says(world, "BTCUSDT", "live", "")
    stale = await_says(world, "BTCUSDT", "stale", "no_tick")
    assert stale["since_us"] - live["last_tick_us"] >= 3_000_000
    (tick,) = world.ticks()
    assert live["last_tick_us"] == stale["last_tick_us"] == tick["ts_recv_us"]
    venue.tick_now("BTCUSDT")
    again = await_says(world, "BTCUSDT", "live", "")
    assert again["last_tick_us"] > stale["since_us"] - 1_000_000
    venue.switches.update(refuse_upgrades=503)
    venue.faults.reset()
    offline = await_says(world, "BTCUSDT", "offline", "accepted_before")
    assert offline["session"] == again["session"]
    venue.switches.update(refuse_upgrades=0)
    back = await_says(world, "BTCUSDT", "live", "")
    assert back["session"] > offline["session"]
    world.subscribe("BTCUSDT", stale_after_s=3, note="another word, the same state")
    bridge.wait_until("told", lambda: "note" in statuses(world, "BTCUSDT")[-1]["effective"])
    rewritten = statuses(world, "BTCUSDT")[-1]
    assert says(rewritten)[0] in ("live", "stale")
    if rewritten["state"] == "live":
        assert rewritten["since_us"] == back["since_us"]
    assert bridge.stop() == 0
    last = await_says(world, "BTCUSDT", "offline", "accepted_before")
    assert last["last_tick_us"] == again["last_tick_us"]
    successor = start(world, venue, make_bridge)
    waiting = await_says(world, "BTCUSDT", "waiting", "")
    assert waiting["last_tick_us"] == again["last_tick_us"]  # another owner's, and still the last
    assert waiting["instance"] != last["instance"]
    assert successor.stop() == 0


@pytest.mark.slow
def test_a_symbol_that_finds_no_room_is_rejected_or_disabled_comes_into_force_when_that_is_over(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"unauthorised": {"BADUSDT"}})
    world.subscribe("BTCUSDT", priority=5)
    world.subscribe("ETHUSDT", priority=-1)
    world.subscribe("SECOND", code="BTCUSDT", colour="red", prio=1)
    world.subscribe("BADUSDT", "AAPL.US", "NOWHERE:X")
    bridge = start(world, venue, make_bridge, UPSTREAM__MAX_SYMBOLS="1")
    await_says(world, "BTCUSDT", "waiting")
    await_says(world, "ETHUSDT", "over_cap", "over_cap")
    await_says(world, "SECOND", "rejected", "duplicate_code")
    await_says(world, "AAPL.US", "rejected", "wrong_endpoint")
    await_says(world, "NOWHERE:X", "rejected", "bad_symbol")
    world.subscribe("BTCUSDT", priority=5, enabled=False)
    await_says(world, "BTCUSDT", "disabled", "disabled")
    second = await_says(world, "SECOND", "waiting", "")
    assert sorted(second["warnings"]) == ["unknown field 'colour'", "unknown field 'prio'"]
    world.subscribe("SECOND", code="BTCUSDT", prio=1)
    bridge.wait_until(
        "fewer warnings", lambda: statuses(world, "SECOND")[-1].get("warnings") == ["unknown field 'prio'"]
    )
    world.subscribe("SECOND", code="BTCUSDT")
    bridge.wait_until("no warnings", lambda: "warnings" not in statuses(world, "SECOND")[-1])
    assert len({one["since_us"] for one in statuses(world, "SECOND")[-3:]}) == 1
    world.unsubscribe("SECOND")
    await_says(world, "ETHUSDT", "waiting", "")
    world.unsubscribe("ETHUSDT")
    await_says(world, "BADUSDT", "rejected", "venue_604")
    world.subscribe("BTCUSDT", priority=5)
    await_says(world, "BTCUSDT", "waiting", "")
    assert bridge.stop() == 0


@pytest.mark.slow
def test_two_owners_of_two_partitions_each_tell_of_their_own_and_whoever_is_left_of_both(
    kafka: Any, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world, venue = World(kafka, partitions=2), make_venue(switches={"refuse_connections": False})
    symbols = [f"{number}.HK" for number in range(1, 21)]
    world.subscribe(*symbols)
    settings = world.settings(venue, GROUP__SESSION_TIMEOUT_S="6")
    first, second = make_bridge(settings), make_bridge(settings)
    first.wait_until("a share", lambda: len(first.status()["partitions"]) == 1, 40)
    second.wait_until("a share", lambda: len(second.status()["partitions"]) == 1, 40)
    venue.wait_until_subscribed(*symbols, timeout=40)
    for symbol in symbols:
        await_says(world, symbol, "waiting", "")
    assert len({statuses(world, symbol)[-1]["instance"] for symbol in symbols}) == 2
    second.process.kill()
    second.wait()
    first.wait_until("both", lambda: len(first.status()["partitions"]) == 2, 40)
    venue.wait_until_subscribed(*symbols, timeout=40)
    for symbol in symbols:
        await_says(world, symbol, "waiting", "")
    third = make_bridge(settings)
    third.wait_until("a share", lambda: len(third.status()["partitions"]) == 1, 40)
    assert first.stop() == 0
    third.wait_until("both", lambda: len(third.status()["partitions"]) == 2, 40)
    venue.wait_until_subscribed(*symbols, timeout=40)
    for symbol in symbols:
        await_says(world, symbol, "waiting", "")
        assert {} not in statuses(world, symbol)  # never nulled, whoever came and went
    assert third.stop() == 0


@pytest.mark.parametrize("committed", [True, False])
def test_transactions_in_the_status_topic_count_once_committed_and_leave_holes_that_nobody_falls_into(
    world: World, venue: Simulator, make_bridge: MakeBridge, committed: bool
) -> None:
    world.subscribe("AAPL.US")
    late = {"v": 1, "bridge": world.name, "symbol": "AAPL.US", "code": "AAPL.US", "state": "over_cap", "since_us": 1}
    late |= {"instance": "other", "control_partition": 0, "control_offset": 0, "effective": {}}
    gone = {**late, "symbol": "GONE.US", "code": "GONE.US"}

    def transact() -> None:
        producer = Producer(world.cluster.config(transactional_id=f"{world.name}-{committed}"))
        producer.init_transactions(20)
        producer.begin_transaction()
        for status in (late, gone):
            producer.produce(world.topic("status"), json.dumps(status), str(status["symbol"]))
        if committed:
            producer.commit_transaction(20)
        else:
            producer.flush(20)
            producer.abort_transaction(20)

    transact()
    bridge = make_bridge(world.settings(venue))
    await_says(world, "AAPL.US", "waiting")
    before = len(statuses(world, "AAPL.US"))
    transact()
    world.subscribe("LAST.US")
    await_says(world, "LAST.US", "waiting")
    await_says(world, "AAPL.US", "waiting")
    if committed:
        bridge.wait_until("nulled twice", lambda: statuses(world, "GONE.US")[-1] == {})
    assert len(statuses(world, "AAPL.US")) == before + 2 * committed
    assert statuses(world, "GONE.US") == ([gone, {}] * 2 if committed else [])
    assert bridge.stop() == 0
