"""The feed thread: sockets to Kafka, one turn after the other.

A turn sleeps in one ``poll`` on the sockets and the mailbox's pipe, takes the messages, reads each ready socket once
(one read is one batch all the way to the producer), does what the links have due, takes Kafka's answers and lets what
waits move on. Everything here is owned by this thread alone; others see frozen snapshots.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from bridge.app.link import Link, Stamp
from bridge.app.mailbox import Assigned, Bound, Confirmed, Dialled, Look, Mailbox, Message, Revoked, Stop
from bridge.app.meters import Meter
from bridge.app.outlet import Outlet
from bridge.app.venue import Log, Venue
from bridge.errors import UpstreamUnavailable
from bridge.model import Board, Desired, Event, Limits, Missed, Safety
from bridge.publish.ledger import ANY_KEY
from bridge.snapshots import FeedSnapshot
from bridge.ticks.normalise import Normaliser
from bridge.upstream.session import Received

#: Seconds between two looks at Kafka's answers while some are outstanding, and the longest sleep of all.
ANSWERS_S = 0.02
LONGEST_S = 1.0
#: Seconds between two looks at whether the status topic needs telling.
BOARD_S = 0.2
#: Seconds that the group may take, beside the session timeout, to give a dead owner's partition to another.
REBALANCE_S = 5.0


class Feed:
    """The loop of the feed thread; ``limits_for`` gives the limits for a number of control partitions."""

    def __init__(
        self, mailbox: Mailbox, venue: Venue, *, outlet: Outlet, normaliser: Normaliser,
        limits_for: Callable[[int], Limits], log: Log, session_timeout_s: float = 10.0,
    ) -> None:  # fmt: skip
        self._mailbox = mailbox
        self._venue = venue
        self._outlet = outlet
        self._normaliser = normaliser
        self._limits_for = limits_for
        self._log = log
        self._links: dict[int, Link] = {}
        self._leaving: list[Revoked] = []
        self._flushing: list[tuple[Revoked, int]] = []  # disconnected; done once so many records are settled
        self._dial_at: dict[int, float] = {}  # of partitions that left: the plan's pause holds if they come back
        self._stop: Stop | None = None
        self._looks: list[Look] = []
        self._latency = Meter()
        self._skew_s = 0.0
        self._last_tick_us = 0
        self.beat = time.monotonic()
        self._shown = FeedSnapshot(beat=self.beat)
        self._session_timeout_s = session_timeout_s
        self._late: dict[int, list[Assigned | Desired]] = {}  # what came for a partition whose link is leaving
        self.unconfirmed_since: float | None = None  # nothing is published since then: we may be no owner any more
        self._woke_ms = 0  # the same by the wall clock
        self.safety = Safety()
        self.board = Board()  # for the status topic: made anew when something on it has changed
        self._board_at = 0.0
        self._stamps: list[Stamp] = []

    def run(self) -> None:
        """Turn until a Stop has been carried out."""
        while not self._finished():
            self._turn()
        if self._stop is not None:
            self._outlet.save(self._stop.deadline)
        self._pin()

    def _turn(self) -> None:
        now, wall = time.monotonic(), time.time()
        asked_us = self._venue.wall_us()
        ready = self._select(self._timeout(now, wall))
        slept = self._wake(time.monotonic(), time.time() - wall)
        now = self.beat
        for message in self._mailbox.take():
            self._take(message, now)
        for link in [*self._links.values()]:
            transport = link.transport
            if self._outlet.blocked:
                link.unheard(slept)
            elif transport is not None and (transport.fileno() in ready or transport.pending()):
                self._read(link, now)
            else:
                link.heard_nothing(asked_us)
            # Pacing counts from here: what came before in this turn may have taken its time.
            link.work(time.monotonic(), time.time())
        self._outlet.move_on(now)
        self._say_who_left()
        if now >= self._board_at:
            self._board_at = now + BOARD_S
            self._pin()
        self._show()

    def _wake(self, now: float, wall_slept: float) -> float:
        """Look how long the turn before took."""
        slept = now - self.beat
        self.beat = now
        # The monotonic clock stands still while the whole machine sleeps.
        self._doubt(max(slept, wall_slept), now)
        return slept

    def _doubt(self, slept: float, now: float) -> None:
        """Take how long nothing was done; if longer than a session of the group, nothing is ours for sure."""
        if slept > self._session_timeout_s and self._links and not self._stop:
            if self.unconfirmed_since is None:  # what was read since the first of several is given up
                self._woke_ms = self._venue.wall_us() // 1000
            self.unconfirmed_since = now
            self._outlet.held = True
            self._log("ownership_unconfirmed", "warning", asleep_s=round(slept, 1))

    # Asleep

    def _timeout(self, now: float, wall: float) -> float:
        longest = ANSWERS_S if self._outlet.waiting or self._stop else LONGEST_S
        if self._outlet.blocked:
            return longest  # the links' clocks stand still
        if any(link.transport is not None and link.transport.pending() for link in self._links.values()):
            return 0.0
        moments = [link.next_due(now, wall) for link in self._links.values()]
        if self._links:
            longest = min(longest, BOARD_S)
        return max(0.0, min([longest, *(moment - now for moment in moments)]))

    def _select(self, timeout_s: float) -> set[int]:
        links = () if self._outlet.blocked else self._links.values()
        sockets = [link.transport.fileno() for link in links if link.transport is not None]
        # select() itself cannot watch descriptors above 1023; poll can.
        poll = select.poll()
        for descriptor in (self._mailbox.fileno(), *sockets):
            poll.register(descriptor, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}

    # Messages

    def _take(self, message: Message, now: float) -> None:
        match message:
            case Desired():
                self._want(message, now)
            case Assigned():
                self._own(message, now)
            case Revoked():
                self._leave(message.partitions, message.why, now)
                self._leaving.append(message)
                self._settle_ownership(self.unconfirmed_since, ours=False)
            case Confirmed():
                self._settle_ownership(message.woke, ours=True)
            case Bound():
                self._outlet.bind(message.cluster_id)
            case Dialled():
                self._dialled(message, now)
            case Look():
                self._looks.append(message)
            case Stop():
                self._stop = message
                self._leave(tuple(self._links), "stop", now)

    def _want(self, desired: Desired, now: float) -> None:
        link = self._links.get(desired.partition)
        if link is None:
            return
        if link.leaving:
            self._late.setdefault(desired.partition, []).append(desired)
        else:
            link.want(desired, now)

    def _own(self, assigned: Assigned, now: float) -> None:
        link = self._links.get(assigned.partition)
        if link is not None and link.leaving:
            self._late[assigned.partition] = [assigned]
        elif link is None and self._stop is None:
            limits = self._limits_for(assigned.partitions)
            dial_at = max(now, self._dial_at.pop(assigned.partition, now))
            silent_s = self._session_timeout_s + REBALANCE_S
            link = Link(assigned.partition, self._venue, limits, dial_at, assigned.progress, silent_s=silent_s)
            link.wants.remember(assigned.memory, now)
            self._links[assigned.partition] = link

    def _settle_ownership(self, woke: float | None, *, ours: bool) -> None:
        """End a doubt: what was read meanwhile goes on its way, or is given up where another is the owner by now."""
        if woke is None or woke != self.unconfirmed_since:
            return
        self.unconfirmed_since = None
        if not ours:
            self._outlet.give_up("lost_ownership", self._woke_ms)
        self._outlet.held = False
        self._log("ownership_confirmed" if ours else "ownership_gone", "warning")

    def _leave(self, partitions: tuple[int, ...], why: str, now: float) -> None:
        for partition in partitions:
            if partition in self._links:
                self._links[partition].leave(why, now)

    def _dialled(self, message: Dialled, now: float) -> None:
        link = self._links.get(message.partition)
        if link is not None:
            link.dialled(message.attempt, message.outcome, now)
        elif not isinstance(message.outcome, UpstreamUnavailable):
            message.outcome.abort()

    def _say_who_left(self) -> None:
        """Let go of links that are gone, and say so once everything read so far is settled."""
        outlet, leaving = self._outlet, self._leaving
        self._leaving = []
        for revoked in leaving:
            links = [self._links[partition] for partition in revoked.partitions if partition in self._links]
            if not all(link.gone for link in links):
                self._leaving.append(revoked)
                continue
            for link in links:
                self._dial_at[link.partition] = link.dial_at
                del self._links[link.partition]
                for message in self._late.pop(link.partition, ()):
                    self._take(message, self.beat)
            self._pin()  # whoever waits for this looks at the board next
            self._flushing.append((revoked, outlet.settled + outlet.waiting))
        for revoked, mark in self._flushing:
            if outlet.settled >= mark:
                revoked.done.set()
        self._flushing = [(revoked, mark) for revoked, mark in self._flushing if not revoked.done.is_set()]

    # Ticks

    def _read(self, link: Link, now: float) -> None:
        received = link.read(now)
        if received is None:
            return
        woken = time.monotonic()
        self._doubt(woken - self.beat, woken)  # it may have been frozen since the turn began, and read this after that
        recv_us = self._venue.wall_us()
        for note in received.notes:
            self._log(note.event, note.level, partition=link.partition, session=link.number, **note.fields)
        if received.ticks or received.bad_ticks:
            self._publish(received, link, recv_us)

    def _publish(self, received: Received, link: Link, recv_us: int) -> None:
        outlet = self._outlet
        ledger = outlet.ledger
        batch = self._normaliser.batch(received.ticks, link.wants.symbols, recv_us, link.number)
        ledger.received += len(received.ticks) + received.bad_ticks
        ledger.invalid += batch.invalid + received.bad_ticks
        ledger.filtered += batch.filtered
        ledger.duplicate += batch.duplicate
        if batch.refused is not None:
            code, wrong, value = batch.refused
            fields = {"partition": link.partition, "code": code, "field": wrong, "value": value[:64]}
            self._log("tick_invalid", "warning", **fields, count=batch.invalid)
        if not batch.records:
            return
        self._last_tick_us = recv_us
        if batch.newest_event_us:
            late_s = (recv_us - batch.newest_event_us) / 1e6
            self._latency.observe(late_s)
            self._skew_s = max(0.0, -late_s)
        outlet.offer(batch.records)

    # What others see

    def _pin(self) -> None:
        """Make a new board if anything on the present one is out of date; a link that starts says nothing yet."""
        self._assess()
        links = [link for link in self._links.values() if not link.starting]
        stamps = [link.stamp() for link in links]
        if stamps != self._stamps:
            self._stamps = stamps
            self.board = Board(
                rows={link.partition: {row.symbol: row for row in link.rows()} for link in links},
                sessions={link.partition: link.number for link in links},
                wanted={link.partition: link.wants.wanted for link in links},
            )

    def _assess(self) -> None:
        """Note how safe everything is; what is lost and not told yet is not safe."""
        for loss in self._outlet.take_losses():
            known = [loss.key.decode(errors="replace")]
            if loss.key == ANY_KEY:  # nobody can tell whose: it may be anybody's
                known = [route.symbol for link in self._links.values() for route in link.wants.symbols]
            self.events.extend(
                Missed(symbol, loss.cause, loss.lost if loss.key else 0, loss.from_us, loss.to_us) for symbol in known
            )
        links = {link.partition: (link.number, link.last_frame_us) for link in self._links.values()}
        self.safety = Safety(self._outlet.safe_us(self._venue.wall_us()), links)

    @property
    def events(self) -> deque[Event]:
        """What happened to symbols, oldest first; the control thread takes them away."""
        return self._venue.events

    def look(self, timeout_s: float = 0.8) -> FeedSnapshot:
        """Give a snapshot as of now, on any thread; the last one there was if the loop does not turn."""
        look = Look()
        self._mailbox.put(look)
        look.done.wait(timeout_s)
        # A turn may take longer than this; the loop is none the less alive as of its last one.
        return look.snapshot or replace(self._shown, beat=self.beat)

    def _show(self) -> None:
        if self._looks:
            self._shown = self.snapshot()
            for look in self._looks:
                look.snapshot = self._shown
                look.done.set()
            self._looks.clear()

    def snapshot(self) -> FeedSnapshot:
        """Freeze what there is to see; on this thread, or after it has ended."""
        outlet, venue = self._outlet, self._venue
        return FeedSnapshot(
            beat=self.beat,
            accounts=outlet.accounts(),
            links=tuple(link.state() for link in self._links.values()),
            symbols=tuple(row for link in self._links.values() for row in link.rows()),
            frames=dict(venue.tally.frames),
            requests=dict(venue.tally.requests),
            refusals=dict(venue.tally.refusals),
            sessions=dict(venue.sessions),
            disconnects=dict(venue.disconnects),
            places=outlet.places(),
            queue_bytes=outlet.queue_bytes,
            spill_bytes=outlet.spill_bytes,
            last_tick_us=self._last_tick_us,
            clock_skew_s=self._skew_s,
            feed_latency=self._latency.snapshot(),
            delivery_latency=outlet.latency.snapshot(),
            spill_trouble=outlet.spill_trouble,
            kafka_trouble=outlet.trouble,
            kafka_trouble_since=outlet.trouble_since,
        )

    # The end

    def _finished(self) -> bool:
        """Tell whether a Stop is carried out: nothing is connected, and all is delivered or the time is up."""
        if self._stop is None or not all(link.gone for link in self._links.values()):
            return False
        return not self._outlet.waiting or time.monotonic() >= self._stop.deadline
