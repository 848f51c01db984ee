"""What the bridge says of itself, as far as no broker is needed: what librdkafka refuses at once, and for good."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from bridge.control.murmur2 import partition_of
from bridge.errors import KafkaUnusable
from bridge.model import Interrupted, Resumed, Unusable
from bridge.publish.reporter import Reporter
from bridge.settings import KafkaSettings, Settings


def test_a_dead_letter_that_is_too_large_to_be_sent_is_not_waited_for() -> None:
    """Its symbol would never be called invalid."""
    said: list[tuple[str, Any]] = []
    extra: dict[str, str | int | float | bool] = {"message.max.bytes": 1000}
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1", extra=extra))
    reporter = Reporter(settings, "one", lambda event, /, **fields: said.append((event, fields)), partition_of)
    try:
        reporter.dead_letter(Unusable(0, 7, b"AAPL.US", b"x" * 2000, "not_json", "the value is no JSON", 8))
        assert reporter.letters == set()
        ((event, fields),) = [one for one in said if one[0] == "notice_refused"]
        assert (event, fields["topic"]) == ("notice_refused", settings.topics.dead_letters)
    finally:
        reporter.close()


class DeadProducer:
    """A producer that has met a fatal error, which confluent-kafka raises once, out of whatever comes first."""

    def __init__(self, code: int) -> None:
        self._code = code

    def __len__(self) -> int:
        return 3

    def poll(self, _: float) -> int:
        code, self._code = self._code, KafkaError.NO_ERROR
        if code:
            raise KafkaException(KafkaError(code, "at an end", fatal=True))
        return 0

    flush = poll


@pytest.mark.parametrize("asked_at_a_hand_over", [False, True])
@pytest.mark.parametrize(
    ("code", "remedy"),
    [(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "WRITE"), (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "start")],
)
def test_when_nothing_can_be_written_any_more_the_bridge_ends_and_says_why(
    code: int, remedy: str, asked_at_a_hand_over: bool
) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    dead = cast("Producer", DeadProducer(code))
    reporter = Reporter(settings, "one", lambda _, /, **__: None, partition_of, client=lambda _: dead)
    reporter._ends = {}  # nothing is left to be asked for
    try:
        if asked_at_a_hand_over:
            assert reporter.flush(0.0) == 3
        with pytest.raises(KafkaUnusable, match="at an end") as caught:
            reporter.turn()
        assert remedy in caught.value.remedy
    finally:
        reporter.close()


@dataclass
class Refusing:
    """A producer whose records Kafka refuses while ``code`` is one; the answers are heard at the next poll."""

    code: int = KafkaError.TOPIC_AUTHORIZATION_FAILED
    given: list[Any] = field(default_factory=list)
    answers: list[Callable[[], None]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.answers)

    def produce(self, topic: str, value: bytes, key: bytes, _: int, *, on_delivery: Any, headers: Any) -> None:
        self.given.append(json.loads(value))
        error = KafkaError(self.code) if self.code else None
        self.answers.append(lambda: on_delivery(error, Answered(topic, key)))

    def poll(self, _: float) -> int:
        answers, self.answers = self.answers, []
        for answer in answers:
            answer()
        return 0


@dataclass
class Answered:
    """What the producer gives back of a record."""

    topic_: str
    key_: bytes

    def topic(self) -> str:
        return self.topic_

    def key(self) -> bytes:
        return self.key_

    def partition(self) -> int:
        return 0


def test_a_gap_that_kafka_refuses_waits_and_is_written_as_it_stands_then() -> None:
    settings, kafka = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")), Refusing()
    reporter = Reporter(
        settings, "one", lambda _, /, **__: None, partition_of, client=lambda _: cast("Producer", kafka)
    )
    reporter._ends = {}  # nothing is left to be asked for
    try:
        reporter.gaps.interrupted(Interrupted(0, "disconnect", 1, 1, {"A": ("A.US", "")}))
        reporter.write_gaps()
        reporter.gaps.resumed(Resumed(0, 2, 2, frozenset("A")))
        reporter.turn()
        assert reporter.waiting == 1, "the state record must not leave it out"
        kafka.code = KafkaError.NO_ERROR
        reporter.write_gaps(hurry=True)
        reporter.turn()
        assert [one.get("to_us") for one in kafka.given] == [None, 2]
        assert reporter.waiting == 0
    finally:
        reporter.close()


@pytest.mark.parametrize(
    ("code", "times"), [(KafkaError.TOPIC_AUTHORIZATION_FAILED, 2), (KafkaError.MSG_SIZE_TOO_LARGE, 1)]
)
def test_a_dead_letter_that_kafka_refuses_is_written_again_unless_it_never_can_be(code: int, times: int) -> None:
    settings, kafka = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")), Refusing(code)
    reporter = Reporter(
        settings, "one", lambda _, /, **__: None, partition_of, client=lambda _: cast("Producer", kafka)
    )
    reporter._ends = {}
    try:
        reporter.dead_letter(Unusable(0, 7, b"A", b"7", "not_an_object", "", 8))
        assert reporter.letters_before(0, 20) == 7
        reporter.turn()
        assert reporter.letters == set(), "its status may be told meanwhile"
        assert (reporter.letters_before(0, 20), reporter.letters_before(1, 20)) == (7 if times == 2 else 20, 20)
        kafka.code, reporter._letters_at = KafkaError.NO_ERROR, 0.0
        reporter.turn()
        reporter.turn()
        assert (kafka.given, reporter.letters_before(0, 20)) == ([7] * times, 20)
    finally:
        reporter.close()


@pytest.mark.parametrize("leaving", [False, True])
def test_after_a_refusal_gaps_rest_unless_the_partition_leaves(leaving: bool) -> None:
    settings, kafka = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")), Refusing()
    reporter = Reporter(
        settings, "one", lambda _, /, **__: None, partition_of, client=lambda _: cast("Producer", kafka)
    )
    reporter._ends = {}
    try:
        reporter.gaps.interrupted(Interrupted(0, "disconnect", 1, 1, {"A": ("A.US", "")}))
        reporter.write_gaps()
        reporter.turn()
        reporter.write_gaps(hurry=leaving)
        assert len(kafka.given) == (2 if leaving else 1)
    finally:
        reporter.close()
