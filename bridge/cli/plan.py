"""What would have to be written to make the control topic equal to a file: pure, standing and wanted in, a plan out.

Only differences are written, and always in the same order, so that a plan can be applied again without harm. A symbol
counts as equal when the record in force has the same fields and is the symbol's newest one. What is in the topic and
not in the file is removed only where pruning was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.cli.files import FIELDS
from bridge.control import records
from bridge.control.desired import Fold
from bridge.model import Subscription

#: From so many symbols on, the removal of more than half is worth a warning (contract 1.5, fat fingers).
MASS_FROM = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """What the topic holds about one symbol: the record in force, and why the newest is unusable."""

    subscription: Subscription | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One symbol that both have, differently; ``differences`` has (field, old, new), as texts."""

    subscription: Subscription
    differences: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference, each part in the order of symbols."""

    added: tuple[Subscription, ...]
    changed: tuple[Change, ...]
    removed: tuple[str, ...]
    left_alone: tuple[str, ...]
    unchanged: int
    warnings: tuple[str, ...]

    @property
    def records(self) -> int:
        """Count what would be written."""
        return len(self.added) + len(self.changed) + len(self.removed)

    @property
    def differs(self) -> bool:
        """Tell whether topic and file differ, be it in what only the topic has."""
        return bool(self.records or self.left_alone)

    def writes(self) -> Sequence[tuple[bytes, bytes | None]]:
        """Give keys and values in the order in which they are to be written: tombstones last."""
        upserts = [*self.added, *(change.subscription for change in self.changed)]
        return [*map(records.encode, upserts), *((symbol.encode(), None) for symbol in self.removed)]

    def as_json(self) -> dict[str, Any]:
        """Give the plan as what JSON has."""
        return {
            "added": [one.symbol for one in self.added],
            "changed": [
                {
                    "symbol": change.subscription.symbol,
                    "differences": [{"field": field, "old": old, "new": new} for field, old, new in change.differences],
                }
                for change in self.changed
            ],
            "removed": list(self.removed),
            "left_alone": list(self.left_alone),
            "unchanged": self.unchanged,
            "warnings": list(self.warnings),
        }


def standing(folds: Iterable[Fold]) -> dict[str, Standing]:
    """Give what the control topic holds, by symbol; each counts in one partition only, its hash's."""
    found: dict[str, Standing] = {}
    for fold in folds:
        wanted, invalid = fold.desired().wanted, fold.invalid
        for symbol in fold.symbols:
            bad, held = invalid.get(symbol), wanted.get(symbol)
            problem = f"{bad.reason}: {bad.detail}" if bad else None
            found[symbol] = Standing(held.subscription if held else None, problem)
    return found


def compare(held: Mapping[str, Standing], wanted: Mapping[str, Subscription], *, prune: bool) -> Plan:
    """Plan what makes ``held`` equal to ``wanted``; without ``prune``, what only ``held`` has is left alone."""
    pairs = [(held[symbol], wanted[symbol]) for symbol in sorted(wanted.keys() & held.keys())]
    changes = [Change(new, differences) for old, new in pairs if (differences := _differences(old, new))]
    only_held = tuple(sorted(held.keys() - wanted.keys()))
    removed = only_held if prune else ()
    return Plan(
        added=tuple(wanted[symbol] for symbol in sorted(wanted.keys() - held.keys())),
        changed=tuple(changes),
        removed=removed,
        left_alone=() if prune else only_held,
        unchanged=len(pairs) - len(changes),
        warnings=_warnings(held, wanted, removed),
    )


def _differences(old: Standing, new: Subscription) -> tuple[tuple[str, str, str], ...]:
    former = old.subscription or Subscription(new.symbol)
    found = [
        (name, _shown(getattr(former, name)), _shown(getattr(new, name)))
        for name in FIELDS
        if getattr(former, name) != getattr(new, name)
    ]
    if old.problem is not None:
        found.insert(0, ("record", f"unusable ({old.problem})", "usable"))
    return tuple(found)


def _warnings(
    held: Mapping[str, Standing], wanted: Mapping[str, Subscription], removed: Iterable[str]
) -> tuple[str, ...]:
    """Warn of what empties the bridge: symbols that would be gone, by a tombstone or by ``enabled: false``."""
    gone = frozenset(removed)
    running = {symbol for symbol, old in held.items() if old.subscription and old.subscription.enabled}
    ending = {symbol for symbol in running if symbol in gone or (symbol in wanted and not wanted[symbol].enabled)}
    if len(running) < MASS_FROM or 2 * len(ending) <= len(running):
        return ()
    return (f"this ends {len(ending)} of {len(running)} subscriptions, more than half; is it the right file?",)


def _shown(value: object) -> str:
    if value is None:
        return "(none)"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
