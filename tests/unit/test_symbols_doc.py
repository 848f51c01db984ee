"""``docs/markets.md`` spells symbols as the dialects do, and no one can forget to write it anew."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.upstream.dialects.exchanges import MARKETS
from scripts.symbols_table import BEGIN, END, EXAMPLES, PAGE, main, page, tables

ROOT = Path(__file__).resolve().parents[2]


def row(symbol: str) -> list[str]:
    (line,) = [line for line in tables().splitlines() if line.startswith(f"| `{symbol}` |")]
    return [cell.strip(" `") for cell in line.strip("|").split(" | ")]


def test_the_page_is_what_the_code_says() -> None:
    command = [sys.executable, "-m", "scripts.symbols_table", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0


def test_a_page_that_says_something_else_is_noticed_and_mended_between_its_markers_only(tmp_path: Path) -> None:
    stale = tmp_path / "markets.md"
    stale.write_text(PAGE.read_text().replace("`00700.HK` | stock", "`700.HK` | stock", 1) + "More.\n")
    assert main(stale, ["--check"]) == 1
    assert main(stale, []) == 0
    assert main(stale, ["--check"]) == 0
    assert stale.read_text() == PAGE.read_text() + "More.\n"


@pytest.mark.parametrize("text", ["no markers", BEGIN, END])
def test_a_page_without_its_markers_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="lacks its markers"):
        page(text)


def test_every_exchange_that_the_code_knows_has_its_row() -> None:
    assert EXAMPLES.keys() == MARKETS.keys()
    assert all(row(f"{exchange}:{ticker}") for exchange, tickers in EXAMPLES.items() for ticker in tickers)


@pytest.mark.parametrize(
    ("symbol", "cells"),
    [
        ("NASDAQ:AAPL", ["AAPL.US", "NASDAQ:AAPL", "AAPL", "stock", "us"]),
        ("HKEX:00700", ["700.HK", "HKEX:00700", "00700.HK", "stock", "hk"]),
        ("NYSE:GOLD", ["GOLD.US", "NYSE:GOLD", "GOLD", "stock", "us"]),
        ("BTCUSDT", ["BTCUSDT", "no", "BTCUSDT", "other", "crypto"]),
        ("NAS100", ["NAS100", "no", "NAS100", "as set", "none: never stale"]),
    ],
)
def test_a_row_has_each_dialect_s_spelling_the_endpoint_and_the_hours(symbol: str, cells: list[str]) -> None:
    assert row(symbol) == [symbol, *cells]
