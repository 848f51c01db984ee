"""What the simulator saw and did, for tests to compare with; readable from any thread, waitable without polling.

Times are Unix seconds. Lists come as copies of live objects: a `ConnectionRecord` that a test holds goes on
showing the truth. Tokens appear by their first characters only.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.simulator.facts import ConnectionRecord, RefusedUpgrade, RequestRecord, Sent
from bridge.simulator.protocol import HEARTBEAT
from bridge.simulator.sessions import Overlap, Violation
from bridge.simulator.ticklog import IncompleteRecordError, TickLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.simulator.flood import FloodStream
    from bridge.simulator.sessions import Session
    from bridge.simulator.ticklog import Fate, VenueTick
    from bridge.simulator.venue import Outcome

T = TypeVar("T")

#: Requests, violations and the like kept; the oldest go first.
KEPT = 100_000


class Record:
    """Collect facts under one lock; `wait_for` wakes on every new one."""

    def __init__(self, sent_seqs_max: int) -> None:
        """Keep at most `sent_seqs_max` ticks."""
        self._changed = threading.Condition(threading.RLock())
        self._connections: dict[int, ConnectionRecord] = {}
        self._requests: deque[RequestRecord] = deque(maxlen=KEPT)
        self._violations: deque[Violation] = deque(maxlen=KEPT)
        self._overlaps: deque[Overlap] = deque(maxlen=KEPT)
        self._refused: deque[RefusedUpgrade] = deque(maxlen=KEPT)
        self._rubbish: deque[Sent] = deque(maxlen=KEPT)
        self._ticks = TickLog(sent_seqs_max)
        self._streams: list[FloodStream] = []

    @property
    def connections(self) -> list[ConnectionRecord]:
        """Every connection ever accepted, oldest first."""
        return self._copy(self._connections.values())

    @property
    def open_connections(self) -> list[ConnectionRecord]:
        """The connections that are open now."""
        return [connection for connection in self.connections if connection.is_open]

    @property
    def subscribed(self) -> frozenset[str]:
        """The codes in the tick lists in force, over all open connections."""
        return frozenset(code for connection in self.open_connections for code in connection.codes)

    def requests(self, cmd_id: int | None = None, connection: int | None = None) -> list[RequestRecord]:
        """List requests, oldest first; heartbeats only when asked for by their cmd_id (22000)."""
        return [
            request
            for request in self._copy(self._requests)
            if (request.cmd_id == cmd_id if cmd_id is not None else request.cmd_id != HEARTBEAT)
            and connection in {None, request.connection}
        ]

    def heartbeats(self, connection: int | None = None) -> list[RequestRecord]:
        """List heartbeats, oldest first."""
        return self.requests(HEARTBEAT, connection)

    @property
    def violations(self) -> list[Violation]:
        """Every pacing or plan rule that was broken, refused or not."""
        return self._copy(self._violations)

    @property
    def overlaps(self) -> list[Overlap]:
        """Every pair of connections of one token and endpoint that were open at once."""
        return self._copy(self._overlaps)

    @property
    def refused_upgrades(self) -> list[RefusedUpgrade]:
        """Every upgrade that was not accepted."""
        return self._copy(self._refused)

    @property
    def rubbish(self) -> list[Sent]:
        """What was sent on demand: rubbish by name, and raw bytes."""
        return self._copy(self._rubbish)

    @property
    def sent_total(self) -> int:
        """How many ticks were written to sockets, duplicates included, rubbish not."""
        with self._changed:
            return sum(connection.ticks_sent for connection in self._connections.values())

    def sent_count(self, code: str) -> int:
        """Return how many ticks of a code were written to sockets."""
        with self._changed:
            return self._ticks.sent_count(code) + sum(stream.sent_of(code) for stream in self._streams)

    def sent(self, code: str, connection: int | None = None) -> list[int]:
        """Return the seqs of a code in the order in which they were written, one connection after the other.

        Raises IncompleteRecordError where only counts are known.
        """
        written = [tick for tick in self.ticks(code) if tick.connection and connection in {None, tick.connection}]
        return [tick.seq for tick in sorted(written, key=lambda tick: tick.connection)]

    def ticks(self, code: str) -> list[VenueTick]:
        """Return every tick of a code since it was first asked for, oldest first, written or not.

        Raises IncompleteRecordError where only counts are known.
        """
        with self._changed:
            if self._streams:
                raise IncompleteRecordError("a flood keeps no seqs: use sent_count, which is always exact")
            return self._ticks.ticks(code)

    def wait_for(self, condition: Callable[[Record], T | None], timeout: float = 5.0, what: str = "") -> T:
        """Block until `condition(record)` is true and return its value; it may look, but not act.

        Raises TimeoutError after `timeout` seconds, saying what was awaited and what was seen instead.
        """
        with self._changed:
            value = self._changed.wait_for(lambda: condition(self), timeout)
            if not value:
                raise TimeoutError(f"{what or 'the condition'} did not come within {timeout} s; {self.summary()}")
            return value

    def summary(self) -> str:
        """Say in one line what was seen so far."""
        with self._changed:
            last = self._requests[-1] if self._requests else None
            asked = f", the last {last.cmd_id} with {len(last.codes)} codes answered {last.ret}" if last else ""
            return (
                f"seen: {len(self._connections)} connections ({len(self.open_connections)} open, "
                f"{len(self.subscribed)} codes), {len(self._refused)} refused upgrades, {len(self.requests())} "
                f"requests and {len(self.heartbeats())} heartbeats{asked}, {self.sent_total} ticks sent, "
                f"{len(self._violations)} violations"
            )

    def as_dict(self) -> dict[str, object]:
        """Return everything but the seqs as values that JSON knows."""
        with self._changed:
            lists: dict[str, list[Any]] = {
                "connections": self.connections,
                "requests": self.requests(),
                "heartbeats": self.heartbeats(),
                "violations": self.violations,
                "overlaps": self.overlaps,
                "refused_upgrades": self.refused_upgrades,
                "rubbish": self.rubbish,
            }
            facts = {name: [_as_json(one) for one in facts] for name, facts in lists.items()}
            return {"sent_total": self.sent_total, **facts}

    # What follows is called by the simulator only.

    def opened(self, session: Session) -> None:
        """Note an accepted connection."""
        with self._changed:
            self._connections[session.id] = ConnectionRecord(
                session.id, redacted(session.token), session.endpoint, session.opened_at
            )
            self._changed.notify_all()

    def closed(self, session: Session, at: float, reason: str, client_code: int | None) -> None:
        """Note the end of a connection."""
        with self._changed:
            connection = self._connections[session.id]
            connection.close_reason, connection.client_close_code = reason, client_code
            connection.codes, connection.closed_at = (), at
            self._changed.notify_all()

    def asked(self, session: Session, at: float, outcome: Outcome) -> RequestRecord:
        """Note a request, its outcome and the list in force after it."""
        request = outcome.request
        noted = RequestRecord(session.id, at, request.cmd_id, request.seq_id, request.trace, outcome.codes, outcome.ret)
        with self._changed:
            self._requests.append(noted)
            self._connections[session.id].codes = session.ticks
            if outcome.violation:
                self._violations.append(outcome.violation)
            self._changed.notify_all()
        return noted

    def pinged(self, session: Session, at: float, *, answered: bool) -> None:
        """Note a ping as the heartbeat that it is in some dialects."""
        with self._changed:
            self._requests.append(RequestRecord(session.id, at, HEARTBEAT, 0, "", (), 200, at if answered else None))
            self._changed.notify_all()

    def answered(self, request: RequestRecord, at: float) -> None:
        """Note that a request's answer was written."""
        with self._changed:
            request.answered_at = at
            self._changed.notify_all()

    def note(self, *facts: Violation | Overlap | RefusedUpgrade | Sent) -> None:
        """Note single facts of any kind."""
        with self._changed:
            for fact in facts:
                match fact:
                    case RefusedUpgrade():
                        self._refused.append(fact)
                    case Sent():
                        self._rubbish.append(fact)
                    case Violation():
                        self._violations.append(fact)
                    case Overlap():
                        self._overlaps.append(fact)
            self._changed.notify_all()

    def wrote(self, connection: int, ticks: list[tuple[str, int]], at: float) -> None:
        """Note ticks (code, seq) that were written to a connection."""
        with self._changed:
            self._connections[connection].ticks_sent += len(ticks)
            self._ticks.wrote(connection, ticks, at)
            self._changed.notify_all()

    def unsent(self, ticks: list[tuple[str, int]], at: float, fate: Fate) -> None:
        """Note ticks (code, seq) that happened and were written to nobody."""
        with self._changed:
            self._ticks.unsent(ticks, at, fate)
            self._changed.notify_all()

    def ponged(self, session: Session, payload: bytes) -> None:
        """Note a pong."""
        with self._changed:
            self._connections[session.id].pongs.append(payload)
            self._changed.notify_all()

    def withheld(self, connection: int, count: int) -> None:
        """Note ticks that were not written because the client does not read."""
        with self._changed:
            self._connections[connection].ticks_withheld += count
            self._changed.notify_all()

    def flooding(self, stream: FloodStream) -> None:
        """Keep a flood's stream: it knows how many ticks of each code were written."""
        with self._changed:
            self._streams.append(stream)

    def flooded(self, connection: int, count: int) -> None:
        """Note ticks that a flood wrote to a connection."""
        with self._changed:
            self._connections[connection].ticks_sent += count
            self._changed.notify_all()

    def changed(self) -> None:
        """Wake those who wait: something they may look at has changed."""
        with self._changed:
            self._changed.notify_all()

    def _copy(self, facts: Iterable[T]) -> list[T]:
        with self._changed:
            return list(facts)


def _as_json(fact: Any) -> dict[str, Any]:
    values = dataclasses.asdict(fact)
    if "pongs" in values:
        values["pongs"] = [payload.hex() for payload in values["pongs"]]
    return values


def redacted(token: str) -> str:
    """Shorten a token so that it can be told from another, and not be used."""
    return f"{token[:3]}…"
