"""Symbols as ``EXCHANGE:TICKER``, which each dialect spells as its venue does (contract 1.2)."""

from __future__ import annotations

from bridge.upstream.dialects import BadSymbol

#: The market of each exchange that we can spell.
MARKETS = {
    **dict.fromkeys(("NASDAQ", "NYSE", "AMEX", "ARCA", "BATS"), "US"),
    **dict.fromkeys(("HKEX", "SEHK"), "HK"),
    "SSE": "SH",
    "SZSE": "SZ",
}


def listing(symbol: str) -> tuple[str, str] | None:
    """Part a symbol into its market and its ticker; None where it names no exchange.

    Tickers of Hong Kong lose their leading zeros, which every source writes in another number.

    Raises:
        BadSymbol: the exchange is not known, or there is no ticker.
    """
    exchange, colon, ticker = symbol.partition(":")
    if not colon:
        return None
    market = MARKETS.get(exchange)
    if market is None:
        raise BadSymbol(f"{exchange!r} is no exchange this venue has; it has {', '.join(sorted(MARKETS))}")
    if market == "HK":
        ticker = ticker.lstrip("0")
    if not ticker:
        raise BadSymbol(f"{symbol!r} names no ticker")
    return market, ticker
