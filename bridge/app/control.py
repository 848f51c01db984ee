"""The control thread: from the group's assignments and the control topic's records to the feed's mailbox.

Before it joins the group it waits until Kafka can be reached and all topics are there. While the process stops it
neither reads nor leaves: its partitions stay ours until the upstream connections are closed and the ticks delivered, so
that a successor never meets our connection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from threading import Event
from typing import Any

from bridge.app.link import Log
from bridge.app.mailbox import Assigned, Mailbox, Revoked
from bridge.control.topic import ControlTopic
from bridge.errors import KafkaOutOfReach, KafkaUnusable
from bridge.model import ControlSnapshot, Desired
from bridge.publish import topics
from bridge.settings import Settings

#: Seconds that one turn may sleep: how late a stop is noticed.
TURN_S = 0.2
#: Seconds that one look for the topics may take, and the pause between two.
LOOK_S = 5.0
PAUSE_S = 1.0


class Control:
    """The loop of the control thread; it is the control topic's listener too."""

    def __init__(self, settings: Settings, mailbox: Mailbox, log: Log) -> None:
        self._settings = settings
        self._mailbox = mailbox
        self._log = log
        self._topic: ControlTopic | None = None
        self._partitions = 1
        self._stopping = Event()
        self._leaving = Event()
        self._beat = time.monotonic()
        self._waiting = ControlSnapshot(beat=self._beat)  # what there is to see before the group is joined

    def run(self) -> None:
        """Read until stopped, then stay a member until told to leave.

        Raises:
            KafkaUnusable: Kafka refuses us, or a topic is missing.
        """
        if self._await_topics():
            self._topic = ControlTopic(self._settings, self, self._write)
            while not self._stopping.is_set():
                self._topic.turn(TURN_S)
            self._await(self._leaving, float("inf"))
            self._topic.close()

    def stop(self) -> None:
        """Read no more; what is desired stays as it is."""
        self._stopping.set()

    def leave(self) -> None:
        """Leave the group: from now on a successor may connect."""
        self._stopping.set()
        self._leaving.set()

    def look(self) -> ControlSnapshot:
        """Give how things stood at the end of the last turn."""
        snapshot = self._waiting if self._topic is None else self._topic.snapshot()
        return replace(snapshot, beat=max(snapshot.beat, self._beat))

    # The control topic's listener

    def on_assigned(self, partition: int) -> None:
        """Tell the feed that a partition is ours."""
        if self._topic is not None:
            self._partitions = self._topic.partition_count() or self._partitions
        self._mailbox.put(Assigned(partition, self._partitions))

    def on_desired(self, desired: Desired) -> None:
        """Tell the feed what is desired."""
        self._mailbox.put(desired)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Wait until the feed has closed what belongs to these partitions and delivered their ticks."""
        message = Revoked(tuple(partitions))
        self._mailbox.put(message)
        if not self._await(message.done, self._settings.shutdown.budget_s):
            self._log("revocation_slow", "error", partitions=list(partitions))

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Keep the connection: a Kafka outage looks the same as a lost partition."""
        self._log("ownership_in_doubt", "warning", partitions=list(partitions))

    def _await(self, event: Event, timeout_s: float) -> bool:
        """Wait for an event, alive all the while."""
        end = time.monotonic() + timeout_s
        while not event.wait(min(1.0, max(0.0, end - time.monotonic()))):
            self._beat = time.monotonic()
            if self._beat >= end:
                return False
        return True

    def _await_topics(self) -> bool:
        """Wait until Kafka answers, then see that every topic is there; False when stopped meanwhile."""
        settings = self._settings
        specs = topics.plan(settings.topics)
        while not self._stopping.is_set():
            try:
                if settings.topics.ensure:
                    topics.ensure(settings.kafka.as_librdkafka(), specs)
                missing = topics.missing(settings.kafka.as_librdkafka(), [spec.name for spec in specs], LOOK_S)
            except KafkaOutOfReach as error:
                self._out_of_reach(str(error))
                self._stopping.wait(PAUSE_S)
                continue
            if missing:
                raise KafkaUnusable(f"missing topics: {', '.join(missing)}", "run `tickbridge topics ensure`")
            return True
        return False

    def _out_of_reach(self, why: str) -> None:
        now = time.monotonic()
        since = self._waiting.trouble_since or now
        self._waiting = ControlSnapshot(beat=now, trouble=why, trouble_since=since)
        self._log("kafka_out_of_reach", "warning", why=why, bootstrap=self._settings.kafka.bootstrap_servers)

    def _write(self, event: str, /, **fields: Any) -> None:
        self._log(event, fields.pop("level", "info"), **fields)
