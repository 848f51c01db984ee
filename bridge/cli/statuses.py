"""Status records as people look at them: kept by symbol, chosen, put in order, drawn. Pure; the clock is an argument.

A row is the value of a status record as it stands (``schemas/status.schema.json``); what cannot be read is counted,
never guessed. Whoever reads can tell at once what needs a hand: problems come first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rich.text import Text

from bridge.cli.sheet import Sheet
from bridge.cli.tables import WIDTH, age, count, plain, printable
from bridge.model import REMOVAL_HELD, State

Row = Mapping[str, Any]

#: States from the one that needs a hand most to the one that needs none, with the style they are shown in.
STYLES: Mapping[str, str] = {
    State.INVALID: "bold red",
    State.REJECTED: "bold red",
    State.OVER_CAP: "red",
    State.OFFLINE: "red",
    State.STALE: "yellow",
    State.PENDING: "cyan",
    State.WAITING: "cyan",
    State.LIVE: "green",
    State.DISABLED: "dim",
}
PROBLEMS = frozenset({State.INVALID, State.REJECTED, State.OVER_CAP, State.OFFLINE, State.STALE})

#: Columns that a screen narrower than so many characters leaves out, so that the reason can be read.
NARROW = {"code": 100, "last tick": 70, "since": 50}

#: Where a held removal stands (somebody may not have meant it, and has seconds), and a state that nobody here knows.
_RANK: Mapping[str, float] = {state: rank for rank, state in enumerate(STYLES)}
_HELD_RANK, _UNKNOWN_RANK = -1.0, len(PROBLEMS) - 0.5


class Sort(StrEnum):
    """What the rows are ordered by."""

    PROBLEM = "problem"
    SYMBOL = "symbol"
    CODE = "code"
    STATE = "state"
    REASON = "reason"
    SINCE = "since"
    LAST_TICK = "last-tick"


@dataclass(slots=True)
class Book:
    """The newest status of each symbol; ``unreadable`` counts records that are none."""

    rows: dict[str, Row] = field(default_factory=dict)
    unreadable: int = 0

    def take(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take one record in; give the symbol that it is about, if it can be used."""
        try:
            symbol = (key or b"").decode()
            row = None if value is None else json.loads(value)
        except (ValueError, RecursionError):
            self.unreadable += 1
            return None
        if row is None:
            self.rows.pop(symbol, None)
        elif isinstance(row, dict) and isinstance(row.get("state"), str):
            self.rows[symbol] = {**row, "symbol": symbol}
        else:
            self.unreadable += 1
            return None
        return symbol


@dataclass(frozen=True, slots=True)
class View:
    """Which rows are shown, and in which order."""

    symbols: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    text: str = ""
    problems: bool = False
    sort: Sort = Sort.PROBLEM

    def shows(self, row: Row) -> bool:
        """Tell whether a row is one of those asked for."""
        if self.symbols and row["symbol"] not in self.symbols:
            return False
        if (self.states and row["state"] not in self.states) or (self.problems and rank(row) >= _UNKNOWN_RANK):
            return False
        words = " ".join(text(row, name) for name in ("symbol", "code", "reason", "detail"))
        return self.text.casefold() in words.casefold()

    def choose(self, rows: Iterable[Row]) -> list[Row]:
        """Give the rows asked for, in order."""
        return sorted((row for row in rows if self.shows(row)), key=self._key)

    def _key(self, row: Row) -> tuple[Any, ...]:
        symbol = row["symbol"]
        match self.sort:
            case Sort.PROBLEM:
                return rank(row), symbol
            case Sort.SINCE:
                return -moment(row, "since_us"), symbol
            case Sort.LAST_TICK:
                return -moment(row, "last_tick_us"), symbol
            case _:
                return text(row, self.sort.value), symbol


def rank(row: Row) -> float:
    """Say how far back a row stands; one without a known state stands before those that need no hand."""
    state = _RANK.get(row["state"] or "", _UNKNOWN_RANK)
    return min(state, _HELD_RANK) if held(row) else state


def held(row: Row) -> bool:
    """Tell whether the symbol is to be removed, and the bridge waits with that."""
    return text(row, "reason") == REMOVAL_HELD


def text(row: Row, name: str) -> str:
    """Give a field's text, empty where there is none."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def moment(row: Row, name: str) -> int:
    """Give a field's microseconds, 0 where there are none."""
    value = row.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def summary(rows: Iterable[Row]) -> Text:
    """Count the rows by state, the ones that need a hand first, and the removals that are held."""
    rows = list(rows)
    counts = Counter(row["state"] for row in rows)
    parts = [
        Text(f"{number:,} {printable(state)}", style=STYLES.get(state, ""))
        for state, number in sorted(counts.items(), key=lambda item: (rank({"state": item[0]}), item[0]))
    ]
    if waiting := sum(map(held, rows)):
        parts.insert(0, Text(f"{count(waiting, 'removal')} held", style="bold yellow"))
    return Text.assemble(count(counts.total(), "symbol"), ": " if parts else "", Text(" · ").join(parts))


def draw(rows: Sequence[Row], now_us: int, *, one_line: bool = False, width: int = WIDTH) -> Sheet:
    """Draw rows as a table for so many characters; with ``one_line``, what is too long is cut instead of folded."""
    names = ("symbol", "code", "state", "reason", "since", "last tick")
    headings = [name for name in names if NARROW.get(name, 0) <= width]
    made = Sheet(*headings, right=("since", "last tick"), gives="reason", one_line=one_line)
    for row in rows:
        cells = {
            "symbol": plain(row["symbol"]),
            "code": plain(row.get("code")),
            "state": state_cell(row["state"]),
            "reason": plain(reason(row), "yellow" if held(row) else ""),
            "since": plain(since(row, now_us)),
            "last tick": plain(last_tick(row, now_us)),
        }
        made.add_row(*(cells[name] for name in headings))
    return made


def state_cell(state: str | None) -> Text:
    """Draw a state."""
    return plain("?" if state is None else state, STYLES.get(state or "", ""))


def reason(row: Row) -> str:
    """Say in one line why a symbol is in its state, and of an unusable record what is in force instead."""
    said = why(row)
    if row["state"] != State.INVALID:
        return said
    beneath = ": ".join(part for part in (text(row, "effective_state"), text(row, "effective_reason")) if part)
    return with_force(said, isinstance(row.get("effective"), dict), beneath)


def with_force(said: str, older: bool, state: str = "") -> str:
    """Add to what is wrong with the newest record whether an older one is in force, and in which ``state`` that is."""
    force = f"an older record is in force{f', {state}' if state else ''}" if older else "not subscribed"
    return f"{said} ({force})".lstrip()


def why(row: Row) -> str:
    """Say in one line why a symbol is in its state, and what its record has that does no harm."""
    cause = ": ".join(part for part in (text(row, "reason"), text(row, "detail")) if part)
    warnings = row.get("warnings")
    notes = [str(one) for one in warnings] if isinstance(warnings, list) else []
    return "; ".join(part for part in (cause, *notes) if part)


def since(row: Row, now_us: int) -> str:
    """Say for how long a symbol has been in its state."""
    return _ago(moment(row, "since_us"), now_us)


def last_tick(row: Row, now_us: int) -> str:
    """Say when the last tick came: a status is not written again for each, so of a live symbol nobody here knows."""
    return "arriving" if row["state"] == State.LIVE else _ago(moment(row, "last_tick_us"), now_us)


def _ago(us: int, now_us: int) -> str:
    return age((now_us - us) / 1e6) if us else ""
