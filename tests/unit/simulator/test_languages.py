"""The dialects that add and take away, as the simulated venue speaks and decides them."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from bridge.simulator import SimulatorConfig, Switches, Tick
from bridge.simulator.incremental import IncrementalVenue
from bridge.simulator.languages import LANGUAGES, speech
from bridge.simulator.sessions import Session
from bridge.simulator.venue import Outcome

Dialect = Literal["action-code", "action-symbols"]
every_dialect = pytest.mark.parametrize("dialect", ["action-code", "action-symbols"])

TICK = Tick("NASDAQ:AAPL", 7, 1_790_000_000_123, "512.500000", "300", "153750.000000", 1)
CODES = {
    "action-code": ("NASDAQ:AAPL", "HKEX:00700", "SSE:600519"),
    "action-symbols": ("AAPL", "00700.HK", "600519.SH"),
}


class Hall:
    """A venue with one session."""

    def __init__(self, dialect: Dialect, codes: Any = None, **switches: Any) -> None:
        self.dialect = dialect
        self.switches = Switches(answers=True, pacing="record", **switches)
        config = SimulatorConfig(dialect=dialect, codes=codes, switches=self.switches)
        self.venue = IncrementalVenue(config, self.switches)
        found = self.venue.sessions.admit("/quote-stock-b-ws-api?token=test-token", 0.0).session
        assert found is not None
        self.session: Session = found
        self.now = 0.0

    def ask(self, action: str, *codes: str) -> Outcome:
        if self.dialect == "action-code":
            return self.say({"cmd_id": 22004, "action": action, "code": codes})
        return self.say({"action": action, "symbols": codes})

    def say(self, message: object) -> Outcome:
        self.now += 1.0
        return self.venue.receive(self.session, json.dumps(message), self.now)

    def answer(self, outcome: Outcome) -> tuple[Any, tuple[str, ...]]:
        """Give what an answer says, and which codes it names."""
        message = json.loads(outcome.answer or "{}")
        if self.dialect == "action-code":
            assert message["cmd_id"] == 22005
            return message["ret"], tuple(message["code"])
        return message["status"], tuple(message["symbols"])

    def held(self) -> tuple[str, ...]:
        return self.session.ticks

    @property
    def no(self) -> Any:
        return 600 if self.dialect == "action-code" else "error"

    @property
    def ok(self) -> Any:
        return 200 if self.dialect == "action-code" else "ok"


# Requests


@every_dialect
def test_codes_are_added_and_taken_away(dialect: Dialect) -> None:
    hall, (one, two, three) = Hall(dialect), CODES[dialect]
    assert hall.answer(hall.ask("subscribe", one, two)) == (hall.ok, (one, two))
    hall.ask("subscribe", two, three)
    assert hall.held() == (one, two, three)
    assert hall.answer(hall.ask("unsubscribe", two, "nonsense")) == (hall.ok, (two, "nonsense"))
    assert hall.held() == (one, three)


@every_dialect
def test_requests_are_recorded_under_official_numbers(dialect: Dialect) -> None:
    hall, (one, *_) = Hall(dialect), CODES[dialect]
    outcomes = hall.ask("subscribe", one), hall.ask("unsubscribe", one)
    assert [(outcome.request.cmd_id, outcome.codes) for outcome in outcomes] == [(22004, (one,)), (22006, (one,))]


@every_dialect
def test_by_default_nothing_is_answered(dialect: Dialect) -> None:
    hall = Hall(dialect)
    hall.switches.answers = Switches().answers
    assert hall.ask("subscribe", CODES[dialect][0]).answer is None
    assert hall.held() == CODES[dialect][:1]


@every_dialect
@pytest.mark.parametrize("partly", ["good", "none"])
def test_of_a_partly_failed_request_the_good_hold_or_none(dialect: Dialect, partly: str) -> None:
    one, two, three = CODES[dialect]
    hall = Hall(dialect, partly=partly, unknown=frozenset({two}))
    answered = hall.answer(hall.ask("subscribe", one, two, three))
    if partly == "good":
        assert (answered, hall.held()) == ((hall.no, (two,)), (one, three))
    else:
        assert (answered, hall.held()) == ((hall.no, (one, two, three)), ())


@every_dialect
def test_more_codes_than_the_plan_allows_are_refused(dialect: Dialect) -> None:
    one, two, three = CODES[dialect]
    hall = Hall(dialect, max_codes=2)
    outcome = hall.ask("subscribe", one, two, three)
    assert (outcome.ret, hall.held()) == (603, (one, two))
    assert hall.ask("subscribe", one).ret == 200  # held already


@every_dialect
def test_the_next_request_can_be_refused_or_left_unanswered_on_demand(dialect: Dialect) -> None:
    hall, (one, *_) = Hall(dialect, next_ret=605), CODES[dialect]
    assert hall.ask("subscribe", one).ret == 605
    assert hall.held() == ()
    hall.switches.drop_acks = 1
    assert hall.ask("subscribe", one).answer is None
    assert hall.ask("subscribe", one).answer is not None


@every_dialect
@pytest.mark.parametrize("codes", ["700.HK,AAPL.US", ""])
def test_codes_of_another_spelling_do_not_exist(dialect: Dialect, codes: str) -> None:
    assert Hall(dialect).ask("subscribe", *codes.split(",")).ret == 600


@every_dialect
def test_generated_codes_are_spelt_as_the_dialect_does(dialect: Dialect) -> None:
    hall = Hall(dialect, codes=300)
    listed = hall.venue.universe.listed
    assert len(set(listed)) == 300
    assert {"action-code": "HKEX:00700", "action-symbols": "00700.HK"}[dialect] in listed
    assert hall.ask("subscribe", *listed[:20]).ret == 200
    assert hall.ask("subscribe", {"action-code": "NASDAQ:NONE", "action-symbols": "NONE"}[dialect]).ret == 600


@every_dialect
@pytest.mark.parametrize(
    "message",
    [
        [],
        {},
        {"action": "subscribe"},
        {"action": "subscribe", "symbols": [], "code": []},
        {"cmd_id": 22004, "action": "subscribe", "code": []},
        {"cmd_id": 22004, "action": "subscribe", "code": "NASDAQ:AAPL"},
        {"cmd_id": 22002, "action": "subscribe", "code": ["NASDAQ:AAPL"]},
        {"cmd_id": 22004, "action": "replace", "code": ["NASDAQ:AAPL"]},
        {"action": "subscribe", "symbols": [5]},
        {"action": "subscribe", "symbols": []},
        {"action": "subscribe", "symbols": "AAPL"},
        {"action": "stop", "symbols": ["AAPL"]},
        {"cmd_id": 22000, "seq_id": 1, "trace": "t", "data": {}},
    ],
)
def test_whatever_is_no_request_of_the_dialect_is_refused_and_changes_nothing(dialect: Dialect, message: Any) -> None:
    hall = Hall(dialect)
    assert hall.say(message).ret == 400
    assert hall.held() == ()


@every_dialect
def test_requests_may_come_20_times_a_second_and_no_faster(dialect: Dialect) -> None:
    hall, one = Hall(dialect), CODES[dialect][0]
    hall.switches.pacing_slack_s = 0
    language = {"action-code": "code", "action-symbols": "symbols"}[dialect]
    fixed = {"cmd_id": 22004} if dialect == "action-code" else {}
    text = json.dumps({**fixed, "action": "subscribe", language: [one]})
    broken = [hall.venue.receive(hall.session, text, at).violation is not None for at in (1.0, 1.06, 1.1)]
    assert broken == [False, False, True]


# Pushes


def push(dialect: str, **switches: Any) -> str:
    return speech(dialect)(Switches(**switches))(TICK).decode()


def test_action_code_pushes_code_price_and_open_24h() -> None:
    message = json.loads(push("action-code"))
    assert message.keys() == {"code", "price", "open_24h", "volume"}
    assert (message["code"], message["price"]) == ("NASDAQ:AAPL", "512.500000")
    assert '"price":512.500000,"open_24h":' in push("action-code", numbers=True)


@pytest.mark.parametrize(
    ("switches", "time"),
    [
        ({}, '"1790000000123"'),
        ({"time_unit": "s"}, '"1790000000"'),
        ({"time_unit": "us", "integers": True}, "1790000000123000"),
        ({"time_unit": "iso", "integers": True}, '"2026-09-21T14:13:20.123Z"'),
    ],
)
def test_action_symbols_pushes_symbol_price_and_time_in_any_unit(switches: Any, time: str) -> None:
    assert push("action-symbols", **switches) == f'{{"symbol":"NASDAQ:AAPL","price":"512.500000","time":{time}}}'


def test_the_official_dialect_stays_what_it_is() -> None:
    assert json.loads(push("alltick"))["data"]["tick_time"] == "1790000000123"
    assert json.loads(push("alltick", seconds=True))["data"]["tick_time"] == "1790000000"


# Configuration


def test_an_unknown_dialect_and_a_flood_in_another_are_refused() -> None:
    with pytest.raises(ValueError, match="no dialect"):
        SimulatorConfig(dialect="nonsense")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flood"):
        SimulatorConfig(dialect="action-code", flood=True)


def test_every_dialect_of_the_configuration_has_a_language() -> None:
    assert set(LANGUAGES) == set(CODES)
