"""A standby and a silent coordinator: who asks first when it is back."""

from dataclasses import dataclass

import pytest

from bridge.control.deference import SILENT_SHARE, Deference
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
        self.deference = Deference(SESSION_S, holds=self.holds)
        self.leaves(0.0, answered=True)

    def leaves(self, seconds: float, *, answered: bool = False, steady: bool = True) -> bool:
        """Let so many seconds pass, show statistics, and tell whether that makes it leave."""
        self.now += seconds
        self.standing.seen_at, self.standing.steady = self.now, steady
        if answered:
            self.standing.answered_at = self.now
        return self.deference.leaves(self.standing, standby=self.standby)

    def returns(self, seconds: float, *, answered: bool) -> bool:
        """Let so many seconds pass, ask Kafka, and tell whether that makes it come back."""
        self.now += seconds
        return self.deference.returns(self.now, answered=answered)


@pytest.fixture
def away() -> Group:
    """A standby that has left for the coordinator's silence."""
    group = Group()
    assert group.leaves(PATIENCE_S + 1)
    assert group.deference.aside
    return group


def test_a_standby_whose_heartbeats_are_answered_stays() -> None:
    group = Group()
    assert not any(group.leaves(1.0, answered=True) for _ in range(30))
    assert not group.leaves(PATIENCE_S)
    assert not group.deference.aside


@pytest.mark.parametrize(
    ("group", "steady"),
    [(Group(holds=False), True), (Group(standby=False), True), (Group(), False)],
    ids=["nobody holds a connection", "an owner", "a rebalance, in which nothing is answered for long"],
)
def test_nobody_else_leaves_a_silent_group(group: Group, steady: bool) -> None:
    assert not group.leaves(1000.0, steady=steady)


def test_it_comes_back_when_kafka_has_answered_for_a_session_timeout(away: Group) -> None:
    assert not away.returns(300.0, answered=False)
    assert not away.returns(1.0, answered=True)
    assert not away.returns(SESSION_S - 1, answered=True)
    assert away.returns(1.0, answered=True)
    assert not away.deference.aside


def test_a_kafka_that_was_back_for_a_moment_only_is_waited_for_anew(away: Group) -> None:
    assert not away.returns(1.0, answered=True)
    assert not away.returns(SESSION_S - 1, answered=False)
    assert not away.returns(1.0, answered=True)
    assert not away.returns(SESSION_S - 1, answered=True)
    assert away.returns(1.0, answered=True)


def test_the_next_silence_is_judged_anew(away: Group) -> None:
    away.returns(1.0, answered=True)
    assert away.returns(SESSION_S, answered=True)
    assert not away.leaves(1.0, answered=True)
    assert away.leaves(PATIENCE_S + 1)
    assert not away.returns(SESSION_S, answered=True)
