"""``tickbridge status --watch``: the status topic followed; a picture on a terminal, a line for each change in a pipe.

What is shown, and what a key does to it, is decided without a terminal (`Screen`). Keys are waited for, records only
looked for, so that a key is answered at once.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from bridge.cli.keys import pressed
from bridge.cli.statuses import Book, Row, Sort, View, draw, reason, summary
from bridge.cli.tables import count, printable

if TYPE_CHECKING:
    from bridge.cli.stream import Stream

#: Seconds between two pictures, and for which a key is waited for between two looks at the topic.
PICTURE_S, KEY_S = 0.5, 0.05
#: Lines of a screen that are no rows: counts, choice, headings, their rule, a blank, the foot, the cursor's.
FRAME_LINES = 7


@dataclass(slots=True)
class Screen:
    """What somebody looks at: a view of the book, from which row on, and whether a filter is being typed."""

    view: View = field(default_factory=View)
    top: int = 0
    typing: bool = False
    over: bool = False

    def press(self, key: str, page: int = 1) -> None:
        """Do what a key means; ``page`` is the number of rows on a screen."""
        if self.typing:
            self._type(key)
            return
        match key:
            case "q":
                self.over = True
            case "s":
                orders = list(Sort)
                self._show(sort=orders[(orders.index(self.view.sort) + 1) % len(orders)])
            case "p":
                self._show(problems=not self.view.problems)
            case "/":
                self.typing = True
            case "escape":
                self._show(text="")
            case _:
                steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page, " ": page}
                ends = {"home": 0, "g": 0, "end": sys.maxsize, "G": sys.maxsize}
                self.top = ends.get(key, max(0, self.top + steps.get(key, 0)))

    def draw(self, book: Book, size: tuple[int, int], now_us: int, trouble: str = "") -> Group:
        """Draw a screen of so many columns and lines: the counts, as many rows as fit, what is shown and the keys."""
        width, room = size[0], rows_on(size[1])
        rows = self.view.choose(book.rows.values())
        self.top = min(self.top, max(0, len(rows) - room))
        shown = rows[self.top : self.top + room]
        head, foot = summary(book.rows.values()), self._foot(len(shown), len(rows))
        chosen = self._chosen(len(book.rows) - len(rows))
        if trouble:
            foot = Text(f"Kafka is out of reach, this may be old: {printable(trouble)}", style="bold red")
        for line in (head, chosen, foot):
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(head, chosen, draw(shown, now_us, one_line=True, width=width), "", foot)

    def _chosen(self, left_out: int) -> Text:
        """Say by whose choice symbols are not shown: yours, by option or key."""
        view = self.view
        parts = ["problems"] if view.problems else []
        parts += [", ".join(sorted(view.states))] if view.states else []
        parts += [count(len(view.symbols), "symbol")] if view.symbols else []
        parts += [f"/{printable(view.text)} (Esc drops it)"] if view.text else []
        return Text(f"{left_out:,} left out: only {' · '.join(parts)}" if parts else "", style="cyan")

    def _foot(self, shown: int, chosen: int) -> Text:
        if self.typing:
            return Text.assemble("filter: ", (printable(self.view.text), "bold"), "_  (Enter keeps it, Esc drops it)")
        first = min(self.top + 1, shown)
        keys = f"q quit  s sort  p {'all' if self.view.problems else 'problems'}  / filter  ↑↓ scroll"
        parts = [f"{first:,}-{self.top + shown:,} of {chosen:,}", f"by {self.view.sort}", keys]
        return Text(" · ".join(parts), style="dim")

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.typing = False
        if key == "escape":
            self._show(text="")
        elif key == "backspace":
            self._show(text=self.view.text[:-1])
        elif len(key) == 1:
            self._show(text=self.view.text + key)

    def _show(self, **changes: Any) -> None:
        self.view, self.top = replace(self.view, **changes), 0


def rows_on(height: int) -> int:
    """Say how many rows a screen has room for."""
    return max(1, height - FRAME_LINES)


def picture(stream: Stream, book: Book, view: View) -> None:
    """Show what is there, anew when a key was pressed or time went on, until somebody has seen enough."""
    terminal, screen = Console(highlight=False), Screen(view)
    with pressed() as keys, Live(console=terminal, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        try:
            while not screen.over:
                size = terminal.size
                live.update(screen.draw(book, size, now_us(), stream.trouble), refresh=True)
                end = time.monotonic() + PICTURE_S
                while time.monotonic() < end and terminal.size == size:
                    _take(stream, book)
                    if found := keys(KEY_S):
                        for key in found:
                            screen.press(key, rows_on(size.height))
                        break
        finally:
            # A terminal that has grown meanwhile leaves what stands above the cursor on its own screen: nothing does.
            terminal.control(Control.clear(), Control.home())


def lines(stream: Stream, book: Book, view: View, *, as_json: bool) -> None:
    """Print what is there, then a line for each change; never returns."""
    line = _as_json if as_json else _as_line
    for row in view.choose(book.rows.values()):
        _print(line(row["symbol"], row))
    while True:
        messages = stream.take()
        stream.tell_trouble()
        for message in messages:
            former = book.rows.get((message.key() or b"").decode(errors="replace"))
            symbol = book.take(message.key(), message.value())
            newest = book.rows.get(symbol or "")
            if symbol is not None and any(one is not None and view.shows(one) for one in (former, newest)):
                _print(line(symbol, newest))


def _take(stream: Stream, book: Book) -> None:
    """Take all that has come."""
    while messages := stream.take(0):
        for message in messages:
            book.take(message.key(), message.value())


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


def now_us() -> int:
    """Give the time, as records have it."""
    return time.time_ns() // 1000
