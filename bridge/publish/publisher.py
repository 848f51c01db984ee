"""The one door to the Kafka producer: idempotent, acks=all, never gives up on a record by itself.

Each record's fate comes back through one shared callback while the owner's thread is in ``poll``. What finally fails
comes back to the owner, in order, to be put at the head of the path again. How much waits is bounded by the path's
marks; how long is not bounded at all.

Nothing newer may overtake what failed, so a refused batch ends its producer (librdkafka's gap-less guarantee), and so
does any other error that librdkafka calls fatal. The next producer begins when the last answer is in.

Kafka refuses a batch as a whole. When it is refused for good (too large, above all), the next producer makes smaller
batches; only a record that is refused alone is ``undeliverable``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bridge.model import Record
from bridge.settings import KafkaSettings

#: What guarantees 6 and 7 rest on; settings may not touch these.
_FIXED: dict[str, str | int | float | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,
    "partitioner": "murmur2_random",
    "enable.gapless.guarantee": True,
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

#: What Kafka refuses with one of these it will refuse for ever.
_NEVER = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)

#: How batches shrink while they are refused: at last to one record each.
_BATCHES: tuple[dict[str, int], ...] = ({}, {"batch.size": 65_536}, {"batch.size": 4_096}, {"batch.num.messages": 1})

Client = Callable[[dict[str, Any]], Producer]


class Publisher:
    """Hands records to Kafka; ``handed_over`` of them have no answer yet.

    ``on_latency`` hears how many seconds a delivery took, for some of them; ``on_trouble`` hears why Kafka cannot be
    reached or refuses us. Both run on the thread that polls.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, *, most: int, logger: logging.Logger,
        on_latency: Callable[[float], None], on_trouble: Callable[[str], None], client: Client = Producer,
    ) -> None:  # fmt: skip
        self._topic = topic
        self._on_latency = on_latency
        self._on_trouble = on_trouble
        self._client = client
        # Room for what the path hands over, and as much again for what failed and is still to be told.
        room = {"queue.buffering.max.messages": most * 2}
        callbacks = {"error_cb": self._error, "logger": logger}
        self._config: dict[str, Any] = {**_DEFAULTS, **kafka.as_librdkafka(), **_FIXED, **room, **callbacks}
        self._batches = 0  # index into _BATCHES
        self._refused = False  # a batch of more than one record was, for ever
        self._ended = False  # the producer takes nothing more; answers are still to come
        self._producer = client(self._config)
        self.handed_over = 0
        self.published = 0
        self.undeliverable = 0
        self._returned: list[Record] = []

    def hand_over(self, records: Sequence[Record]) -> Sequence[Record]:
        """Give records to the producer, in order; return those it has not taken, for the head of the path."""
        if self._ended:
            return records
        produce, topic, delivered = self._producer.produce, self._topic, self._delivered
        taken = 0
        try:
            for key, value, timestamp in records:
                produce(topic, value, key, -1, None, delivered, timestamp)
                taken += 1
        except BufferError:
            pass
        except KafkaException as exception:
            self.handed_over += taken
            return self._not_taken(exception.args[0], records[taken:])
        self.handed_over += taken
        return records[taken:]

    def _not_taken(self, error: KafkaError, records: Sequence[Record]) -> Sequence[Record]:
        """Go on after the first of ``records``, which the producer does not take."""
        if error.code() in _NEVER:
            self.undeliverable += 1
            return self.hand_over(records[1:])
        self._note(error)
        return records

    def poll(self, timeout_s: float = 0) -> None:
        """Take Kafka's answers; every callback runs in here."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException as exception:  # how confluent-kafka tells of a fatal error
            self._note(exception.args[0])
        if self._ended:
            self._producer.purge(in_flight=False, blocking=False)
            if not self.handed_over:
                self._begin_anew()

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
            return
        if error.code() in _NEVER:
            if self._batches == len(_BATCHES) - 1:
                self.undeliverable += 1
                return
            self._refused = True
        self._returned.append((message.key() or b"", message.value() or b"", message.timestamp()[1]))
        self._note(error)

    def _error(self, error: KafkaError) -> None:
        self._note(error)

    def _note(self, error: KafkaError) -> None:
        """Say what the trouble is; purging is none, it is our own doing."""
        if error.fatal():
            self._ended = True
        if error.code() != KafkaError._PURGE_QUEUE:  # noqa: SLF001  librdkafka's own name for it
            self._on_trouble(f"{error.name()}: {error.str()}")

    def _begin_anew(self) -> None:
        self._batches += self._refused
        self._producer = self._client({**self._config, **_BATCHES[self._batches]})
        self._refused = self._ended = False
