"""The path loses nothing without saying so, never reorders, keeps to its bounds and gives way as its policy says."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.model import Record
from bridge.publish.backpressure import BATCH, BATCH_BYTES, NEVER_MS, OVERHEAD, READ_BACK, SOON_S, Path, Policy, cost

PLENTY = 1_000_000
T0_MS = 1_790_000_000_000
KEY = b"700.HK"


def record(number: int, size: int = 0, key: bytes = KEY) -> Record:
    return key, b"%06d" % number + b"x" * size, T0_MS + number


def records(start: int, stop: int) -> list[Record]:
    return [record(number) for number in range(start, stop)]


def numbers(some: Sequence[Record]) -> list[int]:
    return [timestamp - T0_MS for _, _, timestamp in some]


#: What a record of these tests takes while it waits.
EACH = cost(record(0))


class FakeDisk:
    """A disk of lists; ``room`` batches find place on it."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.batches: list[list[Record]] = []
        self.loans: list[list[Record]] = []
        self.usable = True
        self.readable = True
        self.told: list[object] = []

    @property
    def waiting(self) -> int:
        return sum(map(len, self.batches))

    @property
    def contents(self) -> list[list[int]]:
        return [numbers(batch) for batch in self.batches]

    def append(self, some: Sequence[Record]) -> bool:
        if not self.usable or len(self.batches) + len(self.loans) >= self.room:
            return False
        self.batches.append([*some])
        return True

    def prepend(self, some: Sequence[Record]) -> bool:
        if self.usable:
            self.batches[:0] = [[*some]] if some else []
            self.loans.clear()
        return self.usable

    def read(self) -> Sequence[Record]:
        if not self.readable or not self.batches:
            return ()
        self.loans.append(self.batches.pop(0))
        return self.loans[-1]

    def drop(self) -> Sequence[Record]:
        return self.batches.pop(0) if self.batches and self.readable else ()

    def handed_over(self, turn: int, *, whole: bool) -> None:
        self.told.append((turn, whole))

    def recall(self) -> None:
        self.told.append("recall")


class Lost:
    """Notes what gave way."""

    def __init__(self) -> None:
        self.dropped: list[int] = []
        self.conflated: list[int] = []

    def __call__(self, account: str, some: Sequence[Record]) -> None:
        getattr(self, account).extend(numbers(some))


def full_path(policy: Policy, lost: Lost, room: int = 5, block_max_s: float = 0.0) -> Path:
    """Make a path whose memory has room for so many records, of which none may go."""
    path = Path(10, room * EACH, policy, on_lost=lost, block_max_s=block_max_s)
    path.held = True
    return path


def offer(path: Path, *some: Record, now: float = 0.0) -> None:
    """Offer records one by one, as turns do."""
    for each in some:
        path.offer([each], 0)
        path.relieve(now)


def test_a_record_costs_its_key_its_value_and_what_holds_them() -> None:
    assert cost((b"abc", b"12345", 7)) == 3 + 5 + OVERHEAD


# Who may go


def test_records_go_straight_through_while_nothing_waits() -> None:
    path = Path(10, PLENTY)
    some = records(0, 5)
    assert path.offer(some, 0) is some
    assert (len(path), path.queue_bytes) == (0, 0)


def test_what_would_pass_the_mark_waits_and_the_rest_goes() -> None:
    path = Path(10, PLENTY)
    assert numbers(path.offer(records(0, 8), 6)) == [0, 1, 2, 3]
    assert (len(path), path.queue_bytes) == (4, 4 * EACH)


def test_nothing_goes_once_the_mark_is_reached_until_the_low_mark_is() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 10), 0)
    assert path.take(10) == []
    assert path.offer(records(10, 11), 9) == []
    assert path.take(6) == []
    assert numbers(path.take(5)) == [10]


def test_the_mark_counts_as_reached_by_the_records_that_went_straight_through() -> None:
    path = Path(10, PLENTY)
    assert numbers(path.offer(records(0, 10), 0)) == list(range(10))
    assert path.offer(records(10, 11), 9) == []


def test_the_low_mark_reached_records_go_straight_through_again() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 10), 0)
    assert path.take(5) == []
    some = records(10, 14)
    assert path.offer(some, 5) is some


def test_what_waits_goes_before_anything_newer() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 12), 0)
    assert numbers(path.offer(records(12, 14), 4)) == [10, 11, 12, 13]


