"""How venues speak: one small file each, found by name.

A dialect knows a venue's limits, how it spells symbols, what a request looks like and what an answer means. It holds no
state and never sees a socket or a clock. Third parties add theirs by the entry-point group ``tickbridge.dialects``: an
entry point names a class that can be called without arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import entry_points
from typing import Literal, Protocol

from bridge.errors import SettingsError
from bridge.model import WireTick

GROUP = "tickbridge.dialects"


class BadSymbol(ValueError):
    """A symbol that this venue cannot have; the text says why and what it should look like."""


class Remedy(Enum):
    """What to do about an error that the venue answers."""

    NARROW = "narrow"  # one of the codes is bad: find it
    SHRINK = "shrink"  # too many codes: ask for fewer
    SLOW = "slow"  # we ask too fast
    TOKEN = "token"  # the venue does not accept us  # noqa: S105  a word, no secret
    BUG = "bug"  # the venue did not understand us


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: what it is, and the codes in it.

    ``subscribe`` adds its codes, or puts them in the place of all others where requests replace; ``unsubscribe`` takes
    its codes away, ``cancel`` everything.
    """

    kind: Literal["subscribe", "unsubscribe", "cancel"]
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The venue's answer to a request.

    ``seq_id`` is 0 when it does not say to which; ``codes`` are those that it speaks of, none when of all of them.
    """

    kind: Literal["subscribe", "unsubscribe", "cancel", "heartbeat", "error"]
    seq_id: int
    ret: int
    message: str
    codes: tuple[str, ...] = ()


@dataclass(slots=True)
class Decoded:
    """What a batch of text messages says: ticks in order, answers, and everything else counted by kind."""

    ticks: Sequence[WireTick] = ()
    bad_ticks: int = 0
    bad_tick: bytes = b""  # the newest of them, as it came
    answers: list[Answer] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


class Dialect(Protocol):
    """What the bridge asks of a venue's dialect.

    ``venue`` stands in each tick; ``sides`` gives our word for the venue's, ``gives_time`` whether a tick has a time.
    Where the venue ``needs_token`` the bridge does not start without one.
    The venue ``replaces`` what it was asked for before, or else adds and takes away; where it ``answers`` no request,
    one counts as accepted once it is sent. ``pause_s`` lies between two requests, unless the operator wants another.
    """

    name: str
    venue: str
    sides: Mapping[int | str | None, str]
    gives_time: bool
    needs_token: bool
    replaces: bool
    answers: bool
    pause_s: float

    def default_url(self, market: str) -> str:
        """Give the venue's own address for a market."""
        ...

    def address(self, url: str, token: str) -> str:
        """Put the token, which may be empty, where the venue wants it, percent-encoded."""
        ...

    def code(self, symbol: str) -> str:
        """Spell a symbol as the venue does; raises BadSymbol."""
        ...

    def market(self, code: str) -> str | None:
        """Tell which endpoint a code plainly belongs to; None where it does not show."""
        ...

    def asks(self, accepted: Iterable[str], target: Sequence[str]) -> tuple[Ask, ...]:
        """Give the requests, in their order, that lead from the accepted codes to the target; the first is sent."""
        ...

    def encode(self, ask: Ask, seq_id: int, trace: str) -> str:
        """Write a request."""
        ...

    def heartbeat(self, seq_id: int, trace: str) -> str | bytes:
        """Write a heartbeat: a message, or the payload of a WebSocket ping, which any pong answers."""
        ...

    def decode(self, texts: Sequence[bytes]) -> Decoded:
        """Read messages; never raises, whatever they are."""
        ...

    def remedy(self, ret: int) -> Remedy:
        """Tell what to do about an error."""
        ...


def get(name: str) -> Dialect:
    """Find a dialect by its name.

    Raises:
        SettingsError: there is none of that name.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none: install the package"
        raise SettingsError(f"TICKBRIDGE_UPSTREAM__DIALECT={name}: no such dialect; there are {known}")
    dialect: Dialect = found[name].load()()
    return dialect
