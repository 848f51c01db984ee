"""What wants say in the log before anybody asks: no room, holidays that run out; and symbols asked for once more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.app.wants import NEVER_TICKED, Wants
from bridge.model import Limits
from bridge.ticks.calendar import Calendar
from bridge.upstream.admission import SURPLUS_S
from bridge.upstream.dialects.action_code import ActionCode
from bridge.upstream.dialects.action_symbols import ActionSymbols
from tests.unit.app.test_wants import PATIENCE_S, Stage

DAY_S = 86_400.0
#: In New York's session.
NOON = "2026-11-25 23:00"


def lines(stage: Stage, event: str) -> list[dict[str, Any]]:
    return [fields for name, fields in stage.lines.events if name == event]


# No room


def test_symbols_without_room_are_one_line_with_their_number_the_cap_and_the_remedy() -> None:
    stage = Stage(*(f"A{number}USDT" for number in range(5)), cap=3)
    stage.later(1.0).later(1.0)
    (line,) = lines(stage, "over_cap")
    assert (line["level"], line["partition"], line["symbols"], line["cap"]) == ("warning", 0, 2, 3)
    assert "TICKBRIDGE_UPSTREAM__PLAN" in line["remedy"]


def test_a_thousand_additions_over_the_cap_are_a_line_a_minute_and_their_end_is_one() -> None:
    coins = [f"A{number}USDT" for number in range(1004)]
    stage = Stage(*coins[:4], cap=3)
    for count in range(5, 1005):
        stage.want(*coins[:count]).later(0.1)
    first, second = (line["symbols"] for line in lines(stage, "over_cap"))
    assert (first, second) == (1, pytest.approx(601, abs=10))  # it is looked at once a second
    stage.later(SURPLUS_S)
    assert lines(stage, "over_cap")[-1]["symbols"] == 1001
    stage.want(*coins[:3]).later(SURPLUS_S)
    assert [line["cap"] for line in lines(stage, "over_cap_ended")] == [3]
    assert len(lines(stage, "over_cap")) == 3


def test_a_cap_that_the_venue_taught_is_the_one_that_is_named() -> None:
    stage = Stage(*(f"A{number}USDT" for number in range(4)))
    stage.want(*(f"A{number}USDT" for number in range(8))).refuse(603)
    stage.grant().refuse(603).grant().later(1.0)
    (line,) = lines(stage, "over_cap")
    assert (line["symbols"], line["cap"]) == (2, 6)


def test_where_there_is_room_for_all_nothing_is_said_of_it() -> None:
    stage = Stage("BTCUSDT", "ETHUSDT", cap=2).later(1.0)
    assert not lines(stage, "over_cap")
    assert not lines(stage, "over_cap_ended")


# Holidays that run out


def test_holidays_that_run_out_are_told_once_a_day_for_a_market_with_symbols() -> None:
    stage = Stage("600519.SH", "AAPL.US", market="stock", start="2026-12-02 10:00")
    for _ in range(47):
        stage.later(DAY_S / 24)
    told = lines(stage, "holidays_run_out")
    assert [(line["level"], line["market"], line["known_until"]) for line in told] == [
        ("warning", "cn", Calendar.built_in().known_until("cn"))
    ] * 2
    assert "TICKBRIDGE_TICKS__CALENDAR_FILE" in told[0]["remedy"]


@pytest.mark.parametrize(
    ("symbol", "start"), [("600519.SH", "2026-11-25 10:00"), ("700.HK", "2026-12-02 10:00")], ids=["sooner", "another"]
)
def test_holidays_that_are_known_for_another_month_or_of_no_symbol_are_no_news(symbol: str, start: str) -> None:
    stage = Stage(symbol, market="stock", start=start).later(1.0).later(DAY_S)
    assert not lines(stage, "holidays_run_out")


# Judged by the exchange that the symbol names


def in_dialect(dialect: ActionCode | ActionSymbols, start: str, *symbols: str) -> Stage:
    stage = Stage(start=start)
    stage.venue = replace(stage.venue, dialect=dialect)
    stage.wants = Wants(0, stage.venue, Limits(max_symbols=100))
    stage.wants.reconciler.opened()
    return stage.want(*symbols).grant()


def test_a_stock_with_the_name_of_a_metal_is_judged_by_its_exchange_s_hours() -> None:
    stage = in_dialect(ActionSymbols(), "2026-11-26 09:00", "NYSE:GOLD", "GOLD")  # 20:00 in New York
    stage.later(PATIENCE_S + 1.0)
    assert stage.states() == {"NYSE:GOLD": ("waiting", ""), "GOLD": ("rejected", "duplicate_code")}
    stage.want("GOLD").turn().later(PATIENCE_S + 1.0)  # the metal, under the code that is held already
    assert stage.states() == {"GOLD": ("stale", NEVER_TICKED)}
    stage.want("NYSE:GOLD").turn().later(PATIENCE_S + 1.0)
    assert stage.states() == {"NYSE:GOLD": ("waiting", "")}


# Asked for once more where requests add


@pytest.mark.parametrize("dialect", [ActionCode(), ActionSymbols()], ids=lambda one: one.name)
def test_who_is_asked_for_once_more_where_requests_add_stays_stale_meanwhile_and_the_others_live(
    dialect: ActionCode | ActionSymbols,
) -> None:
    stage = in_dialect(dialect, NOON, "NASDAQ:AAPL", "NASDAQ:MUTE")
    stage.told()
    seen: list[tuple[str, str]] = []
    asked: list[tuple[str, ...]] = []
    for _ in range(4 * round(PATIENCE_S)):
        stage.later(1.0, "NASDAQ:AAPL")
        states = stage.states()
        assert states["NASDAQ:AAPL"] == ("live", "")
        seen += [states["NASDAQ:MUTE"]] if states["NASDAQ:MUTE"] not in seen[-1:] else []
        plan = stage.plan() if stage.now % 3.0 == 0.0 else None  # pacing may make it wait
        if plan is not None:
            asked.append(plan.ask.codes)
            stage.grant()
    assert seen == [("waiting", ""), ("stale", NEVER_TICKED)]
    assert asked == [(dialect.code("NASDAQ:MUTE"),)]
    assert len(lines(stage, "never_ticked_asked_again")) == 1
    assert stage.told() == []
