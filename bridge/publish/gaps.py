"""Which gap records are due (contract, guarantee 8): intervals in which ticks of a symbol may be missing. Pure.

A gap opens when nothing comes any more for a symbol that was accepted, and closes when the venue has accepted a list
with it again, or nobody wants it any more. At most one is open for a symbol: what happens meanwhile only prolongs it.
A successor takes over what its predecessor left open, and opens one itself where that fell silent without a word. The
id says where a gap begins, so whoever closes it need not have seen it open.

Records wait here until somebody takes them, the newest of each gap only. When Kafka takes none for so long that too
many wait, those of one symbol and cause become one that covers them all: wider, never too small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from bridge.model import Interrupted, Missed, OpenGap, Progress, Resumed
from bridge.publish import notices
from bridge.publish.notices import Gap

#: Records that may wait; more are merged.
WAITING_MAX = 20_000


class GapBook:
    """The gaps of one deployment's partitions that are ours."""

    def __init__(self, bridge: str, waiting_max: int = WAITING_MAX) -> None:
        self._bridge = bridge
        self._waiting_max = waiting_max
        self._open: dict[int, dict[str, Gap]] = {}  # partition, symbol
        self._waiting: dict[str, Gap] = {}  # id -> what is to be written
        self._told: set[str] = set()  # ids that were written as open
        self.counts: Counter[str] = Counter()  # gaps opened, by cause

    def __len__(self) -> int:
        """Count the records that wait to be written."""
        return len(self._waiting)

    def knows(self, partition: int) -> bool:
        """Tell whether a partition's gaps are kept here."""
        return partition in self._open

    def has_open(self, partition: int) -> bool:
        """Tell whether any gap of a partition is open."""
        return bool(self._open.get(partition))

    def inherit(self, partition: int, progress: Progress | None, may_miss: Mapping[str, str]) -> None:
        """Take a partition over from whoever wrote ``progress``; ``may_miss`` maps symbol to code.

        Without any progress there was no predecessor, and nothing can be missing.
        """
        self._open[partition] = {}
        if progress is not None:
            self.adopt(partition, partition, progress, may_miss)

    def adopt(self, partition: int, former: int, progress: Progress, may_miss: Mapping[str, str]) -> None:
        """Take over symbols of a partition, ``former`` and ``progress``, that now belong to another of ours."""
        mine = self._open.setdefault(partition, {})
        for left in progress.open:
            for symbol in left.symbols:
                found = self._make(former, symbol, left.cause, left.from_us)
                self._told.add(found.id)
                mine[symbol] = msgspec.structs.replace(
                    found, code=may_miss.get(symbol, ""), session_before=left.session
                )
        cause = "restart" if progress.ended else "crash"
        from_us = min(progress.safe_us, progress.last_frame_us or progress.safe_us)
        symbols = {symbol: (code, "") for symbol, code in may_miss.items() if symbol not in mine}
        self.interrupted(Interrupted(partition, cause, from_us, progress.session, symbols))

    def interrupted(self, event: Interrupted) -> None:
        """Open a gap for each symbol that has none."""
        mine = self._open.setdefault(event.partition, {})
        for symbol, (code, last_seq) in event.symbols.items():
            if symbol not in mine:
                gap = self._make(event.partition, symbol, event.cause, event.from_us)
                gap = msgspec.structs.replace(gap, code=code, session_before=event.session, last_seq=last_seq)
                mine[symbol] = gap
                self.counts[event.cause] += 1
                self._put(gap)

    def resumed(self, event: Resumed) -> None:
        """Close the gaps of these symbols."""
        for symbol in event.symbols & self._open.get(event.partition, {}).keys():
            self._close(event.partition, symbol, event.to_us, event.session)

    def missed(self, event: Missed) -> None:
        """Tell of ticks that came and will never be published."""
        id_ = f"{self._bridge}:{event.symbol}:{event.cause}:{event.from_us}"
        gap = Gap(1, id_, self._bridge, event.symbol, event.from_us, event.cause, event.to_us, lost=event.lost)
        self.counts[event.cause] += 1
        self._put(gap)

    def keep(self, partition: int, wanted: Collection[str], now_us: int) -> None:
        """Close the gaps of symbols that nobody wants any more."""
        for symbol in self._open.get(partition, {}).keys() - wanted:
            self._close(partition, symbol, now_us, 0)

    def open_in(self, partition: int) -> tuple[OpenGap, ...]:
        """Give what is open in a partition, for a successor: those that began together stand together."""
        groups: dict[tuple[str, int, int], list[str]] = {}
        for symbol, gap in self._open.get(partition, {}).items():
            groups.setdefault((gap.cause, gap.from_us, gap.session_before), []).append(symbol)
        return tuple(OpenGap(*key, tuple(symbols)) for key, symbols in groups.items())

    def disown(self, partition: int, now_us: int) -> None:
        """Close what somebody saw open in a partition that is another's by now, and leave the rest to its new owner."""
        for symbol, gap in [*self._open.get(partition, {}).items()]:
            if gap.id in self._told:
                self._close(partition, symbol, now_us, 0)
            else:
                self._waiting.pop(gap.id, None)

    def forget(self, partition: int) -> None:
        """Let a partition go; its open gaps are its next owner's."""
        self._open.pop(partition, None)

    def take(self, most: int) -> list[tuple[bytes, bytes]]:
        """Give records to write, oldest first, and take them for written."""
        taken = [self._waiting.pop(id_) for id_ in list(self._waiting)[: max(0, most)]]
        self._told -= {gap.id for gap in taken if gap.to_us}
        self._told |= {gap.id for gap in taken if not gap.to_us}
        return [notices.gap(gap) for gap in taken]

    def refused(self, value: bytes) -> None:
        """Take back a record that Kafka did not take, unless its gap has closed since: what said so stands for it."""
        gap = notices.read_gap(value)
        now = (mine.get(gap.symbol) for mine in self._open.values())
        if gap.to_us or any(one is not None and one.id == gap.id for one in now):
            self._told.add(gap.id)  # it may have been seen open
            self._waiting.setdefault(gap.id, gap)

    def _make(self, partition: int, symbol: str, cause: str, from_us: int) -> Gap:
        return Gap(1, f"{self._bridge}-{partition}:{from_us}:{symbol}", self._bridge, symbol, from_us, cause)

    def _close(self, partition: int, symbol: str, to_us: int, session: int) -> None:
        gap = self._open[partition].pop(symbol)
        self._put(msgspec.structs.replace(gap, to_us=max(to_us, gap.from_us), session_after=session))

    def _put(self, gap: Gap) -> None:
        self._waiting.pop(gap.id, None)
        self._waiting[gap.id] = gap
        if len(self._waiting) > self._waiting_max:
            self._waiting = {one.id: one for one in _merged(self._waiting.values(), self._told)}
            # What cannot be merged any further is bounded by the number of symbols.
            self._waiting_max = max(self._waiting_max, 2 * len(self._waiting))


def _merged(gaps: Iterable[Gap], told: Collection[str]) -> Iterable[Gap]:
    """Make one gap of each symbol's closed gaps of one cause; those that somebody saw open must still close."""
    found: dict[tuple[str, str], Gap] = {}
    for gap in gaps:
        if not gap.to_us or gap.id in told:
            yield gap
            continue
        key = gap.symbol, gap.cause
        first = found.get(key)
        found[key] = gap if first is None else _both(first, gap)
    yield from found.values()


def _both(first: Gap, second: Gap) -> Gap:
    return msgspec.structs.replace(
        first if first.from_us <= second.from_us else second,
        to_us=max(first.to_us, second.to_us),
        session_after=max(first.session_after, second.session_after),
        lost=first.lost + second.lost,
    )