def test_nothing_at_all_goes_while_the_path_is_held() -> None:
    path = Path(10, PLENTY)
    path.held = True
    assert path.offer(records(0, 3), 0) == []
    assert path.take(0) == []
    path.held = False
    assert numbers(path.take(0)) == [0, 1, 2]


def test_what_is_put_back_goes_first_and_in_its_order() -> None:
    path = Path(10, PLENTY)
    path.offer(records(0, 15), 0)
    path.put_back(records(7, 10))
    assert path.queue_bytes == 8 * EACH
    assert path.places() == {"returned": 3, "spill": 0, "queue": 5, "slots": 0}
    assert numbers(path.take(0)) == [7, 8, 9, 10, 11, 12, 13, 14]


def test_putting_nothing_back_changes_nothing() -> None:
    path = Path(10, PLENTY)
    path.put_back([])
    assert (len(path), path.queue_bytes) == (0, 0)


# What gives way


def test_drop_oldest_gives_up_the_oldest() -> None:
    lost = Lost()
    path = full_path("drop_oldest", lost)
    offer(path, *records(0, 7))
    assert lost.dropped == [0, 1]
    path.held = False
    assert numbers(path.take(0)) == [2, 3, 4, 5, 6]


def test_nothing_is_dropped_that_could_go() -> None:
    lost = Lost()
    path = Path(10, 2 * EACH, on_lost=lost)
    assert numbers(path.offer(records(0, 12), 0)) == list(range(10))
    path.relieve(0.0)
    assert (lost.dropped, len(path)) == ([], 2)


def test_a_record_that_no_memory_can_hold_is_dropped_itself() -> None:
    lost = Lost()
    path = full_path("drop_oldest", lost, room=1)
    offer(path, record(0, size=1))
    assert (lost.dropped, len(path), path.queue_bytes) == ([0], 0, 0)


def test_what_came_back_is_the_oldest_that_gives_way() -> None:
    lost = Lost()
    path = Path(4, 2 * EACH, on_lost=lost)
    path.offer(records(0, 6), 0)
    path.held = True
    path.put_back(records(0, 4))
    offer(path, record(6))
    assert lost.dropped == [0, 1, 2, 3, 4]
    path.held = False
    assert numbers(path.take(0)) == [5, 6]


def test_drop_newest_gives_up_what_came_last() -> None:
    lost = Lost()
    path = full_path("drop_newest", lost)
    offer(path, *records(0, 7))
    assert lost.dropped == [5, 6]
    path.held = False
    assert numbers(path.take(0)) == [0, 1, 2, 3, 4]


def test_conflate_keeps_the_newest_of_each_symbol_and_the_order_of_each() -> None:
    lost = Lost()
    path = full_path("conflate", lost, room=2)
    keys = [b"A", b"B"]
    offer(path, *(record(n, key=keys[n % 2]) for n in range(8)))
    assert lost.conflated == [2, 3, 4, 5]
    assert path.places() == {"returned": 0, "spill": 0, "queue": 2, "slots": 2}
    path.held = False
    assert numbers(path.take(0)) == [0, 1, 6, 7]
    assert lost.dropped == []


def test_a_slot_whose_record_no_memory_can_hold_goes_too() -> None:
    path = full_path("conflate", Lost(), room=1)
    offer(path, record(0, size=1))
    assert path.places()["slots"] == 1
    path.held = False
    assert numbers(path.take(0)) == [0]


def test_slots_go_back_into_the_queue_only_when_half_of_it_is_free() -> None:
    path = full_path("conflate", Lost(), room=4)
    offer(path, *records(0, 5))
    path.held = False
    for left in (3, 2):
        path.take(9)  # one
        path._paused = False
        assert path.places()["slots"] == 1, left
        path.relieve(1.0)
    assert path.places() == {"returned": 0, "spill": 0, "queue": 3, "slots": 0}


def test_what_came_back_does_not_push_older_records_into_the_slots_of_newer_ones() -> None:
    lost = Lost()
    path = full_path("conflate", lost, room=2)
    offer(path, *records(2, 5))
    path.put_back(records(0, 2))
    path.relieve(1.0)
    path.held = False
    assert numbers(path.take(0)) == [0, 1, 2, 3, 4]
    assert lost.conflated == []


