"""A bad network on demand: a TCP line on loopback between a client and a server, with faults that change while it runs.

    with Network(("127.0.0.1", broker_port)) as line:
        ...                                  # clients connect to line.address
        line.set(bandwidth=20_000, latency_s=0.1)
        line.set(stalled=True)               # packets vanish, nobody is told; open connections wait
        line.set(stalled=False)              # what was under way arrives, as TCP would have sent it again
        line.reset()                         # every connection ends with RST, at both sides
        line.half_open()                     # the server's side is gone, the client's stays and hears nothing
        line.cut("reset", 5.0)               # RST and refusals for so long; cut("stall", 5.0) for silence
        line.wait_whole()                    # until the cut is over

Rules: one thread with an asyncio loop; memory is bounded (`WINDOW` bytes wait per connection and direction, beyond that
the sender is not read); bytes are never lost, repeated or reordered within a connection, because TCP does not do that;
bandwidth is shared by all connections, each direction for itself. A stalled line still takes connections, as the
system answers for a server that is busy: what a client says then is not heard until the stall is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from tests.support.ports import free_ports

T = TypeVar("T")

#: Bytes of one read, and pieces under way per connection and direction.
PIECE = 16 * 1024
PIECES = 64
WINDOW = PIECE * PIECES
#: Seconds of bandwidth in one piece, so that a change of it is soon felt.
GRAIN_S = 0.05
#: Seconds that anything asked of the loop may take, and that a connection to the server may.
CALL_S = 10.0


@dataclass(frozen=True, slots=True)
class Weather:
    """What the line does now. `bandwidth`: bytes/s each way, None = no bound; `latency_s`: one way, on top."""

    bandwidth: float | None = None
    latency_s: float = 0.0
    stalled: bool = False
    refusing: bool = False

    def __post_init__(self) -> None:
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError(f"bandwidth is {self.bandwidth}; it must be above 0 (stalled=True stops everything)")
        if self.latency_s < 0:
            raise ValueError(f"latency_s is {self.latency_s}; it must not be negative")


class _Lane:
    """One direction of the line: when it is free to take the next bytes."""

    def __init__(self) -> None:
        self.free_at = 0.0

    def book(self, size: int, bandwidth: float | None, now: float) -> float:
        """Take the lane for `size` bytes; give the moment at which the last of them has left."""
        if bandwidth is None:
            self.free_at = now
        else:
            self.free_at = max(now, self.free_at) + size / bandwidth
        return self.free_at


class _Link:
    """One connection: two sockets, and a task for each half of each direction."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.tasks: list[asyncio.Task[None]] = []

    def end(self, loop: asyncio.AbstractEventLoop, *, reset: bool, keep_client: bool = False) -> None:
        """Close both sides, with RST or FIN; `keep_client` leaves the client's open and unread."""
        for task in self.tasks:
            task.cancel()
        for side in (self.server, self.client):
            if side is None or side.fileno() < 0:
                continue
            loop.remove_reader(side)
            loop.remove_writer(side)
            if side is self.server or not keep_client:
                _close(side, reset=reset)


