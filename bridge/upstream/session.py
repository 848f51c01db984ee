"""One upstream connection from open to close: bytes and moments in, messages to send and facts out.

Pure: the loop that owns the socket calls ``receive`` with what it read, ``fault`` for whether the connection is still
worth keeping, then ``due`` for what to send now, and ``next_due`` for how long it may sleep. ``TRANSITIONS`` is all
that moves the phase; a pair that is not in it is a bug in the bridge and says so.

At most one request for codes is under way; an answer that does not say what it answers belongs to the oldest message
that waits for one. Where the dialect counts on no answers a request is accepted as it is sent, and a refusal that comes
all the same takes back the codes that it names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from bridge.errors import LocalProtocolError
from bridge.model import Limits, WireTick
from bridge.upstream.dialects import Answer, Dialect, Remedy
from bridge.upstream.dialects.remedies import Wait, wait_after
from bridge.upstream.frames import FrameReader
from bridge.upstream.pacing import Pacing
from bridge.upstream.reconcile import Plan, Reconciler
from bridge.upstream.waiting import Sent, Waiting

#: Characters of a venue's message, or of a request it does not understand, that go into the log.
TOLD = 500
#: New codes of such a request that are named there.
NAMED = 10


class Phase(Enum):
    """Where a session stands."""

    OPEN = auto()  # no subscribe request under way
    ASKING = auto()  # one is
    CLOSED = auto()


class Event(Enum):
    """What moves it."""

    ASKED = auto()
    ACCEPTED = auto()
    REFUSED = auto()
    UNANSWERED = auto()
    ENDED = auto()


TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.OPEN, Event.ASKED): Phase.ASKING,
    (Phase.ASKING, Event.ACCEPTED): Phase.OPEN,
    (Phase.ASKING, Event.REFUSED): Phase.OPEN,
    (Phase.ASKING, Event.UNANSWERED): Phase.OPEN,
    (Phase.OPEN, Event.ENDED): Phase.CLOSED,
    (Phase.ASKING, Event.ENDED): Phase.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a connection must end; ``kind`` is a metric label, ``code`` the close code to send if one fits."""

    kind: str
    detail: str
    code: int | None = None

    @property
    def token(self) -> bool:
        """Tell whether it is the token that the venue does not accept."""
        return self.kind == "token"


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth one line in the log: a constant event and its fields."""

    event: str
    level: str = "info"
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Received:
    """What one read brought: ticks in order, how many tick pushes were unusable, pongs to send, things to log."""

    ticks: Sequence[WireTick] = ()
    bad_ticks: int = 0
    pongs: list[bytes] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """Counters of the upstream room, over all sessions; keys are metric labels."""

    frames: Counter[str] = field(default_factory=Counter)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)  # remedy


class Session:
    """One connection's side of the protocol; ``number`` is the session of the contract's tick record."""

    def __init__(
        self, number: int, dialect: Dialect, limits: Limits, reconciler: Reconciler, pacing: Pacing, *,
        tally: Tally, max_message: int, now: float,
    ) -> None:  # fmt: skip
        self.number = number
        self._dialect = dialect
        self._limits = limits
        self._reconciler = reconciler
        self._pacing = pacing
        self._tally = tally
        self._frames = FrameReader(max_message)
        self._phase = Phase.OPEN
        self._waiting = Waiting()
        self._seq_id = 0
        self._unanswered = 0  # subscribe requests in a row that timed out
        self._last_frame = now
        self._fault: Fault | None = None
        self._notes: list[Note] = []  # of what was done between two reads
        self.refusal: tuple[float, float] | None = None  # when the last refused list was sent, and its answer came
        self.useful = False  # the venue has granted us something, so this connection is no failed attempt
        reconciler.opened()

    @property
    def last_frame(self) -> float:
        """The moment at which the newest frame of any kind was received."""
        return self._last_frame

    def unheard(self, seconds: float) -> None:
        """Take seconds in which nobody listened for such that have not passed: silence and answers wait for that."""
        self._last_frame += seconds
        self._waiting.postpone(seconds)

    @property
    def phase(self) -> Phase:
        """Where the session stands."""
        return self._phase

    def receive(self, data: bytes, now: float) -> Received:
        """Take bytes as they were read; the caller publishes the ticks, sends the pongs and writes the notes."""
        inbound = self._frames.feed(data)
        notes, self._notes = self._notes, []
        received = Received(pongs=inbound.pings, notes=notes)
        frames = self._tally.frames
        if inbound.texts:
            self._read(inbound.texts, now, received)
        if inbound.pongs and self._waiting.pong():
            self._tally.requests["heartbeat", "accepted"] += 1
            self.useful = True
        if inbound.texts or inbound.pings or inbound.pongs or inbound.binaries or inbound.oversized:
            self._last_frame = now
        for kind, count in _other_frames(inbound.pings, inbound.pongs, inbound.binaries, inbound.oversized):
            frames[kind] += count
            if kind in ("binary", "oversized"):
                received.notes.append(Note(f"frame_{kind}", "warning", {"count": count}))
        if inbound.error is not None:
            frames["protocol_error"] += 1
            self._end(Fault("protocol", inbound.error.reason, inbound.error.code))
        elif inbound.closed is not None:
            frames["close"] += 1
            code, reason = inbound.closed
            self._end(Fault("closed_by_venue", f"close code {code} {reason}".strip(), 1000))
        return received

    def _read(self, texts: list[bytes], now: float, received: Received) -> None:
        """Take text messages."""
        frames = self._tally.frames
        decoded = self._dialect.decode(texts)
        received.ticks, received.bad_ticks = decoded.ticks, decoded.bad_ticks
        if decoded.bad_ticks:
            sample = decoded.bad_tick[:TOLD].decode(errors="replace")
            received.notes.append(Note("tick_unreadable", "warning", {"count": decoded.bad_ticks, "newest": sample}))
        if decoded.ticks and not self._dialect.answers:
            self.useful = True
        frames["tick"] += len(decoded.ticks) + decoded.bad_ticks
        frames.update(decoded.others)
        for answer in decoded.answers:
            self._answer(answer, now, received.notes)
        for kind, count in decoded.others.items():
            if kind != "depth":
                received.notes.append(Note(f"frame_{kind}", "warning", {"count": count}))

    def due(self, now: float, wall: float) -> list[str | bytes]:
        """Give the messages to send now, bytes as pings; the caller must send them all, at once."""
        if self._phase is Phase.CLOSED:
            return []
        self._expire(now)
        if self._fault is not None:
            return []
        plan = self._reconciler.plan(now) if self._phase is Phase.OPEN else None
        if plan is not None and self._pacing.request_at(now, wall) <= now:
            self._move(Event.ASKED)
            message = self._write(plan, now)
            if not self._dialect.answers:
                self._accepted(plan, now, self._notes)
            return [message]
        if self._pacing.next_heartbeat(now) <= now:
            return [self._write(None, now)]
        return []

    def next_due(self, now: float, wall: float) -> float:
        """Give the moment at which ``due`` or ``fault`` will have something to say if nothing is received."""
        if self._fault is not None:
            return now
        moments = [self._last_frame + self._limits.silence_s]
        if self._phase is Phase.ASKING:
            moments += [sent.at + self._limits.ack_timeout_s for sent in self._waiting.requests()]
        elif self._reconciler.plan(now) is not None:
            moments.append(self._pacing.request_at(now, wall))
        else:
            moments.append(self._reconciler.retry_at)
        # Asked for last: a request in a time slot may have drawn the heartbeat forward.
        return min(*moments, self._pacing.next_heartbeat(now))

    def fault(self, now: float) -> Fault | None:
        """Say why the connection must end; None while it is good."""
        if now >= self._last_frame + self._limits.silence_s:
            self._end(Fault("silence", f"no frame for {self._limits.silence_s:g} s"))
        if self._waiting.heartbeats >= 2 and self._pacing.next_heartbeat(now) <= now:
            self._end(Fault("heartbeat", "two heartbeats were not answered"))
        return self._fault

    def ended(self) -> None:
        """Note that the connection is gone."""
        self._move(Event.ENDED)

    def _write(self, plan: Plan | None, now: float) -> str | bytes:
        """Write a request, or a heartbeat where there is no plan, and wait for its answer from now on."""
        self._seq_id += 1
        number = self._seq_id, f"{self.number}-{self._seq_id}"
        message = self._dialect.heartbeat(*number) if plan is None else self._dialect.encode(plan.ask, *number)
        sent = Sent(self._seq_id, now, plan, message)
        self._waiting.add(sent)
        self._pacing.sent(now, heartbeat=plan is None)
        self._tally.requests[sent.kind, "sent"] += 1
        return message

    def _expire(self, now: float) -> None:
        """Give up on a request that was not answered in time: once it is asked again, then the connection ends."""
        sent = next(self._waiting.requests(), None)
        if sent is None or sent.plan is None or now < sent.at + self._limits.ack_timeout_s:
            return
        self._waiting.remove(sent)
        if not self._dialect.answers:
            return
        self._tally.requests[sent.kind, "unanswered"] += 1
        self._move(Event.UNANSWERED)
        self._reconciler.unanswered(sent.plan)
        self._unanswered += 1
        if self._unanswered >= 2:
            self._end(Fault("unanswered", "a subscribe request was not answered, twice in a row"))

    def _answer(self, answer: Answer, now: float, notes: list[Note]) -> None:
        remedy = self._dialect.remedy(answer.ret)
        sent = self._waiting.match(answer, about_codes=remedy in (Remedy.NARROW, Remedy.SHRINK))
        self._tally.frames["heartbeat" if answer.kind == "heartbeat" else "answer"] += 1
        if sent is None:
            self._tally.requests["unknown", "late"] += 1
            fields: dict[str, object] = {"seq_id": answer.seq_id, "ret": answer.ret}
            notes.append(Note("answer_without_request", "warning", fields))
            if not answer.seq_id and remedy is Remedy.TOKEN:
                self._end(_token_refused(answer))  # it answers the connection itself
            return
        if not sent.answered:
            sent.answered = True
            self._pacing.answered(now)
        if self._dialect.answers or not answer.codes:
            self._waiting.remove(sent)  # else another answer may speak of its other codes
        accepted = answer.ret == 200
        self.useful |= accepted
        if sent.plan is None:
            self._waiting.beat(sent)
            self._tally.requests[sent.kind, "accepted" if accepted else "refused"] += 1
        elif accepted:
            self._pacing.eased()
            if self._dialect.answers:
                self._accepted(sent.plan, now, notes)
        if not accepted:
            self._refused(sent, answer, now, notes)

    def _accepted(self, plan: Plan, now: float, notes: list[Note]) -> None:
        self._unanswered = 0
        self._move(Event.ACCEPTED)
        self._reconciler.accept(plan, now)
        self._tally.requests[plan.ask.kind, "accepted"] += 1
        fields: dict[str, object] = {"kind": plan.ask.kind, "codes": len(plan.ask.codes), "new": len(plan.fresh)}
        notes.append(Note("request_accepted", "info", fields))

    def _refused(self, sent: Sent, answer: Answer, now: float, notes: list[Note]) -> None:
        plan = sent.plan
        own = self._dialect.remedy(answer.ret)
        self._tally.refusals[own.value] += 1
        remedy = self._take_back(plan, answer, now) if plan else own
        if plan is not None and self._dialect.replaces:
            self.refusal = sent.at, now
        wait = wait_after(remedy)
        if remedy is Remedy.TOKEN:
            self._end(_token_refused(answer))
        elif own is Remedy.BUG and remedy is Remedy.NARROW:
            self._pacing.slow_down(now)  # it may be that nothing we say is understood
        elif wait is Wait.SLOWER:
            self._pacing.slow_down(now)
            self.useful = False  # the venue may end it for that, and the next one would be too fast as well
        elif wait is Wait.LONGEST:
            self._pacing.hold(now + self._limits.reconnect_max_s)
        fields: dict[str, object] = {"ret": answer.ret, "says": answer.message[:TOLD], "remedy": remedy.value}
        if plan is not None:
            fields |= {"codes": len(plan.ask.codes), "new": len(plan.fresh)}
        if own is Remedy.BUG:
            fields["request"] = str(sent.message)[:TOLD]
            if plan is not None:  # a long request is cut before them
                fields["among_the_new"] = list(plan.fresh[:NAMED])
        notes.append(Note("request_refused", "error" if own is Remedy.BUG else "warning", fields))

    def _take_back(self, plan: Plan, answer: Answer, now: float) -> Remedy:
        """Tell the reconciler which codes were refused; the others of a request that was partly refused hold."""
        self._unanswered = 0
        self._tally.requests[plan.ask.kind, "refused"] += 1
        if self._dialect.answers:
            self._move(Event.REFUSED)
            if not self._dialect.replaces and answer.codes and {*answer.codes} < {*plan.ask.codes}:
                self._reconciler.accept(plan, now)
        return self._reconciler.refuse(plan, answer.ret, now, answer.codes)

    def _end(self, fault: Fault) -> None:
        """Keep the first reason: what follows it, as a close frame after a refused token, only hides it."""
        self._fault = self._fault or fault

    def _move(self, event: Event) -> None:
        try:
            self._phase = TRANSITIONS[self._phase, event]
        except KeyError:
            raise LocalProtocolError(f"session: {event.name} cannot happen in phase {self._phase.name}") from None


def _token_refused(answer: Answer) -> Fault:
    return Fault("token", f"the venue answers {answer.ret}: it does not accept the token", 1000)


def _other_frames(pings: list[bytes], pongs: int, binaries: int, oversized: int) -> list[tuple[str, int]]:
    counts = (("ping", len(pings)), ("pong", pongs), ("binary", binaries), ("oversized", oversized))
    return [(kind, count) for kind, count in counts if count]
