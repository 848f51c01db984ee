"""Tick records in the contract's format (``schemas/tick.schema.json``).

The head is escaped once for each symbol and session. Whoever puts the rest behind it as text has matched the fields
against ``PLAIN`` before; anything else goes through ``full``.
"""

from __future__ import annotations

import re

import msgspec

#: Price, volume, turnover and seq as nearly every tick has them, joined by spaces: digits and at most one point each.
_PLAIN_DECIMAL = r"[0-9]{1,32}(?:\.[0-9]{1,31})?"
PLAIN = re.compile(rf"{_PLAIN_DECIMAL} {_PLAIN_DECIMAL} {_PLAIN_DECIMAL} [0-9]{{1,32}}").fullmatch

_json = msgspec.json.Encoder().encode


def head(venue: str, symbol: str, code: str, session: int) -> str:
    """Write the fields that stay the same, as an open JSON object."""
    fields = {"v": 1, "venue": venue, "symbol": symbol, "code": code, "session": session}
    return _json(fields).decode()[:-1]


def full(start: str, fields: dict[str, str | int]) -> bytes:
    """Write a record from any fields, escaping what needs it; ``start`` is its head."""
    return f"{start},{_json(fields).decode()[1:]}".encode()
