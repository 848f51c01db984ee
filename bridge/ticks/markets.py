"""The markets that are built in, and which codes belong to each (docs/alltick.md 7).

Hours are those in which a quiet symbol means something, so they may be shorter than the market's own: Shanghai and
Shenzhen trade nothing between 14:57 and their closing auction at 15:00; commodities rest from 17:00 to 18:00 in New
York, forex feeds for some minutes after 17:00. A code whose market is not plain from its spelling belongs to none, and
is never judged: CFD indices, restricted currencies, metals and oil of London, whose hours are not New York's.

The holidays stand in ``holidays.json``, which ``python -m scripts.holidays`` writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bridge.ticks import hours
from bridge.ticks.hours import Rules

#: A market's name: one of these, or one that a calendar file adds.
Market = str
US, HK, CN, CRYPTO, FOREX, COMMODITIES = "us", "hk", "cn", "crypto", "forex", "commodities"

HOLIDAYS = Path(__file__).with_name("holidays.json")

_NEW_YORK = "America/New_York"
#: Time zone, and sessions by weekdays.
_WEEKS: Mapping[Market, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    US: (_NEW_YORK, {"mon-fri": ("09:30-16:00",)}),
    HK: ("Asia/Hong_Kong", {"mon-fri": ("09:30-12:00", "13:00-16:00")}),
    CN: ("Asia/Shanghai", {"mon-fri": ("09:30-11:30", "13:00-14:57")}),
    CRYPTO: ("UTC", {"mon-sun": ("00:00-24:00",)}),
    FOREX: (_NEW_YORK, {"mon": ("17:00-17:00",), "tue-fri": ("17:05-17:00",)}),
    COMMODITIES: (_NEW_YORK, {"mon-fri": ("18:00-17:00",)}),
}

#: Currencies that trade freely, around the clock on working days; and coins that are quoted in dollars too.
_FREE = "USD|EUR|JPY|GBP|AUD|NZD|CAD|CHF|CNH|HKD|SGD|SEK|NOK|DKK|PLN|HUF|CZK|TRY|ZAR|MXN|ILS"
_COINS = "BTC|ETH|LTC|XRP|BCH|ADA|SOL|DOGE|DOT|BNB|TRX|XLM|EOS|AVAX|LINK|UNI|MATIC|SHIB"
#: What New York trades; the venue is not of one mind about capitals.
_NAMES = "(?i:GOLD|SILVER|PLATINUM|PALLADIUM|COPPER|USOIL|NGAS)"
#: The first that fits a code has it.
_SPELLINGS = tuple(
    (market, re.compile(pattern))
    for market, pattern in (
        (US, r".+\.US|(NASDAQ|NYSE|AMEX|ARCA|BATS):.+"),
        (HK, r".+\.HK|(HKEX|SEHK):.+"),
        (CN, r".+\.(SH|SZ)|(SSE|SZSE):.+"),
        (CRYPTO, rf"[^.]+(USDT|USDC|BTC)|({_COINS})USD"),
        (FOREX, rf"({_FREE})(?!\1)({_FREE})"),
        (COMMODITIES, rf"{_NAMES}|(XAU|XAG|XPT|XPD)({_FREE})"),
    )
)


class _Known(msgspec.Struct, forbid_unknown_fields=True):
    known_until: str
    holidays: frozenset[str]
    early_closes: dict[str, str] = {}


class _Holidays(msgspec.Struct, forbid_unknown_fields=True):
    made_with: str
    markets: dict[Market, _Known]


def market_of(code: str) -> Market | None:
    """Tell the market of a code, or of a symbol, by its spelling; ``None`` where that does not tell it."""
    for market, spelling in _SPELLINGS:
        if spelling.fullmatch(code):
            return market
    return None


def built_in() -> dict[Market, Rules]:
    """Give the rules of every market that is built in."""
    known = msgspec.json.decode(HOLIDAYS.read_bytes(), type=_Holidays).markets
    return {market: _rules(timezone, week, known.get(market)) for market, (timezone, week) in _WEEKS.items()}


def _rules(timezone: str, week: Mapping[str, tuple[str, ...]], known: _Known | None) -> Rules:
    sessions = {
        day: tuple(hours.session(text) for text in texts)
        for days, texts in week.items()
        for day in hours.weekdays(days)
    }
    if known is None:
        return Rules(timezone, sessions)
    closes = {day: hours.minutes(time) for day, time in known.early_closes.items()}
    return Rules(timezone, sessions, known.holidays, closes, known.known_until)
