"""The one door to the Kafka producer: idempotent, acks=all, never gives up on a record by itself.

Each record's fate comes back through one shared callback while the owner's thread is in ``poll``. What finally fails
comes back to the owner, in order, to be put at the head of the path again. How much waits is bounded by the path's
marks; how long is not bounded at all.

Nothing newer may overtake what failed, so a refused batch ends its producer (librdkafka's gap-less guarantee), and so
does any other error that librdkafka calls fatal. The next producer begins when the last answer is in. What was handed
over in one turn is kept until all its answers are in: librdkafka gives failed records back in no useful order.

Kafka refuses a batch as a whole. When it is refused for good (too large, above all), the next producer makes smaller
batches; only a record that is refused alone is ``undeliverable``. Once many records went well, batches grow again.

Turns are numbered: what was handed over in those before ``oldest_turn`` has been answered for.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bridge.kafka import SURE_PRODUCER, opened
from bridge.model import Record
from bridge.settings import KafkaSettings

#: What guarantees 6 and 7 rest on; settings may not touch these.
_FIXED: dict[str, str | int | float | bool] = {
    **SURE_PRODUCER,
    "enable.gapless.guarantee": True,
    "delivery.report.only.error": False,
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

#: Records that must be published in small batches before larger ones are tried.
GROW_AFTER = 20_000

# librdkafka's own names for: the producer is at its end; taken out of its hands by ourselves.
_FATAL = KafkaError._FATAL  # noqa: SLF001
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # noqa: SLF001

Client = Callable[[dict[str, Any]], Producer]


class _Turn:
    """What was handed over at once: how many have no answer yet, and what came back."""

    __slots__ = ("failed", "left", "number", "since_ms")

    def __init__(self, number: int, since_ms: int) -> None:
        self.number = number
        self.since_ms = since_ms
        self.left = 0
        self.failed: tuple[Sequence[Record], Counter[bytes]] | None = None  # what was given, what came back


class Publisher:
    """Hands records to Kafka; ``handed_over`` of them have no answer yet.

    ``on_latency`` hears how many seconds a delivery took, for some of them; ``on_trouble`` hears why Kafka cannot be
    reached or refuses us; ``on_undeliverable`` hears of each record that Kafka will never take. All run on the thread
    that polls. ``holding`` records have failed and wait for those under way.

    Raises:
        SettingsError: librdkafka does not take the properties.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, *, most: int, logger: logging.Logger,
        on_latency: Callable[[float], None], on_trouble: Callable[[str], None],
        on_undeliverable: Callable[[Record], None] = lambda _: None, client: Client = Producer,
    ) -> None:  # fmt: skip
        logger.addFilter(_no_news)
        self._topic = topic
        self._on_latency = on_latency
        self._on_trouble = on_trouble
        self._on_undeliverable = on_undeliverable
        self._client = client
        # Room for what the path hands over, and as much again for what failed and is still to be told.
        room = {"queue.buffering.max.messages": most * 2}
        callbacks = {"error_cb": self._note, "logger": logger}
        self._config: dict[str, Any] = {**_DEFAULTS, **kafka.as_librdkafka(), **_FIXED, **room, **callbacks}
        self._batches = 0  # index into _BATCHES
        self._shrunk_at = 0  # published then
        self._refused = False  # a batch of more than one record was, for ever
        self._ended = False  # the producer takes nothing more; answers may still come
        self._producer = opened(client, self._config)
        self.handed_over = 0
        self.published = 0
        self.undeliverable = 0
        self.holding = 0
        self.turn = 0  # number of the newest
        self._turns: deque[_Turn] = deque()  # from the oldest one that is not answered

    @property
    def oldest_turn(self) -> int:
        """Give the number of the oldest turn that is not answered; the next one's where all are."""
        return self._turns[0].number if self._turns else self.turn + 1

    @property
    def since_ms(self) -> int | None:
        """Give the oldest receive time that was named for a turn that is not answered."""
        return min((turn.since_ms for turn in self._turns if turn.left or turn.failed), default=None)

    def hand_over(self, records: Sequence[Record], since_ms: int | None = None) -> Sequence[Record]:
        """Give records to the producer, in order; return those it has not taken, for the head of the path.

        ``since_ms`` is the oldest receive time among those that exist nowhere else; left out, the first one's.
        """
        if (self._ended or self._may_grow()) and not self._begin_anew():
            return records
        self.turn += 1
        turn = _Turn(self.turn, records[0][2] if since_ms is None and records else since_ms or 0)
        produce, topic, delivered = self._producer.produce, self._topic, partial(self._delivered, turn, records)
        taken, refused = len(records), 0
        for index, (key, value, timestamp) in enumerate(records):
            try:
                produce(topic, value, key, -1, delivered, None, timestamp)
            except BufferError:
                taken = index
                break
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.code() not in _NEVER:
                    self._note(error)
                    taken = index
                    break
                refused += 1
                self._on_undeliverable((key, value, timestamp))
        turn.left = taken - refused
        if turn.left:
            self._turns.append(turn)
        self.handed_over += turn.left
        self.undeliverable += refused
        return records[taken:]

    def poll(self, timeout_s: float = 0) -> None:
        """Take Kafka's answers; every callback runs in here."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException as exception:  # how confluent-kafka tells of a fatal error
            self._note(exception.args[0])
        if self._ended and self.handed_over:
            # What is in flight is left alone: whoever sent that again would not know whether Kafka has it already.
            self._producer.purge(in_flight=False, blocking=False)
        self._forget_answered()

    def purge(self) -> None:
        """Take everything back from the producer, at the end: what is in flight may have reached Kafka or may not."""
        self._producer.purge(in_flight=True, blocking=False)

    def take_returned(self) -> list[Record]:
        """Give the records that finally failed, in order, once nothing later is still under way."""
        if self.handed_over:
            return []
        returned = []
        # They come back in any order: what was in flight may do so after what was queued behind it.
        for given, values in (turn.failed for turn in self._turns if turn.failed):
            for record in given:
                if values[record[1]]:
                    values[record[1]] -= 1
                    returned.append(record)
        self._turns.clear()
        self.holding = 0
        return returned

    def _delivered(self, turn: _Turn, given: Sequence[Record], error: KafkaError | None, message: Message) -> None:
        self.handed_over -= 1
        turn.left -= 1
        if error is None:
            self.published += 1
            if not self.published & SAMPLE or not self.handed_over:
                self._on_latency(message.latency() or 0.0)
        elif error.code() in _NEVER and self._batches == len(_BATCHES) - 1:
            self.undeliverable += 1
            value = message.value()  # the library has forgotten when it was received
            self._on_undeliverable(next(record for record in given if record[1] == value))
        else:
            self.holding += 1
            turn.failed = turn.failed or (given, Counter())
            turn.failed[1][message.value() or b""] += 1
            self._refused |= error.code() in _NEVER
            if self.holding == 1 and error.code() not in _PURGED:  # once is enough: they fail by the thousand
                self._note(error)

    def _forget_answered(self) -> None:
        turns = self._turns
        while turns and not turns[0].left and not turns[0].failed:
            turns.popleft()

    def _note(self, error: KafkaError) -> None:
        self._ended |= error.fatal() or error.code() == _FATAL
        self._on_trouble(f"{error.name()}: {error.str()}")

    def _may_grow(self) -> bool:
        return self._batches > 0 and self.published - self._shrunk_at >= GROW_AFTER

    def _begin_anew(self) -> bool:
        """Replace a producer that ended, once nothing of it is under way; tell whether that is so."""
        if self.handed_over or self.holding:
            return False
        if self._refused:
            self._batches += 1
        elif self._may_grow():
            self._batches -= 1
        self._shrunk_at = self.published
        self._refused = self._ended = False
        self._producer = opened(self._client, {**self._config, **_BATCHES[self._batches]})
        return True


def _no_news(line: logging.LogRecord) -> bool:
    """Keep out of the log that one of our fixed properties is called experimental: it is meant."""
    return "enable.gapless.guarantee is experimental" not in line.getMessage()
