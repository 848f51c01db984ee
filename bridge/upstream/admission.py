"""Which of the desired symbols may be asked for, and under which code.

Our own checks come first, so that no request is spent on what cannot work: a symbol that the venue cannot spell, a
code that plainly belongs to the other endpoint, two symbols with one code. Then the plan's cap: by priority, then
incumbents, then the order of the control records. Nobody is left out silently: each refusal has a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bridge.model import Desired, State, Wanted
from bridge.upstream.dialects import BadSymbol, Dialect


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a symbol is not asked for."""

    state: State
    reason: str
    detail: str = ""


#: Seconds between two lines of the log about symbols that find no room.
SURPLUS_S = 60.0


class Surplus:
    """Decides when the log is told how many symbols find no room: from and to none, and when they become more.

    At most once in a while, so that a burst of changes is one line; what was left out then is told later if it still
    holds.
    """

    def __init__(self) -> None:
        self._told = 0
        self._again = float("-inf")

    def news(self, count: int, now: float) -> bool:
        """Tell whether so many are to be told of at this moment."""
        if count <= self._told and (count or not self._told):
            self._told = count
            return False
        if now < self._again:
            return False
        self._told, self._again = count, now + SURPLUS_S
        return True


@dataclass(frozen=True, slots=True)
class Admission:
    """``symbols`` maps each admitted code to its symbol, most wanted first; ``codes`` spells every usable symbol."""

    symbols: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checks:
    """What a symbol must pass: the venue's spelling, the endpoint that is served, the plan's cap.

    ``known`` keeps what was found of each record, from one look to the next: nearly all of them are the same.
    """

    dialect: Dialect
    market: str | None
    cap: int
    known: dict[str, tuple[Wanted, str, Verdict | None]] = field(default_factory=dict)


def admit(
    desired: Desired, checks: Checks, *, incumbents: Mapping[str, str], barred: Collection[str] = ()
) -> Admission:
    """Choose whom to ask for.

    ``incumbents`` maps the codes held so far to their symbols; ``barred`` are codes that the venue refuses for now,
    which take no room.
    """
    refused: dict[str, Verdict] = {}
    codes: dict[str, str] = {}
    claims: dict[str, Wanted] = {}
    for symbol, wanted in desired.wanted.items():
        found = checks.known.get(symbol)
        if found is None or found[0] is not wanted:
            found = checks.known[symbol] = (wanted, *_check(wanted, checks))
        _, code, verdict = found
        if code:
            codes[symbol] = code
        if verdict is None and (rival := claims.setdefault(code, wanted)) is not wanted:
            holder, other = _rank(wanted, rival, incumbents.get(code))
            claims[code] = holder
            symbol = other.subscription.symbol  # noqa: PLW2901  it is the other one that is refused
            verdict = Verdict(
                State.REJECTED, "duplicate_code", f"{holder.subscription.symbol} has the same code {code}"
            )
        if verdict is not None:
            refused[symbol] = verdict
    if len(checks.known) > 2 * len(desired.wanted):
        checks.known.clear()
    holders = sorted(claims.items(), key=lambda h: (-h[1].subscription.priority, h[0] not in incumbents, h[1].offset))
    admitted: dict[str, str] = {}
    room = checks.cap
    for code, wanted in holders:
        if code in barred:
            admitted[code] = wanted.subscription.symbol
        elif room:
            room -= 1
            admitted[code] = wanted.subscription.symbol
        else:
            refused[wanted.subscription.symbol] = Verdict(
                State.OVER_CAP, "over_cap", f"the plan has room for {checks.cap}"
            )
    return Admission(admitted, codes, refused)


def _rank(one: Wanted, other: Wanted, incumbent: str | None) -> tuple[Wanted, Wanted]:
    """Say which of two has the better claim to a code: the incumbent, else the older record."""
    first = min(one, other, key=lambda wanted: (wanted.subscription.symbol != incumbent, wanted.offset))
    return (one, other) if first is one else (other, one)


def _check(wanted: Wanted, checks: Checks) -> tuple[str, Verdict | None]:
    """Spell one symbol, or say why it cannot be asked for."""
    subscription = wanted.subscription
    try:
        code = subscription.code or checks.dialect.code(subscription.symbol)
    except BadSymbol as error:
        return "", Verdict(State.REJECTED, "bad_symbol", str(error))
    if not subscription.enabled:
        return code, Verdict(State.DISABLED, "disabled")
    other = checks.dialect.market(code)
    if checks.market is not None and other is not None and other != checks.market:
        detail = f"{code} belongs to the {other} endpoint, this is {checks.market}"
        return code, Verdict(State.REJECTED, "wrong_endpoint", detail)
    return code, None
