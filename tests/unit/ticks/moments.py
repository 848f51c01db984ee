"""Moments as people write them, and those at which markets do something special."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st

NEW_YORK, HONG_KONG, SHANGHAI = "America/New_York", "Asia/Hong_Kong", "Asia/Shanghai"
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 1440 * MINUTE_US


def moment(text: str, zone: str = "UTC") -> int:
    """Give a local time in microseconds since the Unix epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US


#: Changes of New York's clock, Thanksgiving, a Lunar New Year's Eve, Christmas, New Year.
SPECIAL = [
    moment(text)
    for text in (
        "2026-03-08 06:00",
        "2026-11-01 05:00",
        "2026-11-26 12:00",
        "2026-02-16 02:00",
        "2025-12-24 20:00",
        "2026-12-31 20:00",
    )
]
#: Years are laid out when first asked for, which may take longer than an example usually does.
PATIENT = settings(deadline=None)
#: Around those, or anywhere in the years whose holidays are known and somewhat beyond.
MOMENTS = st.integers(moment("2024-12-20"), moment("2031-01-20")) | st.builds(
    lambda base, off: base + off, st.sampled_from(SPECIAL), st.integers(-2 * DAY_US, 2 * DAY_US)
)
