"""The messages: bytes of a request in, text of an answer or a push out. Pure.

Sources: docs/alltick.md 2.1 (envelope), 2.2 (ids), 2.3 to 2.7 (messages), 5.1 (tick fields), 6 (ret values);
RFC 6455 section 5.2 for the server's own frames, which are never masked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.switches import Switches

HEARTBEAT, DEPTH, TICKS, CANCEL = 22000, 22002, 22004, 22006
PUSH_TICK = 22998
REQUESTS = frozenset({HEARTBEAT, DEPTH, TICKS, CANCEL})

OK = 200
BAD_REQUEST = 400
UNKNOWN_REQUEST = 402
INVALID_CODE = 600
TOO_MANY_CODES = 603
UNAUTHORISED_CODE = 604
TOO_FAST = 605
TOO_FAST_CLOSING = 606

_MESSAGES = {
    OK: "ok",
    BAD_REQUEST: "request header param invalid",
    401: "token invalid",
    UNKNOWN_REQUEST: "query invalid",
    429: "rate limit",
    INVALID_CODE: "code invalid",
    601: "body empty",
    TOO_MANY_CODES: "too many products for the plan",
    UNAUTHORISED_CODE: "code unauthorized",
    TOO_FAST: "too many requests",
    TOO_FAST_CLOSING: "too many requests, connection will be closed",
}

_UINT32_MAX = 2**32 - 1
_TRACE_MAX = 64


@dataclass(frozen=True, slots=True)
class Request:
    """One request as read. `error` is 0 for a well-formed envelope, else the ret that answers it.

    What could not be read stands as `cmd_id` 0, `seq_id` 0, `trace` "".
    """

    cmd_id: int = 0
    seq_id: int = 0
    trace: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    error: int = 0


def parse_request(text: str) -> Request:
    """Read a request strictly: all four envelope fields, of their types and within their bounds."""
    try:
        message = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return Request(error=BAD_REQUEST)
    if not isinstance(message, dict):
        return Request(error=BAD_REQUEST)
    good = {name: message[name] for name, is_good in _ENVELOPE.items() if is_good(message.get(name))}
    if len(good) < len(_ENVELOPE):
        return Request(**good, error=BAD_REQUEST)
    return Request(**good, error=0 if good["cmd_id"] in REQUESTS else UNKNOWN_REQUEST)


def is_uint32(value: object) -> bool:
    """Say whether a JSON value is a whole number of 32 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _UINT32_MAX


def _is_trace(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _TRACE_MAX


_ENVELOPE: dict[str, Callable[[object], bool]] = {
    "cmd_id": is_uint32,
    "seq_id": is_uint32,
    "trace": _is_trace,
    "data": lambda value: isinstance(value, dict),
}


def read_codes(data: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the codes of a `symbol_list`, in order and once each; None when it is malformed."""
    entries = data.get("symbol_list")
    if not isinstance(entries, list):
        return None
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("code"), str):
            return None
        if "depth_level" in entry and not is_uint32(entry["depth_level"]):
            return None
    return tuple(dict.fromkeys(entry["code"] for entry in entries))


def words(ret: int) -> str:
    """Say in words what a ret means."""
    return _MESSAGES.get(ret, "error")


def encode_answer(request: Request, ret: int, *, correlated: bool = True, seq_id_off: int = 0) -> str:
    """Write the answer to a request; uncorrelated it carries cmd_id 0, seq_id 0 and an empty trace."""
    known = correlated and request.cmd_id in REQUESTS
    answer = {
        "ret": ret,
        "msg": words(ret),
        "cmd_id": request.cmd_id + 1 if known else 0,
        "seq_id": request.seq_id + seq_id_off if correlated else 0,
        "trace": request.trace if correlated else "",
        "data": {},
    }
    return msgspec.json.encode(answer).decode()


class Tick(NamedTuple):
    """One tick as the venue knows it. `tick_time` in milliseconds; prices and sizes as decimal strings."""

    code: str
    seq: int
    tick_time: int
    price: str
    volume: str
    turnover: str
    trade_direction: int


class Style(NamedTuple):
    """How ticks are spelt: the quote around ids and around decimals, and the divisor of `tick_time`."""

    id_quote: str = '"'
    decimal_quote: str = '"'
    divisor: int = 1

    @classmethod
    def of(cls, switches: Switches) -> Style:
        """Read the spelling from the switches `integers`, `numbers` and `seconds`."""
        return cls("" if switches.integers else '"', "" if switches.numbers else '"', 1000 if switches.seconds else 1)


PLAIN = Style()


def encode_tick(tick: Tick, style: Style = PLAIN) -> bytes:
    """Write the push of one tick (22998)."""
    code, seq, tick_time, price, volume, turnover, direction = tick
    i, d, divisor = style
    return (
        f'{{"cmd_id":22998,"data":{{"code":"{code}","seq":{i}{seq}{i},"tick_time":{i}{tick_time // divisor}{i},'
        f'"price":{d}{price}{d},"volume":{d}{volume}{d},"turnover":{d}{turnover}{d},'
        f'"trade_direction":{direction}}}}}'
    ).encode()


def text_frame(payload: bytes) -> bytes:
    """Wrap a payload into one unfragmented text frame."""
    return frame(0x81, payload)


def frame(first_byte: int, payload: bytes) -> bytes:
    """Wrap a payload into a frame with any first byte (FIN, reserved bits, opcode): sound or not."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first_byte, length) + payload
    if length < 65536:
        return struct.pack("!BBH", first_byte, 126, length) + payload
    return struct.pack("!BBQ", first_byte, 127, length) + payload
