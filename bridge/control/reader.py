"""The control topic read to its end once, without joining the group: for the operators' commands.

Nothing here is seen by a running bridge: partitions are assigned, not subscribed to, and no offset is committed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from bridge.control.desired import Fold
from bridge.control.kafka import Watch
from bridge.kafka import Log, follower, library_logger, opened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message

    from bridge.settings import Settings

#: Records taken at once, and seconds to wait for some before the clock is looked at.
BATCH, WAIT_S = 1000, 0.1


def read_to_end(settings: Settings, log: Log, timeout_s: float = 30.0) -> tuple[Fold, ...]:
    """Fold every control partition from its beginning to its end and give the folds by partition.

    Raises:
        KafkaUnusable: Kafka refuses us, the topic is missing, or its end was not reached within ``timeout_s``.
        SettingsError: librdkafka does not take the properties.
    """
    topic, group = settings.topics.subscriptions, f"{settings.group_id}-reader"
    watch = Watch(f"reading the topic {topic} as the group {group}")
    consumer = opened(
        Consumer,
        {
            **follower(settings.kafka, group),
            "error_cb": watch,
            "logger": library_logger(log),
        },
    )
    try:
        return _read(consumer, topic, watch, time.monotonic() + timeout_s)
    finally:
        consumer.close()


def _read(consumer: Consumer, topic: str, watch: Watch, deadline: float) -> tuple[Fold, ...]:
    partitions = _partitions(consumer, topic, watch, deadline)
    folds = {number: Fold(number, partitions=len(partitions)) for number in partitions}
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in folds])
    while any(fold.reading for fold in folds.values()):
        if time.monotonic() > deadline:
            raise watch.late(f"the topic {topic} could not be read to its end in time")
        _take(consumer.consume(BATCH, WAIT_S), folds, watch)
        watch.check()
    return tuple(folds[number] for number in sorted(folds))


def _take(batch: Iterable[Message], folds: dict[int, Fold], watch: Watch) -> None:
    for message in batch:
        error, fold = message.error(), folds[message.partition() or 0]
        if error is None:
            fold.apply(message.offset() or 0, message.key(), message.value())
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka spells its own codes so
            fold.caught_up()
        else:
            watch(error)


def _partitions(consumer: Consumer, topic: str, watch: Watch, deadline: float) -> list[int]:
    """Ask for the topic's partitions, in short turns: a refused log-in is reported while we wait."""
    while time.monotonic() < deadline:
        try:
            found = consumer.list_topics(topic, timeout=1.0).topics[topic]
        except KafkaException:
            consumer.poll(0)  # lets the library call `watch`
            watch.check()
            continue
        if found.error is not None:
            watch(found.error)
            watch.check()
        if found.partitions:
            return list(found.partitions)
    raise watch.late(f"no broker said in time which partitions the topic {topic} has")
