"""Which symbols have been quiet for too long, counted in open time of their markets (contract 1.5, guarantee 5).

A symbol is stale once ``after_s`` of open time has passed since its last tick, or since the venue accepted it: nights,
lunch breaks and holidays count for nothing, so who was quiet since yesterday's close becomes stale ``after_s`` after
the opening. Stale it stays, whether the market is open or not, until a tick comes. Without a market it never is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bridge.ticks.calendar import Calendar, Market

#: Symbol, its market, the moment it was last heard or accepted (µs; 0: there is none yet), seconds of patience.
Watched = tuple[str, Market | None, int, float]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The stale symbols, and the first moment (µs) at which another one may become stale; ``None`` if none can.

    Ticks only put that moment off. It changes otherwise when something else is watched, so who watches anew asks anew.
    """

    stale: frozenset[str] = frozenset()
    next_us: int | None = None


def judge(calendar: Calendar, watched: Iterable[Watched], now_us: int) -> Judgement:
    """Judge every symbol at one moment."""
    groups: dict[Market, list[tuple[int, float, str]]] = {}
    for symbol, market, since_us, after_s in watched:
        if market is not None and since_us > 0:
            groups.setdefault(market, []).append((since_us, after_s, symbol))
    stale: list[str] = []
    moments: list[int] = []
    for market, group in groups.items():
        open_time = calendar.open_time(market, min(group)[0], now_us)
        at, total = open_time.at, open_time.at(now_us)
        soonest = math.inf
        for since_us, after_s, symbol in group:
            due = at(since_us) + max(1.0, after_s * 1e6)
            if due <= total:
                stale.append(symbol)
            elif due < soonest:
                soonest = due
        if soonest < math.inf:
            moments.append(open_time.when(math.ceil(soonest)))
    return Judgement(frozenset(stale), min(moments, default=None))
