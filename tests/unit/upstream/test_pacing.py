"""When a request may be sent: whatever is demanded, the venue's rules hold and nobody starves."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.model import Limits
from bridge.upstream.pacing import SLACK, SLACK_S, SLOT_OPEN_S, SLOT_S, Pacing

WALL = 1_790_000_000.0
GAP = 1.0 * SLACK + SLACK_S
#: The clock of the Unix epoch has this much resolution in a float, and a little more.
EPSILON = 1e-5


def limits(interval: float = 1.0, heartbeat: float = 10.0, partitions: int = 1) -> Limits:
    return Limits(max_symbols=5, request_interval_s=interval, heartbeat_s=heartbeat, partitions=partitions)


@dataclass
class Loop:
    """A loop that sends what is due, as late as ``lateness`` says, and notes when it did."""

    limits: Limits
    partition: int = 0
    wall: float = WALL
    lateness: list[float] = field(default_factory=list)
    now: float = 0.0
    pacing: Pacing = field(init=False)
    requests: list[float] = field(default_factory=list)
    heartbeats: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pacing = Pacing(self.limits, self.partition, self.now)

    def run(self, demands: list[float], until: float) -> Loop:
        """Send a request for each demand, one after the other, and heartbeats, up to ``until``."""
        pending = sorted(demands)
        turns = 0
        while self.now < until:
            turns += 1
            assert turns < 100 * (until + len(demands)), "the loop spins"
            wanted = bool(pending) and pending[0] <= self.now
            self._turn(pending if wanted else [])
            moments = [pending[0]] if pending and pending[0] > self.now else []
            if pending and not moments:
                moments.append(self.pacing.request_at(self.now, self.wall + self.now))
            self.now = max(self.now, min(*moments, self.pacing.next_heartbeat(self.now), until)) + self._late()
        self.waits += [until - demand for demand in pending]
        return self

    def _turn(self, pending: list[float]) -> None:
        if pending and self.pacing.request_at(self.now, self.wall + self.now) <= self.now:
            self.waits.append(self.now - pending.pop(0))
            self.requests.append(self.now)
            self.pacing.sent(self.now)
        elif self.pacing.next_heartbeat(self.now) <= self.now:
            self.heartbeats.append(self.now)
            self.pacing.sent(self.now, heartbeat=True)

    def _late(self) -> float:
        return self.lateness.pop() if self.lateness else 0.0

    @property
    def sent(self) -> list[float]:
        return sorted(self.requests + self.heartbeats)


demands = st.lists(st.floats(0, 60), max_size=25)
lateness = st.lists(st.floats(0, 0.05), max_size=200)


# On one connection


def test_the_first_request_may_go_at_once() -> None:
    assert Pacing(limits(), 0, 7.0).request_at(7.0, WALL) == 7.0


def test_the_next_one_waits_the_interval_and_a_little_more() -> None:
    pacing = Pacing(limits(), 0, 0.0)
    pacing.sent(0.5)
    assert pacing.request_at(0.6, WALL) == pytest.approx(0.5 + GAP)
    assert GAP > 1.0


def test_an_answer_that_took_long_moves_the_next_one_since_the_venue_counts_from_when_it_had_the_request() -> None:
    pacing = Pacing(limits(), 0, 0.0)
    pacing.sent(0.5)
    pacing.answered(0.9)
    assert pacing.request_at(1.0, WALL) == pytest.approx(1.9)
    pacing.answered(0.2)
    assert pacing.request_at(1.0, WALL) == pytest.approx(1.9)


def test_nothing_goes_in_the_interval_before_a_heartbeat() -> None:
    pacing = Pacing(limits(), 0, 0.0)
    last = 10.0 - GAP
    assert pacing.request_at(last, WALL) == last
    assert pacing.request_at(last + 0.001, WALL) == pytest.approx(10.0 + GAP)
    assert pacing.next_heartbeat(last + 0.001) == 10.0


def test_a_heartbeat_that_is_overdue_goes_before_any_request() -> None:
    pacing = Pacing(limits(), 0, 0.0)
    assert pacing.next_heartbeat(12.5) == 12.5
    assert pacing.request_at(12.5, WALL) == pytest.approx(12.5 + GAP)


def test_a_heartbeat_keeps_its_distance_from_what_went_before() -> None:
    pacing = Pacing(limits(), 0, 0.0)
    pacing.sent(9.8)
    assert pacing.next_heartbeat(10.0) == pytest.approx(9.8 + GAP)


@given(demands, st.floats(0.01, 4.7), st.floats(5, 15), lateness)
def test_any_two_messages_are_the_interval_apart_heartbeats_are_on_time_and_nobody_starves(
    demands: list[float], interval: float, heartbeat: float, late: list[float]
) -> None:
    gap = interval * SLACK + SLACK_S
    assume(2 * gap <= heartbeat)
    loop = Loop(limits(interval, heartbeat), lateness=late).run(demands, 60 + 4 * gap * len(demands) + 20)
    assert all(later - earlier >= interval for earlier, later in pairwise(loop.sent))
    assert all(later - earlier <= heartbeat + 0.06 for earlier, later in pairwise([0.0, *loop.heartbeats]))
    assert len(loop.requests) == len(demands)
    assert all(later - earlier >= heartbeat - EPSILON for earlier, later in pairwise(loop.heartbeats))


@given(st.floats(0, 100))
def test_a_lone_request_never_waits_longer_than_a_heartbeat_takes(demand: float) -> None:
    assert max(Loop(limits()).run([demand], 120).waits) <= 2 * GAP + EPSILON


# Slower


def test_each_too_fast_doubles_the_wait_up_to_a_bound_and_consent_ends_it() -> None:
    pacing = Pacing(limits(heartbeat=1e6), 0, 0.0)
    waits = []
    for now in range(0, 800, 100):
        pacing.slow_down(float(now))
        waits.append(round((pacing.request_at(float(now), WALL) - now) / GAP))
    assert waits == [2, 4, 8, 16, 32, 32, 32, 32]
    pacing.eased()
    pacing.slow_down(1000.0)
    assert pacing.request_at(1000.0, WALL) == pytest.approx(1000 + 2 * GAP)


def test_a_hold_holds_requests_and_leaves_heartbeats_alone() -> None:
    loop = Loop(limits())
    loop.pacing.hold(33.0)
    loop.run([1.0, 2.0], 60)
    assert loop.requests[0] >= 33.0
    assert loop.heartbeats[:3] == [10.0, 20.0, 30.0]


def test_the_longer_of_two_holds_holds() -> None:
    pacing = Pacing(limits(heartbeat=1e6), 0, 0.0)
    pacing.hold(60.0)
    pacing.hold(20.0)
    pacing.slow_down(1.0)
    assert pacing.request_at(1.0, WALL) == 60.0


def test_a_hold_is_kept_even_where_a_heartbeat_is_late() -> None:
    pacing = Pacing(limits(), 0, 0.0)
    pacing.hold(60.0)
    assert pacing.request_at(12.0, WALL) > 12.0


# In time slots


def slot_of(wall: float, partitions: int) -> tuple[int, float]:
    """Give whose slot it is and how far into it we are (contract, guarantee 3)."""
    return int(wall // SLOT_S) % partitions, wall % SLOT_S


def in_own_slot(wall: float, partition: int, partitions: int) -> bool:
    """Tell whether a request of ``partition`` may go, give or take the resolution of the clock."""
    whose, into = slot_of(wall + EPSILON, partitions)
    return whose == partition and into < SLOT_OPEN_S + 2 * EPSILON


@st.composite
def shares(draw: st.DrawFn) -> tuple[int, int]:
    partitions = draw(st.integers(2, 8))
    return draw(st.integers(0, partitions - 1)), partitions


@given(shares(), demands, lateness, st.floats(0, 100))
def test_in_slots_requests_keep_to_their_windows_heartbeats_are_never_late_and_nobody_starves(
    share: tuple[int, int], demands: list[float], late: list[float], phase: float
) -> None:
    partition, partitions = share
    turn_s = SLOT_S * partitions
    until = 60 + 2 * turn_s * (len(demands) + 1)
    loop = Loop(limits(partitions=partitions), partition, WALL + phase, late).run(demands, until)
    assert all(in_own_slot(loop.wall + at, partition, partitions) for at in loop.requests)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(loop.sent))
    assert all(later - earlier <= 10.06 for earlier, later in pairwise([0.0, *loop.heartbeats]))
    assert len(loop.requests) == len(demands)


@given(shares(), st.floats(0, 60), st.floats(0, 100))
def test_in_slots_a_lone_request_waits_two_turns_at_most(share: tuple[int, int], demand: float, phase: float) -> None:
    partition, partitions = share
    loop = Loop(limits(partitions=partitions), partition, WALL + phase).run([demand], 150)
    assert max(loop.waits) <= 2 * SLOT_S * partitions


@given(shares(), st.integers(1, 7), st.floats(0, 100), st.floats(0, 100))
def test_requests_of_two_partitions_are_never_less_than_three_seconds_apart(
    share: tuple[int, int], step: int, one: float, two: float
) -> None:
    partition, partitions = share
    other = (partition + step) % partitions
    assume(other != partition)
    first = Pacing(limits(partitions=partitions), partition, one).request_at(one, WALL + one)
    second = Pacing(limits(partitions=partitions), other, two).request_at(two, WALL + two)
    assert abs(first - second) >= 3.0 - EPSILON


def test_a_heartbeat_comes_early_rather_than_cost_a_slot() -> None:
    # Two partitions, ours is the second: its window opens at 3.5, 10.5, 17.5 ... and the heartbeat is due at 10.
    pacing = Pacing(limits(partitions=2), 1, 0.0)
    base = 7.0 * 1000
    assert pacing.request_at(5.0, base + 5.0) == pytest.approx(10.5)
    assert pacing.next_heartbeat(5.0) == pytest.approx(10.5 - GAP)


def test_a_slot_that_the_heartbeat_leaves_no_room_in_is_passed_by() -> None:
    pacing = Pacing(limits(partitions=2), 1, 0.5)
    base = 7.0 * 1000
    assert pacing.request_at(10.4, base + 10.4) == pytest.approx(17.5)
    assert pacing.next_heartbeat(10.4) == 10.5
