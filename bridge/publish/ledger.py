"""The accounts of every tick, and what was lost of each symbol (contract, guarantees 7 and 8).

One thread owns the ledger and adds to it batch by batch; what others see is a snapshot. What is in flight is counted
where it is (with the producer, at the head of the path, in the spill, in the queue, in slots), never worked out from
the other terms: that makes the sum a proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from bridge.model import Record
from bridge.snapshots import Accounts

#: The key of a loss whose symbols nobody can tell any more: it may concern every one.
ANY_KEY = b""


@dataclass(slots=True)
class Ledger:
    """Counts since the start of the process."""

    received: int = 0
    recovered: int = 0
    published: int = 0
    duplicate: int = 0
    filtered: int = 0
    invalid: int = 0
    conflated: int = 0
    dropped: int = 0
    undeliverable: int = 0

    def snapshot(self, in_flight: int) -> Accounts:
        """Give the accounts as of now; ``in_flight`` is the sum over the places."""
        return Accounts(in_flight=in_flight, **{term.name: getattr(self, term.name) for term in fields(self)})


@dataclass(frozen=True, slots=True)
class Loss:
    """Ticks of one symbol that were received and will not reach Kafka.

    ``key`` is the record's key, or `ANY_KEY`; ``cause`` is a gap's cause. ``from_us`` and ``to_us`` enclose the receive
    times of the lost ones. ``lost`` and ``from_us`` are 0 where they cannot be known.
    """

    key: bytes
    cause: str
    lost: int
    from_us: int
    to_us: int


class Losses:
    """What was lost, by cause and symbol, since it was last taken."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, bytes], list[int]] = {}  # count, first and last millisecond

    def note(self, cause: str, records: Iterable[Record]) -> None:
        """Add lost records."""
        for key, _, ms in records:
            noted = self._noted.setdefault((cause, key), [0, ms, ms])
            noted[0] += 1
            noted[1] = min(noted[1], ms)
            noted[2] = max(noted[2], ms)

    @property
    def since_ms(self) -> int | None:
        """The receive time of the first that was lost and not taken; None if there is none."""
        return min((first for _, first, _ in self._noted.values()), default=None)

    def take(self) -> list[Loss]:
        """Give what was lost, and forget it."""
        taken, self._noted = self._noted, {}
        # Records know the millisecond they were received in: the interval ends with it.
        return [
            Loss(key, cause, lost, first * 1000, last * 1000 + 999)
            for (cause, key), (lost, first, last) in taken.items()
        ]
