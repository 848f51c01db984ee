"""Which ticks are repeats (contract, guarantee 6).

A repeat has the same seq, time, price and volume as one of the last 64 ticks of its code. Venues number their ticks,
and a number above every one seen so far cannot be in the window: that fast path skips the look-up, never the insertion.
Numbers may start again from below (a venue's restart), so 64 new ticks in a row below the largest set it anew.

A window holds 64-bit hashes, not ticks: 3,000 codes then cost 2 MB instead of 60, and two different ticks among 64 are
taken for one with a probability below 1e-17.
"""

from __future__ import annotations

from array import array

SIZE = 64


class Window:
    """The last 64 ticks of one code; it outlives connections."""

    __slots__ = ("_at", "_below", "_hashes", "_largest", "_largest_below")

    def __init__(self) -> None:
        self._hashes = array("q", bytes(8 * SIZE))
        self._at = 0
        self._largest = -1
        self._below = 0  # new ticks in a row that were not above the largest
        self._largest_below = -1  # the largest of these

    @property
    def last_seq(self) -> str:
        """The largest seq so far, as text; empty before the first."""
        return str(self._largest) if self._largest >= 0 else ""

    def is_repeat(self, seq: int, key: int) -> bool:
        """Tell whether the tick with this ``seq`` and hash is among the last 64; if not, take it in.

        ``seq`` is -1 where the venue gives none: then the window alone decides.
        """
        if seq > self._largest:
            self._largest = seq
            if self._below:
                self._below = 0
                self._largest_below = -1
        elif key in self._hashes:
            return True
        elif seq >= 0:
            self._note_below(seq)
        at = self._at
        self._hashes[at] = key
        self._at = (at + 1) & (SIZE - 1)
        return False

    def _note_below(self, seq: int) -> None:
        self._below += 1
        self._largest_below = max(self._largest_below, seq)
        if self._below >= SIZE:  # the window holds nothing else any more
            self._largest = self._largest_below
            self._below = 0
            self._largest_below = -1
