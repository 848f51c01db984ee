"""Rows under headings. Rich's own table takes a second and a half for 3,000 rows; this one takes a tenth of that.

Columns are as wide as what they hold. Where that is more than the screen has, one column gives way first, down to a few
characters, then whichever is the widest; what no longer fits its column is folded, or cut where every row must stay one
line. Such a table is as wide as the screen. No line ends in blanks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

#: Characters between two columns, and those that the column which gives way keeps.
GAP, KEPT = 3, 12


class Sheet:
    """A table to print. ``right`` names the columns that are aligned so, ``gives`` the one that gives way."""

    def __init__(
        self, *headings: str, right: Iterable[str] = (), gives: str = "", caption: str = "", one_line: bool = False
    ) -> None:
        self._headings = headings
        self._right = [heading in right for heading in headings]
        self._gives = headings.index(gives) if gives else None
        self._caption = caption
        self._one_line = one_line
        self._rows: list[Sequence[Text]] = []

    def add_row(self, *cells: Text | str) -> None:
        """Add a row, with a cell for each column; a cell may have several lines."""
        self._rows.append([Text(cell) if isinstance(cell, str) else cell for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as one text: that is what makes it fast."""
        head = [Text(heading, style="bold") for heading in self._headings]
        widths = self._widths(head, options.max_width)
        made = Text(no_wrap=True, overflow="ellipsis", end="")
        for row in (head, [Text("─" * width, style="dim") for width in widths], *self._rows):
            columns = [self._lines(cell, width, console) for cell, width in zip(row, widths, strict=True)]
            for number in range(max(map(len, columns))):
                self._put(made, [lines[number] if number < len(lines) else Text() for lines in columns], widths)
        if self._caption:
            made.append(f"\n{self._caption}\n", "italic dim")
        yield made

    def _widths(self, head: Sequence[Text], room: int) -> list[int]:
        widths = [max(map(_width, column)) for column in zip(head, *self._rows, strict=True)]
        over = sum(widths) + GAP * (len(widths) - 1) - room
        if self._gives is not None and over > 0:
            given = min(over, max(0, widths[self._gives] - KEPT))
            widths[self._gives] -= given
            over -= given
        elif self._gives is not None and self._one_line:
            widths[self._gives] -= over  # on a screen that is drawn again, what stands to the right stays where it is
        while over > 0 and max(widths) > KEPT:
            widths[widths.index(max(widths))] -= 1
            over -= 1
        return widths

    def _lines(self, cell: Text, width: int, console: Console) -> Sequence[Text]:
        """Make the lines of a cell, each no wider than ``width``."""
        if "\n" not in cell.plain and cell_len(cell.plain) <= width:
            return (cell,)
        if self._one_line:
            cut = cell.copy()
            cut.truncate(width, overflow="ellipsis")
            return (cut,)
        return list(cell.wrap(console, width, overflow="fold"))

    def _put(self, made: Text, cells: Sequence[Text], widths: Sequence[int]) -> None:
        """Append a line, its columns filled up as far as something follows."""
        last = max((number for number, cell in enumerate(cells) if cell.plain.strip()), default=-1)
        for number, cell in enumerate(cells[: last + 1]):
            fill = " " * (widths[number] - cell_len(cell.plain))
            gap = " " * GAP if number else ""
            if self._right[number]:
                made.append(gap + fill + cell.plain, cell.style)
            else:
                made.append(gap)
                made.append(cell.plain + fill if number < last else cell.plain.rstrip(), cell.style)
        made.append("\n")


def _width(cell: Text) -> int:
    return max(map(cell_len, cell.plain.split("\n")))
