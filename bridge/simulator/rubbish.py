"""Rubbish by name: everything a venue or a middlebox might send and a client must survive. Pure.

A maker takes a good tick that has just happened and returns the writes to make, one after the other. Those in
`SOUND` deliver that tick intact, only in an unusual way: it counts as sent. RFC 6455 sections are named where a
frame breaks one; a client must then fail the connection.
"""

from __future__ import annotations

import inspect
import struct
from typing import TYPE_CHECKING, Any

from bridge.simulator.protocol import Tick, encode_tick, frame, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[Tick], list[bytes]]

TEXT, BINARY, CONTINUATION, PING = 0x1, 0x2, 0x0, 0x9
FIN, RSV1 = 0x80, 0x40

#: Name to maker. The maker's docstring is the help.
MAKERS: dict[str, Maker] = {}
#: Names whose tick arrives intact.
SOUND = frozenset({"fragments", "one-byte-writes"})


def make(name: str, tick: Tick) -> list[bytes]:
    """Return the writes of one piece of rubbish.

    Raises ValueError naming what there is when `name` is unknown.
    """
    if name not in MAKERS:
        raise ValueError(f"there is no rubbish {name!r}; there is {', '.join(MAKERS)}")
    return MAKERS[name](tick)


def catalogue() -> dict[str, str]:
    """Return every name with its help."""
    return {name: inspect.getdoc(maker) or "" for name, maker in MAKERS.items()}


