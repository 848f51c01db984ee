"""Who owns what: partitions in one process, and two instances with one partition."""

import signal
import time
from collections.abc import Callable

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.kafka import Cluster, KafkaBroker
from tests.support.process import BridgeProcess

SUBSCRIBE = 22004


@pytest.mark.slow
def test_two_control_partitions_are_two_connections_that_share_the_token_in_time_slots(
    kafka: Cluster, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    world = World(kafka, partitions=2)
    venue = make_venue(rate=100, time_scale=1.0)  # time slots are the venue's seconds
    symbols = [f"{number}.HK" for number in range(1, 21)]
    world.subscribe(*symbols)
    pace = {"UPSTREAM__REQUEST_INTERVAL_S": "1", "UPSTREAM__HEARTBEAT_S": "10", "UPSTREAM__SILENCE_S": "25"}
    bridge = make_bridge(world.settings(venue, **pace))
    venue.wait_until_subscribed(*symbols, timeout=30)
    bridge.wait_accepted(*symbols)
    world.subscribe("AAPL.US", "TSLA.US", "NVDA.US", "MSFT.US")
    venue.wait_until_subscribed(*symbols, "AAPL.US", "TSLA.US", "NVDA.US", "MSFT.US", timeout=30)
    first, second = (set(connection.codes) for connection in venue.record.connections)
    assert not first & second
    assert not venue.record.violations
    assert bridge.stop() == 0
    assert bridge.wait_for("stopped")["balanced"]


def test_a_second_instance_stands_by_and_takes_over_when_the_owner_stops(
    world: World, venue: Simulator, make_bridge: Callable[..., BridgeProcess]
) -> None:
    world.subscribe("AAPL.US")
    owner = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", timeout=20)
    standby = make_bridge(world.settings(venue))
    standby.wait_ready()
    assert standby.status()["partitions"] == []
    assert len(venue.record.connections) == 1
    assert owner.stop() == 0
    venue.wait_for(lambda record: len(record.connections) == 2, timeout=15)
    venue.wait_until_subscribed("AAPL.US")
    assert not venue.record.overlaps
    assert not venue.record.violations
    assert standby.stop() == 0


@pytest.mark.slow
def test_a_partition_that_arrives_at_a_working_owner_disturbs_nothing(
    kafka: Cluster, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    world = World(kafka, partitions=2)
    venue = make_venue(rate=200, time_scale=1.0)
    pace = {"UPSTREAM__REQUEST_INTERVAL_S": "1", "UPSTREAM__HEARTBEAT_S": "10", "UPSTREAM__SILENCE_S": "25"}
    pace |= {"UPSTREAM__RECONNECT_MIN_S": "3", "UPSTREAM__RECONNECT_MAX_S": "30"}
    symbols = [f"{number}.HK" for number in range(1, 21)]
    world.subscribe(*symbols)
    one = make_bridge(world.settings(venue, **pace))
    venue.wait_until_subscribed(*symbols, timeout=60)
    two = make_bridge(world.settings(venue, **pace))  # later: what is revoked while it is dialled is another matter
    for bridge in (one, two):
        bridge.wait_until("one each", lambda b=bridge: len(b.status()["partitions"]) == 1, 30)  # type: ignore[misc]
    venue.wait_until_subscribed(*symbols, timeout=60)
    before = venue.record.open_connections
    assert len(before) == 2
    assert two.stop() == 0
    one.wait_until("both", lambda: len(one.status()["partitions"]) == 2, 30)
    venue.wait_until_subscribed(*symbols, timeout=60)
    kept = [connection for connection in venue.record.open_connections if connection in before]
    assert len(kept) == 1
    assert len(venue.requests(SUBSCRIBE, kept[0].id)) == 1
    own = set(kept[0].codes)
    assert one.stop() == 0
    published = world.seqs()
    for code in own:
        assert published[code] == [seq for seq in venue.sent(code, kept[0].id) if seq in set(published[code])]
        assert set(venue.sent(code, kept[0].id)) <= set(published[code])
    assert not venue.record.violations


# Hand-overs, timed by the venue's own record

SESSION_S = 3.0
OWNERS = {"GROUP__SESSION_TIMEOUT_S": str(SESSION_S), "UPSTREAM__RECONNECT_MIN_S": "0.5"}
MINIMUM_S = 0.5


def owner_and_standby(
    world: World, venue: Simulator, make_bridge: Callable[..., BridgeProcess], **more: str
) -> tuple[BridgeProcess, BridgeProcess]:
    world.subscribe("AAPL.US", "700.HK")
    owner = make_bridge(world.settings(venue, **OWNERS, **more))
    venue.wait_until_subscribed("AAPL.US", "700.HK", timeout=20)
    owner.wait_until("state written", lambda: bool(world.cluster.read_all(world.topic("state"))))
    standby = make_bridge(world.settings(venue, **OWNERS, **more))
    standby.wait_ready()
    return owner, standby


def least_of_three(took_s: Callable[[], float], enough_s: float) -> float:
    """Measure up to three times until it is short enough: a busy machine only adds."""
    least = took_s()
    for _ in range(2):
        least = least if least < enough_s else min(least, took_s())
    return least


def second_connection(venue: Simulator, within_s: float) -> float:
    """Wait for the successor's connection; give the moment at which it was opened."""
    return venue.wait_for(lambda record: record.connections[1:2], within_s + 10)[0].opened_at


def test_a_clean_hand_over_takes_the_reconnect_minimum_and_a_second(
    world: World, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    def took_s() -> float:
        venue = make_venue(rate=100, switches={"refuse_connections": False})
        owner, standby = owner_and_standby(World(world.cluster), venue, make_bridge)
        assert owner.stop() == 0
        opened_at = second_connection(venue, MINIMUM_S)
        closed_at = venue.record.connections[0].closed_at
        assert closed_at is not None
        assert opened_at > closed_at
        assert not venue.record.overlaps
        assert standby.stop() == 0
        return opened_at - closed_at

    assert least_of_three(took_s, MINIMUM_S + 1) < MINIMUM_S + 1


def test_after_a_kill_the_standby_connects_within_session_timeout_minimum_and_a_second(
    world: World, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    def took_s() -> float:
        venue = make_venue(rate=100, switches={"refuse_connections": False})
        owner, standby = owner_and_standby(World(world.cluster), venue, make_bridge)
        owner.process.kill()
        killed_at = time.time()
        opened_at = second_connection(venue, SESSION_S)
        assert not venue.record.overlaps
        assert standby.stop() == 0
        return opened_at - killed_at

    assert least_of_three(took_s, SESSION_S + MINIMUM_S + 1) < SESSION_S + MINIMUM_S + 1


def test_an_owner_that_was_frozen_publishes_nothing_more_when_it_wakes(
    world: World, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    venue = make_venue(rate=200)
    owner, standby = owner_and_standby(world, venue, make_bridge, UPSTREAM__RECONNECT_MAX_S="1")
    owner.wait_until("ticks", lambda: owner.status()["accounts"]["published"] > 100)
    owner.process.send_signal(signal.SIGSTOP)
    sent = venue.sent_total
    venue.wait_for(lambda record: record.sent_total > sent + 50, 10)  # they wait in its socket
    early = {code: max(venue.sent(code)) for code in ("AAPL.US", "700.HK")}  # it may have been frozen while it read
    venue.wait_for(lambda record: record.sent_total > sent + 150, 10)
    venue.faults.close()  # the venue drops the frozen connection, as it would after some heartbeats
    venue.wait_for(lambda record: len(record.connections) == 2, SESSION_S + 20)
    standby.wait_until("ticks", lambda: standby.status()["accounts"]["published"] > 100)
    owner.process.send_signal(signal.SIGCONT)
    owner.wait_for("ownership_unconfirmed")
    owner.wait_for("group_revoked", 30)
    owner.wait_until("standby", lambda: owner.status()["partitions"] == [], 30)
    assert standby.stop() == 0
    venue.wait_for(lambda record: len(record.connections) == 3, 20)
    ticks = world.ticks()
    of_the_first = min(tick["session"] for tick in ticks)
    late = {code: set(venue.sent(code, venue.record.connections[0].id)) - set(range(early[code] + 1)) for code in early}
    assert min(len(seqs) for seqs in late.values()) > 10
    assert [
        tick for tick in ticks if tick["session"] == of_the_first and int(tick["seq"]) in late[tick["symbol"]]
    ] == []
    assert owner.stop() == 0
    stopped = owner.wait_for("stopped")
    assert stopped["balanced"]


def test_without_a_hold_a_lost_owner_closes_at_once_and_with_one_it_goes_on(
    own_kafka: KafkaBroker, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    venues, bridges = [], []
    for hold in ({"GROUP__LOST_HOLD_S": "0"}, {}):
        world, venue = World(own_kafka.cluster), make_venue(rate=50)
        world.subscribe("AAPL.US")
        venues.append(venue)
        bridges.append(make_bridge(world.settings(venue, **OWNERS, **hold)))
        venue.wait_until_subscribed("AAPL.US", timeout=30)
    own_kafka.suspend()
    bridges[0].wait_for("ownership_given_up", 30)
    bridges[1].wait_for("ownership_in_doubt", 30)
    venues[0].wait_for(lambda record: not record.open_connections, 10)
    own_kafka.resume()
    venues[0].wait_for(lambda record: len(record.connections) == 2, 40)
    assert len(venues[1].record.connections) == 1
    for bridge in bridges:
        bridge.wait_ready(40)
        assert bridge.stop() == 0
        assert bridge.wait_for("stopped")["balanced"]
