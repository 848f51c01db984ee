"""The fold of one control partition: records in, the desired set out.

Rules. The newest usable record of a symbol is in force; a tombstone ends it; an unusable record ends nothing: the last
good one stays, and the fold remembers that the symbol runs on it, since which offset, and why (contract 1.2).

A reading of the whole partition goes to a staging area and comes into force when the partition's end is reached, so
the desired set never shrinks on the way: not at the first reading, not when a partition comes back after it was lost,
not when the topic was made anew. Two things outlive such a reading. A symbol of which only an unusable record is left
(compaction took the good one) keeps what is in force, or what its status says was in force when nobody was here. And a
partition that turns out to hold nothing at all is a topic that was emptied or recreated, not an operator's order: what
is in force stays until a record comes.

Offsets only ever grow within a topic. One that does not grow means another topic under the same name: a new reading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from bridge.control import records
from bridge.errors import BadRecord
from bridge.model import Desired, Subscription, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Finds the subscription that was in force for a symbol, as somebody who is gone has noted it.
Remembered = Callable[[str], Subscription | None]


class Result(StrEnum):
    """What became of a record: the label of ``tickbridge_control_records_total``."""

    USED = "used"
    TOMBSTONE = "tombstone"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Invalid:
    """The newest record of a symbol, which cannot be used."""

    symbol: str
    offset: int
    reason: str
    detail: str


@dataclass(slots=True)
class _Book:
    """What one reading has found so far."""

    wanted: dict[str, Wanted] = field(default_factory=dict)
    invalid: dict[str, Invalid] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)  # symbols that a tombstone was read of; looked at once, at the end
    end: int = 0  # the offset after the newest record


class Fold:
    """The state of one control partition; a new one is in its first reading."""

    def __init__(self, partition: int, remembered: Remembered = lambda _: None) -> None:
        self.partition = partition
        self.version = 0  # grows with every record, and when a reading comes into force
        self.refusal: BadRecord | None = None  # of the newest unusable record
        self._remembered = remembered
        self._in_force = _Book()
        self._staged: _Book | None = _Book()
        self._desired = Desired(partition)
        self._changed = False
        self._arrived = 0.0

    @property
    def reading(self) -> bool:
        """Tell whether a reading has yet to reach the partition's end."""
        return self._staged is not None

    @property
    def invalid(self) -> Mapping[str, Invalid]:
        """Map symbol to its newest record where that cannot be used, whether or not an older one is in force."""
        return MappingProxyType(self._in_force.invalid)

    @property
    def symbols(self) -> frozenset[str]:
        """Every symbol that the partition has a record of, usable or not."""
        return frozenset(self._in_force.wanted.keys() | self._in_force.invalid.keys())

    @property
    def old_records(self) -> int:
        """Count the symbols that run on an older record than their newest one."""
        return sum(symbol in self._in_force.wanted for symbol in self._in_force.invalid)

    def begin_reread(self) -> None:
        """Take what comes from here on as a reading from the partition's beginning; what is in force stays visible."""
        self._staged = _Book()

    def caught_up(self) -> bool:
        """Bring a reading into force at the partition's end; tell whether there was one to bring.

        A reading that found no record while some are in force is not brought: see the module's docstring.
        """
        staged, former = self._staged, self._in_force
        if staged is None or (former.wanted and not staged.end):
            return False
        for symbol in staged.invalid.keys() - staged.wanted.keys() - staged.ended:
            if (good := former.wanted.get(symbol) or self._recall(symbol, staged.invalid[symbol].offset)) is not None:
                staged.wanted[symbol] = good
        self.version += 1
        staged.ended.clear()
        self._changed |= staged.wanted != former.wanted
        self._in_force, self._staged = staged, None
        return True

    def apply(self, offset: int, key: bytes | None, value: bytes | None, now: float) -> Result:
        """Fold one record in and say what became of it; ``now`` is the monotonic second at which it was read."""
        if offset < self._book.end:
            self.begin_reread()
        book = self._book
        book.end, self._arrived = offset + 1, now
        self.version += 1
        try:
            subscription = records.decode(key, value)
        except BadRecord as error:
            self.refusal = error
            _refuse(book, offset, key, error)
            return Result.INVALID
        if subscription is None:
            self._end(book, records.decode_key(key))
            return Result.TOMBSTONE
        book.invalid.pop(subscription.symbol, None)
        book.wanted[subscription.symbol] = Wanted(subscription, offset)
        self._changed |= not self.reading
        return Result.USED

    def desired(self) -> Desired:
        """Give what is desired: the same object until something changes, and never one that changes later."""
        if self._changed:
            self._desired = Desired(self.partition, MappingProxyType(dict(self._in_force.wanted)), self._arrived)
            self._changed = False
        return self._desired

    @property
    def _book(self) -> _Book:
        return self._in_force if self._staged is None else self._staged

    def _recall(self, symbol: str, offset: int) -> Wanted | None:
        """Find the good record that was in force before anybody here read the topic."""
        subscription = self._remembered(symbol)
        return None if subscription is None else Wanted(subscription, offset)

    def _end(self, book: _Book, symbol: str) -> None:
        book.invalid.pop(symbol, None)
        was_wanted = book.wanted.pop(symbol, None) is not None
        if self.reading:
            book.ended.add(symbol)
        else:
            self._changed |= was_wanted


def _refuse(book: _Book, offset: int, key: bytes | None, error: BadRecord) -> None:
    try:
        symbol = records.decode_key(key)
    except BadRecord:
        return  # no key, no symbol: nobody's record
    book.invalid[symbol] = Invalid(symbol, offset, error.reason, error.detail)
