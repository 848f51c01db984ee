"""What one control partition wants, and what its rows say: the test is the venue and the feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from pydantic import SecretStr

from bridge.app.wants import JUDGE_S, NAMED, NEVER_TICKED, NO_TICK, Wants
from bridge.model import (
    REMOVAL_HELD,
    Desired,
    Event,
    Interrupted,
    Limits,
    Memory,
    Resumed,
    State,
    Subscription,
    SymbolState,
    Wanted,
)
from bridge.settings import UpstreamSettings
from bridge.upstream.reconcile import Plan
from tests.unit.app.test_link import Lines, make_venue
from tests.unit.ticks.moments import HONG_KONG, SECOND_US, moment

SESSION = 7
PATIENCE_S, HOLD_S = 60.0, 30.0
#: Coins, which are traded around the clock.
COINS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Stage:
    """The wants of one partition; both clocks go together."""

    def __init__(self, *symbols: str, market: str = "other", start: str = "2026-11-25 10:00", cap: int = 100) -> None:
        self.start_us = moment(start, HONG_KONG)
        self.now = 0.0
        self.lines = Lines()
        settings = UpstreamSettings(token=SecretStr("token"), market=cast("Any", market))
        self.venue = replace(
            make_venue([], settings), log=self.lines, wall_us=lambda: self.wall_us,
            stale_after_s=PATIENCE_S, removal_hold_s=HOLD_S,
        )  # fmt: skip
        self.wants = Wants(0, self.venue, Limits(max_symbols=cap))
        self.refusal: tuple[float, float] | None = None
        if symbols:
            self.wants.reconciler.opened()
            self.want(*symbols).grant()

    @property
    def wall_us(self) -> int:
        return self.start_us + round(self.now * 1e6)

    def want(self, *symbols: str, **each: Mapping[str, Any]) -> Stage:
        """Desire these, in this order; keywords are fields of single records."""
        wanted = {
            symbol: Wanted(Subscription(symbol, **each.get(symbol, {})), number)
            for number, symbol in enumerate(symbols)
        }
        self.wants.want(Desired(0, wanted), self.now)
        return self

    def plan(self) -> Plan | None:
        return self.wants.reconciler.plan(self.now)

    def grant(self, *ticks: str) -> Stage:
        """Have the venue accept what is planned; ticks of these symbols come in the same read."""
        plan = self.plan()
        assert plan is not None
        self.wants.reconciler.accept(plan, self.now)
        return self.turn(*ticks)

    def refuse(self, ret: int, *ticks: str) -> Stage:
        """Have the venue refuse what is planned, which was sent a moment before; ticks come in the same read."""
        plan = self.plan()
        assert plan is not None
        self.wants.reconciler.refuse(plan, ret, self.now)
        self.refusal = self.now - 0.05, self.now - 0.001  # the turn began a moment ago
        return self.turn(*ticks)

    def turn(self, *ticks: str) -> Stage:
        """Take one turn of the loop: ticks of these symbols are read, and what is due is done."""
        for symbol in ticks:
            route = self.route(symbol)
            route.last_us, route.price = self.wall_us, "1.5"
        self.wants.resume(SESSION, self.now, self.refusal)
        self.wants.work(self.now)
        return self

    def later(self, seconds: float, *ticks: str) -> Stage:
        self.now += seconds
        return self.turn(*ticks)

    def reconnect(self) -> Stage:
        self.wants.interrupt("disconnect", self.wall_us, SESSION)
        self.refusal = None
        self.wants.reconciler.opened()
        return self

    def route(self, symbol: str) -> Any:
        return next(route for route in self.wants.symbols if route.symbol == symbol)

    def rows(self, *, connected: bool = True) -> dict[str, SymbolState]:
        return {row.symbol: row for row in self.wants.rows(connected)}

    def states(self, *, connected: bool = True) -> dict[str, tuple[str, str]]:
        return {symbol: (row.state.value, row.reason) for symbol, row in self.rows(connected=connected).items()}

    def told(self) -> list[Event]:
        events = list(self.venue.events)
        self.venue.events.clear()
        return events


def interrupted(events: Iterable[Event]) -> list[tuple[str, set[str]]]:
    return [(one.cause, set(one.symbols)) for one in events if isinstance(one, Interrupted)]


# Rows


def test_a_symbol_is_pending_then_waiting_then_live_with_its_price() -> None:
    stage = Stage()
    stage.wants.reconciler.opened()
    stage.want("BTCUSDT")
    assert stage.states() == {"BTCUSDT": ("pending", "")}
    stage.grant()
    assert stage.states() == {"BTCUSDT": ("waiting", "")}
    stage.later(1.0, "BTCUSDT")
    row = stage.rows()["BTCUSDT"]
    assert (row.state, row.price, row.last_tick_us) == (State.LIVE, "1.5", stage.wall_us)


def test_without_a_connection_a_row_keeps_its_last_tick_and_says_offline() -> None:
    stage = Stage("BTCUSDT").later(1.0, "BTCUSDT")
    row = stage.rows(connected=False)["BTCUSDT"]
    assert (row.state, row.reason, row.price) == (State.OFFLINE, "accepted_before", "1.5")


def test_each_reason_has_its_row() -> None:
    stage = Stage(market="stock", cap=3)
    stage.wants.reconciler.opened()
    stage.want(
        "AAPL.US", "700.HK", "HKEX:00700", "BTCUSDT", "NOWHERE:1", "OFF.US", "BAD.US", "LAST.US",
        **{"OFF.US": {"enabled": False}},
    ).refuse(600)  # fmt: skip
    while stage.plan() is not None:
        plan = cast("Plan", stage.plan())
        _ = stage.refuse(600) if "BAD.US" in plan.ask.codes else stage.grant()
    assert stage.states() == {
        "AAPL.US": ("waiting", ""),
        "700.HK": ("waiting", ""),
        "HKEX:00700": ("rejected", "duplicate_code"),
        "BTCUSDT": ("rejected", "wrong_endpoint"),
        "NOWHERE:1": ("rejected", "bad_symbol"),
        "OFF.US": ("disabled", "disabled"),
        "BAD.US": ("rejected", "venue_600"),
        "LAST.US": ("waiting", ""),  # a code that the venue refuses takes no room
    }
    assert all(row.detail for row in stage.rows().values() if row.state is State.REJECTED)


def test_what_the_plan_has_no_room_for_says_so_and_how_much_there_is() -> None:
    stage = Stage(cap=2)
    stage.want(*COINS, SOLUSDT={"priority": 5})
    row = stage.rows()["ETHUSDT"]
    assert (row.state, row.reason, row.detail) == (State.OVER_CAP, "over_cap", "the plan has room for 2")


def test_rows_say_the_priority_that_is_in_force() -> None:
    stage = Stage().want("BTCUSDT", "ETHUSDT", ETHUSDT={"priority": 7})
    assert {symbol: row.priority for symbol, row in stage.rows().items()} == {"BTCUSDT": 0, "ETHUSDT": 7}
    stage.want("BTCUSDT", "ETHUSDT", ETHUSDT={"priority": -1})
    assert stage.rows()["ETHUSDT"].priority == -1


def test_a_tick_of_the_code_under_another_symbol_makes_no_newcomer_live() -> None:
    stage = Stage("700.HK", market="stock").later(1.0, "700.HK")
    row = stage.want("700.HK", "HKEX:00700").later(0.1).rows()["HKEX:00700"]
    assert (row.reason, row.price, row.last_tick_us) == ("duplicate_code", "", 0)
    stage.want("HKEX:00700").later(0.1)
    row = stage.rows()["HKEX:00700"]
    assert (row.state, row.price, row.last_tick_us) == (State.WAITING, "", 0)


# Held removals


MANY = tuple(f"{number}.HK" for number in range(1, 41))


def test_held_removals_stay_in_the_rows_with_their_reason_and_go_when_their_time_is_over() -> None:
    stage = Stage(*MANY, market="stock").later(HOLD_S, MANY[0])
    stage.want(*MANY[30:], "AAPL.US")
    rows = stage.rows()
    assert stage.wants.held_count == 30
    assert {rows[symbol].reason for symbol in MANY[:30]} == {REMOVAL_HELD}
    assert (rows[MANY[0]].state, rows[MANY[1]].state) == (State.LIVE, State.WAITING)
    assert rows[MANY[0]].detail == "its record is gone with many others: held for 30 s, or until it is confirmed"
    assert rows[MANY[30]].reason == ""
    assert stage.wants.due == stage.now + HOLD_S
    stage.later(HOLD_S)
    assert set(stage.rows()) == {*MANY[30:], "AAPL.US"}
    assert [event for event, _ in stage.lines.events] == ["removals_held", "removals_applied"]


def test_a_held_symbol_that_is_stale_says_both_state_and_hold() -> None:
    coins = tuple(f"A{number}USDT" for number in range(40))
    stage = Stage(*coins).later(PATIENCE_S)
    stage.want(*coins[30:]).turn()
    assert stage.states()[coins[0]] == ("stale", REMOVAL_HELD)
    assert stage.states()[coins[30]] == ("stale", NEVER_TICKED)


def test_what_the_status_topic_remembers_as_accepted_is_held_and_trusted() -> None:
    stage = Stage(market="stock")
    memory = {symbol: Memory(symbol, Wanted(Subscription(symbol), 0), accepted=True) for symbol in MANY}
    memory["BAD.US"] = Memory("BAD.US", refused=600, since_us=stage.wall_us)
    stage.wants.remember(memory, 0.0)
    stage.wants.reconciler.opened()
    stage.want("NEW.US", "BAD.US")
    assert stage.wants.held_count == 40
    plan = cast("Plan", stage.plan())
    assert set(plan.ask.codes) == set(MANY)
    assert stage.states()["BAD.US"] == ("rejected", "venue_600")


def test_held_symbols_keep_their_room_in_a_full_plan_though_others_wait_for_it() -> None:
    stage = Stage(*MANY, "41.HK", "42.HK", market="stock", cap=40).later(HOLD_S)
    assert stage.states()["42.HK"] == ("over_cap", "over_cap")
    rest = [*MANY[20:], "41.HK", "42.HK"]
    stage.want(*rest)  # half: not held, and the two that waited are to have the room
    assert stage.states()["42.HK"] == ("pending", "")
    stage.later(0.05).want(*rest[1:])  # the venue was not told yet
    assert stage.wants.held_count == 21
    assert stage.plan() is None
    assert {stage.states()[symbol] for symbol in ("41.HK", "42.HK")} == {("over_cap", "over_cap")}


def test_symbols_without_room_do_not_count_as_accepted() -> None:
    stage = Stage(*MANY, market="stock", cap=40).later(HOLD_S)
    vips = tuple(f"{number}.HK" for number in range(101, 121))
    fields = {symbol: {"priority": 1} for symbol in vips}
    stage.want(*MANY, *vips, **fields).grant()
    displaced = {symbol for symbol, (state, _) in stage.states().items() if state == "over_cap"}
    assert displaced == set(MANY[20:])
    stage.later(HOLD_S + 1)
    stage.want(*MANY[:20], *vips[11:], **fields)  # 11 of 40, and the displaced ones
    assert stage.wants.held_count == 0
    stage.grant().later(HOLD_S)
    stage.want(*MANY[:14], **fields)  # 15 of 29
    assert stage.wants.held_count == 15


def test_of_an_orphaned_topic_only_what_the_venue_accepted_is_called_held() -> None:
    stage = Stage("AAPL.US", "700.HK", market="stock")
    stage.want("AAPL.US", "700.HK", "BAD.US").refuse(600)
    while stage.plan() is not None:
        _ = stage.refuse(600) if "BAD.US" in cast("Plan", stage.plan()).ask.codes else stage.grant()
    names = ("AAPL.US", "700.HK", "BAD.US", "NEW.US")
    wanted = {symbol: Wanted(Subscription(symbol), number) for number, symbol in enumerate(names)}
    stage.wants.want(Desired(0, wanted), stage.now)
    stage.wants.want(Desired(0, wanted, orphaned=True), stage.now)
    expected = {
        "AAPL.US": ("waiting", REMOVAL_HELD), "700.HK": ("waiting", REMOVAL_HELD),
        "BAD.US": ("rejected", "venue_600"),  # whoever comes next leaves it alone
        "NEW.US": ("pending", ""),  # and asks for this one apart
    }  # fmt: skip
    assert stage.states() == expected
    expected |= dict.fromkeys(("AAPL.US", "700.HK"), ("offline", REMOVAL_HELD)) | {"NEW.US": ("offline", "")}
    assert stage.states(connected=False) == expected
    assert stage.rows()["AAPL.US"].detail == "its topic was made anew: held until it has records"
    event, fields = stage.lines.events[-1]
    assert (event, fields["topic_made_anew"], "for_s" in fields) == ("removals_held", True, False)
    stage.wants.want(Desired(0, {"AAPL.US": wanted["AAPL.US"]}), stage.now)
    assert stage.lines.events[-1][0] == "removals_released"


def test_the_log_tells_of_what_is_newly_held_and_of_what_is_released_in_one_stroke() -> None:
    stage = Stage(*MANY, market="stock").later(HOLD_S)
    stage.want(*MANY[30:])
    names = [symbol for symbol in MANY if symbol not in MANY[10:31]]  # 10 come back, one more goes
    stage.want(*MANY[:10], *MANY[31:])
    assert stage.wants.held_count == 21
    told = [(event, fields["symbols"], fields.get("among_them")) for event, fields in stage.lines.events]
    assert told == [
        ("removals_held", 30, sorted(MANY[:30])[:NAMED]),
        ("removals_held", 21, [MANY[30]]),
        ("removals_released", 10, sorted(MANY[:10])),
    ]
    assert set(stage.rows()) == {*names, *MANY[10:31]}


def test_a_new_patience_takes_effect_without_a_request() -> None:
    stage = Stage("BTCUSDT", "ETHUSDT").later(10.0, "BTCUSDT", "ETHUSDT").later(10.0)
    stage.want("ETHUSDT", "BTCUSDT", BTCUSDT={"stale_after_s": 5.0})
    assert stage.plan() is None
    stage.later(JUDGE_S)
    assert stage.states() == {"BTCUSDT": ("stale", NO_TICK), "ETHUSDT": ("live", "")}
    stage.want("ETHUSDT", "BTCUSDT").later(JUDGE_S)
    assert stage.states() == {"BTCUSDT": ("live", ""), "ETHUSDT": ("live", "")}


# Stale


@pytest.mark.parametrize(
    ("ticks", "reason"), [((), NEVER_TICKED), (("BTCUSDT",), NO_TICK)], ids=["never ticked", "ticked once"]
)
def test_a_symbol_without_a_tick_for_its_patience_is_stale_for_the_right_reason(
    ticks: tuple[str, ...], reason: str
) -> None:
    stage = Stage("BTCUSDT").turn(*ticks).later(PATIENCE_S - JUDGE_S)
    assert stage.states()["BTCUSDT"][0] == ("live" if ticks else "waiting")
    stage.later(2 * JUDGE_S)
    row = stage.rows()["BTCUSDT"]
    assert (row.state, row.reason, row.detail) == (State.STALE, reason, "no tick for 60 s of open market")


def test_a_tick_ends_the_staleness_at_the_next_judgement() -> None:
    stage = Stage("BTCUSDT").later(PATIENCE_S)
    before = stage.wants.stamp()
    stage.later(JUDGE_S, "BTCUSDT")
    assert stage.states()["BTCUSDT"] == ("live", "")
    assert stage.wants.stamp() != before


def test_a_symbol_has_the_patience_of_its_own_record() -> None:
    stage = Stage().want("BTCUSDT", "ETHUSDT", ETHUSDT={"stale_after_s": 5.0})
    stage.wants.reconciler.opened()
    stage.grant().later(5.0)
    assert stage.states() == {"BTCUSDT": ("waiting", ""), "ETHUSDT": ("stale", NEVER_TICKED)}
    assert stage.rows()["ETHUSDT"].detail == "no tick for 5 s of open market"


def test_it_is_judged_once_in_an_interval_however_often_the_loop_turns() -> None:
    stage = Stage("BTCUSDT").later(PATIENCE_S - 0.4 * JUDGE_S)
    for _ in range(3):
        stage.later(0.2 * JUDGE_S)
    assert stage.states()["BTCUSDT"] == ("waiting", "")  # its time was over 0.2 s ago
    stage.later(0.5 * JUDGE_S)
    assert stage.states()["BTCUSDT"] == ("stale", NEVER_TICKED)


def test_a_closed_market_makes_nobody_stale_and_its_patience_goes_on_at_the_opening() -> None:
    stage = Stage("700.HK", market="stock", start="2026-11-25 11:59:30")
    stage.later(3000)  # the lunch break
    assert stage.states()["700.HK"] == ("waiting", "")
    stage.later(630 + 31)
    assert stage.states()["700.HK"] == ("stale", NEVER_TICKED)


def test_a_code_of_no_known_market_is_never_stale() -> None:
    stage = Stage("UKOIL").later(100 * PATIENCE_S)
    assert stage.states()["UKOIL"] == ("waiting", "")


def test_a_symbol_that_is_not_accepted_is_not_judged() -> None:
    stage = Stage("BTCUSDT").want("BTCUSDT", "ETHUSDT").later(2 * PATIENCE_S)
    assert stage.states() == {"BTCUSDT": ("stale", NEVER_TICKED), "ETHUSDT": ("pending", "")}


def test_a_reconnect_begins_every_patience_anew() -> None:
    stage = Stage("BTCUSDT").later(PATIENCE_S).reconnect()
    stage.grant()
    assert stage.states()["BTCUSDT"] == ("waiting", "")
    stage.later(PATIENCE_S - JUDGE_S)
    assert stage.states()["BTCUSDT"] == ("waiting", "")
    stage.later(2 * JUDGE_S)
    assert stage.states()["BTCUSDT"] == ("stale", NEVER_TICKED)


# Accepted and never a tick


def silent(stage: Stage) -> Stage:
    """Let the patience pass with ticks of the first coin only."""
    for _ in range(4):
        stage.later(PATIENCE_S / 4, COINS[0])
    return stage


def asked_again(stage: Stage) -> set[str]:
    """Give the symbols that are asked for once more by now, as the log tells; the venue says yes to all."""
    before = len(stage.lines.events)
    stage.wants.ask_again()
    if stage.plan() is None:
        assert len(stage.lines.events) == before
        return set()
    plan = cast("Plan", stage.plan())
    assert set(plan.ask.codes) == stage.wants.reconciler.subscribed  # the whole list: here a symbol is its code
    stage.grant()
    event, fields = stage.lines.events[-1]
    assert (event, fields["level"], fields["symbols"]) == (
        "never_ticked_asked_again", "warning", len(fields["among_them"])
    )  # fmt: skip
    return set(fields["among_them"])


def test_who_never_ticked_while_others_do_is_asked_for_once_more_with_the_whole_list_and_then_left_alone() -> None:
    stage = silent(Stage(*COINS))
    stage.told()
    assert asked_again(stage) == {"ETHUSDT", "SOLUSDT"}
    assert stage.states()["ETHUSDT"] == ("stale", NEVER_TICKED)
    assert asked_again(silent(silent(stage))) == set()
    assert stage.told() == []


def test_who_ticked_once_and_fell_silent_is_not_asked_for_again() -> None:
    assert asked_again(silent(Stage(*COINS).turn("ETHUSDT"))) == {"SOLUSDT"}


def test_while_nobody_ticks_nobody_is_asked_for_again_until_somebody_does() -> None:
    stage = Stage(*COINS).later(2 * PATIENCE_S)
    assert stage.states()["ETHUSDT"] == ("stale", NEVER_TICKED)
    assert asked_again(stage) == set()
    assert asked_again(stage.later(JUDGE_S, "BTCUSDT")) == {"ETHUSDT", "SOLUSDT"}


def test_ticks_of_another_market_are_no_sign_that_the_own_is_open() -> None:
    stage = silent(Stage("BTCUSDT", "ETHUSDT", "EURUSD"))
    assert stage.states()["EURUSD"] == ("stale", NEVER_TICKED)
    assert asked_again(stage) == {"ETHUSDT"}


def test_the_next_connection_asks_again_and_a_gap_on_the_same_one_does_not() -> None:
    stage = silent(Stage(*COINS))
    assert asked_again(stage)
    stage.told()
    stage.later(1.0).want(*COINS, "BAD1USDT").refuse(600).later(1.0).grant()
    assert interrupted(stage.told())  # the list may have been void
    assert silent(stage).states()["ETHUSDT"] == ("stale", NEVER_TICKED)
    assert asked_again(stage) == set()
    stage.reconnect().grant()
    assert asked_again(silent(stage)) == {"ETHUSDT", "SOLUSDT"}


def test_each_judgement_looks_for_who_is_to_be_asked_for_again() -> None:
    assert silent(Stage(*COINS)).plan() is not None


# A refused list, and what it may have ended


def resumed(stage: Stage) -> list[set[str]]:
    return [set(one.symbols) for one in stage.told() if isinstance(one, Resumed)]


def test_a_refusal_that_ticks_outlived_tells_of_no_gap() -> None:
    stage = Stage(*COINS).later(1.0, "BTCUSDT")
    stage.want(*COINS, "BAD1USDT").refuse(600)
    stage.later(0.1, "ETHUSDT").later(1.0).want(*COINS).grant()
    assert interrupted(stage.told()) == []


@pytest.mark.parametrize("where", ["with the refusal", "with the consent", "with both"])
def test_ticks_read_together_with_an_answer_say_nothing_of_what_lay_between_the_answers(where: str) -> None:
    stage = Stage(*COINS).later(1.0, "BTCUSDT").later(1.0)
    stage.told()
    # Before the refusal in one read, or after the consent: the list may have been void all the while between.
    stage.want(*COINS, "BAD1USDT").refuse(600, *(() if where == "with the consent" else ("BTCUSDT",)))
    stage.later(0.5).want(*COINS).grant(*(() if where == "with the refusal" else ("BTCUSDT",)))
    (event, again) = stage.told()
    assert isinstance(event, Interrupted)
    assert isinstance(again, Resumed)
    assert (event.cause, set(event.symbols)) == ("disconnect", set(COINS))
    assert event.from_us == stage.start_us + round(1.95 * SECOND_US)
    assert again.to_us == stage.wall_us
    assert again.symbols == set(COINS)


def test_after_two_refusals_without_a_tick_the_gap_begins_with_the_first() -> None:
    stage = Stage(*COINS).later(1.0, "BTCUSDT").later(1.0)
    stage.told()
    stage.want(*COINS, "BAD1USDT", "BAD2USDT").refuse(600).later(0.1).refuse(600).later(0.1).grant()
    event = stage.told()[0]
    assert isinstance(event, Interrupted)
    assert event.from_us == stage.start_us + round(1.95 * SECOND_US)
