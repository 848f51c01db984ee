"""Flood mode: as many ticks as a client can read, for next to no CPU; for benchmarks, in a process of its own.

One template holds ten rounds over all codes as finished frames, with markers of fixed width where the cycle's
digits of `seq` and the time stand. Per cycle two `bytes.replace` make it ready: `seq` is the cycle's nine digits
and the round's one, so it stays contiguous per code, and no frame is ever encoded again. Writes are whole
frames in large pieces and wait for the client, so memory never grows.

Prices repeat every ten ticks. A new list takes effect when the cycle being written is complete. Of the faults,
those that stop ticks or end connections work here; those that bend single ticks do not.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING

from bridge.simulator.market import Walk
from bridge.simulator.protocol import PLAIN, Style, encode_tick, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.simulator.connection import Connection
    from bridge.simulator.protocol import Tick
    from bridge.simulator.record import Record
    from bridge.simulator.switches import Switches

ROUNDS = 10
#: The first cycle: nine digits from the first to the last, so that frames never change their length.
FIRST_CYCLE = 10**8
#: Bytes per write: large enough that system calls cost nothing, small enough to answer heartbeats in between.
PIECE = 256 * 1024
#: Writes in a row before other business of the loop has its turn.
BURST = 8
#: Seconds between two turns of a paced flood.
PACED_TURN_S = 0.005

# Digits in the template that no real frame contains at these places: they are replaced before anything is sent.
_CYCLE_MARK = "@" * 9
_TIME_MARK = "#" * 13


class FloodStream:
    """The frames of one list, piece by piece. Pure."""

    def __init__(self, codes: tuple[str, ...], seed: int, first_cycle: int, style: Style = PLAIN) -> None:
        """Build the template; `first_cycle` continues an earlier stream's `next_cycle`."""
        self.codes = codes
        self.next_cycle = first_cycle
        self.sent = 0
        self.ending = False
        self._index = {code: number for number, code in enumerate(codes)}
        frames = [_marked(tick, style) for tick in _rounds(codes, seed)]
        self._template = b"".join(frames)
        # Short lists: several cycles are made ready together, so that a piece is always worth a system call.
        self._cycles = max(1, PIECE // len(self._template))
        lengths = [len(frame) for frame in frames] * self._cycles
        self._ends = [0, *itertools.accumulate(lengths)]
        self._ready = memoryview(b"")
        self._taken = len(lengths)

    def take(self, most: int, tick_time: int) -> tuple[memoryview, int]:
        """Return up to `most` frames, at most a piece of them, and their number; none when it has ended."""
        if self._taken == len(self._ends) - 1:
            if self.ending:
                return memoryview(b""), 0
            self._make_ready(tick_time)
        start = self._ends[self._taken]
        last = bisect_right(self._ends, start + PIECE) - 1
        last = min(max(last, self._taken + 1), self._taken + most)
        count = last - self._taken
        self._taken = last
        self.sent += count
        return self._ready[start : self._ends[last]], count

    def sent_of(self, code: str) -> int:
        """Return how many frames of a code were taken."""
        rounds, rest = divmod(self.sent, len(self.codes))
        return rounds + (self._index[code] < rest) if code in self._index else 0

    def forget(self) -> None:
        """Let go of the frames; what was sent is remembered."""
        self._template, self._ready = b"", memoryview(b"")
        self._ends, self._taken, self.ending = [0], 0, True

    def _make_ready(self, tick_time: int) -> None:
        timed = self._template.replace(_TIME_MARK.encode(), b"%013d" % tick_time)
        cycles = range(self.next_cycle, self.next_cycle + self._cycles)
        mark = _CYCLE_MARK.encode()
        self._ready = memoryview(b"".join([timed.replace(mark, b"%09d" % cycle) for cycle in cycles]))
        self.next_cycle += self._cycles
        self._taken = 0


def _rounds(codes: tuple[str, ...], seed: int) -> Iterable[Tick]:
    walks = [Walk(seed, code) for code in codes]
    for number in range(ROUNDS):
        for walk in walks:
            yield walk.tick(0)._replace(seq=10**9 + number)


def _marked(tick: Tick, style: Style) -> bytes:
    """Encode a tick with marks of the right width in place of its time and the head of its seq."""
    seq, time = str(tick.seq), 10**12
    sound = encode_tick(tick._replace(tick_time=time * style.divisor), style).decode()
    quote = style.id_quote
    sound = sound.replace(f'"seq":{quote}{seq}', f'"seq":{quote}{_CYCLE_MARK}{seq[-1]}')
    return text_frame(sound.replace(f'"tick_time":{quote}{time}', f'"tick_time":{quote}{_TIME_MARK}').encode())


class FloodFeed:
    """Write streams to the connections that have a list. Runs in the loop's thread."""

    def __init__(
        self, record: Record, switches: Switches, clock: Callable[[], float], *, seed: int, total: int | None
    ) -> None:
        """Take the collaborators; `total` bounds the ticks over all connections, None = endless."""
        self._record = record
        self._switches = switches
        self._clock = clock
        self._seed = seed
        self._left = total
        self._connections: set[Connection] = set()
        self._streams: dict[Connection, FloodStream] = {}
        self._turns: dict[Connection, asyncio.Handle] = {}
        #: When pacing began on a connection, and the ticks written since.
        self._paced: dict[Connection, tuple[float, int]] = {}
        self._next_cycle = FIRST_CYCLE

    def reschedule(self) -> None:
        """Begin, or adapt to changed switches."""
        self._paced.clear()
        for connection in self._connections:
            self.writable(connection)

    def stop(self) -> None:
        """Write no more."""
        for turn in self._turns.values():
            turn.cancel()
        self._turns.clear()

    def listen(self, connections: Iterable[Connection]) -> None:
        """Follow changed lists and connections."""
        self._connections = set(connections)
        for gone in self._streams.keys() - self._connections:
            self._drop(gone)
        for connection in self._connections:
            stream = self._streams.get(connection)
            if stream is not None:
                stream.ending = stream.codes != _codes(connection)
            self.writable(connection)

    def deliver(self, ticks: list[Tick]) -> None:
        """Refuse single ticks: they would break the contiguous `seq`."""
        raise ValueError(f"flood mode sends no single ticks ({len(ticks)} asked for); run without flood")

    def writable(self, connection: Connection) -> None:
        """Have a connection written to soon."""
        if connection not in self._turns:
            self._turns[connection] = asyncio.get_running_loop().call_soon(self._take_turn, connection)

    def _take_turn(self, connection: Connection) -> None:
        self._turns.pop(connection, None)
        if self._switches.mute or self._switches.half_open:
            return
        most = None
        for _ in range(BURST):
            if connection.paused or not connection.is_open or not (stream := self._stream(connection)):
                return
            # Asked once per turn, and not before there is a stream: making one takes time that is not to be made up.
            most = self._allowed(connection) if most is None else most
            if most <= 0:
                later = asyncio.get_running_loop().call_later(PACED_TURN_S, self._take_turn, connection)
                self._turns[connection] = later
                return
            most -= self._write(connection, stream, most)
        self.writable(connection)

    def _stream(self, connection: Connection) -> FloodStream | None:
        if self._left == 0:
            return None
        stream, codes = self._streams.get(connection), _codes(connection)
        if stream is None and codes:
            stream = FloodStream(codes, self._seed, self._next_cycle, Style.of(self._switches))
            self._streams[connection] = stream
            self._record.flooding(stream)
        return stream

    def _allowed(self, connection: Connection) -> int:
        """Return how many ticks may be written now, by total and pace."""
        rate, now = self._switches.flood_rate, asyncio.get_running_loop().time()
        most = 2**31 if self._left is None else self._left
        if not rate:
            return most
        began, written = self._paced.setdefault(connection, (now, 0))
        return min(most, int((now - began) * rate) - written)

    def _write(self, connection: Connection, stream: FloodStream, most: int) -> int:
        piece, count = stream.take(most, int(self._clock() * 1000))
        if not count:
            self._drop(connection)
            return 0
        if self._left is not None:
            self._left -= count
        if connection in self._paced:
            began, written = self._paced[connection]
            self._paced[connection] = (began, written + count)
        session = connection.session
        assert session is not None  # noqa: S101 (for the type checker: only sessions have streams)
        self._record.flooded(session.id, count)
        connection.write(piece)
        return count

    def _drop(self, connection: Connection) -> None:
        stream = self._streams.pop(connection)
        self._next_cycle = max(self._next_cycle, stream.next_cycle)
        self._paced.pop(connection, None)
        stream.forget()


def _codes(connection: Connection) -> tuple[str, ...]:
    return connection.session.ticks if connection.session is not None else ()
