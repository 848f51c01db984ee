"""``tickbridge subscriptions``: what is asked for, written to the control topic and read from it.

``diff`` and ``apply`` live in a file of their own.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from bridge.cli import apply, status, statuses
from bridge.cli.complete import symbols as complete_symbols
from bridge.cli.tables import Output, OutputOption, busy, count, emit, plain, printable, quiet, say, table
from bridge.control import records
from bridge.control.desired import Fold
from bridge.control.reader import read_to_end
from bridge.control.writer import write
from bridge.errors import BadRecord, KafkaUnusable, SettingsError
from bridge.model import State, Subscription
from bridge.publish import topics
from bridge.settings import Settings, load

#: Seconds that it may take to see whether the control topic is there.
LOOK_S = 10.0

Row = dict[str, Any]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

Symbols = Annotated[
    list[str],
    typer.Argument(metavar="SYMBOL", help="As the venue spells it (700.HK), or EXCHANGE:TICKER (HKEX:00700)."),
]


Standing = Annotated[
    list[str],
    typer.Argument(metavar="SYMBOL", help="As `subscriptions list` shows it.", autocompletion=complete_symbols),
]


@app.callback()
def _subscriptions() -> None:
    """Say which symbols the bridge subscribes to. Only Kafka is needed: no token, no running bridge."""


@app.command()
def add(
    symbols: Symbols,
    *,
    code: Annotated[
        str | None, typer.Option(help="The venue's spelling, where it does not follow from SYMBOL.")
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            min=records.MIN_PRIORITY,
            max=records.MAX_PRIORITY,
            help="Who comes first when the plan has no room for all.",
        ),
    ] = 0,
    stale_after: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Seconds without a tick until it is stale.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who asks for it.")] = None,
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Keep the record, but do not subscribe.")] = False,
) -> None:
    """Ask for symbols; a record that is there already is replaced as a whole.

    Examples:

        tickbridge subscriptions add AAPL.US 700.HK

        tickbridge subscriptions add HKEX:00700 --priority 5 --owner desk-3

        tickbridge subscriptions add TENCENT --code 700.HK --stale-after 120
    """
    if code is not None and len(symbols) > 1:
        raise SettingsError(f"--code {code} is one symbol's, and {len(symbols)} are given; add them one by one")
    if stale_after is not None and not (stale_after > 0 and math.isfinite(stale_after)):
        raise SettingsError(f"--stale-after {stale_after:g}: give a number of seconds above 0")
    pairs = [
        _encoded(Subscription(symbol, code, priority, stale_after, not disabled, owner, note))
        for symbol in _each_once(symbols)
    ]
    settings = load()
    name = settings.topics.subscriptions
    with busy(f"Writing {name} …"):
        if topics.missing(settings.kafka.as_librdkafka(), [name], LOOK_S):
            raise KafkaUnusable(f"the topic {name} does not exist", "run `tickbridge topics ensure`")
        write(settings, quiet, pairs)
    for symbol in symbols:
        typer.echo(f"added {symbol}")


@app.command()
def remove(symbols: Standing) -> None:
    """End subscriptions, by a tombstone for each; symbols without a record are refused, and then nothing is written.

    Examples:

        tickbridge subscriptions remove AAPL.US 700.HK
    """
    settings = load()
    name = settings.topics.subscriptions
    with busy(f"Reading {name} …"):
        folds = read_to_end(settings, quiet)
    standing = {symbol for fold in folds for symbol in _standing(fold)}
    _refuse_absent(_each_once(symbols), standing, name)
    with busy(f"Writing {name} …"):
        for fold in folds:
            # Into the partition in which the record stands, whoever put it there.
            ended = [symbol for symbol in symbols if symbol in _standing(fold)]
            write(settings, quiet, [(symbol.encode(), None) for symbol in ended], partition=fold.partition)
    for symbol in symbols:
        typer.echo(f"removed {symbol}")


@app.command("list")
def show(output: OutputOption = Output.TABLE) -> None:
    """Show what the control topic asks for, joined with what the bridge says about it, problems first.

    A symbol whose state is "?" has no status: no bridge has seen it yet. More about states: [bold]tickbridge status[/].

    Examples:

        tickbridge subscriptions list

        tickbridge subscriptions list -o json | jq -r '.[].symbol'
    """
    settings = load()
    name = settings.topics.subscriptions
    with busy(f"Reading {name} …"):
        folds = read_to_end(settings, quiet)
    told = _told(settings)
    rows = sorted((row | _state(row, told) for fold in folds for row in _rows(fold)), key=_order)
    if rows or output is not Output.TABLE:
        emit(output, rows, lambda: _table(rows))
    else:
        say(f"{name} asks for nothing; begin with `tickbridge subscriptions add SYMBOL`")


app.command()(apply.diff)
app.command()(apply.apply)


def _told(settings: Settings) -> Mapping[str, statuses.Row]:
    """Read what the bridge says; without it the list is still worth showing."""
    try:
        with busy(f"Reading {settings.topics.status} …"):
            return status.read(settings).rows
    except KafkaUnusable as error:
        say(Text(f"states are unknown: {error.what}; {error.remedy}", style="yellow"))
        return {}


def _encoded(subscription: Subscription) -> tuple[bytes, bytes]:
    """Write a record as the bridge would accept it, or say what is wrong with which argument."""
    for argument, text in (("SYMBOL", subscription.symbol), ("--code", subscription.code)):
        if text is not None and (problem := records.spelling_problem(text)):
            raise SettingsError(f"{argument} {problem}")
    try:
        key, value = records.encode(subscription)
        records.decode(key, value)
    except UnicodeEncodeError:
        raise SettingsError("--owner or --note is no text in UTF-8; write it anew") from None
    except BadRecord as error:
        raise SettingsError(f"{subscription.symbol}: {error.detail}") from None
    return key, value


def _each_once(symbols: Sequence[str]) -> Sequence[str]:
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise SettingsError(f"SYMBOL {symbol!a} is given twice; give it once")
    return symbols


def _refuse_absent(symbols: Iterable[str], standing: set[str], topic: str) -> None:
    lines = []
    for symbol in symbols:
        if symbol not in standing:
            close = difflib.get_close_matches(symbol, standing, 1)
            hint = f"did you mean {close[0]!a}?" if close else "see `tickbridge subscriptions list`"
            lines.append(f"SYMBOL {symbol!a} has no record in {topic}; {hint}")
    if lines:
        raise SettingsError(*lines)


def _standing(fold: Fold) -> set[str]:
    return {*fold.desired().wanted, *fold.invalid}


def _rows(fold: Fold) -> Iterable[Row]:
    wanted, invalid = fold.desired().wanted, fold.invalid
    for symbol in _standing(fold):
        held, bad = wanted.get(symbol), invalid.get(symbol)
        subscription = held.subscription if held else None
        yield {
            "symbol": symbol,
            "code": subscription and subscription.code,
            "priority": subscription and subscription.priority,
            "stale_after_s": subscription and subscription.stale_after_s,
            "enabled": subscription and subscription.enabled,
            "owner": subscription and subscription.owner,
            "note": subscription and subscription.note,
            "partition": fold.partition,
            "offset": bad.offset if bad else held and held.offset,
            "problem": bad and {"reason": bad.reason, "detail": bad.detail, "older_record_in_force": held is not None},
            "warnings": list(subscription.warnings) if subscription else [],
        }


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


def _order(row: Row) -> tuple[float, str, int]:
    return statuses.rank(row["state"]), row["symbol"], row["partition"]


def _table(rows: list[Row]) -> Table:
    bad = sum(row["problem"] is not None for row in rows)
    unseen = sum(row["state"] is None for row in rows)
    notes = [count(len(rows), "symbol")]
    notes += [f"{bad:,} with an unusable record"] if bad else []
    notes += [f"{unseen:,} without a status: is a bridge running?"] if unseen else []
    right = ("priority", "since", "last tick")
    columns = ("symbol", "code", "priority", "state", "reason", "since", "last tick", "owner")
    made = table(*columns, right=right, caption=", ".join(notes), caption_justify="left")
    now_us = status.now_us()
    for row in rows:
        made.add_row(
            *(plain(row[name]) for name in ("symbol", "code", "priority")),
            statuses.state_cell(row["state"]),
            _reason(row),
            statuses.since(row, now_us),
            statuses.last_tick(row, now_us),
            plain(row["owner"]),
        )
    return made


def _reason(row: Row) -> Text:
    reason = printable(statuses.reason(row))
    if problem := row["problem"]:
        then = "an older record is in force" if problem["older_record_in_force"] else "not subscribed"
        return Text(f"{reason} ({then})", style="red")
    return Text(reason, style="yellow" if row["warnings"] else "")
