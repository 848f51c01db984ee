"""The publisher answers for every record: published, undeliverable, under way or returned in order."""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SettingsError
from bridge.model import Record
from bridge.publish import publisher as module
from bridge.publish.publisher import Client, Publisher
from bridge.settings import KafkaSettings

TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE
NO_ACCESS = KafkaError.TOPIC_AUTHORIZATION_FAILED
PURGED, FATAL, GAP = KafkaError._PURGE_QUEUE, KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE

LOGGER = logging.Logger("librdkafka")  # noqa: LOG001  outside the hierarchy, as the real one

Report = Callable[[KafkaError | None, "Answered"], None]


@dataclass
class Answered:
    """What a delivery report says about its record: of one that failed the time is gone."""

    record: Record
    seconds: float | None = 0.25
    failed: bool = False

    def key(self) -> bytes:
        return self.record[0]

    def value(self) -> bytes:
        return self.record[1]

    def timestamp(self) -> tuple[int, int]:
        return (0, -1) if self.failed else (1, self.record[2])

    def latency(self) -> float | None:
        return self.seconds


@dataclass
class FakeProducer:
    """A producer whose answers the test gives, in any order; they are heard at the next poll."""

    config: dict[str, Any]
    taken: list[tuple[Record, Report]] = field(default_factory=list)
    refusals: dict[bytes, Exception] = field(default_factory=dict)  # by value: what `produce` raises
    answers: deque[Callable[[], None]] = field(default_factory=deque)
    purges: list[dict[str, bool]] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)

    def produce(  # noqa: PLR0917  as the real one is called
        self, topic: str, value: bytes, key: bytes, partition: int, callback: Report, on_delivery: None, timestamp: int
    ) -> None:
        assert (partition, on_delivery) == (-1, None)
        if value in self.refusals:
            raise self.refusals[value]
        self.topics.add(topic)
        self.taken.append(((key, value, timestamp), callback))

    def poll(self, timeout: float) -> int:
        while self.answers:
            self.answers.popleft()()
        return 0

    def purge(self, *, in_flight: bool, blocking: bool) -> None:
        self.purges.append({"in_flight": in_flight, "blocking": blocking})

    def answer(self, *values: bytes, code: int | None = None, seconds: float | None = 0.25) -> None:
        """Say how these records fared: delivered, or failed with `code`."""
        error = None if code is None else KafkaError(code)
        for value in values:
            at = next(index for index, (record, _) in enumerate(self.taken) if record[1] == value)
            record, report = self.taken.pop(at)
            answered = Answered(record, seconds, error is not None)
            self.answers.append(lambda report=report, answered=answered: report(error, answered))  # type: ignore[misc]

    def die(self, code: int = GAP) -> None:
        """Meet a fatal error, which confluent-kafka raises out of `poll`."""

        def raise_it() -> None:
            raise KafkaException(KafkaError(code, "at an end", fatal=True))

        self.answers.append(raise_it)


