"""What one control partition wants of the venue, and what people see of it, symbol by symbol.

Here the control topic's word passes the removal hold on its way to the reconciler, the admitted codes become routes for
ticks, and what the reconciler knows becomes the rows of the status topic and the page. It outlives connections.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.app.venue import Venue
from bridge.model import (
    ACCEPTED,
    ACCEPTED_BEFORE,
    REMOVAL_HELD,
    Desired,
    Interrupted,
    Limits,
    Memory,
    Resumed,
    State,
    SymbolState,
    Wanted,
)
from bridge.ticks import staleness
from bridge.ticks.calendar import Reminder
from bridge.ticks.symbols import Symbols
from bridge.upstream.admission import Admission, Surplus
from bridge.upstream.increments import reconciler
from bridge.upstream.removals import Removals

#: Symbols that a line of the log names.
NAMED = 10

#: Why a symbol is stale: nothing came for too long, or nothing at all since it was accepted.
NO_TICK, NEVER_TICKED = "no_tick", "never_ticked"
#: Seconds between two judgements of who is stale.
JUDGE_S = 1.0
#: What whoever reads the log can do.
MAKE_ROOM = (
    "remove symbols, or give those that matter a higher priority, or take a larger plan: TICKBRIDGE_UPSTREAM__PLAN"
)
CARRY_ON = (
    "until then its holidays are known: give the next in TICKBRIDGE_TICKS__CALENDAR_FILE, or take a newer release"
)

#: How often the reconciler has changed its mind, removals held, symbols without a tick, who is stale.
Stamp = tuple[int, int, int, frozenset[str]]


class Wants:
    """Every moment is a monotonic second."""

    def __init__(self, partition: int, venue: Venue, limits: Limits) -> None:
        self.partition = partition
        self.reconciler = reconciler(venue.dialect, venue.settings.market, limits)
        self.symbols = Symbols(venue.dialect.venue)
        self.caught_up = False
        self.wanted: Mapping[str, Wanted] = {}  # what ``rows`` rests on: symbols whose removal is held among them
        self._venue = venue
        self._hold_s = venue.removal_hold_s
        self._removals = Removals(venue.removal_hold_s)
        self._orphaned = False  # the topic was made anew and has no records
        self._routed: Admission | None = None
        self._noted = -1  # the reconciler's changes that were looked at
        self._flowing: dict[str, int] = {}  # symbol accepted on this connection -> when, in microseconds
        self._refusal: tuple[float, float] | None = None  # the last one that was looked at
        self._doubted: tuple[int, int] | None = None  # since when the list may be void, and when we heard of it
        self._reminder = Reminder(venue.calendar)
        self._surplus = Surplus()
        self._over_cap = 0
        self._stale: frozenset[str] = frozenset()
        self._asked_again: set[str] = set()  # symbols, on this connection
        self._judge_at = 0.0

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
        self._orphaned = desired.orphaned
        held, log = self._removals.held, self._venue.log
        if new := sorted(held.keys() - before.keys()):
            fields = {"partition": self.partition, "symbols": len(held), "among_them": new[:NAMED]}
            fields |= {"topic_made_anew": True} if desired.orphaned else {"for_s": self._hold_s}
            log("removals_held", "warning", **fields)
        if free := sorted(before.keys() - held.keys()):
            log("removals_released", partition=self.partition, symbols=len(free), among_them=free[:NAMED])

    def work(self, now: float) -> None:
        """Let go of removals whose time is over, and route the ticks of whoever is admitted."""
        before = len(self._removals.held) if self._removals.due <= now else 0
        if before and (desired := self._removals.expire(now)) is not None:
            self._apply(desired, now)
            self._venue.log("removals_applied", "warning", partition=self.partition, symbols=before - self.held_count)
        self._note_accepted(now)
        self._route()
        if now >= self._judge_at:
            self._judge_at = now + JUDGE_S
            self._stale = self._find_stale()
            self.ask_again()
            self._remind(now)

    def ask_again(self) -> None:
        """Have symbols that never ticked although others of their market do subscribed once more on a connection.

        The venue may have left them out without a word. If they stay mute, they are left alone.
        """
        mute = self._find_mute()
        if mute:
            self._asked_again |= mute.keys()
            self.reconciler.restate(mute.values())
            fields = {"partition": self.partition, "symbols": len(mute), "among_them": sorted(mute)[:NAMED]}
            self._venue.log("never_ticked_asked_again", "warning", **fields)

    def _remind(self, now: float) -> None:
        """Say in the log what somebody should do something about before long."""
        log, partition = self._venue.log, self.partition
        over, cap = self._over_cap, self.reconciler.cap
        if self._surplus.news(over, now):
            if over:
                log("over_cap", "warning", partition=partition, symbols=over, cap=cap, remedy=MAKE_ROOM)
            else:
                log("over_cap_ended", partition=partition, cap=cap)
        judged = {route.market for route in self.symbols if route.market}
        for market, last in self._reminder.due(self._venue.wall_us(), judged).items():
            log("holidays_run_out", "warning", partition=partition, market=market, known_until=last, remedy=CARRY_ON)

    def interrupt(self, cause: str, from_us: int, session: int) -> None:
        """Tell that the connection is gone, and whose ticks it brought."""
        self._asked_again.clear()
        self._doubted = None
        self._break_off(cause, from_us, session)

    def _break_off(self, cause: str, from_us: int, session: int) -> None:
        """Tell that nobody's ticks came any more."""
        routes, codes = self.symbols.routes, self.reconciler.admission.codes
        gone = {}
        for symbol in self._flowing:
            code = codes.get(symbol, "")
            route = routes.get(code)
            gone[symbol] = code, route.window.last_seq if route else ""
        self._flowing.clear()
        self._stale = frozenset()
        if gone:
            self._venue.events.append(Interrupted(self.partition, cause, from_us, session, gone))

    def resume(self, session: int, now: float, refusal: tuple[float, float] | None) -> None:
        """Look whether the venue has accepted a list, and tell whose ticks may come from now on.

        ``refusal`` has the moments at which a refused list was sent and answered last.
        """
        if self._doubted is not None and not self.reconciler.accepted:
            self._trust_again(self._doubted[1])
        if self._noted == self.reconciler.told:
            return
        self._note_accepted(now)
        self._doubt(refusal, session, now)
        accepted, now_us = self.reconciler.subscribed & self._routed_symbols(), self._venue.wall_us()
        fresh = frozenset(accepted - self._flowing.keys())
        self._flowing = {symbol: self._flowing.get(symbol, now_us) for symbol in accepted}
        if fresh:
            self._venue.events.append(Resumed(self.partition, now_us, session, fresh))

    def _doubt(self, refusal: tuple[float, float] | None, session: int, now: float) -> None:
        """Tell of a gap where a refusal may have ended the list in force, as nobody knows: no tick came after it."""
        now_us = self._venue.wall_us()
        if refusal is not None and refusal != self._refusal:
            sent_us = now_us - round((now - refusal[0]) * 1e6)
            self._doubted = (self._doubted[0] if self._doubted else sent_us), now_us
        self._refusal = refusal
        if self._doubted is not None and self.reconciler.accepted:
            self._break_off("disconnect", self._doubted[0], session)
            self._doubted = None

    def _trust_again(self, heard_us: int) -> None:
        """Note that the list outlived a refusal: ticks came in a later read than that, and in none with a consent.

        Within a read nobody knows what came first.
        """
        if any(route.last_us > heard_us for route in self.symbols):
            self._doubted = None

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
        silent = sum(not route.last_us for route in self.symbols)
        return self.reconciler.told, self.held_count, silent, self._stale

    def rows(self, connected: bool) -> list[SymbolState]:
        """Describe each symbol."""
        rows = []
        routes, held = self.symbols.routes, self._removals.held
        many = f"its record is gone with many others: held for {self._hold_s:g} s, or until it is confirmed"
        detail_of_held = "its topic was made anew: held until it has records" if self._orphaned else many
        for symbol, code, known, verdict in self.reconciler.states(connected):
            route = routes.get(code)
            last_us, price = (route.last_us, route.price) if route and route.symbol == symbol else (0, "")
            state = State.LIVE if known is State.WAITING and last_us else known
            reason, detail = (verdict.reason, verdict.detail) if verdict else ("", "")
            priority = self.reconciler.subscription(symbol).priority
            if symbol in self._stale and state in ACCEPTED:
                state, reason = State.STALE, NO_TICK if last_us else NEVER_TICKED
                detail = f"no tick for {self._patience(symbol):g} s of open market"
            if symbol in held and (state in ACCEPTED or reason == ACCEPTED_BEFORE):
                reason, detail = REMOVAL_HELD, detail_of_held
            rows.append(SymbolState(symbol, code, state, reason, detail, last_us, price, priority))
        return rows

    def _apply(self, desired: Desired, now: float) -> None:
        self.wanted = desired.wanted
        self.reconciler.want(desired, now)
        self._route()

    def _note_accepted(self, now: float) -> None:
        if self._noted != self.reconciler.told:
            self._noted = self.reconciler.told
            self._removals.accepted(self.reconciler.trusted, now)

    def _routed_symbols(self) -> set[str]:
        return {route.symbol for route in self.symbols}

    def _patience(self, symbol: str) -> float:
        return self.reconciler.subscription(symbol).stale_after_s or self._venue.stale_after_s

    def _find_stale(self) -> frozenset[str]:
        """Judge by ticks, against the market's calendar; heartbeats and acceptance are no data."""
        watched = []
        for route in self.symbols:
            since_us = self._flowing.get(route.symbol)
            if since_us is not None:
                if route.market == "":
                    route.market = self._venue.calendar.market_of(route.code, route.symbol)
                watched.append((route.symbol, route.market, max(since_us, route.last_us), self._patience(route.symbol)))
        return staleness.judge(self._venue.calendar, watched, self._venue.wall_us()).stale

    def _find_mute(self) -> dict[str, str]:
        """Find symbols that never ticked although others of their market do, with their codes."""
        suspects = self._stale - self._asked_again
        if not suspects:
            return {}
        well = self._flowing.keys() - self._stale
        ticking = {route.market for route in self.symbols if route.last_us and route.symbol in well}
        return {
            route.symbol: route.code
            for route in self.symbols
            if not route.last_us and route.symbol in suspects and route.market in ticking
        }

    def _route(self) -> None:
        """Let the ticks of admitted codes through, and only these."""
        if self.reconciler.admission is not self._routed:
            self._routed = self.reconciler.admission
            self.symbols.desire(self._routed.symbols)
            self._over_cap = sum(one.state is State.OVER_CAP for one in self._routed.refused.values())
