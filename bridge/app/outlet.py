"""The way out: the path decides, the publisher delivers, the spill keeps, the ledger counts.

Owned by the feed thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path as Directory

from bridge.app.meters import Meter
from bridge.app.venue import Log
from bridge.kafka import library_logger
from bridge.model import Record
from bridge.publish.backpressure import NEVER_MS, Path
from bridge.publish.ledger import ANY_KEY, Ledger, Loss, Losses
from bridge.publish.publisher import Publisher
from bridge.publish.spill import RETRY_S as DISK_RETRY_S
from bridge.publish.spill import Shelf, Spill
from bridge.publish.store import Store
from bridge.settings import Settings
from bridge.snapshots import Accounts

#: Seconds to wait before records that failed for good are handed over again.
RETRY_S = 1.0
#: Seconds after which the losses of an overflow are told although it goes on.
TELL_S = 60.0
#: Seconds that the producer gets at the end to give back what it has, however late it is.
PURGE_S = 1.0


class Outlet:
    """Takes records and is answerable for each of them until Kafka has it.

    While ``held`` is true nothing is handed over. While ``blocked`` is true no socket should be read.

    Raises:
        SettingsError: librdkafka does not take the properties, or another process has the spill's directory.
    """

    def __init__(
        self, settings: Settings, log: Log, make: Callable[..., Publisher] = Publisher,
        store: Callable[[Directory], Shelf] = Store,
    ) -> None:  # fmt: skip
        pressure = settings.backpressure
        self.ledger = Ledger()
        self.latency = Meter()
        self.trouble = ""
        self.trouble_since = 0.0
        self.held = False
        self._log = log
        self._policy = pressure.policy
        self._overflow = Losses()  # told of at its end
        self._losses = Losses()  # told of at once
        self._told: list[Loss] = []
        self._now = 0.0
        self._safe_us = 0
        self._retry_at = 0.0
        self._overflow_at: float | None = None  # when this one began, or was told of last
        self._spill = self._make_spill(settings, store)
        self._path = Path(
            pressure.handed_over_max,
            pressure.queue_max_bytes,
            pressure.policy,
            block_max_s=pressure.block_max_s,
            disk=self._spill,
            on_lost=self._note_overflow,
        )
        self._publisher = make(
            settings.kafka,
            settings.topics.ticks,
            most=pressure.handed_over_max,
            logger=library_logger(log),
            on_latency=self.latency.observe,
            on_trouble=self._note_trouble,
            on_undeliverable=self._note_undeliverable,
        )

    def _make_spill(self, settings: Settings, store: Callable[[Directory], Shelf]) -> Spill | None:
        pressure = settings.backpressure
        if pressure.spill_dir is None:
            return None
        return Spill(
            store(pressure.spill_dir),
            settings.topics.ticks,
            max_bytes=pressure.spill_max_bytes,
            max_age_s=pressure.spill_max_age_s,
            log=self._log,
            on_recovered=self._note_recovered,
            on_lost=self._note_unreadable,
        )

    # What there is to see

    @property
    def waiting(self) -> int:
        """How many records are not yet with Kafka."""
        return sum(self.places().values())

    @property
    def settled(self) -> int:
        """How many records need nothing more: Kafka has them, or never will."""
        publisher, ledger = self._publisher, self.ledger
        return publisher.published + publisher.undeliverable + ledger.dropped + ledger.conflated

    @property
    def queue_bytes(self) -> int:
        """How much memory waiting records take."""
        return self._path.queue_bytes

    @property
    def spill_bytes(self) -> int:
        """How much of the disk waiting records take."""
        return self._spill.size if self._spill else 0

    @property
    def spill_trouble(self) -> str:
        """Why nothing can be spilled; empty while all is well, or there is no spill."""
        return self._spill.trouble if self._spill else ""

    @property
    def spilled(self) -> int:
        """How many records wait in the spill and nowhere else."""
        return self.places()["spill"]

    @property
    def blocked(self) -> bool:
        """Whether the policy is that nothing should be read for the moment."""
        return self._path.blocked

    def places(self) -> dict[str, int]:
        """Count the records that are not yet with Kafka where they are."""
        places = self._path.places()
        places["returned"] += self._publisher.holding
        return {"handed_over": self._publisher.handed_over, **places}

    def accounts(self) -> Accounts:
        """Give the accounts as of now."""
        self.ledger.published = self._publisher.published
        self.ledger.undeliverable = self._publisher.undeliverable
        return self.ledger.snapshot(self.waiting)

    def safe_us(self, now_us: int) -> int:
        """Give the receive time before which every tick is with Kafka, told of as lost, or synced on disk.

        ``now_us`` is the wall clock's microsecond, after all that was received was offered.
        """
        handed_over = self._publisher.since_ms
        oldest_ms = min(self._path.oldest_ms(), NEVER_MS if handed_over is None else handed_over)
        untold = [ms for ms in (self._losses.since_ms, self._overflow.since_ms) if ms is not None]
        untold += [loss.from_us // 1000 for loss in self._told]
        oldest_ms = min([oldest_ms, *untold])  # whoever comes after a crash would not know of it
        # What was safe stays so: a batch read back from the disk stays there until it is answered.
        self._safe_us = min(now_us, max(self._safe_us, oldest_ms * 1000))
        return self._safe_us

    def take_losses(self) -> list[Loss]:
        """Give what was lost, each once: at the end of an overflow, each minute of a long one, at once otherwise."""
        taken = self._told + self._losses.take()
        self._told = []
        return taken

    # What it does

    def bind(self, cluster_id: str) -> None:
        """Learn which cluster Kafka is: only then a former process's spill is taken over, or set aside."""
        if self._spill:
            self._spill.bind(cluster_id)

    def offer(self, records: Sequence[Record]) -> None:
        """Take new records, in order."""
        path = self._path
        path.held = path.held or self.held
        self._hand_over(path.offer(records, self._publisher.handed_over))
        path.relieve(self._now)

    def move_on(self, now: float) -> None:
        """Take Kafka's answers, bring back what failed, hand over what waits, keep memory within its bounds."""
        path, publisher = self._path, self._publisher
        self._now = now
        before = publisher.published
        publisher.poll()
        if publisher.published > before or not self.waiting:
            self.trouble = ""  # Kafka takes records, or there is none that it does not take
        if publisher.holding:
            # Nothing newer may overtake what failed, and Kafka gets a moment to recover.
            self._retry_at = now + RETRY_S
            path.put_back(publisher.take_returned())
        path.held = self.held or now < self._retry_at
        if self._spill:
            self._spill.work(now, publisher.oldest_turn)
        self._hand_over(path.take(publisher.handed_over))
        path.handed_over(publisher.turn)
        path.relieve(now)
        self._tell(now)

    def give_up(self, cause: str, since_ms: int) -> None:
        """Drop what was received since a moment and waits in memory, for a gap's cause."""
        self._note_dropped(cause, self._path.give_up(since_ms))

    def save(self, deadline: float) -> int:
        """Move what Kafka does not have to the spill and close it; give how many records stay outside of it.

        ``deadline`` is a monotonic second. Nothing can be offered or moved after this.
        """
        if self._spill:
            publisher, path = self._publisher, self._path
            publisher.purge()
            end = max(deadline, time.monotonic() + PURGE_S)
            while publisher.handed_over and time.monotonic() < end:
                publisher.poll(0.05)
            path.put_back(publisher.take_returned())
            # As if the pause after a failure were over: there will be no other attempt.
            self._spill.work(self._now + DISK_RETRY_S, publisher.oldest_turn)
            if not publisher.handed_over:
                path.save(self._now)
            self._spill.close()
        self._told += self._overflow.take()
        return self.waiting - self.spilled

    def _hand_over(self, records: Sequence[Record]) -> None:
        if records:
            self._path.put_back(self._publisher.hand_over(records, self._path.since_ms))

    # What is told

    def _tell(self, now: float) -> None:
        """Tell of an overflow's losses when it is over, whether or not new ticks come, and now and then before."""
        if self._overflow_at is None:
            return
        drained = not len(self._path)
        if drained or now - self._overflow_at >= TELL_S:
            self._overflow_at = None if drained else now
            self._told += self._overflow.take()
        if drained:
            ledger = self.ledger
            self._log("queue_drained", "warning", dropped_in_all=ledger.dropped, conflated_in_all=ledger.conflated)

    def _note_overflow(self, account: str, records: Sequence[Record]) -> None:
        """Count what gave way; the log hears of the beginning of it."""
        setattr(self.ledger, account, getattr(self.ledger, account) + len(records))
        self._overflow.note("overflow", records)
        if self._overflow_at is None:
            self._overflow_at = self._now
            spill = self._spill.trouble or "full" if self._spill else "none"
            self._log("queue_overflows", "error", policy=self._policy, trouble=self.trouble, spill=spill)

    def _note_dropped(self, cause: str, records: Sequence[Record]) -> None:
        self.ledger.dropped += len(records)
        self._losses.note(cause, records)

    def _note_unreadable(self, ours: int, lost: int, first_ms: int, last_ms: int) -> None:
        """Count what cannot be read any more; which symbols it was of nobody can tell."""
        self.ledger.dropped += ours
        self._told.append(Loss(ANY_KEY, "overflow", lost, first_ms * 1000, last_ms * 1000 + 999))

    def _note_recovered(self, records: int) -> None:
        self.ledger.recovered += records

    def _note_undeliverable(self, record: Record) -> None:
        self._losses.note("undeliverable", [record])

    def _note_trouble(self, what: str) -> None:
        if not self.trouble:
            self.trouble_since = time.monotonic()
        self.trouble = what
        self._log("kafka_trouble", "warning", what=what)
