"""Frozen values that cross the rooms.

Times: ``…_us`` are integer microseconds since the Unix epoch, UTC; ``…_s`` are float seconds. Prices and sizes are
decimal strings exactly as the venue wrote them and never pass through a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol


class State(StrEnum):
    """What really happens with a symbol (contract 1.2, status)."""

    PENDING = "pending"  # desired, not yet accepted by the venue
    WAITING = "waiting"  # accepted, no tick yet
    LIVE = "live"  # accepted, ticks arrive
    STALE = "stale"  # no tick for too long although the market should be open
    REJECTED = "rejected"  # refused, by the venue or by our own checks
    OVER_CAP = "over_cap"  # the plan has no room
    DISABLED = "disabled"  # the record says enabled: false
    INVALID = "invalid"  # the newest record cannot be used
    OFFLINE = "offline"  # no upstream connection


#: The states of a symbol whose code the venue holds.
ACCEPTED = (State.WAITING, State.LIVE, State.STALE)
#: The reason of a symbol that stays subscribed although its record is gone (contract, guarantee 11).
REMOVAL_HELD = "removal_held"
#: The reason of a symbol that is not connected, or not accepted on this connection, but was accepted before.
ACCEPTED_BEFORE = "accepted_before"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One usable control record: what an operator asks for, by symbol."""

    symbol: str
    code: str | None = None
    priority: int = 0
    stale_after_s: float | None = None
    enabled: bool = True
    owner: str | None = None
    note: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription in force, and the offset and time of the record that it stands in."""

    subscription: Subscription
    offset: int
    written_ms: int = 0


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything one control partition asks for, as of one moment after it was read to its end.

    ``wanted`` maps symbol to the record in force, disabled ones included: who subscribes looks at ``enabled``.
    ``confirmed`` are symbols whose removal or disabling an operator has confirmed since the last such object.
    ``orphaned`` says that the topic was made anew and has no record yet: what is in force stood in the old one.
    """

    partition: int
    wanted: Mapping[str, Wanted] = field(default_factory=lambda: MappingProxyType({}))
    confirmed: frozenset[str] = frozenset()
    orphaned: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What the status topic says of a symbol when its control partition becomes ours."""

    code: str
    wanted: Wanted | None = None  # what was in force
    accepted: bool = False
    state: str = ""
    refused: int = 0  # the venue's ``ret`` where it refused the code
    since_us: int = 0
    partition: int = -1  # where its control record stood


#: One Kafka record on its way: key, value, timestamp in milliseconds.
Record = tuple[bytes, bytes, int]


class WireTick(Protocol):
    """One trade as the venue sent it, under our names; each dialect's decoder gives objects of this shape.

    Values are as on the wire: ``time`` and ``seq`` may be digits in a string or an integer, unknown is ``None``.
    """

    @property
    def code(self) -> str: ...
    @property
    def price(self) -> str: ...
    @property
    def volume(self) -> str | None: ...
    @property
    def turnover(self) -> str | None: ...
    @property
    def open_24h(self) -> str | None: ...
    @property
    def side(self) -> int | str | None: ...
    @property
    def seq(self) -> int | str | None: ...
    @property
    def time(self) -> int | str | None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What the venue allows and how patient we are, from the plan and the settings that override it.

    ``partitions`` is the number of control partitions that share the token: with more than one, requests keep to
    time slots (contract, guarantee 3).
    """

    max_symbols: int
    request_interval_s: float = 1.0
    reconnect_min_s: float = 3.0
    reconnect_max_s: float = 60.0
    heartbeat_s: float = 10.0
    silence_s: float = 25.0
    ack_timeout_s: float = 10.0
    partitions: int = 1


@dataclass(frozen=True, slots=True)
class SymbolState:
    """One row of what people see: the state of a symbol and why."""

    symbol: str
    code: str
    state: State
    reason: str = ""
    detail: str = ""
    last_tick_us: int = 0
    price: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Truth:
    """What a status record should say: the row, the control record it speaks of, and the control value in force."""

    row: SymbolState
    control: tuple[int, int]  # partition and offset
    effective: dict[str, object] | None = None
    beneath: tuple[str, str] = ("", "")  # state and reason of what is in force where that record cannot be used
    warnings: tuple[str, ...] = ()
    session: int = 0


@dataclass(frozen=True, slots=True)
class Board:
    """The rows of every link, as of one moment; a new one is made when something on it changed."""

    rows: Mapping[int, Mapping[str, SymbolState]] = field(default_factory=dict)  # partition, symbol
    sessions: Mapping[int, int] = field(default_factory=dict)  # partition
    wanted: Mapping[int, Mapping[str, Wanted]] = field(default_factory=dict)  # partition, symbol: what rows rest on


@dataclass(frozen=True, slots=True)
class OpenGap:
    """Ticks of these symbols may be missing since ``from_us``; nobody has received any again yet."""

    cause: str
    from_us: int
    session: int  # the last one that brought any
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far everything of one control partition is safe (contract 1.5, guarantee 8): the record of the state topic.

    ``ended`` says why its owner gave it up in order; empty while it has not. ``open`` are the gaps that it left open.
    ``set_aside`` is the offset before which unusable control records under no symbol of the partition have their dead
    letters, ``set_aside_symbols`` the same for those under a symbol.
    """

    safe_us: int
    written_us: int
    session: int = 0
    last_frame_us: int = 0
    instance: str = ""
    ended: str = ""
    open: tuple[OpenGap, ...] = ()
    set_aside: int = 0
    set_aside_symbols: int = 0


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Nothing comes any more for the symbols of a control partition; each has its code and its last seq."""

    partition: int
    cause: str
    from_us: int
    session: int
    symbols: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The venue has accepted a list with these symbols."""

    partition: int
    to_us: int
    session: int
    symbols: frozenset[str]


@dataclass(frozen=True, slots=True)
class Missed:
    """Ticks of a symbol that came and will never be published; ``overflow`` and ``undeliverable`` are such causes."""

    symbol: str
    cause: str
    lost: int
    from_us: int
    to_us: int


Event = Interrupted | Resumed | Missed


@dataclass(frozen=True, slots=True)
class Safety:
    """How safe everything is, as of one moment; ``links`` has session and last frame by partition."""

    safe_us: int = 0
    links: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A control record that cannot be used, byte for byte, and why."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str
    end: int = -1  # of its partition, just now; not above ``offset`` if unknown
