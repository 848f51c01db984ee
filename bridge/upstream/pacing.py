"""When a request may be sent on one connection (contract, guarantee 3; docs/alltick.md 1.4).

A rolling window, not a bucket: any two requests, heartbeats included, are at least the interval apart, and nothing else
is sent in the interval before a heartbeat is due, so a heartbeat is never late. With several control partitions on one
token a request also waits for its partition's time slot; heartbeats do not.
"""

from __future__ import annotations

from bridge.model import Limits

#: The venue measures at its end: what left an interval apart may arrive a little closer together, most of all after a
#: long list. An answer tells that its request has arrived; until it comes this much must do.
SLACK = 1.05
SLACK_S = 0.01

#: Time slots of connections that share a token: 3.5 s each, of which the first 0.5 s may be used.
SLOT_S = 3.5
SLOT_OPEN_S = 0.5

#: After "too fast" the interval doubles with each such answer, up to this many times.
SLOWEST = 5


class Pacing:
    """Keeps one connection's clock; ``now`` is a monotonic second, ``wall`` the Unix time that all instances share."""

    def __init__(self, limits: Limits, partition: int, now: float) -> None:
        self._interval = limits.request_interval_s
        self._gap = self._interval * SLACK + SLACK_S
        self._heartbeat_s = limits.heartbeat_s
        self._partition = partition
        self._partitions = limits.partitions
        self._free_at = now
        self._slowed = 0
        self._hold_until = now
        self.heartbeat_at = now + limits.heartbeat_s

    def request_at(self, now: float, wall: float) -> float:
        """Give the first moment from ``now`` on at which a request may go, before or after the next heartbeat."""
        at = self._in_slot(max(now, self._free_at, self._hold_until), now, wall)
        heartbeat = self.next_heartbeat(now)
        if at + self._gap <= heartbeat or at >= heartbeat + self._gap:
            return at
        # The heartbeat goes first, early if that is what it takes not to miss the slot.
        early = at - self._gap
        if self._partitions > 1 and max(now, self._free_at) <= early:
            self.heartbeat_at = early
            return at
        return self._in_slot(heartbeat + self._gap, now, wall)

    def next_heartbeat(self, now: float) -> float:
        """Give the moment of the next heartbeat."""
        return max(now, self.heartbeat_at, self._free_at)

    def sent(self, now: float, *, heartbeat: bool = False) -> None:
        """Note that something was sent."""
        self._free_at = now + self._gap
        if heartbeat:
            self.heartbeat_at = now + self._heartbeat_s

    def answered(self, now: float) -> None:
        """Note an answer: the venue has what it answers since now at the latest, and counts from then."""
        self._free_at = max(self._free_at, now + self._interval)

    def slow_down(self, now: float) -> None:
        """Note that the venue finds us too fast."""
        self._slowed = min(self._slowed + 1, SLOWEST)
        self.hold(now + self._gap * 2**self._slowed)

    def hold(self, until: float) -> None:
        """Send no request before ``until``."""
        self._hold_until = max(self._hold_until, until)

    def eased(self) -> None:
        """Note that the venue accepted a request."""
        self._slowed = 0

    def _in_slot(self, at: float, now: float, wall: float) -> float:
        """Move ``at`` into this partition's time slot."""
        if self._partitions == 1:
            return at
        round_s = SLOT_S * self._partitions
        into = (wall + at - now - SLOT_S * self._partition) % round_s
        return at if into < SLOT_OPEN_S else at + round_s - into
