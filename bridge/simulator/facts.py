"""The facts that a record holds: connections, requests, refusals, and what was sent on demand.

Times are Unix seconds. Broken rules and overlaps are facts too; they live with the rules, in `sessions`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class ConnectionRecord:
    """One accepted connection. `close_reason` says who ended it and why; None while it is open."""

    id: int
    token: str
    endpoint: str
    opened_at: float
    closed_at: float | None = None
    close_reason: str | None = None
    client_close_code: int | None = None
    codes: tuple[str, ...] = ()
    ticks_sent: int = 0
    ticks_withheld: int = 0
    #: Payloads of the client's last pongs.
    pongs: deque[bytes] = field(default_factory=lambda: deque(maxlen=100))

    @property
    def is_open(self) -> bool:
        """Say whether the connection is still there."""
        return self.closed_at is None


@dataclass(slots=True, eq=False)
class RequestRecord:
    """One text message of a client, heartbeats included. `answered_at` None = not answered (yet)."""

    connection: int
    at: float
    cmd_id: int
    seq_id: int
    trace: str
    codes: tuple[str, ...]
    ret: int
    answered_at: float | None = None


@dataclass(frozen=True, slots=True)
class RefusedUpgrade:
    """One upgrade that was answered with another HTTP status than 101."""

    at: float
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One piece of rubbish or raw bytes that was sent on demand."""

    at: float
    connection: int
    name: str
