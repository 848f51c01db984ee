"""``tickbridge subscriptions list``: what the control topic asks for, beside what the bridge says about it.

The control topic knows best what is asked for and which record cannot be used, the status topic what became of it. A
symbol that is in the status topic alone is listed where the bridge holds its removal back: it is still subscribed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from bridge.cli import status, statuses, watch
from bridge.cli.sheet import Sheet
from bridge.cli.stream import read_control
from bridge.cli.tables import Output, OutputOption, busy, console, count, emit, plain, say
from bridge.errors import KafkaUnusable
from bridge.model import State
from bridge.settings import Settings, load

if TYPE_CHECKING:
    from bridge.control.desired import Fold

#: Columns that a screen narrower than so many characters leaves out, so that the reason can be read.
NARROW = {"code": 110, "last tick": 110, "owner": 70}

#: What a record holds, as a row has it.
_FIELDS = ("code", "priority", "stale_after_s", "enabled", "owner", "note")

Row = dict[str, Any]


def show(output: OutputOption = Output.TABLE) -> None:
    """Show what the control topic asks for, joined with what the bridge says about it, problems first.

    A symbol whose state is "?" has no status: no bridge has seen it yet. One that is gone from the topic is still shown
    while the bridge holds its removal back. More about states: [bold]tickbridge status[/].

    Examples:

        tickbridge subscriptions list

        tickbridge subscriptions list -o json | jq -r '.[].symbol'
    """
    settings = load()
    name = settings.topics.subscriptions
    folds, said = read_control(settings), told(settings)
    rows = [row | _state(row, said) for fold in folds for row in _rows(fold)]
    rows += _held_rows({row["symbol"] for row in rows}, said)
    rows.sort(key=lambda row: (statuses.rank(row), row["symbol"]))
    if rows or output is not Output.TABLE:
        emit(output, rows, lambda: _table(rows, console().width))
    else:
        say(f"{name} asks for nothing; begin with `tickbridge subscriptions add SYMBOL`")
    for fold in folds:
        if fold.refusal is not None and fold.refusal.reason == "wrong_partition":
            why = f"partition {fold.partition} of {name} has records that belong to another and do not count"
            say(Text(f"{why}: {fold.refusal.detail}", style="yellow"))


def told(settings: Settings) -> Mapping[str, statuses.Row]:
    """Read what the bridge says; without it the control topic is still worth showing."""
    try:
        with busy(f"Reading {settings.topics.status} …"):
            return status.read(settings).rows
    except KafkaUnusable as error:
        say(Text(f"states are unknown: {error.what}; {error.remedy}", style="yellow"))
        return {}


def _rows(fold: Fold) -> Iterable[Row]:
    wanted, invalid = fold.desired().wanted, fold.invalid
    for symbol in fold.symbols:
        held, bad = wanted.get(symbol), invalid.get(symbol)
        subscription = held.subscription if held else None
        yield {
            "symbol": symbol,
            **{name: subscription and getattr(subscription, name) for name in _FIELDS},
            "partition": fold.partition,
            "offset": bad.offset if bad else held and held.offset,
            "problem": bad and {"reason": bad.reason, "detail": bad.detail, "older_record_in_force": held is not None},
            "warnings": list(subscription.warnings) if subscription else [],
        }


def _held_rows(standing: set[str], told: Mapping[str, statuses.Row]) -> Iterable[Row]:
    """Make rows of the symbols that are gone from the control topic and still subscribed."""
    for symbol, said in told.items():
        if symbol not in standing and statuses.held(said):
            effective = said.get("effective")
            fields = effective if isinstance(effective, dict) else {}
            place = {"partition": said.get("control_partition"), "offset": said.get("control_offset")}
            row = {"symbol": symbol, **{name: fields.get(name) for name in _FIELDS}, **place}
            row |= {"priority": fields.get("priority", 0), "enabled": True, "problem": None, "warnings": []}
            yield row | _state(row, told)


def _state(row: Row, told: Mapping[str, statuses.Row]) -> Row:
    """Give the columns that the bridge fills; of an unusable record the topic itself knows best."""
    said = told.get(row["symbol"], {})
    problem = row["problem"]
    return {
        "state": State.INVALID.value if problem else said.get("state"),
        "reason": problem["reason"] if problem else said.get("reason"),
        "detail": problem["detail"] if problem else said.get("detail"),
        "since_us": said.get("since_us"),
        "last_tick_us": said.get("last_tick_us"),
        "code": row["code"] or said.get("code"),
    }


def _table(rows: list[Row], width: int) -> Sheet:
    names = ("symbol", "code", "priority", "state", "reason", "since", "last tick", "owner")
    columns = [name for name in names if NARROW.get(name, 0) <= width]
    right = ("priority", "since", "last tick")
    made = Sheet(*columns, right=right, gives="reason", caption=_notes(rows))
    now_us = watch.now_us()
    for row in rows:
        cells = {
            **{name: plain(row[name]) for name in ("symbol", "code", "priority", "owner")},
            "state": statuses.state_cell(row["state"]),
            "reason": _reason(row),
            "since": plain(statuses.since(row, now_us)),
            "last tick": plain(statuses.last_tick(row, now_us)),
        }
        made.add_row(*(cells[name] for name in columns))
    return made


def _notes(rows: list[Row]) -> str:
    """Count what the table holds, and what in it needs a hand."""
    bad = sum(row["problem"] is not None for row in rows)
    held = sum(map(statuses.held, rows))
    unseen = sum(row["state"] is None for row in rows)
    notes = [count(len(rows), "symbol")]
    notes += [f"{bad:,} with an unusable record"] if bad else []
    notes += [f"{held:,} to be removed, and held: add what is to stay, or `remove … --yes` at once"] if held else []
    notes += [f"{unseen:,} without a status: is a bridge running?"] if unseen else []
    return ", ".join(notes)


def _reason(row: Row) -> Text:
    why = statuses.why(row)
    if problem := row["problem"]:
        return plain(statuses.with_force(why, problem["older_record_in_force"]), "red")
    return plain(why, "yellow" if row["warnings"] or statuses.held(row) else "")