def test_block_tells_the_reader_to_stop_and_loses_nothing() -> None:
    lost = Lost()
    path = full_path("block", lost, room=4, block_max_s=8.0)
    offer(path, *records(0, 6), now=100.0)
    path.relieve(107.9)
    assert path.blocked
    assert (lost.dropped, len(path)) == ([], 6)


def test_the_reader_goes_on_when_half_of_the_memory_is_free() -> None:
    path = full_path("block", Lost(), room=4, block_max_s=8.0)
    offer(path, *records(0, 6), now=100.0)
    path.held = False
    path.take(7)  # three go, three stay
    path.relieve(101.0)
    assert path.blocked
    path._paused = False
    path.take(8)
    path.relieve(102.0)
    assert not path.blocked


def test_after_its_longest_block_becomes_drop_oldest_until_nothing_waits() -> None:
    lost = Lost()
    path = full_path("block", lost, room=4, block_max_s=8.0)
    offer(path, *records(0, 5), now=100.0)
    path.relieve(108.0)
    assert (path.blocked, lost.dropped) == (False, [0])
    offer(path, record(5), now=109.0)
    assert (path.blocked, lost.dropped) == (False, [0, 1])
    path.held = False
    path.take(0)
    path.relieve(110.0)
    path.held, path._paused = True, False
    offer(path, *records(10, 15), now=120.0)
    assert path.blocked


def test_the_time_of_several_blocks_in_one_overflow_adds_up() -> None:
    lost = Lost()
    path = full_path("block", lost, room=4, block_max_s=8.0)
    offer(path, *records(0, 5), now=100.0)
    path.held = False
    path.take(7)
    path.relieve(105.0)  # half is free
    assert (path.blocked, lost.dropped) == (False, [])
    path.held = True
    offer(path, *records(5, 8), now=106.0)
    assert path.blocked
    path.relieve(109.0)
    assert (path.blocked, lost.dropped) == (False, [3])


# With a disk


def spilling(disk: FakeDisk, policy: Policy = "drop_oldest", lost: Lost | None = None, high: int = 10) -> Path:
    path = Path(high, 3 * EACH, policy, disk=disk, on_lost=lost or Lost(), block_max_s=1.0)
    path.held = True
    return path


def test_full_memory_goes_to_the_disk_and_nothing_is_lost() -> None:
    disk, lost = FakeDisk(), Lost()
    path = spilling(disk, lost=lost)
    offer(path, *records(0, 4))
    assert disk.contents == [[0, 1, 2, 3]]
    assert path.places() == {"returned": 0, "spill": 4, "queue": 0, "slots": 0}
    assert (path.queue_bytes, lost.dropped) == (0, [])


def test_while_something_waits_on_the_disk_what_comes_follows_soon_and_not_at_once() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    offer(path, *records(0, 5), now=100.0)
    assert disk.contents == [[0, 1, 2, 3]]
    path.relieve(100.0 + SOON_S)
    assert disk.contents == [[0, 1, 2, 3], [4]]


def test_much_follows_at_once() -> None:
    disk = FakeDisk()
    path = Path(10, PLENTY * 100, disk=disk)
    disk.append([record(0)])
    path.held = True
    offer(path, record(1), now=100.0)
    path.offer([record(2, size=BATCH_BYTES)], 0)
    path.relieve(100.01)
    assert disk.contents == [[0], [1], [2]]


def test_one_turn_writes_one_batch() -> None:
    disk = FakeDisk()
    path = Path(10, EACH, disk=disk)
    path.held = True
    path.offer([record(0)] * (BATCH + 5), 0)
    path.relieve(0.0)
    assert [len(batch) for batch in disk.batches] == [BATCH]


def test_the_disk_is_read_before_the_queue_and_after_the_head() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    offer(path, *records(2, 8))
    path.put_back(records(0, 2))
    path.held = False
    assert numbers(path.take(0)) == [*range(8)]


def test_a_batch_too_large_for_the_room_stays_at_the_head_in_part() -> None:
    disk = FakeDisk()
    path = spilling(disk, high=6)
    offer(path, *records(0, 5))
    path.held = False
    assert numbers(path.take(3)) == [0, 1, 2]
    path.handed_over(7)
    assert disk.told == [(7, False)]
    assert path.places() == {"returned": 1, "spill": 0, "queue": 1, "slots": 0}
    assert numbers(path.take(3)) == [3, 4]
    path.handed_over(8)
    assert disk.told == [(7, False), (8, True)]


