"""How much open time has passed: the clock by which silence is judged (contract 1.5, guarantee 5).

Each market's open time is one growing sum over its spans of open time, laid out year by year when first asked for. Open
time between two moments is then the difference of two look-ups, and the sum read backwards says when a silence becomes
too long (`bridge.ticks.staleness`).

Moments are microseconds since the Unix epoch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from bridge.errors import SettingsError
from bridge.ticks import calendar_file, markets
from bridge.ticks.hours import DAY_US, Rules, Window, end_of_day, window, zone
from bridge.ticks.markets import Market, market_of

__all__ = ["Calendar", "Market", "OpenTime", "Reminder", "load", "market_of"]

#: Open time is laid out so far beyond the moment that is asked for: longer than any market stays closed.
AHEAD_US = 31 * DAY_US
#: Who has to bring holidays up to date is told so long before, and again each day.
NOTICE_US = 30 * DAY_US


class Calendar:
    """The opening hours of every market.

    Asking about a market that is not in it raises `KeyError`; its own `market_of` gives only markets that are.

    Raises:
        SettingsError: the machine does not know a market's time zone.
    """

    def __init__(self, rules: Mapping[Market, Rules]) -> None:
        self._rules = dict(rules)
        for market, one in self._rules.items():
            try:
                zone(one.timezone)
            except ValueError as error:
                raise SettingsError(f"market {market}: {error} on this machine; install the package tzdata") from None
        self._open_times = {market: OpenTime(one) for market, one in self._rules.items()}
        self._claims = [(pattern, market) for market, one in self._rules.items() for pattern in one.codes]

    @classmethod
    def built_in(cls) -> Calendar:
        """Give the calendar that comes with the package."""
        return cls(markets.built_in())

    @property
    def markets(self) -> Collection[Market]:
        """The markets there are."""
        return self._rules.keys()

    def market_of(self, code: str, symbol: str = "") -> Market | None:
        """Tell the market of a code: by what the calendar file claims, else by its spelling; ``None`` if neither tells.

        Where ``symbol``, under which the code is desired, names an exchange, that says more than the code's letters.
        """
        for name in (code, symbol):
            for pattern, market in self._claims:
                if fnmatchcase(name, pattern):
                    return market
        names = (symbol, code) if ":" in symbol else (code, symbol)
        return market_of(names[0]) or market_of(names[1])

    def open_time(self, market: Market, first_us: int, last_us: int) -> OpenTime:
        """Give a market's open time, laid out for all moments between these two."""
        open_time = self._open_times[market]
        open_time.cover(min(first_us, last_us), last_us)
        return open_time

    def is_open(self, market: Market, now_us: int) -> bool:
        """Tell whether ticks are to be expected."""
        return self.open_time(market, now_us, now_us).is_open(now_us)

    def open_seconds(self, market: Market, since_us: int, now_us: int) -> float:
        """Give the open time between two moments, in seconds; 0 if the second is not later."""
        if now_us <= since_us:
            return 0.0
        open_time = self.open_time(market, since_us, now_us)
        return (open_time.at(now_us) - open_time.at(since_us)) / 1e6

    def known_until(self, market: Market) -> str | None:
        """Give the last day (ISO date) up to which holidays are known; ``None`` if there is nothing to know."""
        return self._rules[market].known_until

    def running_out(self, now_us: int, within_us: int, among: Collection[Market] | None = None) -> dict[Market, str]:
        """Give the markets whose holidays are known for less than ``within_us`` from now, each with its last day.

        ``among`` are the markets that matter; without it, all do.
        """
        found = {}
        for market in self._rules if among is None else among:
            rules = self._rules[market]
            last = rules.known_until
            if last is not None and end_of_day(rules.timezone, last) < now_us + within_us:
                found[market] = last
        return found


class Reminder:
    """Says which markets' holidays are about to run out, or have: each market once a day."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._again: dict[Market, int] = {}  # market told of -> when to say it again

    def due(self, now_us: int, among: Collection[Market]) -> dict[Market, str]:
        """Give those of these markets that are to be told of now, each with the last day that is known."""
        found = self._calendar.running_out(now_us, NOTICE_US, among)
        found = {market: last for market, last in found.items() if now_us >= self._again.get(market, 0)}
        self._again |= dict.fromkeys(found, now_us + DAY_US)
        return found


def load(path: Path) -> Calendar:
    """Read a calendar file over what is built in (``docs/markets.md``).

    Raises:
        SettingsError: with one line for everything that is wrong.
    """
    return Calendar(calendar_file.read(path, markets.built_in()))


class OpenTime:
    """One market's open time, summed up: the sum never falls, and rises exactly while the market is open."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._lay(Window(0, 0, ()))

    def cover(self, first_us: int, last_us: int) -> None:
        """Make sure that these moments, and some time after them, are laid out; it may change every sum."""
        last_us += AHEAD_US
        if self._start <= first_us and last_us < self._end:
            return
        if self._start < self._end:
            first_us, last_us = min(first_us, self._start), max(last_us, self._end - 1)
        self._lay(window(self._rules, first_us, last_us))

    def _lay(self, laid: Window) -> None:
        self._start, self._end = laid.start_us, laid.end_us
        self._opens = [start for start, _ in laid.spans]
        self._closes = [end for _, end in laid.spans]
        self._sums: list[int] = []  # open time before each opening
        total = 0
        for start, end in laid.spans:
            self._sums.append(total)
            total += end - start

    def is_open(self, moment_us: int) -> bool:
        """Tell whether the market is open at a covered moment; at its close it no longer is."""
        index = bisect_right(self._opens, moment_us) - 1
        return index >= 0 and moment_us < self._closes[index]

    def at(self, moment_us: int) -> int:
        """Give the sum at a covered moment, in microseconds from where it happens to begin."""
        index = bisect_right(self._opens, moment_us) - 1
        if index < 0:
            return 0
        return self._sums[index] + min(moment_us, self._closes[index]) - self._opens[index]

    def when(self, total: int) -> int:
        """Give the first moment at which the sum is ``total``.

        Where it is not reached in what is laid out, its end is given, at least a month after the last covered moment:
        ask again then.
        """
        index = bisect_left(self._sums, total) - 1
        if index < 0:
            return self._end
        moment = self._opens[index] + total - self._sums[index]
        return moment if moment <= self._closes[index] else self._end
