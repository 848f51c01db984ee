"""The dialect of requests with ``action`` and ``symbols`` (docs/alltick.md 9, dialect B).

It adds and takes away, writes ``AAPL`` and ``00700.HK``, and gives a time in any unit. No answer to a request is
documented; one that comes all the same is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridge.errors import SettingsError
from bridge.upstream.dialects import Answer, Ask, Decoded, wire
from bridge.upstream.dialects.exchanges import listing
from bridge.upstream.dialects.incremental import Incremental

#: Answers have a word where others have a number: these are the official numbers of what it can mean.
OK, CODE_INVALID, TOO_FAST = 200, 600, 605


class _Message(msgspec.Struct, gc=False):
    """Everything that the venue may say: a push has a price, an answer a ``status``."""

    symbol: msgspec.Raw = wire.ABSENT
    price: msgspec.Raw = wire.ABSENT
    time: msgspec.Raw = wire.ABSENT
    action: str | None = None
    status: str | None = None
    message: str | None = ""
    symbols: list[str] | None = None


_decode = msgspec.json.Decoder(_Message).decode


class ActionSymbols(Incremental):
    """Pushes ``{"symbol", "price", "time"}``: seconds, milliseconds, microseconds or ISO 8601."""

    name = "action-symbols"
    venue = "action-symbols"
    gives_time = True

    def default_url(self, market: str) -> str:
        """Say that none is known for sure: nobody has seen the published one answer."""
        raise SettingsError(f"TICKBRIDGE_UPSTREAM__URL: {self.name} has no address of its own for {market}; give one")

    def code(self, symbol: str) -> str:
        """Translate ``EXCHANGE:TICKER``; anything else is the venue's own code already."""
        listed = listing(symbol)
        if listed is None:
            return symbol
        market, ticker = listed
        if market == "US":
            return ticker
        return f"{ticker.zfill(5) if market == 'HK' and ticker.isdigit() else ticker}.{market}"

    def encode(self, ask: Ask, seq_id: int, trace: str) -> str:  # noqa: ARG002  nothing to carry them
        """Write a request."""
        return wire.encode({"action": ask.kind, "symbols": ask.codes}).decode()

    def decode(self, texts: Sequence[bytes]) -> Decoded:
        """Read pushes and answers."""
        return wire.decode(texts, _read)


def _read(text: bytes) -> wire.Tick | Answer | str | None:
    message = _decode(text)
    if message.status is not None:
        return _answer(message, message.status)
    return "unknown" if message.price is wire.ABSENT else _tick(message)


def _tick(message: _Message) -> wire.Tick | None:
    code, price = wire.string(message.symbol), wire.literal(message.price)
    return wire.Tick(code, price, time=wire.time(message.time)) if code and price else None


def _answer(message: _Message, status: str) -> Answer:
    codes = tuple(message.symbols or ())
    ret = OK if status == "ok" else CODE_INVALID if codes else TOO_FAST
    kind = message.action if message.action in ("subscribe", "unsubscribe") else "error"
    return Answer(kind, 0, ret, message.message or "", codes)  # type: ignore[arg-type]
