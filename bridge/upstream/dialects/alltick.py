"""The official AllTick protocol (protocol sheet, sections 2 to 7).

A subscribe request (22004) replaces the whole list, its answer (22005) names no codes, and an error may come back
without saying to which request it belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from bridge.upstream.dialects import Answer, Ask, BadSymbol, Decoded, Remedy, remedies

HEARTBEAT, SUBSCRIBE, CANCEL = 22000, 22004, 22006
TICK, DEPTH = 22998, 22999
#: Cancel the tick stream only (sheet 2.6).
CANCEL_TICKS = 2

_ANSWERS = {22001: "heartbeat", 22005: "subscribe", 22007: "cancel"}

_EXCHANGES = {
    **dict.fromkeys(("NASDAQ", "NYSE", "AMEX", "ARCA", "BATS"), "US"),
    **dict.fromkeys(("HKEX", "SEHK"), "HK"),
    "SSE": "SH",
    "SZSE": "SZ",
}

_STOCK_ENDING = re.compile(r"\.(HK|US|SH|SZ)$")
_PAIR = re.compile(r"^[A-Z]{6,12}$")


class _Data(msgspec.Struct, gc=False):
    """A tick as it usually is: the fast road's shape (sheet 5.1)."""

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


_ABSENT = msgspec.Raw()


class _LooseData(msgspec.Struct):
    """A tick whose decimals may be JSON numbers: their literal digits are kept."""

    code: str
    price: msgspec.Raw
    seq: str | int | None = None
    time: str | int | None = msgspec.field(name="tick_time", default=None)
    volume: msgspec.Raw = _ABSENT
    turnover: msgspec.Raw = _ABSENT
    side: str | int | None = msgspec.field(name="trade_direction", default=None)


class _LoosePush(msgspec.Struct):
    data: _LooseData


class _Envelope(msgspec.Struct):
    cmd_id: int
    seq_id: int | None = 0
    ret: int | None = None
    msg: str | None = ""


#: What a decoder raises on bytes that are not what it expects: wrong JSON or type, wrong UTF-8, too deep.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_push = msgspec.json.Decoder(_Push).decode
_decode_loose = msgspec.json.Decoder(_LoosePush).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class AllTick:
    """The official dialect."""

    name = "alltick"
    venue = "alltick"
    sides: Mapping[int | str | None, str] = {0: "none", 1: "buy", 2: "sell", "0": "none", "1": "buy", "2": "sell"}
    gives_time = True

    def default_url(self, market: str) -> str:
        """Give the endpoint (sheet 1.1)."""
        path = "quote-stock-b-ws-api" if market == "stock" else "quote-b-ws-api"
        return f"wss://quote.alltick.co/{path}"

    def address(self, url: str, token: str) -> str:
        """Add the token as a query parameter (sheet 1.2)."""
        parts = urlsplit(url)
        query = f"{parts.query}&" if parts.query else ""
        return urlunsplit(parts._replace(query=f"{query}token={quote(token, safe='')}"))

    def code(self, symbol: str) -> str:
        """Translate ``EXCHANGE:TICKER``; anything else is the venue's own code already (sheet 7)."""
        exchange, colon, ticker = symbol.partition(":")
        if not colon:
            return symbol
        ending = _EXCHANGES.get(exchange)
        if ending is None:
            known = ", ".join(sorted(_EXCHANGES))
            raise BadSymbol(f"{exchange!r} is no exchange this venue has; it has {known}")
        if ending == "HK":
            ticker = ticker.lstrip("0")  # the venue refuses leading zeros in Hong Kong (sheet 7)
        if not ticker:
            raise BadSymbol(f"{symbol!r} names no ticker")
        return f"{ticker}.{ending}"

    def market(self, code: str) -> str | None:
        """Tell stock codes by their ending and pairs by their letters (sheet 7)."""
        if _STOCK_ENDING.search(code):
            return "stock"
        return "other" if _PAIR.match(code) else None

    def asks(self, accepted: Iterable[str], target: Sequence[str]) -> tuple[Ask, ...]:
        """Ask for the whole list at once: a request replaces the one before (sheet 3)."""
        if target:
            return (Ask("subscribe", tuple(target)),)
        # An empty list is undocumented; the cancel request is not (sheet 3).
        return (Ask("cancel", ()),) if set(accepted) else ()

    def encode(self, ask: Ask, seq_id: int, trace: str) -> str:
        """Write 22004 or 22006 (sheet 2.4, 2.6)."""
        if ask.kind == "cancel":
            return _request(CANCEL, seq_id, trace, {"cancel_type": CANCEL_TICKS})
        return _request(SUBSCRIBE, seq_id, trace, {"symbol_list": [{"code": code} for code in ask.codes]})

    def heartbeat(self, seq_id: int, trace: str) -> str:
        """Write 22000 (sheet 2.3)."""
        return _request(HEARTBEAT, seq_id, trace, {})

    def decode(self, texts: Sequence[bytes]) -> Decoded:
        """Read pushes on the fast road, all else one by one."""
        try:
            return Decoded(ticks=[_decode_push(text).data for text in texts])
        except _UNREADABLE:  # at least one message is no usual tick
            return _decode_one_by_one(texts)

    def remedy(self, ret: int) -> Remedy:
        """Look the error up (sheet 6)."""
        return remedies.of_ret(ret)


def _request(cmd_id: int, seq_id: int, trace: str, data: dict[str, object]) -> str:
    return _encode({"cmd_id": cmd_id, "seq_id": seq_id, "trace": trace, "data": data}).decode()


def _decode_one_by_one(texts: Sequence[bytes]) -> Decoded:
    ticks: list[_Data] = []
    decoded = Decoded(ticks=ticks)
    for text in texts:
        try:
            ticks.append(_decode_push(text).data)
        except _UNREADABLE:
            _decode_other(text, decoded, ticks)
    return decoded


def _decode_other(text: bytes, decoded: Decoded, ticks: list[_Data]) -> None:
    """Read a message that is not a usual tick: an answer, an unusual tick, or rubbish."""
    kind = ""
    try:
        envelope = _decode_envelope(text)
    except _UNREADABLE:
        kind = _kind_of_rubbish(text)
    else:
        if envelope.cmd_id == TICK:
            tick = _unusual_tick(text)
            if tick is None:
                decoded.bad_ticks += 1
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


def _kind_of_rubbish(text: bytes) -> str:
    try:
        _decode_any(text)
    except _UNREADABLE:
        return "not_json"
    return "wrong_type"


def _unusual_tick(text: bytes) -> _Data | None:
    """Read a tick with JSON numbers in it, digit by digit as they stand; None if it is no tick at all."""
    try:
        data = _decode_loose(text).data
        price = _literal(data.price)
        if price is None:
            return None
        return _Data(data.code, price, data.seq, data.time, _literal(data.volume), _literal(data.turnover), data.side)
    except _UNREADABLE:
        return None


def _literal(raw: msgspec.Raw) -> str | None:
    """Give a string's content or a number's own digits; None for anything else."""
    text = bytes(raw)
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    return text.decode() if text[:1].isdigit() or text.startswith(b"-") else None
