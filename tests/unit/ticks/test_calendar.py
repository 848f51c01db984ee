"""When each market is open, and how much open time lies between two moments, as the world's clocks have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SettingsError
from bridge.ticks.calendar import NOTICE_US, Calendar, Reminder, market_of
from bridge.ticks.hours import Rules, window
from bridge.ticks.markets import HOLIDAYS, built_in
from tests.unit.ticks.moments import DAY_US, HONG_KONG, MINUTE_US, MOMENTS, NEW_YORK, PATIENT, SHANGHAI, moment

RULES = built_in()
CALENDAR = Calendar(RULES)


def openings(market: str, day: str, zone: str) -> list[tuple[str, str]]:
    """Give the hours of one local day, minute by minute, as ``is_open`` has them."""
    start = moment(day, zone)
    minutes = [minute for minute in range(1440) if CALENDAR.is_open(market, start + minute * MINUTE_US)]
    edges = [minute for minute in minutes if minute - 1 not in minutes]
    ends = [minute + 1 for minute in minutes if minute + 1 not in minutes]
    return [(f"{a // 60:02}:{a % 60:02}", f"{b // 60:02}:{b % 60:02}") for a, b in zip(edges, ends, strict=True)]


# The days of each market


def test_new_york_trades_from_half_past_nine_to_four() -> None:
    assert openings("us", "2026-11-25", NEW_YORK) == [("09:30", "16:00")]


def test_hong_kong_and_shanghai_have_a_lunch_break() -> None:
    assert openings("hk", "2026-11-25", HONG_KONG) == [("09:30", "12:00"), ("13:00", "16:00")]
    assert openings("cn", "2026-11-25", SHANGHAI) == [("09:30", "11:30"), ("13:00", "14:57")]


@pytest.mark.parametrize(("market", "zone"), [("us", NEW_YORK), ("hk", HONG_KONG), ("cn", SHANGHAI)])
def test_stocks_rest_at_the_weekend(market: str, zone: str) -> None:
    assert openings(market, "2026-11-21", zone) == openings(market, "2026-11-22", zone) == []


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        ("2026-03-06", "14:30"),  # Friday before the clocks go forward
        ("2026-03-09", "13:30"),
        ("2026-10-30", "13:30"),  # Friday before they go back
        ("2026-11-02", "14:30"),
    ],
)
def test_new_york_opens_by_its_own_clock_all_year(day: str, opens: str) -> None:
    assert openings("us", day, "UTC")[0][0] == opens


def test_thanksgiving_is_a_holiday_and_the_friday_after_it_ends_at_one() -> None:
    assert openings("us", "2026-11-26", NEW_YORK) == []
    assert openings("us", "2026-11-27", NEW_YORK) == [("09:30", "13:00")]


def test_chinese_new_year_closes_shanghai_for_a_week_and_hong_kong_for_three_days() -> None:
    closed_in_shanghai = [day for day in range(9, 28) if not openings("cn", f"2026-02-{day:02}", SHANGHAI)]
    assert closed_in_shanghai == [14, 15, 16, 17, 18, 19, 20, 21, 22, 23]
    closed_in_hong_kong = [day for day in range(9, 28) if not openings("hk", f"2026-02-{day:02}", HONG_KONG)]
    assert closed_in_hong_kong == [14, 15, 17, 18, 19, 21, 22]


@pytest.mark.parametrize("day", ["2026-02-16", "2026-12-24", "2026-12-31"])
def test_hong_kong_stops_at_noon_on_the_eves(day: str) -> None:
    assert openings("hk", day, HONG_KONG) == [("09:30", "12:00")]


def test_crypto_is_open_at_three_on_a_sunday_morning_and_on_christmas() -> None:
    assert openings("crypto", "2026-11-22", "UTC") == openings("crypto", "2026-12-25", "UTC") == [("00:00", "24:00")]


@pytest.mark.parametrize("sunday", ["2026-03-08", "2026-07-12", "2026-11-01"])
def test_forex_rests_from_friday_to_sunday_at_five_in_new_york(sunday: str) -> None:
    weekend = moment(f"{sunday} 17:00", NEW_YORK)
    friday = moment(f"{(datetime.fromisoformat(sunday) - timedelta(days=2)).date()} 17:00", NEW_YORK)
    assert [CALENDAR.is_open("forex", at) for at in (friday - 1, friday)] == [True, False]
    assert not CALENDAR.is_open("forex", moment(f"{sunday} 03:30", NEW_YORK) - DAY_US)
    assert [CALENDAR.is_open("forex", at) for at in (weekend - 1, weekend)] == [False, True]


def test_the_daily_breaks_of_forex_and_commodities_count_as_closed() -> None:
    assert openings("forex", "2026-11-25", NEW_YORK) == [("00:00", "17:00"), ("17:05", "24:00")]
    assert openings("commodities", "2026-11-25", NEW_YORK) == [("00:00", "17:00"), ("18:00", "24:00")]
    assert openings("commodities", "2026-11-22", NEW_YORK) == [("18:00", "24:00")]


def test_christmas_closes_forex_from_five_on_the_eve_to_five_past_five() -> None:
    assert openings("forex", "2025-12-24", NEW_YORK) == [("00:00", "17:00")]
    assert openings("forex", "2025-12-25", NEW_YORK) == [("17:05", "24:00")]


def test_commodities_stop_at_one_on_thanksgiving_and_rest_on_good_friday() -> None:
    assert openings("commodities", "2026-11-26", NEW_YORK) == [("00:00", "13:00"), ("18:00", "24:00")]
    assert openings("commodities", "2026-04-03", NEW_YORK) == []


# Which market a code belongs to


@pytest.mark.parametrize(
    ("market", "codes"),
    [
        ("us", "AAPL.US BRK.B.US .DJI.US NASDAQ:AAPL NYSE:BRK.B"),
        ("hk", "700.HK 9988.HK HSI.HK 00700.HK HKEX:00700"),
        ("cn", "600519.SH 000001.SZ 000001.SH 399001.SZ SSE:600519 SZSE:000001"),
        ("crypto", "BTCUSDT ETHUSDC ETHBTC 1000SHIBUSDT BTCUSD EURUSDT"),
        ("forex", "EURUSD USDJPY GBPCHF USDCNH"),
        ("commodities", "GOLD Gold Silver SILVER USOIL COPPER NGAS Platinum Palladium XAUUSD XAGEUR"),
    ],
)
def test_the_venue_s_spelling_tells_the_market(market: str, codes: str) -> None:
    assert {code: market_of(code) for code in codes.split()} == dict.fromkeys(codes.split(), market)
    assert {CALENDAR.market_of(code) for code in codes.split()} == {market}


@pytest.mark.parametrize(
    "code", ["", "NAS100", "US500", "HK50", "UKOIL", "Nickel", "USDCNY", "USDUSD", "BTC", "USDT", "AAPL", "VOD.L", "."]
)
def test_a_spelling_that_does_not_tell_gives_no_market(code: str) -> None:
    assert market_of(code) is None
    assert CALENDAR.market_of(code) is None


@pytest.mark.parametrize(
    ("symbol", "code", "market"),
    [
        ("NYSE:GOLD", "GOLD", "us"),  # as venues spell it that leave the exchange out
        ("AMEX:XAUUSD", "XAUUSD", "us"),
        ("GOLD", "GOLD", "commodities"),
        ("HKEX:00700", "700.HK", "hk"),
        ("desk:gold", "GOLD", "commodities"),  # no exchange: the code tells
        ("AAPL.US", "AAPL", "us"),  # the symbol tells where the code does not
        ("AAPL", "AAPL", None),
    ],
)
def test_an_exchange_before_the_symbol_says_more_than_the_letters_of_the_code(
    symbol: str, code: str, market: str | None
) -> None:
    assert CALENDAR.market_of(code, symbol) == market


# How long the holidays are known


def test_the_holidays_are_known_for_the_present_year_at_least_and_said_until_when() -> None:
    known = {market: CALENDAR.known_until(market) for market in CALENDAR.markets}
    assert known.pop("crypto") is None
    assert all(until is not None and until >= "2026-12-31" for until in known.values()), known


def test_a_market_whose_holidays_run_out_is_told_with_its_last_day() -> None:
    last = CALENDAR.known_until("cn")
    end = moment(f"{last} 23:59", SHANGHAI) + MINUTE_US
    month = 30 * DAY_US
    assert CALENDAR.running_out(end - month - 1, month) == {}
    assert CALENDAR.running_out(end - month + 1, month) == {"cn": last}
    assert CALENDAR.running_out(end - month + 1, month, among={"us", "crypto"}) == {}


def test_it_is_told_a_month_before_and_once_a_day_for_each_market_in_use() -> None:
    last = CALENDAR.known_until("cn")
    end = moment(f"{last} 23:59", SHANGHAI) + MINUTE_US
    reminder = Reminder(CALENDAR)
    assert NOTICE_US == 30 * DAY_US
    assert reminder.due(end - NOTICE_US - 1, {"cn", "us"}) == {}
    start = end - NOTICE_US + 1
    assert reminder.due(start, {"us"}) == {}
    assert reminder.due(start, {"cn", "us"}) == {"cn": last}
    assert reminder.due(start + DAY_US - 1, {"cn"}) == {}
    assert reminder.due(start + DAY_US, {"cn"}) == {"cn": last}
    assert reminder.due(end + 400 * DAY_US, {"cn", "us"}) == {"cn": last}  # when it is over, all the more


def test_a_market_that_is_used_later_in_the_day_is_told_at_once() -> None:
    reminder, late = Reminder(CALENDAR), moment("2031-06-01")
    assert set(reminder.due(late, {"cn"})) == {"cn"}
    assert set(reminder.due(late + 1, {"cn", "hk", "crypto"})) == {"hk"}


def test_beyond_what_is_known_the_weekly_sessions_alone_decide() -> None:
    assert openings("us", "2042-12-25", NEW_YORK) == [("09:30", "16:00")]  # a Thursday


@pytest.mark.parametrize("zone", ["Pacific/Honolulu", "Pacific/Kiritimati"])
def test_a_year_is_laid_out_to_its_edges_however_far_the_market_is_from_greenwich(zone: str) -> None:
    laid = window(Rules(zone, dict.fromkeys(range(7), ((0, 1440),))), moment("2026-06-01"), moment("2026-06-01"))
    assert (laid.start_us, laid.end_us) == (moment("2026-01-01"), moment("2027-01-01"))
    assert len(laid.spans) == 1
    assert laid.spans[0][0] <= laid.start_us
    assert laid.spans[0][1] >= laid.end_us


def test_a_session_that_the_change_of_the_clock_swallows_is_none() -> None:
    small_hours = Calendar({"x": Rules(NEW_YORK, {6: ((2 * 60 + 30, 3 * 60 + 15),)})})
    lengths = [
        small_hours.open_seconds("x", start, start + DAY_US)
        for start in (moment(f"2026-03-{day} 00:00", NEW_YORK) for day in ("01", "08", "15"))
    ]
    assert lengths == [2700, 0, 2700]


def test_a_market_that_does_not_open_again_says_to_ask_again_in_a_month_or_later() -> None:
    now = moment("2026-12-28")
    never = Calendar({"x": Rules("UTC", {})}).open_time("x", now, now)
    once = Calendar({"x": Rules("UTC", {0: ((0, 60),)})}).open_time("x", now, now)
    assert never.when(1) >= now + 31 * DAY_US
    assert once.when(once.at(now) + 52 * 60 * MINUTE_US) >= now + 31 * DAY_US


def test_a_time_zone_that_the_machine_does_not_know_is_told_at_once_with_the_remedy() -> None:
    with pytest.raises(
        SettingsError, match=r"market us: no time zone is called 'America/Gotham' .*; install .* tzdata"
    ):
        Calendar({"us": Rules("America/Gotham", {})})


def test_a_market_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        CALENDAR.is_open("moon", 1)


# Open time: the sum of it all

_KNOWN = json.loads(HOLIDAYS.read_text(encoding="utf-8"))["markets"]


def _local(at_us: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _stock(market: str, zone: str, *sessions: tuple[time, time]) -> Callable[[int], bool]:
    def is_open(at_us: int) -> bool:
        now = _local(at_us, zone)
        day = now.date().isoformat()
        close = time.fromisoformat(_KNOWN[market]["early_closes"].get(day, "23:59"))
        trades = now.weekday() < 5 and day not in _KNOWN[market]["holidays"]
        return trades and now.time() < close and any(start <= now.time() < end for start, end in sessions)

    return is_open


def _forex(at_us: int) -> bool:
    now = _local(at_us, NEW_YORK)
    day = (now + timedelta(hours=7)).date()
    pause = time(17) <= now.time() < time(17, 5) and now.weekday() != 6
    return day.weekday() < 5 and day.isoformat() not in _KNOWN["forex"]["holidays"] and not pause


def _commodities(at_us: int) -> bool:
    now = _local(at_us, NEW_YORK)
    day = (now + timedelta(hours=7)).date()
    early = _KNOWN["commodities"]["early_closes"].get(day.isoformat())
    over = early is not None and day == now.date() and now.time() >= time.fromisoformat(early)
    trades = day.weekday() < 5 and day.isoformat() not in _KNOWN["commodities"]["holidays"]
    return trades and not over and now.hour != 17


#: Whether a market is open at a moment, said in the plainest way there is.
PLAIN: dict[str, Callable[[int], bool]] = {
    "us": _stock("us", NEW_YORK, (time(9, 30), time(16))),
    "hk": _stock("hk", HONG_KONG, (time(9, 30), time(12)), (time(13), time(16))),
    "cn": _stock("cn", SHANGHAI, (time(9, 30), time(11, 30)), (time(13), time(14, 57))),
    "crypto": lambda _: True,
    "forex": _forex,
    "commodities": _commodities,
}


def minute_by_minute(market: str, since_us: int, now_us: int) -> float:
    """Walk from one moment to the other and count; everything opens and closes on the minute."""
    edges = [since_us, *range(since_us - since_us % MINUTE_US + MINUTE_US, now_us, MINUTE_US), now_us]
    open_us: int = sum(b - a for a, b in pairwise(edges) if PLAIN[market](a))
    return open_us / 1e6


MARKETS = st.sampled_from(sorted(PLAIN))


@PATIENT
@given(MARKETS, MOMENTS, st.integers(0, 4 * DAY_US))
def test_open_time_is_what_walking_minute_by_minute_finds(market: str, since_us: int, length_us: int) -> None:
    now_us = since_us + length_us
    assert CALENDAR.open_seconds(market, since_us, now_us) == pytest.approx(
        minute_by_minute(market, since_us, now_us), abs=1e-6
    )


@PATIENT
@given(MARKETS, st.lists(st.integers(moment("2020-01-01"), moment("2035-01-01")), min_size=3, max_size=3))
def test_open_time_adds_up_and_never_exceeds_the_time_that_passed(market: str, moments: list[int]) -> None:
    first, middle, last = sorted(moments)
    parts = [CALENDAR.open_seconds(market, a, b) for a, b in ((first, middle), (middle, last))]
    assert sum(parts) == pytest.approx(CALENDAR.open_seconds(market, first, last), abs=1e-5)
    assert 0 <= parts[0] <= (middle - first) / 1e6


@PATIENT
@given(MARKETS, st.lists(st.integers(moment("2024-01-01"), moment("2027-12-31")), min_size=1, max_size=3))
def test_the_order_in_which_moments_are_asked_for_changes_no_answer(market: str, moments: list[int]) -> None:
    used = Calendar(RULES)
    for since in moments:
        fresh, now = Calendar(RULES), since + 3 * DAY_US
        assert used.open_seconds(market, since, now) == fresh.open_seconds(market, since, now)


@PATIENT
@given(MARKETS, MOMENTS, st.integers(1, 3 * DAY_US))
def test_the_moment_when_so_much_open_time_is_over_is_the_first_such_moment(
    market: str, since: int, total: int
) -> None:
    open_time = CALENDAR.open_time(market, since, since)
    due = open_time.when(open_time.at(since) + total)
    if due - since < 31 * DAY_US:
        assert round(CALENDAR.open_seconds(market, since, due) * 1e6) == total
        assert round(CALENDAR.open_seconds(market, since, due - 1) * 1e6) == total - 1
    else:
        assert CALENDAR.open_seconds(market, since, due - 1) * 1e6 < total + 1


def test_time_that_runs_backwards_is_no_open_time() -> None:
    assert CALENDAR.open_seconds("crypto", 2_000_000, 1_000_000) == 0.0
