"""From control record to request on the wire: how long an operator waits when pacing allows.

One bridge, one real Kafka, the simulator in this process. Each change is produced when pacing holds nothing back (a
moment after a heartbeat); time runs from just before the record is produced to the simulator's receipt of the request.
"""

from __future__ import annotations

import argparse
import statistics
import time
from threading import Event

from confluent_kafka import Producer
from rich.console import Console

from bridge.simulator import Simulator, SimulatorConfig, Switches
from tests.e2e.conftest import World
from tests.support.kafka import KafkaBroker
from tests.support.process import BridgeProcess

SUBSCRIBE, HEARTBEAT = 22004, 22000
#: Longer than the interval between two requests, shorter than what is left until the next heartbeat.
PAUSE_S = 0.3


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=60)
    options = parser.parse_args()
    config = SimulatorConfig(time_scale=0.1, switches=Switches(rate=0))
    with KafkaBroker() as broker, Simulator(config) as venue:
        broker.cluster.warm_up()
        world = World(broker.cluster)
        world.subscribe("AAPL.US")
        with BridgeProcess(world.settings(venue)) as bridge:
            venue.wait_until_subscribed("AAPL.US", timeout=20)
            bridge.wait_ready()
            waits = [change(broker.cluster.bootstrap, world, venue, f"{n}.HK") for n in range(1, options.changes + 1)]
            bridge.stop()
    waits.sort()
    console = Console()
    console.print(f"control record to request on the wire, {len(waits)} changes, milliseconds:")
    for name, value in (
        ("p50", statistics.median(waits)),
        ("p99", waits[int(len(waits) * 0.99) - 1]),
        ("max", waits[-1]),
    ):
        console.print(f"  {name}  {value * 1000:.1f}")


def change(bootstrap: str, world: World, venue: Simulator, code: str) -> float:
    """Add one symbol; give the seconds until the venue was asked for it."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "partitioner": "murmur2_random"})
    producer.list_topics(world.topic("subscriptions"), timeout=10)
    beats = len(venue.requests(HEARTBEAT))
    venue.wait_for(lambda record: len(record.requests(HEARTBEAT)) > beats, timeout=10)
    Event().wait(PAUSE_S)
    start = time.time()
    producer.produce(world.topic("subscriptions"), b"{}", code.encode())
    producer.flush(10)
    request = venue.wait_for(
        lambda record: next((r for r in record.requests(SUBSCRIBE) if code in r.codes), None), timeout=10
    )
    return request.at - start


if __name__ == "__main__":
    main()
