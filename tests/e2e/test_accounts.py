"""The accounts of guarantee 7: exact at every scrape, whatever happens, and in the end equal to the topic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.accounts import OUTCOMES, Scraper, surplus
from tests.support.kafka import KafkaBroker
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SYMBOLS = ("AAPL.US", "TSLA.US", "700.HK")
RUBBISH = ("not-json", "wrong-types", "price-nan", "time-1970", "missing-fields", "fragments", "binary", "huge-text")


@contextmanager
def scraped(bridge: BridgeProcess) -> Iterator[Scraper]:
    """Scrape while the body runs, then hold every scrape to the sum."""
    scraper = Scraper(bridge)
    try:
        yield scraper
        scraper.await_more(5)
    finally:
        scraper.stop()
    assert scraper.wrong == []


def await_account(bridge: BridgeProcess, what: str, at_least: int) -> None:
    bridge.wait_until(f"{what} {at_least}", lambda: bridge.status()["accounts"][what] >= at_least, 30)


def stop_and_compare(bridge: BridgeProcess, world: World) -> dict[str, Any]:
    """Stop, and hold the last accounts to the sum and to the topic's contents; give them."""
    assert bridge.stop() == 0
    final = bridge.wait_for("stopped")
    assert surplus(final) == 0
    assert final["in_flight"] == 0
    assert len(world.ticks()) == final["published"]
    return final


def test_duplicates_disorder_rubbish_removals_and_reconnects_leave_the_accounts_exact(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    switches = {"duplicates": 0.2, "reordered": 0.2, "late_ticks_s": 5}
    venue = make_venue(rate=3000, switches=switches)
    world.subscribe(*SYMBOLS, "NVDA.US")
    bridge = make_bridge(world.settings(venue))
    await_account(bridge, "published", 500)
    with scraped(bridge) as scraper:
        for name in RUBBISH:
            venue.faults.send_rubbish(name)
        await_account(bridge, "invalid", 4)  # before the line goes, and what was not read yet with it
        world.unsubscribe("NVDA.US")
        await_account(bridge, "filtered", 1)
        await_account(bridge, "duplicate", 100)
        before = bridge.status()["accounts"]["published"]
        scraper.await_more(5)
        venue.faults.reset()
        bridge.wait_for("upstream_disconnected")
        await_account(bridge, "published", before + 500)
        world.unsubscribe(*SYMBOLS)
        venue.wait_for(lambda record: not record.subscribed)
    final = stop_and_compare(bridge, world)
    assert final["invalid"] == 4
    assert final["dropped"] == final["undeliverable"] == 0
    assert scraper.scrapes[0]["published"] < scraper.scrapes[-1]["published"]
    for symbol, seqs in world.seqs().items():
        assert len(seqs) == len(set(seqs)), f"{symbol} has a tick twice"


@pytest.mark.slow
def test_a_full_queue_while_kafka_is_frozen_drops_counted_ticks_and_nothing_else(
    own_kafka: KafkaBroker, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world = World(own_kafka.cluster)
    venue = make_venue(rate=4000)
    world.subscribe(*SYMBOLS)
    room = {"BACKPRESSURE__HANDED_OVER_MAX": "100", "BACKPRESSURE__QUEUE_MAX_BYTES": "65536"}
    bridge = make_bridge(world.settings(venue, **room))
    await_account(bridge, "published", 500)
    with scraped(bridge) as scraper:
        own_kafka.suspend()
        await_account(bridge, "dropped", 3000)
        scraper.await_more(5)
        assert bridge.get("/healthz")[0] == 200
        own_kafka.resume()
        bridge.wait_for("queue_overflows")
        before = bridge.status()["accounts"]["published"]
        await_account(bridge, "published", before + 500)
        venue.switches.rate = 0
        bridge.wait_for("queue_drained")
    final = stop_and_compare(bridge, world)
    assert final["dropped"] >= 3000
    assert final["received"] == venue.sent_total
    # The queue's bytes bound what waits: a record here takes a good 400 of them.
    assert max(accounts["in_flight"] for accounts in scraper.scrapes) <= 100 + 65536 // 300
    assert len(venue.record.connections) == 1
    for seqs in world.seqs().values():
        assert seqs == sorted(set(seqs))


def test_a_scrape_after_a_scrape_never_goes_back(world: World, make_venue: MakeVenue, make_bridge: MakeBridge) -> None:
    venue = make_venue(rate=2000)
    world.subscribe(*SYMBOLS)
    bridge = make_bridge(world.settings(venue))
    with scraped(bridge) as scraper:
        await_account(bridge, "published", 2000)
    for name in (*OUTCOMES, "received", "recovered"):
        values = [accounts[name] for accounts in scraper.scrapes]
        assert values == sorted(values)
    stop_and_compare(bridge, world)
