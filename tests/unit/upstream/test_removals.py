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
        self.dropped: set[str] = set()
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

    def drop(self, symbols: Iterable[str]) -> None:
        """Hold some no more although they are asked for: the plan has no room, or their codes went bad."""
        self.dropped |= set(symbols)
        self.subscribed -= self.dropped
        self.removals.accepted(self.subscribed, self.now)

    def take_back(self, symbols: Iterable[str]) -> None:
        """Hold them again."""
        self.dropped -= set(symbols)
        self.subscribed |= set(symbols)
        self.removals.accepted(self.subscribed, self.now)

    def _take(self, desired: Desired) -> set[str]:
        wanted = {symbol for symbol, one in desired.wanted.items() if one.subscription.enabled}
        if not self.lags:
            self.subscribed = wanted - self.dropped
            self.removals.accepted(self.subscribed, self.now)
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


@pytest.mark.parametrize(("count", "may_go", "may_not"), [(21, 10, 11), (39, 19, 20), (3000, 1500, 1501)])
def test_half_is_half_of_any_number(count: int, may_go: int, may_not: int) -> None:
    some = [f"S{number}" for number in range(count)]
    assert Venue(some).say(remove=some[:may_go]) == set(some[may_go:])
    assert Venue(some).say(remove=some[:may_not]) == set(some)


def test_symbols_accepted_a_moment_ago_may_go() -> None:
    assert Venue(accepted_ago_s=HOLD_S - 1).say(remove=ALL[:30]) == set(ALL[30:])


def test_symbols_that_the_plan_had_no_room_for_a_hold_ago_neither_count_nor_are_held() -> None:
    venue = Venue()
    venue.drop(ALL[:20])
    venue.now += HOLD_S + 1
    assert venue.say(remove=[*ALL[:20], *ALL[20:30]]) == set(ALL[30:])  # 10 of the 20 that were held
    assert venue.held == set()


def test_symbols_that_the_plan_had_no_room_for_a_hold_ago_do_not_make_many_of_the_others_few() -> None:
    venue = Venue()
    venue.drop(ALL[:20])
    venue.now += HOLD_S + 1
    assert venue.say(remove=ALL[20:31]) == set(ALL)  # 11 of the 20 that were held
    assert venue.held == set(ALL[20:31])


def test_symbols_that_lost_their_place_within_the_hold_still_count() -> None:
    venue = Venue()
    venue.drop(ALL[:30])
    venue.now += HOLD_S - 1
    assert venue.say(remove=ALL[20:40]) == set(ALL[:20])  # half of the 40 that were accepted a hold ago
    assert venue.say(remove=ALL[19:20]) == set(ALL[:19])
    assert venue.held == set()  # that one is not held by the venue: nothing is left to protect


def test_symbols_that_find_their_place_again_after_a_hold_are_new() -> None:
    venue = Venue()
    venue.drop(ALL[:30])
    venue.now += HOLD_S
    venue.take_back(ALL[:30])
    venue.now += 1
    assert venue.say(remove=ALL[:21]) == set(ALL[21:])


def test_newcomers_do_not_make_many_of_the_others_few() -> None:
    venue = Venue(ALL[:20])
    venue.say(add=ALL[20:])
    venue.now += 1
    assert venue.say(remove=ALL[:11]) == set(ALL)
    assert venue.held == set(ALL[:11])


def test_removals_that_are_confirmed_after_they_went_count_no_longer() -> None:
    venue = Venue()
    venue.say(remove=ALL[:15])
    venue.say(remove=ALL[:15], confirmed=ALL[:15])
    assert venue.say(remove=ALL[15:25]) == set(ALL[25:])  # 10 of the 25 others


def test_what_was_held_to_its_end_counts_no_longer_though_it_lost_its_place_meanwhile() -> None:
    venue = Venue()
    venue.say(remove=ALL[:21])
    venue.wait(HOLD_S - 1)
    venue.drop(ALL[:21])
    assert venue.wait(1) == set(ALL[21:])
    venue.now += 1
    assert venue.say(remove=ALL[21:22]) == set(ALL[22:])


def test_a_removal_that_was_taken_back_leaves_its_symbols_as_old_as_they_were() -> None:
    venue = Venue(ALL[:30])
    assert venue.say(remove=ALL[:15]) == set(ALL[15:30])
    venue.now += 5
    venue.say(add=ALL[:15])
    venue.now += 5
    assert venue.say(remove=ALL[:30]) == set(ALL[:30])
    assert venue.held == set(ALL[:30])


