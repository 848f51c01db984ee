"""The market: a random walk per code, and the `seq` of every tick that ever happened. Pure.

The tick with a given `seq` of a code is a function of seed, code and `seq` alone (but for its time). `seq`
starts at 1, is contiguous per code and counts whether anyone listens or not, so a client's losses can be told.
Codes take turns in the order in which they became known.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from bridge.simulator.protocol import Tick

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_MASK = 2**64 - 1
_MICRO = 1_000_000


class Walk:
    """One code's random walk in millionths, reflected at half and double the price it began with."""

    __slots__ = ("_base", "_price", "_state", "_step", "code", "seq")

    def __init__(self, seed: int, code: str) -> None:
        """Begin the walk of a code; the same seed and code begin the same walk."""
        self.code = code
        self.seq = 0
        self._state = zlib.crc32(f"{seed}/{code}".encode()) | 1 << 32
        # A stock moves in cents, everything else in hundred-thousandths of a unit, as quotes of either do.
        self._step = 10_000 if "." in code else 10
        self._base = (10 + self._state % 490) * _MICRO if "." in code else (1 + self._state % 90) * _MICRO
        self._price = self._base

    def tick(self, tick_time: int) -> Tick:
        """Take one step and return its tick, happened at `tick_time` (ms)."""
        # Knuth's 64-bit linear congruential generator: its high bits are good enough for prices, and cheap.
        state = self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        price = self._price + ((state >> 59) - 15) * self._step
        if not self._base // 2 <= price <= self._base * 2:
            price = self._price
        self._price = price
        self.seq += 1
        volume = 100 * (1 + (state >> 40) % 50)
        return Tick(
            self.code, self.seq, tick_time, decimal(price), str(volume), decimal(price * volume), (state >> 50) % 3
        )


class Market:
    """Every known code and its walk."""

    def __init__(self, seed: int, codes: Iterable[str]) -> None:
        """Begin with the codes that exist from the start."""
        self._seed = seed
        self._walks: dict[str, Walk] = {}
        self._turns: list[Walk] = []
        self._turn = 0
        for code in codes:
            self.learn(code)

    @property
    def codes(self) -> tuple[str, ...]:
        """The known codes, in the order of their turns."""
        return tuple(self._walks)

    def learn(self, code: str) -> Walk:
        """Make a code known, if it is not, and return its walk."""
        walk = self._walks.get(code)
        if walk is None:
            walk = self._walks[code] = Walk(self._seed, code)
            self._turns.append(walk)
        return walk

    def last_seq(self, code: str) -> int:
        """Return how many ticks of a code have happened; 0 for an unknown code."""
        walk = self._walks.get(code)
        return 0 if walk is None else walk.seq

    def ticks(self, count: int, tick_time: int, silent: Collection[str] = ()) -> list[Tick]:
        """Let the next `count` ticks happen, code by code in turn; `silent` codes let theirs pass."""
        walks, turn, size = self._turns, self._turn, len(self._turns)
        if not size:
            return []
        self._turn = (turn + count) % size
        due = (walks[(turn + number) % size] for number in range(count))
        return [walk.tick(tick_time) for walk in due if walk.code not in silent]


def decimal(millionths: int) -> str:
    """Write millionths as the venue does: six decimals, trailing zeros kept."""
    return f"{millionths // _MICRO}.{millionths % _MICRO:06d}"
