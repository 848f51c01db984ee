"""The codec of control records: bytes of the control topic to `Subscription` and back (contract 1.2).

Rules. A record is used whole or not at all: one field of a wrong type spoils it, because half an order is no order.
What we do not know does no harm: an unknown field is named in ``warnings`` and skipped. What is ambiguous is refused:
a field given twice, NaN, half a surrogate pair, ``true`` where a number belongs. Nothing is repaired in silence, white
space included. Whatever the bytes are, the only thing that leaves `decode` is a `BadRecord` with one of these reasons:

==================  ==================================================================
``no_key``          the record has no key, so nobody knows which symbol it is about
``key_not_utf8``    the key is no text
``key_too_long``    the key has more bytes than any symbol could
``too_large``       key and value together exceed 64 KiB
``bad_symbol``      the key is text, but no symbol
``not_json``        the value is no JSON text in UTF-8
``not_an_object``   it is JSON, but no object
``duplicate_field`` some object in it has a name twice
``wrong_type``      a field's value is of another type than the field
``bad_code``        ``code`` is a string, but cannot be a venue's spelling
``out_of_range``    a number is finite, but not one that the field can hold
==================  ==================================================================

``schemas/control.schema.json`` says the same about values in JSON Schema; a test holds the two together.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from bridge.errors import BadRecord
from bridge.model import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable

_T = TypeVar("_T")

#: Bytes of key and value together.
MAX_BYTES = 64 * 1024
#: Bytes of a key: one that is longer is nobody's symbol, and is not kept as if it were.
KEY_MAX_BYTES = 1024

#: Characters of a symbol or a code.
MAX_SPELLING = 64

#: ``priority`` is a 32-bit integer: every reader of the status topic can hold it.
MIN_PRIORITY, MAX_PRIORITY = -(2**31), 2**31 - 1

#: Warnings kept of one record; each goes into its status record.
MAX_WARNINGS = 8

#: Venues spell with letters, digits and dots (``.DJI.US``, ``Silver``); other venues and the dialects for them add
#: ``_ - = ^ /`` (``BTC-USDT``, ``BTC/USD``, ``^GSPC``). One colon parts an exchange from its ticker.
_SPELLING = re.compile(r"[A-Za-z0-9._=^/-]+(?::[A-Za-z0-9._=^/-]+)?")


class _Fields(msgspec.Struct, omit_defaults=True):
    """The value of a control record, as it is written."""

    code: str | UnsetType = UNSET
    priority: int | float = 0  # 5.0 is a whole number in JSON
    stale_after_s: float | UnsetType = UNSET
    enabled: bool = True
    owner: str | UnsetType = UNSET
    note: str | UnsetType = UNSET


#: What each field takes, and what JSON has, as a sentence says it.
_TAKES = {
    "code": "text",
    "priority": "a whole number",
    "stale_after_s": "a number",
    "enabled": "true or false",
    "owner": "text",
    "note": "text",
}
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
#: What the library says of a field, as in ``Expected `bool`, got `int` - at `$.enabled```.
_COMPLAINT = re.compile(r"(?:Expected `.*`, got `(\w+)`|(.+)) - at `\$\.(\w+)`")

_FIELDS = frozenset(_Fields.__struct_fields__)
_decoder = msgspec.json.Decoder(_Fields)
_encoder = msgspec.json.Encoder()


def decode(key: bytes | None, value: bytes | None) -> Subscription | None:
    """Read one control record; ``None`` says that its symbol is not wanted any more (a tombstone).

    A tombstone is good under any key that is text: a record under a bad symbol can thereby be withdrawn.

    Raises:
        BadRecord: nobody can use it; the module's docstring lists the reasons.
    """
    symbol = decode_key(key)
    if value is None:
        return None
    if len(key or b"") + len(value) > MAX_BYTES:
        raise BadRecord("too_large", f"key and value have {len(key or b'') + len(value)} bytes, {MAX_BYTES} may be")
    if problem := spelling_problem(symbol):
        raise BadRecord("bad_symbol", f"the key {problem}")
    names = _names(value)
    return _subscription(symbol, _typed(value), names)


def decode_key(key: bytes | None) -> str:
    """Read a key as text; whether that text is a symbol is another question.

    Raises:
        BadRecord: ``no_key``, ``key_too_long`` or ``key_not_utf8``.
    """
    if key is None:
        raise BadRecord("no_key", "the record has no key; write it with the symbol as its key")
    if len(key) > KEY_MAX_BYTES:
        raise BadRecord("key_too_long", f"the key has {len(key)} bytes, {KEY_MAX_BYTES} may be")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise BadRecord("key_not_utf8", f"the key is not UTF-8 at byte {error.start}") from None


def encode(subscription: Subscription) -> tuple[bytes, bytes]:
    """Write a subscription as key and value; what has its default is left out, so most values are ``{}``.

    Nothing is checked here: `decode` what comes out to learn whether it is good.

    Raises:
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    fields = _Fields(
        code=_or_unset(subscription.code),
        priority=subscription.priority,
        stale_after_s=_or_unset(subscription.stale_after_s),
        enabled=subscription.enabled,
        owner=_or_unset(subscription.owner),
        note=_or_unset(subscription.note),
    )
    return subscription.symbol.encode(), _encoder.encode(fields)


