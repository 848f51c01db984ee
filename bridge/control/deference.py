"""When a standby stays out of the group: the owner comes back first (pure).

When the coordinator has been away, every member has lost its place, and the group is divided anew among whoever asks.
The owner may still hold its connection to the venue (`GROUP__LOST_HOLD_S`); a standby that asks at the same moment is
given the partition about as often, and the connection moves for nothing. So a standby leaves as soon as a
settled group falls silent, and asks again when the coordinator has answered for a session timeout: an owner that lives
is back by then, and one that died has been expelled no later than after any crash.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.control.standing import Standing

#: The share of the session timeout without an answer after which a settled group counts as silent: several heartbeats,
#: and well before the group's members count themselves as lost, although statistics come but once a second.
SILENT_SHARE = 0.5


class Move(Enum):
    """What a standby does now."""

    LEAVE = auto()
    JOIN = auto()


class Deference:
    """One member's manners; without ``holds`` no owner keeps its connection, and the first come is served."""

    def __init__(self, session_timeout_s: float, *, holds: bool) -> None:
        self._session_timeout_s = session_timeout_s
        self._holds = holds
        self._left_at: float | None = None
        self._answers_since: float | None = None

    def move(self, standing: Standing, *, standby: bool) -> Move | None:
        """Say what to do now, by the newest statistics."""
        now, answered_at = standing.seen_at, standing.answered_at
        if self._left_at is None:
            silent = standing.steady and now - answered_at > self._session_timeout_s * SILENT_SHARE
            if not (self._holds and standby and silent):
                return None
            self._left_at = now
            return Move.LEAVE
        if self._answers_since is None:
            if answered_at > max(self._left_at, standing.away_at):
                self._answers_since = answered_at
        elif standing.away_at > self._answers_since:  # it was back for a moment only
            self._answers_since = None
        if self._answers_since is None or now - self._answers_since < self._session_timeout_s:
            return None
        self._left_at = self._answers_since = None
        return Move.JOIN
