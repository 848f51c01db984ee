"""Whatever happens to Kafka and to the disk: every tick is accounted for, in order, and what was called safe is."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path as Directory
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from hypothesis import settings as budget
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.app.outlet import Outlet
from bridge.model import Record
from bridge.publish.backpressure import Policy
from bridge.publish.publisher import Publisher
from bridge.settings import load
from bridge.settings.groups import BackpressureSettings
from tests.support.shelf import MemoryStore

KEYS = (b"700.HK", b"AAPL.US", b"BTCUSDT")
SETTINGS = load(kafka={"bootstrap_servers": "127.0.0.1:1"})
#: Records with the producer, and bytes of memory: about three records.
HIGH, ROOM = 4, 700
START_MS = 1_790_000_000_000
NO_ACCESS, PURGED, GAP = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._GAPLESS_GUARANTEE,
)


class Answer:
    """A delivery report's message."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def key(self) -> bytes:
        return self._record[0]

    def value(self) -> bytes:
        return self._record[1]

    def timestamp(self) -> tuple[int, int]:
        return 1, self._record[2]

    def latency(self) -> float:
        return 0.001


class Broker:
    """What Kafka has, and what every producer does: it outlives them."""

    def __init__(self) -> None:
        self.under_way: deque[tuple[Record, Callable[..., None]]] = deque()
        self.answers: list[Callable[[], None]] = []
        self.log: list[Record] = []
        self.room = 1000  # records that `produce` takes before it says that its queue is full

    def client(self, _: dict[str, Any]) -> Any:
        return self

    def produce(  # noqa: PLR0917
        self, topic: str, value: bytes, key: bytes, partition: int, callback: Callable[..., None], _: None, ms: int
    ) -> None:
        if len(self.under_way) >= self.room:
            raise BufferError
        if b"huge" in value:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        self.under_way.append(((key, value, ms), callback))

    def poll(self, _: float) -> None:
        while self.answers:
            self.answers.pop(0)()

    def purge(self, **_: bool) -> None:
        self.fail(PURGED)

    def deliver(self, number: int, key: bytes) -> None:
        """Acknowledge the oldest records of one key."""
        for record, report in [each for each in self.under_way if each[0][0] == key][:number]:
            self.under_way.remove((record, report))
            self.log.append(record)
            self.answers.append(partial(report, None, Answer(record)))

    def fail(self, code: int = NO_ACCESS) -> None:
        """Fail all that is under way, the newest first."""
        while self.under_way:
            record, report = self.under_way.pop()
            self.answers.append(partial(report, KafkaError(code), Answer(record)))

    def die(self) -> None:
        def raise_it() -> None:
            raise KafkaException(KafkaError(GAP, "at an end", fatal=True))

        self.answers.append(raise_it)


