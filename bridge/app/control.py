"""The control thread: from the group's assignments and the control topic's records to the feed's mailbox.

Before it joins the group it waits until Kafka can be reached and all topics are there. While the process stops it
neither reads nor leaves: its partitions stay ours until the upstream connections are closed and the ticks delivered, so
that a successor never meets our connection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import msgspec

from bridge.app.mailbox import Assigned, Mailbox, Revoked
from bridge.app.venue import Log
from bridge.app.wants import REMOVAL_HELD
from bridge.control import records
from bridge.control.desired import Fold
from bridge.control.topic import ControlTopic
from bridge.errors import BadRecord, KafkaOutOfReach, KafkaUnusable
from bridge.model import (
    Board,
    ControlSnapshot,
    Desired,
    Memory,
    State,
    Subscription,
    SymbolState,
    Truth,
    Unusable,
    Wanted,
)
from bridge.publish import topics
from bridge.publish.notices import Status
from bridge.publish.status_topic import StatusTopic
from bridge.settings import Settings
from bridge.upstream.reconcile import ACCEPTED_BEFORE

#: Unusable records that are known by heart; more may be set aside a second time.
SET_ASIDE_MAX = 100_000
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
    """Say what the status of each symbol of a control partition should be; nothing of one that nobody judged yet.

    A symbol whose removal is held stands for the record that it had.
    """
    rows, session = board.rows.get(fold.partition, {}), board.sessions.get(fold.partition, 0)
    held, invalid = board.held.get(fold.partition, {}), fold.invalid
    wanted = {**fold.desired().wanted, **held}
    for symbol in fold.symbols | held.keys():
        subscription = wanted[symbol].subscription if symbol in wanted else None
        row, bad = rows.get(symbol), invalid.get(symbol)
        if bad is not None:
            code, last_us = (row.code, row.last_tick_us) if row else ("", 0)
            row = SymbolState(symbol, code, State.INVALID, bad.reason, bad.detail, last_us)
            yield Truth(row, (fold.partition, bad.offset), _effective(subscription), (), session)
        elif row is not None and subscription is not None:
            place = (fold.partition, wanted[symbol].offset)
            yield Truth(row, place, _effective(subscription), subscription.warnings, session)


def _effective(subscription: Subscription | None) -> dict[str, object] | None:
    return msgspec.json.decode(records.encode(subscription)[1]) if subscription else None


def memory_of(status: Status) -> Memory:
    """Read what a status record says about the time before; what cannot be read any more is forgotten."""
    wanted = None
    if status.effective is not None and status.control_offset is not None:
        try:
            subscription = records.decode(status.symbol.encode(), msgspec.json.encode(status.effective))
        except BadRecord:
            subscription = None
        wanted = Wanted(subscription, status.control_offset) if subscription else None
    venue_refusal = re.fullmatch(r"venue_([0-9]{1,9})", status.reason) if status.state == State.REJECTED else None
    accepted = (
        status.state in (State.WAITING, State.LIVE, State.STALE)
        or (status.state in (State.PENDING, State.OFFLINE) and status.reason in (ACCEPTED_BEFORE, REMOVAL_HELD))
        or (status.state == State.INVALID and status.last_tick_us > 0)
    )
    refused = int(venue_refusal[1]) if venue_refusal else 0
    return Memory(status.code, wanted, accepted, refused, status.since_us)


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
        self._stopping = Event()
        self._leaving = Event()
        self._again_at = 0.0
        self._set_aside: set[int] = set()  # hashes of what was set aside: a record under no symbol has no status
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
        asked = {fold.partition: fold.symbols | board.held.get(fold.partition, {}).keys() for fold in folds}
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
        partitions = self._topic.partitions if self._topic is not None else partition + 1
        self._mailbox.put(Assigned(partition, partitions, self._memory(partition)))

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
        """Set a record aside, once: not again while the status topic, or this process, remembers it."""
        symbol = (record.key or b"").decode(errors="replace")
        known = hash(record) in self._set_aside
        if self._status is None or known or self._status.book.remembers(symbol, record.partition, record.offset):
            return
        if len(self._set_aside) >= SET_ASIDE_MAX:
            self._set_aside.clear()
        self._set_aside.add(hash(record))
        self._status.dead_letter(record)
        fields = {"partition": record.partition, "offset": record.offset, "symbol": symbol[:100]}
        self._log("control_record_unusable", "warning", reason=record.reason, detail=record.detail, **fields)

    def remembered(self, partition: int) -> Mapping[str, Wanted]:
        """Look up what was in force in a partition, as its statuses say."""
        return {symbol: one.wanted for symbol, one in self._memory(partition).items() if one.wanted is not None}

    def _memory(self, partition: int) -> dict[str, Memory]:
        return {one.symbol: memory_of(one) for one in self._status.book.of(partition)} if self._status else {}

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
