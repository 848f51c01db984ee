"""What is fixed when a simulator starts: addresses, plan, codes, seed, and how time runs.

What may change while it runs is in `switches`. Limits are those of docs/alltick.md 1.3 (plans), 1.4 (pacing) and 4
(heartbeat); `time_scale` multiplies every one of these durations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from bridge.simulator.switches import Switches

if TYPE_CHECKING:
    from pathlib import Path

PlanName = Literal["free", "basic", "premium", "professional"]
DialectName = Literal["alltick", "action-code", "action-symbols"]

#: Seconds between two requests in the dialects that add and take away.
SHORT_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """State what one plan allows a token: codes per connection, connections, seconds between connections."""

    max_codes: int
    max_connections: int
    reconnect_s: float


PLANS: dict[PlanName, Plan] = {
    "free": Plan(max_codes=5, max_connections=1, reconnect_s=10.0),
    "basic": Plan(max_codes=100, max_connections=1, reconnect_s=3.0),
    "premium": Plan(max_codes=200, max_connections=3, reconnect_s=3.0),
    "professional": Plan(max_codes=3000, max_connections=10, reconnect_s=3.0),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force, in real seconds: the plan's and the protocol's, scaled."""

    max_codes: int
    max_connections: int
    reconnect_s: float
    request_interval_s: float
    token_interval_s: float
    heartbeat_cut_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """Configure a simulator; every field has a default that suits a test.

    `port` 0 takes a free one. `codes` is the universe: None = open (every well-formed code exists), a number =
    that many generated stock codes, or the codes themselves. `rate` and all other behaviour is in `switches`,
    of which the simulator takes a copy. `dialect` is how it speaks: in all but the official one a WebSocket ping is
    the heartbeat, and requests may follow each other faster. `cert` and `key` (PEM files) make it speak wss.
    `sent_seqs_max` bounds how many ticks, sent or not, are kept for comparison; beyond it only counts are.
    `send_buffer_bytes` bounds what waits for a slow client: its ticks are withheld beyond that. Raises ValueError when
    fields contradict.
    """

    host: str = "127.0.0.1"
    port: int = 0
    plan: PlanName = "professional"
    dialect: DialectName = "alltick"
    codes: tuple[str, ...] | int | None = None
    seed: int = 1
    time_scale: float = 1.0
    cert: Path | None = None
    key: Path | None = None
    flood: bool = False
    flood_total: int | None = None
    request_interval_s: float = 1.0
    token_interval_s: float = 3.0
    reconnect_s: float | None = None
    heartbeat_cut_s: float = 30.0
    sent_seqs_max: int = 1_000_000
    send_buffer_bytes: int = 16 * 2**20
    switches: Switches = field(default_factory=Switches)

    def __post_init__(self) -> None:
        if self.plan not in PLANS:
            raise ValueError(f"there is no plan {self.plan!r}; the plans are {', '.join(PLANS)}")
        if self.time_scale <= 0:
            raise ValueError(f"time_scale is {self.time_scale}; it must be above 0 (0.1 = ten times as fast)")
        if (self.cert is None) != (self.key is None):
            raise ValueError("wss needs both cert and key; one of them is missing")
        if self.dialect not in get_args(DialectName):
            raise ValueError(f"there is no dialect {self.dialect!r}; there are {', '.join(get_args(DialectName))}")
        if self.flood and self.dialect != "alltick":
            raise ValueError(f"a flood speaks alltick only, not {self.dialect}")
        if self.flood_total is not None and not self.flood:
            raise ValueError("flood_total has a meaning in flood mode only; set flood too")

    def limits(self) -> Limits:
        """Return the plan's limits in real seconds."""
        plan = PLANS[self.plan]
        interval_s = self.request_interval_s
        if self.dialect != "alltick":
            interval_s = min(interval_s, SHORT_INTERVAL_S)
        reconnect_s = plan.reconnect_s if self.reconnect_s is None else self.reconnect_s
        return Limits(
            max_codes=plan.max_codes,
            max_connections=plan.max_connections,
            reconnect_s=reconnect_s * self.time_scale,
            request_interval_s=interval_s * self.time_scale,
            token_interval_s=self.token_interval_s * self.time_scale,
            heartbeat_cut_s=self.heartbeat_cut_s * self.time_scale,
        )
