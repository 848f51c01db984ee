"""One control partition's way to the venue: what is desired lasts, connections come and go.

The link does what the pure parts decide: it dials when the back-off allows, sends what the session has due, hears its
faults, and says farewell properly. It lives on the feed thread; only the dialling itself, which blocks, happens on a
short thread of its own that reports to the mailbox.
"""

from __future__ import annotations

import os
from enum import Enum, auto

from bridge.app import wants
from bridge.app.venue import Venue
from bridge.app.wants import Wants
from bridge.errors import TokenRefused, UpstreamUnavailable
from bridge.model import Desired, Limits, Progress, SymbolState
from bridge.snapshots import LinkState
from bridge.upstream.backoff import SLACK_S, Backoff
from bridge.upstream.pacing import Pacing
from bridge.upstream.session import Fault, Received, Session
from bridge.upstream.transport import READ_MAX, Transport

#: Seconds that the peer has for its close frame.
FAREWELL_S = 1.0
#: An attempt is given up after so many of its timeouts: each step has one, and a name may stand for many addresses.
ATTEMPT_TIMEOUTS = 3
#: Why a link ends for good, as the gaps that it leaves call it; any other end is a ``disconnect``.
CAUSES = {"stop": "stop", "revoked": "rebalance", "lost": "lost_ownership"}
#: A former owner that died may have been connected for so long after it was heard of last.
UNSEEN_S = 1.0
#: Why a link that has not tried yet is not connected.
STARTING = "starting"


class Phase(Enum):
    """Where a link stands."""

    DOWN = auto()
    DIALLING = auto()
    UP = auto()
    CLOSING = auto()


#: Connected, starting, session, what the symbols' rows rest on.
Stamp = tuple[bool, bool, int, wants.Stamp]


