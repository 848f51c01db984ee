"""The feed's loop, with a scripted outlet and connections that end in the test's own hands."""

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic, time_ns
from types import MappingProxyType
from typing import Any, cast

import pytest
from pydantic import SecretStr

from bridge.app.feed import Feed
from bridge.app.mailbox import Assigned, Confirmed, Dialled, Look, Mailbox, Revoked, Stop
from bridge.app.meters import Meter
from bridge.app.outlet import Outlet
from bridge.app.venue import Venue
from bridge.errors import UpstreamUnavailable
from bridge.model import Desired, Limits, Record, Subscription, Wanted
from bridge.publish.ledger import Ledger, Loss
from bridge.settings import UpstreamSettings
from bridge.snapshots import Accounts
from bridge.ticks.normalise import Normaliser
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.transport import Transport
from tests.fakes import answer, close_frame, frame

PAUSE_S = 0.4
LIMITS = Limits(max_symbols=10, request_interval_s=0.01, reconnect_min_s=PAUSE_S)
PATIENCE_S = 5.0


class FakeOutlet:
    """Keeps what it is offered, until the test says that Kafka has it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.latency = Meter()
        self.trouble, self.trouble_since, self.queue_bytes = "", 0.0, 0
        self.settled = 0
        self.spill_bytes = 0
        self.spill_trouble = ""
        self.held = self.blocked = False
        self.given_up: list[str] = []
        self.given_up_since_ms = 0
        self.saved: list[float] = []
        self.losses: list[Loss] = []
        self.kept: list[Record] = []
        self.held_at_offers: list[bool] = []
        self.delivers = Event()
        self.offered = Event()
        self.block = Event()  # while set, a turn does not come to its end
        self.unblock = Event()

    @property
    def waiting(self) -> int:
        return len(self.kept)

    def places(self) -> dict[str, int]:
        return {"queue": len(self.kept)}

    def accounts(self) -> Accounts:
        self.ledger.published = self.settled
        return self.ledger.snapshot(self.waiting)

    def safe_us(self, now_us: int) -> int:
        return now_us

    def take_losses(self) -> list[Loss]:
        losses, self.losses = self.losses, []
        return losses

    def give_up(self, cause: str, since_ms: int) -> None:
        assert time_ns() // 1_000_000 - 10_000 < since_ms
        self.given_up.append(cause)
        self.given_up_since_ms = since_ms

    def save(self, deadline: float) -> int:
        self.saved.append(deadline)
        return 0

    def offer(self, records: Sequence[Record]) -> None:
        self.kept += records
        self.held_at_offers.append(self.held)
        self.offered.set()

    def move_on(self, _: float) -> None:
        if self.block.is_set():
            self.unblock.wait(PATIENCE_S)
        if self.delivers.is_set() and not self.held:
            self.settled += len(self.kept)
            self.kept.clear()


class PairTransport:
    """One end of a socket pair; the test holds the other."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.theirs.settimeout(PATIENCE_S)
        self.ended = False
        self.frozen_s = 0.0  # before the next read
        self.over = Event()

    def fileno(self) -> int:
        return self._ours.fileno()

    def pending(self) -> bool:
        return False

    def read(self) -> bytes:
        Event().wait(self.frozen_s)  # the sleep itself is what is tested
        data = self._ours.recv(65_536)
        self.ended = not data
        return data

    def send(self, text: str) -> None:
        self._ours.sendall(text.encode() + b"\n")

    def pong(self, payload: bytes) -> None:
        self.send(f"pong {payload!r}")

    def close_frame(self, code: int) -> None:
        self.send(f"close {code}")

    def close(self) -> None:
        self._ours.close()
        self.over.set()

    abort = close

    def hear(self) -> str:
        """Give the next message, on the venue's side."""
        line = b""
        while not line.endswith(b"\n"):
            line += self.theirs.recv(1)
        return line.decode().strip()

    def say(self, payload: object) -> None:
        self.theirs.sendall(frame(json.dumps(payload).encode()))