class Path(RuleBasedStateMachine):
    """An outlet over its whole life, and its successors'; `roomy` spills never fail and never fill."""

    roomy = False

    @initialize(
        policy=st.sampled_from(["drop_oldest", "drop_newest", "conflate", "block"]),
        spill=st.sampled_from([True, True, False]),
        spill_max=st.sampled_from([600, 3_000, 100_000]),
    )
    def start(self, policy: Policy, spill: bool, spill_max: int) -> None:
        self.policy = policy
        self.spill = spill or self.roomy
        self.spill_max = 1 << 40 if self.roomy else spill_max
        self.store = MemoryStore()
        self.now = 100.0
        self.ms = START_MS
        self.offered: dict[int, Record] = {}
        self.ended: list[list[Record]] = []
        self.forgiven: set[int] = set()  # lost in a crash, and never called safe
        self.gone: set[int] = set()  # counted as lost
        self.begin()

    def begin(self) -> None:
        self.broker = Broker()
        self.told = self.safe_us = 0
        pressure = BackpressureSettings.model_construct(
            policy=self.policy,
            handed_over_max=HIGH,
            queue_max_bytes=ROOM,
            block_max_s=2.0,
            spill_dir=Directory("memory") if self.spill else None,
            spill_max_bytes=self.spill_max,
            spill_max_age_s=1e12,
        )
        settings = SETTINGS.model_copy(update={"backpressure": pressure})
        self.outlet = Outlet(
            settings,
            lambda *_, **__: None,
            partial(Publisher, client=self.broker.client),
            lambda _: self.store,
        )
        note = self.outlet._note_overflow

        def note_and_remember(account: str, records: Any) -> None:
            self.gone |= {ms for _, _, ms in records}
            note(account, records)
            if account == "conflated":
                slots = self.outlet._path._slots
                assert all(slots[key][2] > ms for key, _, ms in records), "what gave way was the newest"

        self.outlet._path._on_lost = note_and_remember
        self.outlet.bind("cluster-1")
        self.outlet.move_on(self.now)

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.outlet.move_on(self.now)
        self.told += sum(loss.lost for loss in self.outlet.take_losses())

    @rule(
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=14),
        size=st.sampled_from([0, 0, 100, 900]),
        huge=st.integers(0, 40),
    )
    def offer(self, keys: list[bytes], size: int, huge: int) -> None:
        if self.outlet.blocked:
            return  # the sockets are not read
        records = []
        for position, key in enumerate(keys):
            self.ms += 1
            value = b"huge" if position == huge else b"x" * size
            records.append((key, b"%d " % self.ms + value, self.ms))
        self.offered |= {record[2]: record for record in records}
        self.outlet.ledger.received += len(records)
        self.outlet.offer(records)

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.3, 1.0, 5.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.turn(seconds)

    @rule(number=st.integers(1, 8), key=st.sampled_from(KEYS))
    def deliver(self, number: int, key: bytes) -> None:
        self.broker.deliver(number, key)
        self.turn()

    @rule(turns=st.integers(1, 6), seconds=st.sampled_from([0.0, 0.02, 0.3]))
    def deliver_all(self, turns: int, seconds: float) -> None:
        for _ in range(turns):
            for key in KEYS:
                self.broker.deliver(HIGH, key)
            self.turn(seconds)

    @rule(fatal=st.booleans())
    def fail(self, fatal: bool) -> None:
        if fatal:
            self.broker.die()
        self.broker.fail()
        self.turn()

    @rule(room=st.sampled_from([0, 3, 1000, 1000]))
    def producer_has_room(self, room: int) -> None:
        self.broker.room = room

    @rule(held=st.sampled_from([False, False, True]))
    def hold(self, held: bool) -> None:
        self.outlet.held = held

    @precondition(lambda self: not self.roomy)
    @rule(fault=st.sampled_from(["", "", "full", "broken"]))
    def disk(self, fault: str) -> None:
        self.store.full, self.store.broken = fault == "full", fault == "broken"

    @precondition(lambda self: not self.roomy and self.spill)
    @rule()
    def damage(self) -> None:
        """The spill's file cannot be read any more: what only it has is lost, counted, as soon as that is seen."""
        self.store.damaged = True
        self.gone |= {record[2] for record in self.store.records}

    @precondition(lambda self: not self.roomy)
    @rule()
    def give_up(self) -> None:
        path = self.outlet._path
        since_ms = max((r[2] for place in (path._queue, path._slots.values()) for r in place), default=0)
        self.gone |= {r[2] for place in (path._queue, path._slots.values()) for r in place if r[2] >= since_ms}
        self.outlet.give_up("lost_ownership", since_ms)

    @rule()
    def crash(self) -> None:
        """Everything in memory is lost; the disk is as it was synced."""
        safe_ms = self.safe_us // 1000
        there = {r[2] for r in self.broker.log} | {r[2] for r in self.store.records} | self.gone | self.forgiven
        there |= {ms for ms, record in self.offered.items() if b"huge" in record[1]}
        missing = set(self.offered) - there - self.published_before()
        assert not {ms for ms in missing if ms < safe_ms}, "it was called safe"
        if self.store.full or self.store.broken or self.store.damaged:
            return  # a successor would wait for the disk, or find nothing
        self.forgiven |= missing
        self.end()

    @precondition(lambda self: self.spill)
    @rule()
    def stop(self) -> None:
        """A stop in order leaves everything in the spill, if it takes it."""
        if self.store.full or self.store.broken or self.store.damaged:
            return
        outside = self.outlet.save(0.0)
        assert outside == self.outlet.waiting - self.outlet.spilled
        assert not (outside and self.roomy)
        self.check_accounts()
        self.forgiven |= {r[2] for place in (self.outlet._path._head, self.outlet._path._queue) for r in place}
        self.end()

    def end(self) -> None:
        self.ended.append(self.broker.log)
        self.begin()

    def published_before(self) -> set[int]:
        return {record[2] for log in self.ended for record in log}

    @invariant()
    def check_accounts(self) -> None:
        accounts = self.outlet.accounts()
        assert accounts.balanced, (accounts, self.outlet.places())
        assert all(count >= 0 for count in self.outlet.places().values())
        # What was acknowledged but not polled yet still counts as handed over.
        assert accounts.published <= len(self.broker.log)

    @invariant()
    def what_is_safe_only_grows(self) -> None:
        before, self.safe_us = self.safe_us, self.outlet.safe_us((self.ms + 1) * 1000)
        assert before <= self.safe_us
        losses = (self.outlet._losses, self.outlet._overflow)
        untold = bool(self.outlet._told) or any(one.since_ms is not None for one in losses)
        if not self.outlet.waiting and not untold:
            assert self.safe_us == (self.ms + 1) * 1000

    @invariant()
    def each_symbols_ticks_are_published_once_and_in_order(self) -> None:
        by_key: dict[bytes, list[int]] = defaultdict(list)
        for key, _, ms in self.broker.log:
            by_key[key].append(ms)
        for numbers in by_key.values():
            assert numbers == sorted(set(numbers))

    @invariant()
    def memory_is_bounded(self) -> None:
        most = ROOM + (HIGH + 3 * 14) * 1_200  # what came back, what was read back, what came last
        assert self.outlet.queue_bytes <= most

    @invariant()
    def with_room_on_the_disk_nothing_is_lost(self) -> None:
        if self.roomy:
            accounts = self.outlet.accounts()
            assert (accounts.dropped, accounts.conflated) == (0, 0)
            assert not self.outlet.blocked

    def teardown(self) -> None:
        """When all is well again everything arrives, and every loss is told."""
        if not hasattr(self, "outlet"):
            return
        self.store.full = self.store.broken = False
        self.outlet.held, self.broker.room = False, 1000
        for _ in range(400):
            self.turn(3.1)
            for key in KEYS:
                self.broker.deliver(100, key)
            if not self.outlet.waiting:
                break
        self.turn(61.0)
        accounts = self.outlet.accounts()
        assert accounts.in_flight == 0, self.outlet.places()
        self.check_accounts()
        assert self.told == accounts.dropped + accounts.conflated + accounts.undeliverable
        there = {r[2] for r in self.broker.log} | self.published_before() | self.gone | self.forgiven
        there |= {ms for ms, record in self.offered.items() if b"huge" in record[1]}
        assert set(self.offered) <= there
        assert not self.store.rows


class RoomyPath(Path):
    roomy = True


TestPath = Path.TestCase
TestPath.settings = budget(max_examples=200, stateful_step_count=40, deadline=None)
TestRoomyPath = RoomyPath.TestCase
TestRoomyPath.settings = budget(max_examples=60, stateful_step_count=40, deadline=None)
