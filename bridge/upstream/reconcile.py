"""What to ask the venue for next, so that what it sends becomes what is desired.

Level, not edge: the plan is a function of the newest desired set and of what the venue is known to hold, never of the
order of events. Here the venue replaces the whole list with each request and answers for the list as a whole, which
shapes everything but what ``increments`` changes for other venues:

- A request never asks for less than what is accepted and still desired.
- The first request of a connection holds only *proven* codes (accepted before) where there are any; then come the new.
- A refused request is narrowed down by halving its new codes; the proven ones are in every trial. What a refusal does
  to the list in force is unknown, so after two in a row the proven codes are restated alone. The same where the venue
  says that it did not understand a request with new codes: one of them may be why. With none in it, it is our own bug.
- A code found bad waits out a long back-off before it is tried again, unless what it was tried beside turns out to be
  what the venue refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridge.model import ACCEPTED_BEFORE, Desired, Limits, Memory, State, Subscription, Wanted
from bridge.upstream.admission import Admission, Checks, Verdict, admit
from bridge.upstream.dialects import Ask, Dialect, Remedy

#: Seconds until a refused code is tried again; doubles with each refusal, up to the longest.
REJECT_WAIT_S = 3600.0
REJECT_WAIT_MAX_S = 86_400.0
#: The same where the venue said that it did not understand a request: that need not have been the code's fault.
BUG_WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The next request, and how many new codes are in it."""

    ask: Ask
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A code that the venue refused: with which ``ret``, until when it waits, how often it was refused."""

    ret: int
    until: float
    times: int

    @classmethod
    def recalled(cls, ret: int, age_s: float, now: float, first_s: float = REJECT_WAIT_S) -> Rejection:
        """Take up a refusal that is ``age_s`` old as if it had been followed all the time."""
        tried, times = 0.0, 1
        while tried + (wait := reject_wait_s(times, first_s)) <= age_s:
            tried, times = tried + wait, times + 1
        return cls(ret, now + tried + wait - age_s, times)


def reject_wait_s(times: int, first_s: float = REJECT_WAIT_S) -> float:
    """Give the seconds that a code waits after it was refused so many times."""
    return min(first_s * 2.0 ** min(times - 1, 30), REJECT_WAIT_MAX_S)


class Reconciler:
    """Follows one control partition through all its connections; times are monotonic seconds."""

    def __init__(self, dialect: Dialect, market: str | None, limits: Limits) -> None:
        self._dialect = dialect
        self._market = market
        self._desired = Desired(0)
        self._checked: dict[str, tuple[Wanted, str, Verdict | None]] = {}  # see Checks.known
        self._told = False  # what is desired; until then nothing is, and nothing is said
        self._admission = Admission()
        self._proven: dict[str, str] = {}  # code accepted before -> the symbol it was accepted for
        self._rejected: dict[str, Rejection] = {}  # of desired codes only; kept past its time, to count
        self._barred: frozenset[str] = frozenset()  # refused codes whose time is not over
        self._groups: list[tuple[str, ...]] = []  # new codes still to be tried apart
        self._accused: dict[str, frozenset[str]] = {}  # codes just rejected, and those beside which they were refused
        self._held: frozenset[str] = frozenset()  # what the venue accepted last on this connection
        self._names: dict[str, str] = {}  # code held or admitted -> its symbol
        self._sure = True  # that it still holds just that: no request since was refused or went unanswered
        self._again = False  # the list is to be stated once more, although it holds
        self._opening = True  # nothing was accepted on this connection yet
        self._answered = False
        self._refusals = 0  # in a row
        self._plan: Plan | None = None  # as of the last look; asked for at every turn of the loop
        self._dirty = True
        self._changes = 0  # of anything that others may see
        self._retry_at = float("inf")  # when the next refused code may be tried again
        self._cap = limits.max_symbols
        self._cap_refused: int | None = None  # the smallest size the venue found too large

    @property
    def admission(self) -> Admission:
        """The codes that may be asked for, and why the others may not."""
        return self._admission

    @property
    def accepted(self) -> frozenset[str]:
        """The codes that the venue is known to hold on this connection; none between a refusal and the next consent."""
        return self._held if self._sure else frozenset()

    @property
    def cap(self) -> int:
        """How many codes there is room for: by the plan, or fewer where the venue has refused as many."""
        return self._cap

    @property
    def settled(self) -> bool:
        """Tell whether a request was ever answered, or nothing is to be asked for."""
        return self._told and (self._answered or not self._target_codes())

    @property
    def told(self) -> int:
        """How often anything that ``states`` says may have changed."""
        return self._changes

    @property
    def trusted(self) -> Iterable[str]:
        """The symbols whose codes were accepted before and are wanted."""
        return self._proven.values()

    @property
    def subscribed(self) -> frozenset[str]:
        """The symbols that the venue accepted last on this connection, wanted or not."""
        return frozenset(self._names[code] for code in self._held if code in self._names)

    def subscription(self, symbol: str) -> Subscription:
        """Give the record in force for a desired symbol."""
        return self._desired.wanted[symbol].subscription

    def remember(self, memory: Mapping[str, Memory], now: float, wall_us: int) -> None:
        """Start from what is known of the codes by symbol; before the first ``want``."""
        for symbol, known in memory.items():
            if known.accepted and known.code:
                self._proven[known.code] = symbol
            elif known.refused and known.code:
                age_s = max(0.0, (wall_us - known.since_us) / 1e6)
                self._rejected[known.code] = Rejection.recalled(
                    known.refused, age_s, now, self._first_wait_s(known.refused)
                )

    def want(self, desired: Desired, now: float) -> None:
        """Take the newest desired set."""
        self._desired = desired
        self._told = True
        self._admit(now)

    def opened(self) -> None:
        """Start anew on a fresh connection: it holds nothing."""
        self._dirty = True
        self._changes += 1
        self._held = frozenset()
        self._sure = True
        self._again = False
        self._opening = True
        self._refusals = 0

    def plan(self, now: float) -> Plan | None:
        """Say what to send next; None while there is nothing to say."""
        if now >= self._retry_at:
            self._admit(now)
        if self._dirty:
            self._dirty = False
            self._plan = self._make_plan()
        return self._plan

    @property
    def retry_at(self) -> float:
        """The moment at which a refused code is due again; infinity while there is none."""
        return self._retry_at

    def accept(self, plan: Plan, now: float) -> None:
        """Take the venue's consent to ``plan``."""
        self._dirty = True
        self._changes += 1
        self._hold(plan.ask)
        grown, acquitted = self._grow(), self._acquit(self._held)
        if grown or acquitted:
            self._admit(now)
        else:
            self._prove()
        self._groups = [rest for group in self._groups if (rest := tuple(c for c in group if c not in self._held))]
        self._opening = False
        self._answered = True
        self._refusals = 0

    def refuse(self, plan: Plan, ret: int, now: float, named: Sequence[str] = ()) -> Remedy:  # noqa: ARG002
        """Take the venue's refusal of ``plan``; the remedies that are not ours to apply are the caller's.

        A list is refused as a whole, whichever codes are ``named``.
        """
        remedy = self._dialect.remedy(ret)
        if remedy is Remedy.BUG and plan.fresh:
            remedy = Remedy.NARROW
        self._answered = True
        self.doubt()
        smallest = {Remedy.NARROW: 1, Remedy.SHRINK: 2}.get(remedy, 0)
        if len(plan.ask.codes) < smallest:
            return Remedy.SLOW  # nothing is left to take away: only time can help
        if remedy is Remedy.BUG and self._acquit(frozenset()):
            self._admit(now)
        elif remedy is Remedy.SHRINK:
            self._refusals += 1
            self._shrink(plan, now)
        elif remedy is Remedy.NARROW:
            self._refusals += 1
            self._narrow(plan, ret, now)
        return remedy

    def doubt(self) -> None:
        """Note that a request was not accepted: what the venue holds now is unknown until it accepts one."""
        self._sure = False
        self._dirty = True
        self._changes += 1

    def restate(self, codes: Collection[str]) -> None:
        """Ask once more for codes that the venue holds by its word and sends nothing of."""
        self._again = self._again or not self._held.isdisjoint(codes)
        self._dirty = True

    def unanswered(self, plan: Plan) -> None:  # noqa: ARG002
        """Note that ``plan`` was not answered in time."""
        self.doubt()

    def states(self, connected: bool) -> Iterable[tuple[str, str, State, Verdict | None]]:
        """Give each symbol's code and state as far as it is known here; an accepted one is ``waiting``."""
        owners = self._admission.symbols
        for symbol in self._desired.wanted:
            code = self._admission.codes.get(symbol, "")
            verdict = self._admission.refused.get(symbol)
            if verdict is None and code in self._barred and owners.get(code) == symbol:
                verdict = Verdict(State.REJECTED, f"venue_{self._rejected[code].ret}", "the venue refuses this code")
            if verdict is not None:
                yield symbol, code, verdict.state, verdict
            elif connected and code in self._held:
                # What was accepted stays so while others are tried: no refusal of theirs says that it is gone.
                yield symbol, code, State.WAITING, None
            else:
                state = State.PENDING if connected else State.OFFLINE
                yield symbol, code, state, Verdict(state, ACCEPTED_BEFORE) if code in self._proven else None

    def _hold(self, ask: Ask) -> None:
        """Note what the venue holds once it has accepted a request."""
        self._held = frozenset(ask.codes)
        self._sure = True
        self._again = False

    def _make_plan(self) -> Plan | None:
        proven, fresh = self._split()
        if self._refusals >= 2 and proven:
            return Plan(Ask("subscribe", proven))
        group = () if self._opening and proven else self._group(fresh)
        target = proven + group
        if self._sure and not self._again and frozenset(target) == self._held:
            return None
        asks = self._dialect.asks(self._held if self._sure else self._held or ("unknown",), target)
        return Plan(asks[0], group) if asks else None

    def _admit(self, now: float) -> None:
        self._dirty = True
        self._changes += 1
        self._barred = frozenset(code for code, r in self._rejected.items() if r.until > now)
        check = Checks(self._dialect, self._market, self._cap, self._checked)
        # What the venue holds is an incumbent until it is gone there, whatever was wanted meanwhile.
        held = {code: self._names[code] for code in self._held if code in self._names}
        self._admission = admit(self._desired, check, incumbents=held | self._proven, barred=self._barred)
        self._names = held | {**self._admission.symbols}
        self._prove()
        wanted = frozenset(self._admission.codes.values())
        self._rejected = {code: r for code, r in self._rejected.items() if code in wanted}
        self._barred &= wanted
        self._retry_at = min((self._rejected[code].until for code in self._barred), default=float("inf"))

    def _prove(self) -> None:
        """Trust what was accepted, for whichever symbol wants it now; what nobody wants earns no trust for later."""
        known = self._proven.keys() | self._held
        self._proven = {code: symbol for code, symbol in self._admission.symbols.items() if code in known}

    def _target_codes(self) -> tuple[str, ...]:
        return tuple(code for code in self._admission.symbols if code not in self._barred)

    def _split(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Part the codes to ask for into proven and new ones."""
        codes = self._target_codes()
        proven = tuple(code for code in codes if code in self._proven)
        return proven, tuple(code for code in codes if code not in self._proven)

    def _group(self, fresh: tuple[str, ...]) -> tuple[str, ...]:
        """Choose which of the new codes go into the next request: all, or the next suspects."""
        wanted = frozenset(fresh)
        self._groups = [rest for group in self._groups if (rest := tuple(c for c in group if c in wanted))]
        return self._groups[0] if self._groups else fresh

    def _narrow(self, plan: Plan, ret: int, now: float) -> None:
        suspects = plan.fresh
        if not suspects:  # a code that was good before is bad now, and nothing says which
            suspects = plan.ask.codes
            self._proven.clear()
            self._held = frozenset()
        if self._groups and self._groups[0] == suspects:
            self._groups.pop(0)
        if len(suspects) == 1:
            self._reject(suspects[0], ret, now)
            self._accused[suspects[0]] = frozenset(plan.ask.codes) - {suspects[0]}
            self._admit(now)
            return
        middle = len(suspects) // 2
        self._groups[:0] = [suspects[:middle], suspects[middle:]]

    def _reject(self, code: str, ret: int, now: float) -> None:
        """Let a code wait before it is tried again, longer each time."""
        before = self._rejected.get(code)
        times = before.times + 1 if before else 1
        self._rejected[code] = Rejection(ret, now + reject_wait_s(times, self._first_wait_s(ret)), times)

    def _first_wait_s(self, ret: int) -> float:
        return BUG_WAIT_S if self._dialect.remedy(ret) is Remedy.BUG else REJECT_WAIT_S

    def _acquit(self, accepted: frozenset[str]) -> bool:
        """Take back rejections beside codes that were not accepted since: one of those may have been the bad one."""
        innocent = [code for code, beside in self._accused.items() if not beside <= accepted]
        self._rejected = {code: r for code, r in self._rejected.items() if code not in innocent}
        self._accused.clear()
        return bool(innocent)

    def _grow(self) -> bool:
        """Halve the distance to what was refused where the cap is full and was accepted."""
        if self._cap_refused is None or len(self._held) < self._cap or self._cap_refused - self._cap <= 1:
            return False
        self._cap = (self._cap + self._cap_refused) // 2
        return True

    def _shrink(self, plan: Plan, now: float) -> None:
        """Halve the distance between what is known to fit and what does not."""
        size = len(plan.ask.codes)
        self._cap_refused = min(size, self._cap_refused or size)
        fits = size - len(plan.fresh) if plan.fresh else 0  # what fitted before and is refused now does not count
        self._cap = (fits + self._cap_refused) // 2
        self._admit(now)
