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


@dataclass(frozen=True, slots=True)
class Admission:
    """``symbols`` maps each admitted code to its symbol, most wanted first; ``codes`` spells every usable symbol."""

    symbols: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Verdict] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checks:
    """What a symbol must pass: the venue's spelling, the endpoint that is served, the plan's cap."""

    dialect: Dialect
    market: str | None
    cap: int


def admit(
    desired: Desired, checks: Checks, *, incumbents: Mapping[str, str], barred: Collection[str] = ()
) -> Admission:
    """Choose whom to ask for.

    ``incumbents`` maps the codes held so far to their symbols; ``barred`` are codes that the venue refuses for now,
    which take no room.
    """
    refused: dict[str, Verdict] = {}
    codes: dict[str, str] = {}
    claims: dict[str, list[Wanted]] = {}
    for symbol, wanted in desired.wanted.items():
        verdict = _check(wanted, checks, codes)
        if verdict is None:
            claims.setdefault(codes[symbol], []).append(wanted)
        else:
            refused[symbol] = verdict
    holders: list[tuple[str, Wanted]] = []
    for code, rivals in claims.items():
        holder = rivals[0]
        if len(rivals) > 1:
            holder = min(rivals, key=lambda w: (incumbents.get(code) != w.subscription.symbol, w.offset))
        holders.append((code, holder))
        for rival in rivals if len(rivals) > 1 else ():
            if rival is not holder:
                detail = f"{holder.subscription.symbol} has the same code {code}"
                refused[rival.subscription.symbol] = Verdict(State.REJECTED, "duplicate_code", detail)
    holders.sort(key=lambda h: (-h[1].subscription.priority, h[0] not in incumbents, h[1].offset))
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


def _check(wanted: Wanted, checks: Checks, codes: dict[str, str]) -> Verdict | None:
    """Spell one symbol into ``codes``, or say why it cannot be asked for."""
    subscription = wanted.subscription
    try:
        code = subscription.code or checks.dialect.code(subscription.symbol)
    except BadSymbol as error:
        return Verdict(State.REJECTED, "bad_symbol", str(error))
    codes[subscription.symbol] = code
    if not subscription.enabled:
        return Verdict(State.DISABLED, "disabled")
    other = checks.dialect.market(code)
    if checks.market is not None and other is not None and other != checks.market:
        return Verdict(
            State.REJECTED, "wrong_endpoint", f"{code} belongs to the {other} endpoint, this is {checks.market}"
        )
    return None
