"""Writes ``bridge/ticks/holidays.json``: the holidays and early closes of the markets that are built in.

``python -m scripts.holidays`` writes it; with ``--check`` nothing is written, and the exit code is 1 where the file
says anything else. It needs exchange_calendars and holidays, which need pandas and are no part of the bridge: install
them beside it, in an environment of their own. Once a year, when the exchanges have published the next one, is enough.

Two libraries that do not know each other must agree: a market's holidays count as known up to the last whole year for
which both give the same. Afterwards the calendar itself is laid beside exchange_calendars, session by session.
What neither library has is decided here: forex rests on Christmas and New Year's Day; commodities rest when CME does,
and stop at 13:00 in New York on the other holidays and half days of its exchanges.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from bridge.ticks import hours, markets

FIRST, LAST = 2025, 2030
#: Each market's calendar in exchange_calendars, and in holidays.
SOURCES = {markets.US: ("XNYS", "XNYS"), markets.HK: ("XHKG", "XHKG"), markets.CN: ("XSHG", "XSHG")}
CME = "CMES"
#: Our Shanghai stops before the closing auction, at 14:57.
SHORTER_US = {markets.CN: 3 * 60 * 1_000_000}
COMMODITIES_HALF_DAY = "13:00"


@dataclass
class Known:
    """What is known of one market, by ISO date."""

    until: str
    holidays: set[str] = field(default_factory=set)
    early_closes: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {
            "known_until": self.until,
            "holidays": sorted(self.holidays),
            "early_closes": dict(sorted(self.early_closes.items())),
        }


class Library:
    """exchange_calendars, with holidays beside it."""

    def __init__(self) -> None:
        self.calendars = importlib.import_module("exchange_calendars")
        self.second = importlib.import_module("holidays")
        self.names = f"exchange_calendars {self.calendars.__version__}, holidays {self.second.__version__}"

    def calendar(self, name: str, first: int, last: int) -> Any:
        """Open a calendar over whole years; ValueError where it does not reach so far."""
        return self.calendars.get_calendar(name, start=f"{first}-01-01", end=f"{last}-12-31")

    def year(self, name: str, year: int) -> tuple[set[str], dict[str, str]]:
        """Give one year's holidays on weekdays, and its early closes."""
        calendar = self.calendar(name, year, year)
        sessions = {session.date() for session in calendar.sessions}
        closes = {
            session.date().isoformat(): calendar.session_close(session).tz_convert(calendar.tz).strftime("%H:%M")
            for session in calendar.early_closes
        }
        return {day.isoformat() for day in working_days(year) if day not in sessions}, closes

    def agrees(self, name: str, year: int, holidays: Iterable[str], closes: Iterable[str]) -> bool:
        """Tell whether the second library has the same year."""
        exchange = self.second.financial_holidays(name, years=year)
        halves: Iterable[date] = ()
        if "half_day" in exchange.supported_categories:
            halves = self.second.financial_holidays(name, years=year, categories="half_day")
        return on_weekdays(exchange) == set(holidays) and on_weekdays(halves) == set(closes)


def working_days(year: int) -> Iterator[date]:
    for ordinal in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal()):
        day = date.fromordinal(ordinal)
        if day.weekday() < 5:
            yield day


def on_weekdays(days: Iterable[date]) -> set[str]:
    return {day.isoformat() for day in days if day.weekday() < 5}


def stocks(library: Library, name: str, second: str) -> Known:
    """Take a stock market's years for as long as both libraries agree."""
    known = Known("")
    for year in range(FIRST, LAST + 1):
        try:
            holidays, closes = library.year(name, year)
        except ValueError as error:
            say(f"{name} {year}: {error}")
            break
        if not library.agrees(second, year, holidays, closes):
            say(f"{name} {year}: the two libraries disagree")
            break
        known.until = f"{year}-12-31"
        known.holidays |= holidays
        known.early_closes |= closes
    return known


def commodities(library: Library, us: Known) -> Known:
    """Close when CME is closed, and early whenever New York's exchanges are closed or stop early."""
    closed: set[str] = set()
    for year in range(FIRST, int(us.until[:4]) + 1):
        closed |= library.year(CME, year)[0]
    early = (us.holidays | us.early_closes.keys()) - closed
    return Known(us.until, closed, dict.fromkeys(early, COMMODITIES_HALF_DAY))


def forex() -> Known:
    days = {date(year, month, day) for year in range(FIRST, LAST + 1) for month, day in ((1, 1), (12, 25))}
    return Known(f"{LAST}-12-31", on_weekdays(days))


def text(library: Library) -> str:
    """Give the whole file."""
    known = {market: stocks(library, *names) for market, names in SOURCES.items()}
    known[markets.FOREX] = forex()
    known[markets.COMMODITIES] = commodities(library, known[markets.US])
    document = {"made_with": library.names, "markets": {name: one.as_json() for name, one in known.items()}}
    return json.dumps(document, indent=1) + "\n"


def compare(library: Library) -> int:
    """Lay the calendar beside exchange_calendars; give the number of differences."""
    different = 0
    built_in = markets.built_in()
    for market, (name, _) in SOURCES.items():
        rules = built_in[market]
        calendar = library.calendar(name, FIRST, int((rules.known_until or "")[:4]))
        theirs = set(spans_of(calendar, SHORTER_US.get(market, 0)))
        ours = set(our_spans(rules))
        different += len(ours ^ theirs)
        say(f"{market}: {len(calendar.sessions)} days, {len(theirs)} spans of {name}; different: {len(ours ^ theirs)}")
    rules = built_in[markets.COMMODITIES]
    wide = list(spans_of(library.calendar(CME, FIRST, LAST), 0))
    outside = [span for span in our_spans(rules) if not any(start <= span[0] and span[1] <= end for start, end in wide)]
    say(f"commodities: outside {CME}'s hours: {len(outside)}")
    return different + len(outside)


def our_spans(rules: hours.Rules) -> Iterator[hours.Span]:
    start = hours.end_of_day(rules.timezone, f"{FIRST - 1}-12-31")
    end = hours.end_of_day(rules.timezone, rules.known_until or "")
    yield from (span for span in hours.window(rules, start, end - 1).spans if start <= span[0] and span[1] <= end)


def spans_of(calendar: Any, shorter_us: int) -> Iterator[hours.Span]:
    """Give a calendar's spans of open time: two a day where there is a lunch break that day."""
    for session in calendar.sessions:
        opens, close = (micros(moment) for moment in calendar.session_open_close(session))
        if calendar.session_has_break(session):
            pause, resumes = (micros(moment) for moment in calendar.session_break_start_end(session))
            yield opens, pause
            opens = resumes
        yield opens, close - shorter_us


def micros(moment: Any) -> int:
    return int(moment.timestamp()) * 1_000_000


def say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main(arguments: list[str]) -> int:
    """Write or check the file, then compare."""
    try:
        library = Library()
    except ImportError as error:
        say(f"{error}; install exchange_calendars and holidays into an environment beside the bridge")
        return 2
    if arguments == ["--check"]:
        if markets.HOLIDAYS.read_text(encoding="utf-8") != text(library):
            say(f"{markets.HOLIDAYS.name} is not what {library.names} say; run this without --check")
            return 1
    elif arguments:
        say("the only argument is --check")
        return 2
    else:
        markets.HOLIDAYS.write_text(text(library), encoding="utf-8")
    return min(compare(library), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