def test_what_comes_back_is_not_called_handed_over_until_it_is_all_gone() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    offer(path, *records(0, 4))
    path.held = False
    path.put_back(path.take(0)[2:])
    path.handed_over(7)
    assert disk.told == ["recall"]
    path.take(0)
    path.handed_over(8)
    assert disk.told == ["recall", (8, True)]


def test_nothing_overtakes_a_batch_that_cannot_be_read() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    offer(path, *records(0, 5))
    path.held, disk.readable = False, False
    assert path.take(0) == []
    disk.readable = True
    assert numbers(path.take(0)) == [0, 1, 2, 3, 4]


def test_one_turn_reads_back_no_more_than_its_share() -> None:
    disk = FakeDisk()
    path = Path(READ_BACK * 3, PLENTY, disk=disk)
    disk.batches = [[record(0)] * BATCH for _ in range(5)]
    assert len(path.take(0)) == READ_BACK


def test_with_a_full_disk_drop_oldest_gives_up_the_disks_oldest_batch() -> None:
    disk, lost = FakeDisk(room=1), Lost()
    path = spilling(disk, lost=lost)
    offer(path, *records(0, 8))
    assert (lost.dropped, disk.contents) == ([0, 1, 2, 3], [[4, 5, 6, 7]])


def test_a_disk_is_not_robbed_while_memory_has_room() -> None:
    disk, lost = FakeDisk(room=1), Lost()
    path = spilling(disk, lost=lost)
    offer(path, *records(0, 5))
    path.relieve(1000.0)
    assert (lost.dropped, disk.contents) == ([], [[0, 1, 2, 3]])


@pytest.mark.parametrize("spoil", [lambda disk: setattr(disk, "usable", False), lambda disk: disk.loans.append([])])
def test_with_a_disk_that_takes_nothing_and_gives_nothing_up_memory_does(spoil: Callable[[FakeDisk], None]) -> None:
    disk, lost = FakeDisk(room=1), Lost()
    spoil(disk)
    path = spilling(disk, lost=lost)
    offer(path, *records(0, 5))
    assert lost.dropped == [0, 1]


def test_drop_newest_leaves_a_full_disk_alone() -> None:
    disk, lost = FakeDisk(room=1), Lost()
    path = spilling(disk, "drop_newest", lost)
    offer(path, *records(0, 9))
    assert (lost.dropped, disk.contents) == ([7, 8], [[0, 1, 2, 3]])


def test_conflate_leaves_a_full_disk_alone() -> None:
    disk, lost = FakeDisk(room=1), Lost()
    path = spilling(disk, "conflate", lost)
    offer(path, *records(0, 9))
    assert (lost.conflated, disk.contents) == ([7], [[0, 1, 2, 3]])


def test_block_gives_up_the_disks_oldest_only_when_its_time_is_up() -> None:
    disk, lost = FakeDisk(room=1), Lost()
    path = spilling(disk, "block", lost)
    offer(path, *records(0, 8), now=100.0)
    assert (path.blocked, lost.dropped) == (True, [])
    path.relieve(101.0)
    assert (path.blocked, lost.dropped, disk.contents) == (False, [0, 1, 2, 3], [[4, 5, 6, 7]])


def test_a_blocked_reader_goes_on_when_the_disk_takes_records_again() -> None:
    disk = FakeDisk()
    disk.usable = False
    path = spilling(disk, "block")
    offer(path, *records(0, 4), now=100.0)
    assert path.blocked
    disk.usable = True
    path.relieve(100.5)
    assert (path.blocked, disk.contents) == (False, [[0, 1, 2, 3]])


# Moments


def test_since_when_is_told_of_what_was_taken_unless_the_disk_has_it_too() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    offer(path, *records(0, 5))
    path.held = False
    assert numbers(path.take(6)) == [0, 1, 2, 3]
    assert path.since_ms == NEVER_MS
    path._paused = False
    assert numbers(path.take(6)) == [4]
    assert path.since_ms == T0_MS + 4
    path.put_back(records(1, 3))
    path._paused = False
    path.take(6)
    assert path.since_ms == T0_MS + 1


def test_a_batch_that_goes_straight_through_tells_since_when() -> None:
    path = Path(10, PLENTY)
    path.offer(records(3, 5), 0)
    assert path.since_ms == T0_MS + 3


