"""What is asked for next where requests add and take away: against a venue with every behaviour left open."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Limits, Memory, State
from bridge.upstream.dialects import Ask, Remedy
from bridge.upstream.dialects.action_code import ActionCode
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.increments import Increments, reconciler
from bridge.upstream.reconcile import Plan, Reconciler
from tests.fakes import desired

#: What a venue does with a request that has a bad code, and which codes its answer names.
Partly = Literal["good hold, bad named", "none holds, all named", "none holds, none named"]
PARTLY: tuple[Partly, ...] = ("good hold, bad named", "none holds, all named", "none holds, none named")
every_way = pytest.mark.parametrize("partly", PARTLY)
late = pytest.mark.parametrize("late", [False, True], ids=["answers", "late answers"])


def code(number: int, name: str = "X") -> str:
    return f"{name}:{number:03d}"


def codes(count: int, name: str = "X") -> list[str]:
    return [code(number, name) for number in range(count)]


class Venue:
    """One connection's subscriptions, and what was asked."""

    def __init__(self, bad: Iterable[str] = (), partly: Partly = PARTLY[0], cap: int = 10_000) -> None:
        self.bad = set(bad)
        self.partly = partly
        self.cap = cap
        self.held: set[str] = set()
        self.asked: list[Ask] = []

    def ask(self, ask: Ask) -> tuple[int, tuple[str, ...]]:
        """Take a request; give ret and the codes that the answer names."""
        self.asked.append(ask)
        if ask.kind == "unsubscribe":
            self.held -= set(ask.codes)
            return 200, ask.codes
        room = self.cap - len(self.held)
        refused = tuple(one for one in ask.codes if one in self.bad)
        ret = 600
        if not refused and len(ask.codes) > room:
            refused, ret = ask.codes[max(0, room) :], 603
        if not refused:
            self.held |= set(ask.codes)
            return 200, ask.codes
        if self.partly == "good hold, bad named":
            self.held |= set(ask.codes) - set(refused)
            return ret, refused
        return ret, ask.codes if self.partly == "none holds, all named" else ()


class Talk:
    """A reconciler and a venue without a wire between them; ``late`` answers come when the request counts already."""

    def __init__(self, venue: Venue | None = None, *, late: bool = False, max_symbols: int = 1000) -> None:
        self.venue = venue or Venue()
        self.late = late
        self.reconciler = Increments(ActionCode(), None, Limits(max_symbols))
        self.now = 0.0
        self.reconciler.opened()

    def want(self, wanted: Iterable[str]) -> Talk:
        self.reconciler.want(desired(wanted), self.now)
        return self

    def step(self) -> Ask | None:
        plan = self.reconciler.plan(self.now)
        if plan is None:
            return None
        self.check(plan.ask)
        ret, named = self.venue.ask(plan.ask)
        if self.late or ret == 200:
            self.reconciler.accept(plan, self.now)
        if ret != 200:
            if not self.late and set(named) < set(plan.ask.codes) and named:
                self.reconciler.accept(plan, self.now)
            self.reconciler.refuse(plan, ret, self.now, named)
        return plan.ask

    def lose(self, *, arrives: bool) -> None:
        """Ask for what is planned and hear nothing."""
        plan = self.reconciler.plan(self.now)
        if plan is not None:
            if arrives:
                self.venue.ask(plan.ask)
            self.reconciler.unanswered(plan)
            self.venue.held -= set(plan.ask.codes)  # so that what is held for sure stays the promise's measure

    def check(self, ask: Ask) -> None:
        """Hold each request to the promises."""
        wanted = set(self.reconciler.admission.symbols)
        assert ask.codes
        assert len(set(ask.codes)) == len(ask.codes) <= 20
        if ask.kind == "subscribe":
            assert set(ask.codes) <= wanted
            assert not set(ask.codes) & self.venue.held, "accepted codes are not sent again"
        else:
            assert not set(ask.codes) & wanted

    def settle(self, most: int = 500) -> list[Ask]:
        start = len(self.venue.asked)
        while self.step() is not None:
            assert len(self.venue.asked) - start <= most, "it does not settle"
        return self.venue.asked[start:]

    def reconnect(self) -> Talk:
        self.venue.held = set()
        self.reconciler.opened()
        return self

    @property
    def states(self) -> dict[str, tuple[State, str]]:
        return {
            symbol: (state, verdict.reason if verdict else "")
            for symbol, _, state, verdict in self.reconciler.states(connected=True)
        }


