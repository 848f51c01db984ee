"""Which status records are due (contract 1.2, status): the truth on one side, what the topic says on the other. Pure.

The book hears every record of the status topic, whoever wrote it, and is asked again and again what differs from the
truth. So whatever is wrong heals by itself: a late word of an owner that is none any more, another's leftovers,
rubbish, the status of a symbol whose tombstone came while nobody ran. A record is due when state, reason, code,
``effective`` or warnings differ, or the newest word on a symbol of ours is not our deployment's, and not otherwise.

Rules.

- While a record of ours is still to be heard, whatever is heard of its symbol stands before it, and is superseded.
- What was in force is known by the newest record of our own deployment that could be read, whatever came after it.
- Only records of our own deployment are ever nulled.
- A key has one partition of the topic, its home. A record of ours elsewhere, from before the topic was divided as it is
  now, serves until there is one at home, and is nulled once that is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from bridge.model import State, Truth
from bridge.publish import notices
from bridge.publish.notices import Status

#: Microseconds between two records of one symbol: nobody can read faster, and two owners at odds must not race.
PAUSE_US = 1_000_000
#: The same after Kafka has refused one for good.
REFUSED_PAUSE_US = 10_000_000


class Write(NamedTuple):
    """A record to write; ``partition`` says where, -1 that its key does."""

    key: bytes
    value: bytes | None
    partition: int = -1


@dataclass(slots=True)
class _Line:
    """What is known of one symbol's records."""

    status: Status | None = None  # the newest of our deployment that could be read
    astray: bool = False  # at home stands another's word, or rubbish, or nothing yet
    strays: set[int] = field(default_factory=set)  # other partitions than its home that have one of ours
    unheard: deque[bytes | None] = field(default_factory=deque)  # what we wrote
    written_us: int = 0
    nulled: bool = False  # by us
    refused: bool = False  # what we wrote last

    @property
    def known(self) -> Status | None:
        """What is said of the symbol, as long as it is asked for."""
        return None if self.nulled else self.status

    def rested(self, now_us: int) -> bool:
        """Tell whether it may be written again; a clock that was set back must not keep it waiting."""
        return abs(now_us - self.written_us) >= (REFUSED_PAUSE_US if self.refused else PAUSE_US)


