"""Into how many partitions the control topic is divided: a record is judged by it, and a time slot found (pure)."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto


class News(Enum):
    """What an answer changes."""

    NOTHING = auto()
    UNKNOWN = auto()  # there was no answer
    LATE = auto()  # what was read before it may have been in the wrong partition
    ANEW = auto()  # other symbols belong to a partition than before


class Division:
    """The number of partitions; while it is ``due``, Kafka is to be asked for it."""

    def __init__(self) -> None:
        self.partitions = 1
        self.due = True
        self._counted = 0  # as Kafka said last
        self._late = False

    def heard(self, count: int, owned: Collection[int]) -> News:
        """Take Kafka's answer, 0 for none; ``owned`` are partitions that there are for sure."""
        former, late = self._counted, self._late
        self.due = self._late = not count
        if not count:
            # As many as we know of: too many cost a wait for a slot, too few break the pace.
            self.partitions = max([self.partitions, *(number + 1 for number in owned)])
            return News.UNKNOWN
        self.partitions = self._counted = count
        if former not in (0, count):
            return News.ANEW
        return News.LATE if late else News.NOTHING
