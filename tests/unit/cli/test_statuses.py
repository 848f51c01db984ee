"""Statuses as people look at them: chosen, put in order, and drawn to fit."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from bridge.cli.statuses import Book, Sort, View, draw, held, reason, summary
from bridge.model import State
from tests.unit.test_schemas import accepts

NOW = 1_790_000_000_000_000
SECOND = 1_000_000


def record(symbol: str, state: State, **fields: Any) -> bytes:
    value = {"v": 1, "bridge": "tickbridge", "symbol": symbol, "state": state, "since_us": NOW - 60 * SECOND, **fields}
    assert accepts("status", value)
    return json.dumps(value).encode()


def book(*rows: tuple[str, State]) -> Book:
    made = Book()
    for symbol, state in rows:
        made.take(symbol.encode(), record(symbol, state))
    return made


ALL = book(*((f"S{number}", state) for number, state in enumerate(State)))


def seen(view: View, of: Book = ALL) -> list[str]:
    return [row["symbol"] for row in view.choose(of.rows.values())]


def drawn(what: Any, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(what)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def test_the_newest_record_of_a_symbol_counts_and_a_tombstone_ends_it() -> None:
    made = book(("A", State.PENDING), ("A", State.LIVE), ("B", State.LIVE))
    assert made.take(b"B", None) == "B"
    assert {symbol: row["state"] for symbol, row in made.rows.items()} == {"A": "live"}


@pytest.mark.parametrize("value", [b"{", b"[]", b"7", b'{"state":7}', b"\xff", b"{}", b"[" * 100_000])
def test_what_is_no_status_is_counted_and_changes_nothing(value: bytes) -> None:
    made = book(("A", State.LIVE))
    assert made.take(b"A", value) is None
    assert (made.rows["A"]["state"], made.unreadable) == ("live", 1)


def test_problems_come_first_and_what_needs_no_hand_last() -> None:
    order = [row["state"] for row in View().choose(ALL.rows.values())]
    assert order == ["invalid", "rejected", "over_cap", "offline", "stale", "pending", "waiting", "live", "disabled"]


def test_a_state_of_the_future_stands_between_problems_and_the_rest() -> None:
    made = book(("A", State.STALE), ("C", State.PENDING))
    made.take(b"B", b'{"state":"resting"}')
    assert seen(View(), made) == ["A", "B", "C"]


def test_rows_are_chosen_by_symbol_state_problem_and_text() -> None:
    made = book(("AAPL.US", State.LIVE), ("700.HK", State.STALE), ("5.HK", State.LIVE))
    made.take(b"X", record("X", State.REJECTED, reason="venue_600", detail="the venue refuses"))
    assert seen(View(symbols=frozenset({"5.HK", "gone"})), made) == ["5.HK"]
    assert seen(View(states=frozenset({"live"}), text=".hk"), made) == ["5.HK"]
    assert seen(View(problems=True), made) == ["X", "700.HK"]
    assert seen(View(text="REFUSES"), made) == ["X"]


def test_rows_are_ordered_by_any_column_and_times_newest_first() -> None:
    made = Book()
    made.take(b"A", record("A", State.LIVE, since_us=1, last_tick_us=9, code="z", reason="r"))
    made.take(b"B", record("B", State.STALE, since_us=2, last_tick_us=8, code="y"))
    made.take(b"C", record("C", State.LIVE, since_us=3, code="x"))
    orders = {sort: "".join(seen(View(sort=sort), made)) for sort in Sort}
    assert orders == {
        Sort.PROBLEM: "BAC", Sort.SYMBOL: "ABC", Sort.CODE: "CBA", Sort.STATE: "ACB", Sort.REASON: "BCA",
        Sort.SINCE: "CBA", Sort.LAST_TICK: "ABC",
    }  # fmt: skip


def test_fields_of_a_wrong_type_are_as_good_as_none() -> None:
    made = Book()
    made.take(b"A", b'{"state":"live","since_us":"soon","last_tick_us":true,"reason":7,"warnings":5,"code":[1]}')
    for sort in Sort:
        assert seen(View(sort=sort), made) == ["A"]
    assert any("live" in line for line in drawn(draw(list(made.rows.values()), NOW)))


def test_the_summary_counts_each_state() -> None:
    made = book(("A", State.LIVE), ("B", State.LIVE), ("C", State.REJECTED))
    assert str(summary(made.rows.values())) == "3 symbols: 1 rejected · 2 live"


def test_a_row_says_since_when_why_and_when_the_last_tick_came() -> None:
    made = Book()
    made.take(
        b"A",
        record("A", State.STALE, reason="quiet", detail="no tick", last_tick_us=NOW - 7200 * SECOND, warnings=["w"]),
    )
    made.take(b"B", record("B", State.LIVE, last_tick_us=NOW - 7200 * SECOND))
    stale, live = drawn(draw(list(made.rows.values()), NOW))[2:4]
    assert stale.split() == ["A", "stale", "quiet:", "no", "tick;", "w", "1", "min", "2", "h"]
    assert live.split() == ["B", "live", "1", "min", "arriving"]


def test_a_record_cannot_command_a_terminal() -> None:
    made = Book()
    made.take(b"E\x1b[2J", record("E", State.LIVE, reason="[red]\x07", code="\x1b]0;x"))
    text = "\n".join(drawn(draw(list(made.rows.values()), NOW), 160))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]" in text


def test_a_held_removal_is_a_problem_that_comes_first_and_is_counted() -> None:
    made = book(("A", State.INVALID), ("C", State.LIVE))
    made.take(b"B", record("B", State.LIVE, reason="removal_held", detail="held for 30 s"))
    assert [row["symbol"] for row in made.rows.values() if held(row)] == ["B"]
    assert seen(View(), made) == ["B", "A", "C"]
    assert seen(View(problems=True), made) == ["B", "A"]
    assert str(summary(made.rows.values())) == "3 symbols: 1 removal held · 1 invalid · 2 live"
    assert "removal_held: held for 30 s" in drawn(draw([made.rows["B"]], NOW))[2]


@pytest.mark.parametrize(
    ("fields", "then"),
    [
        ({"effective": {"priority": 5}}, "an older record is in force"),
        ({"effective": {}, "effective_state": "live"}, "an older record is in force, live"),
        (
            {"effective": {}, "effective_state": "rejected", "effective_reason": "venue_600"},
            "an older record is in force, rejected: venue_600",
        ),
        ({}, "not subscribed"),
    ],
)
def test_of_an_unusable_record_one_learns_what_is_in_force_instead(fields: dict[str, Any], then: str) -> None:
    made = Book()
    made.take(b"A", record("A", State.INVALID, reason="not_json", detail="the value is no JSON", **fields))
    assert reason(made.rows["A"]) == f"not_json: the value is no JSON ({then})"


def test_a_state_other_than_invalid_says_nothing_of_older_records() -> None:
    made = Book()
    made.take(b"A", record("A", State.REJECTED, reason="venue_600", effective={}))
    assert reason(made.rows["A"]) == "venue_600"


def test_a_narrow_screen_leaves_columns_out_before_the_reason_suffers() -> None:
    made = book(("A", State.STALE))
    headings = {width: drawn(draw(list(made.rows.values()), NOW, width=width), width)[0].split() for width in (60, 80)}
    assert headings[60] == ["symbol", "state", "reason", "since"]
    assert headings[80] == ["symbol", "state", "reason", "since", "last", "tick"]
