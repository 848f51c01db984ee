"""What is asked for next: against a small venue with every behaviour that its documents leave open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Desired, Limits, Memory, State, Subscription, Wanted
from bridge.upstream.dialects import Ask, Remedy
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.reconcile import BUG_WAIT_S, REJECT_WAIT_MAX_S, REJECT_WAIT_S, Plan, Reconciler, Rejection
from tests.fakes import Refused, ScriptedVenue, desired

HOUR = 3600.0
every_refusal = pytest.mark.parametrize("refused", get_args(Refused))
not_understood = pytest.mark.parametrize("ret", [400, 402, 201, 202])


class Talk:
    """A reconciler and a venue without a wire between them; a step is one request and its answer."""

    def __init__(self, venue: ScriptedVenue | None = None, *, max_symbols: int = 1000) -> None:
        self.venue = venue or ScriptedVenue()
        self.reconciler = Reconciler(AllTick(), None, Limits(max_symbols))
        self.now = 0.0
        self.granted: frozenset[str] = frozenset()  # what the venue accepted last on this connection
        self.reconciler.opened()

    def want(self, codes: Iterable[str], **how: object) -> Talk:
        self.reconciler.want(desired(codes, **how), self.now)  # type: ignore[arg-type]
        return self

    def want_symbols(self, *subscriptions: Subscription) -> Talk:
        wanted = {one.symbol: Wanted(one, offset) for offset, one in enumerate(subscriptions)}
        self.reconciler.want(Desired(0, wanted), self.now)
        return self

    def plan(self) -> Plan | None:
        return self.reconciler.plan(self.now)

    def step(self) -> set[str] | None:
        """Ask for what is planned and pass the answer on; None if nothing is."""
        plan = self.plan()
        if plan is None:
            return None
        self.check(plan)
        ret = self.venue.ask(plan.ask.codes)
        if ret == 200:
            self.granted = frozenset(plan.ask.codes)
            self.reconciler.accept(plan, self.now)
        else:
            self.reconciler.refuse(plan, ret, self.now)
            if ret == 600 and not plan.fresh:
                self.granted = frozenset()  # something that was accepted before is bad: nothing is sure any more
        return set(plan.ask.codes)

    def step_unanswered(self, *, arrives: bool) -> None:
        plan = self.plan()
        if plan is not None:
            if arrives:
                self.venue.ask(plan.ask.codes)
            self.reconciler.doubt()

    def settle(self, most: int = 1000) -> list[set[str]]:
        """Step until nothing is left to say; give the requests that it took."""
        asked = []
        while (codes := self.step()) is not None:
            asked.append(codes)
            assert len(asked) <= most, "it does not settle"
        return asked

    def reconnect(self) -> Talk:
        self.venue.reconnect()
        self.granted = frozenset()
        self.reconciler.opened()
        return self

    @property
    def target(self) -> set[str]:
        """The codes that are desired, admitted and not known to be bad."""
        rejected = {symbol for symbol, (state, _) in self.states().items() if state is State.REJECTED}
        return {code for code, symbol in self.reconciler.admission.symbols.items() if symbol not in rejected}

    def states(self, *, connected: bool = True) -> dict[str, tuple[State, str]]:
        return {
            symbol: (state, verdict.reason if verdict else "")
            for symbol, _, state, verdict in self.reconciler.states(connected)
        }

    def check(self, plan: Plan) -> None:
        """Hold every request to the promises of guarantees 2 and 4."""
        codes = set(plan.ask.codes)
        assert codes <= self.target, "it asks for what nobody wants"
        assert not (self.granted & self.target) - codes, "it asks for less than what is accepted and still desired"
        assert (plan.ask.kind == "cancel") == (not codes)
        assert len(codes) == len(plan.ask.codes)


def codes(count: int, name: str = "C") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def spread(bad: int, of: Sequence[str]) -> list[str]:
    return [of[number * len(of) // bad] for number in range(bad)]


# Level, not edge


def test_three_symbols_go_in_one_request() -> None:
    assert Talk().want("ABC").settle() == [set("ABC")]


def test_before_anything_is_known_to_be_desired_nothing_is_said() -> None:
    talk = Talk()
    assert talk.plan() is None
    assert talk.states() == {}
    assert not talk.reconciler.settled


def test_a_burst_of_changes_becomes_one_request() -> None:
    talk = Talk().want(codes(10))
    talk.settle()
    for number in range(500):
        talk.want(codes(10 + number % 7, f"N{number}"))
    assert talk.settle() == [set(codes(10 + 499 % 7, "N499"))]


def test_changes_while_a_request_is_under_way_go_with_the_next_one() -> None:
    talk = Talk().want("ABC")
    plan = talk.plan()
    assert plan is not None
    talk.want("BCDE")
    talk.want("CDEF")
    talk.venue.ask(plan.ask.codes)
    talk.reconciler.accept(plan, 0)
    assert talk.settle() == [set("CDEF")]


def test_an_addition_asks_for_everything_and_a_removal_for_the_rest() -> None:
    talk = Talk().want("AB")
    talk.settle()
    assert talk.want("ABC").settle() == [set("ABC")]
    assert talk.want("AC").settle() == [set("AC")]
    assert talk.venue.held == set("AC")


def test_when_nothing_is_left_the_ticks_are_cancelled_once() -> None:
    talk = Talk().want("AB")
    talk.settle()
    talk.want([])
    assert talk.plan() == Plan(Ask("cancel", ()))
    assert talk.settle() == [set()]
    assert talk.venue.held == frozenset()


def test_where_nothing_is_held_nothing_is_cancelled() -> None:
    assert Talk().want([]).settle() == []
    assert Talk().want("A", disabled="A").settle() == []


def test_what_changes_nothing_upstream_asks_nothing() -> None:
    talk = Talk().want("AB")
    talk.settle()
    assert talk.want("BA", priorities={"A": 5}).settle() == []


def test_another_symbol_for_a_code_that_is_held_asks_nothing() -> None:
    talk = Talk().want_symbols(Subscription("700.HK"), Subscription("5.HK"))
    talk.settle()
    assert talk.want_symbols(Subscription("HKEX:00700"), Subscription("5.HK")).settle() == []
    assert talk.states()["HKEX:00700"][0] is State.WAITING
    assert talk.reconnect().settle() == [{"700.HK", "5.HK"}]


class _Counting(AllTick):
    """Counts how often somebody works out a request."""

    def __init__(self) -> None:
        self.worked_out = 0

    def asks(self, accepted: Iterable[str], target: Sequence[str]) -> tuple[Ask, ...]:
        self.worked_out += 1
        return super().asks(accepted, target)


def test_a_plan_is_worked_out_once_and_a_settled_one_not_at_all() -> None:
    dialect = _Counting()
    reconciler = Reconciler(dialect, None, Limits(100))
    reconciler.opened()
    reconciler.want(desired("AB"), 0)
    plans = {id(reconciler.plan(now)) for now in range(50)}
    assert (len(plans), dialect.worked_out) == (1, 1)
    plan = reconciler.plan(50)
    assert plan is not None
    reconciler.accept(plan, 50)
    assert [reconciler.plan(now) for now in range(50, 100)] == [None] * 50
    assert dialect.worked_out == 1


def test_a_list_is_stated_once_more_on_request() -> None:
    talk = Talk().want("AB")
    talk.settle()
    talk.reconciler.restate(["Z"])
    assert talk.plan() is None
    talk.reconciler.restate(["B"])
    assert talk.reconciler.accepted == set("AB")
    assert talk.settle() == [set("AB")]
    talk.reconciler.restate(["A"])
    assert talk.reconnect().settle() == [set("AB")]


# A new connection


def test_after_a_reconnect_everything_is_asked_for_once() -> None:
    talk = Talk().want(codes(50))
    talk.settle()
    assert talk.reconnect().settle() == [set(codes(50))]


def test_the_first_request_of_a_connection_holds_only_what_was_accepted_before() -> None:
    talk = Talk().want("AB")
    talk.settle()
    talk.reconnect().want("ABCD")
    assert talk.settle() == [set("AB"), set("ABCD")]


def test_what_nobody_wants_any_more_earns_no_trust() -> None:
    talk = Talk().want("AB")
    talk.settle()
    talk.want("A").settle()
    assert talk.reconnect().want("AB").settle() == [set("A"), set("AB")]


@every_refusal
def test_a_code_that_was_good_before_and_is_bad_now_is_found(refused: Refused) -> None:
    talk = Talk(ScriptedVenue(refused=refused)).want(codes(40))
    talk.settle()
    talk.venue.bad = {"C17"}
    talk.reconnect().settle(40)
    assert talk.venue.held == set(codes(40)) - {"C17"}
    assert talk.states()["C17"] == (State.REJECTED, "venue_600")


@every_refusal
@pytest.mark.parametrize("new", [1, 8])
def test_a_code_that_goes_bad_while_it_is_held_is_found_and_costs_no_good_newcomer_its_place(
    refused: Refused, new: int
) -> None:
    talk = Talk(ScriptedVenue(refused=refused)).want("ABCD")
    talk.settle()
    talk.venue.bad = {"B"}
    talk.want([*"ABCD", *codes(new, "N")]).settle(30)
    assert talk.venue.held == {*"ACD", *codes(new, "N")}
    assert talk.states()["B"] == (State.REJECTED, "venue_600")


@every_refusal
def test_a_stream_of_changes_does_not_keep_it_from_finding_what_went_bad(refused: Refused) -> None:
    talk = Talk(ScriptedVenue(refused=refused)).want(codes(16))
    talk.settle()
    talk.venue.bad = {"C9"}
    for number in range(40):
        talk.want([*codes(16), f"N{number}"])
        talk.step()
    assert talk.venue.held >= set(codes(16)) - {"C9"}
    assert talk.states()["C9"] == (State.REJECTED, "venue_600")


def test_a_newcomer_is_not_blamed_for_a_code_that_went_bad_and_was_then_removed() -> None:
    talk = Talk().want("A")
    talk.settle()
    talk.venue.bad = {"A"}
    talk.want("AN").step()
    talk.want("N").settle()
    assert talk.venue.held == {"N"}


# Bad code, good neighbours


@every_refusal
@pytest.mark.parametrize("bad", [1, 5, 50])
def test_bad_codes_among_three_hundred_are_found_and_the_good_ones_held(refused: Refused, bad: int) -> None:
    everything = codes(300)
    wrong = set(spread(bad, everything))
    talk = Talk(ScriptedVenue(bad=wrong, refused=refused)).want(everything)
    asked = talk.settle()
    assert talk.venue.held == set(everything) - wrong
    assert {symbol for symbol, (state, _) in talk.states().items() if state is State.WAITING} == talk.venue.held
    assert all(talk.states()[code] == (State.REJECTED, "venue_600") for code in wrong)
    # Halving: each bad code costs its way down, and what is left is good; a restatement after every second refusal.
    assert len(asked) <= 1.5 * (2 * bad * (math.log2(300 / bad) + 1) + 2)


@every_refusal
def test_only_the_new_codes_are_doubted(refused: Refused) -> None:
    talk = Talk(ScriptedVenue(bad={"X2"}, refused=refused)).want(codes(100))
    talk.settle()
    asked = talk.want([*codes(100), *codes(4, "X")]).settle()
    assert all(set(codes(100)) <= one for one in asked)
    assert talk.venue.held == {*codes(100), "X0", "X1", "X3"}


@every_refusal
def test_after_two_refusals_in_a_row_the_accepted_set_is_restated_alone(refused: Refused) -> None:
    talk = Talk(ScriptedVenue(bad={"X0", "X5"}, refused=refused)).want("AB")
    talk.settle()
    talk.want(["A", "B", *codes(8, "X")])
    refusals = restated = 0
    while (plan := talk.plan()) is not None:
        if refusals == 2:
            assert set(plan.ask.codes) == talk.granted
            restated += 1
        talk.step()
        refusals = 0 if talk.venue.rets[-1] == 200 else refusals + 1
        assert refusals <= 2
    assert restated >= 2
    assert talk.venue.held == set(codes(8, "X")) - talk.venue.bad | set("AB")


def test_where_nothing_was_ever_accepted_nothing_can_be_restated() -> None:
    talk = Talk(ScriptedVenue(bad=set("ABCD"))).want("ABCD")
    *trials, cancel = talk.settle()
    assert all(trials)
    assert cancel == set()  # nothing says that the venue holds none of what it refused
    assert {state for state, _ in talk.states().values()} == {State.REJECTED}
    assert talk.plan() is None


@every_refusal
def test_what_is_removed_and_comes_back_while_codes_are_tried_apart_is_not_left_out(refused: Refused) -> None:
    talk = Talk(ScriptedVenue(bad={"X3"}, refused=refused)).want("AB")
    talk.settle()
    trial = ["A", "B", *codes(4, "X")]
    talk.want(trial)
    talk.step()
    talk.want([one for one in trial if one != "B"])
    talk.want(trial)
    talk.settle()  # each of its requests is checked for what is accepted and desired
    assert talk.venue.held == {*"AB", "X0", "X1", "X2"}


def test_a_suspect_that_nobody_wants_any_more_is_not_tried() -> None:
    talk = Talk(ScriptedVenue(bad={"X1"})).want(codes(4, "X"))
    talk.step()
    talk.want(["X2", "X3"])
    assert talk.settle() == [{"X2", "X3"}]


def test_codes_go_on_being_tried_apart_after_a_reconnect() -> None:
    talk = Talk(ScriptedVenue(bad={"X6"})).want(codes(8, "X"))
    asked = [talk.step(), talk.step(), talk.step()]
    asked += talk.reconnect().settle()
    assert [len(one or ()) for one in asked] == [8, 4, 8, 4, 6, 8, 7, 6, 7]
    assert talk.venue.held == set(codes(8, "X")) - {"X6"}


def test_unauthorised_is_told_from_unknown() -> None:
    talk = Talk(ScriptedVenue(next_rets=[604])).want("A")
    talk.step()
    assert talk.states()["A"] == (State.REJECTED, "venue_604")


# Refused codes wait


def test_a_refused_code_is_tried_again_after_an_hour_and_then_waits_twice_as_long() -> None:
    talk = Talk(ScriptedVenue(bad={"X"})).want("AX")
    talk.settle()
    waits = []
    for _ in range(8):
        due = talk.reconciler.retry_at
        waits.append(due - talk.now)
        talk.now = math.nextafter(due, 0)
        assert talk.plan() is None
        talk.now = due
        assert set("AX") in talk.settle()
        assert talk.venue.held == {"A"}
    assert waits == [HOUR * hours for hours in (1, 2, 4, 8, 16, 24, 24, 24)]
    assert (REJECT_WAIT_S, REJECT_WAIT_MAX_S) == (HOUR, 24 * HOUR)


def test_a_refused_code_that_has_become_good_is_held_after_its_wait() -> None:
    talk = Talk(ScriptedVenue(bad={"X"})).want("AX")
    talk.settle()
    talk.venue.bad = set()
    talk.now = talk.reconciler.retry_at
    assert talk.settle() == [set("AX")]
    assert talk.states()["X"] == (State.WAITING, "")
    assert talk.reconciler.retry_at == math.inf


def test_a_refused_code_stays_refused_over_reconnects() -> None:
    talk = Talk(ScriptedVenue(bad={"X"})).want("AX")
    talk.settle()
    assert talk.reconnect().settle() == [{"A"}]
    assert talk.states()["X"] == (State.REJECTED, "venue_600")


def test_a_refused_code_is_not_tried_again_because_a_neighbour_leaves() -> None:
    talk = Talk(ScriptedVenue(bad={"X"})).want("ABX")
    talk.settle()
    assert talk.want("AX").settle() == [{"A"}]


def test_a_refused_code_is_forgotten_when_nobody_wants_it() -> None:
    talk = Talk(ScriptedVenue(bad={"X"})).want("AX")
    talk.settle()
    talk.want("A").settle()
    assert talk.reconciler.retry_at == math.inf
    talk.venue.bad = set()
    assert talk.want("AX").settle() == [set("AX")]


# The venue's cap


@pytest.mark.parametrize(("cap", "wanted"), [(1, 2), (1, 50), (5, 6), (37, 300), (99, 100), (100, 100), (7, 1000)])
@every_refusal
def test_too_many_codes_find_the_cap_and_fill_it(cap: int, wanted: int, refused: Refused) -> None:
    talk = Talk(ScriptedVenue(cap=cap, refused=refused)).want(codes(wanted))
    asked = talk.settle(4 * (math.ceil(math.log2(wanted)) + 1))
    assert talk.venue.held == set(codes(cap))
    over = [symbol for symbol, (state, _) in talk.states().items() if state is State.OVER_CAP]
    assert len(over) == wanted - cap
    assert asked[-1] == talk.venue.held


@pytest.mark.parametrize(("before", "after"), [(100, 60), (100, 1), (100, 99), (2, 1)])
def test_a_cap_that_shrinks_between_connections_is_found_too(before: int, after: int) -> None:
    talk = Talk(ScriptedVenue(cap=before)).want(codes(before))
    talk.settle()
    talk.venue.cap = after
    talk.reconnect().settle(40)
    assert talk.venue.held == set(codes(after))


def test_a_cap_that_is_not_filled_proves_no_larger_one() -> None:
    talk = Talk(ScriptedVenue(cap=37)).want(codes(60))
    talk.step()
    talk.want(codes(10)).settle()
    assert [len(one) for one in talk.want(codes(60)).settle()][:3] == [30, 45, 37]


def test_bad_codes_and_a_cap_at_once_leave_the_cap_full_of_good_ones() -> None:
    wrong = set(spread(12, codes(60)))
    talk = Talk(ScriptedVenue(bad=wrong, cap=20, refused="clear")).want(codes(60))
    talk.settle()
    assert len(talk.venue.held) == 20
    assert not talk.venue.held & wrong


def test_our_own_cap_holds_the_most_wanted() -> None:
    talk = Talk(max_symbols=3).want("ABCDE", priorities={"E": 1})
    assert talk.settle() == [set("EAB")]
    assert talk.want("ABCDE", priorities={"D": 2, "E": 1}).settle() == [set("DEA")]


@pytest.mark.parametrize(("wanted", "ret"), [("A", 603), ("", 603), ("", 600)])
def test_where_nothing_is_left_to_take_away_only_time_can_help(wanted: str, ret: int) -> None:
    talk = Talk().want("AB")
    talk.settle()
    plan = talk.want(wanted).plan()
    assert plan is not None
    assert talk.reconciler.refuse(plan, ret, 0) is Remedy.SLOW
    assert talk.want("ABCD").settle() == [set("ABCD")]


# What is not known


@pytest.mark.parametrize(("ret", "remedy"), [(605, Remedy.SLOW), (401, Remedy.TOKEN)])
def test_remedies_that_are_the_callers_are_given_back_and_the_request_stands(ret: int, remedy: Remedy) -> None:
    talk = Talk().want("AB")
    plan = talk.plan()
    assert plan is not None
    assert talk.reconciler.refuse(plan, ret, 0) is remedy
    assert talk.plan() == plan


@not_understood
def test_a_list_of_accepted_codes_that_the_venue_does_not_understand_accuses_nobody_and_stands(ret: int) -> None:
    talk = Talk().want("AB")
    talk.settle()
    plan = talk.reconnect().plan()
    assert plan is not None
    assert talk.reconciler.refuse(plan, ret, 0) is Remedy.BUG
    assert talk.plan() == plan
    assert talk.want("A").settle() == [{"A"}]


@not_understood
@every_refusal
def test_a_code_that_the_venue_does_not_understand_is_found_among_fifty_new_and_every_trial_has_the_accepted(
    refused: Refused, ret: int
) -> None:
    new = codes(50, "N")
    talk = Talk(ScriptedVenue(bad={"N17"}, bad_ret=ret, refused=refused)).want(codes(100))
    talk.settle()
    asked = talk.want([*codes(100), *new]).settle()
    assert all(set(codes(100)) <= one for one in asked)
    assert len(asked) <= 1.5 * (2 * (math.log2(50) + 1) + 2)
    assert talk.venue.held == {*codes(100), *new} - {"N17"}
    assert talk.states()["N17"] == (State.REJECTED, f"venue_{ret}")
    assert talk.reconciler.retry_at == BUG_WAIT_S


@not_understood
def test_a_new_code_is_not_blamed_where_what_it_was_tried_beside_is_not_understood_either(ret: int) -> None:
    talk = Talk().want("AB")
    talk.settle()
    talk.venue.next_rets = [ret, ret]
    talk.want("ABN")
    assert [talk.step(), talk.step()] == [set("ABN"), set("AB")]
    assert talk.states() == {"A": (State.WAITING, ""), "B": (State.WAITING, ""), "N": (State.PENDING, "")}
    assert talk.settle() == [set("ABN")]


@pytest.mark.parametrize("ret", [605, 402])
def test_after_any_refusal_what_was_accepted_is_restated_even_if_it_is_all_that_is_wanted(ret: int) -> None:
    talk = Talk(ScriptedVenue(refused="clear")).want("AB")
    talk.settle()
    talk.venue.next_rets = [ret]
    talk.want("ABC").step()
    assert talk.reconciler.accepted == frozenset()
    assert talk.want("AB").settle() == [set("AB")]
    assert talk.venue.held == set("AB")


@pytest.mark.parametrize("arrives", [True, False])
def test_after_a_request_without_an_answer_what_is_wanted_is_stated_anew(arrives: bool) -> None:
    talk = Talk().want("AB")
    talk.settle()
    talk.want("A").step_unanswered(arrives=arrives)
    assert talk.want("AB").settle() == [set("AB")]
    assert talk.venue.held == set("AB")


def test_nothing_wanted_and_nothing_known_is_cancelled() -> None:
    talk = Talk().want("A")
    talk.step_unanswered(arrives=True)
    assert talk.want("").settle() == [set()]
    assert talk.venue.held == frozenset()


# What others see


def test_states_say_how_far_a_symbol_has_come() -> None:
    talk = Talk(ScriptedVenue(bad={"X"}), max_symbols=2).want("AXBCD", disabled="D")
    assert {*talk.states().values()} == {
        (State.PENDING, ""),
        (State.OVER_CAP, "over_cap"),
        (State.DISABLED, "disabled"),
    }
    talk.settle()
    assert talk.states() == {
        "A": (State.WAITING, ""),
        "X": (State.REJECTED, "venue_600"),
        "B": (State.WAITING, ""),
        "C": (State.OVER_CAP, "over_cap"),
        "D": (State.DISABLED, "disabled"),
    }
    assert talk.reconciler.accepted == set("AB")


def test_while_new_codes_are_tried_the_accepted_ones_stay_what_they_are() -> None:
    talk = Talk(ScriptedVenue(bad={"X"})).want("AB")
    talk.settle()
    talk.want("ABX").step()
    assert talk.reconciler.accepted == frozenset()
    assert talk.states() == {"A": (State.WAITING, ""), "B": (State.WAITING, ""), "X": (State.REJECTED, "venue_600")}


def test_without_a_connection_only_what_is_wrong_anyway_is_not_offline() -> None:
    talk = Talk(ScriptedVenue(bad={"X"}), max_symbols=2).want("AXBC")
    talk.settle()
    assert talk.states(connected=False) == {
        "A": (State.OFFLINE, "accepted_before"),
        "X": (State.REJECTED, "venue_600"),
        "B": (State.OFFLINE, "accepted_before"),
        "C": (State.OVER_CAP, "over_cap"),
    }


def test_what_was_never_accepted_is_offline_without_a_word() -> None:
    talk = Talk().want("A")
    talk.settle()
    talk.want("AB")
    assert talk.states(connected=False) == {"A": (State.OFFLINE, "accepted_before"), "B": (State.OFFLINE, "")}


# What the status topic remembers


def remembering(memory: dict[str, Memory], venue: ScriptedVenue | None = None, **how: int) -> Talk:
    talk = Talk(venue, **how)
    talk.reconciler.remember(memory, talk.now, 10_000_000_000_000)
    return talk


def refused_ago(seconds: float, code: str = "X") -> Memory:
    return Memory(code, refused=600, since_us=10_000_000_000_000 - round(seconds * 1e6))


@every_refusal
def test_the_first_request_of_a_new_process_holds_only_codes_accepted_before_then_come_the_new(
    refused: Refused,
) -> None:
    venue = ScriptedVenue(bad={"X"}, refused=refused)
    talk = remembering({"A": Memory("A", accepted=True), "B": Memory("B", accepted=True)}, venue).want("ABXN")
    assert talk.step() == set("AB")
    talk.settle()
    assert talk.granted == set("ABN")


def test_a_code_refused_before_is_not_tried_again_until_its_time_is_over() -> None:
    talk = remembering({"X": refused_ago(0.5 * HOUR)}, ScriptedVenue(bad={"X"})).want("AX")
    assert talk.settle() == [{"A"}]
    assert talk.states()["X"] == (State.REJECTED, "venue_600")
    talk.now += 0.5 * HOUR + 1
    assert talk.settle()[0] == set("AX")


@pytest.mark.parametrize(("age_h", "wait_h"), [(0.0, 1.0), (1.0, 2.0), (2.5, 0.5), (3.0, 4.0), (1000.0, 15.0)])
def test_a_refusal_recalled_waits_as_one_that_was_followed(age_h: float, wait_h: float) -> None:
    rejection = Rejection.recalled(600, age_h * HOUR, 5.0)
    assert rejection.until - 5.0 == pytest.approx(wait_h * HOUR)


def test_a_code_that_the_symbol_has_no_more_is_forgotten() -> None:
    talk = remembering({"A": Memory("OLD", accepted=True), "B": refused_ago(1.0, "WAS")}).want("AB")
    assert talk.settle() == [set("AB")]


def test_incumbents_keep_their_code_and_their_place_over_a_restart() -> None:
    talk = remembering({"HKEX:00700": Memory("700.HK", accepted=True)}, max_symbols=1)
    talk.want_symbols(Subscription("AAPL.US"), Subscription("700.HK"), Subscription("HKEX:00700"))
    talk.settle()
    assert talk.granted == {"700.HK"}
    assert talk.states() == {
        "AAPL.US": (State.OVER_CAP, "over_cap"),
        "700.HK": (State.REJECTED, "duplicate_code"),
        "HKEX:00700": (State.WAITING, ""),
    }


# Rewritten records


@pytest.mark.parametrize("how", [{"note": "new"}, {"owner": "desk-2"}, {"stale_after_s": 5.0}])
def test_rewriting_what_the_venue_does_not_see_asks_for_nothing(how: dict[str, Any]) -> None:
    talk = Talk().want_symbols(Subscription("A"), Subscription("B"))
    talk.settle()
    assert talk.want_symbols(Subscription("B"), Subscription("A", **how)).settle() == []


def test_disabling_a_symbol_takes_it_out_and_enabling_brings_it_back_without_touching_others() -> None:
    talk = Talk().want_symbols(Subscription("A"), Subscription("B"))
    talk.settle()
    assert talk.want_symbols(Subscription("A", enabled=False), Subscription("B")).settle() == [{"B"}]
    assert talk.states()["A"] == (State.DISABLED, "disabled")
    assert talk.want_symbols(Subscription("A"), Subscription("B")).settle() == [{"A", "B"}]


def test_a_rewritten_record_of_an_incumbent_costs_it_neither_its_place_nor_its_code() -> None:
    talk = Talk(max_symbols=1).want_symbols(Subscription("A"), Subscription("B"))
    talk.settle()
    # The rewritten record stands behind the rivals' now.
    talk.want_symbols(Subscription("B"), Subscription("Z", code="A"), Subscription("A", note="rewritten"))
    assert talk.settle() == []
    assert talk.states()["A"] == (State.WAITING, "")


def records(*names: str, **offsets: int) -> Desired:
    """Want symbols in the order of their records; keywords are priorities."""
    return Desired(0, {n: Wanted(Subscription(n, priority=offsets.get(n, 0)), at) for at, n in enumerate(names)})


def test_what_the_venue_still_holds_is_an_incumbent_though_it_was_to_lose_its_place() -> None:
    talk = Talk(max_symbols=2)
    talk.reconciler.want(records("A", "B", "C", "D"), 0)
    talk.settle()
    talk.reconciler.want(records("A", "C", "D", "B", C=5), 0)  # B, rewritten, has to make room for C
    assert talk.states()["B"][0] is State.OVER_CAP
    talk.reconciler.want(records("A", "D", "B", "C"), 0)  # taken back before the venue was told
    assert talk.settle() == []
    assert talk.states()["B"] == (State.WAITING, "")


def test_what_was_removed_and_is_wanted_again_before_the_venue_was_told_keeps_its_place_in_a_full_plan() -> None:
    talk = Talk(max_symbols=2)
    talk.reconciler.want(records("A", "X", "B", "C"), 0)
    talk.settle()
    assert talk.granted == {"A", "X"}
    talk.reconciler.want(records("A", "B", "C"), 0)
    talk.reconciler.want(records("A", "B", "C", "X"), 0)
    assert talk.settle() == []
    assert talk.states()["X"] == (State.WAITING, "")


def test_a_code_changed_is_one_request_and_changed_back_before_the_venue_was_told_none() -> None:
    talk = Talk().want_symbols(Subscription("A"), Subscription("B"))
    talk.settle()
    assert talk.want_symbols(Subscription("A", code="A2"), Subscription("B")).settle() == [{"A2", "B"}]
    talk.want_symbols(Subscription("A", code="A3"), Subscription("B"))
    assert talk.want_symbols(Subscription("A", code="A2"), Subscription("B")).settle() == []
    assert talk.want_symbols(Subscription("A"), Subscription("B")).settle() == [{"A", "B"}]
    assert talk.states() == {"A": (State.WAITING, ""), "B": (State.WAITING, "")}


@every_refusal
def test_a_code_changed_to_a_bad_one_and_back_costs_no_neighbour_its_place(refused: Refused) -> None:
    talk = Talk(ScriptedVenue(bad={"BAD"}, refused=refused)).want_symbols(Subscription("A"), Subscription("B"))
    talk.settle()
    talk.want_symbols(Subscription("A", code="BAD"), Subscription("B")).settle()
    assert talk.states() == {"A": (State.REJECTED, "venue_600"), "B": (State.WAITING, "")}
    talk.want_symbols(Subscription("A"), Subscription("B")).settle()
    assert talk.venue.held == {"A", "B"}


def test_where_an_incumbent_leaves_its_code_passes_on_without_a_request_and_does_not_come_back_with_it() -> None:
    older, newer = Subscription("700.HK"), Subscription("HKEX:00700")
    talk = Talk().want_symbols(newer).want_symbols(newer, Subscription("A"))
    talk.settle()
    assert talk.want_symbols(older, newer, Subscription("A")).settle() == []
    assert talk.states()["700.HK"] == (State.REJECTED, "duplicate_code")
    assert talk.want_symbols(older, Subscription("A")).settle() == []
    assert talk.states()["700.HK"] == (State.WAITING, "")
    talk.want_symbols(newer, older, Subscription("A"))  # by now the other is the incumbent
    assert talk.settle() == []
    assert talk.states()["HKEX:00700"] == (State.REJECTED, "duplicate_code")


def test_an_incumbent_keeps_its_code_over_a_reconnect_though_its_record_was_rewritten() -> None:
    talk = Talk().want_symbols(Subscription("700.HK"), Subscription("HKEX:00700"))
    talk.settle()
    talk.want_symbols(Subscription("HKEX:00700"), Subscription("700.HK", note="rewritten")).reconnect()
    assert talk.settle() == [{"700.HK"}]
    assert talk.states()["HKEX:00700"] == (State.REJECTED, "duplicate_code")


def test_a_symbol_without_a_code_of_its_own_is_rejected_for_its_own_reason() -> None:
    talk = Talk(ScriptedVenue(bad={"700.HK"})).want_symbols(Subscription("700.HK"), Subscription("HKEX:00700"))
    talk.settle()
    assert talk.states() == {
        "700.HK": (State.REJECTED, "venue_600"),
        "HKEX:00700": (State.REJECTED, "duplicate_code"),
    }


@pytest.mark.parametrize("ret", [200, 600, 605])
def test_it_is_settled_once_the_first_request_is_answered_however(ret: int) -> None:
    talk = Talk(ScriptedVenue(next_rets=[ret])).want("AB")
    before = talk.reconciler.settled
    talk.step()
    assert (before, talk.reconciler.settled) == (False, True)
    assert talk.reconnect().reconciler.settled


def test_it_is_settled_where_nothing_is_to_be_asked_for() -> None:
    assert Talk().want("A", disabled="A").reconciler.settled


# Whatever happened, it converges

_codes = st.sets(st.sampled_from(codes(12)), max_size=12)
_events = st.one_of(
    st.tuples(st.just("want"), _codes, st.dictionaries(st.sampled_from(codes(12)), st.integers(0, 2), max_size=3)),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.just("lost"), st.booleans()),
    st.tuples(st.just("too fast")),
    st.tuples(st.just("reconnect")),
    st.tuples(st.just("later"), st.floats(0, 7200)),
    st.tuples(st.just("goes bad"), st.sampled_from(codes(12))),
)


@given(
    st.lists(_events, max_size=40),
    _codes,
    st.sampled_from(get_args(Refused)),
    st.sampled_from([3, 7, 100]),
    st.sampled_from([2, 6, 100]),
)
def test_after_any_history_what_is_held_is_what_is_admitted_and_good(
    history: list[tuple[object, ...]], bad: set[str], refused: Refused, ours: int, theirs: int
) -> None:
    talk = Talk(ScriptedVenue(bad=bad, refused=refused, cap=theirs), max_symbols=ours)
    talk.want([])
    for event in history:
        match event:
            case ("want", set() as wanted, dict() as priorities):
                talk.want(sorted(map(str, wanted)), priorities=priorities)
            case ("step", int(times)):
                for _ in range(times):
                    talk.step()
            case ("lost", bool(arrives)):
                talk.step_unanswered(arrives=arrives)
            case ("too fast",):
                talk.venue.next_rets = [605]
                talk.step()
                talk.venue.next_rets = []
            case ("reconnect",):
                talk.reconnect()
            case ("later", float(seconds)):
                talk.now += seconds
            case ("goes bad", str(code)):
                talk.venue.bad = {*talk.venue.bad, code}
    talk.settle(150)
    talk.reconnect().settle(150)
    bad = set(talk.venue.bad)
    assert talk.venue.held == talk.target == talk.reconciler.accepted
    assert not talk.venue.held & bad
    good = {symbol for symbol in talk.states() if symbol not in bad}
    assert len(talk.venue.held) == min(len(good), ours, theirs)


# Churn: every request judged by what it leaves out, from the records alone

_fields = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.sampled_from([0, 0, 0, 1, -1]),
        "enabled": st.sampled_from([True, True, True, False]),
        "code": st.sampled_from([None, None, None, *codes(8)]),
        "note": st.just("rewritten"),
    },
)
_write = st.tuples(st.sampled_from(codes(6)), st.one_of(_fields, _fields, st.none()))
_then = st.sampled_from(["answered", "answered", "arrives", "lost", "reconnect"])
_churn = st.lists(st.tuples(st.lists(_write, max_size=4), _then), max_size=30)


class Churn:
    """Control records on one side, the venue on the other; each request is judged by the records alone."""

    def __init__(self, talk: Talk, room: int) -> None:
        self.talk, self.room = talk, room
        self.offsets = count()
        self.topic: dict[str, Wanted] = {}

    def write(self, symbol: str, fields: dict[str, Any] | None) -> None:
        self.topic.pop(symbol, None)
        if fields is not None:
            self.topic[symbol] = Wanted(Subscription(symbol, **fields), next(self.offsets))
        self.talk.reconciler.want(Desired(0, dict(self.topic)), self.talk.now)

    def step(self) -> bool:
        plan = self.talk.plan()
        if plan is not None:
            assert self.left_out_unjustly(set(plan.ask.codes)) == set()
            self.talk.step()
        return plan is not None

    def left_out_unjustly(self, asked: set[str]) -> set[str]:
        """Give what was accepted, is desired and not asked for, although no full plan of others comes before it."""
        rejected = {symbol for symbol, (state, _) in self.talk.states().items() if state is State.REJECTED}
        on = [one.subscription for one in self.topic.values() if one.subscription.enabled]
        if len({one.code or one.symbol for one in on}) < len(on):
            return set()  # two with one code: tests of their own
        priority = {one.code or one.symbol: one.priority for one in on if one.symbol not in rejected}
        granted = self.talk.granted

        def rivals(code: str) -> int:
            others = ((other, one - priority[code]) for other, one in priority.items() if other != code)
            return sum(more > 0 or (more == 0 and other in granted) for other, more in others)

        return {code for code in granted & priority.keys() - asked if rivals(code) < self.room}


@given(_churn, st.sampled_from([2, 3, 100]), st.sampled_from(get_args(Refused)))
def test_no_churn_of_records_makes_a_request_leave_out_what_is_accepted_and_still_desired(
    events: list[tuple[list[tuple[str, dict[str, Any] | None]], str]], room: int, refused: Refused
) -> None:
    venue = ScriptedVenue(bad={"C6", "C7"}, refused=refused)  # no symbol's own code, some records'
    churn = Churn(Talk(venue, max_symbols=room), room)
    talk = churn.talk
    for symbol in codes(6):
        churn.write(symbol, {})
    talk.settle()
    for records_of_one, then in events:
        for symbol, fields in records_of_one:
            churn.write(symbol, fields)
        if then == "reconnect":
            talk.reconnect()
        elif then == "answered":
            churn.step()
        else:
            talk.step_unanswered(arrives=then == "arrives")
    assert any(not churn.step() for _ in range(150)), "it does not settle"
    assert talk.venue.held == talk.target
