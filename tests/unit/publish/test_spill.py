"""The spill lends what it holds and forgets it when it is answered; a store that fails or is foreign does no harm."""

from typing import Any

import pytest

from bridge.model import Record
from bridge.publish.spill import FORGET, FORGET_S, PATIENCE_S, RETRY_S, ROW_BYTES, SHRINK_BYTES, Spill
from bridge.publish.store import row
from tests.support.shelf import MemoryStore

NOW_S = 1_790_000_000.0
PLENTY = 1 << 30


def records(start: int, stop: int) -> list[Record]:
    return [(b"K", b"%06d" % n, int(NOW_S * 1000) + n) for n in range(start, stop)]


class Stage:
    """A spill over a store that the test holds, at a moment it sets."""

    def __init__(self, store: MemoryStore | None = None, *, cluster: str = "c1", max_bytes: int = PLENTY) -> None:
        self.store = store or MemoryStore()
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.recovered: list[int] = []
        self.lost: list[tuple[int, int, int, int]] = []
        self.now = 100.0
        self.spill = Spill(
            self.store,
            "ticks",
            max_bytes=max_bytes,
            max_age_s=3600.0,
            log=self._log,
            on_recovered=self.recovered.append,
            on_lost=lambda *loss: self.lost.append(loss),
            wall_s=lambda: NOW_S,
        )
        if cluster:
            self.spill.bind(cluster)
        self.work()

    def _log(self, event: str, /, level: str = "info", **fields: Any) -> None:
        self.lines.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]

    def work(self, seconds: float = 0.0, oldest_turn: int = 0) -> None:
        self.now += seconds
        self.spill.work(self.now, oldest_turn)

    def left(self) -> MemoryStore:
        """Give the store as a killed process leaves it."""
        self.store.is_open = False
        return self.store


def left_behind(*batches: list[Record], topic: str = "ticks", cluster: str = "c1") -> MemoryStore:
    store = MemoryStore(topic, cluster)
    for number, batch in enumerate(batches, 5):
        store.put(batch, number)
    return store


# In and out


def test_what_is_appended_comes_out_in_order() -> None:
    spill = Stage().spill
    assert spill.append(records(0, 3))
    assert spill.append(records(3, 5))
    assert (spill.waiting, spill.read(), spill.waiting, spill.read(), spill.read()) == (
        5, records(0, 3), 2, records(3, 5), (),
    )  # fmt: skip


def test_what_is_read_stays_in_the_store_until_its_turn_is_answered() -> None:
    stage = Stage()
    for at in (0, 3):
        stage.spill.append(records(at, at + 3))
        stage.spill.read()
    stage.spill.handed_over(7, whole=True)
    stage.work(FORGET_S, oldest_turn=7)
    assert len(stage.store.records) == 6
    stage.work(FORGET_S, oldest_turn=8)
    assert (stage.store.records, stage.spill.size) == ([], 0)


def test_a_batch_of_which_a_part_is_still_here_is_not_answered() -> None:
    stage = Stage()
    for at in (0, 3):
        stage.spill.append(records(at, at + 3))
        stage.spill.read()
    stage.spill.handed_over(7, whole=False)
    stage.work(FORGET_S, oldest_turn=100)
    assert stage.store.records == records(3, 6)
    stage.spill.handed_over(101, whole=True)
    stage.work(FORGET_S, oldest_turn=102)
    assert stage.store.records == []


def test_what_came_back_is_not_answered_before_it_was_handed_over_again() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.read()
    stage.spill.handed_over(7, whole=True)
    stage.spill.recall()
    stage.work(FORGET_S, oldest_turn=8)
    assert stage.store.records == records(0, 3)
    stage.spill.handed_over(9, whole=True)
    stage.work(FORGET_S, oldest_turn=10)
    assert stage.store.records == []


def test_answered_batches_are_forgotten_together_not_one_by_one() -> None:
    stage = Stage()
    for at in range(20):
        stage.spill.append(records(at, at + 1))
    writes = stage.store.writes
    for turn in range(10):
        stage.spill.read()
        stage.spill.handed_over(turn, whole=True)
        stage.work(FORGET_S / 11, oldest_turn=turn + 1)
    assert stage.store.writes - writes <= 1


def test_the_spill_takes_no_more_than_its_bytes() -> None:
    size = row(1, records(0, 3)).batch.size + ROW_BYTES
    spill = Stage(max_bytes=2 * size).spill
    assert [spill.append(records(at, at + 3)) for at in (0, 3, 6)] == [True, True, False]
    assert spill.size == 2 * size
    assert spill.trouble == ""
    assert spill.drop() == records(0, 3)
    assert spill.append(records(6, 9))
    assert [spill.read(), spill.read(), spill.read()] == [records(3, 6), records(6, 9), ()]


