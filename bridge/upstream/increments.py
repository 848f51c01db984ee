"""The same for venues whose requests add codes and take them away: only differences are asked for.

What a refusal or a missing answer puts in doubt is its own codes, never the others: what is accepted is not sent again
on its connection. A code that was refused beside others is tried once more alone, and is rejected if it is refused
then. Proven codes come first, in requests of their own, then suspects one by one, then the new.

Where the venue answers nothing that one could count on, a request is accepted when it is sent; a refusal that comes
after all takes its codes back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bridge.model import Limits
from bridge.upstream.dialects import Ask, Dialect, Remedy
from bridge.upstream.reconcile import Plan, Reconciler


class Increments(Reconciler):
    """Follows one control partition through all its connections; times are monotonic seconds."""

    def __init__(self, dialect: Dialect, market: str | None, limits: Limits) -> None:
        super().__init__(dialect, market, limits)
        self._limits = limits
        self._perhaps: frozenset[str] = frozenset()  # not held for sure, and not surely gone: nobody answered
        self._anew: frozenset[str] = frozenset()  # held by the venue's word, and to be asked for once more

    def opened(self) -> None:
        """Start anew on a fresh connection: it holds nothing, and may have more room than the one before."""
        super().opened()
        self._perhaps = self._anew = frozenset()
        if self._cap < self._limits.max_symbols:
            self._cap = self._limits.max_symbols
            self._retry_at = float("-inf")  # so that the next look admits anew

    def refuse(self, plan: Plan, ret: int, now: float, named: Sequence[str] = ()) -> Remedy:
        """Take the venue's refusal of those codes of ``plan`` that it names, or of them all."""
        self._dirty = True
        self._changes += 1
        self._answered = True
        remedy = self._dialect.remedy(ret)
        codes = frozenset(named or plan.ask.codes)
        if plan.ask.kind == "unsubscribe":
            self._keep(codes, remedy)
            return remedy
        self._held -= codes
        self._perhaps -= codes
        self._anew -= codes
        if remedy is Remedy.SHRINK and not self._held:
            return Remedy.SLOW  # nothing is left to take away: only time can help
        if remedy in (Remedy.NARROW, Remedy.SHRINK, Remedy.BUG):  # it is for one strange code that this is no request
            self._proven = {code: symbol for code, symbol in self._proven.items() if code not in codes}
            if remedy is Remedy.SHRINK:
                self._cap = min(self._cap, len(self._held))
            elif len(plan.ask.codes) > 1:
                self._groups += [(code,) for code in sorted(codes)]
            else:
                self._reject(plan.ask.codes[0], ret, now)
            self._admit(now)
        return remedy

    def restate(self, codes: Collection[str]) -> None:
        """Ask once more for codes that the venue holds by its word and sends nothing of."""
        self._anew |= self._held & frozenset(codes)
        self._dirty = True

    def unanswered(self, plan: Plan) -> None:
        """Note that nobody knows what became of the codes of ``plan``."""
        self._dirty = True
        self._changes += 1
        self._held -= frozenset(plan.ask.codes)
        self._anew -= frozenset(plan.ask.codes)
        self._perhaps |= frozenset(plan.ask.codes)

    def _hold(self, ask: Ask) -> None:
        codes = frozenset(ask.codes)
        self._held = self._held | codes if ask.kind == "subscribe" else self._held - codes
        self._perhaps -= codes
        self._anew -= codes

    def _make_plan(self) -> Plan | None:
        proven, fresh = self._split()
        wanted = frozenset(self._target_codes())
        held = self._held - (self._anew & wanted)
        group = self._group(tuple(code for code in fresh if code not in held))
        missing = tuple(code for code in proven if code not in held)
        kept = tuple(code for code in held if code in wanted)
        asks = self._dialect.asks(held | (self._perhaps - wanted), kept + (missing or group))
        return Plan(asks[0], tuple(code for code in asks[0].codes if code in group)) if asks else None

    def _keep(self, codes: frozenset[str], remedy: Remedy) -> None:
        """Take back that codes are gone; whatever the venue does not know, it does not hold."""
        self._held -= codes
        if remedy is not Remedy.NARROW:
            self._perhaps |= codes


def reconciler(dialect: Dialect, market: str | None, limits: Limits) -> Reconciler:
    """Make what fits a dialect."""
    return (Reconciler if dialect.replaces else Increments)(dialect, market, limits)