class Listener(logging.Handler):
    """Notes the lines of a log."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


class Stage:
    """A publisher before fake producers, of which `producer` is the newest."""

    def __init__(
        self, most: int = 1000, extra: Mapping[str, str | float | bool] | None = None, client: Client | None = None
    ) -> None:
        self.producers: list[FakeProducer] = []
        self.latencies: list[float] = []
        self.trouble: list[str] = []
        self.undeliverable: list[Record] = []
        self.publisher = Publisher(
            # Past the checks of the settings, which refuse some of these properties themselves.
            KafkaSettings.model_construct(bootstrap_servers="127.0.0.1:1", extra=dict(extra or {})),
            "ticks",
            most=most,
            logger=LOGGER,
            on_latency=self.latencies.append,
            on_trouble=self.trouble.append,
            on_undeliverable=self.undeliverable.append,
            client=client or self._client,
        )

    def _client(self, config: dict[str, Any]) -> Producer:
        self.producers.append(FakeProducer(config))
        return cast(Producer, self.producers[-1])

    @property
    def producer(self) -> FakeProducer:
        return self.producers[-1]

    def hand_over(self, *values: bytes) -> list[bytes]:
        """Hand records over and give the values of those that were not taken."""
        return [value for _, value, _ in self.publisher.hand_over(records(*values))]

    def answer(self, *values: bytes, code: int | None = None, seconds: float | None = 0.25) -> None:
        self.producer.answer(*values, code=code, seconds=seconds)
        self.publisher.poll()

    def take_returned(self) -> list[bytes]:
        return [value for _, value, _ in self.publisher.take_returned()]

    @property
    def counts(self) -> tuple[int, int, int, int]:
        publisher = self.publisher
        return publisher.handed_over, publisher.holding, publisher.published, publisher.undeliverable


def records(*values: bytes) -> list[Record]:
    return [(b"700.HK", value, 1_790_000_000_298) for value in values]


# Settings


def test_what_the_guarantees_rest_on_is_set() -> None:
    found = Stage().producer.config
    assert (found["acks"], found["enable.idempotence"], found["message.timeout.ms"]) == ("all", True, 0)
    assert (found["partitioner"], found["enable.gapless.guarantee"]) == ("murmur2_random", True)


@pytest.mark.parametrize(
    "name", ["delivery.report.only.error", "enable.gapless.guarantee", "queue.buffering.max.messages"]
)
def test_no_setting_reaches_what_the_accounts_and_the_order_rest_on(name: str) -> None:
    assert Stage(extra={name: "nonsense"}).producer.config[name] != "nonsense"


def test_other_properties_can_be_set() -> None:
    assert Stage().producer.config["linger.ms"] == 5
    assert Stage(extra={"linger.ms": 50}).producer.config["linger.ms"] == 50


def test_a_property_that_librdkafka_does_not_have_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"linger\.mss"):
        Stage(extra={"linger.mss": 50}, client=Producer)


def test_the_log_does_not_complain_about_our_own_choice() -> None:
    lines: list[str] = []
    LOGGER.addHandler(Listener(lines))
    stage = Stage(extra={"log.thread.name": False, "fetch.min.bytes": 2}, client=Producer)
    stage.publisher.poll()
    assert [line for line in lines if "fetch.min.bytes" in line], "a property for consumers is news"
    assert not [line for line in lines if "gapless" in line]


def test_a_producer_has_room_for_what_is_handed_over_and_for_as_many_answers() -> None:
    assert Stage(most=700).producer.config["queue.buffering.max.messages"] == 1400


# Records that go well


def test_records_are_handed_over_in_order_to_the_topic() -> None:
    stage = Stage()
    assert stage.hand_over(b"1", b"2", b"3") == []
    assert [record for record, _ in stage.producer.taken] == records(b"1", b"2", b"3")
    assert stage.producer.topics == {"ticks"}
    assert stage.counts == (3, 0, 0, 0)


def test_a_record_is_published_once_kafka_says_so() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2")
    stage.answer(b"2")
    assert stage.counts == (1, 0, 1, 0)


def test_the_last_delivery_of_a_row_is_timed() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2")
    stage.answer(b"1", b"2", seconds=0.5)
    assert stage.latencies == [0.5]


def test_one_delivery_in_64_is_timed() -> None:
    stage = Stage()
    values = [b"%d" % number for number in range(200)]
    stage.hand_over(*values)
    stage.answer(*values[:-1])
    assert len(stage.latencies) == 3


def test_a_delivery_whose_time_is_not_known_counts_as_instant() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.answer(b"1", seconds=None)
    assert stage.latencies == [0.0]


def test_handing_over_nothing_is_allowed() -> None:
    stage = Stage()
    assert stage.hand_over() == []
    assert stage.counts == (0, 0, 0, 0)


# Records that the producer does not take


def test_records_that_find_no_room_are_given_back() -> None:
    stage = Stage()
    stage.producer.refusals[b"3"] = BufferError()
    assert stage.hand_over(b"1", b"2", b"3", b"4") == [b"3", b"4"]
    assert stage.counts == (2, 0, 0, 0)


def test_a_record_too_large_for_the_producer_is_undeliverable_and_the_rest_goes_on() -> None:
    stage = Stage()
    stage.producer.refusals[b"2"] = KafkaException(KafkaError(TOO_LARGE))
    assert stage.hand_over(b"1", b"2", b"3") == []
    assert [record[1] for record, _ in stage.producer.taken] == [b"1", b"3"]
    assert stage.counts == (2, 0, 0, 1)


def test_thousands_of_records_too_large_are_undeliverable_one_by_one() -> None:
    stage = Stage()
    values = [b"%d" % number for number in range(5000)]
    stage.producer.refusals = dict.fromkeys(values[:-1], KafkaException(KafkaError(TOO_LARGE)))
    assert stage.hand_over(*values) == []
    assert stage.counts == (1, 0, 0, 4999)


def test_records_that_the_producer_refuses_for_another_reason_are_given_back_and_the_trouble_is_told() -> None:
    stage = Stage()
    stage.producer.refusals[b"2"] = KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
    assert stage.hand_over(b"1", b"2", b"3") == [b"2", b"3"]
    assert stage.counts == (1, 0, 0, 0)
    assert stage.trouble == ["_UNKNOWN_TOPIC: Local: Unknown topic"]


# Records that finally fail


def test_a_record_that_finally_fails_is_held_until_nothing_is_under_way() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2")
    stage.answer(b"1", code=NO_ACCESS)
    assert stage.counts == (1, 1, 0, 0)
    assert stage.take_returned() == []
    stage.answer(b"2")
    assert stage.take_returned() == [b"1"]
    assert stage.counts == (0, 0, 1, 0)


def test_records_come_back_whole_and_only_once() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.answer(b"1", code=NO_ACCESS)
    assert stage.publisher.take_returned() == records(b"1")
    assert stage.publisher.take_returned() == []


def test_failed_records_come_back_in_the_order_they_were_given_in() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2", b"3")
    stage.hand_over(b"4", b"5", b"6")
    stage.answer(b"6", b"4", b"3", code=NO_ACCESS)
    stage.answer(b"5", b"2")
    stage.answer(b"1", code=NO_ACCESS)
    assert stage.take_returned() == [b"1", b"3", b"4", b"6"]


def test_of_two_equal_records_as_many_come_back_as_failed() -> None:
    stage = Stage()
    stage.hand_over(b"same", b"same", b"other")
    stage.answer(b"same")
    stage.answer(b"other", b"same", code=NO_ACCESS)
    assert stage.take_returned() == [b"same", b"other"]


def test_the_trouble_is_told_once_for_all_that_fail_together() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2", b"3")
    stage.answer(b"1", b"2", b"3", code=NO_ACCESS)
    assert stage.trouble == ["TOPIC_AUTHORIZATION_FAILED: Broker: Topic authorization failed"]


def test_a_publisher_that_never_met_a_fatal_error_keeps_its_producer() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.answer(b"1", code=NO_ACCESS)
    assert stage.hand_over(*stage.take_returned()) == []
    assert len(stage.producers) == 1


def test_the_clients_own_complaints_are_told() -> None:
    stage = Stage()
    stage.producer.config["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert stage.trouble == ["_ALL_BROKERS_DOWN: 1/1 brokers are down"]


# A producer at its end


def test_a_fatal_error_ends_the_producer_and_the_next_one_takes_over_when_all_is_answered() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2", b"3")
    stage.producer.die()
    stage.answer(b"1", code=NO_ACCESS)
    assert stage.hand_over(b"4") == [b"4"], "while answers are to come"
    stage.answer(b"2", b"3", code=PURGED)
    assert stage.hand_over(b"4") == [b"4"], "before what failed is taken back"
    returned = stage.take_returned()
    assert returned == [b"1", b"2", b"3"]
    assert stage.hand_over(*returned, b"4") == []
    assert len(stage.producers) == 2
    assert [record[1] for record, _ in stage.producer.taken] == [b"1", b"2", b"3", b"4"]


def test_a_producer_at_its_end_gives_up_what_it_has_queued_but_not_what_is_in_flight() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.publisher.poll()
    assert stage.producer.purges == []
    stage.producer.die()
    stage.publisher.poll()
    assert stage.producer.purges == [{"in_flight": False, "blocking": False}]
    stage.answer(b"1", code=PURGED)
    stage.publisher.poll()
    assert len(stage.producer.purges) == 1, "nothing is left to purge"


def test_a_fatal_error_is_told_and_purging_is_not() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.producer.die()
    stage.publisher.poll()
    stage.answer(b"1", code=PURGED)
    assert stage.trouble == ["_GAPLESS_GUARANTEE: at an end"]


def test_a_producer_that_refuses_records_because_it_is_at_its_end_is_replaced() -> None:
    stage = Stage()
    stage.producer.refusals[b"1"] = KafkaException(KafkaError(FATAL))
    assert stage.hand_over(b"1") == [b"1"]
    assert stage.hand_over(b"1") == []
    assert len(stage.producers) == 2


def test_an_idle_publisher_makes_no_producer_after_producer() -> None:
    stage = Stage()
    stage.producer.die()
    for _ in range(10):
        stage.publisher.poll()
    assert len(stage.producers) == 1


def test_a_new_producer_has_the_settings_of_the_old() -> None:
    stage = Stage(extra={"linger.ms": 77})
    stage.producer.die()
    stage.publisher.poll()
    stage.hand_over(b"1")
    assert stage.producers[1].config == stage.producers[0].config


# What Kafka refuses for ever


def refuse_batch(stage: Stage, *values: bytes) -> None:
    """Refuse a batch as a broker and librdkafka do together: the batch fails, and with it the producer."""
    stage.producer.die()
    stage.answer(*values, code=TOO_LARGE)
    stage.publisher.poll()


def test_a_refused_batch_is_sent_again_in_smaller_ones_until_each_record_is_alone() -> None:
    stage = Stage()
    seen = []
    values = [b"1", b"2"]
    for _ in module._BATCHES[1:]:
        assert stage.hand_over(*values) == []
        refuse_batch(stage, *values)
        assert stage.take_returned() == values
    stage.hand_over(*values)
    seen = [(each.config.get("batch.size"), each.config.get("batch.num.messages")) for each in stage.producers]
    assert seen == [(1_000_000, None), (65_536, None), (4_096, None), (1_000_000, 1)]


def test_a_record_that_is_refused_alone_is_undeliverable_and_the_others_go_on() -> None:
    stage = Stage()
    values = [b"1", b"2", b"3"]
    for _ in module._BATCHES[1:]:
        stage.hand_over(*values)
        refuse_batch(stage, *values)
        stage.take_returned()
    stage.hand_over(*values)
    stage.producer.die()
    stage.answer(b"1")
    stage.answer(b"2", code=TOO_LARGE)
    stage.answer(b"3", code=PURGED)
    assert stage.take_returned() == [b"3"]
    stage.hand_over(b"3")
    stage.answer(b"3")
    assert stage.counts == (0, 0, 2, 1)
    assert stage.producer.config["batch.num.messages"] == 1


def test_batches_stay_as_they_are_after_any_other_end() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.producer.die()
    stage.answer(b"1", code=NO_ACCESS)
    stage.hand_over(*stage.take_returned())
    assert stage.producer.config["batch.size"] == 1_000_000


def test_batches_grow_again_step_by_step_once_many_records_went_well() -> None:
    stage = Stage()
    for _ in module._BATCHES[1:]:
        stage.hand_over(b"1", b"2")
        refuse_batch(stage, b"1", b"2")
        stage.take_returned()
    stage.hand_over(b"1", b"2")
    sizes = []
    for _ in range(len(module._BATCHES)):
        stage.publisher.published += module.GROW_AFTER
        assert stage.hand_over(b"3") in ([b"3"], []), "not while answers are to come"
        stage.answer(*[record[1] for record, _ in stage.producer.taken])
        assert stage.hand_over() == []
        sizes.append((stage.producer.config.get("batch.size"), stage.producer.config.get("batch.num.messages")))
    assert sizes == [(4_096, None), (65_536, None), (1_000_000, None), (1_000_000, None)]
    assert stage.publisher.handed_over == 0


def test_nothing_overtakes_what_is_under_way_while_batches_grow() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2")
    refuse_batch(stage, b"1", b"2")
    stage.take_returned()
    stage.hand_over(b"1")
    stage.publisher.published += module.GROW_AFTER
    assert stage.hand_over(b"2") == [b"2"]
    producers = len(stage.producers)
    stage.answer(b"1")
    assert stage.hand_over(b"2") == []
    assert len(stage.producers) == producers + 1


def test_who_asks_hears_of_each_undeliverable_record() -> None:
    stage = Stage()
    stage.producer.refusals[b"2"] = KafkaException(KafkaError(TOO_LARGE))
    stage.hand_over(b"1", b"2")
    stage.answer(b"1")
    for _ in module._BATCHES[1:]:
        stage.hand_over(b"3", b"4")
        refuse_batch(stage, b"3", b"4")
        stage.take_returned()
    stage.hand_over(b"3")
    stage.producer.die()
    stage.answer(b"3", code=TOO_LARGE)
    stage.publisher.poll()
    assert stage.undeliverable == records(b"2", b"3")


# Turns


def test_the_oldest_turn_is_the_one_with_the_oldest_unanswered_record() -> None:
    stage = Stage()
    assert stage.publisher.oldest_turn == stage.publisher.turn + 1
    stage.hand_over(b"1", b"2")
    stage.hand_over(b"3")
    stage.hand_over(b"4")
    first = stage.publisher.turn - 2
    assert stage.publisher.oldest_turn == first
    stage.answer(b"1", b"3")
    assert stage.publisher.oldest_turn == first
    stage.answer(b"2")
    assert stage.publisher.oldest_turn == first + 2
    stage.answer(b"4")
    assert stage.publisher.oldest_turn == first + 3


def test_a_turn_of_which_something_failed_is_not_answered_until_that_is_taken_back() -> None:
    stage = Stage()
    stage.hand_over(b"1")
    stage.answer(b"1", code=NO_ACCESS)
    assert stage.publisher.oldest_turn == stage.publisher.turn
    stage.take_returned()
    assert stage.publisher.oldest_turn == stage.publisher.turn + 1


def test_since_when_is_of_the_oldest_turn_that_is_not_answered() -> None:
    stage = Stage()
    hand_over = stage.publisher.hand_over
    assert stage.counts == (0, 0, 0, 0)
    hand_over([(b"K", b"1", 1000), (b"K", b"2", 1001)])
    hand_over([(b"K", b"3", 500)], 9999)  # the disk has what is older
    assert stage.publisher.since_ms == 1000
    stage.answer(b"1")
    assert stage.publisher.since_ms == 1000
    stage.answer(b"2")
    assert stage.publisher.since_ms == 9999
    stage.answer(b"3", code=NO_ACCESS)
    assert stage.publisher.since_ms == 9999
    stage.take_returned()
    assert stage.publisher.since_ms is None


def test_a_turn_of_which_nothing_was_taken_is_none() -> None:
    stage = Stage()
    stage.producer.refusals[b"1"] = BufferError()
    assert stage.hand_over(b"1") == [b"1"]
    assert (stage.publisher.oldest_turn, stage.publisher.since_ms) == (stage.publisher.turn + 1, None)


def test_at_the_end_everything_comes_back_even_what_is_in_flight_and_that_is_no_trouble() -> None:
    stage = Stage()
    stage.hand_over(b"1", b"2")
    stage.publisher.purge()
    assert stage.producer.purges == [{"in_flight": True, "blocking": False}]
    stage.answer(b"2", code=KafkaError._PURGE_QUEUE)
    stage.answer(b"1", code=KafkaError._PURGE_INFLIGHT)
    assert stage.take_returned() == [b"1", b"2"]
    assert stage.trouble == []


# Whatever happens


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_whatever_fails_and_however_often_every_record_is_accounted_for_and_in_order(
    turns: Sequence[tuple[int, bool]], chance: Any
) -> None:
    stage = Stage()
    waiting: list[bytes] = []
    given_in = 0
    for count, fatal in turns:
        waiting += [b"%04d" % number for number in range(given_in, given_in + count)]
        given_in += count
        waiting = stage.hand_over(*waiting)
        under_way = [record[1] for record, _ in stage.producer.taken]
        if fatal:
            stage.producer.die()
        answered = chance.sample(under_way, chance.randint(0, len(under_way)))
        delivered = chance.randint(0, len(answered))
        stage.answer(*answered[:delivered])
        stage.answer(*answered[delivered:], code=PURGED if fatal else NO_ACCESS)
        returned = stage.take_returned()
        assert returned == sorted(returned)
        waiting = returned + waiting
        handed_over, holding, published, undeliverable = stage.counts
        assert handed_over == len(stage.producer.taken)
        assert handed_over + holding + published + undeliverable + len(waiting) == given_in
