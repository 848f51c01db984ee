"""``tickbridge status``: what the bridge says about each symbol, read from the status topic, once or for as long as one
looks."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from bridge.cli.complete import symbols as complete_symbols
from bridge.cli.statuses import Book, Row, Sort, View, draw, reason, summary
from bridge.cli.stream import Stream
from bridge.cli.tables import Output, OutputOption, busy, console, count, printable, say, written
from bridge.errors import SettingsError
from bridge.model import State
from bridge.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Message

#: Seconds between two pictures, and lines of a screen that are no rows.
PICTURE_S = 0.5
FRAME_LINES = 8


def status(
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL]…", help="Only these.", autocompletion=complete_symbols)
    ] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until Ctrl-C.")] = False,
    state: Annotated[list[State] | None, typer.Option(help="Only this state; may be given again.")] = None,
    text: Annotated[str, typer.Option("--filter", help="Only where symbol, code or reason holds TEXT.")] = "",
    sort: Annotated[Sort, typer.Option(help="Order; times are newest first.")] = Sort.PROBLEM,
    problems: Annotated[
        bool, typer.Option("--problems", help="Only what is invalid, rejected, over_cap, offline or stale.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what really happens with each symbol, problems first, as the bridge says in the status topic.

    With --watch it follows the topic: a table on a terminal, one line for each change in a pipe (with -o json, one
    JSON record). The last tick is the one before the change of state; of a live symbol it says "arriving".

    Examples:

        tickbridge status

        tickbridge status --problems

        tickbridge status --watch --filter .HK

        tickbridge status AAPL.US -o json | jq -r '.[].state'
    """
    if watch and output is Output.YAML:
        raise SettingsError("--watch prints lines; give -o json or -o table")
    view = View(frozenset(symbols or ()), frozenset(state or ()), text, problems, sort)
    settings = load()
    if watch:
        _watch(settings, view, output)
    else:
        _show(settings, view, output)


def read(settings: Settings) -> Book:
    """Read the status topic to its end.

    Raises:
        KafkaUnusable: Kafka refuses us, is out of reach, or the topic does not exist.
    """
    book = Book()
    with _stream(settings) as stream:
        for message in stream.to_end():
            book.take(message.key(), message.value())
    return book


def _stream(settings: Settings) -> Stream:
    return Stream(settings, settings.topics.status, "TICKBRIDGE_TOPICS__STATUS", from_beginning=True)


def _show(settings: Settings, view: View, output: Output) -> None:
    with busy(f"Reading {settings.topics.status} …"):
        book = read(settings)
    rows = view.choose(book.rows.values())
    if output is not Output.TABLE:
        typer.echo(written(output, rows))
    elif book.rows:
        screen = console()
        screen.print(summary(book.rows.values()))
        if rows:
            screen.print(draw(rows, now_us()))
        if len(rows) < len(book.rows):
            screen.print(f"{len(rows):,} of {count(len(book.rows), 'symbol')} shown")
    for symbol in sorted(view.symbols - book.rows.keys()):
        say(f"{printable(symbol)} has no status; see `tickbridge subscriptions list`")
    if not book.rows:
        say(f"{settings.topics.status} says nothing yet; it is written by a running bridge (`tickbridge run`)")
    _complain(book)


def _complain(book: Book) -> None:
    if book.unreadable:
        say(Text(f"{count(book.unreadable, 'record')} could not be read and left out", style="yellow"))


def _watch(settings: Settings, view: View, output: Output) -> None:
    book = Book()
    try:
        with busy(f"Reading {settings.topics.status} …"):
            stream = _stream(settings)
        with stream:
            for message in stream.to_end():
                book.take(message.key(), message.value())
            if output is Output.TABLE and sys.stdout.isatty():
                _picture(stream, book, view)
            else:
                _lines(stream, book, view, _as_json if output is Output.JSON else _as_line)
    except KeyboardInterrupt:
        say(summary(book.rows.values()))


def _picture(stream: Stream, book: Book, view: View) -> None:
    """Draw what is there, anew when something changed or time went on."""
    terminal = Console(highlight=False)
    with Live(console=terminal, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            live.update(picture(book, view, terminal.height, now_us(), stream.trouble), refresh=True)
            end = time.monotonic() + PICTURE_S
            while (left := end - time.monotonic()) > 0:
                _take(stream.take(left), book)


def picture(book: Book, view: View, height: int, now_us: int, trouble: str = "") -> Group:
    """Draw a screen of ``height`` lines: the counts, as many rows as fit, and how many do not."""
    rows = view.choose(book.rows.values())
    room = max(1, height - FRAME_LINES)
    hidden = len(rows) - min(len(rows), room)
    foot = [f"{hidden:,} more rows do not fit (--problems, --state, --filter)"] if hidden else []
    if len(rows) < len(book.rows):
        foot.append(f"{len(book.rows) - len(rows):,} left out by your choice")
    last = Text(" · ".join([*foot, "Ctrl-C ends it"]), style="dim", no_wrap=True, overflow="ellipsis")
    if trouble:
        last = Text(f"Kafka is out of reach, this may be old: {printable(trouble)}", style="bold red", no_wrap=True)
    return Group(summary(book.rows.values()), draw(rows[:room], now_us, one_line=True), last)


def _lines(stream: Stream, book: Book, view: View, line: Callable[[str, Row | None], str]) -> None:
    for row in view.choose(book.rows.values()):
        _print(line(row["symbol"], row))
    while True:
        for message in stream.take():
            former = book.rows.get((message.key() or b"").decode(errors="replace"))
            symbol = book.take(message.key(), message.value())
            newest = book.rows.get(symbol or "")
            if symbol is not None and any(one is not None and view.shows(one) for one in (former, newest)):
                _print(line(symbol, newest))


def _as_json(symbol: str, row: Row | None) -> str:
    value: Any = {"symbol": symbol, "state": None} if row is None else row
    return json.dumps(value, ensure_ascii=False)


def _as_line(symbol: str, row: Row | None) -> str:
    if row is None:
        return f"{printable(symbol)}  no longer asked for"
    return "  ".join(printable(part) for part in (symbol, row["state"], reason(row)) if part)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _take(messages: Iterable[Message], book: Book) -> None:
    for message in messages:
        book.take(message.key(), message.value())


def now_us() -> int:
    """Give the time, as records have it."""
    return time.time_ns() // 1000
