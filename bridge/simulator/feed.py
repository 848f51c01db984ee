"""The feed: ticks happen at a rate and are written to whoever listens, bent by the switches.

Each tick is encoded once. Per connection and turn there is one write. A connection that does not read has its
ticks withheld once its buffer is full: memory stays bounded, and the record says how many.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import TYPE_CHECKING

from bridge.simulator.protocol import Tick, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.simulator.connection import Connection
    from bridge.simulator.market import Market
    from bridge.simulator.record import Record
    from bridge.simulator.switches import Switches
    from bridge.simulator.ticklog import Fate

#: Seconds between two turns at high rates; each turn writes what is due.
TURN_S = 0.005
#: Seconds of ticks that one turn may catch up with after the loop was held up.
CATCH_UP_S = 0.25

Written = tuple[str, int, bytes]


class Feed:
    """Let ticks happen and deliver them. Runs in the loop's thread."""

    def __init__(
        self,
        market: Market,
        record: Record,
        switches: Switches,
        clock: Callable[[], float],
        *,
        seed: int,
        buffer_bytes: int,
        speech: Callable[[Switches], Callable[[Tick], bytes]],
    ) -> None:
        """Take the collaborators; `clock` gives Unix seconds, `buffer_bytes` bounds what waits per connection.

        `speech` gives what writes a tick under the switches of the moment.
        """
        self._speech = speech
        self._market = market
        self._record = record
        self._switches = switches
        self._clock = clock
        self._buffer_bytes = buffer_bytes
        self._dice = random.Random(seed)
        self._listeners: dict[str, list[Connection]] = {}
        #: Codes that somebody once asked for: of the others nobody can miss a tick.
        self._asked: set[str] = set()
        #: Ticks held back for reordering: (connection, code) to what was not written.
        self._held: dict[tuple[Connection, str], Written] = {}
        self._turn: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._credit = 0.0

    def reschedule(self) -> None:
        """Begin, or adapt to changed switches."""
        self.stop()
        if not self._switches.reordered:
            self._release()
        self._last = asyncio.get_running_loop().time()
        self._schedule()

    def stop(self) -> None:
        """Let no more ticks happen by themselves."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def listen(self, connections: Iterable[Connection]) -> None:
        """Learn anew who listens to what, after any list or connection changed."""
        listeners: dict[str, list[Connection]] = defaultdict(list)
        for connection in connections:
            session = connection.session
            if session is not None:
                for code in session.ticks:
                    self._market.learn(code)
                    listeners[code].append(connection)
                for code in session.late:
                    listeners[code].append(connection)
        self._listeners = dict(listeners)
        self._asked |= listeners.keys()
        heard = {(connection, code) for code, some in listeners.items() for connection in some}
        gone = [tick for place, tick in self._held.items() if place not in heard]
        self._unsent(gone, "withheld")
        self._held = {place: tick for place, tick in self._held.items() if place in heard}

    def tick_time(self) -> int:
        """Return the venue's time in milliseconds."""
        return int(self._clock() * 1000)

    def deliver(self, ticks: list[Tick]) -> None:
        """Write ticks that have happened to their listeners."""
        switches, now = self._switches, self._clock()
        encode = self._speech(switches)
        batches: dict[Connection, list[Written]] = defaultdict(list)
        unsent: dict[Fate, list[Written]] = {"absent": [], "withheld": []}
        for tick in ticks:
            if tick.code not in self._asked:
                continue
            listeners = self._listeners.get(tick.code, ())
            numb = switches.mute or switches.half_open
            hearing = () if numb else [one for one in listeners if _hears(one, tick.code, now)]
            written = (tick.code, tick.seq, text_frame(encode(tick)) if hearing else b"")
            for connection in hearing:
                batches[connection].append(written)
            if not hearing:
                kept_back = switches.mute or any(_silenced(one, now) for one in listeners)
                unsent["withheld" if kept_back else "absent"].append(written)
        for fate, missed in unsent.items():
            self._unsent(missed, fate)
        for connection, batch in batches.items():
            self._write(connection, self._bent(connection, batch))

    def writable(self, connection: Connection) -> None:
        """Nothing to do: whatever could not be written was withheld."""

    def _schedule(self) -> None:
        rate = self._switches.rate
        if rate > 0:
            delay = max(TURN_S, (1 - self._credit) / rate)
            self._turn = asyncio.get_running_loop().call_later(delay, self._take_turn)

    def _take_turn(self) -> None:
        rate, now = self._switches.rate, asyncio.get_running_loop().time()
        self._credit = min(self._credit + (now - self._last) * rate, max(1.0, rate * CATCH_UP_S))
        self._last = now
        due = int(self._credit)
        self._credit -= due
        self.deliver(self._market.ticks(due, self.tick_time(), self._switches.silent))
        self._schedule()

    def _bent(self, connection: Connection, batch: list[Written]) -> list[Written]:
        duplicates, reordered = self._switches.duplicates, self._switches.reordered
        if not duplicates and not reordered:
            return batch
        bent: list[Written] = []
        for written in batch:
            place = (connection, written[0])
            held = self._held.pop(place, None)
            if held is None and self._dice.random() < reordered:
                self._held[place] = written
                continue
            bent.append(written)
            if self._dice.random() < duplicates:
                bent.append(written)
            if held is not None:
                bent.append(held)
        return bent

    def _release(self) -> None:
        held, self._held = self._held, {}
        for (connection, _), written in held.items():
            self._write(connection, [written])

    def _write(self, connection: Connection, batch: list[Written]) -> None:
        session = connection.session
        if session is None or not batch:
            return
        if not connection.is_open:
            self._unsent(batch, "absent")
            return
        if connection.unsent_bytes > self._buffer_bytes:
            self._record.withheld(session.id, len(batch))
            self._unsent(batch, "withheld")
            return
        # Noted first, so that no client ever holds a tick that the record does not know.
        self._record.wrote(session.id, [(code, seq) for code, seq, _ in batch], self._clock())
        connection.write(b"".join([frame for _, _, frame in batch]))

    def _unsent(self, batch: list[Written], fate: Fate) -> None:
        if batch:
            self._record.unsent([(code, seq) for code, seq, _ in batch], self._clock(), fate)


def _hears(connection: Connection, code: str, now: float) -> bool:
    session = connection.session
    return session is not None and not _silenced(connection, now) and session.late.get(code, now) >= now


def _silenced(connection: Connection, now: float) -> bool:
    return connection.session is not None and now < connection.session.silent_until
