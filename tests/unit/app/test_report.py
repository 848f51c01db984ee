"""What the control thread makes of status records, and whose ticks it takes for possibly missing."""

from __future__ import annotations

import pytest

from bridge.app.report import UNSEEN_US, may_miss, memory_of, truths_of
from bridge.control.desired import Fold
from bridge.model import (
    ACCEPTED_BEFORE,
    REMOVAL_HELD,
    Board,
    Desired,
    Memory,
    Progress,
    State,
    Subscription,
    SymbolState,
    Truth,
    Wanted,
)
from bridge.publish.notices import Status

T0 = 1_790_000_000_000_000


def status(state: State, reason: str = "", **fields: object) -> Status:
    known = {"code": "A.US", "control_partition": 0, "control_offset": 5, "effective": {"priority": 2}, **fields}
    return Status(1, "prices", "A", state.value, T0, "one", reason=reason, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "accepted"),
    [
        (status(State.LIVE), True),
        (status(State.WAITING), True),
        (status(State.STALE), True),
        (status(State.LIVE, REMOVAL_HELD), True),
        (status(State.OFFLINE, ACCEPTED_BEFORE), True),
        (status(State.PENDING, ACCEPTED_BEFORE), True),
        (status(State.OFFLINE, REMOVAL_HELD), True),
        (status(State.INVALID, "not_json", effective_state="waiting"), True),
        (status(State.INVALID, "not_json", effective_state="offline", effective_reason=ACCEPTED_BEFORE), True),
        (status(State.INVALID, "not_json", effective_state="disabled", last_tick_us=T0), False),
        (status(State.INVALID, "not_json", last_tick_us=T0), False),
        (status(State.OFFLINE), False),
        (status(State.PENDING), False),
        (status(State.OVER_CAP), False),
        (status(State.REJECTED, "venue_600"), False),
    ],
)
def test_a_status_tells_whether_the_venue_had_accepted_the_symbol(record: Status, accepted: bool) -> None:
    assert memory_of(record).accepted is accepted


def test_a_status_tells_what_was_in_force_and_what_the_venue_said() -> None:
    assert memory_of(status(State.LIVE)).wanted == Wanted(Subscription("A", priority=2), 5)
    assert memory_of(status(State.REJECTED, "venue_604")).refused == 604
    assert memory_of(status(State.REJECTED, "duplicate_code")).refused == 0
    beneath = status(State.INVALID, "not_json", effective_state="rejected", effective_reason="venue_600")
    assert memory_of(beneath).refused == 600


def test_what_was_pending_beneath_a_bad_record_may_have_been_accepted_unseen() -> None:
    assert memory_of(status(State.INVALID, "not_json", effective_state="pending")).state == State.PENDING


@pytest.mark.parametrize("effective", [None, {"priority": "x"}])
def test_what_cannot_be_read_is_forgotten(effective: object) -> None:
    assert memory_of(status(State.LIVE, effective=effective)).wanted is None


def wanted(symbol: str = "A", written_us: int = T0, *, enabled: bool = True) -> Desired:
    return Desired(0, {symbol: Wanted(Subscription(symbol, enabled=enabled), 1, written_us // 1000)})


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (Memory("A.US", accepted=True, state=State.LIVE), {"A": "A.US"}),
        (Memory("A.US", state=State.PENDING), {"A": "A.US"}),
        (Memory("A.US", state=State.OFFLINE), {}),
        (Memory("A.US", state=State.REJECTED), {}),
        (Memory("A.US", state=State.OVER_CAP), {}),
    ],
)
def test_after_a_crash_what_was_accepted_or_about_to_be_may_miss_ticks(known: Memory, found: dict[str, str]) -> None:
    assert may_miss(wanted(), {"A": known}, Progress(T0, T0)) == found


def test_a_status_as_it_was_read_tells_that_a_symbol_was_about_to_be_accepted() -> None:
    known = memory_of(status(State.PENDING))
    assert may_miss(wanted(), {"A": known}, Progress(T0, T0)) == {"A": "A.US"}


def test_what_was_asked_for_just_before_a_crash_may_have_been_accepted_unseen() -> None:
    assert may_miss(wanted(written_us=T0 + UNSEEN_US), {}, Progress(T0, T0)) == {"A": ""}
    assert may_miss(wanted(written_us=T0 + UNSEEN_US + 1000), {}, Progress(T0, T0)) == {}
    assert may_miss(wanted(enabled=False), {}, Progress(T0, T0)) == {}


def test_who_ended_in_order_has_said_everything() -> None:
    assert may_miss(wanted(), {"A": Memory("A.US", state=State.PENDING)}, Progress(T0, T0, ended="stop")) == {}


def test_a_symbol_that_nobody_wants_any_more_misses_nothing() -> None:
    assert may_miss(wanted("B", T0 + 2 * UNSEEN_US), {"A": Memory("A.US", accepted=True)}, Progress(T0, T0)) == {}


# What the statuses should say


def fold(*records: tuple[bytes, bytes | None]) -> Fold:
    """Fold records of a partition that was read to its end."""
    made = Fold(0)
    for offset, (key, value) in enumerate(records):
        made.apply(offset, key, value)
    made.caught_up(len(records))
    return made


def board(state: State = State.LIVE, reason: str = "", **fields: object) -> Board:
    """Make what the feed says of A, which rests on these fields of its record."""
    row = SymbolState("A", "A.US", state, reason, last_tick_us=5)
    rests_on = Wanted(Subscription("A", **fields), 0)  # type: ignore[arg-type]
    return Board(rows={0: {"A": row}}, sessions={0: 7}, wanted={0: {"A": rests_on}})


def test_a_row_goes_with_the_record_that_it_rests_on_not_with_a_newer_one() -> None:
    (truth,) = truths_of(fold((b"A", b'{"priority":1}'), (b"A", b'{"enabled":false}')), board(priority=1))
    assert (truth.row.state, truth.effective, truth.control) == (State.LIVE, {"priority": 1}, (0, 0))


def test_a_symbol_whose_record_is_gone_stays_what_it_is_until_the_feed_knows() -> None:
    (truth,) = truths_of(fold((b"A", b"{}"), (b"A", None)), board())
    assert (truth.row.state, truth.effective) == (State.LIVE, {})


def test_nothing_is_said_of_a_symbol_that_nobody_has_judged_unless_there_is_nothing_to_judge() -> None:
    told = fold((b"B", b"{}"), (b"C", b"{}"), (b"C", b"x"), (b"D", b"x"))
    found = {truth.row.symbol: truth for truth in truths_of(told, board())}
    assert set(found) == {"A", "D"}
    assert (found["D"].row.state, found["D"].effective, found["D"].beneath) == (State.INVALID, None, ("", ""))


def test_beneath_a_bad_record_stands_what_becomes_of_the_one_in_force() -> None:
    bad = fold((b"A", b"{}"), (b"A", b"x"))
    (truth,) = truths_of(bad, board(State.REJECTED, "venue_600"))
    assert (truth.row.state, truth.row.reason, truth.row.code) == (State.INVALID, "not_json", "A.US")
    assert (truth.effective, truth.beneath, truth.control) == ({}, ("rejected", "venue_600"), (0, 1))
    (nothing,) = truths_of(fold((b"A", b"x")), Board())
    assert nothing == Truth(nothing.row, (0, 0), None)
