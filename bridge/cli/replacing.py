"""What ``subscriptions add`` says of records that were there already: what stood and what is written in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from bridge.cli.tables import printable
from bridge.control import records

if TYPE_CHECKING:
    from bridge.cli.plan import Standing
    from bridge.model import Subscription

#: Symbols that a warning names.
FEW = 5


def told(new: Subscription, former: Mapping[str, Standing] | None) -> str:
    """Say what became of a symbol's record; without ``former`` nobody knows what stood there."""
    if former is None:
        return f"written {new.symbol}"
    old = former.get(new.symbol)
    if old is None:
        return f"added {new.symbol}"
    if old.problem is not None or old.subscription is None:
        return printable(f"changed {new.symbol}, was unusable ({old.problem})")
    before, after = _value(old.subscription), _value(new)
    return f"unchanged {new.symbol}" if before == after else f"changed {new.symbol}, was {printable(before)}"


def left_out(wanted: Iterable[Subscription], former: Mapping[str, Standing]) -> Iterator[str]:
    """Warn of fields that a former record had and the new one does not: one sentence for each set of fields."""
    found: dict[tuple[str, ...], list[str]] = {}
    for new in wanted:
        old = former.get(new.symbol)
        if old is not None and old.subscription is not None:
            has = msgspec.json.decode(_value(new))
            fields = tuple(name for name in msgspec.json.decode(_value(old.subscription)) if name not in has)
            found.setdefault(fields, []).append(new.symbol)
    for fields, symbols in found.items():
        if fields:
            names = ", ".join(symbols[:FEW]) + (f" and {len(symbols) - FEW:,} more" if len(symbols) > FEW else "")
            yield f"{names}: left out {', '.join(fields)}, which the former record had; nothing of it is kept"


def _value(subscription: Subscription) -> str:
    return records.encode(subscription)[1].decode()
