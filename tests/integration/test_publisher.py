"""What the publisher counts is what stands in the topic, on librdkafka's mock brokers and on a real Kafka.

The mock does what is fast (partitions, keys, timestamps); what a broker refuses, and what happens when it dies, needs
a real one.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import pytest
from confluent_kafka import Producer

from bridge.model import Record
from bridge.publish.backpressure import Path
from bridge.publish.publisher import Publisher
from bridge.settings import KafkaSettings
from tests.support.kafka import Cluster, KafkaBroker, unique
from tests.support.kafka import Record as Read

LOGGER = logging.getLogger("test.librdkafka")
#: Now: a broker forgets the producer of records that are older than a day, and drops those that are older than a week.
RECV_MS = int(time.time() * 1000)

#: Java's murmur2 of a key (org.apache.kafka.common.utils.UtilsTest).
MURMUR2 = {
    b"21": -973_932_308,
    b"foobar": -790_332_482,
    b"a-little-bit-long-string": -985_981_536,
    b"a-little-bit-longer-string": -1_486_304_829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58_897_971,
    b"abc": 479_470_107,
}


class Road:
    """A path with its publisher, turned by hand as the feed thread turns them."""

    def __init__(self, cluster: Cluster, topic: str, most: int = 5000, **extra: str | float | bool) -> None:
        self.latencies: list[float] = []
        self.trouble: list[str] = []
        self.dropped = 0
        self.path = Path(most, 64 * 1024 * 1024, on_lost=self._note_lost)
        self.publisher = Publisher(
            KafkaSettings(
                bootstrap_servers=cluster.bootstrap, extra={key.replace("_", "."): extra[key] for key in extra}
            ),
            topic,
            most=most,
            logger=LOGGER,
            on_latency=self.latencies.append,
            on_trouble=self.trouble.append,
        )

    @property
    def waiting(self) -> int:
        return self.publisher.handed_over + self.publisher.holding + len(self.path)

    def offer(self, records: list[Record]) -> None:
        go = self.path.offer(records, self.publisher.handed_over)
        self.path.put_back(self.publisher.hand_over(go))
        self.path.relieve(time.monotonic())

    def _note_lost(self, account: str, records: Sequence[Record]) -> None:
        assert account == "dropped"
        self.dropped += len(records)

    def turn(self) -> None:
        """Take answers, and hand over what waits, unless something failed and is not back yet."""
        self.publisher.poll(0.01)
        self.path.put_back(self.publisher.take_returned())
        if not self.publisher.holding:
            self.path.put_back(self.publisher.hand_over(self.path.take(self.publisher.handed_over)))

    def until(self, done: Callable[[], bool], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, (self.waiting, self.publisher.published, self.trouble[-3:])
            self.turn()

    def drain(self, timeout_s: float = 30.0) -> None:
        self.until(lambda: not self.waiting, timeout_s)


def records(numbers: Iterable[int], size: int = 100) -> list[Record]:
    """Make records of seven keys whose values begin with a number of six digits."""
    return [(b"K%d" % (n % 7), b"%06d" % n + b"%x" % (n * 7919) * (size // 8), RECV_MS + n) for n in numbers]


def numbers(found: Iterable[Read]) -> list[int]:
    return sorted(int((record.value or b"")[:6]) for record in found)


def out_of_order(found: Iterable[Read]) -> list[tuple[int, int]]:
    """Give neighbours of one key that stand in the wrong order; records are in the order of their partition."""
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    for record in found:
        by_key[record.key].append(int((record.value or b"")[:6]))
    return [pair for sequence in by_key.values() for pair in pairwise(sequence) if pair[0] >= pair[1]]


@pytest.fixture(scope="module")
def mock_kafka() -> Iterator[Cluster]:
    """Mock brokers, which live in this process as long as this client does."""
    keeper = Producer({"bootstrap.servers": "mock:1", "test.mock.num.brokers": 3, "logger": LOGGER})
    brokers = keeper.list_topics(timeout=10).brokers.values()
    yield Cluster(",".join(f"{broker.host}:{broker.port}" for broker in brokers))
    keeper.purge()


def partitions(cluster: Cluster, topic: str) -> int:
    return len(Producer(cluster.config()).list_topics(topic, timeout=10).topics[topic].partitions)


# On mock brokers


def test_what_is_published_stands_in_the_topic_once(mock_kafka: Cluster) -> None:
    topic = unique("ticks")
    road = Road(mock_kafka, topic)
    for start in range(0, 20_000, 1_500):
        road.offer(records(range(start, min(start + 1_500, 20_000))))
        road.turn()
    road.drain()
    found = mock_kafka.read_all(topic)
    assert (road.publisher.published, road.publisher.undeliverable, road.dropped) == (20_000, 0, 0)
    assert numbers(found) == list(range(20_000))
    assert out_of_order(found) == []


def test_a_record_has_its_key_and_the_time_it_was_received(mock_kafka: Cluster) -> None:
    topic = unique("ticks")
    road = Road(mock_kafka, topic)
    road.offer([(b"HKEX:00700", b'{"v":1}', RECV_MS)])
    road.drain()
    (found,) = mock_kafka.read_all(topic)
    assert (found.key, found.value, found.timestamp_ms) == (b"HKEX:00700", b'{"v":1}', RECV_MS)


def test_a_key_goes_to_the_partition_that_java_clients_choose(mock_kafka: Cluster) -> None:
    topic = unique("ticks")
    road = Road(mock_kafka, topic)
    road.offer([(key, b"{}", RECV_MS) for key in MURMUR2])
    road.drain()
    count = partitions(mock_kafka, topic)
    assert count > 1
    chosen = {record.key: record.partition for record in mock_kafka.read_all(topic)}
    assert chosen == {key: (value & 0x7FFF_FFFF) % count for key, value in MURMUR2.items()}


def test_deliveries_are_timed(mock_kafka: Cluster) -> None:
    road = Road(mock_kafka, unique("ticks"))
    road.offer(records(range(640)))
    road.drain()
    assert len(road.latencies) >= 10
    assert all(0 < seconds < 30 for seconds in road.latencies)


def test_no_more_are_with_the_producer_than_the_mark_says(mock_kafka: Cluster) -> None:
    topic = unique("ticks")
    road = Road(mock_kafka, topic, most=100)
    for start in range(0, 3_000, 250):
        road.offer(records(range(start, start + 250)))
        assert road.publisher.handed_over <= 100
        road.turn()
        assert road.publisher.handed_over <= 100
    road.drain()
    assert numbers(mock_kafka.read_all(topic)) == list(range(3_000))


def test_a_record_too_large_for_the_producer_is_undeliverable_and_the_rest_goes_on(mock_kafka: Cluster) -> None:
    topic = unique("ticks")
    road = Road(mock_kafka, topic, message_max_bytes=1_000)
    some = records(range(100))
    some[50] = (b"K1", b"000050" + b"x" * 2_000, RECV_MS)
    road.offer(some)
    road.drain()
    assert (road.publisher.published, road.publisher.undeliverable) == (99, 1)
    assert numbers(mock_kafka.read_all(topic)) == [*range(50), *range(51, 100)]


# On a real Kafka


def test_the_topic_holds_what_was_published_key_by_key_in_order(kafka: Cluster) -> None:
    topic = kafka.create_topic(unique("ticks"), partitions=5)
    road = Road(kafka, topic, most=2_000)
    for start in range(0, 20_000, 1_500):
        road.offer(records(range(start, min(start + 1_500, 20_000))))
        road.turn()
    road.drain()
    found = kafka.read_all(topic)
    assert road.publisher.published == len(found) == 20_000
    assert out_of_order(found) == []
    for record in found:
        (number,) = numbers([record])
        assert (record.key, record.timestamp_ms) == (b"K%d" % (number % 7), RECV_MS + number)


def test_a_batch_too_large_for_the_topic_arrives_in_smaller_ones(kafka: Cluster) -> None:
    topic = kafka.create_topic(unique("ticks"), partitions=2, config={"max.message.bytes": "20000"})
    road = Road(kafka, topic, compression_type="none")
    road.offer(records(range(3_000)))
    road.drain()
    found = kafka.read_all(topic)
    assert (road.publisher.published, road.publisher.undeliverable) == (3_000, 0)
    assert numbers(found) == list(range(3_000))
    assert out_of_order(found) == []


def test_a_record_too_large_for_the_topic_is_undeliverable_and_all_others_arrive_in_order(kafka: Cluster) -> None:
    topic = kafka.create_topic(unique("ticks"), partitions=2, config={"max.message.bytes": "600"})
    road = Road(kafka, topic, compression_type="none")
    some = records(range(1_500))
    some[700] = (some[700][0], b"000700" + b"x" * 1_000, RECV_MS)
    road.offer(some)
    road.drain()
    found = kafka.read_all(topic)
    assert (road.publisher.published, road.publisher.undeliverable) == (1_499, 1)
    assert numbers(found) == [*range(700), *range(701, 1_500)]
    assert out_of_order(found) == []


def test_records_for_a_missing_topic_come_back_in_order_and_arrive_once_it_exists(kafka: Cluster) -> None:
    topic = unique("ticks")
    road = Road(kafka, topic, topic_metadata_propagation_max_ms=300, topic_metadata_refresh_interval_ms=300)
    road.offer(records(range(500)))
    road.until(lambda: bool(road.trouble))
    assert "UNKNOWN_TOPIC" in road.trouble[0]
    assert (road.publisher.published, road.waiting) == (0, 500)
    kafka.create_topic(topic, partitions=2)
    road.drain()
    found = kafka.read_all(topic)
    assert numbers(found) == list(range(500))
    assert out_of_order(found) == []


@pytest.mark.slow
def test_while_the_broker_is_gone_nothing_is_lost_and_afterwards_all_arrives_once_and_in_order(
    own_kafka: KafkaBroker,
) -> None:
    topic = own_kafka.cluster.create_topic(unique("ticks"), partitions=3)
    road = Road(own_kafka.cluster, topic, most=1_000)
    number = 0

    def offer_until(done: Callable[[], bool]) -> None:
        nonlocal number

        def offered_and_done() -> bool:
            nonlocal number
            road.offer(records(range(number, number + 50)))
            number += 50
            return done()

        road.until(offered_and_done)

    offer_until(lambda: road.publisher.published > 1_000)
    own_kafka.kill()
    before = road.publisher.published
    offer_until(lambda: len(road.path) > 2_000)
    assert road.publisher.handed_over <= 1_000
    own_kafka.start()
    offer_until(lambda: road.publisher.published > before + 1_000)
    road.drain(60)
    found = own_kafka.cluster.read_all(topic)
    assert numbers(found) == list(range(number))
    assert out_of_order(found) == []
    assert (road.publisher.published, road.publisher.undeliverable, road.dropped) == (number, 0, 0)
    assert road.trouble, "and it said that the broker was gone"


@pytest.mark.slow
def test_while_the_broker_is_frozen_nothing_is_lost_and_afterwards_all_arrives_once_and_in_order(
    own_kafka: KafkaBroker,
) -> None:
    topic = own_kafka.cluster.create_topic(unique("ticks"), partitions=3)
    road = Road(own_kafka.cluster, topic, most=500, socket_timeout_ms=1_000)
    road.offer(records(range(500)))
    road.drain()
    own_kafka.suspend()
    road.offer(records(range(500, 2_000)))
    road.until(lambda: bool(road.trouble))
    own_kafka.resume()
    road.drain(60)
    found = own_kafka.cluster.read_all(topic)
    assert numbers(found) == list(range(2_000))
    assert out_of_order(found) == []
    assert road.publisher.published == 2_000
