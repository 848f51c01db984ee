"""The way out: the path decides, the publisher delivers, the ledger counts. Owned by the feed thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bridge.app.meters import Meter
from bridge.app.venue import Log
from bridge.kafka import library_logger
from bridge.model import Accounts, Record
from bridge.publish.backpressure import Path
from bridge.publish.ledger import Ledger
from bridge.publish.publisher import Publisher
from bridge.settings import Settings

#: Seconds to wait before records that failed for good are handed over again.
RETRY_S = 1.0


class Outlet:
    """Takes records and is answerable for each of them until Kafka has it."""

    def __init__(self, settings: Settings, log: Log, make: Callable[..., Publisher] = Publisher) -> None:
        pressure = settings.backpressure
        self.ledger = Ledger()
        self.latency = Meter()
        self.trouble = ""
        self.trouble_since = 0.0
        self._log = log
        self._path = Path(pressure.handed_over_max, pressure.queue_max_bytes)
        self._publisher = make(
            settings.kafka,
            settings.topics.ticks,
            most=pressure.handed_over_max,
            logger=library_logger(log),
            on_latency=self.latency.observe,
            on_trouble=self._note_trouble,
        )
        self._retry_at = 0.0
        self._overflowing = False

    @property
    def waiting(self) -> int:
        """How many records are not yet with Kafka."""
        return sum(self.places().values())

    @property
    def settled(self) -> int:
        """How many records need nothing more: Kafka has them, or never will."""
        return self._publisher.published + self._publisher.undeliverable + self.ledger.dropped

    @property
    def queue_bytes(self) -> int:
        """How much memory waiting records take."""
        return self._path.queue_bytes

    def places(self) -> dict[str, int]:
        """Count the records that are not yet with Kafka where they are."""
        publisher = self._publisher
        return {"handed_over": publisher.handed_over, "returned": publisher.holding, "queue": len(self._path)}

    def accounts(self) -> Accounts:
        """Give the accounts as of now."""
        self.ledger.published = self._publisher.published
        self.ledger.undeliverable = self._publisher.undeliverable
        return self.ledger.snapshot(self.waiting)

    def offer(self, records: Sequence[Record]) -> None:
        """Take new records, in order."""
        go, dropped = self._path.offer(records, self._publisher.handed_over)
        self._note_overflow(dropped)
        self._hand_over(go)

    def move_on(self, now: float) -> None:
        """Take Kafka's answers, bring back what failed, hand over what waits."""
        path, publisher = self._path, self._publisher
        before = publisher.published
        publisher.poll()
        if publisher.published > before or not self.waiting:
            self.trouble = ""  # Kafka takes records, or there is none that it does not take
        if publisher.holding:
            # Nothing newer may overtake what failed, and Kafka gets a moment to recover.
            path.held = True
            self._retry_at = now + RETRY_S
            path.put_back(publisher.take_returned())
        elif path.held and now >= self._retry_at:
            path.held = False
        self._hand_over(path.take(publisher.handed_over))
        self._note_drained()

    def _hand_over(self, records: Sequence[Record]) -> None:
        if records:
            self._path.put_back(self._publisher.hand_over(records))

    def _note_overflow(self, dropped: int) -> None:
        """Count what gave way; the log hears of the beginning of it."""
        self.ledger.dropped += dropped
        if dropped and not self._overflowing:
            self._overflowing = True
            self._log("queue_overflows", "error", policy="drop_oldest", trouble=self.trouble)

    def _note_drained(self) -> None:
        """Say that an overflow is over, whether or not new ticks come."""
        if self._overflowing and not len(self._path):
            self._overflowing = False
            self._log("queue_drained", "warning", dropped_in_all=self.ledger.dropped)

    def _note_trouble(self, what: str) -> None:
        if not self.trouble:
            self.trouble_since = time.monotonic()
        self.trouble = what
        self._log("kafka_trouble", "warning", what=what)
