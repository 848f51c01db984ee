"""What a status makes of a record that was written: good, bad, or nothing yet."""

import json
from typing import Any

import pytest

from bridge.cli.settling import Outcome, Written, follow, outcomes, written
from bridge.cli.statuses import Book
from bridge.model import State


def row(state: State, offset: int = 7, **fields: Any) -> dict[str, Any]:
    return {"symbol": "A", "state": state.value, "control_partition": 0, "control_offset": offset} | fields


def outcome(status: dict[str, Any] | None, fields: dict[str, Any] | None, offset: int = 7) -> Outcome:
    return Written("A", fields, 0, offset).judge(status)[0]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.WAITING, Outcome.GOOD), (State.LIVE, Outcome.GOOD), (State.STALE, Outcome.GOOD),
        (State.PENDING, Outcome.NOT_YET), (State.OFFLINE, Outcome.NOT_YET),
        (State.REJECTED, Outcome.BAD), (State.OVER_CAP, Outcome.BAD), (State.INVALID, Outcome.BAD),
        (State.DISABLED, Outcome.BAD),
    ],
)  # fmt: skip
def test_each_state_of_the_record_that_was_written_is_an_end_or_none(state: State, expected: Outcome) -> None:
    assert outcome(row(state), {"priority": 5}) is expected


def test_disabled_is_good_where_that_was_asked_for() -> None:
    assert outcome(row(State.DISABLED), {"enabled": False}) is Outcome.GOOD


@pytest.mark.parametrize("state", [State.LIVE, State.REJECTED, State.INVALID])
def test_a_status_of_an_older_record_says_nothing_yet(state: State) -> None:
    assert outcome(row(state, 6, effective={}), {"priority": 5}) is Outcome.NOT_YET


def test_an_older_status_counts_where_its_record_is_the_same_as_nothing_is_said_again_that_has_not_changed() -> None:
    assert outcome(row(State.LIVE, 6, effective={"priority": 5}), {"priority": 5}) is Outcome.GOOD
    assert outcome(row(State.REJECTED, 6, effective={"priority": 5}), {"priority": 5}) is Outcome.BAD
    assert outcome(row(State.INVALID, 6, effective={"priority": 5}), {"priority": 5}) is Outcome.NOT_YET


def test_a_status_of_another_partition_s_record_is_no_newer_whatever_its_offset() -> None:
    assert outcome(row(State.LIVE, 99, control_partition=1, effective={}), {"priority": 5}) is Outcome.NOT_YET


def test_where_kafka_did_not_tell_the_place_the_record_alone_decides() -> None:
    assert outcome(row(State.LIVE, 6, effective={}), {"priority": 5}, offset=-1) is Outcome.NOT_YET
    assert outcome(row(State.LIVE, 6, effective={"priority": 5}), {"priority": 5}, offset=-1) is Outcome.GOOD


def test_without_a_status_a_tombstone_is_done_and_a_record_is_not() -> None:
    assert outcome(None, None) is Outcome.GOOD
    assert outcome(None, {}) is Outcome.NOT_YET


def test_a_tombstone_waits_for_the_status_to_go_unless_somebody_asked_for_the_symbol_again() -> None:
    assert outcome(row(State.LIVE, 6), None) is Outcome.NOT_YET
    assert outcome(row(State.LIVE, 8), None) is Outcome.BAD


@pytest.mark.parametrize("fields", [None, {}, {"enabled": False}])
def test_what_is_held_is_not_done_and_says_so(fields: dict[str, Any] | None) -> None:
    judged = Written("A", fields, 0, 7).judge(row(State.LIVE, 6, reason="removal_held", effective={}))
    assert judged == (Outcome.NOT_YET, "its removal is held")


def test_what_was_written_is_put_together_with_its_place() -> None:
    pairs = [(b"A", b'{"priority":5}'), (b"B", None)]
    assert written(pairs, [(0, 7), (1, 2)]) == [Written("A", {"priority": 5}, 0, 7), Written("B", None, 1, 2)]


class Said:
    """A record of the status topic."""

    def __init__(self, status: dict[str, Any]) -> None:
        self._status = status

    def key(self) -> bytes:
        return str(self._status["symbol"]).encode()

    def value(self) -> bytes:
        return json.dumps(self._status).encode()


class Script:
    """A status topic that says one thing after the other, then nothing."""

    def __init__(self, *turns: dict[str, Any] | None, trouble: str = "") -> None:
        self.trouble = trouble
        self._turns = list(turns)

    def take(self) -> Any:
        status = self._turns.pop(0) if self._turns else None
        return [] if status is None else [Said(status)]

    def tell_trouble(self) -> None:
        pass


def ends(script: Script, seconds: float = 20.0) -> tuple[bool, Outcome]:
    book, everything = Book(), [Written("A", {}, 0, 7)]
    heard = follow(script, book, everything, seconds)
    return heard, outcomes(everything, book)["A"][0]


def test_a_good_end_is_believed_at_once_and_a_bad_one_once_it_has_stood() -> None:
    assert ends(Script(row(State.PENDING), row(State.LIVE), row(State.REJECTED))) == (True, Outcome.GOOD)
    assert ends(Script(row(State.OVER_CAP), None, None, row(State.LIVE))) == (True, Outcome.GOOD)
    assert ends(Script(row(State.OVER_CAP))) == (True, Outcome.BAD)


def test_where_nothing_is_said_time_is_over_and_trouble_is_no_silence_of_a_bridge() -> None:
    assert ends(Script(), 0.01) == (False, Outcome.NOT_YET)
    assert ends(Script(trouble="all brokers are down"), 0.01) == (True, Outcome.NOT_YET)
