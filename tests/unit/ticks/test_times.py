"""The venue's time in every unit and shape: held against the standard library's calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ticks.times import EARLIEST_US, event_us, whole

NOW_US = 1_790_000_000_298_114
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def read(time: int | str | None) -> int:
    return event_us(whole(time), NOW_US)


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        (1_790_000_000, 1_790_000_000_000_000),
        ("1790000000", 1_790_000_000_000_000),
        ("1790000000.25", 1_790_000_000_250_000),
        ("1790000000.1234567", 1_790_000_000_123_456),
        (1_790_000_000_123, 1_790_000_000_123_000),
        (1_790_000_000_123_456, 1_790_000_000_123_456),
        ("2026-09-21T14:13:20Z", 1_790_000_000_000_000),
        ("2026-09-21 14:13:20", 1_790_000_000_000_000),
        ("2026-09-21T14:13:20.5", 1_790_000_000_500_000),
        ("2026-09-21T14:13:20,123456789Z", 1_790_000_000_123_456),
        ("2026-09-21T22:13:20+08:00", 1_790_000_000_000_000),
        ("2026-09-21T10:13:20-0400", 1_790_000_000_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
    ],
)
def test_seconds_milliseconds_microseconds_and_iso_8601_are_told_apart(time: int | str, micros: int) -> None:
    assert read(time) == micros


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        "now",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-09-00T00:00:00Z",
        "2026-09-21T24:00:00Z",
        "2026-09-21T14:60:00Z",
        "2026-09-21T14:13:61Z",
        "2026-09-21",
        "2026-09-21T14:13Z",
        "26-09-21T14:13:20Z",
        "2026-09-21T14:13:20 GMT",
        "2026-09-21T14:13:20Z\n",
        "٢٠٢٦-09-21T14:13:20Z",
        "1.79e9",
        "1790000000.",
        "1790000000.1234567890",
        "1790000000123.5",
        "17900000001234567",
        "9" * 65,
    ],
)
def test_what_is_no_time_is_none(time: str | None) -> None:
    assert read(time) == 0


@pytest.mark.parametrize("time", ["1970-01-21T17:13:20Z", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z"])
def test_a_date_before_2000_is_never_taken_for_another_unit(time: str) -> None:
    assert read(time) == 0


def test_the_first_moment_of_2000_is_a_time() -> None:
    assert read("2000-01-01T00:00:00Z") == EARLIEST_US


_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


_FIRST, _LAST = datetime(2000, 1, 2), datetime(9998, 12, 30)  # noqa: DTZ001  the strategy gives them a zone


@given(st.datetimes(_FIRST, _LAST, timezones=_zones))
def test_any_moment_that_is_written_out_is_read_as_the_standard_library_reads_it(moment: datetime) -> None:
    assert whole(moment.isoformat()) == (moment - EPOCH) // MICROSECOND


@given(st.integers(EARLIEST_US, NOW_US))
def test_a_moment_is_the_same_in_every_unit_that_can_hold_it(micros: int) -> None:
    assert read(micros) == micros
    assert read(str(micros // 1000)) == micros // 1000 * 1000
    assert read(micros // 1_000_000) == micros // 1_000_000 * 1_000_000


@given(st.text(max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    assert read(text) >= 0
