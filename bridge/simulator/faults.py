"""Acts of the venue on demand: what happens once, now. Lasting behaviour is in `switches`.

Every act is done in the simulator's loop and has happened when the method returns. `connection` picks one open
connection by its number in the record; None means all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.exceptions import ProtocolError
from websockets.frames import Close, Frame, Opcode

from bridge.simulator import rubbish
from bridge.simulator.facts import Sent
from bridge.simulator.protocol import Tick

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.connection import Connection, HangUp
    from bridge.simulator.record import Record
    from bridge.simulator.server import Server
    from bridge.simulator.switches import Switches

#: The acts that `perform` knows, as they are written on the command line.
ACTS = {
    "close[:CODE[:REASON]]": "close frame (1000 unless given), then TCP FIN",
    "cut": "TCP FIN without a close frame",
    "reset": "TCP RST",
    "answer:RET": "the next request is refused with RET",
    "rubbish:NAME": "one piece of rubbish, see below",
    "raw:HEX": "bytes as they are, past the WebSocket layer",
    "tick:CODE[:FIELD=VALUE,...]": "one tick now, fields overridden (price, volume, seq, tick_time, ...)",
}


#: The fields of a tick that are whole numbers.
_WHOLE = frozenset({"seq", "tick_time", "trade_direction"})


class Faults:
    """Do things to open connections, from any thread."""

    __slots__ = ("_call", "_record", "_server", "_switches")

    def __init__(
        self, server: Server, switches: Switches, record: Record, call: Callable[[Callable[[], object]], object]
    ) -> None:
        """Take the server, and `call`, which runs a function in the loop and returns when it has run."""
        self._server = server
        self._switches = switches
        self._record = record
        self._call = call

    def reset(self, connection: int | None = None) -> None:
        """End connections with a TCP RST."""
        self._hang_up("reset", connection)

    def cut(self, connection: int | None = None) -> None:
        """End connections with a TCP FIN and no close frame."""
        self._hang_up("cut", connection)

    def close(self, code: int = 1000, reason: str = "", connection: int | None = None) -> None:
        """End connections with a close frame.

        Raises ValueError when a close frame cannot carry the code or the reason (RFC 6455 section 7.4).
        """
        try:
            Frame(Opcode.CLOSE, Close(code, reason).serialize()).check()
        except ProtocolError as exc:
            raise ValueError(f"a close frame cannot carry code {code} with {reason!r}: {exc}") from exc
        self._hang_up("close", connection, code, reason)

    def answer_next(self, ret: int, *, uncorrelated: bool = False) -> None:
        """Refuse the next request (heartbeats apart) with `ret`; uncorrelated = cmd_id 0, seq_id 0, no trace."""
        self._switches.update(next_ret=ret, next_ret_uncorrelated=uncorrelated)

    def send_rubbish(self, name: str, connection: int | None = None) -> None:
        """Send one piece of rubbish by name; `rubbish.catalogue()` lists them.

        Raises ValueError when there is no such rubbish.
        """
        if name not in rubbish.MAKERS:
            raise ValueError(f"there is no rubbish {name!r}; there is {', '.join(rubbish.MAKERS)}")
        self._each(connection, lambda one: self._send_rubbish(one, name))

    def send_raw(self, data: bytes, connection: int | None = None) -> None:
        """Write bytes past the WebSocket layer."""
        self._each(connection, lambda one: self._send_bytes(one, "raw", [data]))

    def tick(self, code: str, **changes: object) -> Tick:
        """Let one tick of a code happen now; `changes` override its fields. Return it as it was sent.

        Raises ValueError when a tick has no such field, or in flood mode.
        """
        if not changes.keys() <= set(Tick._fields):
            raise ValueError(f"a tick has the fields {', '.join(Tick._fields)}; asked for {', '.join(changes)}")
        made: list[Tick] = []
        self._call(lambda: made.append(self._server.tick(code, changes)))
        return made[0]

    def perform(self, act: str) -> None:
        """Do an act written as on the command line, such as `close:1001` or `rubbish:binary` (see `ACTS`).

        Raises ValueError naming the acts when this is none.
        """
        verb, _, rest = act.partition(":")
        match verb, rest:
            case ("cut", ""):
                self.cut()
            case ("reset", ""):
                self.reset()
            case ("close", _):
                code, _, reason = rest.partition(":")
                self.close(_number(code or "1000", act), reason)
            case ("answer", _):
                self.answer_next(_number(rest, act))
            case ("rubbish", _):
                self.send_rubbish(rest)
            case ("raw", _):
                self.send_raw(bytes.fromhex(rest))
            case ("tick", _) if rest:
                code, _, fields = rest.partition(":")
                self.tick(code, **_fields(fields, act))
            case _:
                raise ValueError(f"there is no act {act!r}; the acts are {', '.join(ACTS)}")

    def _hang_up(self, how: HangUp, connection: int | None, code: int = 1000, words: str = "") -> None:
        self._each(connection, lambda one: one.hang_up(how, f"fault: {how}", code, words))

    def _each(self, number: int | None, act: Callable[[Connection], None]) -> None:
        def on_each() -> None:
            for connection in self._server.upgraded_connections(number):
                act(connection)

        self._call(on_each)

    def _send_rubbish(self, connection: Connection, name: str) -> None:
        session = connection.session
        if session is None or not connection.is_open:
            return
        tick = self._server.next_tick(session.ticks[0] if session.ticks else "700.HK")
        if name in rubbish.SOUND and session.ticks:
            self._record.wrote(session.id, [(tick.code, tick.seq)], self._server.clock())
        self._send_bytes(connection, name, rubbish.make(name, tick))

    def _send_bytes(self, connection: Connection, name: str, writes: list[bytes]) -> None:
        if connection.session is not None:
            self._record.note(Sent(self._server.clock(), connection.session.id, name))
            for data in writes:
                connection.write(data)


def _fields(text: str, act: str) -> dict[str, object]:
    pairs = [pair.partition("=")[::2] for pair in text.split(",") if pair]
    return {name: _number(value, act) if name in _WHOLE else value for name, value in pairs}


def _number(text: str, act: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} in {act!r} is not a whole number")
    return int(text)
