"""What one control partition wants of the venue, and what people see of it, symbol by symbol.

Here the control topic's word passes the removal hold on its way to the reconciler, the admitted codes become routes for
ticks, and what the reconciler knows becomes the rows of the status topic and the page. It outlives connections.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.app.venue import Venue
from bridge.model import Desired, Limits, Memory, State, SymbolState, Wanted
from bridge.ticks.symbols import Symbols
from bridge.upstream.admission import Admission
from bridge.upstream.reconcile import Reconciler
from bridge.upstream.removals import Removals

#: The reason of a symbol that stays subscribed although its record is gone.
REMOVAL_HELD = "removal_held"
#: Symbols that a line of the log names.
NAMED = 10

#: How often the reconciler has changed its mind, removals held, symbols without a tick.
Stamp = tuple[int, int, int]


class Wants:
    """Every moment is a monotonic second."""

    def __init__(self, partition: int, venue: Venue, limits: Limits) -> None:
        self.partition = partition
        self.reconciler = Reconciler(venue.dialect, venue.settings.market, limits)
        self.symbols = Symbols(venue.dialect.venue)
        self.caught_up = False
        self._venue = venue
        self._hold_s = venue.removal_hold_s
        self._removals = Removals(venue.removal_hold_s)
        self._routed: Admission | None = None
        self._noted = -1  # what of the reconciler's changes the removals know of

    def remember(self, memory: Mapping[str, Memory], now: float) -> None:
        """Start from what the status topic says of the symbols."""
        self.reconciler.remember(memory, now, self._venue.wall_us())
        accepted = {symbol: one.wanted for symbol, one in memory.items() if one.accepted and one.wanted is not None}
        self._removals.remember(accepted)

    def want(self, desired: Desired, now: float) -> None:
        """Take the newest desired set."""
        self.caught_up = True
        self._note_accepted(now)
        before = self._removals.held
        self._apply(self._removals.want(desired, self.reconciler.subscribed, now), now)
        held = self._removals.held
        if len(held) > len(before):
            names = sorted(held)[:NAMED]
            fields = {"partition": self.partition, "symbols": len(held), "among_them": names, "for_s": self._hold_s}
            self._venue.log("removals_held", "warning", **fields, topic_made_anew=desired.orphaned)
        elif len(held) < len(before):
            self._venue.log("removals_released", partition=self.partition, symbols=len(before) - len(held))

    def work(self, now: float) -> None:
        """Let go of removals whose time is over, and route the ticks of whoever is admitted."""
        before = len(self._removals.held) if self._removals.due <= now else 0
        if before and (desired := self._removals.expire(now)) is not None:
            self._apply(desired, now)
            self._venue.log("removals_applied", "warning", partition=self.partition, symbols=before - self.held_count)
        self._note_accepted(now)
        self._route()

    @property
    def due(self) -> float:
        """The moment at which ``work`` has something to do."""
        return self._removals.due

    @property
    def held(self) -> Mapping[str, Wanted]:
        """The symbols whose removal is held, with what is in force for each."""
        return self._removals.held

    @property
    def held_count(self) -> int:
        """How many removals are held."""
        return len(self._removals.held)

    def stamp(self) -> Stamp:
        """Give something that changes when ``rows`` would say something new, prices aside."""
        return self.reconciler.told, self.held_count, sum(not route.last_us for route in self.symbols)

    def rows(self, connected: bool) -> list[SymbolState]:
        """Describe each symbol."""
        rows = []
        routes, held = self.symbols.routes, self._removals.held
        detail_of_held = f"its record is gone with many others: held for {self._hold_s:g} s, or until it is confirmed"
        for symbol, code, known, verdict in self.reconciler.states(connected):
            route = routes.get(code)
            last_us, price = (route.last_us, route.price) if route and route.symbol == symbol else (0, "")
            state = State.LIVE if known is State.WAITING and last_us else known
            reason, detail = (verdict.reason, verdict.detail) if verdict else ("", "")
            priority = self.reconciler.priority(symbol)
            if symbol in held:
                reason, detail = REMOVAL_HELD, detail_of_held
            rows.append(SymbolState(symbol, code, state, reason, detail, last_us, price, priority))
        return rows

    def _apply(self, desired: Desired, now: float) -> None:
        self.reconciler.want(desired, now)
        self._route()

    def _note_accepted(self, now: float) -> None:
        if self._noted != self.reconciler.told:
            self._noted = self.reconciler.told
            self._removals.accepted(self.reconciler.trusted, now)

    def _route(self) -> None:
        """Let the ticks of admitted codes through, and only these."""
        if self.reconciler.admission is not self._routed:
            self._routed = self.reconciler.admission
            self.symbols.desire(self._routed.symbols)