def test_the_dialect_decides_who_reconciles() -> None:
    assert type(reconciler(AllTick(), None, Limits(1))) is Reconciler
    assert type(reconciler(ActionCode(), None, Limits(1))) is Increments


# Differences


def test_fifty_symbols_go_in_three_requests() -> None:
    asked = Talk().want(codes(50)).settle()
    assert [(ask.kind, len(ask.codes)) for ask in asked] == [("subscribe", 20), ("subscribe", 20), ("subscribe", 10)]


def test_only_what_changes_is_asked_for_and_nothing_where_nothing_does() -> None:
    talk = Talk().want(codes(30))
    talk.settle()
    asked = talk.want([*codes(28), "N:1", "N:2"]).settle()
    assert asked == [Ask("unsubscribe", (code(28), code(29))), Ask("subscribe", ("N:1", "N:2"))]
    assert talk.settle() == []
    assert talk.want([*reversed(codes(28)), "N:1", "N:2"]).settle() == []


def test_everything_removed_is_unsubscribed_and_nothing_more() -> None:
    talk = Talk().want(codes(25))
    talk.settle()
    asked = talk.want([]).settle()
    assert [(ask.kind, len(ask.codes)) for ask in asked] == [("unsubscribe", 20), ("unsubscribe", 5)]
    assert talk.settle() == []


def test_a_change_of_mind_between_two_requests_is_heard() -> None:
    talk = Talk().want(codes(60))
    talk.step()
    asked = talk.want(codes(10)).settle()
    assert asked == [Ask("unsubscribe", tuple(codes(20)[10:]))]


def test_after_a_reconnect_what_was_accepted_comes_first_and_apart_from_the_new() -> None:
    talk = Talk().want(codes(30))
    talk.settle()
    asked = talk.reconnect().want([*codes(5, "N"), *codes(30)]).settle()
    assert [ask.codes for ask in asked] == [tuple(codes(20)), tuple(codes(30)[20:]), tuple(codes(5, "N"))]


def test_the_first_request_of_a_new_process_holds_only_what_the_status_topic_knows_as_accepted() -> None:
    talk = Talk()
    talk.reconciler.remember({code(3): Memory(code(3), accepted=True)}, 0.0, 0)
    asked = talk.want(codes(5)).settle()
    assert [ask.codes for ask in asked] == [(code(3),), (code(0), code(1), code(2), code(4))]


def test_only_the_codes_that_are_to_be_stated_once_more_are_asked_for_again() -> None:
    talk = Talk().want(codes(30))
    talk.settle()
    talk.reconciler.restate([code(7), "N:1"])
    talk.venue.held.remove(code(7))
    assert talk.settle() == [Ask("subscribe", (code(7),))]


def test_what_is_to_be_stated_once_more_counts_as_held_meanwhile_and_is_taken_back_where_nobody_wants_it() -> None:
    talk = Talk().want(codes(3))
    talk.settle()
    before = talk.reconciler.told
    talk.reconciler.restate([code(1), code(2)])
    assert talk.reconciler.accepted == set(codes(3))
    assert talk.states == dict.fromkeys(codes(3), (State.WAITING, ""))
    assert talk.reconciler.told == before
    talk.venue.held.remove(code(1))
    assert talk.want(codes(2)).settle() == [Ask("unsubscribe", (code(2),)), Ask("subscribe", (code(1),))]
    assert talk.reconciler.accepted == set(codes(2))