@dataclass
class Stage:
    """A feed on a thread of its own."""

    mailbox: Mailbox = field(default_factory=Mailbox)
    outlet: FakeOutlet = field(default_factory=FakeOutlet)
    transports: list[PairTransport] = field(default_factory=list)
    dials: list[float] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    dialled: Event = field(default_factory=Event)
    answers: bool = True  # attempts to connect succeed at once; else they never end
    session_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        venue = Venue(
            UpstreamSettings(token=SecretStr("token")), AllTick(), self.mailbox, self._log, lambda _: None,
            dial=self._dial,
        )  # fmt: skip
        self.feed = Feed(
            self.mailbox, venue, outlet=cast("Outlet", self.outlet),
            normaliser=Normaliser(AllTick().sides, without_seq=True), limits_for=lambda _: LIMITS, log=self._log,
            session_timeout_s=self.session_timeout_s,
        )  # fmt: skip
        self.thread = Thread(target=self.feed.run, daemon=True)
        self.thread.start()

    def _log(self, event: str, /, level: str = "info", **fields: Any) -> None:
        """Nobody listens."""

    def _dial(self, _: Venue, partition: int, attempt: int) -> None:
        self.dials.append(monotonic())
        self.attempts.append(attempt)
        if self.answers:
            self.connect(partition, attempt)
        self.dialled.set()

    def connect(self, partition: int, attempt: int) -> PairTransport:
        self.transports.append(PairTransport())
        self.mailbox.put(Dialled(partition, attempt, cast("Transport", self.transports[-1])))
        return self.transports[-1]

    def own(self, *symbols: str, partition: int = 0) -> None:
        self.mailbox.put(Assigned(partition, 1))
        wanted = {symbol: Wanted(Subscription(symbol), offset) for offset, symbol in enumerate(symbols)}
        self.mailbox.put(Desired(partition, MappingProxyType(wanted)))

    def subscribe(self) -> PairTransport:
        """Own a partition with one symbol, connect, and accept its request."""
        self.own("AAPL.US")
        assert self.dialled.wait(PATIENCE_S)
        transport = self.transports[-1]
        transport.theirs.sendall(frame(answer(json.loads(transport.hear())).encode()))
        return transport

    def revoke(self, *partitions: int) -> Revoked:
        message = Revoked(partitions)
        self.mailbox.put(message)
        return message

    def stop(self, within_s: float = PATIENCE_S) -> None:
        self.mailbox.put(Stop(monotonic() + within_s))


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.outlet.delivers.set()
    stage.outlet.unblock.set()
    stage.stop()
    stage.thread.join(PATIENCE_S)
    assert not stage.thread.is_alive()
    stage.mailbox.close()
    for transport in stage.transports:
        transport.theirs.close()


def tick(seq: int, code: str = "AAPL.US", **changes: object) -> dict[str, object]:
    data = {"code": code, "seq": str(seq), "price": "1.5", "tick_time": "1790000000123", **changes}
    return {"cmd_id": 22998, "data": data}


def test_what_is_read_is_counted_and_offered_under_its_symbol_and_session(stage: Stage) -> None:
    transport = stage.subscribe()
    transport.theirs.sendall(
        b"".join(
            frame(json.dumps(one).encode())
            for one in (tick(1), tick(1), tick(2, "TSLA.US"), tick(3, price="-1"), tick(4, price=[]), tick(5))
        )
    )
    assert stage.outlet.offered.wait(PATIENCE_S)
    snapshot = stage.feed.look(PATIENCE_S)
    accounts = snapshot.accounts
    assert (accounts.received, accounts.duplicate, accounts.filtered, accounts.invalid) == (6, 1, 1, 2)
    assert (accounts.in_flight, accounts.balanced) == (2, True)
    assert [key for key, _, _ in stage.outlet.kept] == [b"AAPL.US"] * 2
    assert {json.loads(value)["session"] for _, value, _ in stage.outlet.kept} == {snapshot.links[0].session}


def test_a_look_while_the_loop_is_busy_tells_when_it_last_turned_not_when_somebody_last_looked(stage: Stage) -> None:
    long_ago = stage.feed.look(PATIENCE_S)
    turned = stage.feed.beat
    while stage.feed.beat <= long_ago.beat + 0.2:
        turned = stage.feed.look(PATIENCE_S).beat
    stage.feed._shown = long_ago  # as if nobody had looked since
    stage.outlet.block.set()
    late = stage.feed.look(0.05)
    stage.outlet.block.clear()
    stage.outlet.unblock.set()
    assert late.accounts == long_ago.accounts
    assert late.beat >= turned > long_ago.beat


