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

Everything but `snapshot` belongs to one thread; callbacks run on it, inside `turn`. Records are taken one by one: the
order of errors, records and rebalances means something, and only `poll` keeps it. Inside a callback the consumer must
not be asked anything: the library would abort the process at the next callback.
"""

from __future__ import annotations

import time
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from bridge.control import kafka
from bridge.control.deference import Deference
from bridge.control.desired import Fold, Result, UnusableNames
from bridge.control.division import Division, News
from bridge.control.share import Share
from bridge.control.standing import Standing
from bridge.kafka import Log, library_logger, opened
from bridge.model import Unusable
from bridge.snapshots import ControlSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.control.listener import Listener
    from bridge.errors import KafkaUnusable
    from bridge.settings import Settings

#: The header that an operator's confirmed removals bear.
_CONFIRMED = ("tickbridge-confirm", b"true")

#: Records taken in one turn: a busy topic must not keep a turn from ending.
RECORDS_PER_TURN = 20_000

#: Seconds to ask for metadata while a rebalance waits, and between two questions while we stand aside.
ASK_S = 1.0
ASK_AGAIN_S = 2.0

#: Seconds between two readings for doubt: a topic that is gone is in doubt all the time.
REREAD_S = 1.0


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
        self._deference = Deference(settings.group.session_timeout_s, holds=settings.group.lost_hold_s != 0)
        self._shares: dict[int, Share] = {}
        self._records = Counter({str(result): 0 for result in Result})
        self._refusal: KafkaUnusable | None = None
        self._topic_trouble = ""
        self._topic_trouble_since = 0.0
        self._doubted = False
        self._no_reread_before = 0.0
        self._subscribed = False
        self._ask_at = 0.0  # when to ask whether Kafka answers, while we stand aside
        self._division = Division()
        self._divided_anew = False
        self._unusable = UnusableNames()
        self._closing = False
        self._snapshot = ControlSnapshot(records=dict(self._records))
        self._properties = {**kafka.member_properties(settings), "logger": library_logger(log)}
        callbacks = {"stats_cb": self._weigh, "error_cb": self._judge}
        self._consumer = opened(Consumer, {**self._properties, **callbacks})

    def turn(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for something to happen, take in all that is there, and tell the listener.

        Raises:
            KafkaUnusable: Kafka refuses us, and nothing was ever assigned.
        """
        self._join_or_leave()
        message = self._consumer.poll(timeout_s)
        room, counted = RECORDS_PER_TURN, False
        while message is not None:
            if self._division.due and not counted:  # once a turn: it waits where Kafka does not answer
                counted = True
                self._count_partitions()
            self._take(message)
            room -= 1
            message = self._consumer.poll(0) if room else None
        if self._division.due and not counted and self._owned():
            self._count_partitions()
        if self._divided_anew:
            self._begin_anew()
        if self._doubted and self._clock() >= self._no_reread_before:
            self._read_again()
        self._tell()
        self._snapshot = self._look()
        if self._refusal is not None:
            raise self._refusal

    def _join_or_leave(self) -> None:
        """Join at the first turn; as a standby, stay out while Kafka is silent."""
        now, deference = self._clock(), self._deference
        if deference.aside:
            if now < self._ask_at:
                return
            self._ask_at = now + ASK_AGAIN_S
            if not deference.returns(now, answered=kafka.look_up(self._properties, self._topic, ASK_S) is not None):
                return
        elif self._subscribed:
            if deference.leaves(self._standing, standby=not self._shares):
                self._log("standby_steps_aside", why="the group's coordinator is silent; the owner comes back first")
                self._standing.lost(now)
                self._consumer.unsubscribe()
            return
        self._subscribed = True
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def snapshot(self) -> ControlSnapshot:
        """Give how things stood at the end of the last turn; any thread may ask."""
        return self._snapshot

    def confirmed_since(self, moment: float) -> bool:
        """Tell whether the group has counted us in since a monotonic second."""
        return self._standing.confirmed_since(moment)

    def folds(self) -> list[Fold]:
        """Give the folds of the owned partitions that were told of and read to their end."""
        return [share.fold for share in self._shares.values() if share.announced and share.caught_up]

    @property
    def partitions(self) -> int:
        """The number of control partitions, as of the last assignment."""
        return self._division.partitions

    def close(self) -> None:
        """Leave the group, so that a successor may start; whoever calls has closed upstream before.

        Takes five seconds at most: so long does the library wait for the coordinator's answer.
        """
        self._closing = True
        self._consumer.close()
        self._shares.clear()
        self._standing.member = False
        self._snapshot = self._look()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        arriving = [one.partition for one in partitions]
        self._release([number for number, share in self._shares.items() if not share.owned and number not in arriving])
        for number in arriving:
            share = self._shares.setdefault(number, Share(Fold(number, self._listener.remembered)))
            share.fold.begin_reread()
            share.owned, share.announced, share.caught_up = True, False, False
        self._division.due = True  # the topic may have grown
        consumer.incremental_assign(self._from_beginning(arriving))
        if not self._owned():
            self._trust_topic()  # the group could divide it: a standby has nothing to read that would tell
        self._standing.joined(self._clock())
        self._log("group_assigned", arriving=arriving, owned=self._owned())

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closing:
            return  # the library gives the partitions back by itself
        numbers = [one.partition for one in partitions]
        try:
            if self._topic_trouble and kafka.topic_is_gone(self._properties, self._topic, ASK_S):
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
        numbers = [number for number in numbers if number in self._shares]
        shares = [self._shares[number] for number in numbers]
        told = [share.fold.partition for share in shares if share.announced]
        for share in shares:
            share.owned = share.announced = share.caught_up = False
        self._log("group_lost", partitions=numbers, trouble=self._topic_trouble or self._standing.trouble)
        if told:
            self._listener.on_lost(told)

    def _release(self, numbers: list[int]) -> None:
        numbers = [number for number in numbers if number in self._shares]
        if not numbers:
            return
        self._log("group_revoked", partitions=numbers)
        told = [number for number in numbers if self._shares[number].known]
        try:
            if told:
                self._listener.on_revoked(told)
        finally:
            for number in numbers:
                del self._shares[number]

    def _take(self, message: Message) -> None:
        error, share = message.error(), self._shares.get(message.partition() or 0)
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._judge(error)
            return
        if share is None or not share.owned:
            return  # was on its way when the partition left
        offset = message.offset() or 0
        if error is None:
            confirmed = _CONFIRMED in (message.headers() or ())
            result = share.fold.apply(
                offset, message.key(), message.value(), confirmed=confirmed, written_ms=message.timestamp()[1]
            )
            self._records[result] += 1
            share.next_offset = offset + 1
            if result is Result.INVALID and (why := share.fold.refusal) is not None:
                facts = (message.key(), message.value(), why.reason, why.detail, self._end(share.fold.partition))
                self._listener.on_unusable(Unusable(share.fold.partition, offset, *facts))
        else:
            self._reach_end(share, offset)

    def _reach_end(self, share: Share, offset: int) -> None:
        share.next_offset = offset
        share.fold.caught_up(offset)
        self._trust_topic()
        if not share.caught_up:
            share.caught_up, share.told = True, None

    def _weigh(self, statistics: str) -> None:
        self._standing.statistics(statistics, self._clock())

    def _judge(self, error: KafkaError) -> None:
        """Tell a refusal from a doubt about the topic, from trouble, from what one broker's failure says."""
        now, text = self._clock(), f"{error.name()}: {error.str()}"
        if not self._standing.ever_joined:
            self._refusal = self._refusal or kafka.refusal(error, self._about)
        if error.code() in kafka.TOPIC_DOUBTS:
            self._doubt(text)
        elif error.fatal() or error.code() in kafka.OUT_OF_REACH or kafka.refusal(error, self._about):
            self._standing.failed(text, now)
        else:
            self._standing.remark(text)

    def _doubt(self, text: str) -> None:
        self._doubted = True
        if not self._topic_trouble:
            self._topic_trouble, self._topic_trouble_since = text, self._clock()
            self._log("control_topic_in_doubt", trouble=text)

    def _trust_topic(self) -> None:
        if self._topic_trouble:
            self._topic_trouble = ""
            self._log("control_topic_trusted")

    def _read_again(self) -> None:
        """Read every owned partition from its beginning; what is in force stays until that is done."""
        self._doubted = False
        self._no_reread_before = self._clock() + REREAD_S
        for number in self._owned():
            self._shares[number].fold.begin_reread()
            self._shares[number].caught_up = False
        try:
            for place in self._from_beginning(self._owned()):
                self._consumer.seek(place)
        except KafkaException:
            self._doubted = True  # not now: the partition has no leader, or the topic is gone

    def _count_partitions(self) -> None:
        former, count = self._division.partitions, kafka.count_partitions(self._consumer, self._topic, ASK_S)
        news = self._division.heard(count, self._shares)
        for share in self._shares.values():  # unknown: no record is in the wrong one
            share.fold.partitions = 1 if news is News.UNKNOWN else self._division.partitions
        if news is News.LATE:
            self._doubted, self._no_reread_before = True, 0.0
            self._divided_anew = not any(share.known for share in self._shares.values())
        elif news is News.ANEW:
            self._divided_anew = True
            self._log("control_topic_divided_anew", level="warning", before=former, now=self._division.partitions)

    def _begin_anew(self) -> None:
        """Take what is ours as if it came just now: other symbols belong to a partition than before."""
        self._divided_anew = False
        owned = self._owned()
        self._release([number for number, share in self._shares.items() if share.known])
        for number in owned:
            self._shares[number] = Share(Fold(number, self._listener.remembered, self._division.partitions))
        self._doubted, self._no_reread_before = True, 0.0

    def _from_beginning(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in numbers]

    def _tell(self) -> None:
        for number, share in list(self._shares.items()):
            if share.owned and not share.announced and not self._division.due:
                share.announced = share.known = True
                self._listener.on_assigned(number)
            if share.announced and share.caught_up and (desired := share.fold.desired()) is not share.told:
                share.told = desired
                self._listener.on_desired(desired)

    def _owned(self) -> tuple[int, ...]:
        return tuple(sorted(number for number, share in self._shares.items() if share.owned))

    def _look(self) -> ControlSnapshot:
        owned, standing = self._owned(), self._standing
        return ControlSnapshot(
            beat=self._clock(),
            member=standing.member,
            owned=owned,
            caught_up=tuple(number for number in owned if self._shares[number].caught_up),
            records=MappingProxyType(dict(self._records)),
            lag=sum(self._behind(number) for number in owned),
            old_records=sum(share.fold.old_records for share in self._shares.values()),
            unusable=self._unusable.of([share.fold for share in self._shares.values()]),
            trouble=self._topic_trouble or standing.trouble,
            trouble_since=self._topic_trouble_since if self._topic_trouble else standing.trouble_since,
        )

    def _behind(self, number: int) -> int:
        return max(0, self._end(number) - self._shares[number].next_offset)

    def _end(self, number: int) -> int:
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
        return high
