"""Fat fingers (contract, guarantee 11): a removal of many symbols at once is held before it reaches the venue.

Pure: between what the control topic asks for and what the reconciler is told to want. It remembers which symbols the
venue had accepted ``hold_s`` ago. When more than half of them, and at least 20 there were, would be gone, by whatever
road, what is still subscribed stays so for ``hold_s``: held symbols count as desired. Rules:

- Each removal is held for its own ``hold_s``; what happens to others meanwhile neither shortens nor prolongs it.
- A removal that was told to us but not yet to the venue is held as well; one that the venue has accepted stays applied.
- A confirmed removal is neither held nor counted. So is one that was held to its end.
- A symbol that is asked for again is an ordinary one again, and as old as before if it was gone for less than a hold.
- Who is asked for and not accepted (no room, refused) counts for as long as it was accepted a hold ago.
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
class _Left:
    """A symbol that was accepted ``since`` and is not any more; kept for a hold, for as long as it counts."""

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
        self._left: dict[str, _Left] = {}
        self._held: dict[str, tuple[Wanted, float]] = {}  # symbol -> what it was, until when
        self.due = _FOR_EVER  # when the next held removal is over

    @property
    def held(self) -> Mapping[str, Wanted]:
        """The symbols whose removal is held, with the record that is still in force for each."""
        return {symbol: wanted for symbol, (wanted, _) in self._held.items()}

    def remember(self, accepted: Mapping[str, Wanted]) -> None:
        """Start from what was accepted before this process came."""
        self._in_force = dict(accepted)
        self._since = dict.fromkeys(accepted, float("-inf"))

    def accepted(self, symbols: Iterable[str], now: float) -> None:
        """Note whom the venue has accepted by now, all of them: who is not named any more has lost its place.

        Who comes back within a hold is as old as before.
        """
        accepted = self._in_force.keys() & frozenset(symbols)
        self._forget(now)
        for symbol in accepted - self._since.keys():
            left = self._left.pop(symbol, None)
            self._since[symbol] = left.since if left else now
        for symbol in self._since.keys() - accepted - self._held.keys():
            self._leave(symbol, now)

    def want(self, told: Desired, subscribed: Collection[str], now: float) -> Desired:
        """Take what the control topic says; give what is desired, held symbols included.

        ``subscribed`` are the symbols that the venue is known to hold, wanted or not.
        """
        self._told = told
        asked = {symbol for symbol, wanted in told.wanted.items() if wanted.subscription.enabled}
        self._held = {symbol: held for symbol, held in self._held.items() if held[1] != _FOR_EVER}
        for symbol in self._held.keys() & (asked | told.confirmed):
            del self._held[symbol]
        for symbol in told.confirmed - asked:
            self._since.pop(symbol, None)
            self._left.pop(symbol, None)
        gone = self._since.keys() - asked - self._held.keys()
        for symbol in gone:
            self._leave(symbol, now)
        self._forget(now)
        if self._too_many(asked, now):
            # What the venue holds still is not gone yet, however long ago it was told to us.
            for symbol in [one for one in self._left.keys() - asked if one in gone or one in subscribed]:
                left = self._left.pop(symbol)
                self._held[symbol] = (left.wanted, now + self._hold_s)
                self._since[symbol] = left.since
        if told.orphaned:
            self._held |= {symbol: (told.wanted[symbol], _FOR_EVER) for symbol in asked}
        return self._make()

    def expire(self, now: float) -> Desired | None:
        """Let go of what was held to its end; give what is desired then, or ``None`` while nothing changes."""
        over = [symbol for symbol, (_, until) in self._held.items() if until <= now]
        for symbol in over:
            del self._held[symbol]
            self._since.pop(symbol, None)
        return self._make() if over else None

    def _leave(self, symbol: str, now: float) -> None:
        self._left[symbol] = _Left(self._in_force[symbol], self._since.pop(symbol), now)

    def _forget(self, now: float) -> None:
        self._left = {symbol: left for symbol, left in self._left.items() if left.at > now - self._hold_s}

    def _too_many(self, asked: Collection[str], now: float) -> bool:
        """Tell whether more than half of those accepted a hold ago are gone or about to be."""
        then = now - self._hold_s
        accepted = [symbol for symbol, since in self._since.items() if since <= then]
        accepted += [symbol for symbol, left in self._left.items() if left.since <= then]
        leave = sum(symbol not in asked for symbol in accepted)
        return len(accepted) >= FEW and 2 * leave > len(accepted)

    def _make(self) -> Desired:
        wanted = self._told.wanted
        if self._held:
            wanted = MappingProxyType({**wanted, **self.held})
        self._in_force = wanted
        self.due = min((until for _, until in self._held.values()), default=_FOR_EVER)
        return replace(self._told, wanted=wanted)