def test_the_oldest_moment_is_of_what_only_memory_has() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    assert path.oldest_ms() == NEVER_MS
    offer(path, *records(1, 6))
    assert path.oldest_ms() == T0_MS + 5
    path.held = False
    path.take(8)
    assert path.oldest_ms() == T0_MS + 5, "the rest of the batch is on the disk"
    path.put_back(records(1, 2))
    assert path.oldest_ms() == T0_MS + 1


def test_the_oldest_moment_may_be_in_a_slot() -> None:
    path = full_path("conflate", Lost(), room=1)
    offer(path, *(record(n, key=key) for n, key in enumerate([b"A", b"B", b"C", b"B"], 1)))
    path.held = False
    path.take(9)
    assert path.places() == {"returned": 0, "spill": 0, "queue": 0, "slots": 2}
    assert path.oldest_ms() == T0_MS + 3


# The end


def test_giving_up_takes_what_came_since_a_moment_and_leaves_the_rest() -> None:
    path = full_path("conflate", Lost(), room=2)
    offer(path, *records(2, 5))
    path.put_back(records(0, 2))
    assert numbers(path.give_up(T0_MS + 3)) == [3, 4]
    assert len(path) == 3


def test_saving_moves_everything_to_the_disk_in_order() -> None:
    disk = FakeDisk()
    path = spilling(disk)
    offer(path, *records(2, 7))
    path.put_back(records(0, 2))
    path.save(0.0)
    assert disk.contents == [[0, 1], [2, 3, 4, 5], [6]]
    assert (path.places()["returned"], path.places()["queue"], path.queue_bytes) == (0, 0, 0)


def test_saving_leaves_in_memory_what_the_disk_does_not_take() -> None:
    disk = FakeDisk(room=1)
    path = spilling(disk)
    offer(path, *records(0, 5))
    path.save(0.0)
    assert (disk.contents, path.places()["queue"]) == ([[0, 1, 2, 3]], 1)


def test_without_a_disk_saving_changes_nothing() -> None:
    path = full_path("drop_oldest", Lost())
    offer(path, record(1))
    path.put_back(records(0, 1))
    path.save(0.0)
    assert path.places() == {"returned": 1, "spill": 0, "queue": 1, "slots": 0}


class PathAndKafka(RuleBasedStateMachine):
    """A path with a producer behind it that acknowledges, refuses and fails at random.

    Records carry numbers: whatever happens, Kafka gets them in ascending order, and each one that it does not get was
    counted as dropped.
    """

    @initialize(high=st.integers(1, 12), room=st.integers(1, 12))
    def start(self, high: int, room: int) -> None:
        self.high = high
        self.max_bytes = room * EACH
        self.path = Path(high, self.max_bytes, on_lost=self.lose)
        self.offered = 0
        self.gone: list[int] = []
        self.under_way: list[Record] = []
        self.acknowledged: list[int] = []
        self.reached = False  # the mark was, and the low mark was not since
        self.just_offered = False

    def lose(self, account: str, some: Sequence[Record]) -> None:
        assert account == "dropped"
        self.gone += numbers(some)

    def line(self) -> list[Record]:
        return [*self.path._head, *self.path._queue]

    def waiting(self) -> list[int]:
        return numbers(self.line())

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
        before = [*self.line(), *new]
        go = self.path.offer(new, len(self.under_way))
        assert list(go) == before[: len(go)]
        assert self.line() == before[len(go) :]
        self.hand_over(go, accepts)
        before = self.line()
        gone = len(self.gone)
        self.path.relieve(0.0)
        dropped = before[: len(self.gone) - gone]
        assert self.gone[gone:] == numbers(dropped)
        if dropped:
            assert self.path.queue_bytes + cost(dropped[-1]) > self.max_bytes, "the last one dropped had room"
        assert self.path.queue_bytes <= self.max_bytes

    @rule(accepts=st.integers(0, 20))
    def take(self, accepts: int) -> None:
        before = self.line()
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
        assert len(line) + len(self.gone) == self.offered
        assert len(self.path) == len(self.waiting())
        assert self.path.queue_bytes == sum(map(cost, self.line()))


TestPathAndKafka = PathAndKafka.TestCase
TestPathAndKafka.settings = settings(max_examples=60, stateful_step_count=40)
