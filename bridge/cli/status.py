"""``tickbridge status``: what the bridge says about each symbol, read from the status topic (``watch`` follows it)."""

from __future__ import annotations

import difflib
import sys
from typing import Annotated

import typer
from rich.text import Text

from bridge.cli import watch
from bridge.cli.complete import symbols as complete_symbols
from bridge.cli.statuses import Book, Sort, View, draw, summary
from bridge.cli.stream import Stream
from bridge.cli.tables import Output, OutputOption, busy, console, count, printable, put, say, written
from bridge.errors import SettingsError
from bridge.model import State
from bridge.settings import Settings, load

#: Some symbol that was asked for has no status.
EXIT_ABSENT = 5


def status(
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Only these.", autocompletion=complete_symbols)
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until q or Ctrl-C.")] = False,
    state: Annotated[
        list[State] | None,
        typer.Option(metavar="STATE", help=f"Only this state; may be given again: {', '.join(State)}."),
    ] = None,
    text: Annotated[
        str, typer.Option("--filter", metavar="TEXT", help="Only where symbol, code or reason holds TEXT.")
    ] = "",
    sort: Annotated[Sort, typer.Option(help="Order; times are newest first.")] = Sort.PROBLEM,
    problems: Annotated[
        bool,
        typer.Option(
            "--problems", help="Only what needs a hand: invalid, rejected, over_cap, offline, stale, removal_held."
        ),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what really happens with each symbol, problems first, as the bridge says in the status topic.

    With --watch it follows the topic: a table on a terminal (keys: q quits, s sorts, p shows problems only, / filters,
    arrows scroll), one line for each change in a pipe (with -o json, one JSON record). The last tick is the one before
    the change of state; of a live symbol it says "arriving".

    Exit codes: 0 shown; 5 a SYMBOL given has no status; 2 the arguments or the settings cannot be used; 3 Kafka cannot.

    Examples:

        tickbridge status

        tickbridge status --problems

        tickbridge status --watch --filter .HK

        tickbridge status AAPL.US -o json | jq -r '.[].state'
    """
    if follow and output is Output.YAML:
        raise SettingsError("--watch prints lines; give -o json or -o table")
    view = View(frozenset(symbols or ()), frozenset(state or ()), text, problems, sort)
    settings = load()
    if follow:
        _watch(settings, view, output)
    else:
        _show(settings, view, output)


def read(settings: Settings) -> Book:
    """Read the status topic to its end.

    Raises:
        KafkaUnusable: Kafka refuses us, is out of reach, or the topic does not exist.
    """
    book = Book()
    with follow(settings) as stream:
        for message in stream.to_end():
            book.take(message.key(), message.value())
    return book


def follow(settings: Settings) -> Stream:
    """Open the status topic at its beginning.

    Raises:
        KafkaUnusable: Kafka refuses us, is out of reach, or the topic does not exist.
    """
    return Stream(settings, settings.topics.status, "TICKBRIDGE_TOPICS__STATUS", from_beginning=True)


def _show(settings: Settings, view: View, output: Output) -> None:
    with busy(f"Reading {settings.topics.status} …"):
        book = read(settings)
    about = [row for symbol, row in book.rows.items() if not view.symbols or symbol in view.symbols]
    rows = view.choose(about)
    if output is not Output.TABLE:
        put(written(output, rows))
    elif about:
        screen = console()
        screen.print(summary(about))
        if rows:
            screen.print(draw(rows, watch.now_us(), width=screen.width))
        if len(rows) < len(about):
            screen.print(f"{len(rows):,} of {count(len(about), 'symbol')} shown")
    if not book.rows:
        say(f"{settings.topics.status} says nothing yet; it is written by a running bridge (`tickbridge run`)")
    _complain(book)
    if absent := sorted(view.symbols - book.rows.keys()):
        for symbol in absent:
            close = difflib.get_close_matches(symbol, book.rows, 1)
            hint = f"did you mean {close[0]}?" if close else "`tickbridge subscriptions list` shows what is asked for"
            say(printable(f"{symbol} has no status; {hint}"))
        raise typer.Exit(EXIT_ABSENT)


def _complain(book: Book) -> None:
    if book.unreadable:
        say(Text(f"{count(book.unreadable, 'record')} could not be read and left out", style="yellow"))


def _watch(settings: Settings, view: View, output: Output) -> None:
    book = Book()
    try:
        with busy(f"Reading {settings.topics.status} …"):
            stream = follow(settings)
        with stream:
            for message in stream.to_end():
                book.take(message.key(), message.value())
            if output is Output.TABLE and sys.stdout.isatty():
                watch.picture(stream, book, view)
            else:
                watch.lines(stream, book, view, as_json=output is Output.JSON)
    except KeyboardInterrupt:
        pass
    say(summary(book.rows.values()))
