"""The bounded path between the venue and the producer (contract 1.6): decides who may go and what gives way.

At most ``high`` records are with the producer; once that mark is reached nothing more is handed over until no more
than ``low`` are left. A record goes straight through only while nothing waits. What waits has its place, oldest first:

    head (came back from the producer, or read back from the disk) | disk | queue in memory | slots, when conflating

New records always join the end. When memory is full its oldest records move to the disk, batch by batch, and as long
as anything waits there, what comes later follows soon. When the disk takes nothing more, the policy says what gives
way:

- ``drop_oldest``: the oldest that waits; on the disk if there is one, so that the new find room there
- ``drop_newest``: what came last
- ``conflate``: of what finds no room only the newest record of each key is kept, in a slot
- ``block``: nothing for a while, since the reader is told to stop (``blocked``); then as ``drop_oldest``
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

from bridge.model import Record

Policy = Literal["drop_oldest", "drop_newest", "conflate", "block"]

#: Bytes of memory that a waiting record costs beside its key and value.
OVERHEAD = 200
#: One batch on the disk: so many records, or fewer that take so many bytes of memory. Bounds what a turn writes.
BATCH, BATCH_BYTES = 4096, 2 * 1024 * 1024
#: Records read back from the disk in one turn, about.
READ_BACK = 8192
#: Seconds that new records may stay in memory alone while others wait on the disk.
SOON_S = 0.25
#: Later than any receive time: of records that the disk holds, too.
NEVER_MS = 1 << 62


def cost(record: Record) -> int:
    """Give the bytes that a waiting record takes."""
    return len(record[0]) + len(record[1]) + OVERHEAD


class Disk(Protocol):
    """Where records wait in batches, first in, first out, over the end of the process.

    A batch that was read is on loan: it leaves the disk when the turn in which the last of it was handed over is
    answered.
    """

    @property
    def waiting(self) -> int:
        """Count the records that wait there, without those on loan."""
        ...

    @property
    def usable(self) -> bool:
        """Tell whether it is worth trying to write."""
        ...

    def append(self, records: Sequence[Record]) -> bool:
        """Take a batch, synced; or say that there is no room, or that it cannot be written now."""
        ...

    def prepend(self, records: Sequence[Record]) -> bool:
        """Take records before all others, in place of what is on loan; or say that they cannot be written."""
        ...

    def read(self) -> Sequence[Record]:
        """Lend the oldest batch; nothing if it cannot be read now."""
        ...

    def drop(self) -> Sequence[Record]:
        """Give up the oldest batch and say what was in it; nothing if there is none, or none that can be read."""
        ...

    def handed_over(self, turn: int, *, whole: bool) -> None:
        """Hear that what is on loan is with the producer since this turn, unless ``whole``: but for the last batch."""
        ...

    def recall(self) -> None:
        """Hear that something on loan came back."""
        ...


class NoDisk:
    """The disk of a path that has none."""

    waiting = 0
    usable = False

    def append(self, records: Sequence[Record]) -> bool:  # noqa: ARG002
        """Take nothing."""
        return False

    def prepend(self, records: Sequence[Record]) -> bool:  # noqa: ARG002
        """Take nothing."""
        return False

    def read(self) -> Sequence[Record]:
        """Have nothing."""
        return ()

    def drop(self) -> Sequence[Record]:
        """Have nothing."""
        return ()

    def handed_over(self, turn: int, *, whole: bool) -> None:
        """Lend nothing."""

    def recall(self) -> None:
        """Lend nothing."""


def _ignore(account: str, records: Sequence[Record]) -> None:
    pass


class Path:
    """What waits, and who may go next; ``handed_over`` is always the number of records with the producer.

    ``on_lost`` hears what gave way, as ``dropped`` or ``conflated``.
    """

    def __init__(
        self, high: int, queue_max_bytes: int, policy: Policy = "drop_oldest", *, block_max_s: float = 0.0,
        disk: Disk | None = None, on_lost: Callable[[str, Sequence[Record]], None] = _ignore,
    ) -> None:  # fmt: skip
        self._high = high
        self._low = high // 2
        self._max_bytes = queue_max_bytes
        self._policy = policy
        self._block_max_s = block_max_s
        self._disk = disk or NoDisk()
        self._on_lost = on_lost
        self._head: deque[Record] = deque()
        self._queue: deque[Record] = deque()
        self._slots: dict[bytes, Record] = {}
        self._head_on_disk = False  # all that is at the head is on loan
        self._paused = False
        self._soon = 0.0
        self._blocked_at = 0.0
        self._blocked_s = 0.0  # in this episode
        self.blocked = False  # the reader is to stop for a moment
        self.held = False  # set by the owner while nothing may be handed over at all
        self.queue_bytes = 0  # of head and queue
        self.since_ms = NEVER_MS  # the oldest receive time among those last taken that no disk holds

    def __len__(self) -> int:
        """Count the records that wait, wherever they do."""
        return sum(self.places().values())

    def places(self) -> dict[str, int]:
        """Count the records that wait, by place."""
        return {
            "returned": len(self._head),
            "spill": self._disk.waiting,
            "queue": len(self._queue),
            "slots": len(self._slots),
        }

    def offer(self, records: Sequence[Record], handed_over: int) -> Sequence[Record]:
        """Take in new records; give those to hand over now, in order."""
        if (
            not (self._queue or self._head or self._paused or self.held or self._disk.waiting or self._slots)
            and handed_over + len(records) < self._high
        ):
            self.since_ms = records[0][2] if records else NEVER_MS
            return records
        if self._slots:
            self._conflate(records)
        else:
            self._queue.extend(records)
            self.queue_bytes += sum(map(cost, records))
        return self.take(handed_over)

    def take(self, handed_over: int) -> list[Record]:
        """Give the records that may be handed over now, oldest first."""
        self.since_ms = NEVER_MS
        if self.held or (self._paused and handed_over > self._low):
            return []
        room = self._high - handed_over
        taken = self._take_head(room)
        while len(taken) < min(room, READ_BACK) and self._disk.waiting and not self._head:
            batch = self._disk.read()
            if not batch:
                break
            self._head_on_disk = True
            self._head.extend(batch)
            self.queue_bytes += sum(map(cost, batch))
            taken += self._take_head(room - len(taken))
        if not self._head and not self._disk.waiting:
            taken += self._take_queue(room - len(taken))
            if len(taken) < room:
                self._leave_slots()
                taken += self._take_queue(room - len(taken))
        self._paused = handed_over + len(taken) >= self._high
        return taken

    def handed_over(self, turn: int) -> None:
        """Hear that all that was taken, less what was put back, is with the producer since this turn."""
        if not self._head or self._head_on_disk:
            self._disk.handed_over(turn, whole=not self._head)

    def put_back(self, records: Iterable[Record]) -> None:
        """Return records to the head, in order: the producer could not take or deliver them.

        Memory may grow beyond its bytes by what was with the producer.
        """
        returned = list(records)
        if returned:
            self._disk.recall()
            self._head_on_disk = False
            self._head.extendleft(reversed(returned))
            self.queue_bytes += sum(map(cost, returned))

    def relieve(self, now: float) -> None:
        """Keep memory within its bounds: the surplus goes to the disk, or gives way as the policy says.

        Writes at most one batch. ``now`` is any clock's second.
        """
        if self._slots and self.queue_bytes <= self._max_bytes // 2:
            self._leave_slots()
        if self.queue_bytes > self._max_bytes:
            if self._to_disk(now, make_room=self._policy == "drop_oldest" or self._out_of_patience(now)):
                self.blocked = False
            else:
                self._give_way(now)
        elif self._disk.waiting and self._queue and (now >= self._soon or self.queue_bytes >= BATCH_BYTES):
            self._to_disk(now, make_room=False)
        if self.blocked and self.queue_bytes <= self._max_bytes // 2:
            self._blocked_s += now - self._blocked_at
            self.blocked = False
        if self._blocked_s and not len(self):
            self._blocked_s = 0.0

    def give_up(self, since_ms: int) -> list[Record]:
        """Let go of what was received since a moment and waits in memory; say what it was."""
        gone = [self._slots.pop(key) for key in list(self._slots) if self._slots[key][2] >= since_ms]
        while self._queue and self._queue[-1][2] >= since_ms:
            gone.append(self._queue.pop())
        self.queue_bytes -= sum(map(cost, gone))
        self.blocked = False
        gone.reverse()
        return gone

    def save(self, now: float) -> None:
        """Move to the disk all that it takes, in order; to be called when nothing is with the producer."""
        if self._disk.prepend(self._head):
            self.queue_bytes -= sum(map(cost, self._head))
            self._head.clear()
        self._leave_slots()
        while self._queue and not self._head and self._to_disk(now, make_room=False):
            pass

    def oldest_ms(self) -> int:
        """Give the oldest receive time among what waits in memory alone; `NEVER_MS` if nothing does."""
        first = [place[0][2] for place in (self._head, self._queue) if place]
        if self._head and self._head_on_disk:
            del first[0]
        return min([*first, *(slot[2] for slot in self._slots.values())], default=NEVER_MS)

    def _take_head(self, room: int) -> list[Record]:
        taken = self._pop(self._head, room)
        if taken and not self._head_on_disk:
            self.since_ms = min(self.since_ms, taken[0][2])
        return taken

    def _take_queue(self, room: int) -> list[Record]:
        taken = self._pop(self._queue, room)
        if taken:
            self.since_ms = min(self.since_ms, taken[0][2])
        return taken

    def _pop(self, place: deque[Record], room: int) -> list[Record]:
        taken = [place.popleft() for _ in range(min(room, len(place)))]
        self.queue_bytes -= sum(map(cost, taken))
        return taken

    def _to_disk(self, now: float, *, make_room: bool) -> bool:
        """Move the queue's oldest to the end of what waits on the disk; tell whether that could be done."""
        if not self._queue:
            return self._disk.usable
        batch: list[Record] = []
        size = 0
        for record in self._queue:
            batch.append(record)
            size += cost(record)
            if len(batch) == BATCH or size >= BATCH_BYTES:
                break
        while not self._disk.append(batch):
            gone = self._disk.drop() if make_room and self._disk.usable else ()
            if not gone:
                return False
            self._on_lost("dropped", gone)
        self._pop(self._queue, len(batch))
        self._soon = now + SOON_S
        return True

    def _give_way(self, now: float) -> None:
        """Do what the policy says, since there is no room."""
        if self._policy == "conflate":
            if not self._slots:
                self._conflate(self._surplus())
        elif self._policy == "drop_newest":
            self._on_lost("dropped", self._surplus())
        elif self._policy == "block" and not self._out_of_patience(now):
            if not self.blocked:
                self.blocked, self._blocked_at = True, now
        else:
            self.blocked = False
            gone: list[Record] = []
            while self.queue_bytes > self._max_bytes:
                gone += self._pop(self._head or self._queue, 1)
            self._on_lost("dropped", gone)

    def _out_of_patience(self, now: float) -> bool:
        """Tell whether the reader was blocked for as long as it may be."""
        if self._policy != "block":
            return False
        if self.blocked:
            self._blocked_s += now - self._blocked_at
            self._blocked_at = now
        return self._blocked_s >= self._block_max_s

    def _surplus(self) -> list[Record]:
        """Take the newest out of the queue until it keeps to its bytes; give them in order."""
        surplus: list[Record] = []
        while self._queue and self.queue_bytes > self._max_bytes:
            surplus.append(self._queue.pop())
            self.queue_bytes -= cost(surplus[-1])
        return surplus[::-1]

    def _conflate(self, records: Iterable[Record]) -> None:
        replaced = []
        for record in records:
            older = self._slots.pop(record[0], None)  # so that the slots are in the order of their newest
            if older is not None:
                replaced.append(older)
            self._slots[record[0]] = record
        if replaced:
            self._on_lost("conflated", replaced)

    def _leave_slots(self) -> None:
        self._queue.extend(self._slots.values())
        self.queue_bytes += sum(map(cost, self._slots.values()))
        self._slots.clear()
