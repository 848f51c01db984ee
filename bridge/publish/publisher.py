"""The one door to the Kafka producer: idempotent, acks=all, never gives up on a record by itself.

Each record's fate comes back through one shared callback while the owner's thread is in ``poll``. What finally fails
comes back to the owner, in order, to be put at the head of the path again, unless Kafka can never take it (too large):
that is ``undeliverable``. How much waits is bounded by the path's marks; how long is not bounded at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bridge.model import Record
from bridge.settings import KafkaSettings

#: What guarantees 6 and 7 rest on; settings may not touch these.
_FIXED: dict[str, str | int | float | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,
    "partitioner": "murmur2_random",
}
#: What may be changed with KAFKA__EXTRA.
_DEFAULTS: dict[str, str | int | float | bool] = {
    "linger.ms": 5,
    "compression.type": "lz4",
    "batch.size": 1_000_000,
    "queue.buffering.max.kbytes": 1_048_576,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 30_000,
}

#: One delivery in 64 is timed, and the last of a row.
SAMPLE = 63

#: A record that Kafka refuses with one of these it will refuse for ever.
_NEVER = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)


class Publisher:
    """Hands records to Kafka; ``handed_over`` of them have no answer yet.

    ``on_latency`` hears how many seconds a delivery took, for some of them; ``on_trouble`` hears why Kafka cannot be
    reached or refuses us. Both run on the thread that polls.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, *, most: int, logger: logging.Logger,
        on_latency: Callable[[float], None], on_trouble: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._topic = topic
        self._on_latency = on_latency
        self._on_trouble = on_trouble
        # Room for what the path hands over, and as much again for what failed and is still to be told.
        config = {**_DEFAULTS, **kafka.as_librdkafka(), **_FIXED, "queue.buffering.max.messages": most * 2}
        self._producer = Producer({**config, "error_cb": self._error, "logger": logger})
        self.handed_over = 0
        self.published = 0
        self.undeliverable = 0
        self._returned: list[Record] = []

    def hand_over(self, records: Sequence[Record]) -> Sequence[Record]:
        """Give records to the producer, in order; return those it has not taken, for the head of the path."""
        produce, topic, delivered = self._producer.produce, self._topic, self._delivered
        taken = 0
        skipped = 0
        try:
            for key, value, timestamp in records:
                produce(topic, value, key, -1, None, delivered, timestamp)
                taken += 1
        except BufferError:
            pass
        except KafkaException as error:
            if error.args[0].code() in _NEVER:
                skipped = 1
            else:
                self._on_trouble(_text(error.args[0]))
        self.handed_over += taken
        self.undeliverable += skipped
        return records[taken + skipped :]

    def poll(self, timeout_s: float = 0) -> None:
        """Take Kafka's answers; every callback runs in here."""
        self._producer.poll(timeout_s)

    def take_returned(self) -> list[Record]:
        """Give the records that finally failed, in order, once nothing later is still under way."""
        if not self._returned or self.handed_over:
            return []
        returned, self._returned = self._returned, []
        return returned

    @property
    def holding(self) -> int:
        """How many records failed and wait here for those under way."""
        return len(self._returned)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self.handed_over -= 1
        if error is None:
            self.published += 1
            if not self.published & SAMPLE or not self.handed_over:
                self._on_latency(message.latency() or 0.0)
        elif error.code() in _NEVER:
            self.undeliverable += 1
        else:
            self._on_trouble(_text(error))
            self._returned.append((message.key() or b"", message.value() or b"", message.timestamp()[1]))

    def _error(self, error: KafkaError) -> None:
        self._on_trouble(_text(error))


def _text(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"