class Link:
    """Owned from assignment to revocation; every moment is a monotonic second, ``wall`` Unix time."""

    def __init__(
        self, partition: int, venue: Venue, limits: Limits, now: float, former: Progress | None = None, *,
        silent_s: float = 15.0,
    ) -> None:  # fmt: skip
        self.partition = partition
        self.wants = Wants(partition, venue, limits)
        self.transport: Transport | None = None
        self.session: Session | None = None
        self.number = former.session if former else 0  # of the newest session
        self._venue = venue
        self._limits = limits
        self._backoff = Backoff(limits)
        self._phase = Phase.DOWN
        self._attempt = 0
        self._dial_at = now + (self._pause_after(former, silent_s) if former else 0.0)
        self._dial_stamp: object = None  # of the token file, just before it was read
        self._token_stamp: object = None  # the same, while that token is refused
        self._leaving = ""  # why the link is to end for good
        self._phase_ends = 0.0  # when we lose patience with DIALLING or CLOSING
        self._farewell_to = Fault("", "")  # why the connection is CLOSING
        self._discard = False
        self._since_us = 0
        self._down_since: float | None = None
        self._empty_us = 0  # when nothing waited in the socket, for sure
        self.last_frame_us = 0  # the newest frame of any kind did not come before
        self._reason = STARTING
        self._detail = ""

    def _pause_after(self, former: Progress, silent_s: float) -> float:
        """Give the seconds that the plan still demands between a former owner's connection and ours.

        One that said no goodbye and was silent for longer than ``silent_s``, which no crash explains, may have been cut
        off from Kafka, and connected until it heard of us just now.
        """
        since_s = (self._venue.wall_us() - former.written_us) / 1e6
        least_s = self._limits.reconnect_min_s + SLACK_S
        if not former.ended and since_s > silent_s:
            return least_s
        longest_s = least_s + (0.0 if former.ended else UNSEEN_S)
        return min(max(0.0, longest_s - since_s), longest_s)

    def want(self, desired: Desired, now: float) -> None:
        """Take the newest desired set."""
        self.wants.want(desired, now)

    def heard_nothing(self, asked_us: int) -> None:
        """Note that there was nothing to read at a moment, or later."""
        self._empty_us = max(self._empty_us, asked_us)

    def unheard(self, seconds: float) -> None:
        """Take seconds in which nothing was read for such that have not passed."""
        if self.session is not None:
            self.session.unheard(seconds)

    # What the loop calls, turn by turn

    def read(self, now: float) -> Received | None:
        """Read from the socket once; None when there is nothing to publish in it."""
        transport, session = self.transport, self.session
        if transport is None or session is None:
            return None
        began_us = self._venue.wall_us()
        try:
            data = transport.read()
        except UpstreamUnavailable as error:
            self._down(Fault(error.kind, error.detail), now)
            return None
        now = max(now, self._venue.monotonic())  # what was read may be younger than the turn; pacing counts from it
        received = session.receive(data, now) if data and not self._discard else None
        if session.last_frame == now:
            # Not when it was read: it may have waited, and what came after it will never be read if the line breaks.
            self.last_frame_us = self._empty_us
        if len(data) < READ_MAX:
            self._empty_us = began_us
        try:
            for payload in received.pongs if received and self._phase is Phase.UP else ():
                transport.pong(payload)
        except UpstreamUnavailable as error:
            self._down(Fault(error.kind, error.detail), now)
            return received  # what was read counts, whatever became of the connection
        if transport.ended:
            self._down(
                session.fault(now) or Fault("network", "the venue closed the connection without a farewell"), now
            )
        elif self._phase is Phase.CLOSING and session.fault(now):
            self._down(self._farewell_to, now)
        return received

    def work(self, now: float, wall: float) -> None:
        """Do what is due."""
        if self.session is not None:
            self.wants.resume(self.number, now, self.session.refusal)
        self.wants.work(now)
        if self._phase is Phase.CLOSING and now >= self._phase_ends:
            self._down(self._farewell_to, now)
        elif self._phase is Phase.DOWN and self._may_dial(now):
            self._dial(now)
        elif self._phase is Phase.UP:
            self._talk(now, wall)
        elif self._phase is Phase.DIALLING and now >= self._phase_ends:
            if self._leaving:
                self._phase = Phase.DOWN
            else:
                self._failed(UpstreamUnavailable("timeout", "the attempt does not come to an end"), now)

    def next_due(self, now: float, wall: float) -> float:
        """Give the moment at which ``work`` will have something to do if nothing is read."""
        return min(self.wants.due, self._next_due(now, wall))

    def _next_due(self, now: float, wall: float) -> float:
        if self._phase is Phase.UP and self.session is not None:
            return self.session.next_due(now, wall)
        if self._phase in (Phase.CLOSING, Phase.DIALLING):
            return self._phase_ends
        if self._phase is Phase.DOWN and self.wants.caught_up and not self._leaving:
            return min(self._dial_at, now + 1.0) if self._token_stamp is not None else self._dial_at
        return float("inf")

    def dialled(self, attempt: int, outcome: Transport | UpstreamUnavailable, now: float) -> None:
        """Take the outcome of a connection attempt."""
        wanted = self._phase is Phase.DIALLING and attempt == self._attempt
        if isinstance(outcome, UpstreamUnavailable):
            if wanted:
                self._failed(outcome, now)
        elif wanted and not self._leaving:
            self._up(outcome, now)
        else:
            outcome.abort()
            self._phase = Phase.DOWN if wanted else self._phase

    def leave(self, why: str, now: float) -> None:
        """Begin to end this link for good; ``gone`` tells when it has."""
        self._leaving = why
        if self._phase is Phase.UP:
            self._farewell(Fault(why, "the bridge closes the connection", 1000), now, discard=False)
        elif self._phase is Phase.DIALLING:
            self._phase_ends = now + FAREWELL_S

    @property
    def dial_at(self) -> float:
        """The moment before which the plan allows no new connection."""
        return self._dial_at

    @property
    def leaving(self) -> bool:
        """Tell whether the link is about to end for good."""
        return bool(self._leaving)

    @property
    def gone(self) -> bool:
        """Tell whether the link is ended and nothing of it is connected."""
        return bool(self._leaving) and self._phase is Phase.DOWN

    # What others see

    def state(self) -> LinkState:
        """Describe the connection."""
        connected = self._phase is Phase.UP
        return LinkState(
            partition=self.partition,
            session=self.number,
            connected=connected,
            since_us=self._since_us,
            settled=self.wants.reconciler.settled,
            down_since=self._down_since,
            reason="" if connected else self._reason,
            accepted=len(self.wants.reconciler.accepted) if connected else 0,
            removals_held=self.wants.held_count,
            detail="" if connected else self._detail,
        )

    @property
    def starting(self) -> bool:
        """Tell whether no connection attempt has come to an end yet."""
        return self._reason == STARTING and self._phase is not Phase.UP

    def stamp(self) -> Stamp:
        """Give something that changes when ``rows`` would say something new, prices aside."""
        return self._phase is Phase.UP, self.starting, self.number, self.wants.stamp()

    def rows(self) -> list[SymbolState]:
        """Describe each symbol."""
        return self.wants.rows(self._phase is Phase.UP or self.starting)

    # From here on: how a connection comes and goes

    def _may_dial(self, now: float) -> bool:
        if self._leaving or not self.wants.caught_up:
            return False
        if self._token_stamp is not None and self._stamp() != self._token_stamp:
            return True
        return now >= self._dial_at

    def _dial(self, now: float) -> None:
        self._phase = Phase.DIALLING
        self._phase_ends = now + ATTEMPT_TIMEOUTS * self._venue.settings.connect_timeout_s
        self._attempt = next(self._venue.attempts)
        self._dial_stamp, self._token_stamp = self._stamp(), None
        self._venue.dial(self._venue, self.partition, self._attempt)

    def _up(self, transport: Transport, now: float) -> None:
        self._since_us = self._empty_us = self._venue.wall_us()
        self.number = max(self._since_us, self.number + 1)
        self._phase = Phase.UP
        self._down_since = None
        self._discard = False
        self.transport = transport
        self.session = Session(
            self.number,
            self._venue.dialect,
            self._limits,
            self.wants.reconciler,
            Pacing(self._limits, self.partition, now),
            tally=self._venue.tally,
            max_message=self._venue.settings.max_message_bytes,
            now=now,
        )
        self._venue.sessions["opened"] += 1
        self._venue.log("upstream_connected", partition=self.partition, session=self.number)

    def _failed(self, error: UpstreamUnavailable, now: float) -> None:
        self._phase = Phase.DOWN
        self._reason, self._detail = error.kind, error.detail
        self._venue.sessions[error.kind] += 1
        refused = isinstance(error, TokenRefused)
        self._back_off(now, token=refused)
        fields = {"partition": self.partition, "reason": error.kind, "detail": error.detail}
        level = "error" if refused else "warning"  # only an operator can mend a token
        self._venue.log("upstream_failed", level, **fields, retry_in_s=round(self._dial_at - now, 1))

    def _talk(self, now: float, wall: float) -> None:
        transport, session = self.transport, self.session
        if transport is None or session is None:
            return
        fault = session.fault(now)
        if fault is not None:
            self._farewell(fault, now, discard=True)
            return
        try:
            for text in session.due(now, wall):
                transport.send(text)
        except UpstreamUnavailable as error:
            self._down(Fault(error.kind, error.detail), now)

    def _farewell(self, fault: Fault, now: float, *, discard: bool) -> None:
        """Say goodbye where the other side can still hear it, and give it a moment to answer."""
        self._reason, self._detail = fault.kind, fault.detail
        self._phase = Phase.CLOSING
        self._phase_ends = now + FAREWELL_S
        self._farewell_to = fault
        self._discard = discard
        if self.transport is None or fault.code is None:
            self._down(fault, now)
            return
        try:
            self.transport.close_frame(fault.code)
        except UpstreamUnavailable:
            self._down(fault, now)

    def _down(self, fault: Fault, now: float) -> None:
        """Note that the connection is gone, whoever ended it."""
        session, transport = self.session, self.transport
        self.session = self.transport = None
        if session is None or transport is None:
            return
        transport.close()
        session.ended()
        self.wants.interrupt(CAUSES.get(self._leaving, "disconnect"), self.last_frame_us, session.number)
        if session.useful:
            self._backoff.useful()
        self._phase = Phase.DOWN
        self._down_since = now
        self._since_us = self._venue.wall_us()
        self._reason, self._detail = fault.kind, fault.detail
        self._venue.disconnects[fault.kind] += 1
        self._back_off(now, token=fault.token)
        fields = {"partition": self.partition, "session": session.number, "reason": fault.kind, "detail": fault.detail}
        self._venue.log("upstream_disconnected", "info" if self._leaving else "warning", **fields)

    def _back_off(self, now: float, *, token: bool) -> None:
        self._dial_at = self._backoff.failed(now, token=token)
        self._token_stamp = self._dial_stamp if token else None

    def _stamp(self) -> object:
        """Give something that changes when the token file does."""
        path = self._venue.settings.token_file
        if path is None:
            return None
        try:
            stat = os.stat(path)  # noqa: PTH116  one call, no object, asked for each second
        except OSError:
            return "unreadable"
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
