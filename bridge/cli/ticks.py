"""``tickbridge ticks``: the ticks topic, followed as it grows."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from bridge.cli.complete import symbols as complete_symbols
from bridge.cli.stream import Stream
from bridge.cli.tables import busy, count, printable, say
from bridge.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import Message

#: Seconds without a tick after which one is told where to look.
HINT_S = 10.0

#: Columns and their characters; below 0, aligned to the right.
_WIDTHS = {"symbol": 14, "price": -14, "volume": -10, "side": 4, "seq": 10}
#: What a price that rose, stayed or fell looks like.
_ARROWS = {1: ("▲", "green"), 0: (" ", ""), -1: ("▼", "red")}

Tick = dict[str, Any]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", epilog="Example: [bold]tickbridge ticks tail AAPL.US[/]"
)


class Lines(StrEnum):
    """How ticks are printed."""

    TABLE = "table"
    JSON = "json"


@app.callback()
def _ticks() -> None:
    """Look at the ticks that the bridge publishes."""


@app.command()
def tail(
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Only these.", autocompletion=complete_symbols)
    ] = None,
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest tick that is kept.")
    ] = False,
    number: Annotated[int | None, typer.Option("--count", min=1, metavar="N", help="Stop after N ticks.")] = None,
    output: Annotated[
        Lines, typer.Option("-o", "--output", help="json: one record a line, as it stands.")
    ] = Lines.TABLE,
) -> None:
    """Print ticks as they come, until Ctrl-C. It joins no consumer group, so nothing that runs is disturbed.

    Times are the bridge's receive times, in UTC. An arrow says whether the price went up or down since the last tick of
    the symbol that was printed. Within a symbol the order is the topic's; with --from-beginning, different symbols may
    not be in the order of time.

    Examples:

        tickbridge ticks tail

        tickbridge ticks tail AAPL.US HKEX:00700

        tickbridge ticks tail --from-beginning --count 100 -o json | jq .price
    """
    settings = load()
    show = _Columns().show if output is Lines.TABLE else _show_json
    try:
        _follow(settings, frozenset(symbols or ()), show, from_beginning, number)
    except KeyboardInterrupt:
        return


def _follow(
    settings: Settings,
    symbols: frozenset[str],
    show: Callable[[Sequence[Tick]], None],
    from_beginning: bool,
    number: int | None,
) -> None:
    topic, left = settings.topics.ticks, number
    with busy(f"Opening {topic} …"):
        stream = Stream(settings, topic, "TICKBRIDGE_TOPICS__TICKS", from_beginning=from_beginning)
    with stream:
        say(Text(f"{topic}, {count(len(stream.partitions), 'partition')}; Ctrl-C ends it", style="dim"))
        hint_at = time.monotonic() + HINT_S
        while left is None or left > 0:
            ticks = [tick for message in stream.take() if (tick := _tick(message, symbols)) is not None][:left]
            stream.tell_trouble()
            if ticks:
                show(ticks)
                sys.stdout.flush()
                hint_at = float("inf")
                left = None if left is None else left - len(ticks)
            if time.monotonic() > hint_at:
                hint_at = float("inf")
                say(f"no tick yet; see `{' '.join(['tickbridge status', *map(printable, sorted(symbols))])}`")


def _tick(message: Message, symbols: frozenset[str]) -> Tick | None:
    """Read a record; ``None`` if it is about no symbol that was asked for, or no tick at all."""
    if symbols and (message.key() or b"").decode(errors="replace") not in symbols:
        return None
    try:
        found = json.loads(message.value() or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _show_json(ticks: Sequence[Tick]) -> None:
    sys.stdout.write("".join(f"{json.dumps(tick, ensure_ascii=False, separators=(',', ':'))}\n" for tick in ticks))


class _Columns:
    """Prints ticks in columns, with an arrow for the direction of the price, and colours where there are any.

    What a colour looks like here is asked once: whoever prints slower than ticks come shows the past.
    """

    def __init__(self) -> None:
        self._prices: dict[str, Decimal] = {}
        self._looks = {way: (arrow, *_painted(style)) for way, (arrow, style) in _ARROWS.items()}
        before, after = _painted("bold")
        self._heading = f"{before}{_line('time', '', {name: name for name in _WIDTHS})}{after}\n"

    def show(self, ticks: Sequence[Tick]) -> None:
        """Print ticks, after the headings if they are the first."""
        lines, self._heading = [self._heading], ""
        for tick in ticks:
            arrow, before, after = self._looks[self._direction(str(tick.get("symbol")), str(tick.get("price")))]
            lines.append(f"{before}{_line(_time(tick), arrow, tick)}{after}\n")
        sys.stdout.write("".join(lines))

    def _direction(self, symbol: str, price: str) -> int:
        try:
            new = Decimal(price)
        except InvalidOperation:
            return 0
        former = self._prices.get(symbol, new)
        self._prices[symbol] = new
        return (new > former) - (new < former)


def _painted(style: str) -> tuple[str, str]:
    """Give what stands before and after a text of this style on standard output: nothing where it has no colours."""
    terminal = Console(highlight=False)
    with terminal.capture() as painted:
        terminal.print(Text("x", style=style), end="")
    before, _, after = painted.get().partition("x")
    return before, after


def _line(when: str, arrow: str, tick: Tick) -> str:
    cells = [f"{when:<12}"]
    for name, width in _WIDTHS.items():
        text = printable(str(tick.get(name, "")))
        cells.append(text.ljust(width) if width > 0 else text.rjust(-width))
        if name == "price":
            cells[-1] += f" {arrow:1}"
    return "  ".join(cells).rstrip()


def _time(tick: Tick) -> str:
    us = tick.get("ts_recv_us")
    if not isinstance(us, int) or not 0 <= us < 2**53:
        return "?"
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%H:%M:%S.%f}"[:12]