class StatusBook:
    """What the status topic says, by symbol; ``bridge`` is the deployment's name, ``instance`` this process."""

    def __init__(self, bridge: str, instance: str, partition_of: Callable[[bytes, int], int]) -> None:
        self._bridge = bridge
        self._partition_of = partition_of
        self._instance = instance
        self._lines: dict[str, _Line] = {}
        self.held_back = False
        self.version = 0  # grows when somebody else's word changes what is known

    def hear(self, key: bytes | None, value: bytes | None, stray: int | None = None) -> None:
        """Take one record of the topic; ``stray`` is the partition of one that is not at home."""
        if (symbol := _symbol(key)) is None:
            return
        line = self._lines.get(symbol)
        if stray is not None:
            self._hear_stray(symbol, self._read(symbol, value), stray)
        elif line is not None and line.unheard:
            self._hear_echo(symbol, line, value)
        elif (status := self._read(symbol, value)) is not None:
            self._lines[symbol] = line = line or _Line()
            line.status, line.astray = status, False
            self.version += 1
        elif line is not None:
            line.status, line.astray = line.status if value is not None else None, value is not None
            self._drop_if_empty(symbol, line)
            self.version += 1

    def refused(self, key: bytes | None, value: bytes | None) -> None:
        """Learn that Kafka did not take a record of ours, and never will: it is due again in a while."""
        line = self._lines.get(_symbol(key) or "")
        if line is not None and value in line.unheard:
            line.unheard.remove(value)
            line.refused, line.nulled = True, False
            self.version += 1

    def clear(self) -> None:
        """Forget everything: the topic was made anew."""
        self._lines.clear()
        self.version += 1

    def of(self, partition: int, partitions: int) -> list[Status]:
        """Give what is known of our deployment's symbols that belong to one control partition of so many."""
        known = (line.known for line in self._lines.values())
        return [one for one in known if one is not None and self._home(one.symbol, partitions) == partition]

    def remembers(self, symbol: str, partition: int, offset: int, end: int) -> bool:
        """Tell whether the topic already speaks of a control record, or of a newer one of the same symbol.

        What it says of records from the control partition's ``end`` on is of a topic that was there before.
        """
        line = self._lines.get(symbol)
        status = line.known if line is not None else None
        if status is None or status.control_partition != partition or status.control_offset is None:
            return False
        return offset <= status.control_offset < end

    def due(
        self, truths: Iterable[Truth], asked: Mapping[int, Collection[str]], now_us: int, *, hurry: bool = False,
        unsaid: Collection[tuple[int, int]] = (), partitions: int = 1,
    ) -> list[Write]:  # fmt: skip
        """Give the records to write now, and take them for written.

        ``asked`` has the control partitions, of so many ``partitions``, of which everything is known, each with every
        symbol that is asked for in it: what belongs to them and is in none is nulled. Two records of one symbol are a
        moment apart, unless in a ``hurry``; that a control record cannot be used is not told while its dead letter is
        ``unsaid``. ``held_back`` tells whether any waits.
        """
        self.held_back = False
        writes: list[Write] = []
        for truth in truths:
            line = self._lines.get(truth.row.symbol) or _Line()
            bad = truth.row.state is State.INVALID and truth.control in unsaid
            if not self._differs(line, truth):
                writes += _clear(line, truth.row.symbol.encode())
            elif bad or not (hurry or line.rested(now_us)):
                self.held_back = True
            else:
                writes += self._write(line, truth, now_us)
        everything = frozenset().union(*asked.values())
        for symbol, line in list(self._lines.items()):
            if line.known is None or symbol in everything or self._home(symbol, partitions) not in asked:
                continue
            if line.refused and not line.rested(now_us):
                self.held_back = True
            else:
                writes += self._null(symbol, line, now_us)
        return writes

    def _home(self, symbol: str, partitions: int) -> int:
        """Give the control partition of a symbol, whichever it stood in when the topic was divided otherwise."""
        return self._partition_of(symbol.encode(), partitions) if partitions > 1 else 0

    def _read(self, symbol: str, value: bytes | None) -> Status | None:
        """Read a status of our own deployment."""
        status = notices.read_status(value) if value is not None else None
        return status if status is not None and (status.bridge, status.symbol) == (self._bridge, symbol) else None

    def _hear_echo(self, symbol: str, line: _Line, value: bytes | None) -> None:
        """Note that one of ours was heard: older ones that were not are gone by compaction."""
        if value in line.unheard:
            while line.unheard.popleft() != value:
                pass
            self._drop_if_empty(symbol, line)

    def _hear_stray(self, symbol: str, status: Status | None, partition: int) -> None:
        line = self._lines.get(symbol)
        if status is not None:
            line = self._lines.setdefault(symbol, _Line())
            if line.status is None or (line.astray and line.strays):  # nothing better is known
                line.status, line.astray = status, True
            line.strays.add(partition)
            self.version += 1
        elif line is not None:
            line.strays.discard(partition)

    def _drop_if_empty(self, symbol: str, line: _Line) -> None:
        if line.known is None and not line.unheard and not line.strays:
            del self._lines[symbol]

    def _differs(self, line: _Line, truth: Truth) -> bool:
        known, row = line.known, truth.row
        if known is None or line.astray or line.refused:
            return True
        says = (known.v, known.state, known.reason, known.code, known.effective, known.warnings)
        means = (notices.V, row.state.value, row.reason, row.code, truth.effective, truth.warnings)
        # Of a record that cannot be used the offset counts too: a second bad one is news.
        newer = row.state is State.INVALID and known.control_offset != truth.control[1]
        return newer or says != means or (known.effective_state, known.effective_reason) != truth.beneath

    def _write(self, line: _Line, truth: Truth, now_us: int) -> list[Write]:
        row, known = truth.row, line.known
        since_us = min(known.since_us, now_us) if known is not None and known.state == row.state.value else now_us
        if not row.last_tick_us and known is not None and known.code == row.code:
            row = replace(row, last_tick_us=min(known.last_tick_us, now_us))  # another owner's last one is the last
        key, value = notices.status(
            row, bridge=self._bridge, instance=self._instance, since_us=since_us, session=truth.session,
            control=truth.control, effective=truth.effective, beneath=truth.beneath, warnings=truth.warnings,
        )  # fmt: skip
        self._lines[row.symbol] = line
        line.status, line.written_us = notices.read_status(value), now_us
        line.astray = line.nulled = line.refused = False
        line.unheard.append(value)
        return [Write(key, value), *_clear(line, key)]

    def _null(self, symbol: str, line: _Line, now_us: int) -> list[Write]:
        """End a symbol's records; where others' words, or rubbish, stand at its home they stay."""
        key = symbol.encode()
        writes = _clear(line, key)
        if line.astray:
            line.status = None
            self._drop_if_empty(symbol, line)
            return writes
        line.nulled, line.refused, line.written_us = True, False, now_us
        line.unheard.append(None)
        return [Write(key, None), *writes]


def _clear(line: _Line, key: bytes) -> list[Write]:
    found = [Write(key, None, partition) for partition in sorted(line.strays)]
    line.strays.clear()
    return found


def _symbol(key: bytes | None) -> str | None:
    try:
        return key.decode() if key is not None else None
    except UnicodeDecodeError:
        return None