def test_a_revocation_ends_only_when_nothing_is_connected_and_all_that_was_read_is_settled(stage: Stage) -> None:
    transport = stage.subscribe()
    transport.say(tick(1))
    assert stage.outlet.offered.wait(PATIENCE_S)
    revoked = stage.revoke(0)
    assert transport.hear() == "close 1000"
    transport.say(tick(2))  # on its way when we closed
    transport.theirs.sendall(close_frame(1000))
    assert transport.over.wait(PATIENCE_S)
    snapshot = stage.feed.look(PATIENCE_S)
    assert (snapshot.links, snapshot.accounts.in_flight) == ((), 2)
    assert not revoked.done.is_set()
    stage.outlet.delivers.set()
    assert revoked.done.wait(PATIENCE_S)
    assert stage.outlet.settled == 2


def test_a_revocation_does_not_wait_for_what_other_partitions_read_later(stage: Stage) -> None:
    transport = stage.subscribe()
    transport.say(tick(1))
    assert stage.outlet.offered.wait(PATIENCE_S)
    revoked = stage.revoke(1)
    assert not revoked.done.wait(0.1)
    stage.outlet.offered.clear()
    transport.say(tick(2))
    assert stage.outlet.offered.wait(PATIENCE_S)
    del stage.outlet.kept[0]
    stage.outlet.settled += 1
    assert revoked.done.wait(PATIENCE_S)
    assert stage.outlet.waiting == 1


def test_when_a_revocation_ends_the_board_says_nothing_of_what_it_took(stage: Stage) -> None:
    transport = stage.subscribe()
    while 0 not in stage.feed.board.wanted:
        stage.feed.look(PATIENCE_S)
    stage.feed._board_at = float("inf")  # it is not looked at by itself until then
    revoked = stage.revoke(0)
    assert transport.hear() == "close 1000"
    transport.theirs.sendall(close_frame(1000))
    assert revoked.done.wait(PATIENCE_S)
    assert (stage.feed.board.rows, stage.feed.board.wanted) == ({}, {})


def test_a_revocation_of_what_was_never_ours_ends_at_once(stage: Stage) -> None:
    assert stage.revoke(3, 4).done.wait(PATIENCE_S)


def test_a_partition_that_comes_back_at_once_keeps_the_pause_between_connections(stage: Stage) -> None:
    transport = stage.subscribe()
    revoked = stage.revoke(0)
    assert transport.hear() == "close 1000"
    transport.theirs.sendall(close_frame(1000))
    closed = monotonic()
    assert revoked.done.wait(PATIENCE_S)
    stage.dialled.clear()
    stage.own("AAPL.US")
    assert stage.dialled.wait(PATIENCE_S)
    assert stage.dials[-1] - closed >= PAUSE_S


def test_a_connection_that_comes_when_its_partition_has_left_is_dropped(stage: Stage) -> None:
    stage.answers = False
    stage.own("AAPL.US")
    assert stage.dialled.wait(PATIENCE_S)
    assert stage.revoke(0).done.wait(PATIENCE_S)
    late = stage.connect(0, stage.attempts[-1])
    assert late.over.wait(PATIENCE_S)
    assert stage.feed.look(PATIENCE_S).links == ()


def test_an_attempt_that_failed_when_its_partition_has_left_harms_nobody(stage: Stage) -> None:
    stage.mailbox.put(Dialled(5, 1, UpstreamUnavailable("network", "refused")))
    assert stage.feed.look(PATIENCE_S).links == ()


@pytest.mark.parametrize("farewell", [True, False], ids=["answered", "unanswered"])
def test_a_stop_closes_delivers_and_ends(stage: Stage, farewell: bool) -> None:
    transport = stage.subscribe()
    transport.say(tick(1))
    assert stage.outlet.offered.wait(PATIENCE_S)
    stage.stop()
    assert transport.hear() == "close 1000"
    if farewell:
        transport.theirs.sendall(close_frame(1000))
    assert transport.over.wait(PATIENCE_S)
    assert stage.thread.is_alive()  # one tick is not delivered yet
    stage.outlet.delivers.set()
    stage.thread.join(PATIENCE_S)
    assert not stage.thread.is_alive()
    assert stage.feed.snapshot().accounts.published == 1


def test_a_stop_gives_up_at_its_deadline_and_says_what_is_left(stage: Stage) -> None:
    transport = stage.subscribe()
    transport.say(tick(1))
    assert stage.outlet.offered.wait(PATIENCE_S)
    transport.theirs.sendall(close_frame(1000))
    begun = monotonic()
    stage.stop(0.5)
    stage.thread.join(PATIENCE_S)
    assert not stage.thread.is_alive()
    assert 0.5 <= monotonic() - begun < 3.0
    accounts = stage.feed.snapshot().accounts
    assert (accounts.in_flight, accounts.balanced) == (1, True)


