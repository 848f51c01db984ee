"""What the demo shows on a screen, and which arguments it refuses; no Kafka needed."""

import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bridge.cli import app
from bridge.cli.demo import Show
from bridge.errors import EXIT_SETTINGS
from bridge.settings import load
from tests.unit.test_schemas import TICK

TITLE = "symbols, each"


def started() -> Show:
    return Show(load(kafka={"bootstrap_servers": "kafka:9092"}), http_port=8080)


def seen(show: Show, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system="standard", force_terminal=True)
    console.print(show)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def row(show: Show, symbol: str) -> str:
    (found,) = [line for line in seen(show) if "│" in line and symbol in line]
    return found


def tick(symbol: str) -> dict[str, Any]:
    return {**TICK, "symbol": symbol, "code": "NVDA.US", "price": "2150.123456"}


DIM = "\x1b[2m"


def test_a_symbol_is_waiting_until_its_first_tick_then_live_then_removed_and_dim() -> None:
    show = started()
    show.ask(["AAPL.US"], True, "asked")
    assert "waiting" in row(show, "AAPL.US")
    show.tick(tick("AAPL.US"))
    assert "live" in row(show, "AAPL.US")
    assert DIM not in row(show, "AAPL.US")
    show.ask(["AAPL.US"], False, "removed it")
    show.tick(tick("AAPL.US"))
    assert "removed" in row(show, "AAPL.US")
    assert DIM in row(show, "AAPL.US")
    show.ask(["AAPL.US"], True, "asked again")
    show.tick(tick("AAPL.US"))
    assert "live" in row(show, "AAPL.US")


def test_the_table_fits_a_screen_of_80_columns() -> None:
    show = started()
    show.ask(["NASDAQ:NVDA"], True, "asked")
    show.tick(tick("NASDAQ:NVDA"))
    show.counts["NASDAQ:NVDA"] = 1_234_567
    show.ask(["NASDAQ:NVDA"], False, "removed")
    lines = seen(show)
    assert not any("…" in line for line in lines[lines.index(next(one for one in lines if TITLE in one)) :])
    assert "NASDAQ:NVDA" in row(show, "removed")


def test_what_was_seen_is_summed_up_and_nothing_is_made_of_nothing() -> None:
    show = started()
    assert show.summary() == "no tick came"
    show.tick(tick("AAPL.US"))
    assert show.summary().startswith("1 ticks of 1 symbols; the first came after ")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--for", value) for value in ("0", "-1", "nan")),
        *(("--rate", value) for value in ("-5", "0", "nan", "1e9")),
    ],
)
def test_what_makes_no_demo_is_refused_before_anything_starts(option: str, value: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--for", "0.1", option, value])
    assert result.exit_code == EXIT_SETTINGS
    assert result.stderr.startswith(f"error: {option} ")
