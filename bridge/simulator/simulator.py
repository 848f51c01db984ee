"""The simulator as tests and the command line hold it: a thread with the server in it, and the ways to reach it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from bridge.simulator.codes import PATHS
from bridge.simulator.config import SimulatorConfig
from bridge.simulator.faults import Faults
from bridge.simulator.record import Record
from bridge.simulator.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.facts import RequestRecord
    from bridge.simulator.protocol import Tick
    from bridge.simulator.switches import Switches

T = TypeVar("T")

#: Seconds that anything asked of the loop may take before it counts as hung.
CALL_S = 10.0


class Simulator:
    """A strict AllTick server in a thread of its own; a context manager.

    `switches` changes its behaviour, `faults` does things once, `record` says what happened; all three may be
    used from any thread. A stopped simulator may be started again: it takes the same port, market and record.
    """

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        """Take the configuration, of whose switches a copy is made."""
        self.config = config or SimulatorConfig()
        self.switches: Switches = self.config.switches.copy()
        self.record = Record(self.config.sent_seqs_max)
        self._server = Server(self.config, self.switches, self.record)
        self.faults = Faults(self._server, self.switches, self.record, self._call)
        self._port = self.config.port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> Self:
        """Listen; return when connections are accepted.

        Raises OSError when the port cannot be had or the certificate not be read, RuntimeError when started.
        """
        if self._thread is not None:
            raise RuntimeError("the simulator is started already; stop it first")
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="tickbridge-simulator", daemon=True)
        self._thread.start()
        try:
            self._port = asyncio.run_coroutine_threadsafe(self._server.listen(self._port), loop).result(CALL_S)
        except BaseException:
            self._end()
            raise
        self.switches.on_change(lambda: self._call(self._server.adapt))
        return self

    def stop(self) -> None:
        """Close every connection with code 1001 and stop listening; do nothing when stopped."""
        if self._loop is None:
            return
        self.switches.on_change(None)
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(CALL_S)
        self._end()

    @property
    def port(self) -> int:
        """The port listened on; 0 before the first start if none was given."""
        return self._port

    def url(self, market: Literal["stock", "other"] = "stock") -> str:
        """Return the URL of an endpoint, without the token."""
        scheme = "wss" if self.config.cert else "ws"
        path = next(path for path, endpoint in PATHS.items() if endpoint == market)
        return f"{scheme}://{self.config.host}:{self._port}{path}"

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes known so far: those listed from the start, others once they were asked for."""
        return self._server.market.codes

    def last_seq(self, code: str) -> int:
        """Return how many ticks of a code have happened, sent or not (not in flood mode)."""
        return self._server.market.last_seq(code)

    def tick_now(self, code: str, **changes: object) -> Tick:
        """Let one tick happen now and write it to whoever listens; `changes` override its fields.

        The fields are those of `Tick`: price, volume and turnover as strings, seq, tick_time (ms) and
        trade_direction as integers. Return the tick. Raises ValueError in flood mode.
        """
        return self.faults.tick(code, **changes)

    def requests(self, cmd_id: int | None = None, connection: int | None = None) -> list[RequestRecord]:
        """List requests, oldest first; heartbeats only when asked for by their cmd_id."""
        return self.record.requests(cmd_id, connection)

    def sent(self, code: str, connection: int | None = None) -> list[int]:
        """Return the seqs of a code that were written to sockets, in order."""
        return self.record.sent(code, connection)

    @property
    def sent_total(self) -> int:
        """How many ticks were written to sockets, duplicates included."""
        return self.record.sent_total

    def wait_for(self, condition: Callable[[Record], T | None], timeout: float = 5.0, what: str = "") -> T:
        """Block until `condition(record)` is true and return its value; TimeoutError after `timeout` seconds."""
        return self.record.wait_for(condition, timeout, what)

    def wait_until_subscribed(self, *codes: str, timeout: float = 5.0) -> None:
        """Block until the lists in force hold exactly these codes; TimeoutError says which they hold."""
        wanted = frozenset(codes)
        try:
            self.wait_for(lambda record: record.subscribed == wanted, timeout)
        except TimeoutError as exc:
            found = ", ".join(sorted(self.record.subscribed)[:10]) or "nothing"
            raise TimeoutError(f"{', '.join(codes)} awaited, but subscribed is {found}; {exc}") from None

    def _call(self, function: Callable[[], T]) -> T:
        if self._loop is None:
            raise RuntimeError("the simulator is not started")
        if threading.current_thread() is self._thread:
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_S)

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _end(self) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_S)
        self._loop = self._thread = None
