"""Tick records in the contract's format (``schemas/tick.schema.json``).

The head is escaped once for each symbol and session. What follows it is written as text, so it must be plain: digits
and points where they belong. ``Plain`` tells; what it refuses goes through ``full``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

_PLAIN_DECIMAL = r"[0-9]{1,32}+(?:\.[0-9]{1,31}+)?+"
_PLAIN = re.compile(
    rf"{_PLAIN_DECIMAL} (?:{_PLAIN_DECIMAL})? (?:{_PLAIN_DECIMAL})? [0-9]{{1,32}}+ [0-9]{{1,20}}+".encode()
).fullmatch

#: Makes all digits equal: what is left of a text is its shape.
SAME_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else byte for byte in range(256))

#: A venue's ticks have some hundred shapes; more are not worth the memory.
SHAPES_MAX = 4096

_json = msgspec.json.Encoder().encode


class Plain(dict[bytes, bool]):
    """Tells whether price, volume, turnover, seq and time, joined by spaces, are plain; asked by their shape.

    Volume and turnover may be empty, which is as good as unknown.
    Texts of one shape are plain together, so nearly every tick costs one look-up instead of a regular expression.
    """

    def __missing__(self, shape: bytes) -> bool:
        if not _PLAIN(shape):
            return False  # and is not kept: it may be as long as the venue likes
        if len(self) >= SHAPES_MAX:
            self.clear()
        self[shape] = True
        return True


def head(venue: str, symbol: str, code: str, session: int) -> str:
    """Write the fields that stay the same, and begin the price: what follows are its digits."""
    fields = {"v": 1, "venue": venue, "symbol": symbol, "code": code, "session": session, "price": ""}
    return _json(fields).decode()[:-2]


def full(start: str, price: str, fields: Mapping[str, str | int]) -> bytes:
    """Write a record from any fields, escaping what needs it; ``start`` is its head, ``price`` a decimal."""
    return f'{start}{price}",{_json(fields).decode()[1:]}'.encode()
