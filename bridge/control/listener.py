"""Who acts on what the control topic says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge.model import Desired, Unusable, Wanted


class Listener(Protocol):
    """Who acts on what the control topic says; every call comes from inside `ControlTopic.turn`.

    ``on_revoked`` and ``on_lost`` may come from inside a rebalance: they do not ask the control topic anything.
    """

    def on_assigned(self, partition: int) -> None:
        """Learn that a partition is ours; it is about to be read to its end."""
        ...

    def on_desired(self, desired: Desired) -> None:
        """Learn what is desired: once when the partition was read to its end, then after each batch of changes."""
        ...

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Close upstream for these partitions; the successor may connect as soon as this returns."""
        ...

    def on_unusable(self, record: Unusable) -> None:
        """Learn of a control record that cannot be used; again at each reading in which it stands."""
        ...

    def remembered(self, partition: int) -> Mapping[str, Wanted]:
        """Say what was in force in a partition that nobody here has read yet, by symbol."""
        ...

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Learn that the group no longer hears us; nobody knows whose these partitions are now."""
        ...
