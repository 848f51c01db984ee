"""A standby and a silent coordinator: who asks first when it is back."""

import pytest

from bridge.control.deference import Deference, Move

SESSION_S = 9.0


def left_at(moment: float) -> Deference:
    """Give a standby that left at a moment, three quarters of the session timeout after the last answer."""
    deference = Deference(SESSION_S, holds=True)
    move = deference.move(moment, standby=True, steady=True, answered_at=moment - SESSION_S * 0.75)
    assert move is Move.LEAVE
    return deference


def test_a_standby_whose_heartbeats_are_answered_stays() -> None:
    deference = Deference(SESSION_S, holds=True)
    assert deference.move(100.0, standby=True, steady=True, answered_at=95.0) is None


@pytest.mark.parametrize(
    ("holds", "standby", "steady"),
    [(False, True, True), (True, False, True), (True, True, False)],
    ids=["nobody holds a connection", "an owner", "a rebalance, in which nothing is answered for long"],
)
def test_nobody_else_leaves_a_silent_group(holds: bool, standby: bool, steady: bool) -> None:
    deference = Deference(SESSION_S, holds=holds)
    assert deference.move(1000.0, standby=standby, steady=steady, answered_at=100.0) is None


def test_it_leaves_once() -> None:
    deference = left_at(100.0)
    assert deference.move(101.0, standby=True, steady=True, answered_at=90.0) is None


def test_it_comes_back_when_the_coordinator_has_answered_for_a_session_timeout() -> None:
    deference = left_at(100.0)
    assert deference.move(500.0, standby=True, steady=False, answered_at=99.0) is None
    assert deference.move(501.0, standby=True, steady=False, answered_at=500.5) is None
    assert deference.move(500.4 + SESSION_S, standby=True, steady=False, answered_at=503.0) is None
    assert deference.move(500.5 + SESSION_S, standby=True, steady=False, answered_at=503.0) is Move.JOIN


def test_the_next_silence_is_judged_anew() -> None:
    deference = left_at(100.0)
    assert deference.move(105.0, standby=True, steady=False, answered_at=105.0) is None
    assert deference.move(105.0 + SESSION_S, standby=True, steady=False, answered_at=105.0) is Move.JOIN
    assert deference.move(130.0, standby=True, steady=True, answered_at=129.5) is None
    assert deference.move(140.0, standby=True, steady=True, answered_at=129.5) is Move.LEAVE