# A partly failed request


@late
@every_way
@pytest.mark.parametrize("bad", [1, 5])
def test_bad_codes_are_tried_alone_once_and_then_wait_while_the_good_are_never_sent_again(
    partly: Partly, late: bool, bad: int
) -> None:
    wrong = {code(7 * number + 3) for number in range(bad)}
    talk = Talk(Venue(wrong, partly), late=late).want(codes(60))
    asked = talk.settle(70)
    assert talk.venue.held == set(codes(60)) - wrong
    assert all(talk.states[one] == (State.REJECTED, "venue_600") for one in wrong)
    assert {symbol for symbol, (state, _) in talk.states.items() if state is State.WAITING} == talk.venue.held
    sent = [one for ask in asked for one in ask.codes]
    if partly == "good hold, bad named":
        assert sorted(sent) == sorted([*codes(60), *wrong])
    assert max(sent.count(one) for one in sent) == 2


@late
def test_a_code_that_fails_beside_others_and_not_alone_is_held(late: bool) -> None:
    talk = Talk(Venue({code(3)}), late=late).want(codes(10))
    talk.step()
    talk.venue.bad = set()
    assert talk.settle() == [Ask("subscribe", (code(3),))]
    assert talk.venue.held == set(codes(10))


@late
def test_a_rejected_code_is_tried_again_after_an_hour_and_then_waits_twice_as_long(late: bool) -> None:
    talk = Talk(Venue({code(1)}), late=late).want(codes(2))
    talk.settle()
    waits = []
    for _ in range(3):
        due = talk.reconciler.retry_at
        waits.append(due - talk.now)
        talk.now = math.nextafter(due, 0)
        assert talk.settle() == []
        talk.now = due
        assert talk.settle() == [Ask("subscribe", (code(1),))]
    assert waits == [3600.0, 7200.0, 14400.0]


@late
def test_a_suspect_that_nobody_wants_any_more_is_not_tried(late: bool) -> None:
    talk = Talk(Venue({code(3)}), late=late).want(codes(10))
    talk.step()
    assert talk.want([one for one in codes(10) if one != code(3)]).settle() == []


@late
def test_what_was_accepted_before_and_is_bad_now_is_found_too(late: bool) -> None:
    talk = Talk(Venue(), late=late).want(codes(5))
    talk.settle()
    talk.venue.bad = {code(2)}
    talk.reconnect().settle()
    assert talk.states[code(2)] == (State.REJECTED, "venue_600")
    assert talk.venue.held == set(codes(5)) - {code(2)}


# Other refusals


def test_a_request_that_was_too_fast_is_asked_again_as_it_was() -> None:
    talk = Talk().want(codes(5))
    plan = talk.reconciler.plan(0.0)
    assert plan is not None
    talk.reconciler.accept(plan, 0.0)
    assert talk.reconciler.refuse(plan, 605, 0.0) is Remedy.SLOW
    assert talk.reconciler.accepted == frozenset()
    assert talk.settle() == [Ask("subscribe", tuple(codes(5)))]


@late
@pytest.mark.parametrize("cap", [1, 30, 37])
def test_too_many_codes_shrink_to_what_is_accepted(late: bool, cap: int) -> None:
    talk = Talk(Venue(cap=cap), late=late).want(codes(100))
    talk.settle()
    assert talk.venue.held == talk.reconciler.accepted == set(codes(cap))
    assert talk.states[code(99)] == (State.OVER_CAP, "over_cap")


def test_the_next_connection_may_have_more_room() -> None:
    talk = Talk(Venue(cap=30)).want(codes(50))
    talk.settle()
    talk.venue.cap = 40
    talk.reconnect().settle()
    assert len(talk.venue.held) == 40


def test_where_nothing_is_held_and_one_is_too_many_only_time_can_help() -> None:
    talk = Talk(Venue(cap=0)).want(codes(1))
    plan = talk.reconciler.plan(0.0)
    assert plan is not None
    assert talk.reconciler.refuse(plan, 603, 0.0, plan.ask.codes) is Remedy.SLOW


