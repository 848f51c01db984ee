"""What the control thread tells Kafka about the bridge: statuses, gaps, how far everything is safe, dead letters.

The feed says what is (its board, how safe everything is) and what happened (interruptions, resumptions, misses); here
that becomes what should stand in the topics. A state record is written only when all that was said before is with
Kafka: whoever reads it may rely on what it leaves out.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec

from bridge.app.venue import Log
from bridge.control import records
from bridge.control.desired import Fold
from bridge.control.murmur2 import partition_of
from bridge.errors import BadRecord
from bridge.kafka import Log as LibraryLog
from bridge.model import (
    ACCEPTED,
    ACCEPTED_BEFORE,
    REMOVAL_HELD,
    Board,
    Desired,
    Event,
    Memory,
    Missed,
    Progress,
    Resumed,
    Safety,
    State,
    SymbolState,
    Truth,
    Unusable,
    Wanted,
)
from bridge.publish.notices import Status
from bridge.publish.reporter import Reporter
from bridge.settings import Settings

#: Seconds until the statuses are compared again although nothing has changed: some were held back a moment.
AGAIN_S = 1.0
#: Seconds between two state records of a partition.
STATE_S = 1.0
#: Seconds to wait for a predecessor's last words when a partition arrives, and for ours when one leaves.
CATCH_UP_S = 2.0
LAST_WORDS_S = 0.5
#: An owner that died may have been alive so long after its last state record, in microseconds.
UNSEEN_US = 2_000_000
#: Reasons of records that belong to no symbol of their partition: no status tells of them.
NAMELESS = ("no_key", "key_not_utf8", "key_too_long", "wrong_partition")
#: An offset that no partition reaches.
FAR = 2**63


class FeedView(Protocol):
    """What the control thread sees of the feed."""

    board: Board
    safety: Safety
    unconfirmed_since: float | None  # the monotonic second since which nothing is published for want of ownership

    @property
    def events(self) -> deque[Event]: ...


def truths_of(fold: Fold, board: Board) -> Iterator[Truth]:
    """Say what the status of each symbol of a control partition should be; nothing of one that nobody judged yet.

    A row goes with the record that it rests on, whatever has come since: the feed is a moment behind the fold. A symbol
    whose removal is held stands for the record that it had. A bad record is told of when what is in force beneath it is
    judged: whoever reads the status next would take that for new.
    """
    rows, session = board.rows.get(fold.partition, {}), board.sessions.get(fold.partition, 0)
    judged, invalid, told = board.wanted.get(fold.partition, {}), fold.invalid, fold.desired().wanted
    for symbol in fold.symbols | judged.keys():
        row, bad, wanted = rows.get(symbol), invalid.get(symbol), judged.get(symbol)
        if bad is not None and (wanted or symbol not in told):
            code, last_us = (row.code, row.last_tick_us) if row else ("", 0)
            beneath = (row.state.value, row.reason) if row and wanted else ("", "")
            row = SymbolState(symbol, code, State.INVALID, bad.reason, bad.detail, last_us)
            yield Truth(row, (fold.partition, bad.offset), _effective(wanted), beneath, (), session)
        elif row is not None and wanted is not None:
            place, warnings = (fold.partition, wanted.offset), wanted.subscription.warnings
            yield Truth(row, place, _effective(wanted), warnings=warnings, session=session)


def _effective(wanted: Wanted | None) -> dict[str, object] | None:
    return msgspec.json.decode(records.encode(wanted.subscription)[1]) if wanted else None


def memory_of(status: Status) -> Memory:
    """Read what a status record says about the time before; what cannot be read any more is forgotten."""
    wanted = None
    if status.effective is not None and status.control_offset is not None:
        try:
            subscription = records.decode(status.symbol.encode(), msgspec.json.encode(status.effective))
        except BadRecord:
            subscription = None
        wanted = Wanted(subscription, status.control_offset) if subscription else None
    state, reason = status.state, status.reason
    if state == State.INVALID:  # what is in force has a standing of its own
        state, reason = status.effective_state, status.effective_reason
    venue_refusal = re.fullmatch(r"venue_([0-9]{1,9})", reason) if state == State.REJECTED else None
    accepted = state in ACCEPTED or (
        state in (State.PENDING, State.OFFLINE) and reason in (ACCEPTED_BEFORE, REMOVAL_HELD)
    )
    refused = int(venue_refusal[1]) if venue_refusal else 0
    place = -1 if status.control_partition is None else status.control_partition
    return Memory(status.code, wanted, accepted, state, refused, status.since_us, place)


def may_miss(desired: Desired, memory: Mapping[str, Memory], progress: Progress) -> dict[str, str]:
    """Give the symbols whose ticks may be missing since an owner fell silent, with their codes.

    Beside what its statuses call accepted, what it may have had accepted and not said: what was pending on a living
    connection, or was asked for so late that it has no status.
    """
    found = {symbol: one.code for symbol, one in memory.items() if one.accepted and symbol in desired.wanted}
    if progress.ended:
        return found
    for symbol, wanted in desired.wanted.items():
        known = memory.get(symbol)
        unsaid = known.state == State.PENDING if known else wanted.written_ms * 1000 <= progress.written_us + UNSEEN_US
        if wanted.subscription.enabled and unsaid:
            found.setdefault(symbol, known.code if known else "")
    return found


class Report:
    """Belongs to the control thread."""

    def __init__(self, settings: Settings, instance: str, feed: FeedView, log: Log, library_log: LibraryLog) -> None:
        self.reporter = Reporter(settings, instance, library_log, partition_of)
        self._instance = instance
        self._feed = feed
        self._log = log
        self._seen: tuple[object, ...] = ()  # what the statuses were last compared with
        self._again_at = 0.0
        self._state_at = 0.0
        self._arrived: dict[int, tuple[Mapping[str, Memory], Progress | None]] = {}  # nothing is desired of it yet
        self._partitions = 1  # of the control topic
        self._lost: frozenset[int] = frozenset()  # nobody knows whose these partitions are
        # Partition -> the offsets before which unusable records have their letters: those without and with a symbol.
        self._set_aside: dict[int, list[int]] = {}

    # What happens to partitions

    def assigned(self, partition: int, partitions: int) -> tuple[Mapping[str, Memory], Progress | None]:
        """Learn that a partition of so many is ours; give what the topics remember of it.

        There is no progress if it never left us. What is accepted is given then too: the connection may have been given
        up meanwhile.
        """
        self._lost -= {partition}
        self._partitions = partitions
        if self.reporter.gaps.knows(partition):
            return self.memory(partition, partitions), None
        self.reporter.catch_up(CATCH_UP_S)
        memory, progress = self.memory(partition, partitions), self.reporter.progress(partition)
        self._arrived[partition] = memory, progress
        return memory, progress

    def desired(self, desired: Desired) -> None:
        """Learn what is desired; the first time, gaps are inherited."""
        if desired.partition in self._arrived:
            memory, progress = self._arrived.pop(desired.partition)
            missing = may_miss(desired, memory, progress) if progress else {}
            moved = {one.partition for one in memory.values()} - {desired.partition, -1}
            theirs = {symbol for symbol, one in memory.items() if one.partition in moved}
            missing = {symbol: code for symbol, code in missing.items() if symbol not in theirs}
            self.reporter.gaps.inherit(desired.partition, progress, missing)
            for former in moved:
                self._adopt(desired, memory, former)

    def lost(self, partitions: Sequence[int]) -> None:
        """Learn that nobody knows whose these partitions are: nothing is said of them meanwhile."""
        self._lost |= frozenset(partitions)

    def leave(self, partitions: Sequence[int], cause: str, timeout_s: float) -> None:
        """Say the last words about partitions that go; none about one that is another's already."""
        safety, deadline = self._feed.safety, time.monotonic() + timeout_s
        self._hear_events()
        ours = [partition for partition in partitions if partition not in self._lost]
        for partition in self._lost.intersection(partitions):
            self.reporter.gaps.disown(partition, time.time_ns() // 1000)
        self.reporter.write_gaps(hurry=True)
        if ours and self.reporter.letters:  # whose answers may be here: else whoever comes writes them once more
            self.reporter.flush(timeout_s / 2)
        for partition in ours:
            self._write_state(partition, safety, ended=cause)
        if ours and (left := self.reporter.flush(max(0.0, deadline - time.monotonic()))):
            self._log("last_words_lost", "warning", records=left)
        for partition in partitions:
            self.reporter.gaps.forget(partition)
            self._arrived.pop(partition, None)
            self._set_aside.pop(partition, None)
        self._lost -= frozenset(partitions)

    # Turn by turn

    def turn(self, folds: Sequence[Fold], *, member: bool) -> None:
        """Write what has changed; nothing while the group does not count us in."""
        self.reporter.turn()
        safety = self._feed.safety  # first: what happened until then is heard below
        self._hear_events()
        if not member:
            return
        self._write_statuses(folds)
        now_us = time.time_ns() // 1000
        for fold in folds:
            if not self.reporter.gaps.has_open(fold.partition):
                continue  # nearly always: nothing is compared for nothing
            # What the feed wants counts until it says otherwise: it may be holding a removal.
            asked = fold.desired().wanted, self._feed.board.wanted.get(fold.partition, {})
            wanted = {symbol for each in asked for symbol, one in each.items() if one.subscription.enabled}
            self.reporter.gaps.keep(fold.partition, wanted, now_us)
        self.reporter.write_gaps()
        if time.monotonic() >= self._state_at and not self.reporter.waiting:
            self._state_at = time.monotonic() + STATE_S
            for fold in folds:
                self._write_state(fold.partition, safety)

    def last_words(self, folds: Sequence[Fold], deadline: float) -> None:
        """Say that nothing is connected any more, and where whoever comes next begins."""
        timeout_s = max(LAST_WORDS_S, deadline - time.monotonic())
        self._hear_events()
        if folds:
            self._write_statuses(folds, hurry=True)
        self.leave([fold.partition for fold in folds], "stop", timeout_s)
        self.reporter.close()

    def unusable(self, record: Unusable) -> None:
        """Set a record aside, once: not again while the state topic, or the status topic, remembers it."""
        partition, offset = record.partition, record.offset
        end = record.end if record.end > offset else FAR
        if partition not in self._set_aside:  # a predecessor may have done it just now
            self.reporter.catch_up(CATCH_UP_S)
        marks, named = self._marks(partition), record.reason not in NAMELESS
        self._set_aside[partition] = marks = [mark if mark <= end else 0 for mark in marks]  # else of another topic
        symbol = (record.key or b"").decode(errors="replace")
        known = offset < marks[named] or (named and self.reporter.book.remembers(symbol, partition, offset, end))
        marks[named] = max(marks[named], offset + 1)
        if known:
            return
        self.reporter.dead_letter(record)
        fields = {"partition": partition, "offset": offset, "symbol": symbol[:100]}
        self._log("control_record_unusable", "warning", reason=record.reason, detail=record.detail, **fields)

    def memory(self, partition: int, partitions: int) -> dict[str, Memory]:
        """Look up what the statuses say of the symbols that belong to a partition of so many."""
        return {one.symbol: memory_of(one) for one in self.reporter.book.of(partition, partitions)}

    def _adopt(self, desired: Desired, memory: Mapping[str, Memory], former: int) -> None:
        """Take over the gaps of symbols that were in another partition when the topic was divided otherwise."""
        progress = self.reporter.progress(former)
        if progress is None:
            return
        moved = {symbol: one for symbol, one in memory.items() if one.partition == former}
        left = tuple(replace(gap, symbols=tuple(one for one in gap.symbols if one in moved)) for gap in progress.open)
        missing = {symbol: one.code for symbol, one in moved.items() if one.accepted and symbol in desired.wanted}
        self.reporter.gaps.adopt(desired.partition, former, replace(progress, open=left), missing)

    def _marks(self, partition: int) -> list[int]:
        former = self.reporter.progress(partition)
        return self._set_aside.get(partition, [former.set_aside, former.set_aside_symbols] if former else [0, 0])

    def _hear_events(self) -> None:
        gaps, events = self.reporter.gaps, self._feed.events
        while events:
            event = events.popleft()
            if isinstance(event, Missed):
                gaps.missed(event)
            elif event.partition in self._lost and not gaps.knows(event.partition):
                continue  # another's by now
            elif isinstance(event, Resumed):
                gaps.resumed(event)
            else:
                gaps.interrupted(event)

    def _write_statuses(self, folds: Sequence[Fold], *, hurry: bool = False) -> None:
        board, book = self._feed.board, self.reporter.book
        seen = (board, [(fold.partition, fold.version) for fold in folds], book.version)
        again = book.held_back and time.monotonic() >= self._again_at
        if seen == self._seen and not again and not hurry:
            return
        self._seen, self._again_at = seen, time.monotonic() + AGAIN_S
        truths = [truth for fold in folds for truth in truths_of(fold, board)]
        # Nothing is nulled before the feed has looked at what is gone: it may hold the removal.
        judged = [fold for fold in folds if fold.partition in board.wanted]
        asked = {fold.partition: fold.symbols | board.wanted[fold.partition].keys() for fold in judged}
        now_us, partitions = time.time_ns() // 1000, self._partitions
        if not self.reporter.write(truths, asked, now_us, hurry=hurry, partitions=partitions):
            self._seen = ()

    def _write_state(self, partition: int, safety: Safety, *, ended: str = "") -> None:
        session, last_frame_us = safety.links.get(partition, (0, 0))
        former = self.reporter.progress(partition)
        if not session and former is not None:
            session, last_frame_us = former.session, former.last_frame_us
        now_us = time.time_ns() // 1000
        gaps = self.reporter.gaps.open_in(partition)
        marks = (self.reporter.letters_before(partition, mark) for mark in self._marks(partition))
        progress = Progress(
            safety.safe_us or now_us, now_us, session, last_frame_us, self._instance, ended, gaps, *marks
        )
        self.reporter.write_state(partition, progress)
