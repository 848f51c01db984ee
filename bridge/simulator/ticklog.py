"""Every tick that happened for a code that was ever asked for, and what became of it. Pure.

A tick is *sent* when it was written to a connection, *absent* when no working connection had its code in a list at that
moment, and *withheld* when the venue kept it back although there was one (muted, the gap around a replaced list, a
client that does not read). A client can be blamed for a sent tick that it lost, must own up to an absent one, and
cannot know of a withheld one.

Sixteen bytes and a little more a tick, up to a bound; beyond it only counts are known.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Fate = Literal["sent", "absent", "withheld"]

#: What stands in the place of a connection's number for a tick that was written to none.
_PLACES: dict[Fate, int] = {"absent": 0, "withheld": -1}
_FATES: dict[int, Fate] = {place: fate for fate, place in _PLACES.items()}


class IncompleteRecordError(RuntimeError):
    """More ticks happened than `sent_seqs_max` allows to remember (or in flood mode): only counts are known."""


class VenueTick(NamedTuple):
    """One tick at the venue: `at` is when it was written, or happened unwritten (Unix seconds); `connection` or 0."""

    seq: int
    at: float
    connection: int
    fate: Fate


class _Column:
    """The ticks of one code in the order in which their fate was decided."""

    __slots__ = ("ats", "places", "seqs")

    def __init__(self) -> None:
        self.seqs = array("q")
        self.ats = array("d")
        self.places = array("q")


class TickLog:
    """Keep ticks; the record holds the lock."""

    def __init__(self, room: int) -> None:
        """Keep at most `room` ticks, whatever became of them."""
        self._room = room
        self._columns: dict[str, _Column] = {}
        self._sent: Counter[str] = Counter()

    def wrote(self, connection: int, ticks: Iterable[tuple[str, int]], at: float) -> None:
        """Note ticks (code, seq) that were written to a connection."""
        for code, seq in ticks:
            self._sent[code] += 1
            self._add(code, seq, at, connection)

    def unsent(self, ticks: Iterable[tuple[str, int]], at: float, fate: Fate) -> None:
        """Note ticks (code, seq) that were written to nobody: absent or withheld."""
        for code, seq in ticks:
            self._add(code, seq, at, _PLACES[fate])

    def sent_count(self, code: str) -> int:
        """Return how many ticks of a code were written."""
        return self._sent[code]

    def ticks(self, code: str) -> list[VenueTick]:
        """Return every tick of a code, oldest first; one that was written twice comes twice.

        Raises IncompleteRecordError where only counts are known.
        """
        if self._room < 0:
            raise IncompleteRecordError(
                "not every tick was kept: raise sent_seqs_max, or use sent_count, which is always exact"
            )
        column = self._columns.get(code)
        if column is None:
            return []
        return [
            VenueTick(seq, at, max(0, place), _FATES.get(place, "sent"))
            for seq, at, place in zip(column.seqs, column.ats, column.places, strict=True)
        ]

    def _add(self, code: str, seq: int, at: float, place: int) -> None:
        self._room -= 1
        if self._room < 0:
            self._columns.clear()
            return
        column = self._columns.get(code)
        if column is None:
            column = self._columns[code] = _Column()
        column.seqs.append(seq)
        column.ats.append(at)
        column.places.append(place)