def _rubbish(name: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        MAKERS[name] = maker
        return maker

    return register


def _text(payload: str) -> list[bytes]:
    return [text_frame(payload.encode())]


def _tick(tick: Tick, **changes: Any) -> list[bytes]:
    return [text_frame(encode_tick(tick._replace(**changes)))]


@_rubbish("not-json")
def _not_json(_: Tick) -> list[bytes]:
    """Text that is not JSON."""
    return _text('{"cmd_id":22998,"data":')


@_rubbish("json-null")
def _json_null(_: Tick) -> list[bytes]:
    """JSON null in place of an object."""
    return _text("null")


@_rubbish("json-array")
def _json_array(_: Tick) -> list[bytes]:
    """A JSON array in place of an object."""
    return _text('[{"cmd_id":22998}]')


@_rubbish("empty-text")
def _empty_text(_: Tick) -> list[bytes]:
    """A text frame without a byte."""
    return _text("")


@_rubbish("deep-json")
def _deep_json(_: Tick) -> list[bytes]:
    """JSON nested 100,000 levels deep."""
    return _text('{"cmd_id":22998,"data":' + "[" * 100_000 + "]" * 100_000 + "}")


@_rubbish("wrong-types")
def _wrong_types(_: Tick) -> list[bytes]:
    """A tick whose fields all have the wrong type."""
    return _text(
        '{"cmd_id":22998,"data":{"code":7,"seq":[],"tick_time":{},"price":true,"volume":null,'
        '"turnover":{},"trade_direction":"up"}}'
    )


@_rubbish("data-list")
def _data_list(tick: Tick) -> list[bytes]:
    """A tick push whose data is an array of ticks."""
    return [text_frame(encode_tick(tick).replace(b'"data":{', b'"data":[{')[:-1] + b"]}")]


@_rubbish("unknown-cmd")
def _unknown_cmd(_: Tick) -> list[bytes]:
    """A push with a cmd_id that does not exist."""
    return _text('{"cmd_id":29999,"data":{}}')


@_rubbish("depth-push")
def _depth_push(tick: Tick) -> list[bytes]:
    """An order-book push that nobody asked for."""
    return _text(
        f'{{"cmd_id":22999,"data":{{"code":"{tick.code}","seq":"1","tick_time":"{tick.tick_time}",'
        f'"bids":[{{"price":"{tick.price}","volume":"100"}}],"asks":[]}}}}'
    )


@_rubbish("uncorrelated-error")
def _uncorrelated_error(_: Tick) -> list[bytes]:
    """An error frame with cmd_id 0 that belongs to no request."""
    return _text('{"ret":400,"msg":"request header param invalid","cmd_id":0,"seq_id":0,"trace":"","data":{}}')


@_rubbish("stray-ack")
def _stray_ack(_: Tick) -> list[bytes]:
    """The acknowledgement of a list that was never asked for."""
    return _text('{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":4000000000,"trace":"nobody","data":{}}')


@_rubbish("binary")
def _binary(tick: Tick) -> list[bytes]:
    """A tick in a binary frame."""
    return [frame(FIN | BINARY, encode_tick(tick))]


@_rubbish("invalid-utf8")
def _invalid_utf8(_: Tick) -> list[bytes]:
    """Text that is not UTF-8 (8.1)."""
    return [text_frame(b'{"cmd_id":22998,"data":{"code":"\xff\xfe"}}')]


@_rubbish("fragments")
def _fragments(tick: Tick) -> list[bytes]:
    """A good tick in three fragments with pings in between (5.4)."""
    payload = encode_tick(tick)
    first, second, third = payload[:20], payload[20:60], payload[60:]
    ping = frame(FIN | PING, b"between")
    return [frame(TEXT, first) + ping + frame(CONTINUATION, second) + ping + frame(FIN | CONTINUATION, third)]


@_rubbish("one-byte-writes")
def _one_byte_writes(tick: Tick) -> list[bytes]:
    """A good tick, one byte per write."""
    return [bytes([byte]) for byte in text_frame(encode_tick(tick))]


@_rubbish("huge-text")
def _huge_text(_: Tick) -> list[bytes]:
    """A text frame of 2 MiB."""
    return _text('{"cmd_id":22998,"data":{"code":"' + "A" * (2 * 2**20) + '"}}')


@_rubbish("masked")
def _masked(tick: Tick) -> list[bytes]:
    """A frame with a mask, which a server must not use (5.1)."""
    payload = encode_tick(tick)
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return [struct.pack("!BBH", FIN | TEXT, 0x80 | 126, len(payload)) + mask + masked]


@_rubbish("reserved-bits")
def _reserved_bits(tick: Tick) -> list[bytes]:
    """A text frame with a reserved bit set (5.2)."""
    return [frame(FIN | RSV1 | TEXT, encode_tick(tick))]


@_rubbish("reserved-opcode")
def _reserved_opcode(_: Tick) -> list[bytes]:
    """A frame with a reserved opcode (5.2)."""
    return [frame(FIN | 0x3, b"{}")]


@_rubbish("oversized-control")
def _oversized_control(_: Tick) -> list[bytes]:
    """A ping with 126 bytes (5.5)."""
    return [frame(FIN | PING, b"x" * 126)]


@_rubbish("fragmented-control")
def _fragmented_control(_: Tick) -> list[bytes]:
    """A ping without its final bit (5.5)."""
    return [frame(PING, b"half")]


@_rubbish("stray-continuation")
def _stray_continuation(tick: Tick) -> list[bytes]:
    """A continuation of nothing (5.4)."""
    return [frame(FIN | CONTINUATION, encode_tick(tick))]


@_rubbish("ping")
def _ping(_: Tick) -> list[bytes]:
    """A ping with a payload, to be answered with the same (5.5.2)."""
    return [frame(FIN | PING, b"are you there?")]


@_rubbish("price-zero")
def _price_zero(tick: Tick) -> list[bytes]:
    """A tick with the price 0."""
    return _tick(tick, price="0.000000")


@_rubbish("price-negative")
def _price_negative(tick: Tick) -> list[bytes]:
    """A tick with a price below 0."""
    return _tick(tick, price="-1.500000")


@_rubbish("price-nan")
def _price_nan(tick: Tick) -> list[bytes]:
    """A tick with the price NaN."""
    return _tick(tick, price="NaN")


@_rubbish("missing-fields")
def _missing_fields(tick: Tick) -> list[bytes]:
    """A tick with a code and nothing else."""
    return _text(f'{{"cmd_id":22998,"data":{{"code":"{tick.code}"}}}}')


@_rubbish("time-1970")
def _time_1970(tick: Tick) -> list[bytes]:
    """A tick of the first second of 1970."""
    return _tick(tick, tick_time=1)


@_rubbish("time-far-future")
def _time_far_future(tick: Tick) -> list[bytes]:
    """A tick of the year 2100."""
    return _tick(tick, tick_time=4_102_444_800_000)
