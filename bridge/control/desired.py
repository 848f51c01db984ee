"""The fold of one control partition: records in, the desired set out.

Rules. The newest usable record of a symbol is in force; a tombstone ends it; an unusable record ends nothing: the last
good one stays, and the fold remembers that the symbol runs on it, since which offset, and why (contract 1.2).

A reading of the whole partition goes to a staging area and comes into force when the partition's end is reached, so
the desired set never shrinks on the way: not at the first reading, not when a partition comes back after it was lost,
not when the topic was made anew. Two things outlive such a reading. A symbol of which only an unusable record is left
(compaction took the good one) keeps what is in force. And a partition without any record that ends before what was read
of it is a topic made anew, not an operator's order: what is in force stays until a record comes. A partition that
nobody here has read yet has in force what the status topic remembers.

Offsets only ever grow within a topic. One that does not grow means another topic under the same name: a new reading.
With several partitions a record belongs where its key's hash says; elsewhere it is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from bridge.control import records
from bridge.control.murmur2 import partition_of
from bridge.errors import BadRecord
from bridge.model import Desired, Wanted

#: Gives what was in force in a control partition, by symbol, as somebody who is gone has noted it.
Remembered = Callable[[int], Mapping[str, Wanted]]


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
    confirmed: set[str] = field(default_factory=set)  # symbols whose removal was confirmed; until they are told
    end: int = 0  # the offset after the newest record


class Fold:
    """The state of one control partition; a new one is in its first reading."""

    def __init__(self, partition: int, remembered: Remembered = lambda _: {}, partitions: int = 1) -> None:
        self.partition = partition
        self.partitions = partitions  # of the topic
        self.version = 0  # grows with every record, and when a reading comes into force
        self.refusal: BadRecord | None = None  # of the newest unusable record
        self._remembered: Remembered | None = remembered  # until it was asked
        self._in_force = _Book()
        self._staged: _Book | None = _Book()
        self._desired = Desired(partition)
        self._changed = False
        self._orphaned = False  # the topic that what is in force stood in is gone, and the new one is empty

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

    def caught_up(self, end: int = 0) -> bool:
        """Bring a reading into force at the partition's end, the offset ``end``; tell whether there was one to bring.

        A reading that found a topic made anew and empty is not brought: see the module's docstring.
        """
        staged, former = self._staged, self._in_force
        if staged is None:
            return False
        if self._remembered is not None:
            former.wanted = dict(self._remembered(self.partition))
            former.end = max((wanted.offset + 1 for wanted in former.wanted.values()), default=0)
            self._remembered = None
            self._changed = bool(former.wanted)
        if former.wanted and not staged.end and end < former.end:
            self._changed |= not self._orphaned
            self._orphaned = True
            return False
        for symbol in staged.invalid.keys() - staged.wanted.keys() - staged.ended:
            if (good := former.wanted.get(symbol)) is not None:
                staged.wanted[symbol] = good
        self.version += 1
        staged.ended.clear()
        staged.end = max(staged.end, end)
        self._changed |= self._orphaned or staged.wanted != former.wanted or bool(staged.confirmed)
        self._orphaned = False
        self._in_force, self._staged = staged, None
        return True

    def apply(
        self, offset: int, key: bytes | None, value: bytes | None, *, confirmed: bool = False, written_ms: int = 0
    ) -> Result:
        """Fold one record in and say what became of it; ``confirmed`` tells that it bears an operator's word."""
        if offset < self._book.end:
            self.begin_reread()
        book = self._book
        book.end = offset + 1
        self.version += 1
        if self.partitions > 1 and key is not None and (right := partition_of(key, self.partitions)) != self.partition:
            detail = f"its key belongs to partition {right} (murmur2); produce it with that partitioner"
            self.refusal = BadRecord("wrong_partition", detail)
            return Result.INVALID
        try:
            subscription = records.decode(key, value)
        except BadRecord as error:
            self.refusal = error
            _refuse(book, offset, key, error)
            return Result.INVALID
        symbol = subscription.symbol if subscription else records.decode_key(key)
        if subscription and subscription.enabled:
            book.confirmed.discard(symbol)
        elif confirmed:
            book.confirmed.add(symbol)
            self._changed |= not self.reading
        if subscription is None:
            self._end(book, symbol)
            return Result.TOMBSTONE
        book.invalid.pop(symbol, None)
        book.wanted[symbol] = Wanted(subscription, offset, written_ms)
        self._changed |= not self.reading
        return Result.USED

    def desired(self) -> Desired:
        """Give what is desired: the same object until something changes, and never one that changes later.

        Confirmed removals are told once, in the first object that is given after them.
        """
        if self._changed:
            book = self._in_force
            wanted, confirmed = MappingProxyType(dict(book.wanted)), frozenset(book.confirmed)
            self._desired = Desired(self.partition, wanted, confirmed, self._orphaned)
            book.confirmed.clear()
            self._changed = False
        return self._desired

    @property
    def _book(self) -> _Book:
        return self._in_force if self._staged is None else self._staged

    def _end(self, book: _Book, symbol: str) -> None:
        book.invalid.pop(symbol, None)
        was_wanted = book.wanted.pop(symbol, None) is not None
        if self.reading:
            book.ended.add(symbol)
        else:
            self._changed |= was_wanted


class UnusableNames:
    """Names the symbols whose newest record is unusable: the same object until there are others."""

    def __init__(self) -> None:
        self._versions: list[tuple[int, int]] = []
        self._named: Mapping[str, tuple[str, str]] = MappingProxyType({})

    def of(self, folds: Iterable[Fold]) -> Mapping[str, tuple[str, str]]:
        """Map each to the reason and the detail."""
        folds = [fold for fold in folds if fold.invalid]
        versions = [(fold.partition, fold.version) for fold in folds]
        if versions != self._versions:
            bad = (one for fold in folds for one in fold.invalid.values())
            self._versions = versions
            self._named = MappingProxyType({one.symbol: (one.reason, one.detail) for one in bad})
        return self._named


def _refuse(book: _Book, offset: int, key: bytes | None, error: BadRecord) -> None:
    try:
        symbol = records.decode_key(key)
    except BadRecord:
        return  # no key, no symbol: nobody's record
    book.invalid[symbol] = Invalid(symbol, offset, error.reason, error.detail)
