"""What `status --watch` shows on a screen, and what keys do to it; no terminal needed."""

import io
from typing import Any

import pytest
from rich.console import Console

from bridge.cli.keys import named
from bridge.cli.statuses import Book, Sort, View
from bridge.cli.watch import FRAME_LINES, Screen
from bridge.model import State
from tests.unit.cli.test_statuses import NOW, book, record


def shown(screen: Screen, of: Book, width: int = 80, height: int = 24, trouble: str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(screen.draw(of, (width, height), NOW, trouble))
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def symbols(screen: Screen, of: Book, **size: Any) -> list[str]:
    """Give the symbols on the screen: what stands below the headings and their rule."""
    lines = shown(screen, of, **size)[4:]
    return [line.split()[0] for line in lines[: lines.index("")]]


def pressed(*keys: str, page: int = 1) -> Screen:
    screen = Screen()
    for key in keys:
        screen.press(key, page)
    return screen


THOUSANDS = book(*((f"{number:05}.HK", State.LIVE) for number in range(2999)))
THOUSANDS.take(b"BAD.US", record("BAD.US", State.REJECTED, reason="venue_600", detail="the venue refuses " * 20))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (80, 10), (60, 30), (40, 12)])
def test_a_screen_of_three_thousand_symbols_fits_and_says_which_rows_it_shows(width: int, height: int) -> None:
    lines = shown(Screen(), THOUSANDS, width, height)
    rows = [line for line in lines if ".HK" in line or "BAD.US" in line]
    assert len(lines) < height  # the last line is the cursor's
    assert max(map(len, lines)) <= width
    assert "3,000 symbols: 1 rejected" in lines[0]
    assert len(rows) == height - FRAME_LINES
    assert rows[0].split()[0] == "BAD.US"
    assert "rejected" in rows[0]
    assert lines[-1].startswith(f"1-{len(rows)} of 3,000")


def test_a_screen_says_what_was_left_out_by_choice_and_that_kafka_is_away() -> None:
    made = book(("A", State.LIVE), ("B", State.STALE))
    assert shown(Screen(), made)[1] == ""
    assert shown(pressed("p"), made)[1] == "1 left out: only problems"
    assert "1-1 of 1 · by problem · q quit  s sort  p all" in shown(pressed("p"), made)[-1]
    everything = Screen(View(frozenset(["A"]), frozenset([State.LIVE]), "a", problems=True))
    assert shown(everything, made)[1] == "2 left out: only problems · live · 1 symbol · /a (Esc drops it)"
    assert "Kafka is out of reach" in shown(Screen(), made, trouble="all brokers are down")[-1]


def test_the_keys_can_be_read_on_a_screen_of_80_columns_whatever_was_chosen() -> None:
    foot = shown(pressed("p", "/", *"0000", "enter"), THOUSANDS)[-1]
    assert foot.endswith("/ filter  ↑↓ scroll")


def test_a_screen_of_40_columns_keeps_symbol_state_and_reason() -> None:
    assert shown(Screen(), THOUSANDS, width=40)[2].split() == ["symbol", "state", "reason"]


def test_an_empty_screen_says_so() -> None:
    assert shown(Screen(), Book())[-1].startswith("0-0 of 0")


def test_keys_scroll_and_never_past_either_end() -> None:
    made = book(*((f"S{number:02}", State.LIVE) for number in range(30)))
    size = {"height": FRAME_LINES + 10}
    assert symbols(pressed("down", "down"), made, **size)[0] == "S02"
    assert symbols(pressed("page down", "up", page=10), made, **size)[0] == "S09"
    assert symbols(pressed("up"), made, **size)[0] == "S00"
    screen = pressed("end")
    assert symbols(screen, made, **size) == [f"S{number}" for number in range(20, 30)]
    screen.press("up")
    assert symbols(screen, made, **size)[0] == "S19"
    screen.press("home")
    assert symbols(screen, made, **size)[0] == "S00"


def test_s_goes_through_all_orders_and_p_shows_problems_only_and_back() -> None:
    assert [pressed(*"s" * times).view.sort for times in range(len(Sort) + 1)] == [*Sort, Sort.PROBLEM]
    assert symbols(pressed("p"), THOUSANDS) == ["BAD.US"]
    assert pressed("p", "p").view.problems is False


def test_a_filter_is_typed_mended_kept_and_dropped() -> None:
    made = book(("AAPL.US", State.LIVE), ("700.HK", State.LIVE), ("7.HK", State.LIVE))
    screen = pressed("/", "7", "q", "backspace")
    assert (screen.typing, screen.over, symbols(screen, made)) == (True, False, ["7.HK", "700.HK"])
    assert shown(screen, made)[-1].startswith("filter: 7_")
    screen.press("enter")
    assert (screen.typing, shown(screen, made)[1]) == (False, "1 left out: only /7 (Esc drops it)")
    screen.press("escape")
    assert len(symbols(screen, made)) == 3
    assert pressed("/", "x", "escape").view.text == ""


def test_q_ends_it_and_a_key_without_a_meaning_does_nothing() -> None:
    assert pressed("q").over
    assert pressed("x", "é", "enter") == Screen()


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]), ("\x1b[A\x1b[B", ["up", "down"]), ("\x1bOA", ["up"]),
        ("\x1b[5~\x1b[6~", ["page up", "page down"]),
        ("\x1b[1~\x1b[F", ["home", "end"]), ("\x1b", ["escape"]), ("a\x7f\r", ["a", "backspace", "enter"]),
        ("\x1b[1;5C", []), ("\x00\x07", []), ("é/", ["é", "/"]),
    ],
)  # fmt: skip
def test_what_a_terminal_sends_is_named(sent: str, keys: list[str]) -> None:
    assert named(sent) == keys
