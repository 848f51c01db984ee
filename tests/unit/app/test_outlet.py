"""The way out answers for every record, in order, whatever the publisher does."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from bridge.app.outlet import RETRY_S, Outlet
from bridge.model import Record
from bridge.publish.publisher import Publisher
from bridge.settings import load

#: The least that the settings allow: 100 records with the producer, 64 KiB of memory.
HIGH, ROOM = 100, 65_536


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

    @property
    def handed_over(self) -> int:
        return len(self.with_it)

    @property
    def holding(self) -> int:
        return len(self.failed)

    def hand_over(self, records: Sequence[Record]) -> Sequence[Record]:
        self.with_it += records[: self.takes]
        return records[self.takes :]

    def poll(self) -> None:
        while self.answers:
            self.answers.pop(0)()

    def take_returned(self) -> list[Record]:
        returned, self.failed = self.failed, []
        return returned

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

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        settings = load(
            kafka={"bootstrap_servers": "127.0.0.1:1"},
            backpressure={"handed_over_max": HIGH, "queue_max_bytes": ROOM},
        )
        self.outlet = Outlet(settings, self._log, cast("Callable[..., Publisher]", self._make))
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
    return b"key", str(number).zfill(size).encode(), 0


def test_records_go_straight_through_while_there_is_room() -> None:
    stage = Stage()
    stage.offer(10)
    assert stage.numbers == [*range(10)]
    assert stage.outlet.places() == {"handed_over": 10, "returned": 0, "queue": 0}
    assert stage.publisher.more["most"] == HIGH


def test_beyond_the_mark_they_wait_and_go_in_their_order() -> None:
    stage = Stage()
    stage.offer(60)
    stage.offer(60)
    assert stage.outlet.places() == {"handed_over": 100, "returned": 0, "queue": 20}
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
