"""The server in its loop: connections, their requests, their heartbeats, and the feed they listen to.

All of it runs in one thread; `simulator` holds that thread and speaks to it from outside.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from bridge.simulator import protocol
from bridge.simulator.connection import Connection
from bridge.simulator.facts import RefusedUpgrade
from bridge.simulator.feed import Feed
from bridge.simulator.flood import FloodFeed
from bridge.simulator.incremental import IncrementalVenue
from bridge.simulator.languages import speech
from bridge.simulator.listener import Listener
from bridge.simulator.market import Market
from bridge.simulator.venue import Venue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.simulator.config import SimulatorConfig
    from bridge.simulator.facts import RequestRecord
    from bridge.simulator.record import Record
    from bridge.simulator.sessions import Admission, Session
    from bridge.simulator.switches import Switches

#: Seconds that stopping gives clients to answer the close frame.
STOP_S = 0.5


def unix_clock() -> Callable[[], float]:
    """Return a clock of Unix seconds that never goes back: it follows the monotonic one from now on."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


class Server:
    """Listen, and hold everything that lives in the loop. Made outside of it, used inside."""

    def __init__(self, config: SimulatorConfig, switches: Switches, record: Record) -> None:
        """Take the settings and the record to write to."""
        self._config = config
        self._switches = switches
        self._record = record
        self._limits = config.limits()
        self._tcp: set[Connection] = set()
        self._heartbeats: dict[Connection, asyncio.TimerHandle] = {}
        self._listener: Listener | None = None
        self._no_more: asyncio.Event
        self.clock = unix_clock()
        official = config.dialect == "alltick"
        self.pings_are_heartbeats = not official
        self.venue = Venue(config, switches) if official else IncrementalVenue(config, switches)
        self.market = Market(config.seed, self.venue.universe.listed)
        self.feed: Feed | FloodFeed
        if config.flood:
            total = config.flood_total
            self.feed = FloodFeed(record, switches, self.clock, seed=config.seed, total=total)
        else:
            room = config.send_buffer_bytes
            self.feed = Feed(
                self.market, record, switches, self.clock,
                seed=config.seed, buffer_bytes=room, speech=speech(config.dialect),
            )  # fmt: skip

    async def listen(self, port: int) -> int:
        """Begin to accept connections; return the port.

        Raises OSError when the port cannot be had.
        """
        self._no_more = asyncio.Event()
        self._listener = Listener(self._config, port, lambda: Connection(self))
        self.feed.reschedule()
        return self._listener.port

    async def close(self) -> None:
        """Stop accepting, close every connection and wait for the sockets to be gone."""
        self.feed.stop()
        if self._listener is not None:
            await self._listener.close()
        for connection in list(self._tcp):
            connection.numb(frozen=False, deaf=False)
            if connection.session is not None and connection.is_open:
                connection.hang_up("close", "simulator stopped", code=1001)
            else:
                connection.abort("simulator stopped")
        try:
            await asyncio.wait_for(self._all_gone(), STOP_S)
        except TimeoutError:
            for connection in list(self._tcp):
                connection.abort("simulator stopped")
            await self._all_gone()

    async def _all_gone(self) -> None:
        while self._tcp:
            self._no_more.clear()
            await self._no_more.wait()

    def adapt(self) -> None:
        """Follow changed switches."""
        for connection in self._tcp:
            self._numb(connection)
        self.feed.reschedule()
        self._record.changed()

    def upgraded_connections(self, number: int | None = None) -> Iterator[Connection]:
        """Yield the open connections, or the one with this number if it is open."""
        for connection in list(self._tcp):
            if connection.session is not None and number in {None, connection.session.id}:
                yield connection

    def tick(self, code: str, changes: dict[str, Any]) -> protocol.Tick:
        """Let one tick of a code happen now and deliver it."""
        tick = self.next_tick(code)._replace(**changes)
        self.feed.deliver([tick])
        return tick

    def next_tick(self, code: str) -> protocol.Tick:
        """Let one tick of a code happen now, delivered or not."""
        return self.market.learn(code).tick(int(self.clock() * 1000))

    # What a connection calls.

    def connected(self, connection: Connection) -> None:
        """Take note of a TCP connection before any byte is read."""
        self._tcp.add(connection)
        self._numb(connection)

    def admit(self, path: str) -> Admission:
        """Judge an upgrade request."""
        now = self.clock()
        admission = self.venue.sessions.admit(path, now)
        if admission.session is None:
            bare = path.partition("?")[0]
            self._record.note(*admission.violations, RefusedUpgrade(now, bare, admission.status))
        else:
            self._record.opened(admission.session)
            self._record.note(*admission.violations, *admission.overlaps)
        return admission

    def upgraded(self, connection: Connection, admission: Admission) -> None:
        """Start the life of a session."""
        if admission.ret:
            connection.send_text(protocol.encode_answer(protocol.Request(), admission.ret, correlated=False))
            connection.hang_up(self._switches.hangup, f"ret {admission.ret}")
        elif self._switches.accept_then_close:
            connection.hang_up(self._switches.hangup, "accept_then_close")
        else:
            self._expect_heartbeat(connection)

    def received(self, connection: Connection, text: str) -> None:
        """Handle one text message."""
        session, now = _session(connection), self.clock()
        before = session.ticks
        outcome = self.venue.receive(session, text, now)
        request = self._record.asked(session, now, outcome)
        if session.ticks != before:
            self.feed.listen(self.upgraded_connections())
        if outcome.request.cmd_id == protocol.HEARTBEAT and not outcome.request.error:
            self._expect_heartbeat(connection)
        if outcome.answer is not None and outcome.delay_s:
            loop = asyncio.get_running_loop()
            loop.call_later(outcome.delay_s, self._answer, connection, request, outcome.answer)
        elif outcome.answer is not None:
            self._answer(connection, request, outcome.answer)
        if outcome.hang_up:
            connection.hang_up(self._switches.hangup, f"ret {outcome.ret}")

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """Take note of a pong."""
        self._record.ponged(_session(connection), payload)

    def pinged(self, connection: Connection) -> None:
        """Take a ping for a heartbeat where the dialect has no other."""
        if self.pings_are_heartbeats:
            self._record.pinged(_session(connection), self.clock(), answered=not connection.mute_pongs)
            self._expect_heartbeat(connection)

    def writable(self, connection: Connection) -> None:
        """Let the feed go on."""
        if connection.session is not None:
            self.feed.writable(connection)

    def lost(self, connection: Connection) -> None:
        """Take note that the socket is gone."""
        self._tcp.discard(connection)
        timer = self._heartbeats.pop(connection, None)
        if timer is not None:
            timer.cancel()
        if connection.session is not None:
            now = self.clock()
            self.venue.sessions.close(connection.session, now, unnoticed=_unnoticed(connection))
            self._record.closed(connection.session, now, connection.reason, connection.client_close_code)
            self.feed.listen(self.upgraded_connections())
        self._no_more.set()

    def _numb(self, connection: Connection) -> None:
        connection.mute_pongs = self._switches.heartbeat_mute and self.pings_are_heartbeats
        connection.numb(frozen=self._switches.half_open, deaf=self._switches.deaf)

    def _answer(self, connection: Connection, request: RequestRecord, answer: str) -> None:
        if connection.is_open:
            connection.send_text(answer)
            self._record.answered(request, self.clock())

    def _expect_heartbeat(self, connection: Connection) -> None:
        timer = self._heartbeats.get(connection)
        if timer is not None:
            timer.cancel()
        self._heartbeats[connection] = asyncio.get_running_loop().call_later(
            self._limits.heartbeat_cut_s, self._no_heartbeat, connection
        )

    def _no_heartbeat(self, connection: Connection) -> None:
        # Whoever does not listen cannot miss anything: the connection is judged anew once it is read again.
        if connection.deaf:
            self._expect_heartbeat(connection)
        else:
            connection.hang_up(self._switches.hangup, "no heartbeat")


def _unnoticed(connection: Connection) -> bool:
    """Say whether a real venue would still hold the connection: nobody said good-bye, and it was not cut on purpose."""
    abrupt = connection.reason.startswith("client lost") or connection.reason in {"fault: cut", "fault: reset"}
    return abrupt and connection.client_close_code is None


def _session(connection: Connection) -> Session:
    if connection.session is None:
        raise RuntimeError("a message came before the upgrade; websockets never passes one on")
    return connection.session
