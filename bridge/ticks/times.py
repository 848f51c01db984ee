"""The venue's time, in whatever it is written: told apart by size and by shape.

Whole numbers are seconds, milliseconds or microseconds since the Unix epoch, which no number can be two of between the
years 2000 and 5138 (docs/alltick.md 5.2 for the first two). A number with a fraction is seconds, as many languages give
them. A text is ISO 8601; one without a zone is taken for UTC.
"""

from __future__ import annotations

import re

#: 2000-01-01 in microseconds: no trade of ours is older.
EARLIEST_US = 946_684_800_000_000
DAY_US = 86_400_000_000

#: Times below are seconds, those from there on milliseconds, and then microseconds.
SECONDS_BELOW = 100_000_000_000
MILLISECONDS_BELOW = 100_000_000_000_000

#: A number longer than this is rubbish, whatever it says.
DIGITS_MAX = 64

_FRACTION = re.compile(r"([0-9]{9,10})\.([0-9]{1,9})").fullmatch
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):?([0-9]{2}))?"
).fullmatch


def event_us(time: int, recv_us: int) -> int:
    """Give a time in microseconds, told by its size from three units; 0 where it cannot be."""
    if time < SECONDS_BELOW:
        micros = time * 1_000_000
    elif time < MILLISECONDS_BELOW:
        micros = time * 1000
    else:
        micros = time
    return micros if EARLIEST_US <= micros <= recv_us + DAY_US else 0


def whole(time: int | str | None) -> int:
    """Read a time as a whole number of some unit; 0 where there is none, or nothing that one can read."""
    if not isinstance(time, str):
        return time or 0
    if len(time) > DIGITS_MAX:
        return 0
    if time.isascii() and time.isdigit():
        return int(time)
    if parts := _FRACTION(time):
        return int(parts[1]) * 1_000_000 + _micros(parts[2])
    return _iso_us(time)


def _iso_us(text: str) -> int:
    """Read a date and time of day; 0 where it is none, or none that the calendar has."""
    parts = _ISO(text)
    if parts is None:
        return 0
    year, month, day, hour, minute, second = (int(parts[number]) for number in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= _days(year, month + 1) - _days(year, month)):
        return 0
    if hour > 23 or minute > 59 or second > 60:  # a leap second is a second like others
        return 0
    days = _days(year, month) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    if parts[8]:
        ahead = (int(parts[9]) * 60 + int(parts[10])) * 60
        seconds += ahead if parts[8] == "-" else -ahead
    micros = seconds * 1_000_000 + _micros(parts[7] or "0")
    return micros if micros >= EARLIEST_US else 0  # by their size these would be taken for milliseconds


def _micros(digits: str) -> int:
    """Read the digits after the point of a second."""
    return int(digits[:6].ljust(6, "0"))


def _days(year: int, month: int) -> int:
    """Count the days from the Unix epoch to the first of a month; its 13th is the next year's first."""
    # Years from March on: the leap day is a year's last then.
    months = year * 12 + month - 3
    years, rest = divmod(months, 12)
    return years * 365 + years // 4 - years // 100 + years // 400 + (153 * rest + 2) // 5 - 719_468
