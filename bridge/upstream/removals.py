"""Fat fingers (contract, guarantee 11): a removal of many symbols at once is held before it reaches the venue.

Pure: between what the control topic asks for and what the reconciler is told to want. It remembers which symbols the
venue had accepted ``hold_s`` ago. When more than half of them, and at least 20 there were, would be gone, by whatever
road, what is still subscribed stays so for ``hold_s``: held symbols count as desired. Rules:

- Each removal is held for its own ``hold_s``; what happens to others meanwhile neither shortens nor prolongs it.
- A removal that was told to us but not yet to the venue is held as well; one that the venue has accepted stays applied.
- A confirmed removal is neither held nor counted. So is one that was held to its end.
- A symbol that is asked for again is an ordinary one again.
- While the topic was made anew and is empty, everything is held; its first record makes an ordinary removal of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from bridge.model import Desired, Wanted

_FOR_EVER = float("inf")

#: Fewer symbols than these are removed without question.
FEW = 20


@dataclass(frozen=True, slots=True)
class _Gone:
    """A removal of a symbol that was accepted ``since``; kept for as long as it counts."""

    wanted: Wanted
    since: float
    at: float


class Removals:
    """Decides for one control partition what stays desired; times are monotonic seconds."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._told = Desired(0)  # as the control topic says
        self._in_force: Mapping[str, Wanted] = {}  # what the reconciler is to want
        self._since: dict[str, float] = {}  # symbol in force -> when the venue accepted it
        self._gone: dict[str, _Gone] = {}
        self._held: dict[str, tuple[Wanted, float]] = {}  # symbol -> what it was, until when

    @property
    def held(self) -> Mapping[str, Wanted]:
        """The symbols whose removal is held, with the record that is still in force for each."""
        return {symbol: wanted for symbol, (wanted, _) in self._held.items()}

    @property
    def due(self) -> float:
        """The moment at which the next held removal is over; infinity while none is held."""
        return min((until for _, until in self._held.values()), default=_FOR_EVER)

    def remember(self, accepted: Mapping[str, Wanted]) -> None:
        """Start from what was accepted before this process came."""
        self._in_force = dict(accepted)
        self._since = dict.fromkeys(accepted, float("-inf"))

    def accepted(self, symbols: Iterable[str], now: float) -> None:
        """Note whom the venue has accepted; once accepted, a symbol counts for as long as it is wanted."""
        for symbol in symbols:
            if symbol in self._in_force:
                self._since.setdefault(symbol, now)

    def want(self, told: Desired, subscribed: Collection[str], now: float) -> Desired:
        """Take what the control topic says; give what is desired, held symbols included.

        ``subscribed`` are the symbols that the venue is known to hold, wanted or not.
        """
        self._told = told
        asked = {symbol for symbol, wanted in told.wanted.items() if wanted.subscription.enabled}
        self._held = {symbol: held for symbol, held in self._held.items() if held[1] != _FOR_EVER}
        if told.orphaned:
            self._held |= {symbol: (told.wanted[symbol], _FOR_EVER) for symbol in asked}
            return self._make()
        for symbol in (self._held.keys() | self._gone.keys()) & (asked | told.confirmed):
            self._held.pop(symbol, None)
            self._gone.pop(symbol, None)
        for symbol in self._since.keys() - asked - self._held.keys():
            since, wanted = self._since.pop(symbol), self._in_force[symbol]
            if symbol not in told.confirmed:
                self._gone[symbol] = _Gone(wanted, since, now)
        self._forget(now)
        if self._too_many(now):
            for symbol in [one for one in self._gone if one in subscribed or self._gone[one].at == now]:
                gone = self._gone.pop(symbol)
                self._held[symbol] = (gone.wanted, now + self._hold_s)
                self._since[symbol] = gone.since
        return self._make()

    def expire(self, now: float) -> Desired | None:
        """Let go of what was held to its end; give what is desired then, or ``None`` while nothing changes."""
        over = [symbol for symbol, (_, until) in self._held.items() if until <= now]
        for symbol in over:
            del self._held[symbol]
            self._since.pop(symbol, None)
        return self._make() if over else None

    def _forget(self, now: float) -> None:
        self._gone = {symbol: gone for symbol, gone in self._gone.items() if gone.at > now - self._hold_s}

    def _too_many(self, now: float) -> bool:
        """Tell whether more than half of those accepted a hold ago are gone or about to be."""
        then = now - self._hold_s
        stay = sum(since <= then for symbol, since in self._since.items() if symbol not in self._held)
        leave = sum(gone.since <= then for gone in self._gone.values())
        leave += sum(self._since[symbol] <= then for symbol in self._held)
        return stay + leave >= FEW and leave > stay

    def _make(self) -> Desired:
        wanted = self._told.wanted
        if self._held:
            wanted = MappingProxyType({**wanted, **self.held})
        self._in_force = wanted
        return replace(self._told, wanted=wanted)
