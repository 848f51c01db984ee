"""The topics in which the bridge speaks of itself: statuses, dead letters, gaps, and how far everything is safe.

One producer writes them all. A consumer without a group reads the compacted two, statuses and state, to their ends
before the first record is written, and follows them from there on. Everything belongs to one thread; no call waits
longer than it says.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.errors import KafkaUnusable
from bridge.kafka import Log, follower, library_logger, opened
from bridge.model import Progress, Truth, Unusable
from bridge.publish import notices
from bridge.publish.gaps import GapBook
from bridge.publish.statuses import StatusBook
from bridge.publish.topics import LETTER_MAX_BYTES
from bridge.settings import Settings

#: Records heard in one turn, and records that may wait for Kafka before nothing more is written.
HEAR_MAX = 5_000
WAITING_MAX = 20_000
#: Seconds that asking for a topic's partitions, or for one's end, may take.
ASK_S = 5.0
END_S = 1.0

Place = tuple[str, int]


class Reporter:
    """Keeps the topics true; ``caught_up`` once those that are followed were read to their ends."""

    def __init__(self, settings: Settings, instance: str, log: Log) -> None:
        self.book = StatusBook(settings.name, instance)
        self.gaps = GapBook(settings.name)
        self._name = settings.name
        self._topics = settings.topics
        self._log = log
        self._ends: dict[Place, int] | None = None  # where the end of each partition was met last; -1 for not yet
        self._states: dict[bytes, Progress] = {}
        logger = {"logger": library_logger(log)}
        self._consumer = opened(Consumer, {**follower(settings.kafka, f"{settings.group_id}-status"), **logger})
        fixed: dict[str, Any] = {
            "acks": "all",
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "partitioner": "murmur2_random",
        }
        defaults = {"linger.ms": 5, "message.max.bytes": LETTER_MAX_BYTES}
        self._producer = opened(Producer, {**defaults, **settings.kafka.as_librdkafka(), **fixed, **logger})
        self._said: int | None = None  # the trouble that was logged last

    @property
    def caught_up(self) -> bool:
        """Tell whether the topics that are followed were read to their ends once."""
        return self._ends is not None and -1 not in self._ends.values()

    @property
    def waiting(self) -> int:
        """How many records Kafka has not acknowledged."""
        return len(self._producer) + len(self.gaps)

    def turn(self, timeout_s: float = 0.0) -> None:
        """Hear what is there, waiting up to ``timeout_s`` for the first record, and take Kafka's answers.

        Raises:
            KafkaUnusable: we may not read a topic, and have not read it yet.
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

    def catch_up(self, timeout_s: float) -> None:
        """Read to the ends as they are now: a predecessor's last words came just before."""
        deadline = time.monotonic() + timeout_s
        try:
            missing = [place for place in self._ends or () if self._end(place) > self._position(place)]
            while missing and time.monotonic() < deadline:
                self.turn(0.05)
                missing = [place for place in missing if self._end(place, cached=True) > self._position(place)]
        except KafkaException as error:
            self._log("report_topic_trouble", level="warning", why=str(error))

    def progress(self, partition: int) -> Progress | None:
        """Give how far a control partition's last owner said that everything was safe."""
        return self._states.get(notices.state_key(self._name, partition))

    def write(
        self, truths: Iterable[Truth], asked: Mapping[int, Collection[str]], now_us: int, *, hurry: bool = False
    ) -> None:
        """Write the statuses that differ from the truth (see StatusBook.due)."""
        if self.caught_up and len(self._producer) <= WAITING_MAX:
            for key, value in self.book.due(truths, asked, now_us, hurry=hurry):
                self._produce(self._topics.status, key, value)

    def write_gaps(self) -> None:
        """Write the gaps that wait, as far as there is room."""
        for key, value in self.gaps.take(WAITING_MAX - len(self._producer)):
            self._produce(self._topics.gaps, key, value)

    def write_state(self, partition: int, progress: Progress) -> None:
        """Write how far everything is safe."""
        self._produce(self._topics.state, *notices.state(progress, bridge=self._name, partition=partition))

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
        places: list[Place] = []
        try:
            for topic in (self._topics.status, self._topics.state):
                found = self._consumer.list_topics(topic, timeout=ASK_S).topics[topic]
                places += [(topic, number) for number in found.partitions]
        except KafkaException:
            return  # Kafka is away: the next turn asks again
        self._ends = dict.fromkeys(places, -1)
        self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])

    def _end(self, place: Place, *, cached: bool = False) -> int:
        _, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=END_S, cached=cached)
        return high

    def _position(self, place: Place) -> int:
        """Give the offset before which everything was heard; what compaction took need not be."""
        (position,) = self._consumer.position([TopicPartition(*place)])
        return max(position.offset, (self._ends or {}).get(place, -1))

    def _hear(self, message: Message) -> None:
        error, place = message.error(), (message.topic() or "", message.partition() or 0)
        if error is None:
            self._take(place[0], message.key(), message.value())
        elif error.code() == KafkaError._PARTITION_EOF and self._ends is not None:  # noqa: SLF001
            self._ends[place] = message.offset() or 0
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and not self.caught_up:
            what = f"Kafka refuses reading the topic {place[0]}: {error.str()}"
            raise KafkaUnusable(what, "grant our user READ and DESCRIBE on the topic")
        elif error.code() != self._said:
            self._said = error.code()
            self._log("report_topic_trouble", level="warning", why=f"{error.name()}: {error.str()}")

    def _take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        if topic == self._topics.status:
            self.book.hear(key, value)
            return
        progress = notices.read_state(value) if value is not None else None
        if key is not None and progress is not None and key.startswith(f"{self._name}/".encode()):
            self._states[key] = progress

    def _produce(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        try:
            self._producer.produce(topic, value, key, on_delivery=self._answered, headers=headers)
        except (BufferError, KafkaException) as error:
            self._log("notice_refused", level="error", topic=topic, why=str(error))

    def _answered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._log("notice_refused", level="error", topic=message.topic(), why=f"{error.name()}: {error.str()}")
