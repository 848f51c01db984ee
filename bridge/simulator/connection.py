"""One connection on the wire: an asyncio transport below, the strict server side of RFC 6455 beside, the server above.

Upgrade, frames of the client, pings and the closing handshake are the business of websockets' sans-I/O
`ServerProtocol`, which fails the connection on whatever the RFC forbids. Ticks go past it: they are written to
the transport as whole frames, many at a time. No extension is offered, so nothing is ever compressed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Literal, Protocol, cast

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.simulator.sessions import Admission, Session

#: Seconds a client has to close its side after we closed ours.
LINGER_S = 1.0
#: The first byte of a pong.
PONG = bytes([0x80 | Opcode.PONG])

HangUp = Literal["close", "cut", "reset"]


class Upstairs(Protocol):
    """What a connection needs of the server it belongs to."""

    def connected(self, connection: Connection) -> None:
        """Take note of a TCP connection before any byte is read."""

    def admit(self, path: str) -> Admission:
        """Judge an upgrade request."""

    def upgraded(self, connection: Connection, admission: Admission) -> None:
        """Take note that the upgrade was answered with 101."""

    def received(self, connection: Connection, text: str) -> None:
        """Handle one text message."""

    def pinged(self, connection: Connection) -> None:
        """Take note of a ping, which is answered already."""

    def ponged(self, connection: Connection, payload: bytes) -> None:
        """Take note of a pong."""

    def writable(self, connection: Connection) -> None:
        """Go on writing to a connection whose buffer has emptied."""

    def lost(self, connection: Connection) -> None:
        """Take note that the socket is gone."""


class Connection(asyncio.Protocol):
    """Carry one client from TCP to its end. Every method runs in the loop's thread."""

    def __init__(self, upstairs: Upstairs) -> None:
        """Take the server above."""
        self._upstairs = upstairs
        self._ws = ServerProtocol(max_size=2**20)
        self._text: list[bytes] | None = None
        self._transport: asyncio.Transport
        self._linger: asyncio.TimerHandle | None = None
        self._hung_up = False
        self.session: Session | None = None
        self.paused = False
        self.frozen = False
        self.deaf = False
        self.mute_pongs = False
        #: Why the connection ends; the first reason given stays.
        self.reason = ""

    @property
    def is_open(self) -> bool:
        """Say whether data frames may be written."""
        gone = self._hung_up or self.frozen or self._transport.is_closing()
        return self._ws.state is State.OPEN and not gone

    @property
    def client_close_code(self) -> int | None:
        """The code of the client's close frame, if it sent one."""
        return int(self._ws.close_rcvd.code) if self._ws.close_rcvd else None

    @property
    def unsent_bytes(self) -> int:
        """How much waits in our buffer for the client to read."""
        return self._transport.get_write_buffer_size()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        # Whatever the kernel does not take at once asks for a pause: more would only be copied about.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._upstairs.connected(self)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Request):
                self._upgrade(event)
            elif isinstance(event, Frame) and not self._hung_up:
                self._take_frame(event)
        if self._ws.parser_exc is not None:
            self._end(f"client broke RFC 6455: {self._ws.parser_exc}")
        elif self._ws.close_rcvd is not None:
            self._end("client closed")
        self._flush()

    def eof_received(self) -> bool:
        """Take the end of the client's bytes."""
        self._end("client closed" if self._ws.close_rcvd else "client lost")
        self._ws.receive_eof()
        self._flush()
        return False

    def pause_writing(self) -> None:
        """Note that the client reads more slowly than we write."""
        self.paused = True

    def resume_writing(self) -> None:
        """Note that the buffer has emptied."""
        self.paused = False
        self._upstairs.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._end("client lost" if exc is None else f"client lost: {exc}")
        if self._linger is not None:
            self._linger.cancel()
        self._upstairs.lost(self)

    # What the server above calls.

    def send_text(self, text: str) -> None:
        """Send one text message, unless the connection is closing."""
        if self.is_open:
            self._ws.send_text(text.encode())
            self._flush()

    def write(self, frames: bytes | memoryview) -> None:
        """Write whole frames, or on demand anything at all, as they are."""
        self._transport.write(frames)

    def hang_up(self, how: HangUp, reason: str, code: int = CloseCode.NORMAL_CLOSURE, words: str = "") -> None:
        """End the connection with a close frame (and code and words), a TCP FIN without one, or a TCP RST."""
        self._end(reason)
        self._hung_up = True
        if how == "close":
            self._close(code, words)
            return
        sock: socket.socket = self._transport.get_extra_info("socket")
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            # Past TLS, which would announce the end: a cut is not announced.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        self._drop_later()

    def numb(self, *, frozen: bool, deaf: bool) -> None:
        """Neither read nor write (frozen), or not read (deaf), or go on, while the socket stays open."""
        if self._transport.is_closing():
            return
        self.frozen, self.deaf = frozen, frozen or deaf
        if self.deaf:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def abort(self, reason: str) -> None:
        """Drop the socket without ceremony."""
        self._end(reason)
        self._transport.abort()

    def _close(self, code: int, words: str) -> None:
        try:
            self._ws.send_close(code, words)
        except InvalidState:
            return
        self._flush()
        self._drop_later()

    def _upgrade(self, request: Request) -> None:
        response = self._ws.accept(request)
        admission = self._upstairs.admit(request.path) if response.status_code == 101 else None
        if admission is not None and admission.session is None:
            response = self._ws.reject(admission.status, admission.body)
            if admission.body.startswith("{"):
                del response.headers["Content-Type"]
                response.headers["Content-Type"] = "application/json"
        self._ws.send_response(response)
        self._flush()
        if admission is not None and admission.session is not None:
            self.session = admission.session
            self._upstairs.upgraded(self, admission)

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self._ws.fail(CloseCode.UNSUPPORTED_DATA, "text frames only")
            self._end("client sent a binary frame")
        elif frame.opcode is Opcode.PING:
            self._upstairs.pinged(self)
        elif frame.opcode is Opcode.PONG:
            self._upstairs.ponged(self, bytes(frame.data))
        elif frame.opcode in {Opcode.TEXT, Opcode.CONT}:
            parts = [bytes(frame.data)] if frame.opcode is Opcode.TEXT else [*(self._text or []), bytes(frame.data)]
            self._text = None if frame.fin else parts
            if frame.fin:
                self._take_text(parts)

    def _take_text(self, parts: Iterable[bytes]) -> None:
        try:
            text = b"".join(parts).decode()
        except UnicodeDecodeError:
            self._ws.fail(CloseCode.INVALID_DATA, "not UTF-8")
            self._end("client sent text that is not UTF-8")
        else:
            self._upstairs.received(self, text)

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if self.mute_pongs and data[:1] == PONG:
                continue
            if data != SEND_EOF:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
                self._drop_later()
            else:
                self._transport.close()

    def _drop_later(self) -> None:
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason
