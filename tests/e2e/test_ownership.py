"""Who owns what: partitions in one process, and two instances with one partition."""

from collections.abc import Callable

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.kafka import Cluster
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
    symbols = [f"{number}.HK" for number in range(1, 21)]
    world.subscribe(*symbols)
    one, two = (make_bridge(world.settings(venue, **pace)) for _ in range(2))
    venue.wait_until_subscribed(*symbols, timeout=60)
    for bridge in (one, two):
        bridge.wait_until("one each", lambda b=bridge: len(b.status()["partitions"]) == 1, 30)  # type: ignore[misc]
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
    assert {violation.rule for violation in venue.record.violations} <= {"reconnect_interval"}