def test_nothing_is_dialled_any_more_once_a_stop_has_come(stage: Stage) -> None:
    stage.outlet.kept.append((b"key", b"value", 0))  # so that the loop goes on for a while
    stage.stop(0.5)
    stage.own("AAPL.US")
    stage.thread.join(PATIENCE_S)
    assert stage.dials == []


def test_a_look_after_the_end_gives_the_last_there_was(stage: Stage) -> None:
    before = stage.feed.look(PATIENCE_S)
    stage.stop()
    stage.thread.join(PATIENCE_S)
    assert stage.feed.look(0.05).accounts == before.accounts


def test_many_looks_at_once_are_all_answered(stage: Stage) -> None:
    seen: list[float] = []
    lookers = [Thread(target=lambda: seen.append(stage.feed.look(PATIENCE_S).beat)) for _ in range(50)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join(PATIENCE_S)
    assert len(seen) == 50


def test_desires_for_a_partition_that_is_not_ours_are_passed_by(stage: Stage) -> None:
    stage.mailbox.put(Desired(9))
    assert stage.feed.look(PATIENCE_S).links == ()
    assert stage.dials == []


# A turn that took longer than a session of the group


def fall_asleep(stage: Stage) -> None:
    """Let the loop's turn last for longer than the group waits, and then one more."""
    stage.outlet.block.set()  # like a stopped process: the turn does not end
    stage.outlet.unblock.clear()
    stage.mailbox.put(Look())
    Event().wait(0.8)  # the sleep itself is what is tested
    stage.outlet.block.clear()
    stage.outlet.unblock.set()
    stage.feed.look(PATIENCE_S)


@pytest.fixture
def sleeper() -> Iterator[Stage]:
    """A stage whose loop has slept for longer than the group waits, with a symbol accepted."""
    stage = Stage(session_timeout_s=0.5)
    stage.subscribe()
    fall_asleep(stage)
    yield stage
    stage.outlet.delivers.set()
    stage.stop()
    stage.thread.join(PATIENCE_S)
    stage.mailbox.close()
    for transport in stage.transports:
        transport.theirs.close()


def test_after_it_nothing_is_published_until_the_group_confirms(sleeper: Stage) -> None:
    held, woke = [sleeper.outlet.held], sleeper.feed.unconfirmed_since
    assert woke is not None
    for confirmed in (woke - 1.0, woke):  # the first is of an earlier doubt
        sleeper.mailbox.put(Confirmed(confirmed))
        sleeper.feed.look(PATIENCE_S)
        held.append(sleeper.outlet.held)
    assert held == [True, True, False]
    assert sleeper.outlet.given_up == []


def test_after_it_what_was_read_is_given_up_when_another_is_the_owner(sleeper: Stage) -> None:
    revoked = Revoked((0,))
    sleeper.mailbox.put(revoked)
    assert revoked.done.wait(PATIENCE_S)
    assert sleeper.outlet.given_up == ["lost_ownership"]
    assert not sleeper.outlet.held


def test_what_is_read_after_a_freeze_within_the_turn_is_held_as_well(stage: Stage) -> None:
    transport = stage.subscribe()
    stage.feed.look(PATIENCE_S)
    stage.feed._session_timeout_s, transport.frozen_s = 0.5, 0.8
    transport.say(tick(1))
    assert stage.outlet.offered.wait(PATIENCE_S)
    assert stage.outlet.held_at_offers == [True]
    stage.feed._session_timeout_s, transport.frozen_s = 60.0, 0.0
    stage.feed.look(PATIENCE_S)
    woke = stage.feed.unconfirmed_since
    assert woke is not None
    stage.mailbox.put(Confirmed(woke))
    stage.feed.look(PATIENCE_S)
    assert not stage.outlet.held


def test_after_two_of_them_what_was_read_since_the_first_is_given_up(sleeper: Stage) -> None:
    between_ms = time_ns() // 1_000_000
    fall_asleep(sleeper)
    sleeper.mailbox.put(revoked := Revoked((0,)))
    assert revoked.done.wait(PATIENCE_S)
    assert 0 < sleeper.outlet.given_up_since_ms <= between_ms
