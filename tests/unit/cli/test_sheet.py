"""Rows under headings, drawn to fit."""

import io
import time

from rich.console import Console
from rich.text import Text

from bridge.cli.sheet import Sheet


def drawn(sheet: Sheet, width: int = 40) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(sheet)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def sheet(reason: str = "why", **options: object) -> Sheet:
    made = Sheet("symbol", "reason", "since", right=("since",), gives="reason", **options)  # type: ignore[arg-type]
    made.add_row("AAPL.US", reason, "5 s")
    made.add_row("A", "", "10 min")
    return made


def test_columns_are_as_wide_as_what_they_hold_and_no_line_ends_in_blanks() -> None:
    assert drawn(sheet()) == [
        "symbol    reason    since",
        "───────   ──────   ──────",
        "AAPL.US   why         5 s",
        "A                  10 min",
    ]
    plain = Sheet("a", "b")
    plain.add_row("x ", "")
    assert drawn(plain)[-1] == "x"


def test_what_does_not_fit_is_folded_between_words_in_the_column_that_gives_way() -> None:
    assert drawn(sheet("the venue refuses this code"))[2:] == [
        "AAPL.US   the venue refuses          5 s",
        "          this code",
        "A                                 10 min",
    ]


def test_where_rows_stay_one_line_it_is_cut_and_the_table_is_as_wide_as_the_screen() -> None:
    assert drawn(sheet("the venue refuses this code", one_line=True))[2:] == [
        "AAPL.US   the venue refuses th…      5 s",
        "A                                 10 min",
    ]
    assert drawn(sheet(one_line=True))[3] == "A                                 10 min"


def test_the_widest_column_is_folded_when_the_one_that_gives_way_is_not_enough() -> None:
    made = Sheet("name", "value", gives="value")
    made.add_row("n" * 50, "v" * 50)
    lines = drawn(made)
    assert max(map(len, lines)) <= 40
    assert "".join(lines[2:]).count("n") == "".join(lines[2:]).count("v") == 50


def test_cells_have_several_lines_and_wide_characters_their_two_columns() -> None:
    made = Sheet("a", "b", caption="2 rows")
    made.add_row(Text("one\ntwo"), "x")
    made.add_row("腾讯", "y")
    assert drawn(made)[2:] == ["one    x", "two", "腾讯   y", "", "2 rows"]


def test_thousands_of_rows_are_drawn_in_a_moment() -> None:
    made = Sheet("symbol", "code", "state", "reason", "since", "last tick", gives="reason")
    for number in range(3000):
        made.add_row(f"{number}.HK", f"{number}.HK", Text("live", style="green"), "", "5 s", "arriving")
    before = time.process_time()
    assert len(drawn(made, 160)) == 3002
    assert time.process_time() - before < 1.0  # 0.1 s as a rule; rich's own table takes 1.5 s
