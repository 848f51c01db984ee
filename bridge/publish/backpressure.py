"""The bounded path between the venue and the producer (contract 1.6): decides, moves nothing.

At most ``high`` records are with the producer; once that mark is reached nothing more is handed over until no more
than ``low`` are left. A record goes straight through only while nothing waits; else it queues in memory, first in,
first out. When the queue is full the oldest record in it gives way, counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from bridge.model import Record

#: Bytes of memory that a waiting record costs beside its key and value.
OVERHEAD = 200


def cost(record: Record) -> int:
    """Give the bytes that a waiting record takes."""
    return len(record[0]) + len(record[1]) + OVERHEAD


class Path:
    """What waits, and who may go next; ``handed_over`` is always the number of records with the producer."""

    def __init__(self, high: int, queue_max_bytes: int) -> None:
        self._high = high
        self._low = high // 2
        self._max_bytes = queue_max_bytes
        self._queue: deque[Record] = deque()
        self._paused = False
        self.held = False  # set by the owner while nothing may be handed over at all
        self.queue_bytes = 0

    def __len__(self) -> int:
        """Count the records that wait."""
        return len(self._queue)

    def offer(self, records: Sequence[Record], handed_over: int) -> tuple[Sequence[Record], int]:
        """Take in new records; give those to hand over now, in order, and how many old ones were dropped."""
        if not (self._queue or self._paused or self.held) and handed_over + len(records) < self._high:
            return records, 0
        self._queue.extend(records)
        self.queue_bytes += sum(map(cost, records))
        taken = self.take(handed_over)
        dropped = 0
        while self.queue_bytes > self._max_bytes:
            self.queue_bytes -= cost(self._queue.popleft())
            dropped += 1
        return taken, dropped

    def take(self, handed_over: int) -> list[Record]:
        """Give the records that may be handed over now, oldest first."""
        if self.held or (self._paused and handed_over > self._low):
            return []
        room = self._high - handed_over
        taken = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
        self.queue_bytes -= sum(map(cost, taken))
        self._paused = handed_over + len(taken) >= self._high
        return taken

    def put_back(self, records: Iterable[Record]) -> None:
        """Return records to the head, in order: the producer could not take or deliver them.

        The queue may grow beyond its bytes by what was with the producer; the next offer drops the surplus.
        """
        returned = list(records)
        self._queue.extendleft(reversed(returned))
        self.queue_bytes += sum(map(cost, returned))