@pytest.mark.parametrize(("ret", "again"), [(600, []), (605, [Ask("unsubscribe", (code(1),))])])
def test_a_refused_removal_is_asked_again_unless_the_venue_does_not_know_the_code(ret: int, again: list[Ask]) -> None:
    talk = Talk().want(codes(2))
    talk.settle()
    plan = talk.want(codes(1)).reconciler.plan(0.0)
    assert plan == Plan(Ask("unsubscribe", (code(1),)))
    talk.reconciler.accept(plan, 0.0)
    talk.reconciler.refuse(plan, ret, 0.0)
    assert talk.settle() == again
    assert talk.reconciler.accepted == {code(0)}


# Unanswered


@pytest.mark.parametrize("arrives", [True, False])
def test_an_unanswered_addition_is_asked_again_and_taken_back_where_it_is_wanted_no_more(arrives: bool) -> None:
    for wanted, again in (
        (codes(2), [Ask("subscribe", (code(1),))]),
        (codes(1), [Ask("unsubscribe", (code(1),))]),
    ):
        talk = Talk().want(codes(1))
        talk.settle()
        plan = talk.want(codes(2)).reconciler.plan(0.0)
        assert plan is not None
        talk.reconciler.unanswered(plan)
        assert talk.reconciler.accepted == {code(0)}
        talk.want(wanted)
        assert talk.settle() == again


def test_an_unanswered_removal_is_not_taken_for_done_nor_for_undone() -> None:
    for wanted, again in (
        (codes(1), [Ask("unsubscribe", (code(1),))]),
        (codes(2), [Ask("subscribe", (code(1),))]),
    ):
        talk = Talk().want(codes(2))
        talk.settle()
        plan = talk.want(codes(1)).reconciler.plan(0.0)
        assert plan is not None
        talk.reconciler.unanswered(plan)
        talk.venue.held = {code(0)}
        talk.want(wanted)
        assert talk.settle() == again


# Whatever happened, it converges

_some = st.sets(st.sampled_from(codes(12)), max_size=12)
_events = st.one_of(
    st.tuples(st.just("want"), _some),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("lost"), st.booleans()),
    st.tuples(st.just("too fast")),
    st.tuples(st.just("again"), st.sampled_from(codes(12))),
    st.tuples(st.just("reconnect")),
    st.tuples(st.just("later"), st.floats(0, 7200)),
)


@given(st.lists(_events, max_size=40), _some, st.sampled_from(PARTLY), st.booleans(), st.sampled_from([3, 7, 100]))
def test_after_any_history_what_is_held_is_what_is_admitted_and_good(
    history: list[tuple[object, ...]], bad: set[str], partly: Partly, late: bool, ours: int
) -> None:
    talk = Talk(Venue(bad, partly), late=late, max_symbols=ours).want([])
    for event in history:
        match event:
            case ("want", set() as wanted):
                talk.want(sorted(map(str, wanted)))
            case ("step", int(times)):
                for _ in range(times):
                    talk.step()
            case ("lost", bool(arrives)):
                talk.lose(arrives=arrives)
            case ("too fast",) if plan := talk.reconciler.plan(talk.now):
                talk.reconciler.refuse(plan, 605, talk.now)
            case ("again", str(one)):
                talk.reconciler.restate([one])
                talk.venue.held.discard(one)
            case ("reconnect",):
                talk.reconnect()
            case ("later", float(seconds)):
                talk.now += seconds
    talk.settle()
    rejected = {symbol for symbol, (state, _) in talk.states.items() if state is State.REJECTED}
    assert talk.venue.held == talk.reconciler.accepted == set(talk.reconciler.admission.symbols) - rejected
    assert not talk.venue.held & bad
    assert len(talk.venue.held) == min(len(talk.states.keys() - bad), ours)
