"""Fat fingers: removals of many symbols at once are held; all others are not (contract, guarantee 11)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Desired, Subscription, Wanted
from bridge.upstream.removals import FEW, Removals

HOLD_S = 30.0
ALL = tuple(f"S{number}" for number in range(40))


class Venue:
    """Does at once what is desired, unless told to lag; a test is its control topic and its clock."""

    def __init__(self, symbols: Iterable[str] = ALL, *, accepted_ago_s: float = 100.0, hold_s: float = HOLD_S) -> None:
        self.removals = Removals(hold_s)
        self.now = 0.0
        self.asked: dict[str, Subscription] = {}
        self.subscribed: set[str] = set()
        self.lags = False
        self.say(add=symbols)
        self.now += accepted_ago_s

    def say(
        self, add: Iterable[str] = (), remove: Iterable[str] = (), disable: Iterable[str] = (),
        confirmed: Collection[str] = (), orphaned: bool = False,
    ) -> set[str]:  # fmt: skip
        self.asked |= {symbol: Subscription(symbol) for symbol in add}
        self.asked |= {symbol: Subscription(symbol, enabled=False) for symbol in disable}
        for symbol in remove:
            self.asked.pop(symbol, None)
        wanted = {symbol: Wanted(one, offset) for offset, (symbol, one) in enumerate(self.asked.items())}
        told = Desired(0, wanted, frozenset(confirmed), orphaned)
        return self._take(self.removals.want(told, frozenset(self.subscribed), self.now))

    def wait(self, seconds: float) -> set[str]:
        self.now += seconds
        desired = self.removals.expire(self.now)
        return self.subscribed if desired is None else self._take(desired)

    def _take(self, desired: Desired) -> set[str]:
        wanted = {symbol for symbol, one in desired.wanted.items() if one.subscription.enabled}
        if not self.lags:
            self.subscribed = wanted
            self.removals.accepted(wanted, self.now)
        return wanted

    @property
    def held(self) -> set[str]:
        return set(self.removals.held)


def test_half_of_them_may_go() -> None:
    venue = Venue()
    assert venue.say(remove=ALL[:20]) == set(ALL[20:])
    assert venue.held == set()


def test_more_than_half_stay_for_the_hold_and_go_then() -> None:
    venue = Venue()
    assert venue.say(remove=ALL[:21]) == set(ALL)
    assert venue.held == set(ALL[:21])
    assert venue.wait(HOLD_S - 1) == set(ALL)
    assert venue.wait(1) == set(ALL[21:])
    assert venue.held == set()


def test_disabling_is_a_removal_too() -> None:
    venue = Venue()
    assert venue.say(disable=ALL[:30]) == set(ALL)
    assert venue.wait(HOLD_S) == set(ALL[30:])


def test_of_few_symbols_all_may_go() -> None:
    venue = Venue(ALL[: FEW - 1])
    assert venue.say(remove=ALL) == set()


def test_of_twenty_symbols_ten_may_go_and_eleven_not() -> None:
    assert Venue(ALL[:20]).say(remove=ALL[:10]) == set(ALL[10:20])
    assert Venue(ALL[:20]).say(remove=ALL[:11]) == set(ALL[:20])


def test_symbols_accepted_a_moment_ago_may_go() -> None:
    assert Venue(accepted_ago_s=HOLD_S - 1).say(remove=ALL[:30]) == set(ALL[30:])


def test_additions_go_on_while_removals_are_held() -> None:
    venue = Venue()
    venue.say(remove=ALL[:30])
    assert venue.say(add=["NEW"]) == {*ALL, "NEW"}
    assert venue.wait(HOLD_S) == {*ALL[30:], "NEW"}


def test_confirmed_removals_go_at_once() -> None:
    venue = Venue()
    assert venue.say(remove=ALL[:30], confirmed=ALL[:30]) == set(ALL[30:])


def test_a_confirmation_releases_its_own_symbol_and_no_other() -> None:
    venue = Venue()
    venue.say(remove=ALL[:30])
    assert venue.say(confirmed=ALL[:3]) == set(ALL[3:])
    assert venue.held == set(ALL[3:30])


def test_removals_beside_confirmed_ones_are_judged_without_these() -> None:
    venue = Venue()
    assert venue.say(remove=ALL[:35], confirmed=ALL[:15]) == set(ALL[15:])  # 20 of the 25 others
    assert venue.held == set(ALL[15:35])


def test_a_symbol_asked_for_again_is_an_ordinary_one_again() -> None:
    venue = Venue()
    venue.say(remove=ALL[:30])
    assert venue.say(add=ALL[:30]) == set(ALL)
    assert venue.held == set()
    assert venue.wait(HOLD_S) == set(ALL)


def test_a_slow_script_is_stopped_when_it_has_crossed_half_and_what_it_did_before_stays_done() -> None:
    venue = Venue()
    for count, symbol in enumerate(ALL[:30], 1):
        venue.now += 0.5
        left = venue.say(remove=[symbol])
        assert left == set(ALL[min(count, 20) :])
    assert venue.held == set(ALL[20:30])
    assert venue.wait(HOLD_S) == set(ALL[30:])


def test_a_script_slower_than_the_hold_is_a_human() -> None:
    venue = Venue()
    for count, symbol in enumerate(ALL, 1):
        venue.now += 3.2
        assert venue.say(remove=[symbol]) == set(ALL[count:])


def test_each_removal_is_held_for_its_own_time() -> None:
    venue = Venue()
    venue.say(remove=ALL[:25])
    venue.now += 10
    venue.say(remove=ALL[25:30])
    assert venue.wait(HOLD_S - 10) == set(ALL[25:])
    assert venue.wait(10) == set(ALL[30:])


def test_what_was_told_to_us_but_not_yet_to_the_venue_is_held_too() -> None:
    venue = Venue()
    venue.lags = True
    assert venue.say(remove=ALL[:10]) == set(ALL[10:])
    venue.now += 0.3
    assert venue.say(remove=ALL[10:21]) == set(ALL)
    assert venue.held == set(ALL[:21])


def test_what_was_accepted_before_this_process_came_counts() -> None:
    removals = Removals(HOLD_S)
    removals.remember({symbol: Wanted(Subscription(symbol, priority=3), 5) for symbol in ALL})
    desired = removals.want(Desired(0), frozenset(), 1000.0)
    assert set(desired.wanted) == set(ALL)
    assert desired.wanted["S0"] == Wanted(Subscription("S0", priority=3), 5)
    assert removals.due == 1000.0 + HOLD_S


@pytest.mark.parametrize("count", [3, 40])
def test_a_topic_made_anew_holds_everything_until_it_has_a_record(count: int) -> None:
    venue = Venue(ALL[:count])
    assert venue.say(orphaned=True) == set(ALL[:count])
    assert venue.held == set(ALL[:count])
    assert venue.wait(1000 * HOLD_S) == set(ALL[:count])
    venue.say(add=["NEW"], remove=ALL)
    assert venue.held == (set(ALL) if count == 40 else set())
    assert venue.wait(HOLD_S) == {"NEW"}


def test_without_a_hold_everything_goes_at_once() -> None:
    venue = Venue(hold_s=0.0)
    assert venue.say(remove=ALL) == set()


STEP = st.tuples(
    st.sampled_from(["add", "remove", "disable", "confirm", "wait"]),
    st.sets(st.sampled_from(ALL), max_size=40),
    st.floats(0, 40),
)


@given(st.lists(STEP, max_size=15))
def test_whatever_happens_what_is_asked_for_is_desired_and_what_is_not_goes_within_the_hold(
    steps: list[tuple[str, set[str], float]],
) -> None:
    venue = Venue()
    for what, some, seconds in steps:
        if what == "wait":
            venue.wait(seconds)
        elif what == "confirm":
            venue.say(remove=some, confirmed=some)
            assert not venue.subscribed & some
        else:
            venue.say(**{what: some})  # type: ignore[arg-type]  # add, remove or disable
        asked = {symbol for symbol, one in venue.asked.items() if one.enabled}
        assert asked <= venue.subscribed
        assert venue.subscribed - asked == venue.held
    venue.wait(HOLD_S)
    assert venue.subscribed == {symbol for symbol, one in venue.asked.items() if one.enabled}
