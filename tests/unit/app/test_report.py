"""What the control thread makes of status records, and whose ticks it takes for possibly missing."""

from __future__ import annotations

import pytest

from bridge.app.report import UNSEEN_US, may_miss, memory_of
from bridge.app.wants import REMOVAL_HELD
from bridge.model import Desired, Memory, Progress, State, Subscription, Wanted
from bridge.publish.notices import Status
from bridge.upstream.reconcile import ACCEPTED_BEFORE

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
        (status(State.INVALID, "not_json", last_tick_us=T0), True),
        (status(State.INVALID, "not_json"), False),
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
