"""The control thread: from the group's assignments and the control topic's records to the feed's mailbox.

Before it joins the group it waits until Kafka can be reached and all topics are there. While the process stops it
neither reads nor leaves: its partitions stay ours until the upstream connections are closed and the ticks delivered, so
that a successor never meets our connection.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

from bridge.app.mailbox import Assigned, Bound, Confirmed, Mailbox, Revoked
from bridge.app.report import FeedView, Report
from bridge.app.venue import Log
from bridge.control.topic import ControlTopic
from bridge.errors import KafkaOutOfReach, KafkaUnusable
from bridge.model import Desired, Unusable, Wanted
from bridge.publish import topics
from bridge.settings import Settings
from bridge.snapshots import ControlSnapshot

#: Seconds that one turn may sleep: how late a stop is noticed.
TURN_S = 0.2
#: Seconds that the last words about a partition that moves away may take.
LAST_WORDS_S = 2.0
#: Seconds that one look for the topics may take, and the pause between two.
LOOK_S = 5.0
PAUSE_S = 1.0


class Control:
    """The loop of the control thread; it is the control topic's listener too."""

    def __init__(self, settings: Settings, mailbox: Mailbox, log: Log, *, instance: str, feed: FeedView) -> None:
        self._settings = settings
        self._mailbox = mailbox
        self._log = log
        self._topic: ControlTopic | None = None
        self._report: Report | None = None
        self._instance = instance
        self._feed = feed
        self._stopping = Event()
        self._leaving = Event()
        self._lost: dict[int, float] = {}  # partition -> when the group ceased to hear us
        self._deadline = 0.0  # by when to have left the group
        self._beat = time.monotonic()
        self._waiting = ControlSnapshot(beat=self._beat)  # what there is to see before the group is joined

    def run(self) -> None:
        """Read until stopped, then stay a member until told to leave.

        Raises:
            KafkaUnusable: Kafka refuses us, or a topic is missing.
        """
        if not self._await_topics():
            return
        self._report = report = Report(self._settings, self._instance, self._feed, self._log, self._write)
        while not (report.reporter.caught_up or self._stopping.is_set()):
            report.reporter.turn(TURN_S)
            self._beat = time.monotonic()
        self._topic = topic = ControlTopic(self._settings, self, self._write)
        while not self._stopping.is_set():
            topic.turn(TURN_S)
            report.turn(topic.folds(), member=topic.snapshot().member)
            self._give_up_what_was_lost()
            self._confirm(topic)
        self._await(self._leaving, float("inf"))
        report.last_words(topic.folds() if topic.snapshot().member else [], self._deadline)
        topic.close()

    def stop(self) -> None:
        """Read no more; what is desired stays as it is."""
        self._stopping.set()

    def leave(self, deadline: float) -> None:
        """Leave the group, so that a successor may connect; the last statuses are waited for until ``deadline``."""
        self._deadline = deadline
        self._stopping.set()
        self._leaving.set()

    def look(self) -> ControlSnapshot:
        """Give how things stood at the end of the last turn."""
        snapshot = self._waiting if self._topic is None else self._topic.snapshot()
        gaps = dict(self._report.reporter.gaps.counts) if self._report else {}
        return replace(snapshot, beat=max(snapshot.beat, self._beat), gaps=gaps)

    # The control topic's listener

    def on_assigned(self, partition: int) -> None:
        """Tell the feed that a partition is ours."""
        if self._topic is not None and self._report is not None:
            self._lost.pop(partition, None)
            partitions = self._topic.partitions
            memory, progress = self._report.assigned(partition, partitions)
            self._mailbox.put(Assigned(partition, partitions, memory, progress))

    def on_desired(self, desired: Desired) -> None:
        """Tell the feed what is desired."""
        if self._report is not None:
            self._report.desired(desired)
        self._mailbox.put(desired)

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Wait until the feed has closed what belongs to these partitions and delivered their ticks."""
        message = Revoked(tuple(partitions), "lost" if self._lost.keys() & set(partitions) else "revoked")
        self._mailbox.put(message)
        if not self._await(message.done, self._settings.shutdown.budget_s):
            self._log("revocation_slow", "error", partitions=list(partitions))
        if self._report is not None:
            self._report.leave(partitions, "rebalance", LAST_WORDS_S)
        for partition in partitions:
            self._lost.pop(partition, None)

    def on_unusable(self, record: Unusable) -> None:
        """Set a record aside."""
        if self._report is not None:
            self._report.unusable(record)

    def remembered(self, partition: int) -> Mapping[str, Wanted]:
        """Look up what was in force in a partition, as its statuses say."""
        if self._report is None or self._topic is None:
            return {}
        memory = self._report.memory(partition, self._topic.partitions)
        return {symbol: one.wanted for symbol, one in memory.items() if one.wanted is not None}

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Keep the connection for the hold: a Kafka outage looks the same as a lost partition."""
        hold_s = self._settings.group.lost_hold_s
        self._log("ownership_in_doubt", "warning", partitions=list(partitions), hold_s=hold_s)
        if self._report is not None:
            self._report.lost(partitions)
        self._lost |= dict.fromkeys(partitions, time.monotonic())
        self._give_up_what_was_lost()

    def _give_up_what_was_lost(self) -> None:
        """Close upstream for partitions of which nobody could say for the length of the hold whose they are."""
        hold_s = self._settings.group.lost_hold_s
        if hold_s is None or not self._lost:
            return
        over = [partition for partition, since in self._lost.items() if time.monotonic() >= since + hold_s]
        if over:
            self._log("ownership_given_up", "warning", partitions=over, hold_s=hold_s)
            self._mailbox.put(Revoked(tuple(over), "lost"))
            self._lost = {one: since for one, since in self._lost.items() if one not in over}

    def _confirm(self, topic: ControlTopic) -> None:
        """Tell a feed that has slept too long that the group counts us in, once it has said so since."""
        woke = self._feed.unconfirmed_since
        if woke is not None and topic.confirmed_since(woke):
            self._mailbox.put(Confirmed(woke))

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
                if settings.backpressure.spill_dir is not None and not missing:
                    found = topics.cluster_id(settings.kafka.as_librdkafka(), settings.topics.ticks, LOOK_S)
                    self._mailbox.put(Bound(found))
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