def test_a_symbol_that_comes_back_after_the_hold_is_new() -> None:
    venue = Venue()
    venue.say(remove=ALL[:20])
    venue.now += HOLD_S
    venue.say(add=ALL[:20])
    venue.now += HOLD_S - 1
    assert venue.say(remove=ALL[:21]) == set(ALL[21:])  # of the 20 that were accepted a hold ago, one


def test_every_road_counts_together() -> None:
    venue = Venue()
    venue.say(remove=ALL[:10])
    venue.now += 1
    assert venue.say(remove=ALL[10:15], disable=ALL[15:21]) == set(ALL[10:])
    assert venue.held == set(ALL[10:21])
    assert venue.say(disable=ALL[21:22]) == set(ALL[10:])
    venue.now += 1
    assert venue.say(remove=ALL) == set(ALL[10:])  # an emptied topic after all
    assert venue.wait(HOLD_S - 1) == set(ALL[22:])
    assert venue.wait(1) == set()


def test_a_held_symbol_whose_removal_is_confirmed_the_other_way_goes_at_once() -> None:
    venue = Venue()
    venue.say(remove=ALL[:15], disable=ALL[15:30])
    assert venue.say(disable=ALL[:2], confirmed=ALL[:2]) == set(ALL[2:])
    assert venue.say(remove=ALL[15:17], confirmed=ALL[15:17]) == {*ALL[2:15], *ALL[17:]}


def test_what_a_topic_made_anew_held_is_released_by_a_confirmation_and_the_rest_after_the_hold() -> None:
    venue = Venue()
    venue.say(orphaned=True)
    venue.now += 10 * HOLD_S
    assert venue.say(remove=ALL, confirmed=ALL[:3]) == set(ALL[3:])
    assert venue.wait(HOLD_S) == set()


def test_what_was_being_removed_when_the_topic_was_made_anew_goes_in_its_own_time() -> None:
    venue = Venue()
    venue.say(remove=ALL[:30])
    venue.now += 10
    assert venue.say(orphaned=True) == set(ALL)
    assert venue.wait(HOLD_S - 10) == set(ALL[30:])
    assert venue.wait(100 * HOLD_S) == set(ALL[30:])


@pytest.mark.parametrize(("few", "left"), [(3, ALL[3:]), (30, ALL)])
def test_what_was_removed_just_before_the_topic_was_made_anew_is_judged_as_ever(
    few: int, left: tuple[str, ...]
) -> None:
    venue = Venue()
    assert venue.say(remove=ALL[:few], orphaned=True) == set(left)
    assert venue.wait(HOLD_S) == set(ALL[few:])


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


def test_without_a_hold_everything_goes_at_once_but_for_a_topic_made_anew() -> None:
    venue = Venue(hold_s=0.0)
    assert venue.say(orphaned=True) == set(ALL)
    assert venue.wait(1000) == set(ALL)
    assert venue.say(remove=ALL) == set()
    assert Venue(hold_s=0.0, accepted_ago_s=0.0).say(disable=ALL) == set()


def test_a_removal_of_what_was_accepted_before_is_held_for_a_hold_of_every_process() -> None:
    for _ in range(3):  # killed in the middle of each hold
        removals = Removals(HOLD_S)
        removals.remember({symbol: Wanted(Subscription(symbol), 5) for symbol in ALL})
        assert set(removals.want(Desired(0), frozenset(), 0.0).wanted) == set(ALL)
        removals.accepted(ALL, 1.0)
        assert removals.expire(HOLD_S - 1) is None
    left = removals.expire(HOLD_S)
    assert left is not None
    assert not left.wanted


STEP = st.tuples(
    st.sampled_from(["add", "remove", "disable", "confirm", "anew", "wait"]),
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
        elif what == "anew":
            venue.say(remove=some, orphaned=True)
        else:
            venue.say(**{what: some})  # type: ignore[arg-type]  # add, remove or disable
        asked = {symbol for symbol, one in venue.asked.items() if one.enabled}
        assert asked <= venue.subscribed
        assert venue.subscribed - asked == venue.held - asked
    venue.wait(HOLD_S)
    assert venue.subscribed == {symbol for symbol, one in venue.asked.items() if one.enabled}
