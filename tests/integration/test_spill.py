"""With a spill, a Kafka outage of any length costs nothing, and a killed bridge loses nothing that it called safe."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.app.outlet import Outlet
from bridge.model import Record
from bridge.settings import load
from tests.support.kafka import Cluster, KafkaBroker, unique
from tests.support.kafka import Record as Read

ROOT = Path(__file__).parents[2]
#: About now: a broker forgets the producer of records that are older than a day. A child process is told of ours.
T0_MS = int(os.environ.get("TEST_T0_MS") or time.time() * 1000)
KEYS = 50


def record(number: int) -> Record:
    return b"K%d" % (number % KEYS), b"%07d" % number + b"x" * 200, T0_MS + number // 100


def numbers(found: Iterable[Read]) -> list[int]:
    return [int((each.value or b"")[:7]) for each in found]


def out_of_order(found: Iterable[Read]) -> list[tuple[int, int]]:
    """Give neighbours of one key that stand in the wrong order."""
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    for each in found:
        by_key[each.key] += numbers([each])
    return [pair for sequence in by_key.values() for pair in pairwise(sequence) if pair[0] >= pair[1]]


class Road:
    """An outlet turned by hand, as the feed thread turns it."""

    def __init__(self, bootstrap: str, cluster_id: str, topic: str, directory: Path, **pressure: object) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        settings = load(
            kafka={"bootstrap_servers": bootstrap, "extra": {"socket.timeout.ms": 2_000}},
            topics={"ticks": topic},
            backpressure={
                "handed_over_max": 5_000,
                "queue_max_bytes": 4_000_000,
                "spill_dir": directory,
                **pressure,
            },
        )
        self.outlet = Outlet(settings, self._log)
        self.outlet.bind(cluster_id)
        self.offered = 0
        self.longest_s = 0.0

    def _log(self, event: str, /, level: str = "info", **fields: Any) -> None:
        self.lines.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines if event.startswith(("spill", "queue"))]

    def offer(self, count: int) -> None:
        self.outlet.ledger.received += count
        self.outlet.offer([record(number) for number in range(self.offered, self.offered + count)])
        self.offered += count

    def turn(self) -> None:
        start = time.monotonic()
        self.outlet.move_on(start)
        self.longest_s = max(self.longest_s, time.monotonic() - start)

    def drain(self, timeout_s: float = 60.0) -> None:
        end = time.monotonic() + timeout_s
        while self.outlet.waiting:
            assert time.monotonic() < end, (self.outlet.places(), self.outlet.trouble)
            self.turn()
            self.outlet._publisher.poll(0.005)
        for _ in range(2):
            self.turn()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_what_comes_while_the_broker_is_gone_arrives_once_and_in_order(
    own_kafka: KafkaBroker, tmp_path: Path, how: str
) -> None:
    topic = own_kafka.cluster.create_topic(unique("ticks"), partitions=3)
    road = Road(own_kafka.bootstrap, own_kafka.cluster_id, topic, tmp_path)
    road.offer(1_000)
    road.drain()
    if how == "frozen":
        own_kafka.suspend()
    else:
        own_kafka.kill()
    while road.offered < 200_000:
        road.offer(1_000)
        road.turn()
        assert road.outlet.queue_bytes < 12_000_000
    assert road.outlet.spilled > 100_000
    assert road.outlet.accounts().balanced
    if how == "frozen":
        own_kafka.resume()
    else:
        own_kafka.start()
    while road.offered < 220_000:  # ticks go on coming while the spill is drained
        road.offer(100)
        road.turn()
    road.drain()
    found = own_kafka.cluster.read_all(topic)
    assert sorted(numbers(found)) == list(range(220_000))
    assert out_of_order(found) == []
    accounts = road.outlet.accounts()
    assert (accounts.published, accounts.dropped, accounts.in_flight, accounts.balanced) == (220_000, 0, 0, True)
    assert road.outlet.save(0.0) == 0
    assert road.outlet.spill_bytes == 0


CHILD = """
import sys, time
from pathlib import Path
from tests.integration.test_spill import Road
bootstrap, cluster_id, topic, directory = sys.argv[1:]
road = Road(bootstrap, cluster_id, topic, Path(directory), handed_over_max=500, queue_max_bytes=200_000)
while True:
    road.offer(200)
    road.turn()
    safe_us = road.outlet.safe_us(time.time_ns() // 1000)
    print(road.offered, road.outlet.spilled, safe_us, road.outlet.accounts().published, flush=True)
"""


@contextlib.contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TEST_T0_MS": str(T0_MS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("draining", [False, True])
def test_a_killed_process_loses_nothing_that_was_synced_or_called_safe(
    own_kafka: KafkaBroker, tmp_path: Path, *, draining: bool
) -> None:
    topic = own_kafka.cluster.create_topic(unique("ticks"), partitions=3)
    arguments = (own_kafka.bootstrap, own_kafka.cluster_id, topic, str(tmp_path))
    with child(*arguments) as process:
        assert process.stdout is not None
        own_kafka.suspend()
        offered = spilled = safe_us = published = 0
        for line in process.stdout:
            offered, spilled, safe_us, published = map(int, line.split())
            if spilled > 20_000:
                if not draining:
                    break
                own_kafka.resume()
            if published > 5_000:
                break
        process.kill()
    own_kafka.resume()
    road = Road(*arguments[:3], tmp_path)
    recovered = road.outlet.accounts().recovered
    assert recovered >= spilled
    road.drain()
    assert road.outlet.accounts().balanced
    found = own_kafka.cluster.read_all(topic)
    there = set(numbers(found))
    missing = [number for number in range(offered) if number not in there]
    assert not [number for number in missing if record(number)[2] * 1000 < safe_us]
    assert len(missing) <= 500 + 2_000, "with the producer, and not yet synced"
    road.outlet.save(0.0)


@pytest.mark.slow
def test_a_stop_while_the_broker_is_frozen_leaves_everything_to_the_next_process(
    own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    topic = own_kafka.cluster.create_topic(unique("ticks"), partitions=3)
    road = Road(own_kafka.bootstrap, own_kafka.cluster_id, topic, tmp_path)
    road.offer(1_000)
    road.drain()
    own_kafka.suspend()
    while road.offered < 40_000:
        road.offer(500)
        road.turn()
    assert road.outlet.places()["handed_over"] == 5_000
    assert road.outlet.save(time.monotonic() + 5.0) == 0
    accounts = road.outlet.accounts()
    assert (accounts.published, road.outlet.spilled, accounts.balanced) == (1_000, 39_000, True)
    own_kafka.resume()
    after = Road(own_kafka.bootstrap, own_kafka.cluster_id, topic, tmp_path)
    assert after.outlet.accounts().recovered == 39_000
    after.drain()
    found = numbers(own_kafka.cluster.read_all(topic))
    assert sorted(set(found)) == list(range(40_000))
    assert len(found) <= 45_000, "only what was in flight may stand there twice"
    after.outlet.save(0.0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tickbridge", str(where)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def test_a_full_disk_makes_memory_give_way_loudly_and_is_drained_when_kafka_is_back(
    kafka: Cluster, small_disk: Path
) -> None:
    topic = kafka.create_topic(unique("ticks"), partitions=3)
    road = Road(kafka.bootstrap, "any", topic, small_disk / "spill", queue_max_bytes=500_000)
    road.outlet.held = True
    while road.offered < 30_000:
        road.offer(500)
        road.turn()
    accounts = road.outlet.accounts()
    assert accounts.dropped > 0
    assert accounts.balanced
    assert road.outlet.spilled > 1_000
    assert road.events == ["spill_unusable", "queue_overflows"]
    road.outlet.held = False
    road.drain()
    found = kafka.read_all(topic)
    accounts = road.outlet.accounts()
    assert len(found) == accounts.published == 30_000 - accounts.dropped
    assert out_of_order(found) == []
    assert sum(loss.lost for loss in road.outlet.take_losses()) == accounts.dropped
    road.outlet.save(0.0)
