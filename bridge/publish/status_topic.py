"""The status topic, written and followed, and the dead letters: what the bridge says about control records.

One producer writes both. A consumer without a group reads the status topic to its end before the first record is
written, and follows it from there on. Everything belongs to one thread; no call waits longer than it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.errors import KafkaUnusable
from bridge.kafka import Log, follower, library_logger, opened
from bridge.model import Truth, Unusable
from bridge.publish.statuses import StatusBook
from bridge.settings import Settings

#: Records heard in one turn, and records that may wait for Kafka before nothing more is written.
HEAR_MAX = 5_000
WAITING_MAX = 20_000
#: Seconds that asking for the topic's partitions may take.
ASK_S = 5.0


class StatusTopic:
    """Keeps the status topic true; ``caught_up`` once it was read to its end."""

    def __init__(self, settings: Settings, instance: str, log: Log) -> None:
        self.book = StatusBook(settings.name, instance)
        self._topics = settings.topics
        self._log = log
        self._ends: set[int] | None = None  # partitions whose end was not reached yet
        logger = {"logger": library_logger(log)}
        self._consumer = opened(Consumer, {**follower(settings.kafka, f"{settings.group_id}-status"), **logger})
        fixed: dict[str, Any] = {
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "partitioner": "murmur2_random",
        }
        self._producer = opened(Producer, {"linger.ms": 5, **settings.kafka.as_librdkafka(), **fixed, **logger})
        self._said: int | None = None  # the trouble that was logged last

    @property
    def caught_up(self) -> bool:
        """Tell whether the topic was read to its end once."""
        return self._ends is not None and not self._ends

    def turn(self, timeout_s: float = 0.0) -> None:
        """Hear what is there, waiting up to ``timeout_s`` for the first record, and take Kafka's answers.

        Raises:
            KafkaUnusable: we may not read the topic, and have not read it yet.
        """
        if self._ends is None:
            self._begin()
        message = self._consumer.poll(timeout_s)
        room = HEAR_MAX
        while message is not None:
            self._hear(message)
            room -= 1
            message = self._consumer.poll(0) if room else None
        self._producer.poll(0)

    def write(
        self, truths: Iterable[Truth], asked: Mapping[int, Collection[str]], now_us: int, *, hurry: bool = False
    ) -> int:
        """Write what differs from the truth (see StatusBook.due); return how many records that was."""
        if not self.caught_up or len(self._producer) > WAITING_MAX:
            return 0
        writes = self.book.due(truths, asked, now_us, hurry=hurry)
        for key, value in writes:
            self._produce(self._topics.status, key, value)
        return len(writes)

    def dead_letter(self, record: Unusable) -> None:
        """Set an unusable control record aside, byte for byte, with where it stood and why (contract 1.2)."""
        headers = [
            ("tickbridge-reason", record.reason),
            ("tickbridge-topic", self._topics.subscriptions),
            ("tickbridge-partition", str(record.partition)),
            ("tickbridge-offset", str(record.offset)),
        ]
        self._produce(self._topics.dead_letters, record.key, record.value, headers)

    def flush(self, timeout_s: float) -> int:
        """Wait for Kafka's answers; return how many are still missing."""
        return int(self._producer.flush(timeout_s))

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()

    def _begin(self) -> None:
        try:
            partitions = (
                self._consumer.list_topics(self._topics.status, timeout=ASK_S).topics[self._topics.status].partitions
            )
        except KafkaException:
            return  # Kafka is away: the next turn asks again
        self._ends = set(partitions)
        self._consumer.assign([TopicPartition(self._topics.status, number, OFFSET_BEGINNING) for number in partitions])

    def _hear(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self.book.hear(message.key(), message.value())
        elif error.code() == KafkaError._PARTITION_EOF and self._ends is not None:  # noqa: SLF001
            self._ends.discard(message.partition() or 0)
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and not self.caught_up:
            what = f"Kafka refuses reading the topic {self._topics.status}: {error.str()}"
            raise KafkaUnusable(what, "grant our user READ and DESCRIBE on the topic")
        elif error.code() != self._said:
            self._said = error.code()
            self._log("status_topic_trouble", level="warning", why=f"{error.name()}: {error.str()}")

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        try:
            self._producer.produce(topic, value, key, on_delivery=self._answered, headers=headers)
        except (BufferError, KafkaException) as error:
            self._log("notice_refused", level="error", topic=topic, why=str(error))

    def _answered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._log("notice_refused", level="error", topic=message.topic(), why=f"{error.name()}: {error.str()}")
