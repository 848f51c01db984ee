"""Files of subscriptions read: YAML or CSV in, `Subscription`s out, or everything that is wrong with the file.

Rules. A file is used whole or not at all, and all its faults are told at once, each with its place, symbol, field and
remedy. Whether a value is good is decided by the codec of control records, field by field, so that the file, the
command line and the bridge never disagree. A name that no record has is refused here, unlike in the topic: who wrote
``prio: 5`` into a file is there to mend it.

YAML has traps that this file steps around: a symbol is taken as it is spelled (``ON``, ``00700`` and ``NO`` are no
booleans and no numbers), and a symbol given twice is an error instead of the last one's victory.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
import yaml

from bridge.control import records
from bridge.errors import BadRecord, SettingsError
from bridge.model import Subscription

#: What a record's field may hold, as the remedy for one that cannot be used.
FIELDS = {
    "code": "text, as in code: 700.HK; in quotes if it looks like a number",
    "priority": f"a whole number between {records.MIN_PRIORITY} and {records.MAX_PRIORITY}, as in priority: 5",
    "stale_after_s": "a number of seconds above 0, as in stale_after_s: 120",
    "enabled": "true or false",
    "owner": "text; in quotes if it looks like a number or a date",
    "note": "text; in quotes if it looks like a number or a date",
}
HEADER = ("symbol", *FIELDS)

#: Characters of a file: thousands of times what the largest plan of a venue can hold.
MAX_CHARACTERS = 64 * 1024 * 1024

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SHAPE = "write `subscriptions: {SYMBOL: {priority: 5}, OTHER: {}}`"
#: What a field's value may be before its field is asked: a date is none, as YAML would rewrite it.
_PLAIN = (str, int, float, bool)
_TRUTH = {"true": True, "false": False}
#: What may stand between two cells: a spreadsheet takes the one of its country.
_DELIMITERS = ",;\t"


class Format(StrEnum):
    """How a file of subscriptions is written."""

    YAML = "yaml"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Entry:
    """One symbol of a file, not yet checked; ``line`` counts from 1."""

    line: int
    symbol: str
    fields: Mapping[str, Any]


class _Faults(list[str]):
    """What is wrong with a file, sentence by sentence."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def add(self, line: int | None, what: str) -> None:
        where = "" if line is None else f", line {line}"
        self.append(f"{self.name}{where}: {what}")


def parse(content: bytes, name: str, form: Format | None = None) -> dict[str, Subscription]:
    """Read a file's subscriptions by symbol, in the file's order; ``name`` is what messages call the file.

    Without ``form``, the name's ending decides, else the look of the first line.

    Raises:
        SettingsError: with one line for everything that is wrong.
    """
    faults = _Faults(name)
    text = _text(content, faults)
    read = _from_csv if (form or sniff(name, text)) is Format.CSV else _from_yaml
    found: dict[str, Subscription] = {}
    seen: dict[str, int] = {}
    for entry in read(text, faults) if not faults else ():
        if entry.symbol in seen:
            faults.add(entry.line, f"{entry.symbol!a} is given twice, first in line {seen[entry.symbol]}; give it once")
            continue
        seen[entry.symbol] = entry.line
        subscription = _checked(entry, faults)
        if subscription is not None:
            found[entry.symbol] = subscription
    if faults:
        raise SettingsError(*faults)
    return found


def sniff(name: str, text: str) -> Format:
    """Guess a file's format: by its name, else by whether its first line is a header of CSV."""
    if name.lower().endswith(".csv"):
        return Format.CSV
    if name.lower().endswith((".yaml", ".yml", ".json")):
        return Format.YAML
    first = _first_line(text)
    names = [cell.strip().strip('"') for cell in first.split(_delimiter(first))]
    return Format.CSV if "symbol" in names else Format.YAML


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _delimiter(header: str) -> str:
    """Tell what stands between the names of a header, none of which holds any such character."""
    return next((char for char in header if char in _DELIMITERS), ",")


def _text(content: bytes, faults: _Faults) -> str:
    if len(content) > MAX_CHARACTERS:
        faults.add(None, f"has {len(content)} bytes; {MAX_CHARACTERS} may be")
        return ""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults.add(content[: error.start].count(b"\n") + 1, "is not UTF-8; save it as UTF-8")
        return ""
    if not text.strip():
        faults.add(None, "is empty; if nothing is to be subscribed to, write `subscriptions: {}`")
    return text


def _from_yaml(text: str, faults: _Faults) -> Iterator[Entry]:
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        yield from _entries(loader, root, faults)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        if mark and "\t" in (text.splitlines()[mark.line : mark.line + 1] or [""])[0]:
            faults.add(mark.line + 1, "has a tab, which YAML does not take there; write blanks instead")
        else:
            line = mark.line + 1 if mark else None
            faults.add(line, f"is not valid YAML ({problem or type(error).__name__}); mend it, or give --format csv")
    except RecursionError:
        faults.add(None, f"is nested too deeply; {_SHAPE}")


