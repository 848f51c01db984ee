"""What the loops let others see: immutable snapshots, made by the thread that owns the facts.

Whoever looks (the HTTP server, metrics, health) takes the newest one whole; nobody changes one.
Times: ``…_us`` are integer microseconds since the Unix epoch, UTC; ``…_s`` are float seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.model import SymbolState


@dataclass(frozen=True, slots=True)
class LinkState:
    """One control partition's upstream connection, as people see it."""

    partition: int
    session: int = 0
    connected: bool = False
    since_us: int = 0
    settled: bool = False  # the first request of this ownership was answered (or nothing is desired)
    down_since: float | None = None  # monotonic second of the loss; None while connected or never connected
    reason: str = ""  # why it is not connected
    accepted: int = 0
    detail: str = ""
    removals_held: int = 0


@dataclass(frozen=True, slots=True)
class Accounts:
    """The terms of guarantee 7 at one instant; ``balanced`` says whether they add up."""

    received: int = 0
    recovered: int = 0
    published: int = 0
    duplicate: int = 0
    filtered: int = 0
    invalid: int = 0
    conflated: int = 0
    dropped: int = 0
    undeliverable: int = 0
    in_flight: int = 0

    @property
    def balanced(self) -> bool:
        """Tell whether every tick that came in is accounted for."""
        out = (
            self.published
            + self.duplicate
            + self.filtered
            + self.invalid
            + self.conflated
            + self.dropped
            + self.undeliverable
            + self.in_flight
        )
        return self.received + self.recovered == out


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations counted by upper bound; ``counts`` has one entry more than ``bounds``, for the rest."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class FeedSnapshot:
    """What the feed thread lets others see; it makes a new one at the end of a turn and never changes one.

    ``beat`` is the monotonic second of the turn. Labelled counters are mappings from the label values.
    """

    beat: float = 0.0
    accounts: Accounts = Accounts()
    links: tuple[LinkState, ...] = ()
    symbols: tuple[SymbolState, ...] = ()
    frames: Mapping[str, int] = field(default_factory=dict)  # kind
    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)  # kind, result
    refusals: Mapping[str, int] = field(default_factory=dict)  # remedy
    sessions: Mapping[str, int] = field(default_factory=dict)  # outcome
    disconnects: Mapping[str, int] = field(default_factory=dict)  # reason
    places: Mapping[str, int] = field(default_factory=dict)  # where ticks in flight are: handed_over, queue
    queue_bytes: int = 0
    spill_bytes: int = 0
    last_tick_us: int = 0
    clock_skew_s: float = 0.0
    feed_latency: Histogram = Histogram((), (0,))
    delivery_latency: Histogram = Histogram((), (0,))
    spill_trouble: str = ""  # why nothing can be spilled; empty while all is well, or there is no spill
    kafka_trouble: str = ""  # why nothing can be delivered at the moment; empty while all is well
    kafka_trouble_since: float = 0.0


@dataclass(frozen=True, slots=True)
class ControlSnapshot:
    """What the control thread lets others see; made anew at the end of a turn."""

    beat: float = 0.0
    member: bool = False  # the group has answered our join at least once, and has not lost us since
    owned: tuple[int, ...] = ()
    caught_up: tuple[int, ...] = ()  # owned partitions that were read to their end
    records: Mapping[str, int] = field(default_factory=dict)  # result: used, tombstone, invalid
    lag: int = 0  # records not yet read, over all owned partitions
    old_records: int = 0  # symbols that run on an older record than their newest one
    unusable: Mapping[str, tuple[str, str]] = field(
        default_factory=dict
    )  # symbol: what is wrong with its newest record
    trouble: str = ""  # why Kafka cannot be reached; empty while all is well
    trouble_since: float = 0.0
    gaps: Mapping[str, int] = field(default_factory=dict)  # cause: gaps opened
