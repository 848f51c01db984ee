"""The topics in which the bridge speaks of itself: statuses, dead letters, gaps, and how far everything is safe.

One producer writes them all. A consumer without a group reads the compacted two, statuses and state, to their ends
before the first record is written, and follows them from there on. Everything belongs to one thread; no call waits
longer than it says.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from bridge.errors import KafkaUnusable
from bridge.kafka import SURE_PRODUCER, Log, follower, library_logger, opened
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
#: Seconds until a gap or a dead letter is written again that Kafka has refused, and bytes of letters kept for that.
REFUSED_PAUSE_S = 10.0
KEPT_MAX_BYTES = 8 * 1024 * 1024
#: Refusals that no time will end.
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
#: What to do when the producer has ended.
GRANT = "grant our user WRITE on its topics; `tickbridge check` names each right that it lacks"
START_AGAIN = "start the bridge again; if it ends again, see the brokers' logs"

Place = tuple[str, int]
#: Gives the partition of a key among so many.
PartitionOf = Callable[[bytes, int], int]


class Reporter:
    """Keeps the topics true; ``caught_up`` once those that are followed were read to their ends."""

    def __init__(
        self, settings: Settings, instance: str, log: Log, partition_of: PartitionOf,
        client: Callable[[dict[str, Any]], Producer] = Producer,
    ) -> None:  # fmt: skip
        self.book = StatusBook(settings.name, instance, partition_of)
        self.gaps = GapBook(settings.name)
        self._name = settings.name
        self._topics = settings.topics
        self._log = log
        self._partition_of = partition_of
        self.letters: set[tuple[int, int]] = set()  # dead letters that Kafka has not acknowledged: partition, offset
        self._ends: dict[Place, int] | None = None  # where the end of each partition was met last; -1 for not yet
        self._heard = Counter[Place]()  # the offset after the newest that was heard
        self._partitions = Counter[str]()  # of the topics that are followed
        self._states: dict[bytes, Progress] = {}
        logger = {"logger": library_logger(log)}
        self._consumer = opened(Consumer, {**follower(settings.kafka, f"{settings.group_id}-status"), **logger})
        defaults = {"linger.ms": 5, "message.max.bytes": LETTER_MAX_BYTES}
        self._producer = opened(client, {**defaults, **settings.kafka.as_librdkafka(), **SURE_PRODUCER, **logger})
        self._kept: list[Unusable] = []  # whose letters Kafka has refused
        self._kept_bytes = 0
        self._letters_at = self._gaps_at = 0.0  # when they may be written again
        self._fatal: KafkaError | None = None  # the producer's end
        self._said: int | None = None  # the trouble that was logged last
        self._refused: dict[str, int] = {}  # topic -> the refusal that was logged last

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
            KafkaUnusable: we may not read a topic, and have not read it yet, or can write nothing any more.
        """
        if self._ends is None:
            self._begin()
        if self._kept and time.monotonic() >= self._letters_at:
            kept, self._kept, self._kept_bytes = self._kept, [], 0
            for record in kept:
                self.dead_letter(record)
        message = self._consumer.poll(timeout_s)
        room = HEAR_MAX
        while message is not None:
            self._hear(message)
            room -= 1
            message = self._consumer.poll(0) if room else None
        try:
            self._producer.poll(0)
        except KafkaException as error:  # how confluent-kafka tells of a fatal error
            self._fatal = error.args[0]
        if self._fatal is not None:  # whoever comes next begins where the last state record ends: no gap is forgotten
            refused = self._fatal.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED
            what = f"Kafka refuses all that we write: {self._fatal.name()}: {self._fatal.str()}"
            raise KafkaUnusable(what, GRANT if refused else START_AGAIN)

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
        self, truths: Iterable[Truth], asked: Mapping[int, Collection[str]], now_us: int, *,
        hurry: bool = False, partitions: int = 1,
    ) -> bool:  # fmt: skip
        """Write the statuses that differ from the truth (see StatusBook.due); tell whether there was room to."""
        if not self.caught_up or len(self._producer) > WAITING_MAX:
            return False
        due = self.book.due(truths, asked, now_us, hurry=hurry, unsaid=self.letters, partitions=partitions)
        for key, value, partition in due:
            self._produce(self._topics.status, key, value, partition=partition)
        return True

    def write_gaps(self, *, hurry: bool = False) -> None:
        """Write the gaps that wait, as far as there is room; after a refusal in a while, unless in a ``hurry``."""
        if time.monotonic() < self._gaps_at and not hurry:
            return
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
        place = record.partition, record.offset
        self.letters.add(place)
        then = partial(self._letter_answered, record)
        self._produce(self._topics.dead_letters, record.key, record.value, headers=headers, then=then)

    def letters_before(self, partition: int, offset: int) -> int:
        """Give the offset before which every letter of a control partition is with Kafka, ``offset`` at most."""
        kept = ((one.partition, one.offset) for one in self._kept)
        return min([offset, *(at for place, at in (*self.letters, *kept) if place == partition)])

    def flush(self, timeout_s: float) -> int:
        """Wait for Kafka's answers; return how many are still missing."""
        try:
            return int(self._producer.flush(timeout_s))
        except KafkaException as error:  # the next turn tells of it
            self._fatal = error.args[0]
            return len(self._producer)

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()

    def _begin(self) -> None:
        places: list[Place] = []
        try:
            for topic in (self._topics.status, self._topics.state):
                found = self._consumer.list_topics(topic, timeout=ASK_S).topics[topic]
                if not found.partitions:
                    return  # the broker that was asked does not know it yet
                places += [(topic, number) for number in found.partitions]
        except KafkaException:
            return  # Kafka is away: the next turn asks again
        self._partitions = Counter(topic for topic, _ in places)
        self._ends = dict.fromkeys(places, -1)
        self._heard.clear()
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
            self._reach(place, message.offset() or 0, 1)
            self._take(place, message.key(), message.value())
        elif error.code() == KafkaError._PARTITION_EOF and self._ends is not None:  # noqa: SLF001
            self._ends[place] = message.offset() or 0
            self._reach(place, self._ends[place], 0)
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and not self.caught_up:
            what = f"Kafka refuses reading the topic {place[0]}: {error.str()}"
            raise KafkaUnusable(what, "grant our user READ and DESCRIBE on the topic")
        elif error.code() not in (self._said, KafkaError.GROUP_AUTHORIZATION_FAILED):  # our group is never joined
            self._said = error.code()
            self._log("report_topic_trouble", level="warning", why=f"{error.name()}: {error.str()}")

    def _reach(self, place: Place, offset: int, records: int) -> None:
        """Note how far a partition was heard; where that goes back, it is another topic's of the same name."""
        if offset < self._heard[place] and place[0] == self._topics.status:
            self._log("report_topic_made_anew", level="warning", topic=place[0])
            self.book.clear()
        self._heard[place] = offset + records

    def _take(self, place: Place, key: bytes | None, value: bytes | None) -> None:
        topic, partition = place
        stray = partition != self._partition_of(key or b"", self._partitions[topic])
        if topic == self._topics.status:
            self.book.hear(key, value, partition if stray else None)
            return
        progress = notices.read_state(value) if value is not None else None
        if key is not None and progress is not None and key.startswith(f"{self._name}/".encode()):
            known = self._states.get(key)
            if known is None or not stray or known.written_us <= progress.written_us:
                self._states[key] = progress

    def _letter_answered(self, record: Unusable, error: KafkaError | None) -> None:
        self.letters.discard((record.partition, record.offset))
        size = len(record.value or b"")
        if error is not None and error.code() not in TOO_LARGE and self._kept_bytes + size <= KEPT_MAX_BYTES:
            self._kept.append(record)
            self._kept_bytes += size
            self._letters_at = time.monotonic() + REFUSED_PAUSE_S

    def _produce(
        self, topic: str, key: bytes | None, value: bytes | None, *,
        partition: int = -1, headers: Any = None, then: Callable[[KafkaError | None], None] | None = None,
    ) -> None:  # fmt: skip
        answered = partial(self._answered, value, then)
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=answered, headers=headers)
        except (BufferError, KafkaException) as error:
            what = error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._QUEUE_FULL)  # noqa: SLF001
            self._refuse(what, topic, key, value)
            if then is not None:
                then(what)

    def _answered(
        self, value: bytes | None, then: Callable[[KafkaError | None], None] | None,
        error: KafkaError | None, message: Message,
    ) -> None:  # fmt: skip
        topic = message.topic() or ""
        if error is None:
            self._refused.pop(topic, None)
            if topic == self._topics.status and (message.partition() or 0) >= self._partitions[topic] > 0:
                self._ends = None  # the topic has grown: it is read anew, all of it
                self.book.clear()
        else:
            self._refuse(error, topic, message.key(), value)
        if then is not None:
            then(error)

    def _refuse(self, error: KafkaError, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Say that a record was not taken, once for many; all but a state record is written again."""
        if topic == self._topics.status:
            self.book.refused(key, value)
        elif topic == self._topics.gaps and value is not None:
            self.gaps.refused(value)
            self._gaps_at = time.monotonic() + REFUSED_PAUSE_S
        if self._refused.get(topic) != error.code():
            self._refused[topic] = error.code()
            self._log("notice_refused", level="error", topic=topic, why=f"{error.name()}: {error.str()}")
