"""Binance's spot trades: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from bridge.upstream.dialects import Answer, Ask, BadSymbol, Decoded, Remedy, wire
from bridge.upstream.dialects.incremental import Incremental


class _Error(msgspec.Struct):
    code: int
    msg: str = ""


class _Message(msgspec.Struct, gc=False):
    """Everything that the venue may say: an answer has an id, or an error that may stand by itself, a push an event."""

    id: int | None = None
    error: _Error | None = None
    error_code: int | None = msgspec.field(name="code", default=None)
    event: str = msgspec.field(name="e", default="")
    code: str = msgspec.field(name="s", default="")
    price: str = msgspec.field(name="p", default="")
    quantity: str = msgspec.field(name="q", default="")
    trade: int | None = msgspec.field(name="t", default=None)
    time: int | None = msgspec.field(name="T", default=None)
    sold: bool = msgspec.field(name="m", default=False)  # the buyer was there first: somebody sold to him


_decode = msgspec.json.Decoder(_Message).decode


class Binance(Incremental):
    """SUBSCRIBE and UNSUBSCRIBE with ids; each is answered."""

    name = "binance"
    venue = "binance"
    sides: Mapping[int | str | None, str] = {"b": "buy", "s": "sell"}
    gives_time = True
    answers = True
    pause_s = 0.3  # five messages a second are allowed, pings included
    most = 100

    def default_url(self, market: str) -> str:  # noqa: ARG002  there is one for everything
        """Give the address of raw streams."""
        return "wss://stream.binance.com:9443/ws"

    def code(self, symbol: str) -> str:
        """Take ``BTCUSDT`` as it stands, and ``BINANCE:BTCUSDT`` without the exchange."""
        code = symbol.removeprefix("BINANCE:")
        if not re.fullmatch(r"[A-Z0-9]{3,20}", code):
            raise BadSymbol(f"{symbol!r} is no pair of Binance's: give it as BTCUSDT or BINANCE:BTCUSDT")
        return code

    def encode(self, ask: Ask, seq_id: int, trace: str) -> str:  # noqa: ARG002  an id is all they take
        """Write a request: one stream for each code."""
        streams = [f"{code.lower()}@trade" for code in ask.codes]
        return wire.encode({"method": ask.kind.upper(), "params": streams, "id": seq_id}).decode()

    def decode(self, texts: Sequence[bytes]) -> Decoded:
        """Read pushes and answers."""
        return wire.decode(texts, _read)

    def remedy(self, ret: int) -> Remedy:  # noqa: ARG002  whatever the number, the request was no good
        """Try the codes of a refused request one by one."""
        return Remedy.NARROW


def _read(text: bytes) -> wire.Tick | Answer | str | None:
    message = _decode(text)
    if message.error is not None:
        return Answer("error", message.id or 0, message.error.code, message.error.msg)
    if message.error_code is not None:
        return Answer("error", 0, message.error_code, "")
    if message.id is not None:
        return Answer("error", message.id, 200, "")
    if message.event != "trade":
        return message.event or "unknown"
    if not message.code or not message.price:
        return None
    side = "s" if message.sold else "b"
    return wire.Tick(message.code, message.price, message.trade, message.time, message.quantity or None, side=side)
