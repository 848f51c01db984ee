"""A topic read from its beginning or its end, and followed, without joining a group: for the operators' commands.

Nothing here is seen by a running bridge: partitions are assigned, not subscribed to, and no offset is committed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from rich.text import Text

from bridge.cli.tables import busy, printable, quiet, say
from bridge.control.kafka import OUT_OF_REACH, Watch
from bridge.control.reader import read_to_end
from bridge.errors import KafkaUnusable
from bridge.kafka import follower, library_logger, opened
from bridge.publish.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from confluent_kafka import Message

    from bridge.control.desired import Fold
    from bridge.settings import Settings

#: Records taken at once, and seconds to wait for some before the clock is looked at.
BATCH, WAIT_S = 1000, 0.1

#: Seconds between two questions whether Kafka is back.
ASK_S = 1.0

#: Seconds in which some broker must say whether a topic is there.
LOOK_S = 10.0


def read_control(settings: Settings) -> tuple[Fold, ...]:
    """Read the control topic to its end; give its partitions.

    Raises:
        KafkaUnusable: Kafka refuses us, is out of reach, or the topic does not exist.
        SettingsError: librdkafka does not take the properties.
    """
    with busy(f"Reading {settings.topics.subscriptions} …"):
        look_for_control(settings)
        return read_to_end(settings, quiet)


def look_for_control(settings: Settings) -> None:
    """See that the control topic is there.

    Raises:
        KafkaUnusable: as `read_control`.
    """
    _partitions(settings, settings.topics.subscriptions, "TICKBRIDGE_TOPICS__SUBSCRIPTIONS", LOOK_S)


class Stream:
    """One topic's records; use it as a context manager. ``setting`` is the setting that names the topic.

    ``trouble`` says why nothing comes at the moment; it is empty while all is well.

    Raises:
        KafkaUnusable: Kafka refuses us, is out of reach, or the topic does not exist.
        SettingsError: librdkafka does not take the properties.
    """

    def __init__(
        self, settings: Settings, topic: str, setting: str, *, from_beginning: bool, timeout_s: float = LOOK_S
    ) -> None:
        self.topic = topic
        self.trouble = ""
        self._told = False
        self._ask_at = 0.0
        group = f"{settings.group_id}-reader"
        self._watch = Watch(f"reading the topic {topic} as the group {group}")
        self.partitions = _partitions(settings, topic, setting, timeout_s)
        self._unread = set(self.partitions)
        self._consumer = opened(
            Consumer,
            {
                **follower(settings.kafka, group),
                "error_cb": self._hear,
                "logger": library_logger(quiet),
            },
        )
        try:
            self._begin(from_beginning, timeout_s)
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        """Give the open stream."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._consumer.close()

    @property
    def at_end(self) -> bool:
        """Tell whether every partition was read to its end once."""
        return not self._unread

    def take(self, wait_s: float = WAIT_S) -> list[Message]:
        """Give the records that come within a moment.

        Raises:
            KafkaUnusable: Kafka refuses us.
        """
        records = []
        for message in self._consumer.consume(BATCH, wait_s):
            error = message.error()
            if error is None:
                records.append(message)
                self.trouble = ""
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka spells its own codes so
                self._unread.discard(message.partition() or 0)
                self.trouble = ""
            else:
                self._hear(error)
        self._watch.check()
        if self.trouble and not records:
            self._ask_whether_it_is_over()
        return records

    def tell_trouble(self) -> None:
        """Say that nothing comes, and why, and that it is over: to somebody who reads lines and waits for the next."""
        if bool(self.trouble) == self._told:
            return
        self._told = not self._told
        if self._told:
            say(Text(f"Kafka is out of reach: {printable(self.trouble)}; waiting for it", style="yellow"))
        else:
            say(Text("Kafka is back", style="green"))

    def to_end(self, timeout_s: float = 30.0) -> Iterator[Message]:
        """Give the records up to the end of every partition.

        Raises:
            KafkaUnusable: Kafka refuses us, or the end was not reached within ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while not self.at_end:
            if time.monotonic() > deadline:
                raise self._watch.late(f"the topic {self.topic} could not be read to its end in time")
            yield from self.take()

    def _begin(self, from_beginning: bool, timeout_s: float) -> None:
        starts = [
            (number, OFFSET_BEGINNING if from_beginning else self._end(number, timeout_s)) for number in self.partitions
        ]
        self._consumer.assign([TopicPartition(self.topic, number, start) for number, start in starts])

    def _end(self, number: int, timeout_s: float) -> int:
        """Ask where a partition ends now: a position told by the library later would miss what comes until then."""
        try:
            return self._consumer.get_watermark_offsets(TopicPartition(self.topic, number), timeout=timeout_s)[1]
        except KafkaException as error:
            self._hear(error.args[0])
            self._watch.check()
            raise self._watch.late(f"no broker said in time where the topic {self.topic} ends") from None

    def _ask_whether_it_is_over(self) -> None:
        """Ask for something, now and then: where nothing is written, nothing else would tell that Kafka is back."""
        if time.monotonic() < self._ask_at:
            return
        self._ask_at = time.monotonic() + ASK_S
        with suppress(KafkaException):
            self._consumer.get_watermark_offsets(TopicPartition(self.topic, self.partitions[0]), timeout=WAIT_S)
            self.trouble = ""

    def _hear(self, error: KafkaError) -> None:
        self._watch(error)
        if error.code() in OUT_OF_REACH:
            self.trouble = error.str()


def _partitions(settings: Settings, topic: str, setting: str, timeout_s: float) -> tuple[int, ...]:
    with Admin(settings.kafka.as_librdkafka(), timeout_s) as admin:
        found = admin.look(topic)
    if found is None:
        raise KafkaUnusable(
            f"the topic {topic} does not exist", f"run `tickbridge topics ensure`, or set {setting} to its name"
        )
    return tuple(range(found.partitions))
