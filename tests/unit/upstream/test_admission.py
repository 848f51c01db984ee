"""Who is asked for, under which code, and why the others are not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Desired, State, Subscription, Wanted
from bridge.upstream.admission import SURPLUS_S, Admission, Checks, Surplus, Verdict, admit
from bridge.upstream.dialects.alltick import AllTick


def checks(cap: int = 100, market: str | None = "stock") -> Checks:
    return Checks(AllTick(), market, cap)


def wants(*subscriptions: Subscription | str) -> Desired:
    """Ask for symbols in the order of their records."""
    records = [one if isinstance(one, Subscription) else Subscription(one) for one in subscriptions]
    return Desired(0, {one.symbol: Wanted(one, offset) for offset, one in enumerate(records)})


def reason(admission: Admission, symbol: str) -> tuple[State, str]:
    verdict = admission.refused[symbol]
    return verdict.state, verdict.reason


def test_symbols_are_admitted_under_the_venues_spelling() -> None:
    admission = admit(wants("NASDAQ:AAPL", "HKEX:00700", "600519.SH"), checks(), incumbents={})
    assert admission.symbols == {"AAPL.US": "NASDAQ:AAPL", "700.HK": "HKEX:00700", "600519.SH": "600519.SH"}
    assert admission.refused == {}


def test_the_records_own_code_comes_before_ours() -> None:
    admission = admit(wants(Subscription("NASDAQ:APPLE", code="AAPL.US")), checks(), incumbents={})
    assert admission.symbols == {"AAPL.US": "NASDAQ:APPLE"}


def test_a_symbol_that_the_venue_cannot_have_is_rejected_with_its_text_and_has_no_code() -> None:
    admission = admit(wants("LSE:VOD", "700.HK"), checks(), incumbents={})
    assert reason(admission, "LSE:VOD") == (State.REJECTED, "bad_symbol")
    assert "'LSE' is no exchange" in admission.refused["LSE:VOD"].detail
    assert (dict(admission.symbols), dict(admission.codes)) == ({"700.HK": "700.HK"}, {"700.HK": "700.HK"})


def test_a_disabled_symbol_is_not_asked_for_and_keeps_its_code() -> None:
    admission = admit(wants(Subscription("HKEX:00700", enabled=False)), checks(), incumbents={})
    assert reason(admission, "HKEX:00700") == (State.DISABLED, "disabled")
    assert admission.codes == {"HKEX:00700": "700.HK"}


@pytest.mark.parametrize(("market", "symbol"), [("stock", "BTCUSDT"), ("other", "AAPL.US")])
def test_a_code_that_plainly_belongs_to_the_other_endpoint_is_rejected(market: str, symbol: str) -> None:
    admission = admit(wants(symbol, "GOLD"), checks(market=market), incumbents={})
    assert reason(admission, symbol) == (State.REJECTED, "wrong_endpoint")
    assert list(admission.symbols) == ["GOLD"]


def test_where_no_endpoint_is_named_none_is_wrong() -> None:
    assert len(admit(wants("BTCUSDT", "AAPL.US"), checks(market=None), incumbents={}).symbols) == 2


# Two symbols with one code


def test_of_two_symbols_with_one_code_the_older_record_has_it() -> None:
    admission = admit(wants("700.HK", "HKEX:00700", "HKEX:700"), checks(), incumbents={})
    assert admission.symbols == {"700.HK": "700.HK"}
    for symbol in ("HKEX:00700", "HKEX:700"):
        assert reason(admission, symbol) == (State.REJECTED, "duplicate_code")
        assert admission.refused[symbol].detail == "700.HK has the same code 700.HK"


def test_the_incumbent_keeps_its_code_though_its_record_is_newer() -> None:
    admission = admit(wants("700.HK", "HKEX:00700"), checks(), incumbents={"700.HK": "HKEX:00700"})
    assert admission.symbols == {"700.HK": "HKEX:00700"}
    assert reason(admission, "700.HK") == (State.REJECTED, "duplicate_code")


def test_a_disabled_rival_is_no_rival() -> None:
    admission = admit(wants(Subscription("700.HK", enabled=False), "HKEX:00700"), checks(), incumbents={})
    assert admission.symbols == {"700.HK": "HKEX:00700"}


# The plan's cap


def test_the_cap_goes_by_priority_then_incumbents_then_the_order_of_records() -> None:
    records = wants("1.HK", "2.HK", "3.HK", "4.HK", Subscription("5.HK", priority=1), Subscription("6.HK", priority=-1))
    admission = admit(records, checks(cap=3), incumbents={"4.HK": "4.HK", "6.HK": "6.HK"})
    assert list(admission.symbols) == ["5.HK", "4.HK", "1.HK"]
    assert {symbol: reason(admission, symbol) for symbol in admission.refused} == dict.fromkeys(
        ("2.HK", "3.HK", "6.HK"), (State.OVER_CAP, "over_cap")
    )
    assert admission.refused["2.HK"].detail == "the plan has room for 3"


def test_barred_codes_are_admitted_and_take_no_room() -> None:
    admission = admit(wants("1.HK", "2.HK", "3.HK"), checks(cap=2), incumbents={}, barred={"1.HK"})
    assert list(admission.symbols) == ["1.HK", "2.HK", "3.HK"]
    assert admission.refused == {}


_symbols = st.sampled_from(
    [f"{exchange}{number}" for number in (5, 50, 500) for exchange in ("HKEX:", "HKEX:00", "SSE:", "LSE:")]
    + ["5.HK", "50.HK", "BTCUSDT", "GOLD"]
)
_records = st.builds(
    Subscription, _symbols, priority=st.integers(-1, 1), enabled=st.sampled_from([True, True, True, False])
)


@given(st.lists(_records, max_size=14), st.integers(1, 6), st.sets(st.sampled_from(["5.HK", "5.SH"])))
def test_every_symbol_is_either_admitted_or_told_why_not(
    records: list[Subscription], cap: int, barred: set[str]
) -> None:
    desired = wants(*records)
    incumbents = {"50.HK": "50.HK", "5.HK": "HKEX:005"}
    admission = admit(desired, checks(cap), incumbents=incumbents, barred=barred)
    everyone = Counter([*admission.symbols.values(), *admission.refused])
    assert everyone == Counter(desired.wanted.keys())
    taking_room = [code for code in admission.symbols if code not in barred]
    over_cap = [verdict for verdict in admission.refused.values() if verdict.state is State.OVER_CAP]
    assert len(taking_room) <= cap
    assert not over_cap or len(taking_room) == cap
    assert all(admission.codes[symbol] == code for code, symbol in admission.symbols.items())
    assert all(isinstance(verdict, Verdict) and verdict.reason for verdict in admission.refused.values())


# What the log is told of the surplus


def told(*looks: tuple[float, int]) -> list[tuple[float, int]]:
    """Look at these moments at these numbers of symbols without room; give what was told."""
    surplus = Surplus()
    return [(now, count) for now, count in looks if surplus.news(count, now)]


def test_the_first_symbols_without_room_are_told_at_once_and_those_who_stay_are_not_told_again() -> None:
    assert told((0.0, 0), (1.0, 3), (2.0, 3), (1e6, 3)) == [(1.0, 3)]


def test_more_are_told_once_in_a_while_with_the_number_of_then() -> None:
    looks = [(float(second), second) for second in range(1, 200)]
    assert told(*looks) == [(1.0, 1), (1.0 + SURPLUS_S, 61), (1.0 + 2 * SURPLUS_S, 121), (1.0 + 3 * SURPLUS_S, 181)]


def test_fewer_are_no_news_and_growth_counts_from_there() -> None:
    assert told((0.0, 9), (100.0, 4), (200.0, 5), (300.0, 4), (400.0, 4)) == [(0.0, 9), (200.0, 5)]


def test_the_end_is_told_too_and_a_to_and_fro_no_more_often_than_the_rest() -> None:
    assert told((0.0, 2), (100.0, 0), (101.0, 0)) == [(0.0, 2), (100.0, 0)]
    to_and_fro = [(float(second), second % 2) for second in range(600)]
    assert 8 <= len(told(*to_and_fro)) <= 600 / SURPLUS_S + 1
    assert told((0.0, 2), (1.0, 0), (2.0, 0), (SURPLUS_S, 0)) == [(0.0, 2), (SURPLUS_S, 0)]
