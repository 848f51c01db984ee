"""The official AllTick protocol (docs/alltick.md 2 to 7).

A subscribe request (22004) replaces the whole list, its answer (22005) names no codes, and an error may come back
without saying to which request it belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bridge.upstream.dialects import Answer, Ask, Decoded, Remedy, remedies, wire
from bridge.upstream.dialects.exchanges import listing

HEARTBEAT, SUBSCRIBE, CANCEL = 22000, 22004, 22006
TICK, DEPTH = 22998, 22999
#: Cancel the tick stream only (docs/alltick.md 2.6).
CANCEL_TICKS = 2

_ANSWERS = {22001: "heartbeat", 22005: "subscribe", 22007: "cancel"}

_STOCK_ENDING = re.compile(r"\.(HK|US|SH|SZ)$")
_PAIR = re.compile(r"^[A-Z]{6,12}$")


class _Data(msgspec.Struct, gc=False):
    """A tick as it usually is: the fast road's shape (docs/alltick.md 5.1)."""

    code: str
    price: str
    seq: str | int | None = None
    time: str | int | None = msgspec.field(name="tick_time", default=None)
    volume: str | None = None
    turnover: str | None = None
    side: str | int | None = msgspec.field(name="trade_direction", default=None)
    open_24h: None = None


class _Push(msgspec.Struct, gc=False, tag_field="cmd_id", tag=TICK):
    data: _Data


class _LooseData(msgspec.Struct):
    """A tick whose fields may be of other types: digits are kept as they stand, and what is optional may be rubbish."""

    code: str
    price: msgspec.Raw
    seq: msgspec.Raw = wire.ABSENT
    time: msgspec.Raw = msgspec.field(name="tick_time", default=wire.ABSENT)
    volume: msgspec.Raw = wire.ABSENT
    turnover: msgspec.Raw = wire.ABSENT
    side: msgspec.Raw = msgspec.field(name="trade_direction", default=wire.ABSENT)


class _LoosePush(msgspec.Struct):
    data: _LooseData


class _Envelope(msgspec.Struct):
    cmd_id: int
    seq_id: int | None = 0
    ret: int | None = None
    msg: str | None = ""


_decode_push = msgspec.json.Decoder(_Push).decode
_decode_loose = msgspec.json.Decoder(_LoosePush).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class AllTick:
    """The official dialect."""

    name = "alltick"
    venue = "alltick"
    sides: Mapping[int | str | None, str] = {0: "none", 1: "buy", 2: "sell", "0": "none", "1": "buy", "2": "sell"}
    gives_time = True
    needs_token = True
    replaces = True
    answers = True
    pause_s = 1.0  # between two requests on one connection (docs/alltick.md 1.4)

    def default_url(self, market: str) -> str:
        """Give the endpoint (docs/alltick.md 1.1)."""
        path = "quote-stock-b-ws-api" if market == "stock" else "quote-b-ws-api"
        return f"wss://quote.alltick.co/{path}"

    def address(self, url: str, token: str) -> str:
        """Add the token as a query parameter (docs/alltick.md 1.2)."""
        return wire.with_token(url, token)

    def code(self, symbol: str) -> str:
        """Translate ``EXCHANGE:TICKER``; anything else is the venue's own code already (docs/alltick.md 7)."""
        listed = listing(symbol)
        if listed is None:
            return symbol
        market, ticker = listed  # the venue refuses leading zeros in Hong Kong (docs/alltick.md 7)
        return f"{ticker}.{market}"

    def market(self, code: str) -> str | None:
        """Tell stock codes by their ending and pairs by their letters (docs/alltick.md 7)."""
        if _STOCK_ENDING.search(code):
            return "stock"
        return "other" if _PAIR.match(code) else None

    def asks(self, accepted: Iterable[str], target: Sequence[str]) -> tuple[Ask, ...]:
        """Ask for the whole list at once: a request replaces the one before (docs/alltick.md 3)."""
        if target:
            return (Ask("subscribe", tuple(target)),)
        # An empty list is undocumented; the cancel request is not (docs/alltick.md 3).
        return (Ask("cancel", ()),) if set(accepted) else ()

    def encode(self, ask: Ask, seq_id: int, trace: str) -> str:
        """Write 22004 or 22006 (docs/alltick.md 2.4, 2.6)."""
        if ask.kind == "cancel":
            return _request(CANCEL, seq_id, trace, {"cancel_type": CANCEL_TICKS})
        return _request(SUBSCRIBE, seq_id, trace, {"symbol_list": [{"code": code} for code in ask.codes]})

    def heartbeat(self, seq_id: int, trace: str) -> str:
        """Write 22000 (docs/alltick.md 2.3)."""
        return _request(HEARTBEAT, seq_id, trace, {})

    def decode(self, texts: Sequence[bytes]) -> Decoded:
        """Read pushes on the fast road, all else one by one."""
        try:
            return Decoded(ticks=[_decode_push(text).data for text in texts])
        except wire.UNREADABLE:  # at least one message is no usual tick
            return _decode_one_by_one(texts)

    def remedy(self, ret: int) -> Remedy:
        """Look the error up (docs/alltick.md 6)."""
        return remedies.of_ret(ret)


def _request(cmd_id: int, seq_id: int, trace: str, data: dict[str, object]) -> str:
    return wire.encode({"cmd_id": cmd_id, "seq_id": seq_id, "trace": trace, "data": data}).decode()


def _decode_one_by_one(texts: Sequence[bytes]) -> Decoded:
    ticks: list[_Data] = []
    decoded = Decoded(ticks=ticks)
    for text in texts:
        try:
            ticks.append(_decode_push(text).data)
        except wire.UNREADABLE:
            _decode_other(text, decoded, ticks)
    return decoded


def _decode_other(text: bytes, decoded: Decoded, ticks: list[_Data]) -> None:
    """Read a message that is not a usual tick: an answer, an unusual tick, or rubbish."""
    kind = ""
    try:
        envelope = _decode_envelope(text)
    except wire.UNREADABLE:
        kind = wire.kind_of_rubbish(text)
    else:
        if envelope.cmd_id == TICK:
            tick = _unusual_tick(text)
            if tick is None:
                decoded.bad_ticks += 1
                decoded.bad_tick = text
            else:
                ticks.append(tick)
        elif envelope.ret is not None:
            what = _ANSWERS.get(envelope.cmd_id, "error")
            answer = Answer(what, envelope.seq_id or 0, envelope.ret, envelope.msg or "")  # type: ignore[arg-type]
            decoded.answers.append(answer)
        else:
            kind = "depth" if envelope.cmd_id == DEPTH else "unknown"
    if kind:
        decoded.others[kind] = decoded.others.get(kind, 0) + 1


def _unusual_tick(text: bytes) -> _Data | None:
    """Read a tick of unusual types; None if it is no tick at all."""
    try:
        data = _decode_loose(text).data
        price = wire.literal(data.price)
        if price is None:
            return None
        amounts = wire.literal(data.volume), wire.literal(data.turnover)
        return _Data(data.code, price, wire.literal(data.seq), wire.time(data.time), *amounts, wire.literal(data.side))
    except wire.UNREADABLE:
        return None
