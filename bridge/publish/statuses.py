"""Which status records are due (contract 1.2, status): the truth on one side, what the topic says on the other. Pure.

The book hears every record of the status topic, whoever wrote it, and is asked again and again what differs from the
truth. So whatever is wrong heals by itself: a late word of an owner that is none any more, another's leftovers, the
status of a symbol whose tombstone came while nobody ran. A record is due when state, reason, code, ``effective``,
warnings or the deployment differ, and not otherwise; only records of our own deployment are ever nulled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from bridge.model import State, Truth
from bridge.publish import notices
from bridge.publish.notices import Status

#: Microseconds between two records of one symbol: nobody can read faster, and two owners at odds must not race.
PAUSE_US = 1_000_000

_decode = msgspec.json.Decoder(Status).decode

Write = tuple[bytes, bytes | None]


class StatusBook:
    """What the status topic says, by symbol; ``bridge`` is the deployment's name, ``instance`` this process."""

    def __init__(self, bridge: str, instance: str) -> None:
        self._bridge = bridge
        self._instance = instance
        self._known: dict[str, Status] = {}
        self._written: set[str] = set()  # symbols whose newest record is ours, whatever we hear of our older ones
        self._nulled: Counter[str] = Counter()  # our own nulls that we have not heard yet
        self._not_before: dict[str, int] = {}
        self.held_back = False
        self.version = 0  # grows when somebody else's word changes what is known

    def hear(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record of the topic; what is no status record of ours or anybody's is passed over."""
        try:
            symbol = (key or b"").decode()
            status = _decode(value) if value is not None else None
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            return
        if status is None and self._nulled[symbol] > 0:
            self._nulled[symbol] -= 1
        elif status is None:
            self._written.discard(symbol)
            self.version += self._known.pop(symbol, None) is not None
        elif status.instance != self._instance or symbol not in self._written:
            self._written.discard(symbol)
            self._known[symbol] = status
            self.version += 1

    def of(self, partition: int) -> list[Status]:
        """Give what is known of our deployment's symbols in one control partition."""
        known = self._known.values()
        return [one for one in known if one.bridge == self._bridge and one.control_partition == partition]

    def remembers(self, symbol: str, partition: int, offset: int) -> bool:
        """Tell whether the topic already speaks of a control record, or of a newer one of the same symbol."""
        status = self._known.get(symbol)
        if status is None or status.bridge != self._bridge or status.control_partition != partition:
            return False
        return status.control_offset is not None and status.control_offset >= offset

    def due(
        self, truths: Iterable[Truth], asked: Mapping[int, Collection[str]], now_us: int, *, hurry: bool = False
    ) -> list[Write]:
        """Give the records to write now, and take them for written.

        ``asked`` has our control partitions, each with every symbol that a record in it asks for, judged or not: what
        is in none of them is nulled. Two records of one symbol are a moment apart, unless in a ``hurry``; ``held_back``
        tells whether any waits.
        """
        self.held_back = False
        writes: list[Write] = []
        for truth in truths:
            symbol = truth.row.symbol
            known = self._known.get(symbol)
            if known is not None and not self._differs(known, truth):
                continue
            if hurry or self._not_before.get(symbol, 0) <= now_us:
                writes.append(self._write(truth, known, now_us))
            else:
                self.held_back = True
        everything = frozenset().union(*asked.values())
        gone = [
            symbol
            for symbol, known in self._known.items()
            if symbol not in everything and known.bridge == self._bridge and known.control_partition in asked
        ]
        for symbol in gone:
            writes.append((symbol.encode(), None))
            del self._known[symbol]
            self._not_before.pop(symbol, None)
            self._written.add(symbol)
            self._nulled[symbol] += 1
        return writes

    def _differs(self, known: Status, truth: Truth) -> bool:
        row = truth.row
        says = (known.bridge, known.state, known.reason, known.code, known.effective, known.warnings)
        means = (self._bridge, row.state.value, row.reason, row.code, truth.effective, truth.warnings)
        # Of a record that cannot be used the offset counts too: a second bad one is news.
        return says != means or (row.state is State.INVALID and known.control_offset != truth.control[1])

    def _write(self, truth: Truth, known: Status | None, now_us: int) -> Write:
        row = truth.row
        stays = known is not None and known.state == row.state.value and known.bridge == self._bridge
        since_us = known.since_us if known is not None and stays else now_us
        key, value = notices.status(
            row, bridge=self._bridge, instance=self._instance, since_us=since_us, session=truth.session,
            control=truth.control, effective=truth.effective, warnings=truth.warnings,
        )  # fmt: skip
        self._known[row.symbol] = _decode(value)
        self._written.add(row.symbol)
        self._not_before[row.symbol] = now_us + PAUSE_US
        return key, value
