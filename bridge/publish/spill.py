"""What waits on disk (contract 1.6): first in, first out, over the end of the process.

The spill keeps the list of its batches in memory and their records in the store. A batch that is read stays in the
store, on loan, until Kafka has answered for all of it: after a crash it is there again. What was moved here is synced.

What a former process left is taken only for the same topic, the same cluster and while it is not too old; the cluster
is known once Kafka was reached (`bind`), and until then nothing of it is touched. Anything else is set aside.

A store that fails is no reason to stop: who appends hears that it cannot be done, and it is tried again every few
seconds. What cannot be read keeps what is newer from overtaking it, but not for ever: then the file is set aside.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.model import Record
from bridge.publish.backpressure import BATCH
from bridge.publish.store import Batch, Found, Row, StoreFailed, StoreFull, StoreUnreadable, row

#: Seconds between two attempts to use a store that failed.
RETRY_S = 3.0
#: Seconds for which batches that cannot be read hold up what is newer.
PATIENCE_S = 30.0
#: Seconds for which answered batches may stay in the store, since each removal is synced; how many go at once.
FORGET_S, FORGET = 0.25, 4
#: Bytes of the file that are worth giving back once nothing waits.
SHRINK_BYTES = 16 * 1024 * 1024
#: What a row takes beside its data, about.
ROW_BYTES = 64


class Shelf(Protocol):
    """What the spill needs of a store; `bridge.publish.store.Store` is the one on disk."""

    def open(self, topic: str) -> Found: ...
    def stamp(self, **meta: str) -> None: ...
    def write(self, rows: Iterable[Row], forget: Iterable[int] = ()) -> None: ...
    def read(self, number: int) -> Sequence[Record]: ...
    def shrink(self) -> None: ...
    def set_aside(self, why: str) -> str: ...
    def close(self) -> None: ...
    def release(self) -> None: ...


@dataclass(slots=True)
class Loan:
    """A batch whose records were read back; ``turn`` is the last in which one of them was handed over."""

    batch: Batch
    turn: int | None = None


class Spill:
    """Batches on disk, oldest first.

    ``on_recovered`` hears how many records of a former process are taken over. ``on_lost`` hears of records that nobody
    can read any more: how many of these accounts, how many in all, and their first and last millisecond; 0 is unknown.

    Raises:
        SettingsError: another process has the directory.
    """

    def __init__(
        self, store: Shelf, topic: str, *, max_bytes: int, max_age_s: float, log: Callable[..., Any],
        on_recovered: Callable[[int], None], on_lost: Callable[[int, int, int, int], None],
        wall_s: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._store = store
        self._topic = topic
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._log = log
        self._on_recovered = on_recovered
        self._on_lost = on_lost
        self._wall_s = wall_s
        self._cluster = ""
        self._found: Found | None = None  # what a former process left, while the cluster is not known
        self._batches: deque[Batch] = deque()
        self._loans: list[Loan] = []
        self._answered: list[Batch] = []  # still in the store
        self._first, self._next = 0, 1  # numbers for the next batch before and after all others
        self._known = False  # the lists say what is in the file
        self._open = False
        self._aside = ""  # why the file must not be opened again
        self._now = self._retry_at = self._forget_at = self._unread_since = 0.0
        self._peak = 0
        self.waiting = 0
        self.size = 0  # bytes of everything in the store
        self.trouble = ""  # why nothing can be written; empty while all is well
        for _ in range(2):  # the second time where the first one met a file to be set aside
            self._reopen()

    # For the path

    @property
    def usable(self) -> bool:
        """Tell whether it is worth trying to write."""
        return self._open and self._found is None and (not self.trouble or self._now >= self._retry_at)

    def append(self, records: Sequence[Record]) -> bool:
        """Take records as the newest batch, synced; or say that there is no room, or that it cannot be written now."""
        if not self.usable:
            return False
        new = row(self._next, records)
        self._next += 1  # for good: who knows what of a failed write is in the file
        room = self._max_bytes - _bytes([new.batch])
        while self.size - _bytes(self._answered[:FORGET]) > room:
            if len(self._answered) <= FORGET or not self._write(()):
                return False
        if not self._write([new]):
            return False
        self._batches.append(new.batch)
        return True

    def prepend(self, records: Sequence[Record]) -> bool:
        """Take records as the oldest, in place of everything on loan; or say that they cannot be written now.

        They may exceed the bytes that are allowed: as many were with the producer.
        """
        if not self.usable:
            return False
        given = [*records]
        parts = [given[at : at + BATCH] for at in range(0, len(given), BATCH)]
        self._first -= len(parts)
        rows = [row(self._first + number, part) for number, part in enumerate(parts, 1)]
        if not self._write(rows, [loan.batch for loan in self._loans]):
            return False
        self._loans.clear()
        self._batches.extendleft(new.batch for new in reversed(rows))
        return True

    def read(self) -> Sequence[Record]:
        """Lend the oldest batch; nothing if there is none or it cannot be read now."""
        records = self._read_first()
        if records:
            self._loans.append(Loan(self._take_first()))
        return records

    def drop(self) -> Sequence[Record]:
        """Give up the oldest batch and say what was in it; nothing if there is none, or it cannot be read now."""
        records = self._read_first()
        if records:
            self._answered.append(self._take_first())
        return records

    def handed_over(self, turn: int, *, whole: bool) -> None:
        """Hear that what is on loan is with the producer since this turn, unless ``whole``: but for the last batch."""
        for loan in self._loans if whole else self._loans[:-1]:
            if loan.turn is None:
                loan.turn = turn

    def recall(self) -> None:
        """Hear that something on loan came back."""
        for loan in self._loans:
            loan.turn = None

    # For the owner

    def bind(self, cluster: str) -> None:
        """Learn which cluster Kafka is; take over or set aside what a former process left."""
        if cluster != self._cluster:
            self._cluster = cluster
            if self._open:
                self._attempt(self._look_through)

    def work(self, now: float, oldest_turn: int) -> None:
        """Do what is due: forget what Kafka answered for before ``oldest_turn``, try again what failed."""
        self._now = now
        while self._loans and self._loans[0].turn is not None and self._loans[0].turn < oldest_turn:
            self._answered.append(self._loans.pop(0).batch)
        if now >= self._retry_at:
            self._reopen()
        if self._answered and self.usable and (now >= self._forget_at or not self.waiting):
            self._write(())
        if self._peak > SHRINK_BYTES and not self.size and self.usable:
            self._peak = 0
            self._attempt(self._store.shrink)

    def close(self) -> None:
        """Forget what is answered, and leave the directory to the next process."""
        while self._answered and self.usable:
            self._write(())
        self._open = False
        self._store.release()

    # Reading and writing

    def _take_first(self) -> Batch:
        batch = self._batches.popleft()
        self.waiting -= batch.records
        return batch

    def _read_first(self) -> Sequence[Record]:
        if not self._batches:
            return ()
        got: list[Sequence[Record]] = []
        if self._open and self._attempt(lambda: got.append(self._store.read(self._batches[0].id))):
            self._unread_since = 0.0
            return got[0]
        self._unread_since = self._unread_since or self._now
        if self._batches and self._now - self._unread_since > PATIENCE_S:
            self._abandon("unreadable", self.trouble)
        return ()

    def _write(self, rows: Sequence[Row], also: Sequence[Batch] = ()) -> bool:
        """Write rows and remove what is answered, synced; tell whether that was possible."""
        gone = [*self._answered[:FORGET], *also]
        if not self._attempt(lambda: self._store.write(rows, [batch.id for batch in gone])):
            return False
        del self._answered[:FORGET]
        self._forget_at = self._now + (0.0 if self._answered else FORGET_S)
        self.waiting += sum(new.batch.records for new in rows)
        self.size += _bytes(new.batch for new in rows) - _bytes(gone)
        self._peak = max(self._peak, self.size)
        if self.trouble:
            self._log("spill_usable_again", "warning", trouble=self.trouble, waiting=self.waiting)
            self.trouble = ""
        return True

    def _attempt(self, act: Callable[[], object]) -> bool:
        """Do something with the store; tell whether it went well, and note what did not."""
        try:
            act()
        except StoreUnreadable as error:
            self._abandon("unreadable", str(error))
        except StoreFailed as error:
            if not self.trouble:
                self._log("spill_unusable", "error", what=str(error), waiting=self.waiting)
            self.trouble = str(error)
            self._retry_at = self._now + RETRY_S
            # What is there can be read from a full disk: only a broken one is let go of.
            self._open = self._open and isinstance(error, StoreFull)
            if not self._open:
                self._store.close()
        else:
            return True
        return False

    # Whose file it is

    def _reopen(self) -> None:
        if not self._open:
            self._attempt(self._open_store)

    def _open_store(self) -> None:
        if self._aside:
            where = self._store.set_aside(self._aside)
            self._log("spill_set_aside", "error", why=self._aside, where=where)
            self._aside = ""
        found = self._store.open(self._topic)
        self._open = True
        self.size = _bytes(found.batches)
        if self._known:
            self._compare(found.batches)
            self._stamp(found)
            return
        self._found, self._known = found, True
        age_s = self._wall_s() - max((batch.last_ms for batch in found.batches), default=1 << 60) / 1000
        if found.topic != self._topic:
            self._abandon("topic", f"it is for the topic {found.topic}")
        elif age_s > self._max_age_s:
            self._abandon("age", f"its newest tick is {age_s:.0f} s old")
        elif self._cluster or not found.batches:
            self._look_through()

    def _look_through(self) -> None:
        """Take over what was found, if it is for this cluster; a file that never met one is for any."""
        found, self._found = self._found or Found(self._topic, "", []), None
        if found.batches and found.cluster not in ("", self._cluster):
            self._found = found
            self._abandon("cluster", f"it is for the cluster {found.cluster}, and this is {self._cluster}")
            return
        if found.batches:
            self._batches.extendleft(reversed(found.batches))
            self._first, self._next = found.batches[0].id - 1, max(self._next, found.batches[-1].id + 1)
            records = sum(batch.records for batch in found.batches)
            self.waiting += records
            self._on_recovered(records)
            self._log("spill_recovered", "warning", records=records)
        self._stamp(found)

    def _stamp(self, found: Found) -> None:
        if self._cluster and found.cluster != self._cluster:
            self._store.stamp(cluster=self._cluster)

    def _compare(self, there: Sequence[Batch]) -> None:
        """Make the lists agree with a file that was away."""
        ids = {batch.id for batch in there}
        gone = [batch for batch in self._batches if batch.id not in ids]
        self._batches = deque(batch for batch in self._batches if batch.id in ids)
        self._loans = [loan for loan in self._loans if loan.batch.id in ids]
        wanted = {batch.id for batch in (*self._batches, *(loan.batch for loan in self._loans))}
        # The rest was answered, or is of a write that seemed to fail.
        self._answered = [batch for batch in there if batch.id not in wanted]
        if gone:
            self._lose(gone)

    def _abandon(self, why: str, detail: str) -> None:
        """Give up a file that is not ours or cannot be read: it is set aside, and a new one begun."""
        gone = [*self._batches] or (self._found.batches if self._found else [])
        self._log("spill_abandoned", "error", why=why, detail=detail, records=sum(batch.records for batch in gone))
        if why not in ("topic", "cluster"):
            self._lose(gone)
        for batches in (self._batches, self._loans, self._answered):
            batches.clear()
        self._found, self._known, self._open, self._aside = None, True, False, why
        self.size = 0
        self._unread_since = 0.0
        self._retry_at = self._now
        self._store.close()

    def _lose(self, gone: Sequence[Batch]) -> None:
        ours = sum(batch.records for batch in gone) if self.waiting else 0
        self.waiting -= ours
        first_ms = min((batch.first_ms for batch in gone), default=0)
        last_ms = max((batch.last_ms for batch in gone), default=int(self._wall_s() * 1000))
        self._on_lost(ours, sum(batch.records for batch in gone), first_ms, last_ms)


def _bytes(batches: Iterable[Batch]) -> int:
    return sum(batch.size + ROW_BYTES for batch in batches)
