"""Control records written, each acknowledged by every in-sync replica: for the operators' commands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer

from bridge.control.kafka import Watch
from bridge.kafka import Log, library_logger, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

    from bridge.settings import Settings

#: The partition that the key's hash names.
BY_KEY = -1

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def write(
    settings: Settings,
    log: Log,
    pairs: Sequence[tuple[bytes, bytes | None]],
    *,
    partition: int = BY_KEY,
    headers: Mapping[str, str] = NO_HEADERS,
    timeout_s: float = 10.0,
) -> Sequence[tuple[int, int]]:
    """Write keys and values in order; once all are acknowledged, give the partition and the offset of each.

    Without ``partition``, keys are spread by murmur2, as every Java client does. Every record bears ``headers``.

    Raises:
        KafkaUnusable: Kafka refuses us, or has not acknowledged everything within ``timeout_s``.
        SettingsError: librdkafka does not take the properties.
    """
    topic = settings.topics.subscriptions
    watch = Watch(f"writing the topic {topic}", may="WRITE and DESCRIBE")
    properties = {
        **settings.kafka.as_librdkafka(),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 0,
        "message.timeout.ms": round(timeout_s * 1000),
        "error_cb": watch,
        "logger": library_logger(log),
    }
    places: dict[int, tuple[int, int]] = {}

    def note(number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            places[number] = message.partition() or 0, message.offset() or 0
        else:
            watch(error)

    producer = opened(Producer, properties)
    for number, (key, value) in enumerate(pairs):
        noted = partial(note, number)
        producer.produce(topic, value, key, partition, on_delivery=noted, headers=list(headers.items()))
    deadline = time.monotonic() + timeout_s
    while len(producer) and time.monotonic() < deadline:
        try:
            producer.flush(0.1)
        except KafkaException as error:  # a user who may write nowhere gets no producer id, which is fatal
            watch(error.args[0])
        watch.check()
    if len(places) < len(pairs):
        producer.purge()
        raise watch.late(f"{len(pairs) - len(places)} of {len(pairs)} records for {topic} were not acknowledged")
    return [places[number] for number in range(len(pairs))]
