"""A standby and a silent coordinator: who asks first when it is back."""

from dataclasses import dataclass

import pytest

from bridge.control.deference import SILENT_SHARE, Deference, Move
from bridge.control.standing import Standing

SESSION_S = 10.0
PATIENCE_S = SESSION_S * SILENT_SHARE


@dataclass
class Group:
    """A standby's group, as its statistics show it."""

    holds: bool = True
    standby: bool = True
    now: float = 100.0

    def __post_init__(self) -> None:
        self.standing = Standing(SESSION_S)
        self._deference = Deference(SESSION_S, holds=self.holds)
        self.sees(0.0, answered=True)

    def sees(self, seconds: float, *, answered: bool = False, away: bool = False, steady: bool = True) -> Move | None:
        """Let so many seconds pass, then show statistics."""
        self.now += seconds
        self.standing.seen_at, self.standing.steady = self.now, steady
        if answered:
            self.standing.answered_at = self.now
        if away:
            self.standing.away_at = self.now
        return self._deference.move(self.standing, standby=self.standby)

    def loses_it(self) -> None:
        """Leave for the coordinator's silence."""
        assert self.sees(PATIENCE_S + 1, away=True) is Move.LEAVE


def test_a_standby_whose_heartbeats_are_answered_stays() -> None:
    group = Group()
    assert [group.sees(1.0, answered=True) for _ in range(30)] == [None] * 30
    assert group.sees(PATIENCE_S) is None


def test_it_leaves_once() -> None:
    group = Group()
    group.loses_it()
    assert [group.sees(1.0, away=True, steady=False) for _ in range(60)] == [None] * 60


def test_without_news_it_does_nothing_however_late_it_is() -> None:
    group = Group()
    group.standing.answered_at = group.now - PATIENCE_S
    assert group.sees(0.0) is None


@pytest.mark.parametrize(
    ("group", "steady"),
    [(Group(holds=False), True), (Group(standby=False), True), (Group(), False)],
    ids=["nobody holds a connection", "an owner", "a rebalance, in which nothing is answered for long"],
)
def test_nobody_else_leaves_a_silent_group(group: Group, steady: bool) -> None:
    assert group.sees(1000.0, away=True, steady=steady) is None


def test_it_comes_back_a_session_timeout_after_the_first_answer() -> None:
    group = Group()
    group.loses_it()
    group.sees(300.0, away=True, steady=False)
    assert group.sees(1.0, answered=True, steady=False) is None
    assert group.sees(SESSION_S - 1, steady=False) is None
    assert group.sees(1.0, steady=False) is Move.JOIN


def test_a_coordinator_that_was_back_for_a_moment_only_is_waited_for_anew() -> None:
    group = Group()
    group.loses_it()
    assert group.sees(5.0, answered=True, steady=False) is None
    assert group.sees(2.0, away=True, steady=False) is None
    assert group.sees(60.0, away=True, steady=False) is None
    assert group.sees(1.0, answered=True, steady=False) is None
    assert group.sees(SESSION_S, steady=False) is Move.JOIN


def test_the_next_silence_is_judged_anew() -> None:
    group = Group()
    group.loses_it()
    group.sees(1.0, answered=True, steady=False)
    assert group.sees(SESSION_S, steady=False) is Move.JOIN
    assert group.sees(1.0, answered=True) is None
    group.loses_it()