def test_what_is_answered_makes_room_however_much_it_is() -> None:
    size = row(1, records(0, 3)).batch.size + ROW_BYTES
    stage = Stage(max_bytes=10 * size)
    for at in range(10):
        stage.spill.append(records(at * 3, at * 3 + 3))
    for _ in range(2 * FORGET + 1):
        stage.spill.drop()
    assert stage.spill.append(records(30, 33) * 5)
    assert stage.spill.size <= 10 * size
    assert stage.spill.waiting == 3 + 15


def test_one_turn_forgets_only_a_few_batches() -> None:
    stage = Stage()
    for at in range(2 * FORGET + 1):
        stage.spill.append(records(at, at + 1))
    while stage.spill.drop():
        pass
    left = []
    for _ in range(3):
        stage.work(FORGET_S)
        left.append(len(stage.store.rows))
    assert left == [FORGET + 1, 1, 0]


def test_what_is_prepended_comes_first_in_place_of_what_is_on_loan() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.append(records(3, 6))
    stage.spill.read()
    assert stage.spill.prepend(records(1, 3))
    assert stage.spill.waiting == 5
    again = Stage(stage.left())
    assert [again.spill.read(), again.spill.read(), again.spill.read()] == [records(1, 3), records(3, 6), ()]


def test_many_records_are_prepended_as_several_batches_in_order() -> None:
    stage = Stage()
    stage.spill.append(records(9000, 9001))
    assert stage.spill.prepend(records(0, 9000))
    got: list[Record] = []
    while batch := stage.spill.read():
        got += batch
    assert got == records(0, 9001)


def test_a_large_file_is_shrunk_once_nothing_is_in_it() -> None:
    stage = Stage()
    shrunk: list[int] = []
    stage.store.shrink = lambda: shrunk.append(1)  # type: ignore[method-assign]
    stage.spill.append([(b"K", b"x" * SHRINK_BYTES, 7)])
    stage.work(1.0)
    stage.spill.read()
    stage.spill.handed_over(1, whole=True)
    stage.work(1.0, oldest_turn=2)
    stage.work(1.0, oldest_turn=2)
    assert shrunk == [1]


def test_closing_forgets_what_is_answered() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.append(records(3, 6))
    stage.spill.drop()
    stage.spill.close()
    assert stage.store.records == records(3, 6)
    assert (stage.spill.usable, stage.spill.waiting) == (False, 3)


# What a former process left


def test_what_was_left_is_taken_over_and_comes_first() -> None:
    stage = Stage(left_behind(records(0, 3), records(3, 5)))
    assert stage.recovered == [5]
    stage.spill.append(records(5, 6))
    assert [stage.spill.read() for _ in range(4)] == [records(0, 3), records(3, 5), records(5, 6), ()]


def test_until_the_cluster_is_known_nothing_that_was_left_is_touched() -> None:
    stage = Stage(left_behind(records(0, 3)), cluster="")
    assert (stage.spill.waiting, stage.spill.read(), stage.spill.append(records(5, 6))) == (0, (), False)
    stage.spill.bind("c1")
    assert (stage.recovered, stage.spill.waiting, stage.spill.append(records(5, 6))) == ([3], 3, True)


def test_an_empty_spill_is_used_before_the_cluster_is_known() -> None:
    stage = Stage(cluster="")
    assert stage.spill.append(records(0, 3))
    stage.spill.bind("c1")
    assert (stage.store.cluster, stage.recovered, stage.spill.read()) == ("c1", [], records(0, 3))


def test_a_spill_that_never_met_a_cluster_is_taken_over_by_any() -> None:
    stage = Stage(left_behind(records(0, 3), cluster=""))
    assert (stage.recovered, stage.store.cluster) == ([3], "c1")


def test_hearing_of_the_same_cluster_again_changes_nothing() -> None:
    stage = Stage(left_behind(records(0, 3)))
    stage.spill.bind("c1")
    assert stage.recovered == [3]


@pytest.mark.parametrize(
    ("store", "why", "lost"),
    [
        (left_behind(records(0, 3), topic="other"), "topic", []),
        (left_behind(records(0, 3), cluster="other"), "cluster", []),
        (left_behind([(b"K", b"old", 1000), (b"K", b"older", 2000)]), "age", [(0, 2, 1000, 2000)]),
    ],
)
def test_a_spill_that_is_not_ours_or_too_old_is_set_aside_loudly_and_a_new_one_begun(
    store: MemoryStore, why: str, lost: list[tuple[int, int, int, int]]
) -> None:
    left = len(store.records)
    stage = Stage(store)
    assert store.aside == [(why, left)]
    assert (stage.recovered, stage.lost, stage.spill.waiting) == ([], lost, 0)
    assert stage.events == ["spill_abandoned", "spill_set_aside"]
    assert stage.spill.append(records(5, 6))
    assert (store.topic, store.cluster) == ("ticks", "c1")


