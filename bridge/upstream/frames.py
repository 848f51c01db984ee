"""WebSocket frames from bytes, client side (RFC 6455 section 5), many at a time.

websocket-client makes the connection and writes; its reader takes one frame at a time and tops out far below what a
busy venue sends, so inbound bytes are decoded here, in bulk. Bytes in, messages out: no socket, no clock.

A message larger than the limit is skipped as it streams by, never stored: the connection stays. Anything that breaks
the WebSocket protocol ends the reading with an error that carries the right close code; what came before it is kept.
After an error or a close frame nothing more is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from bridge.errors import RemoteProtocolError


class Opcode(IntEnum):
    """What a frame carries (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
NO_STATUS = 1005

_FINAL_TEXT = 0x80 | Opcode.TEXT


@dataclass(slots=True)
class Inbound:
    """What one piece of bytes completed: text messages in order, and everything else by kind."""

    texts: list[bytes] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    pongs: int = 0
    binaries: int = 0
    oversized: int = 0
    closed: tuple[int, str] | None = None
    error: RemoteProtocolError | None = None


class FrameReader:
    """Collects bytes and gives back the messages they complete.

    ``max_message`` bounds in bytes what is ever stored of one message.
    """

    def __init__(self, max_message: int) -> None:
        self._max = max_message
        self._rest = bytearray()
        self._need = 2  # bytes that `_rest` must hold before looking at it again is worth while
        self._skip = 0  # payload bytes of an oversized frame still to pass by
        self._opcode: Opcode | None = None  # of the fragmented message under way
        self._parts = bytearray()
        self._discard = False  # the fragmented message under way is oversized
        self._over = False  # after a close frame or an error nothing means anything (RFC 6455 section 5.5.1)

    def feed(self, data: bytes) -> Inbound:
        """Decode ``data`` after what is left of earlier bytes."""
        got = Inbound()
        if self._over:
            return got
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            data = data[passed:]
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return got
            data = bytes(self._rest)
            self._rest.clear()
        try:
            used = self._frames(data, got)
        except RemoteProtocolError as error:
            got.error = error
        else:
            self._rest += data[used:]
        self._check_utf8(got)
        self._over = got.error is not None or got.closed is not None
        return got

    def _frames(self, data: bytes, got: Inbound) -> int:
        """Take whole frames from the head of ``data``; return how many bytes they were."""
        append = got.texts.append
        plain = self._opcode is None
        end = len(data)
        at = 0
        while end - at >= 2:
            length = data[at + 1]
            if data[at] == _FINAL_TEXT and plain and length < 127:  # the frame that a tick comes in
                if length == 126:
                    if end - at < 4:
                        break
                    length = data[at + 2] << 8 | data[at + 3]
                    start = at + 4
                else:
                    start = at + 2
                stop = start + length
                if length > self._max or stop > end:
                    # Rare, so the general road finds out which of the two it is.
                    stop = self._frame(data, at, got)
                else:
                    append(data[start:stop])
            else:
                stop = self._frame(data, at, got)
                plain = self._opcode is None
            if stop < 0:
                return at
            at = stop
            if got.closed is not None or self._skip:
                return at
        self._need = 2
        return at

    def _frame(self, data: bytes, at: int, got: Inbound) -> int:
        """Take one frame of any kind; return where the next one starts, or -1 if it is not whole yet."""
        head, size = data[at], data[at + 1]
        if head & 0x70:
            raise RemoteProtocolError(PROTOCOL_ERROR, "a reserved bit is set and no extension was agreed")
        if size & 0x80:
            raise RemoteProtocolError(PROTOCOL_ERROR, "the venue masked a frame")
        try:
            opcode = Opcode(head & 0x0F)
        except ValueError:
            raise RemoteProtocolError(PROTOCOL_ERROR, f"opcode {head & 0x0F:#x} is reserved") from None
        final = bool(head & 0x80)
        start, length = at + 2, size
        if opcode >= Opcode.CLOSE and (not final or size > 125):
            raise RemoteProtocolError(PROTOCOL_ERROR, "a control frame is fragmented or longer than 125 bytes")
        if size >= 126:
            start += 2 if size == 126 else 8
            if len(data) < start:
                self._need = start - at
                return -1
            length = int.from_bytes(data[at + 2 : start])
            if length >> 63:
                raise RemoteProtocolError(PROTOCOL_ERROR, "a length of more than 63 bits")
        return self._payload(opcode, final, data, (at, start, start + length), got)

    def _payload(self, opcode: Opcode, final: bool, data: bytes, span: tuple[int, int, int], got: Inbound) -> int:
        """Take the payload of a frame whose head is known; ``span`` is where head, payload and next frame start."""
        at, start, stop = span
        if opcode >= Opcode.CLOSE:
            if stop > len(data):
                self._need = stop - at
                return -1
            self._control(opcode, data[start:stop], got)
            return stop
        self._check_fragment(opcode)
        if self._discard or len(self._parts) + stop - start > self._max:
            return self._pass_by(opcode, final, stop, len(data), got)
        if stop > len(data):
            self._need = stop - at
            return -1
        kind = opcode if self._opcode is None else self._opcode
        self._parts += data[start:stop]
        self._opcode = None if final else kind
        if final:
            self._deliver(kind, got)
        return stop

    def _check_fragment(self, opcode: Opcode) -> None:
        if opcode is Opcode.CONTINUATION and self._opcode is None:
            raise RemoteProtocolError(PROTOCOL_ERROR, "a continuation frame continues nothing")
        if opcode is not Opcode.CONTINUATION and self._opcode is not None:
            raise RemoteProtocolError(PROTOCOL_ERROR, "a new message starts inside a fragmented one")

    def _pass_by(self, opcode: Opcode, final: bool, stop: int, end: int, got: Inbound) -> int:
        """Skip a frame of a message that is too large, without storing it."""
        self._parts.clear()
        self._discard = not final
        self._opcode = None if final else (self._opcode or opcode)
        if final:
            got.oversized += 1
        self._skip = max(0, stop - end)
        return min(stop, end)

    def _deliver(self, kind: Opcode, got: Inbound) -> None:
        if kind is Opcode.TEXT:
            got.texts.append(bytes(self._parts))
        else:
            got.binaries += 1
        self._parts.clear()

    def _control(self, opcode: Opcode, payload: bytes, got: Inbound) -> None:
        if opcode is Opcode.PING:
            got.pings.append(payload)
        elif opcode is Opcode.PONG:
            got.pongs += 1
        else:
            got.closed = _close_reason(payload)

    @staticmethod
    def _check_utf8(got: Inbound) -> None:
        """Refuse text that is no UTF-8 (RFC 6455 section 8.1); one look suffices while all of it is ASCII."""
        if b"".join(got.texts).isascii():
            return
        for index, text in enumerate(got.texts):
            try:
                text.decode()
            except UnicodeDecodeError:
                del got.texts[index:]
                got.error = RemoteProtocolError(INVALID_DATA, "a text message is not UTF-8")
                return


def _close_reason(payload: bytes) -> tuple[int, str]:
    """Read a close frame's code and reason (RFC 6455 section 5.5.1)."""
    if not payload:
        return NO_STATUS, ""
    code = int.from_bytes(payload[:2])
    if len(payload) == 1 or not (1000 <= code <= 4999) or code in (1004, 1005, 1006, 1015):
        raise RemoteProtocolError(PROTOCOL_ERROR, "a close frame carries no valid code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError(INVALID_DATA, "a close frame's reason is not UTF-8") from None
