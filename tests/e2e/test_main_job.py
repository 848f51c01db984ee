"""The main job, end to end: control records in, keyed ticks out; real Kafka, strict venue, the bridge as a process."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.kafka import KafkaBroker
from tests.support.process import BridgeProcess
from tests.support.tls import certificates

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE, CANCEL = 22004, 22006


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Path]:
    """A certificate for loopback, and the authority that signed it."""
    return certificates(tmp_path)


def await_seq(venue: Simulator, bridge: BridgeProcess, at_least: int) -> None:
    """Wait until the bridge has published so many ticks."""
    published = f"{at_least} ticks published"
    bridge.wait_until(published, lambda: bridge.status()["accounts"]["published"] >= at_least, 30)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_three_symbols_in_give_keyed_ticks_out(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, tls: dict[str, Path], secure: bool
) -> None:
    venue = make_venue(rate=300, **({"cert": tls["cert"], "key": tls["key"]} if secure else {}))
    world.subscribe("AAPL.US", "HKEX:00700", "SSE:600519")
    more = {"UPSTREAM__CA_FILE": str(tls["ca"])} if secure else {}
    bridge = make_bridge(world.settings(venue, **more))
    venue.wait_until_subscribed("AAPL.US", "700.HK", "600519.SH", timeout=20)
    await_seq(venue, bridge, 200)
    assert bridge.stop() == 0
    records = world.cluster.read_all(world.topic("ticks"))
    ticks = [json.loads(record.value or b"") for record in records]
    assert {tick["symbol"]: tick["code"] for tick in ticks} == {
        "AAPL.US": "AAPL.US",
        "HKEX:00700": "700.HK",
        "SSE:600519": "600519.SH",
    }
    for record, tick in zip(records, ticks, strict=True):
        assert record.key == tick["symbol"].encode()
        assert record.timestamp_ms == tick["ts_recv_us"] // 1000
    assert [r.codes for r in venue.requests(SUBSCRIBE)] == [("AAPL.US", "700.HK", "600519.SH")]
    assert not venue.record.violations


def test_one_is_added_and_one_removed_without_a_reconnect_and_without_a_lost_tick_of_the_others(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=600)
    world.subscribe("AAPL.US", "TSLA.US", "700.HK")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "TSLA.US", "700.HK", timeout=20)
    await_seq(venue, bridge, 200)
    world.subscribe("NVDA.US")
    venue.wait_until_subscribed("AAPL.US", "TSLA.US", "700.HK", "NVDA.US")
    world.unsubscribe("TSLA.US")
    venue.wait_until_subscribed("AAPL.US", "700.HK", "NVDA.US")
    await_seq(venue, bridge, 600)
    assert bridge.stop() == 0
    seqs = world.seqs()
    assert len(venue.record.connections) == 1
    assert len(venue.requests(SUBSCRIBE)) == 3
    for symbol in ("AAPL.US", "700.HK"):
        found = seqs[symbol]
        assert found == list(range(found[0], found[0] + len(found)))
        assert found == venue.sent(symbol)
    assert not venue.record.violations


def test_a_restart_on_a_compacted_topic_sends_one_complete_request(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    symbols = [f"{number}.HK" for number in range(1, 101)]
    world.subscribe(*symbols)
    world.subscribe(*symbols, note="again")
    world.unsubscribe(*symbols[:40])
    world.cluster.compact(world.topic("subscriptions"))
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed(*symbols[40:], timeout=20)
    bridge.wait_for("request_accepted")
    assert bridge.stop() == 0
    requests = venue.requests(SUBSCRIBE)
    assert [sorted(r.codes) for r in requests] == [sorted(symbols[40:])]


def test_500_changes_in_a_burst_become_a_handful_of_requests(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue, UPSTREAM__REQUEST_INTERVAL_S="0.3", UPSTREAM__SILENCE_S="10"))
    venue.wait_until_subscribed("AAPL.US", timeout=20)
    symbols = [f"{number}.HK" for number in range(1, 501)]
    began = time.monotonic()
    for start in range(0, 500, 10):  # fifty producers' worth of small writes
        world.subscribe(*symbols[start : start + 10])
    venue.wait_until_subscribed("AAPL.US", *symbols, timeout=20)
    changing_s = time.monotonic() - began
    bridge.wait_accepted("AAPL.US", *symbols)
    assert len(venue.requests(SUBSCRIBE)) <= 2 + changing_s / 0.3  # as pacing allows
    assert len(venue.requests(SUBSCRIBE)) <= 25
    assert not venue.record.violations
    assert bridge.stop() == 0


def test_the_last_symbol_removed_cancels_and_the_connection_stays(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", timeout=20)
    world.unsubscribe("AAPL.US")
    venue.wait_for(lambda record: record.requests(CANCEL))
    venue.wait_until_subscribed()
    assert bridge.stop() == 0
    assert len(venue.record.connections) == 1


def test_after_a_reconnect_everything_is_asked_for_once(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US", "700.HK")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", "700.HK", timeout=20)
    venue.faults.reset()
    venue.wait_for(lambda record: len(record.connections) == 2, timeout=10)
    venue.wait_until_subscribed("AAPL.US", "700.HK")
    bridge.wait_ready()
    assert bridge.stop() == 0
    assert [sorted(r.codes) for r in venue.requests(SUBSCRIBE)] == [["700.HK", "AAPL.US"]] * 2
    assert not venue.record.violations


def test_sigterm_delivers_all_that_was_read_and_exits_0(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=5000)
    world.subscribe(*(f"{number}.HK" for number in range(1, 51)))
    bridge = make_bridge(world.settings(venue))
    await_seq(venue, bridge, 5000)
    assert bridge.stop() == 0
    accounts = bridge.wait_for("stopped")
    assert accounts["balanced"]
    assert accounts["undelivered"] == accounts["in_flight"] == accounts["dropped"] == 0
    assert accounts["published"] == len(world.ticks())
    assert accounts["received"] == accounts["published"]
    assert venue.record.connections[0].client_close_code == 1000


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_broker_killed_for_15_s_costs_neither_the_connection_nor_a_tick(
    make_venue: MakeVenue, make_bridge: MakeBridge, own_kafka: KafkaBroker
) -> None:
    world = World(own_kafka.cluster)
    venue = make_venue(rate=1000)
    symbols = [f"{number}.HK" for number in range(1, 51)]
    world.subscribe(*symbols)
    bridge = make_bridge(world.settings(venue))
    await_seq(venue, bridge, 1000)
    sent = venue.sent_total
    own_kafka.kill()
    venue.wait_for(lambda record: record.sent_total >= sent + 15_000, timeout=30)
    own_kafka.start()
    published = bridge.status()["accounts"]["published"]
    bridge.wait_until("published again", lambda: bridge.status()["accounts"]["published"] > published + 15_000, 60)
    bridge.wait_ready(30)
    assert bridge.stop() == 0
    assert bridge.wait_for("stopped")["balanced"]
    assert len(venue.record.connections) == 1
    assert world.seqs() == {symbol: venue.sent(symbol) for symbol in symbols}
