"""A spill's store in memory, which outlives whoever uses it and fails when the test says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bridge.model import Record
from bridge.publish.store import DECODERS, FORMAT, Batch, Found, Row, StoreFailed, StoreFull, StoreUnreadable, row


@dataclass
class MemoryStore:
    """Keeps rows; ``full`` and ``broken`` disks and ``damaged`` files fail as the real ones do."""

    topic: str = ""
    cluster: str = ""
    rows: dict[int, tuple[Batch, list[Record]]] = field(default_factory=dict)
    aside: list[tuple[str, int]] = field(default_factory=list)  # why, and how many records are in it
    full: bool = False
    broken: bool = False
    damaged: bool = False
    is_open: bool = False
    writes: int = 0

    def put(self, records: Sequence[Record], number: int = 1) -> None:
        """Leave a batch as a former process would."""
        self.rows[number] = (row(number, records).batch, [*records])

    @property
    def records(self) -> list[Record]:
        return [record for number in sorted(self.rows) for record in self.rows[number][1]]

    def open(self, topic: str) -> Found:
        self._check()
        self.is_open = True
        self.topic = self.topic or topic
        return Found(self.topic, self.cluster, [self.rows[number][0] for number in sorted(self.rows)])

    def stamp(self, **meta: str) -> None:
        self._check(writing=True)
        for key, value in meta.items():
            setattr(self, key, value)

    def write(self, rows: Iterable[Row], forget: Iterable[int] = ()) -> None:
        assert self.is_open
        self._check(writing=True)
        self.writes += 1
        for number in forget:
            self.rows.pop(number, None)
        for new in rows:
            assert new.batch.id not in self.rows
            self.rows[new.batch.id] = (new.batch, decode(new))

    def read(self, number: int) -> Sequence[Record]:
        assert self.is_open
        self._check()
        if number not in self.rows:
            raise StoreUnreadable("gone")
        return self.rows[number][1]

    def shrink(self) -> None:
        self._check()

    def set_aside(self, why: str) -> str:
        if self.broken:
            raise StoreFailed("broken")
        self.aside.append((why, len(self.records)))
        self.rows, self.topic, self.cluster, self.damaged = {}, "", "", False
        return f"aside-{len(self.aside)}"

    def close(self) -> None:
        self.is_open = False

    def release(self) -> None:
        self.is_open = False

    def _check(self, *, writing: bool = False) -> None:
        if self.damaged:
            raise StoreUnreadable("damaged")
        if self.broken:
            raise StoreFailed("broken")
        if self.full and writing:
            raise StoreFull("full")


def decode(new: Row) -> list[Record]:
    """Read a row as the store would."""
    return [*DECODERS[FORMAT](new.data)]
