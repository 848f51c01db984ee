"""When one market is open: its rules, how they are written, and what they come to in microseconds.

A session belongs to a day. ``09:30-16:00`` is that day's; one whose end is not after its start, as ``17:00-17:00``,
begins the evening before, as venues count that trade around the clock. A holiday takes all sessions of its day away, an
early close ends them at its time, and both stand in the market's own time zone: so Christmas takes the forex market
away from 17:00 on Christmas Eve. Where nothing is listed, the weekly sessions alone decide.

Dates are ISO text to everyone else; this file alone knows what a date is. It never asks for today's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()

#: Minutes since a day's midnight, start and end; a start below 0 lies in the evening before.
Session = tuple[int, int]
#: Microseconds, start and end.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rules:
    """One market: sessions by weekday (Monday is 0), days without, days that end early (minutes), claimed codes.

    ``known_until`` is the last day up to which the holidays are known; ``None`` where there is nothing to know or
    nobody says. ``codes`` are spellings of codes, ``*`` standing for anything.
    """

    timezone: str
    sessions: Mapping[int, tuple[Session, ...]]
    holidays: frozenset[str] = frozenset()
    early_closes: Mapping[str, int] = field(default_factory=dict)
    known_until: str | None = None
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """All spans of open time between two moments, in order, apart from each other; the outermost may reach beyond."""

    start_us: int
    end_us: int
    spans: tuple[Span, ...]


def window(rules: Rules, first_us: int, last_us: int) -> Window:
    """Lay the rules out over the whole years (UTC) that hold these two moments."""
    first = date(_day(first_us).year, 1, 1).toordinal()
    last = date(_day(last_us).year + 1, 1, 1).toordinal()
    found: list[Span] = []
    # One day more on either side: a market's own day may begin before UTC's, or end after it.
    for ordinal in range(first - 1, last + 1):
        found += _spans_of(rules, date.fromordinal(ordinal))
    return Window((first - _EPOCH) * DAY_US, (last - _EPOCH) * DAY_US, _joined(found))


def _spans_of(rules: Rules, day: date) -> Iterable[Span]:
    """Give one day's sessions as moments."""
    sessions = rules.sessions.get(day.weekday(), ())
    if not sessions or day.isoformat() in rules.holidays:
        return
    close = rules.early_closes.get(day.isoformat(), DAY_MINUTES)
    for start, end in sessions:
        yield _moment(rules.timezone, day, start), _moment(rules.timezone, day, min(end, close))


def _moment(timezone: str, day: date, minutes: int) -> int:
    days, minutes = divmod(minutes, DAY_MINUTES)
    if days:
        day = date.fromordinal(day.toordinal() + days)
    local = datetime(day.year, day.month, day.day, minutes // 60, minutes % 60, tzinfo=zone(timezone))
    return int(local.timestamp()) * 1_000_000


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """Put spans in order and make one of those that touch: midnight closes no market that trades through it."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif start < end:  # an early close or a change of the clock can leave nothing of a session
            joined.append((start, end))
    return tuple(joined)


def _day(moment_us: int) -> date:
    return date.fromordinal(_EPOCH + moment_us // DAY_US)


def end_of_day(timezone: str, day: str) -> int:
    """Give the moment at which an ISO date is over in a time zone, in microseconds."""
    return _moment(timezone, date.fromisoformat(day), DAY_MINUTES)


# How it is written


@cache
def zone(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, a directory of the database
        raise ValueError(f"no time zone is called {name!r}") from None


def iso_day(text: str) -> str:
    """Check an ISO date, as in ``2026-12-25``.

    Raises:
        ValueError: it is none.
    """
    if date.fromisoformat(text).isoformat() != text:  # it reads weeks, and dates without hyphens
        raise ValueError(text)
    return text


def minutes(text: str) -> int:
    """Read a time of the day, ``00:00`` to ``24:00``, as minutes since midnight.

    Raises:
        ValueError: it is none.
    """
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and len(hour) <= 2 and len(minute) == 2):
        raise ValueError(text)
    read = int(hour) * 60 + int(minute)
    if int(minute) >= 60 or read > DAY_MINUTES:
        raise ValueError(text)
    return read


def session(text: str) -> Session:
    """Read ``09:30-16:00``; where the end is not after the start, the session begins the evening before.

    Raises:
        ValueError: it is no session.
    """
    start, _, end = text.partition("-")
    opens, closes = minutes(start.strip()), minutes(end.strip())
    return (opens if opens < closes else opens - DAY_MINUTES), closes


def weekdays(text: str) -> tuple[int, ...]:
    """Read ``sat`` or ``mon-fri`` as numbers of weekdays.

    Raises:
        ValueError: it names none.
    """
    first, dash, last = text.lower().partition("-")
    start = DAYS.index(first.strip())
    length = (DAYS.index(last.strip()) - start) % 7 + 1 if dash else 1
    return tuple((start + day) % 7 for day in range(length))
