"""The accounts of every tick (contract, guarantee 7).

One thread owns the ledger and adds to it batch by batch; what others see is a snapshot. What is in flight is counted
where it is (with the producer, in the queue), never worked out from the other terms: that makes the sum a proof.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from bridge.model import Accounts


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
