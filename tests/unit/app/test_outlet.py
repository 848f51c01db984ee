"""The way out answers for every record, in order, whatever the publisher does."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from bridge.app.outlet import RETRY_S, TELL_S, Outlet
from bridge.model import Record
from bridge.publish.ledger import ANY_KEY, Loss
from bridge.publish.publisher import Publisher
from bridge.publish.store import Store
from bridge.settings import load
from tests.support.shelf import MemoryStore

#: The least that the settings allow: 100 records with the producer, 64 KiB of memory.
HIGH, ROOM = 100, 65_536
#: When the record 0 was received; each following one came a millisecond later.
T0_MS = int(time.time() * 1000)


class FakePublisher:
    """Takes what it is given; the test says what became of it."""

    def __init__(self, _: object, topic: str, *, on_trouble: Callable[[str], None], **more: Any) -> None:
        self.topic = topic
        self.more = more
        self.say_trouble = on_trouble
        self.with_it: list[Record] = []
        self.failed: list[Record] = []
        self.published = self.undeliverable = 0
        self.takes = 1_000_000  # at one call, before its own queue is full
        self.answers: list[Callable[[], None]] = []
        self.turn = 0
        self.sinces: dict[bytes, int] = {}

    @property
    def oldest_turn(self) -> int:
        return self.turn if self.with_it or self.failed else self.turn + 1

    @property
    def since_ms(self) -> int | None:
        return min((self.sinces[value] for _, value, _ in self.with_it + self.failed), default=None)

    @property
    def handed_over(self) -> int:
        return len(self.with_it)

    @property
    def holding(self) -> int:
        return len(self.failed)

    def hand_over(self, records: Sequence[Record], since_ms: int) -> Sequence[Record]:
        self.turn += 1
        self.sinces |= dict.fromkeys([value for _, value, _ in records], since_ms)
        self.with_it += records[: self.takes]
        return records[self.takes :]

    def poll(self, _: float = 0) -> None:
        while self.answers:
            self.answers.pop(0)()

    def take_returned(self) -> list[Record]:
        returned, self.failed = self.failed, []
        return returned

    def purge(self) -> None:
        self.fail()

    def deliver(self, number: int) -> None:
        """Have the oldest delivered, as the next poll tells."""

        def happen() -> None:
            del self.with_it[:number]
            self.published += number

        self.answers.append(happen)

    def fail(self) -> None:
        """Have all fail, as the next poll tells."""

        def happen() -> None:
            self.failed, self.with_it = self.with_it, []

        self.answers.append(happen)


class Stage:
    """An outlet before a fake publisher."""

    def __init__(self, store: MemoryStore | None = None, **pressure: object) -> None:
        self.lines: list[tuple[str, str]] = []
        self.store = store or MemoryStore()
        if store:
            pressure["spill_dir"] = "/nowhere"
        settings = load(
            kafka={"bootstrap_servers": "127.0.0.1:1"},
            backpressure={"handed_over_max": HIGH, "queue_max_bytes": ROOM, **pressure},
        )
        make = cast("Callable[..., Publisher]", self._make)
        self.outlet = Outlet(settings, self._log, make, lambda _: self.store)
        self.outlet.bind("c1")
        self.offered = 0

    def _make(self, *arguments: Any, **more: Any) -> FakePublisher:
        self.publisher = FakePublisher(*arguments, **more)
        return self.publisher

    def _log(self, event: str, /, level: str = "info", **_: Any) -> None:
        self.lines.append((event, level))

    def offer(self, number: int, size: int = 10) -> None:
        records = [record(self.offered + index, size) for index in range(number)]
        self.offered += number
        self.outlet.ledger.received += number
        self.outlet.offer(records)

    @property
    def numbers(self) -> list[int]:
        """What is with the publisher."""
        return [int(value) for _, value, _ in self.publisher.with_it]


def record(number: int, size: int = 10) -> Record:
    return b"key", str(number).zfill(size).encode(), T0_MS + number


def test_records_go_straight_through_while_there_is_room() -> None:
    stage = Stage()
    stage.offer(10)
    assert stage.numbers == [*range(10)]
    assert stage.outlet.places() == {"handed_over": 10, "returned": 0, "spill": 0, "queue": 0, "slots": 0}
    assert stage.publisher.more["most"] == HIGH


def test_beyond_the_mark_they_wait_and_go_in_their_order() -> None:
    stage = Stage()
    stage.offer(60)
    stage.offer(60)
    assert stage.outlet.places() == {"handed_over": 100, "returned": 0, "spill": 0, "queue": 20, "slots": 0}
    stage.publisher.deliver(100)
    stage.outlet.move_on(1.0)
    assert stage.numbers == [*range(100, 120)]
    assert stage.outlet.accounts().balanced


def test_what_the_producer_does_not_take_goes_first_next_time() -> None:
    stage = Stage()
    stage.publisher.takes = 4
    stage.offer(10)
    assert stage.numbers == [*range(4)]
    stage.publisher.takes = 1000
    stage.offer(5)
    stage.outlet.move_on(1.0)
    assert stage.numbers == [*range(15)]


def test_what_failed_goes_again_after_a_moment_and_nothing_overtakes_it() -> None:
    stage = Stage()
    stage.offer(5)
    stage.publisher.fail()
    stage.outlet.move_on(10.0)
    stage.offer(5)
    assert stage.numbers == []
    assert stage.outlet.waiting == 10
    stage.outlet.move_on(10.0 + RETRY_S / 2)
    assert stage.numbers == []
    stage.outlet.move_on(10.0 + RETRY_S)
    assert stage.numbers == [*range(10)]


def test_the_oldest_give_way_when_memory_is_full_and_each_is_counted() -> None:
    stage = Stage()
    stage.offer(HIGH)  # with the producer, which delivers nothing
    stage.offer(1000, size=1000)
    accounts = stage.outlet.accounts()
    assert accounts.dropped > 0
    assert accounts.in_flight == HIGH + 1000 - accounts.dropped
    assert accounts.balanced
    assert stage.outlet.queue_bytes <= ROOM
    stage.publisher.deliver(HIGH)
    stage.outlet.move_on(1.0)
    assert stage.numbers == [*range(HIGH + accounts.dropped, HIGH + 1000)]


def test_an_overflow_is_told_once_and_its_end_too_although_no_tick_comes_any_more() -> None:
    stage = Stage()
    for _ in range(3):
        stage.offer(1000)
    assert stage.lines == [("queue_overflows", "error")]
    while stage.outlet.waiting:
        stage.publisher.deliver(stage.publisher.handed_over)
        stage.outlet.move_on(1.0)
    assert stage.lines == [("queue_overflows", "error"), ("queue_drained", "warning")]
    stage.outlet.move_on(2.0)
    assert len(stage.lines) == 2


def test_settled_is_what_was_offered_less_what_waits() -> None:
    stage = Stage()
    stage.offer(2000)
    stage.publisher.deliver(30)
    stage.publisher.undeliverable += 1
    del stage.publisher.with_it[-1]
    stage.outlet.move_on(1.0)
    assert stage.outlet.settled == 2000 - stage.outlet.waiting
    assert stage.outlet.settled > 31  # some were dropped


def test_trouble_lasts_until_kafka_takes_a_record() -> None:
    stage = Stage()
    stage.offer(2)
    stage.publisher.say_trouble("no broker")
    since = stage.outlet.trouble_since
    stage.outlet.move_on(1.0)
    stage.publisher.say_trouble("still none")
    assert (stage.outlet.trouble, stage.outlet.trouble_since) == ("still none", since)
    stage.publisher.deliver(1)
    stage.outlet.move_on(2.0)
    assert stage.outlet.trouble == ""


def test_trouble_is_none_while_nothing_waits() -> None:
    stage = Stage()
    stage.publisher.say_trouble("no broker")
    stage.outlet.move_on(1.0)
    assert stage.outlet.trouble == ""


# Losses


def loss(cause: str, first: int, last: int) -> Loss:
    return Loss(b"key", cause, last - first + 1, (T0_MS + first) * 1000, (T0_MS + last) * 1000 + 999)


def test_what_an_overflow_cost_each_symbol_is_told_at_its_end() -> None:
    stage = Stage()
    stage.offer(HIGH)
    stage.offer(1000, size=1000)
    dropped = stage.outlet.accounts().dropped
    stage.outlet.move_on(1.0)
    assert stage.outlet.take_losses() == []
    while stage.outlet.waiting:
        stage.publisher.deliver(stage.publisher.handed_over)
        stage.outlet.move_on(1.0)
    assert stage.outlet.take_losses() == [loss("overflow", HIGH, HIGH + dropped - 1)]
    assert stage.outlet.take_losses() == []


def test_a_long_overflow_is_told_of_each_minute() -> None:
    stage = Stage()
    stage.outlet.move_on(10.0)
    stage.offer(HIGH)
    for moment in (10.0, 10.0 + TELL_S, 10.0 + 2 * TELL_S):
        before = stage.outlet.accounts().dropped
        stage.offer(500, size=1000)
        stage.outlet.move_on(moment + TELL_S - 0.1)
        assert stage.outlet.take_losses() == []
        stage.outlet.move_on(moment + TELL_S)
        (told,) = stage.outlet.take_losses()
        assert told.lost == stage.outlet.accounts().dropped - before > 0
    assert [event for event, _ in stage.lines] == ["queue_overflows"]


def test_what_an_overflow_cost_is_told_at_a_stop_too() -> None:
    stage = Stage()
    stage.offer(HIGH)
    stage.offer(1000, size=1000)
    stage.outlet.save(0.0)
    assert sum(told.lost for told in stage.outlet.take_losses()) == stage.outlet.accounts().dropped > 0


def test_conflated_ticks_count_as_lost() -> None:
    stage = Stage(policy="conflate")
    stage.offer(HIGH)
    stage.offer(1000, size=1000)
    accounts = stage.outlet.accounts()
    assert (accounts.dropped, accounts.conflated > 0, accounts.balanced) == (0, True, True)
    assert stage.outlet.places()["slots"] == 1
    while stage.outlet.waiting:
        stage.publisher.deliver(stage.publisher.handed_over)
        stage.outlet.move_on(1.0)
    assert sum(told.lost for told in stage.outlet.take_losses()) == accounts.conflated
    assert stage.outlet.settled == HIGH + 1000


def test_an_undeliverable_record_is_told_of_at_once() -> None:
    stage = Stage()
    stage.offer(1)
    stage.publisher.more["on_undeliverable"](record(0))
    assert stage.outlet.take_losses() == [loss("undeliverable", 0, 0)]


def test_block_tells_the_feed_to_stop_reading() -> None:
    stage = Stage(policy="block", block_max_s=5)
    stage.outlet.move_on(10.0)
    stage.offer(HIGH)
    stage.offer(1000, size=1000)
    assert (stage.outlet.blocked, stage.outlet.accounts().dropped) == (True, 0)
    stage.outlet.move_on(15.0)
    assert not stage.outlet.blocked
    assert stage.outlet.accounts().dropped > 0


# Who may not go, and who is given up


def test_while_it_is_held_nothing_is_handed_over() -> None:
    stage = Stage()
    stage.outlet.held = True
    stage.offer(5)
    stage.outlet.move_on(1.0)
    assert stage.numbers == []
    stage.outlet.held = False
    stage.outlet.move_on(2.0)
    assert stage.numbers == [*range(5)]


def test_letting_go_does_not_end_the_pause_after_a_failure() -> None:
    stage = Stage()
    stage.offer(5)
    stage.publisher.fail()
    stage.outlet.move_on(10.0)
    stage.outlet.held = False
    stage.outlet.move_on(10.0 + RETRY_S / 2)
    assert stage.numbers == []


def test_what_was_read_since_a_moment_is_given_up_counted_and_told_of_with_its_cause() -> None:
    stage = Stage()
    stage.outlet.held = True
    stage.offer(5)
    stage.outlet.give_up("lost_ownership", T0_MS + 2)
    assert stage.outlet.accounts().dropped == 3
    assert stage.outlet.waiting == 2
    assert stage.outlet.take_losses() == [loss("lost_ownership", 2, 4)]


def test_what_was_lost_and_not_told_of_is_not_safe() -> None:
    stage = Stage()
    stage.outlet.held = True
    stage.offer(5)
    stage.outlet.give_up("lost_ownership", T0_MS)
    assert stage.outlet.safe_us((T0_MS + 99) * 1000) == T0_MS * 1000
    stage.outlet.take_losses()
    assert stage.outlet.safe_us((T0_MS + 99) * 1000) == (T0_MS + 99) * 1000


# What is safe


def test_safe_is_now_while_nothing_waits() -> None:
    stage = Stage()
    assert stage.outlet.safe_us(T0_MS * 1000 + 77) == T0_MS * 1000 + 77


def test_safe_is_what_came_before_the_oldest_unanswered_record() -> None:
    stage = Stage()
    stage.offer(HIGH + 5)
    now_us = (T0_MS + 5000) * 1000
    assert stage.outlet.safe_us(now_us) == T0_MS * 1000
    stage.publisher.deliver(HIGH)
    stage.outlet.move_on(1.0)
    assert stage.outlet.safe_us(now_us) == (T0_MS + HIGH) * 1000


def test_what_is_synced_on_disk_is_safe_and_stays_so_while_it_is_read_back() -> None:
    stage = Stage(MemoryStore())
    stage.offer(HIGH)
    stage.offer(400, size=1000)
    now_us = (T0_MS + 500) * 1000
    assert stage.outlet.safe_us(now_us) == T0_MS * 1000, "what is with the producer is not on disk"
    stage.publisher.deliver(HIGH)
    stage.outlet.move_on(1.0)
    assert stage.outlet.places() == {"handed_over": HIGH, "returned": 300, "spill": 0, "queue": 0, "slots": 0}
    assert stage.outlet.safe_us(now_us) == now_us
    stage.publisher.fail()
    stage.outlet.move_on(2.0)
    assert stage.outlet.safe_us(now_us) == now_us


def test_when_the_clock_is_set_back_safe_follows_it() -> None:
    stage = Stage()
    stage.outlet.safe_us(2000)
    assert stage.outlet.safe_us(1000) == 1000


# The spill


def test_a_spill_keeps_what_memory_cannot_and_all_of_it_arrives_in_order() -> None:
    stage = Stage(MemoryStore())
    for _ in range(20):
        stage.offer(100, size=1000)
    assert stage.outlet.spill_bytes > 0
    assert stage.outlet.accounts().dropped == 0
    delivered: list[int] = []
    moment = 1.0
    while stage.outlet.waiting:
        delivered += stage.numbers
        stage.publisher.deliver(stage.publisher.handed_over)
        moment += 0.1
        stage.outlet.move_on(moment)
    stage.outlet.move_on(moment + 1)
    assert delivered == [*range(2000)]
    assert (stage.outlet.spill_bytes, stage.store.rows) == (0, {})


def test_a_stop_leaves_in_the_spill_all_that_kafka_does_not_have_and_the_next_process_goes_on_with_it() -> None:
    stage = Stage(MemoryStore())
    for _ in range(20):
        stage.offer(100, size=1000)
    stage.publisher.deliver(30)
    stage.outlet.move_on(1.0)
    assert stage.outlet.save(0.0) == 0
    accounts = stage.outlet.accounts()
    assert (stage.outlet.spilled, accounts.in_flight, accounts.published) == (1970, 1970, 30)
    assert accounts.balanced
    stage.store.is_open = False
    after = Stage(stage.store)
    assert after.outlet.accounts().recovered == 1970
    delivered: list[int] = []
    while after.outlet.waiting:
        after.outlet.move_on(time.monotonic())
        delivered += after.numbers
        after.publisher.deliver(after.publisher.handed_over)
        after.outlet.move_on(time.monotonic())
    assert delivered[:1] == [30]
    assert sorted(set(delivered)) == delivered == [*range(30, 2000)]


def test_a_stop_says_how_many_find_no_place_in_the_spill() -> None:
    stage = Stage(MemoryStore())
    stage.offer(120)
    stage.store.broken = True
    assert stage.outlet.save(0.0) == 120
    assert stage.outlet.accounts().balanced


def test_without_a_spill_a_stop_leaves_everything_where_it_is() -> None:
    stage = Stage()
    stage.offer(120)
    assert stage.outlet.save(0.0) == 120
    assert stage.outlet.places()["handed_over"] == HIGH


def test_records_that_nobody_can_read_any_more_are_dropped_and_may_be_of_any_symbol() -> None:
    stage = Stage(MemoryStore())
    stage.outlet.held = True
    stage.offer(1000, size=1000)
    spilled = stage.outlet.spilled
    stage.store.damaged = True
    stage.outlet.held = False
    stage.outlet.move_on(1.0)
    (told,) = stage.outlet.take_losses()
    assert (told.key, told.cause, told.lost) == (ANY_KEY, "overflow", spilled)
    accounts = stage.outlet.accounts()
    assert (accounts.dropped, accounts.balanced) == (spilled, True)


def test_a_spill_on_a_real_disk_outlives_its_process(tmp_path: Path) -> None:
    stage = Stage(cast("MemoryStore", Store(tmp_path / "spill")))
    stage.offer(1000, size=1000)
    assert stage.outlet.save(0.0) == 0
    after = Stage(cast("MemoryStore", Store(tmp_path / "spill")))
    assert after.outlet.spilled == 1000
    after.outlet.save(0.0)
