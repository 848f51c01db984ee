"""The control thread: from the group's assignments and the control topic's records to the feed's mailbox.

Before it joins the group it waits until Kafka can be reached and all topics are there. While the process stops it
neither reads nor leaves: its partitions stay ours until the upstream connections are closed and the ticks delivered, so
that a successor never meets our connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import msgspec

from bridge.app.mailbox import Assigned, Mailbox, Revoked
from bridge.app.venue import Log
from bridge.control import records
from bridge.control.desired import Fold
from bridge.control.topic import ControlTopic
from bridge.errors import BadRecord, KafkaOutOfReach, KafkaUnusable
from bridge.model import Board, ControlSnapshot, Desired, State, Subscription, SymbolState, Truth, Unusable
from bridge.publish import topics
from bridge.publish.status_topic import StatusTopic
from bridge.settings import Settings

#: Seconds that one turn may sleep: how late a stop is noticed.
TURN_S = 0.2
#: Seconds until the statuses are compared again although nothing has changed: some were held back a moment.
AGAIN_S = 1.0
#: Seconds that the last statuses may take when nothing is left of the budget.
LAST_WORDS_S = 0.5
#: Seconds that one look for the topics may take, and the pause between two.
LOOK_S = 5.0
PAUSE_S = 1.0


def truths_of(fold: Fold, board: Board) -> Iterator[Truth]:
    """Say what the status of each symbol of a control partition should be; nothing of one that nobody judged yet."""
    rows, session = board.rows.get(fold.partition, {}), board.sessions.get(fold.partition, 0)
    wanted, invalid = fold.desired().wanted, fold.invalid
    for symbol in fold.symbols:
        subscription = wanted[symbol].subscription if symbol in wanted else None
        effective = msgspec.json.decode(records.encode(subscription)[1] or b"{}") if subscription else None
        row, bad = rows.get(symbol), invalid.get(symbol)
        if bad is not None:
            code, last_us = (row.code, row.last_tick_us) if row else ("", 0)
            row = SymbolState(symbol, code, State.INVALID, bad.reason, bad.detail, last_us)
            yield Truth(row, (fold.partition, bad.offset), effective, (), session)
        elif row is not None and subscription is not None:
            place = (fold.partition, wanted[symbol].offset)
            yield Truth(row, place, effective, subscription.warnings, session)


class Control:
    """The loop of the control thread; it is the control topic's listener too."""

    def __init__(
        self, settings: Settings, mailbox: Mailbox, log: Log, *, instance: str, board: Callable[[], Board]
    ) -> None:
        self._settings = settings
        self._mailbox = mailbox
        self._log = log
        self._topic: ControlTopic | None = None
        self._status: StatusTopic | None = None
        self._instance = instance
        self._board = board
        self._seen: tuple[object, ...] = ()  # what the statuses were last compared with
        self._partitions = 1
        self._stopping = Event()
        self._leaving = Event()
        self._again_at = 0.0
        self._deadline = 0.0  # by when to have left the group
        self._beat = time.monotonic()
        self._waiting = ControlSnapshot(beat=self._beat)  # what there is to see before the group is joined

    def run(self) -> None:
        """Read until stopped, then stay a member until told to leave.

        Raises:
            KafkaUnusable: Kafka refuses us, or a topic is missing.
        """
        if not self._await_topics():
            return
        self._status = status = StatusTopic(self._settings, self._instance, self._write)
        while not (status.caught_up or self._stopping.is_set()):
            status.turn(TURN_S)
            self._beat = time.monotonic()
        self._topic = topic = ControlTopic(self._settings, self, self._write)
        while not self._stopping.is_set():
            topic.turn(TURN_S)
            status.turn()
            self._report(topic, status)
        self._await(self._leaving, float("inf"))
        self._take_leave(topic, status)

    def stop(self) -> None:
        """Read no more; what is desired stays as it is."""
        self._stopping.set()

    def leave(self, deadline: float) -> None:
        """Leave the group, so that a successor may connect; the last statuses are waited for until ``deadline``."""
        self._deadline = deadline
        self._stopping.set()
        self._leaving.set()

    def look(self) -> ControlSnapshot:
        """Give how things stood at the end of the last turn."""
        snapshot = self._waiting if self._topic is None else self._topic.snapshot()
        return replace(snapshot, beat=max(snapshot.beat, self._beat))

    # Statuses

    def _report(self, topic: ControlTopic, status: StatusTopic, *, last: bool = False) -> None:
        """Write the statuses that differ from the truth, if anything has changed since they were last compared."""
        board, folds = self._board(), topic.folds()
        seen = (board, [(fold.partition, fold.version) for fold in folds], status.book.version)
        again = status.book.held_back and time.monotonic() >= self._again_at
        if not topic.snapshot().member or (seen == self._seen and not again and not last):
            return
        self._seen, self._again_at = seen, time.monotonic() + AGAIN_S
        truths = [truth for fold in folds for truth in truths_of(fold, board)]
        asked = {fold.partition: fold.symbols for fold in folds}
        status.write(truths, asked, time.time_ns() // 1000, hurry=last)

    def _take_leave(self, topic: ControlTopic, status: StatusTopic) -> None:
        """Say last that nothing is connected any more, then leave the group."""
        self._report(topic, status, last=True)
        left = status.flush(max(LAST_WORDS_S, self._deadline - time.monotonic()))
        if left:
            self._log("last_words_lost", "warning", records=left)
        topic.close()
        status.close()

    # The control topic's listener

    def on_assigned(self, partition: int) -> None:
        """Tell the feed that a partition is ours."""
        if self._topic is not None:
            # Where Kafka does not say, as many as we know of: too many cost a wait for a slot, too few break the pace.
            self._partitions = self._topic.partition_count() or max(self._partitions, partition + 1)
        self._mailbox.put(Assigned(partition, self._partitions))

    def on_desired(self, desired: Desired) -> None:
        """Tell the feed what is desired."""
        self._mailbox.put(desired)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Wait until the feed has closed what belongs to these partitions and delivered their ticks."""
        message = Revoked(tuple(partitions))
        self._mailbox.put(message)
        if not self._await(message.done, self._settings.shutdown.budget_s):
            self._log("revocation_slow", "error", partitions=list(partitions))

    def on_unusable(self, record: Unusable) -> None:
        """Set a record aside, once: not again while the status topic remembers it."""
        symbol = (record.key or b"").decode(errors="replace")
        if self._status is not None and not self._status.book.remembers(symbol, record.partition, record.offset):
            self._status.dead_letter(record)
            fields = {"partition": record.partition, "offset": record.offset, "symbol": symbol[:100]}
            self._log("control_record_unusable", "warning", reason=record.reason, detail=record.detail, **fields)

    def remembered(self, symbol: str) -> Subscription | None:
        """Look up what was in force for a symbol in its status record."""
        value = self._status.book.effective(symbol) if self._status is not None else None
        try:
            return records.decode(symbol.encode(), msgspec.json.encode(value)) if value is not None else None
        except BadRecord:
            return None

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Keep the connection: a Kafka outage looks the same as a lost partition."""
        self._log("ownership_in_doubt", "warning", partitions=list(partitions))

    def _await(self, event: Event, timeout_s: float) -> bool:
        """Wait for an event, alive all the while."""
        end = time.monotonic() + timeout_s
        while not event.wait(min(1.0, max(0.0, end - time.monotonic()))):
            self._beat = time.monotonic()
            if self._beat >= end:
                return False
        return True

    def _await_topics(self) -> bool:
        """Wait until Kafka answers, then see that every topic is there; False when stopped meanwhile."""
        settings = self._settings
        specs = topics.plan(settings.topics)
        while not self._stopping.is_set():
            try:
                if settings.topics.ensure:
                    topics.ensure(settings.kafka.as_librdkafka(), specs)
                missing = topics.missing(settings.kafka.as_librdkafka(), [spec.name for spec in specs], LOOK_S)
            except KafkaOutOfReach as error:
                self._out_of_reach(str(error))
                self._stopping.wait(PAUSE_S)
                continue
            if missing:
                raise KafkaUnusable(f"missing topics: {', '.join(missing)}", "run `tickbridge topics ensure`")
            return True
        return False

    def _out_of_reach(self, why: str) -> None:
        now = time.monotonic()
        since = self._waiting.trouble_since or now
        self._waiting = ControlSnapshot(beat=now, trouble=why, trouble_since=since)
        self._log("kafka_out_of_reach", "warning", why=why, bootstrap=self._settings.kafka.bootstrap_servers)

    def _write(self, event: str, /, **fields: Any) -> None:
        self._log(event, fields.pop("level", "info"), **fields)
