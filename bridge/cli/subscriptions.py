"""``tickbridge subscriptions``: what is asked for, written to the control topic and read from it."""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.control import records
from bridge.control.desired import Fold
from bridge.control.reader import read_to_end
from bridge.control.writer import write
from bridge.errors import BadRecord, KafkaUnusable, SettingsError
from bridge.model import Subscription
from bridge.publish import topics
from bridge.settings import load

#: Columns of a table that goes into a file or a pipe.
WIDTH = 160

#: Seconds that it may take to see whether the control topic is there.
LOOK_S = 10.0

Row = dict[str, Any]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

Symbols = Annotated[
    list[str],
    typer.Argument(metavar="SYMBOL", help="As the venue spells it (700.HK), or EXCHANGE:TICKER (HKEX:00700)."),
]


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


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
    with _busy(f"Writing {name} …"):
        if topics.missing(settings.kafka.as_librdkafka(), [name], LOOK_S):
            raise KafkaUnusable(f"the topic {name} does not exist", "run `tickbridge topics ensure`")
        write(settings, _quiet, pairs)
    for symbol in symbols:
        typer.echo(f"added {symbol}")


@app.command()
def remove(symbols: Symbols) -> None:
    """End subscriptions, by a tombstone for each; symbols without a record are refused, and then nothing is written.

    Examples:

        tickbridge subscriptions remove AAPL.US 700.HK
    """
    settings = load()
    name = settings.topics.subscriptions
    with _busy(f"Reading {name} …"):
        folds = read_to_end(settings, _quiet)
    standing = {symbol for fold in folds for symbol in _standing(fold)}
    _refuse_absent(_each_once(symbols), standing, name)
    with _busy(f"Writing {name} …"):
        for fold in folds:
            # Into the partition in which the record stands, whoever put it there.
            ended = [symbol for symbol in symbols if symbol in _standing(fold)]
            write(settings, _quiet, [(symbol.encode(), None) for symbol in ended], partition=fold.partition)
    for symbol in symbols:
        typer.echo(f"removed {symbol}")


@app.command("list")
def show(
    output: Annotated[Output, typer.Option("-o", "--output", help="How the result is printed.")] = Output.TABLE,
) -> None:
    """Show what the control topic asks for, and which of its records cannot be used.

    What really happens with each symbol is another question: see [bold]tickbridge status[/].

    Examples:

        tickbridge subscriptions list

        tickbridge subscriptions list -o json | jq -r '.[].symbol'
    """
    settings = load()
    name = settings.topics.subscriptions
    with _busy(f"Reading {name} …"):
        rows = sorted((row for fold in read_to_end(settings, _quiet) for row in _rows(fold)), key=_order)
    if output is Output.JSON:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(rows))
    else:
        typer.echo(f"{name} asks for nothing; begin with `tickbridge subscriptions add SYMBOL`", err=True)


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


def _order(row: Row) -> tuple[str, int]:
    return row["symbol"], row["partition"]


def _table(rows: list[Row]) -> Table:
    bad = sum(row["problem"] is not None for row in rows)
    table = Table(
        box=box.SIMPLE_HEAD, caption=f"{len(rows)} symbols" + (f", {bad} with an unusable record" if bad else "")
    )
    for heading in ("symbol", "code", "priority", "stale after", "enabled", "owner", "note", "remarks"):
        table.add_column(
            heading, overflow="fold", justify="right" if heading in ("priority", "stale after") else "left"
        )
    for row in rows:
        stale, enabled = row["stale_after_s"], row["enabled"]
        table.add_row(
            *(_plain(row[name]) for name in ("symbol", "code", "priority")),
            _plain(None if stale is None else f"{stale:g} s"),
            _plain(None if enabled is None else ("yes" if enabled else "no")),
            *(_plain(row[name]) for name in ("owner", "note")),
            _remarks(row),
        )
    return table


def _remarks(row: Row) -> Text:
    lines = list(row["warnings"])
    if problem := row["problem"]:
        then = "an older record is in force" if problem["older_record_in_force"] else "not subscribed"
        lines.insert(0, f"{problem['reason']}: {problem['detail']} ({then})")
    return Text("\n".join(map(_printable, lines)), style="bold red" if problem else "yellow")


def _plain(value: object) -> Text:
    return Text("" if value is None else _printable(str(value)))


def _printable(text: str) -> str:
    """Take the power over a terminal from a text that anybody may have written."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _busy(what: str) -> Any:
    return Console(stderr=True).status(what)


def _quiet(_event: str, /, **_fields: Any) -> None:
    """Say nothing: an error that matters ends the command and explains itself."""
