"""The path loses nothing without saying so, never reorders, keeps to its bounds and drops the oldest."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.model import Record
from bridge.publish.backpressure import OVERHEAD, Path, cost

PLENTY = 1_000_000


def record(number: int, size: int = 0) -> Record:
    return b"700.HK", b"%06d" % number + b"x" * size, 1_790_000_000_000 + number


def records(start: int, stop: int) -> list[Record]:
    return [record(number) for number in range(start, stop)]


def numbers(some: Sequence[Record]) -> list[int]:
    return [timestamp - 1_790_000_000_000 for _, _, timestamp in some]


#: What a record of these tests takes while it waits.
EACH = cost(record(0))


def test_a_record_costs_its_key_its_value_and_what_holds_them() -> None:
    assert cost((b"abc", b"12345", 7)) == 3 + 5 + OVERHEAD


def test_records_go_straight_through_while_nothing_waits() -> None:
    path = Path(10, PLENTY)
    some = records(0, 5)
    assert path.offer(some, 0) == (some, 0)
    assert (len(path), path.queue_bytes) == (0, 0)


def test_what_would_pass_the_mark_waits_and_the_rest_goes() -> None:
    path = Path(10, PLENTY)
    go, dropped = path.offer(records(0, 8), 6)
    assert (numbers(go), dropped) == ([0, 1, 2, 3], 0)
    assert (len(path), path.queue_bytes) == (4, 4 * EACH)


def test_nothing_goes_once_the_mark_is_reached_until_the_low_mark_is() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 10), 0)
    assert path.take(10) == []
    assert path.offer(records(10, 11), 9) == ([], 0)
    assert path.take(6) == []
    assert numbers(path.take(5)) == [10]


def test_the_mark_counts_as_reached_by_the_records_that_went_straight_through() -> None:
    path = Path(10, PLENTY)
    assert numbers(path.offer(records(0, 10), 0)[0]) == list(range(10))
    assert path.offer(records(10, 11), 9) == ([], 0)


def test_the_low_mark_reached_records_go_straight_through_again() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 10), 0)
    assert path.take(5) == []
    some = records(10, 14)
    assert path.offer(some, 5)[0] is some


def test_what_waits_goes_before_anything_newer() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 12), 0)
    go, _ = path.offer(records(12, 14), 4)
    assert numbers(go) == [10, 11, 12, 13]


def test_nothing_at_all_goes_while_the_path_is_held() -> None:
    path = Path(10, PLENTY)
    path.held = True
    assert path.offer(records(0, 3), 0) == ([], 0)
    assert path.take(0) == []
    path.held = False
    assert numbers(path.take(0)) == [0, 1, 2]


def test_a_full_queue_gives_up_its_oldest_and_says_how_many() -> None:
    path = Path(10, 5 * EACH)
    path.held = True
    path.offer(records(0, 4), 0)
    assert path.offer(records(4, 7), 0) == ([], 2)
    path.held = False
    assert numbers(path.take(0)) == [2, 3, 4, 5, 6]


def test_nothing_is_dropped_that_could_go() -> None:
    path = Path(10, 2 * EACH)
    go, dropped = path.offer(records(0, 12), 0)
    assert (numbers(go), dropped, len(path)) == (list(range(10)), 0, 2)


def test_a_record_that_no_queue_can_hold_is_dropped_itself() -> None:
    path = Path(10, EACH)
    path.held = True
    assert path.offer([record(0, size=1)], 0) == ([], 1)
    assert (len(path), path.queue_bytes) == (0, 0)


def test_what_is_put_back_goes_first_and_in_its_order() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 15), 0)
    path.put_back(records(7, 10))
    assert path.queue_bytes == 8 * EACH
    assert numbers(path.take(0)) == [7, 8, 9, 10, 11, 12, 13, 14]


def test_what_is_put_back_into_a_full_queue_is_the_oldest_that_gives_way_next() -> None:
    path = Path(4, 2 * EACH)
    path.offer(records(0, 6), 0)
    path.held = True
    path.put_back(records(0, 4))
    assert len(path) == 6
    assert path.offer(records(6, 7), 0) == ([], 5)
    path.held = False
    assert numbers(path.take(0)) == [5, 6]


def test_putting_nothing_back_changes_nothing() -> None:
    path = Path(10, PLENTY)
    path.put_back([])
    assert (len(path), path.queue_bytes) == (0, 0)


class PathAndKafka(RuleBasedStateMachine):
    """A path with a producer behind it that acknowledges, refuses and fails at random.

    Records carry numbers: whatever happens, Kafka gets them in ascending order, and each one that it does not get was
    counted as dropped.
    """

    @initialize(high=st.integers(1, 12), room=st.integers(1, 12))
    def start(self, high: int, room: int) -> None:
        self.high = high
        self.max_bytes = room * EACH
        self.path = Path(high, self.max_bytes)
        self.offered = 0
        self.dropped = 0
        self.under_way: list[Record] = []
        self.acknowledged: list[int] = []
        self.reached = False  # the mark was, and the low mark was not since
        self.just_offered = False

    def waiting(self) -> list[int]:
        return numbers(list(self.path._queue))

    def hand_over(self, go: Sequence[Record], accepts: int) -> None:
        before = len(self.under_way)
        if go:
            assert not self.path.held
            assert not (self.reached and before > self.high // 2)
            assert before + len(go) <= self.high
            self.reached = before + len(go) >= self.high
        self.under_way += go[:accepts]
        self.path.put_back(go[accepts:])

    @rule(sizes=st.lists(st.sampled_from([0, 0, 0, 50, 400]), max_size=15), accepts=st.integers(0, 20))
    def offer(self, sizes: list[int], accepts: int) -> None:
        new = [record(self.offered + index, size) for index, size in enumerate(sizes)]
        self.offered += len(new)
        before = [*self.path._queue, *new]
        go, dropped = self.path.offer(new, len(self.under_way))
        assert list(go) == before[: len(go)]
        gone = before[len(go) : len(go) + dropped]
        assert list(self.path._queue) == before[len(go) + dropped :]
        if gone:
            assert self.path.queue_bytes + cost(gone[-1]) > self.max_bytes, "the last one dropped had room"
        assert self.path.queue_bytes <= self.max_bytes
        self.dropped += dropped
        self.hand_over(go, accepts)

    @rule(accepts=st.integers(0, 20))
    def take(self, accepts: int) -> None:
        before = list(self.path._queue)
        go = self.path.take(len(self.under_way))
        assert list(go) == before[: len(go)]
        if not self.path.held and len(self.under_way) <= self.high // 2:
            assert len(go) == min(len(before), self.high - len(self.under_way)), "something could go and did not"
        self.hand_over(go, accepts)

    @precondition(lambda self: self.under_way)
    @rule(count=st.integers(1, 20))
    def acknowledge(self, count: int) -> None:
        self.acknowledged += numbers(self.under_way[:count])
        del self.under_way[:count]

    @precondition(lambda self: self.under_way)
    @rule()
    def fail(self) -> None:
        """Everything under way fails and comes back; the owner holds the path for a while."""
        self.path.held = True
        self.path.put_back(self.under_way)
        self.under_way = []

    @rule()
    def let_go(self) -> None:
        self.path.held = False

    @invariant()
    def everything_is_somewhere_and_in_order(self) -> None:
        line = [*self.acknowledged, *numbers(self.under_way), *self.waiting()]
        assert line == sorted(set(line))
        assert len(line) + self.dropped == self.offered
        assert len(self.path) == len(self.waiting())
        assert self.path.queue_bytes == sum(map(cost, self.path._queue))


TestPathAndKafka = PathAndKafka.TestCase
TestPathAndKafka.settings = settings(max_examples=60, stateful_step_count=40)