def _entries(loader: Any, root: Any, faults: _Faults) -> Iterator[Entry]:
    if not isinstance(root, yaml.MappingNode):
        faults.add(1, f"must be a mapping; {_SHAPE}")
        return
    tops = {key.value: value for key, value in root.value if key.value == "subscriptions"}
    for key, _ in root.value:
        if key.value != "subscriptions":
            faults.add(key.start_mark.line + 1, f"{_shown(key.value)} is not known at the top; {_SHAPE}")
    book = tops.get("subscriptions")
    if book is None:
        faults.add(None, f"has no `subscriptions`; {_SHAPE}")
        return
    if not isinstance(book, yaml.MappingNode):
        if _is_null(book):
            return
        faults.add(book.start_mark.line + 1, f"`subscriptions` must be a mapping; {_SHAPE}")
        return
    for key, value in book.value:
        yield from _entry(loader, key, value, faults)


def _entry(loader: Any, key: Any, value: Any, faults: _Faults) -> Iterator[Entry]:
    line = key.start_mark.line + 1
    if not isinstance(key, yaml.ScalarNode):
        faults.add(line, "a symbol must be text")
    elif _is_null(value):
        yield Entry(line, key.value, {})
    elif not isinstance(value, yaml.MappingNode):
        faults.add(line, f"{_shown(key.value)} must have a mapping, as in {{priority: 5}}, or {{}}")
    else:
        names = [str(one.value) for one, _ in value.value]
        for name in sorted({name for name in names if names.count(name) > 1}):
            faults.add(line, f"{_shown(key.value)}: {_shown(name)} is given twice; give it once")
        yield Entry(line, key.value, loader.construct_object(value, deep=True))


def _is_null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _from_csv(text: str, faults: _Faults) -> Iterator[Entry]:
    delimiter = _delimiter(_first_line(text))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(row for row in rows if any(row))]
        if not _good_header(header, rows.line_num, faults):
            return
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                faults.add(rows.line_num, f"has {len(row)} cells, and the header has {len(header)}; make them equal")
                continue
            cells = dict(zip(header, row, strict=True))
            symbol = cells.pop("symbol").strip()
            yield Entry(rows.line_num, symbol, {name: _cell(name, text) for name, text in cells.items() if text})
    except csv.Error as error:
        faults.add(rows.line_num, f"is not valid CSV ({error}); mend it, or give --format yaml")


def _good_header(header: list[str], line: int, faults: _Faults) -> bool:
    before = len(faults)
    if "symbol" not in header:
        faults.add(line, f"the header has no column symbol; it is {','.join(HEADER)}")
    for name in dict.fromkeys(header):
        if name not in HEADER:
            faults.add(line, f"no column is called {_shown(name)}{_close(name)}; the header is {','.join(HEADER)}")
        elif header.count(name) > 1:
            faults.add(line, f"the column {name} is there twice; keep one")
    return len(faults) == before


def _cell(name: str, text: str) -> Any:
    """Give a cell the type of its field; what does not fit stays text, and is refused as such."""
    text = text.strip()
    try:
        if name == "priority":
            return int(text)
        if name == "stale_after_s":
            return float(text)
    except ValueError:
        return text
    return _TRUTH.get(text.lower(), text) if name == "enabled" else text


def _checked(entry: Entry, faults: _Faults) -> Subscription | None:
    """Check one entry, each field on its own, so that every fault of it is told."""
    before = len(faults)
    if problem := records.spelling_problem(entry.symbol):
        faults.add(entry.line, f"the symbol {problem}")
    for name, value in entry.fields.items():
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            faults.add(
                entry.line, f"{entry.symbol}: no field is called {_shown(name)}{_close(name)}; there are {known}"
            )
        elif problem := _field_problem(name, value):
            faults.add(entry.line, f"{entry.symbol}: {problem}")
    if len(faults) > before:
        return None
    try:
        return records.decode(entry.symbol.encode(), msgspec.json.encode(entry.fields))
    except BadRecord as error:
        faults.add(entry.line, f"{entry.symbol}: {error.detail}")
        return None


def _field_problem(name: str, value: Any) -> str | None:
    try:
        if type(value) not in _PLAIN or (isinstance(value, float) and not math.isfinite(value)):
            return f"{name} is {_shown(value)}; give {FIELDS[name]}"
        records.decode(b"A", msgspec.json.encode({name: value}))
    except BadRecord as error:
        return (
            error.detail
            if error.reason in ("bad_code", "too_large")
            else f"{name} is {_shown(value)}; give {FIELDS[name]}"
        )
    except UnicodeEncodeError:
        return f"{name} is {_shown(value)}; give {FIELDS[name]}"
    return None


def _close(name: object) -> str:
    close: Iterable[str] = difflib.get_close_matches(str(name), HEADER, 1)
    return "".join(f", did you mean {one}?" for one in close)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = ascii(value)
    return text if len(text) <= records.MAX_SPELLING else f"{text[: records.MAX_SPELLING]}..."
