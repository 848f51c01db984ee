"""When a standby stays out of the group: the owner comes back first (pure).

When the coordinator has been away, every member has lost its place, and the group is divided anew among whoever asks.
The owner may still hold its connection to the venue (`GROUP__LOST_HOLD_S`); a standby that asks at the same moment is
given the partition about as often, and the connection moves for nothing. So a standby leaves as soon as a settled group
falls silent, and asks again when Kafka has answered for a session timeout: an owner that lives is back by then, and one
that died has been expelled no later than after any crash.

Who is in no group is sent nothing: whether Kafka answers must be asked, again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.control.standing import Standing

#: The share of the session timeout without an answer after which a settled group counts as silent: several heartbeats,
#: and well before the group's members count themselves as lost, although statistics come but once a second.
SILENT_SHARE = 0.5


class Deference:
    """One member's manners; without ``holds`` no owner keeps its connection, and the first come is served."""

    def __init__(self, session_timeout_s: float, *, holds: bool) -> None:
        self.aside = False
        self._session_timeout_s = session_timeout_s
        self._holds = holds
        self._answers_since: float | None = None

    def leaves(self, standing: Standing, *, standby: bool) -> bool:
        """Tell by the newest statistics whether to leave now."""
        silence_s = standing.seen_at - standing.answered_at
        silent = standing.steady and silence_s > self._session_timeout_s * SILENT_SHARE
        self.aside = self._holds and standby and silent
        self._answers_since = None
        return self.aside

    def returns(self, now: float, *, answered: bool) -> bool:
        """Tell whether to ask again now; ``answered`` is what became of asking Kafka at this moment."""
        if not answered:
            self._answers_since = None
        elif self._answers_since is None:
            self._answers_since = now
        elif now - self._answers_since >= self._session_timeout_s:
            self.aside = False
        return not self.aside
