"""What a test asks of a Kafka that it can reach only by its bootstrap servers.

Every call makes its own short-lived client, so nothing here goes stale when a broker is killed; every wait is bounded
and, when it fails, says what it had seen. Topics are kept apart by `unique` names and never cleaned up.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)
from confluent_kafka.cimpl import NewTopic  # confluent_kafka.admin has it too, but for no type checker

#: Topic settings under which `Cluster.compact` takes seconds.
FAST_COMPACTION: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "segment.ms": "500",
    "segment.bytes": "1048576",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "1000",
}


@dataclass(frozen=True)
class Record:
    """One record as it stands in a topic: `timestamp_ms` is Unix time, `value` None a tombstone."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True)
class Member:
    """A member of a consumer group and the (topic, partition) pairs assigned to it."""

    member_id: str
    client_id: str
    assigned: frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Group:
    """A consumer group as its coordinator describes it; one that does not exist is DEAD and empty."""

    state: ConsumerGroupState
    members: tuple[Member, ...]


def unique(prefix: str) -> str:
    """Make a name for a topic or a group that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class Cluster:
    """A Kafka cluster; `client` holds librdkafka properties a client needs beyond `bootstrap` (SASL, TLS)."""

    bootstrap: str
    client: Mapping[str, str] = field(default_factory=dict)

    def config(self, **properties: Any) -> dict[str, Any]:
        """Return librdkafka properties for a client; in keywords `_` stands for `.`."""
        extra = {key.replace("_", "."): value for key, value in properties.items()}
        return {"bootstrap.servers": self.bootstrap, **self.client, **extra}

    def warm_up(self, timeout_s: float = 60.0) -> None:
        """Make the cluster do once what is slow the first time: hand out a producer id, and form a group."""
        topic, group = self.create_topic(unique("warm-up"), timeout_s=timeout_s), unique("warm-up")
        # The first request for a producer id is refused while its coordinator loads: no news, so not logged.
        producer = Producer({**self.config(enable_idempotence=True), "log_level": 2})
        producer.produce(topic, b"")
        if producer.flush(timeout_s):
            raise TimeoutError(f"no producer id within {timeout_s} s")
        config = self.config(group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)
        consumer = Consumer(config)
        try:
            consumer.subscribe([topic])
            if consumer.poll(timeout_s) is None:
                raise TimeoutError(f"no group within {timeout_s} s")
        finally:
            consumer.close()

    def identity(self, timeout_s: float = 10.0) -> str:
        """Return the cluster's id."""
        return AdminClient(self.config()).cluster_id(timeout_s)

    def advertised(self, timeout_s: float = 10.0) -> set[str]:
        """Return the host:port that each broker tells its clients to use."""
        brokers = AdminClient(self.config()).list_topics(timeout=timeout_s).brokers
        return {f"{broker.host}:{broker.port}" for broker in brokers.values()}

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None, timeout_s: float = 20.0
    ) -> str:
        """Create a topic (replication 1) and return its name once every partition has a leader."""
        admin = AdminClient(self.config())
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config or {}))
        admin.create_topics([topic], request_timeout=timeout_s)[name].result(timeout_s + 5)

        def led() -> bool:
            found = admin.list_topics(name, timeout=timeout_s).topics[name].partitions.values()
            return len(found) == partitions and all(partition.leader >= 0 for partition in found)

        _look_until(led, f"topic {name} has no leaders", timeout_s)
        return name

    def grow_topic(self, name: str, partitions: int, timeout_s: float = 20.0) -> None:
        """Divide a topic into more partitions; return when the controller has."""
        admin = AdminClient(self.config())
        new = NewPartitions(name, partitions)
        admin.create_partitions([new], request_timeout=timeout_s)[name].result(timeout_s + 5)

    def delete_topic(self, name: str, timeout_s: float = 20.0) -> None:
        """Delete a topic; return when it is gone from the brokers' metadata: what comes after may bear its name."""
        admin = AdminClient(self.config())
        admin.delete_topics([name], request_timeout=timeout_s)[name].result(timeout_s + 5)
        there = f"topic {name} is still there"
        _look_until(lambda: name not in admin.list_topics(timeout=timeout_s).topics, there, timeout_s)

    def empty_topic(self, name: str, timeout_s: float = 20.0) -> None:
        """Delete every record of a compacted topic; its offsets go on."""
        admin = AdminClient(self.config())
        numbers = admin.list_topics(name, timeout=timeout_s).topics[name].partitions
        policy = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)  # else refused
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[policy])
        ends = [TopicPartition(name, number, OFFSET_END) for number in numbers]
        for future in admin.incremental_alter_configs([resource], request_timeout=timeout_s).values():
            future.result(timeout_s + 5)

        def emptied() -> bool:
            try:
                for deletion in admin.delete_records(ends, request_timeout=timeout_s).values():
                    deletion.result(timeout_s + 5)
            except KafkaException as refusal:
                if refusal.args[0].code() == KafkaError.POLICY_VIOLATION:
                    return False  # the policy is the controller's already, and not yet the broker's
                raise
            return True

        _look_until(emptied, f"topic {name} cannot be emptied", timeout_s)

    def produce(
        self,
        topic: str,
        pairs: Iterable[tuple[str | bytes | None, str | bytes | None]],
        *,
        partition: int = -1,
        headers: Iterable[tuple[str, str | bytes | None]] = (),
        timeout_s: float = 20.0,
    ) -> list[tuple[int, int]]:
        """Write (key, value) pairs in order, each with `headers`; return their (partition, offset) in order.

        Keys are spread as the Java clients do (murmur2). Nothing is tried twice, so nothing is written twice: raises
        KafkaException when any of them was not acknowledged, TimeoutError when that is not known in time.
        """
        landed: dict[int, tuple[int, int]] = {}
        refused: list[KafkaError] = []

        def note(index: int, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                refused.append(error)
            landed[index] = (message.partition() or 0, message.offset() or 0)

        # Nothing goes before the flush: what is written in one call is one batch, so that nobody reads a part of it.
        producer = Producer(self.config(acks="all", retries=0, partitioner="murmur2_random", linger_ms=10_000))
        for index, (key, value) in enumerate(pairs):
            producer.produce(topic, value, key, partition, on_delivery=partial(note, index), headers=list(headers))
            producer.poll(0)
        if left := producer.flush(timeout_s):
            producer.purge()
            raise TimeoutError(f"{left} records for {topic} not acknowledged within {timeout_s} s")
        if refused:
            raise KafkaException(refused[0])
        return [landed[index] for index in sorted(landed)]

    def read_all(self, topic: str, timeout_s: float = 20.0) -> list[Record]:
        """Read every partition from its beginning to its end; return the records by partition and offset.

        The end is the consumer's end-of-partition event, so holes left by compaction or transactions do no harm.
        """
        return self._read(topic, timeout_s, lambda _, complete: complete)

    def wait_for_records(
        self, topic: str, predicate: Callable[[list[Record]], bool], timeout_s: float = 20.0
    ) -> list[Record]:
        """Follow a topic from its beginning until `predicate` holds of all its records; return those."""
        return self._read(topic, timeout_s, lambda records, _: predicate(records))

    def compact(self, topic: str, timeout_s: float = 60.0) -> list[Record]:
        """Wait until every record that is overwritten or a tombstone now has left the log; return what stands there.

        For topics made with FAST_COMPACTION. A segment is compacted only when a later append has closed it, so records
        are appended meanwhile: copies of a live one of the same partition, which change nothing for a reader, as long
        as nobody else is writing there.
        """
        obsolete = obsolete_offsets(self.read_all(topic))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            standing = self.read_all(topic)
            left = obsolete & {(record.partition, record.offset) for record in standing}
            if not left:
                return standing
            for partition in {partition for partition, _ in left}:
                again = _harmless_copy([record for record in standing if record.partition == partition])
                self.produce(topic, [(again.key, again.value)], partition=partition, headers=again.headers)
            time.sleep(0.2)  # the cleaner tells nobody when it is done
        raise TimeoutError(f"{len(left)} obsolete records still in {topic} after {timeout_s} s")

    def describe_group(self, group: str, timeout_s: float = 10.0) -> Group:
        """Ask the group's coordinator for its state and members."""
        admin = AdminClient(self.config())  # named: an answer never comes to a client that is gone
        try:
            found = admin.describe_consumer_groups([group], request_timeout=timeout_s)[group].result(timeout_s + 5)
        except KafkaException as failure:
            if failure.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return Group(ConsumerGroupState.DEAD, ())
            raise
        return Group(found.state, tuple(_member(member) for member in found.members))

    def wait_for_group(self, group: str, predicate: Callable[[Group], bool], timeout_s: float = 20.0) -> Group:
        """Ask again until `predicate` holds of the group; return it."""
        deadline = time.monotonic() + timeout_s
        while not predicate(found := self.describe_group(group)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"group {group} after {timeout_s} s: {found}")
            time.sleep(0.05)  # a coordinator can be asked, not listened to
        return found

    def _read(self, topic: str, timeout_s: float, done: Callable[[list[Record], bool], bool]) -> list[Record]:
        deadline = time.monotonic() + timeout_s
        records: list[Record] = []
        with self._reader(topic, timeout_s) as (consumer, ends):
            while (left := deadline - time.monotonic()) > 0:
                first = consumer.poll(left)
                # A message has the length of its value, so a tombstone is false.
                for message in [first, *consumer.consume(1000, 0)] if first is not None else []:
                    error = message.error()
                    if error is None:
                        records.append(_record(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ends.discard(message.partition())
                    elif not error.retriable():
                        raise KafkaException(error)
                if done(records, not ends):
                    return sorted(records, key=lambda record: (record.partition, record.offset))
        last = "\n".join(map(str, records[-8:]))
        raise TimeoutError(f"not seen in {topic} within {timeout_s} s; {len(records)} records, the last:\n{last}")

    @contextmanager
    def _reader(self, topic: str, timeout_s: float) -> Iterator[tuple[Consumer, set[int | None]]]:
        config = self.config(group_id=unique("reader"), enable_partition_eof=True, enable_auto_commit=False)
        config["fetch.wait.max.ms"] = 20  # the end of a partition is reported by the fetch that finds nothing
        consumer = Consumer(config)
        try:
            partitions = consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
            if not partitions:
                raise LookupError(f"there is no topic {topic}")
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
            yield consumer, set(partitions)
        finally:
            consumer.close()


def _look_until(holds: Callable[[], bool], trouble: str, timeout_s: float) -> None:
    """Look again and again until something holds; TimeoutError with the trouble if it does not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{trouble} after {timeout_s} s")
        time.sleep(0.02)  # a broker follows the controller's log; nobody is told when it has


def obsolete_offsets(records: list[Record]) -> set[tuple[int, int]]:
    """Return (partition, offset) of what compaction removes: overwritten records and tombstones."""
    newest = {(record.partition, record.key): record for record in records}
    kept = {(record.partition, record.offset) for record in newest.values() if record.value is not None}
    return {(record.partition, record.offset) for record in records} - kept


def _harmless_copy(records: list[Record]) -> Record:
    newest = {record.key: record for record in records}
    return next((record for record in newest.values() if record.value is not None), records[-1])


def _record(message: Message) -> Record:
    headers: Any = message.headers() or ()  # always a list of pairs of str and bytes when read
    return Record(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=message.key(),
        value=message.value(),
        timestamp_ms=message.timestamp()[1],
        headers=tuple(headers),
    )


def _member(member: Any) -> Member:
    assigned = member.assignment.topic_partitions
    return Member(member.member_id, member.client_id, frozenset((one.topic, one.partition) for one in assigned))
