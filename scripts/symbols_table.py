"""Writes the tables of symbols in ``docs/markets.md``: how each dialect spells what stands in the control topic.

``python -m scripts.symbols_table`` writes what stands between the markers; with ``--check`` nothing is written, and the
exit code is 1 where the page says anything else than the code. Only the examples stand here; an exchange that the code
knows and that has none ends it with an error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from bridge.ticks.calendar import Calendar
from bridge.upstream import dialects
from bridge.upstream.dialects import BadSymbol, Dialect
from bridge.upstream.dialects.exchanges import MARKETS
from scripts.settings_table import ROOT, write_or_check

PAGE = ROOT / "docs" / "markets.md"
BEGIN = "<!-- Written by `python -m scripts.symbols_table` from bridge/upstream/dialects; change it there. -->"
END = "<!-- Until here. -->"

DIALECTS = ("alltick", "action-code", "action-symbols")

#: Tickers of each exchange, those that teach something.
EXAMPLES = {
    "NASDAQ": ("AAPL",),
    "NYSE": ("BRK.B", "GOLD"),
    "AMEX": ("IMO",),
    "ARCA": ("SPY",),
    "BATS": ("CBOE",),
    "HKEX": ("00700", "700", "HSI"),
    "SEHK": ("09988",),
    "SSE": ("600519", "000001"),
    "SZSE": ("000001", "399001"),
}
#: What has no exchange: stocks and indices in the official spelling, pairs, metals and energy.
BARE = ("AAPL.US", ".DJI.US", "700.HK", "600519.SH", "BTCUSDT", "EURUSD", "GOLD", "Silver", "NAS100")


def tables() -> str:
    """Give what stands between the markers."""
    named = [f"{exchange}:{ticker}" for exchange in sorted(MARKETS) for ticker in EXAMPLES[exchange]]
    return "\n".join([*_table(named), "", "Without an exchange, a symbol is sent as it stands:", "", *_table(BARE)])


def page(text: str) -> str:
    """Give the page with its tables as they should be."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} lacks its markers: {BEGIN} … {END}")
    return f"{head}{BEGIN}\n\n{tables()}\n\n{END}{tail}"


def main(path: Path, arguments: list[str]) -> int:
    """Write the page anew, or check it; give the exit code."""
    return write_or_check(path, lambda: page(path.read_text(encoding="utf-8")), arguments)


def _table(symbols: Iterable[str]) -> list[str]:
    spoken = [dialects.get(name) for name in DIALECTS]
    columns = ["Symbol", *(f"`{name}`" for name in DIALECTS), "`UPSTREAM__MARKET` for `alltick`", "Hours of"]
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for symbol in symbols:
        official, *_ = codes = [_code(dialect, symbol) for dialect in spoken]
        endpoint = spoken[0].market(official) or "as set"
        hours = Calendar.built_in().market_of(official, symbol) or "none: never stale"
        lines.append(
            f"| `{symbol}` | {' | '.join(f'`{code}`' if code else 'no' for code in codes)} | {endpoint} | {hours} |"
        )
    return lines


def _code(dialect: Dialect, symbol: str) -> str:
    try:
        return dialect.code(symbol)
    except BadSymbol:
        return ""


if __name__ == "__main__":
    sys.exit(main(PAGE, sys.argv[1:]))
