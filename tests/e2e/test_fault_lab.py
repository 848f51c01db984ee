"""The bridge on bad lines, judged by what others wrote down: the venue's record, the topics, its own last accounts."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.audit import Verdict, Wish, collect, judge
from tests.support.faults import kafka_behind_line, over, venue_behind_line
from tests.support.kafka import KafkaBroker
from tests.support.network import Network
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SYMBOLS = {"AAPL.US": "AAPL.US", "HKEX:00700": "700.HK", "SSE:600519": "600519.SH"}

#: The library finds out about a dead broker sooner than by its own defaults.
QUICK = {"KAFKA__EXTRA": '{"socket.timeout.ms": 2000, "reconnect.backoff.max.ms": 200}'}


@pytest.fixture
def behind(make_kafka: Callable[..., KafkaBroker]) -> Iterator[tuple[KafkaBroker, Network]]:
    """A broker of this test's own, and the line over which the bridge reaches it."""
    with kafka_behind_line(make_kafka) as (broker, line):
        yield broker, line


def await_published(bridge: BridgeProcess, more: int) -> None:
    """Wait until so many more ticks are published than now."""
    enough = bridge.status()["accounts"]["published"] + more
    bridge.wait_until(f"{enough} published", lambda: bridge.status()["accounts"]["published"] >= enough, 30)


def end_and_judge(world: World, venue: Simulator, bridge: BridgeProcess, since: float) -> Verdict:
    """Let the market rest, stop the bridge, and judge everything since a moment."""
    venue.switches.rate = 0
    bridge.wait_until("nothing in flight", lambda: bridge.status()["accounts"]["in_flight"] == 0, 30)
    assert bridge.stop() == 0
    last = bridge.wait_for("stopped")
    evidence = collect(
        world.cluster, world.topic("ticks"), world.topic("gaps"), venue.record, SYMBOLS.values(), accounts=[last]
    )
    verdict = judge(evidence, [Wish(symbol, code, since) for symbol, code in SYMBOLS.items()])
    assert all(one.due > 0 for one in verdict.symbols.values())
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        lambda line: line.cut("reset", 3.0),
        lambda line: line.cut("stall", 5.0),
        lambda line: line.half_open(),
        lambda line: line.set(bandwidth=60_000, latency_s=0.2),
    ],
    ids=["reset", "stall", "half-open", "slow"],
)
def test_whatever_the_line_to_kafka_does_each_tick_is_published_once_in_order(
    behind: tuple[KafkaBroker, Network], make_venue: MakeVenue, make_bridge: MakeBridge, fault: Callable[[Network], Any]
) -> None:
    (broker, line), since = behind, time.time()
    world, venue = World(broker.cluster), make_venue(rate=500)
    world.subscribe(*SYMBOLS)
    bridge = make_bridge(world.settings(venue, KAFKA__BOOTSTRAP_SERVERS=line.address, **QUICK))
    venue.wait_until_subscribed(*SYMBOLS.values(), timeout=30)
    await_published(bridge, 200)
    fault(line)
    await_published(bridge, 1500)
    line.set(bandwidth=None, latency_s=0)
    line.wait_whole()
    verdict = end_and_judge(world, venue, bridge, since)
    verdict.check()
    assert verdict.missing == 0
    assert len(venue.record.connections) == 1, "a Kafka outage is no reason to leave the venue"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Network.reset, Network.half_open], ids=["reset", "half-open"])
def test_what_the_line_to_the_venue_loses_is_in_the_gaps_topic(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, fault: Callable[[Network], None]
) -> None:
    since, venue = time.time(), make_venue(rate=300)
    world.subscribe(*SYMBOLS)
    with venue_behind_line(venue) as line:
        bridge = make_bridge(world.settings(venue, UPSTREAM__URL=over(line, venue.url())))
        venue.wait_until_subscribed(*SYMBOLS.values(), timeout=30)
        await_published(bridge, 200)
        fault(line)
        bridge.wait_for("upstream_disconnected", timeout_s=30)
        venue.wait_for(lambda record: len(record.connections) == 2, 30)
        venue.wait_until_subscribed(*SYMBOLS.values(), timeout=30)
        await_published(bridge, 200)
        verdict = end_and_judge(world, venue, bridge, since)
    if not verdict.missing:
        pytest.fail("nothing was lost, so nothing was tested")
    verdict.check(excess_max_s=5.0)