class Network:
    """The line; a context manager. Every method may be called from any thread and has taken effect on return."""

    def __init__(self, target: tuple[str, int], port: int | None = None) -> None:
        """Lead to `target`; listen on `port`, or on one that a line which comes and goes can keep."""
        self.target = target
        self.port = free_ports()[0] if port is None else port
        self.weather = Weather()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._listener: socket.socket | None = None
        self._welcome: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._links: set[_Link] = set()
        self._orphans: set[_Link] = set()
        self._lanes = {"up": _Lane(), "down": _Lane()}
        self._heal: asyncio.TimerHandle | None = None
        self._whole = threading.Event()
        self._whole.set()
        #: Connections taken since the start, and bytes given to the other side.
        self.accepted = 0
        self.carried = {"up": 0, "down": 0}

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections lead through the line now."""
        return self._call(lambda: len(self._links))

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._call(self._adapt)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CALL_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    # The faults.

    def set(self, **changes: Any) -> None:
        """Change the weather: `bandwidth`, `latency_s`, `stalled`, `refusing`; what is not named stays."""
        self._call(lambda: self._change(**changes))

    def reset(self) -> None:
        """End every connection with RST at both sides; new ones are taken."""
        self._call(self._reset)

    def half_open(self) -> None:
        """Let every connection be lost at the server's side only; the client's stays open and nothing ever comes."""
        self._call(self._orphan)

    def cut(self, how: Literal["reset", "stall"], seconds: float) -> None:
        """Cut the line for `seconds`: connections reset and refused, or everything vanishing; heals by itself."""
        self._whole.clear()
        self._call(lambda: self._cut(how, seconds))

    def wait_whole(self, timeout_s: float = 60.0) -> None:
        """Wait until the cut is over."""
        if not self._whole.wait(timeout_s):
            raise TimeoutError(f"the line is still cut after {timeout_s} s")

    # In the loop.

    def _change(self, **changes: Any) -> None:
        self.weather = replace(self.weather, **changes)
        self._adapt()

    def _adapt(self) -> None:
        if self.weather.stalled:
            self._flowing.clear()
        else:
            self._flowing.set()
        if self.weather.refusing:
            self._listen_no_more()
        elif self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self._listener.setblocking(False)
            self._welcome = self._loop.create_task(self._accept(self._listener))

    def _listen_no_more(self) -> None:
        if self._welcome is not None:
            self._welcome.cancel()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _cut(self, how: Literal["reset", "stall"], seconds: float) -> None:
        if self._heal is not None:
            self._heal.cancel()
        if how == "reset":
            self._change(refusing=True)
            self._reset()
        else:
            self._change(stalled=True)
        self._heal = self._loop.call_later(seconds, self._mend)

    def _mend(self) -> None:
        self._heal = None
        self._change(stalled=False, refusing=False)
        self._whole.set()

    def _reset(self) -> None:
        for link in [*self._links, *self._orphans]:
            link.end(self._loop, reset=True)
        self._links.clear()
        self._orphans.clear()

    def _orphan(self) -> None:
        for link in self._links:
            link.end(self._loop, reset=True, keep_client=True)
        self._orphans |= self._links
        self._links.clear()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            client.setblocking(False)
            self.accepted += 1
            link = _Link(client)
            self._links.add(link)
            link.tasks.append(self._loop.create_task(self._connect(link)))

    async def _connect(self, link: _Link) -> None:
        await self._flowing.wait()
        link.server = socket.socket()
        link.server.setblocking(False)
        try:
            await asyncio.wait_for(self._loop.sock_connect(link.server, self.target), CALL_S)
        except OSError:
            self._drop(link, reset=True)
            return
        for lane, source, sink in (("up", link.client, link.server), ("down", link.server, link.client)):
            pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES)
            for half in (self._take(link, lane, source, pieces), self._give(link, lane, sink, pieces)):
                link.tasks.append(self._loop.create_task(half))

    async def _take(
        self, link: _Link, lane: str, source: socket.socket, pieces: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Read one side; empty bytes, its end, travel like all others."""
        data = b"begin"
        while data:
            await self._flowing.wait()
            bandwidth = self.weather.bandwidth
            size = PIECE if bandwidth is None else max(1, min(PIECE, int(bandwidth * GRAIN_S)))
            try:
                data = await self._loop.sock_recv(source, size)
            except OSError:
                await self._flowing.wait()
                self._drop(link, reset=True)
                return
            left_at = self._lanes[lane].book(len(data), bandwidth, self._loop.time())
            await asyncio.sleep(left_at - self._loop.time())
            await pieces.put((left_at + self.weather.latency_s, data))

    async def _give(
        self, link: _Link, lane: str, sink: socket.socket, pieces: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Write to the other side what is due, in order; a side that is at its end for both ways is closed."""
        data = b"begin"
        while data:
            due, data = await pieces.get()
            await asyncio.sleep(due - self._loop.time())
            await self._flowing.wait()
            self.carried[lane] += len(data)  # first, so that whoever has read them finds them counted
            try:
                if data:
                    await self._loop.sock_sendall(sink, data)
                else:
                    sink.shutdown(socket.SHUT_WR)
            except OSError:
                self._drop(link, reset=True)
                return
        if sum(not task.done() for task in link.tasks) == 1:  # only this one is left
            self._drop(link, reset=False)

    def _drop(self, link: _Link, *, reset: bool) -> None:
        if link in self._links:
            self._links.discard(link)
            link.end(self._loop, reset=reset)

    async def _end(self) -> None:
        if self._heal is not None:
            self._heal.cancel()
        self._listen_no_more()
        self._reset()
        tasks = [task for task in asyncio.all_tasks(self._loop) if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        running: Coroutine[Any, Any, T] = run()
        return asyncio.run_coroutine_threadsafe(running, self._loop).result(CALL_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


def _close(side: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    side.close()