def spelling_problem(text: str) -> str | None:
    """Say what keeps ``text`` from being a symbol or a code, as the end of a sentence; ``None`` if nothing does."""
    if not text:
        return "is empty; write the symbol, as in AAPL.US or NASDAQ:AAPL"
    if len(text) > MAX_SPELLING:
        return f"{_shown(text)} has {len(text)} characters; {MAX_SPELLING} may be"
    if any(char.isspace() for char in text):
        return f"{text!a} holds white space; write it without"
    if not _SPELLING.fullmatch(text):
        return f"{text!a} cannot be; use letters, digits and . _ - = ^ / with at most one colon inside"
    if not any(char.isalnum() for char in text):
        return f"{text!a} has no letter and no digit"
    return None


def _names(value: bytes) -> list[str]:
    """List the object's names; the standard library alone shows one that is given twice."""
    try:
        found = _parse(value.decode())
    except UnicodeDecodeError as error:
        raise BadRecord("not_json", f"the value is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BadRecord("not_json", "the value is nested too deeply") from None
    except ValueError as error:
        raise BadRecord("not_json", f"the value is no JSON: {error}") from None
    if not isinstance(found, _Names):
        raise BadRecord("not_an_object", "the value must be a JSON object; the shortest is {}")
    return found.names


def _parse(text: str) -> object:
    # Values are read by type later: numbers stay digits here, however many there are.
    return json.loads(text, object_pairs_hook=_Names, parse_int=str, parse_float=str)


class _Names:
    """What is left of a JSON object while its names are checked."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        self.names = [name for name, _ in pairs]
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise BadRecord("duplicate_field", f"{_shown(twice)} is given twice")


def _typed(value: bytes) -> _Fields:
    try:
        return _decoder.decode(value)
    except msgspec.ValidationError as error:
        reason = "out_of_range" if "out of range" in str(error) else "wrong_type"
        raise BadRecord(reason, _complaint(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The library calls it truncated; the standard one, which has read it already, lets it pass.
        half = b"\\ud" in value.lower()
        raise BadRecord("not_json", f"the value is no JSON: {'half of a surrogate pair' if half else error}") from None


def _complaint(said: str) -> str:
    """Say in our words which field is of a wrong type; what we cannot read is handed on as it is."""
    if not (found := _COMPLAINT.fullmatch(said)):
        return said
    kind, other, name = found.groups()
    if kind is None:
        return f"{name}: {other.lower()}"
    return f"{name} must be {_TAKES[name]}, not {_KINDS.get(kind, kind)}"


def _subscription(symbol: str, fields: _Fields, names: Iterable[str]) -> Subscription:
    code, stale = _or_none(fields.code), _or_none(fields.stale_after_s)
    if code is not None and (problem := spelling_problem(code)):
        raise BadRecord("bad_code", f"code {problem}")
    if stale is not None and not (stale > 0 and math.isfinite(stale)):
        raise BadRecord("out_of_range", f"stale_after_s is {stale:g}; it must be above 0")
    return Subscription(
        symbol=symbol,
        code=code,
        priority=_priority(fields.priority),
        stale_after_s=stale,
        enabled=fields.enabled,
        owner=_or_none(fields.owner),
        note=_or_none(fields.note),
        warnings=tuple(f"unknown field {_shown(name)}" for name in names if name not in _FIELDS)[:MAX_WARNINGS],
    )


def _priority(number: float) -> int:
    if isinstance(number, float) and not number.is_integer():
        raise BadRecord("wrong_type", f"priority must be a whole number, not {number:g}")
    if not MIN_PRIORITY <= number <= MAX_PRIORITY:
        raise BadRecord("out_of_range", f"priority must be between {MIN_PRIORITY} and {MAX_PRIORITY}")
    return int(number)


def _shown(name: str) -> str:
    """Make a name from outside fit to be shown: short, printable, and encodable whatever it holds."""
    return ascii(name if len(name) <= MAX_SPELLING else f"{name[:MAX_SPELLING]}...")


def _or_none(value: _T | UnsetType) -> _T | None:
    return None if isinstance(value, UnsetType) else value


def _or_unset(value: _T | None) -> _T | UnsetType:
    return UNSET if value is None else value
