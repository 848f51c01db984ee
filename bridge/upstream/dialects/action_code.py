"""The dialect of requests with ``action`` and ``code`` (docs/alltick.md 9, dialect A).

It borrows the number 22004, but adds and takes away where the official protocol replaces, speaks ``EXCHANGE:TICKER``
itself and gives neither time nor seq. No answer to a request is documented; one that comes all the same is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from bridge.errors import SettingsError
from bridge.upstream.dialects import Answer, Ask, BadSymbol, Decoded, wire
from bridge.upstream.dialects.incremental import Incremental

SUBSCRIBE = 22004

_FORM = re.compile(r"[^:\s]+:[^:\s]+").fullmatch


class _Message(msgspec.Struct, gc=False):
    """Everything that the venue may say: a push has a price, an answer a ``ret``."""

    code: msgspec.Raw = wire.ABSENT
    price: msgspec.Raw = wire.ABSENT
    open_24h: msgspec.Raw = wire.ABSENT
    action: str | None = None
    ret: int | None = None
    msg: str | None = ""


_decode = msgspec.json.Decoder(_Message).decode
_decode_codes = msgspec.json.Decoder(str | list[str]).decode


class ActionCode(Incremental):
    """Pushes ``{"code", "price", "open_24h", …}``, their decimals numbers or strings."""

    name = "action-code"
    venue = "action-code"
    gives_time = False

    def default_url(self, market: str) -> str:
        """Say that none is known."""
        raise SettingsError(f"TICKBRIDGE_UPSTREAM__URL: {self.name} has no address of its own for {market}; give one")

    def code(self, symbol: str) -> str:
        """Take ``EXCHANGE:TICKER`` as it stands."""
        if not _FORM(symbol):
            raise BadSymbol(f"{symbol!r} names no exchange: this venue takes EXCHANGE:TICKER, as in NASDAQ:AAPL")
        return symbol

    def encode(self, ask: Ask, seq_id: int, trace: str) -> str:  # noqa: ARG002  nothing to carry them
        """Write a request."""
        return wire.encode({"cmd_id": SUBSCRIBE, "action": ask.kind, "code": ask.codes}).decode()

    def decode(self, texts: Sequence[bytes]) -> Decoded:
        """Read pushes and answers."""
        return wire.decode(texts, _read)


def _read(text: bytes) -> wire.Tick | Answer | str | None:
    message = _decode(text)
    if message.ret is not None:
        return _answer(message, message.ret)
    return "unknown" if message.price is wire.ABSENT else _tick(message)


def _tick(message: _Message) -> wire.Tick | None:
    code, price = wire.string(message.code), wire.literal(message.price)
    return wire.Tick(code, price, open_24h=wire.literal(message.open_24h)) if code and price else None


def _answer(message: _Message, ret: int) -> Answer:
    codes = [] if message.code is wire.ABSENT else _decode_codes(message.code)
    kind = message.action if message.action in ("subscribe", "unsubscribe") else "error"
    return Answer(kind, 0, ret, message.msg or "", (codes,) if isinstance(codes, str) else tuple(codes))  # type: ignore[arg-type]
