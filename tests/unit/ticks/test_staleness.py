"""Who is stale: those who were quiet for their patience while their market was open, and nobody else."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ticks.calendar import Calendar
from bridge.ticks.staleness import Judgement, Watched, judge
from tests.unit.ticks.moments import DAY_US, HONG_KONG, MOMENTS, NEW_YORK, PATIENT, SECOND_US, moment

CALENDAR = Calendar.built_in()
MARKETS = st.sampled_from(sorted(CALENDAR.markets))


def stale(market: str | None, since_us: int, now_us: int, after_s: float = 60.0) -> bool:
    return bool(judge(CALENDAR, [("A", market, since_us, after_s)], now_us).stale)


def test_a_symbol_that_falls_mute_in_session_is_stale_once_its_patience_is_over() -> None:
    last = moment("2026-11-25 11:00", NEW_YORK)
    assert [stale("us", last, last + 60 * SECOND_US + off) for off in (-1, 0)] == [False, True]


def test_a_symbol_quiet_since_yesterday_s_close_has_its_whole_patience_after_the_opening() -> None:
    close, opening = moment("2026-11-24 16:00", NEW_YORK), moment("2026-11-25 09:30", NEW_YORK)
    moments = (opening - 1, opening + SECOND_US, opening + 60 * SECOND_US - 1, opening + 60 * SECOND_US)
    assert [stale("us", close, now) for now in moments] == [False, False, False, True]


@pytest.mark.parametrize(
    ("market", "last", "later"),
    [
        ("us", "2026-11-25 15:59:30", "2026-11-26 23:00"),  # a night and Thanksgiving
        ("us", "2026-11-27 12:59:30", "2026-11-30 09:30:29"),  # a half day and a weekend
        ("forex", "2026-11-20 16:59:30", "2026-11-22 17:00:29"),
        ("commodities", "2026-11-25 16:59:30", "2026-11-25 18:00:29"),
    ],
)
def test_silence_while_the_market_is_closed_raises_nothing(market: str, last: str, later: str) -> None:
    assert not stale(market, moment(last, NEW_YORK), moment(later, NEW_YORK))
    assert stale(market, moment(last, NEW_YORK), moment(later, NEW_YORK) + DAY_US * 6)


def test_the_lunch_break_stops_the_clock() -> None:
    last = moment("2026-11-25 11:59:30", HONG_KONG)
    after_lunch = moment("2026-11-25 13:00:30", HONG_KONG)
    assert [stale("hk", last, now) for now in (after_lunch - 1, after_lunch)] == [False, True]


@pytest.mark.parametrize("after_s", [1e-300, 1e-9])
def test_however_little_the_patience_a_closed_market_raises_nothing(after_s: float) -> None:
    saturday = moment("2026-11-28 12:00", NEW_YORK)
    assert not stale("us", saturday, saturday + SECOND_US, after_s)


def test_who_was_stale_at_the_close_stays_so_until_a_tick_comes() -> None:
    last, night = moment("2026-11-25 15:58", NEW_YORK), moment("2026-11-25 22:00", NEW_YORK)
    assert stale("us", last, night)
    assert not stale("us", night - 1, night)


def test_patience_that_is_over_at_the_close_is_over_then_and_not_at_the_next_opening() -> None:
    close = moment("2026-11-25 16:00", NEW_YORK)
    watched: list[Watched] = [("A", "us", close - 60 * SECOND_US, 60.0)]
    assert judge(CALENDAR, watched, close - SECOND_US) == Judgement(frozenset(), close)
    assert judge(CALENDAR, watched, close).stale == {"A"}


def test_a_silence_that_began_last_year_is_counted_from_there() -> None:
    year = moment("2026-01-01")
    watched: list[Watched] = [("A", "crypto", year - 2 * DAY_US, 2 * 86_400 + 60.0)]
    assert judge(Calendar.built_in(), watched, year + 30 * SECOND_US).next_us == year + 60 * SECOND_US


def test_who_has_no_market_or_was_never_accepted_is_never_stale() -> None:
    now = moment("2026-11-25 12:00", NEW_YORK)
    assert judge(CALENDAR, [("A", None, 1, 60.0), ("B", "us", 0, 60.0)], now) == Judgement()


def test_a_patience_without_end_is_never_over() -> None:
    assert judge(CALENDAR, [("A", "crypto", 1, math.inf)], moment("2026-11-25")) == Judgement()


def test_a_last_tick_in_the_future_is_no_silence() -> None:
    now = moment("2026-11-25 12:00", NEW_YORK)
    judgement = judge(CALENDAR, [("A", "us", now + SECOND_US, 60.0)], now)
    assert judgement == Judgement(frozenset(), now + 61 * SECOND_US)


def test_each_symbol_is_judged_by_its_own_market_and_patience() -> None:
    sunday = moment("2026-11-22 03:00", NEW_YORK)
    watched: list[Watched] = [
        ("coin", "crypto", sunday - 61 * SECOND_US, 60.0),
        ("patient coin", "crypto", sunday - 61 * SECOND_US, 62.0),
        ("stock", "us", sunday - 61 * SECOND_US, 60.0),
    ]
    assert judge(CALENDAR, watched, sunday) == Judgement(frozenset({"coin"}), sunday + SECOND_US)


def test_the_next_moment_is_after_the_opening_when_everything_is_closed() -> None:
    saturday, monday = moment("2026-11-21 12:00", NEW_YORK), moment("2026-11-23 09:30", NEW_YORK)
    watched: list[Watched] = [("A", "us", saturday - DAY_US * 3, 1e9), ("B", "us", saturday, 60.0)]
    assert judge(CALENDAR, watched, saturday).next_us == monday + 60 * SECOND_US


def test_there_is_no_next_moment_when_everybody_is_stale() -> None:
    now = moment("2026-11-25 12:00", NEW_YORK)
    assert judge(CALENDAR, [("A", "us", now - DAY_US, 1.0)], now) == Judgement(frozenset({"A"}), None)


@PATIENT
@given(
    st.lists(st.tuples(MARKETS, st.integers(1, 5 * DAY_US), st.floats(0.001, 100_000)), min_size=1, max_size=8), MOMENTS
)
def test_the_judgement_is_the_open_time_of_each_and_the_next_moment_is_when_it_changes(
    silences: list[tuple[str, int, float]], now: int
) -> None:
    watched: list[Watched] = [(str(i), market, now - ago, after) for i, (market, ago, after) in enumerate(silences)]
    judgement = judge(CALENDAR, watched, now)
    quiet = {symbol: CALENDAR.open_seconds(market or "", since, now) for symbol, market, since, _ in watched}
    assert judgement.stale == {symbol for symbol, _, _, after in watched if quiet[symbol] >= after}
    if judgement.next_us is not None:
        assert judgement.next_us > now
        assert judge(CALENDAR, watched, judgement.next_us - 1).stale == judgement.stale
        assert judge(CALENDAR, watched, judgement.next_us).stale > judgement.stale
    else:
        assert len(judgement.stale) == len(watched)


def test_judging_three_thousand_symbols_costs_look_ups_and_no_laying_out_of_years() -> None:
    now = moment("2026-11-25 12:00", NEW_YORK)
    markets = sorted(CALENDAR.markets)
    watched: list[Watched] = [(f"S{i}", markets[i % 6], now - i * SECOND_US, 60.0 + i % 7) for i in range(3000)]
    judge(CALENDAR, watched, now)
    best = math.inf
    for _ in range(10):
        began = time.process_time()
        judge(CALENDAR, watched, now)
        best = min(best, time.process_time() - began)
    assert best < 0.05  # 2 ms; ten times that where coverage counts lines