def test_an_unreadable_spill_is_set_aside_and_whoever_asks_learns_that_nobody_knows_what_was_in_it() -> None:
    store = left_behind(records(0, 3))
    store.damaged = True
    stage = Stage(store)
    assert (store.aside, stage.recovered) == ([("unreadable", 3)], [])
    assert stage.lost == [(0, 0, 0, int(NOW_S * 1000))]
    assert stage.spill.append(records(5, 6))


def test_a_spill_is_as_old_as_its_newest_tick() -> None:
    stage = Stage(left_behind([(b"K", b"old", 1000)], records(0, 3)))
    assert stage.recovered == [4]


# A store that fails


def test_a_store_that_cannot_be_opened_is_tried_again_later() -> None:
    store = left_behind(records(0, 3))
    store.broken = True
    stage = Stage(store)
    assert (stage.spill.usable, stage.spill.append(records(5, 6)), stage.events) == (False, False, ["spill_unusable"])
    stage.work(RETRY_S)
    store.broken = False
    stage.work(RETRY_S / 2)
    assert stage.recovered == []
    stage.work(RETRY_S / 2)
    assert stage.recovered == [3]


def test_a_failed_write_is_told_once_and_so_is_the_end_of_it() -> None:
    stage = Stage()
    stage.store.full = True
    for _ in range(5):
        assert not stage.spill.append(records(0, 3))
        stage.work(RETRY_S)
    assert stage.events == ["spill_unusable"]
    stage.store.full = False
    assert stage.spill.append(records(0, 3))
    assert stage.events == ["spill_unusable", "spill_usable_again"]
    assert stage.spill.trouble == ""


def test_after_a_failed_write_the_store_is_left_in_peace_for_a_while() -> None:
    stage = Stage()
    stage.store.full = True
    stage.spill.append(records(0, 3))
    stage.store.full = False
    assert not stage.spill.append(records(0, 3))
    stage.work(RETRY_S)
    assert stage.spill.append(records(0, 3))


def test_a_full_disk_can_be_drained() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.append(records(3, 6))
    stage.store.full = True
    assert not stage.spill.append(records(6, 9))
    assert [stage.spill.read(), stage.spill.read()] == [records(0, 3), records(3, 6)]


def test_a_broken_store_is_opened_anew_and_goes_on_where_it_was() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.append(records(3, 6))
    stage.spill.read()
    stage.store.broken = True
    assert (stage.spill.read(), stage.spill.waiting) == ((), 3)
    stage.store.broken = False
    stage.work(RETRY_S)
    assert stage.spill.read() == records(3, 6)
    assert (stage.lost, stage.recovered) == ([], [])


def test_a_write_that_seemed_to_fail_and_did_not_is_undone() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.store.broken = True
    assert not stage.spill.append(records(3, 6))
    stage.store.broken = False
    stage.store.put(records(3, 6), 2)
    stage.work(RETRY_S)
    assert stage.spill.append(records(3, 6))
    assert stage.store.records == records(0, 6)
    assert [stage.spill.read(), stage.spill.read(), stage.spill.read()] == [records(0, 3), records(3, 6), ()]


def test_batches_that_vanished_are_lost_and_counted() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.append(records(3, 6))
    stage.store.broken = True
    stage.spill.read()
    stage.store.broken = False
    del stage.store.rows[1]
    stage.work(RETRY_S)
    assert stage.lost == [(3, 3, records(0, 1)[0][2], records(2, 3)[0][2])]
    assert (stage.spill.waiting, stage.spill.read()) == (3, records(3, 6))


def test_what_cannot_be_read_for_long_is_lost_and_set_aside() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.store.broken = True
    for _ in range(int(PATIENCE_S / RETRY_S) + 2):
        stage.spill.read()
        stage.work(RETRY_S)
    assert stage.lost == [(3, 3, records(0, 1)[0][2], records(2, 3)[0][2])]
    assert (stage.spill.waiting, stage.spill.size) == (0, 0)
    stage.store.broken = False
    stage.work(RETRY_S)
    assert stage.store.aside == [("unreadable", 3)]
    assert stage.spill.append(records(3, 6))


def test_a_damaged_batch_sets_the_file_aside_and_all_that_waited_in_it_is_counted_lost() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.append(records(3, 7))
    stage.store.damaged = True
    assert stage.spill.read() == ()
    assert [loss[:2] for loss in stage.lost] == [(7, 7)]
    stage.work()
    assert stage.store.aside == [("unreadable", 7)]
    assert stage.spill.append(records(7, 8))


def test_a_prepend_that_fails_leaves_what_is_on_loan_there() -> None:
    stage = Stage()
    stage.spill.append(records(0, 3))
    stage.spill.read()
    stage.store.full = True
    assert not stage.spill.prepend(records(1, 3))
    stage.store.full = False
    stage.spill.handed_over(4, whole=True)
    stage.work(RETRY_S, oldest_turn=4)
    assert stage.store.records == records(0, 3)
    stage.work(RETRY_S, oldest_turn=5)
    assert stage.store.records == []
