"""The control topic, read as a member of the consumer group: the one door to Kafka's consumer.

Kafka decides who owns which partition (classic protocol, cooperative-sticky, offsets never committed); this file reads
what we own from its beginning, folds it, and tells a `Listener`. Rules:

- `Listener.on_desired` comes only after a partition was read to its end: the end-of-partition event, never offset
  arithmetic, because compaction and transactions leave holes.
- *Revoked* means that another member waits for the partition: the rebalance goes on when `Listener.on_revoked` returns.
- *Lost* means that the group no longer hears us, or that the topic is gone: what is desired stays as it was. When the
  group answers, the partition is either ours again, and is read anew, or another's: then it is revoked after all.
  (A deleted topic's partitions are taken from us by a revocation or as lost, as the race may end.)
- Errors that pass are trouble in the snapshot. Only what an operator must mend, before anything was ever assigned, is
  raised.
- A topic deleted and made anew would be read on from the old position. So an error that casts doubt on the topic makes
  every owned partition be read again from its beginning; what is in force stays until that reading is complete.

Everything but `snapshot` belongs to one thread; callbacks run on it, inside `turn`.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from bridge.control.desired import Fold, Result
from bridge.control.kafka import OUT_OF_REACH, TOPIC_DOUBTS, Log, library_logger, opened, refusal
from bridge.control.standing import Standing
from bridge.model import ControlSnapshot, Desired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bridge.errors import KafkaUnusable
    from bridge.settings import Settings

#: Records taken at once, and batches per turn: a busy topic must not keep a turn from ending.
BATCH = 500
BATCHES = 40

#: Heartbeats carry the news of a rebalance: this bounds what a clean hand-over costs.
HEARTBEAT_MAX_S = 0.5

#: What `Listener.on_revoked` may take beyond the shutdown budget before the group gives us up.
POLL_MARGIN_S = 60.0


#: Seconds to ask whether a revoked partition's topic is still there: without an answer, it is.
GONE_S = 1.0

#: Seconds between two readings for doubt: a topic that is gone is in doubt all the time.
REREAD_S = 1.0


class Listener(Protocol):
    """Who acts on what the control topic says; every call comes from inside `ControlTopic.turn`."""

    def on_assigned(self, partition: int) -> None:
        """Learn that a partition is ours; it is about to be read to its end."""
        ...

    def on_desired(self, desired: Desired) -> None:
        """Learn what is desired: once when the partition was read to its end, then after each batch of changes."""
        ...

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Close upstream for these partitions; the successor may connect as soon as this returns."""
        ...

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Learn that the group no longer hears us; nobody knows whose these partitions are now."""
        ...


@dataclass(slots=True)
class _Share:
    """A partition that is ours, or was ours when the group lost us."""

    fold: Fold
    owned: bool = True
    caught_up: bool = False
    next_offset: int = 0
    told: Desired | None = None


class ControlTopic:
    """A member of the group; it joins at the first `turn`."""

    def __init__(
        self, settings: Settings, listener: Listener, log: Log, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic = settings.topics.subscriptions
        self._about = f"the topic {self._topic} to the group {settings.group_id}"
        self._listener = listener
        self._log = log
        self._clock = clock
        self._standing = Standing(settings.group.session_timeout_s)
        self._shares: dict[int, _Share] = {}
        self._records = Counter({str(result): 0 for result in Result})
        self._refusal: KafkaUnusable | None = None
        self._topic_trouble = ""
        self._topic_trouble_since = 0.0
        self._doubted = False
        self._no_reread_before = 0.0
        self._joining = False
        self._closing = False
        self._snapshot = ControlSnapshot(records=dict(self._records))
        self._consumer = opened(Consumer, self._properties(settings))

    def turn(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for something to happen, take in all that is there, and tell the listener.

        Raises:
            KafkaUnusable: Kafka refuses us, and nothing was ever assigned.
        """
        if not self._joining:
            self._joining = True
            self._consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        first = self._consumer.poll(timeout_s)
        if first is not None:
            self._take([first])
            self._drain()
        if self._doubted and self._clock() >= self._no_reread_before:
            self._read_again()
        self._tell()
        self._snapshot = self._look()
        if self._refusal is not None:
            raise self._refusal

    def snapshot(self) -> ControlSnapshot:
        """Give how things stood at the end of the last turn; any thread may ask."""
        return self._snapshot

    def partition_count(self, timeout_s: float = 5.0) -> int | None:
        """Ask Kafka for the number of control partitions; ``None`` while it cannot say."""
        try:
            topic = self._consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
        except KafkaException as error:
            self._standing.remark(str(error))
            return None
        return len(topic.partitions) or None

    def close(self) -> None:
        """Leave the group, so that a successor may start; whoever calls has closed upstream before.

        Takes five seconds at most: so long does the library wait for the coordinator's answer.
        """
        self._closing = True
        self._consumer.close()
        self._shares.clear()
        self._standing.member = False
        self._snapshot = self._look()

    def _properties(self, settings: Settings) -> dict[str, Any]:
        session_s = settings.group.session_timeout_s
        return {
            "client.id": settings.name,
            "fetch.wait.max.ms": 100,  # the end of a partition is reported by the fetch that finds nothing
            "topic.metadata.refresh.interval.ms": 5000,  # how soon a deleted topic is missed
            "topic.metadata.propagation.max.ms": 1000,
            **settings.kafka.as_librdkafka(),
            "group.id": settings.group_id,
            "group.protocol": "classic",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": round(session_s * 1000),
            "heartbeat.interval.ms": round(min(session_s / 3, HEARTBEAT_MAX_S) * 1000),
            "max.poll.interval.ms": round((max(session_s, settings.shutdown.budget_s) + POLL_MARGIN_S) * 1000),
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "statistics.interval.ms": 1000,
            "stats_cb": lambda raw: self._standing.statistics(raw, self._clock()),
            "error_cb": self._judge,
            "logger": library_logger(self._log),
        }

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        arriving = [one.partition for one in partitions]
        self._release([number for number, share in self._shares.items() if not share.owned and number not in arriving])
        for number in arriving:
            share = self._shares.setdefault(number, _Share(Fold(number)))
            share.fold.begin_reread()
            share.owned, share.caught_up = True, False
            self._listener.on_assigned(number)
        consumer.incremental_assign(self._from_beginning(arriving))
        self._standing.joined(self._clock())
        self._log("group_assigned", arriving=arriving, owned=self._owned())

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closing:
            return  # the library gives the partitions back by itself
        numbers = [one.partition for one in partitions]
        try:
            if self._topic_is_gone():
                self._doubt("the topic does not exist any more")
                self._lose(numbers)  # taken from us, and given to nobody
            else:
                self._release(numbers)
        finally:
            consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closing:
            return
        self._standing.lost(self._clock())
        try:
            self._lose([one.partition for one in partitions])
        finally:
            consumer.incremental_unassign(partitions)

    def _lose(self, numbers: list[int]) -> None:
        for number in numbers:
            self._shares[number].owned = self._shares[number].caught_up = False
        self._log("group_lost", partitions=numbers, trouble=self._topic_trouble or self._standing.trouble)
        self._listener.on_lost(numbers)

    def _release(self, numbers: list[int]) -> None:
        if not numbers:
            return
        self._log("group_revoked", partitions=numbers)
        try:
            self._listener.on_revoked(numbers)
        finally:
            for number in numbers:
                self._shares.pop(number, None)

    def _drain(self) -> None:
        for _ in range(BATCHES):
            batch = self._consumer.consume(BATCH, 0)
            if not batch:
                return
            self._take(batch)

    def _take(self, batch: Iterable[Message]) -> None:
        now = self._clock()
        for message in batch:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                self._judge(error)
                continue
            share = self._shares.get(message.partition() or 0)
            if share is None or not share.owned:
                continue  # was on its way when the partition left
            offset = message.offset() or 0
            if error is None:
                self._records[share.fold.apply(offset, message.key(), message.value(), now)] += 1
                share.next_offset = offset + 1
            else:
                self._reach_end(share, offset)

    def _reach_end(self, share: _Share, offset: int) -> None:
        share.next_offset = offset
        share.fold.caught_up()
        if self._topic_trouble:
            self._topic_trouble = ""
            self._log("control_topic_read_again")
        if not share.caught_up:
            share.caught_up, share.told = True, None

    def _judge(self, error: KafkaError) -> None:
        """Tell a refusal from a doubt about the topic, from trouble, from what one broker's failure says."""
        now, text = self._clock(), f"{error.name()}: {error.str()}"
        if not self._standing.ever_joined:
            self._refusal = self._refusal or refusal(error, self._about)
        if error.code() in TOPIC_DOUBTS:
            self._doubt(text)
        elif error.fatal() or error.code() in OUT_OF_REACH or refusal(error, self._about):
            self._standing.failed(text, now)
        else:
            self._standing.remark(text)

    def _doubt(self, text: str) -> None:
        self._doubted = True
        if not self._topic_trouble:
            self._topic_trouble, self._topic_trouble_since = text, self._clock()
            self._log("control_topic_in_doubt", trouble=text)

    def _topic_is_gone(self) -> bool:
        try:
            found = self._consumer.list_topics(self._topic, timeout=GONE_S).topics[self._topic]
        except KafkaException:
            return False
        return found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART

    def _read_again(self) -> None:
        """Read every owned partition from its beginning; what is in force stays until that is done."""
        self._doubted = False
        self._no_reread_before = self._clock() + REREAD_S
        owned = self._owned()
        for number in owned:
            self._shares[number].fold.begin_reread()
            self._shares[number].caught_up = False
        if owned:
            self._consumer.incremental_unassign([TopicPartition(self._topic, number) for number in owned])
            self._consumer.incremental_assign(self._from_beginning(owned))

    def _from_beginning(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in numbers]

    def _tell(self) -> None:
        for share in list(self._shares.values()):
            if share.owned and share.caught_up and (desired := share.fold.desired()) is not share.told:
                share.told = desired
                self._listener.on_desired(desired)

    def _owned(self) -> tuple[int, ...]:
        return tuple(sorted(number for number, share in self._shares.items() if share.owned))

    def _look(self) -> ControlSnapshot:
        owned, standing = self._owned(), self._standing
        since = self._topic_trouble_since if self._topic_trouble else standing.trouble_since
        return ControlSnapshot(
            beat=self._clock(),
            member=standing.member,
            owned=owned,
            caught_up=tuple(number for number in owned if self._shares[number].caught_up),
            records=MappingProxyType(dict(self._records)),
            lag=sum(self._behind(number) for number in owned),
            old_records=sum(share.fold.old_records for share in self._shares.values()),
            trouble=self._topic_trouble or standing.trouble,
            trouble_since=since,
        )

    def _behind(self, number: int) -> int:
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
        return max(0, high - self._shares[number].next_offset)
