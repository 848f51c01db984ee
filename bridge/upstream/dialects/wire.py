"""What dialects share: JSON whose decimals keep their digits, rubbish told apart, and a token in an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from bridge.upstream.dialects import Answer, Decoded

#: A field that a message does not have.
ABSENT = msgspec.Raw()
_NULL = msgspec.Raw(b"null")

#: What a decoder raises on bytes that are not what it expects: wrong JSON or type, wrong UTF-8, too deep.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_any = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
encode = msgspec.json.Encoder().encode


class Tick(msgspec.Struct, gc=False):
    """A trade under our names, for dialects whose own names are others."""

    code: str
    price: str
    seq: str | int | None = None
    time: str | int | None = None
    volume: str | None = None
    turnover: str | None = None
    side: str | int | None = None
    open_24h: str | None = None


def decode(texts: Sequence[bytes], read: Callable[[bytes], Tick | Answer | str | None]) -> Decoded:
    """Read messages one by one: ``read`` gives a tick, an answer, None for a tick that is no use, or what else it is.

    It may raise what decoders raise: such a message is rubbish.
    """
    ticks: list[Tick] = []
    decoded = Decoded(ticks=ticks)
    for text in texts:
        try:
            message = read(text)
        except UNREADABLE:
            message = kind_of_rubbish(text)
        if isinstance(message, Tick):
            ticks.append(message)
        elif isinstance(message, Answer):
            decoded.answers.append(message)
        elif message is None:
            decoded.bad_ticks += 1
            decoded.bad_tick = text
        else:
            decoded.others[message] = decoded.others.get(message, 0) + 1
    return decoded


def literal(raw: msgspec.Raw) -> str | None:
    """Give a string's content or a number's own digits; None for anything else."""
    text = bytes(raw)
    if text.startswith(b'"'):
        return _decode_text(text)
    return text.decode() if text[:1].isdigit() or text.startswith(b"-") else None


def time(raw: msgspec.Raw) -> str | None:
    """Give a time's text or digits, None where there is none; what is of another type cannot be read, and says so."""
    return None if raw in (ABSENT, _NULL) else literal(raw) or "?"


def string(raw: msgspec.Raw) -> str | None:
    """Give a string's content; None for anything else."""
    return _decode_text(raw) if bytes(raw).startswith(b'"') else None


def kind_of_rubbish(text: bytes) -> str:
    """Name what a message is that no decoder takes."""
    try:
        _decode_any(text)
    except UNREADABLE:
        return "not_json"
    return "wrong_type"


def with_token(url: str, token: str) -> str:
    """Add the token as a query parameter, percent-encoded."""
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}token={quote(token, safe='')}"))
