"""How a link comes and goes, with a scripted transport and moments as arguments."""

from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import msgspec
import pytest
from pydantic import SecretStr

from bridge.app.link import FAREWELL_S, Link
from bridge.app.mailbox import Mailbox
from bridge.app.venue import Venue
from bridge.errors import TokenRefused, UpstreamUnavailable
from bridge.model import Desired, Limits, State, Subscription, Wanted
from bridge.settings import UpstreamSettings
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.transport import Transport

STANDING_CLOCK_US = 1_790_000_000_000_000
LIMITS = Limits(max_symbols=10, reconnect_min_s=3.0, reconnect_max_s=60.0)


def text(payload: object) -> bytes:
    """Frame a server's text message."""
    data = msgspec.json.encode(payload)
    head = bytes([0x81, len(data)]) if len(data) < 126 else bytes([0x81, 126]) + len(data).to_bytes(2)
    return head + data


def tick(code: str, seq: int) -> bytes:
    return text(
        {"cmd_id": 22998, "data": {"code": code, "seq": str(seq), "price": "1.5", "tick_time": "1790000000123"}}
    )


PING = b"\x89\x00"
CLOSE = b"\x88\x02\x03\xe8"


class ScriptedTransport:
    """Gives the reads it was told to; a read of None is a broken connection, an empty one the peer's end."""

    def __init__(self, *reads: bytes | None, deaf: bool = False) -> None:
        self.reads = list(reads)
        self.sent: list[str] = []
        self.closes: list[int] = []
        self.pongs: list[bytes] = []
        self.ended = self.closed = self.aborted = False
        self._deaf = deaf

    def read(self) -> bytes:
        if not self.reads:
            return b""
        data = self.reads.pop(0)
        if data is None:
            raise UpstreamUnavailable("network", "reset")
        self.ended = not data
        return data

    def send(self, message: str) -> None:
        self._hear()
        self.sent.append(message)

    def pong(self, payload: bytes) -> None:
        self._hear()
        self.pongs.append(payload)

    def close_frame(self, code: int) -> None:
        self._hear()
        self.closes.append(code)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def _hear(self) -> None:
        if self._deaf:
            raise UpstreamUnavailable("write", "broken pipe")


class Lines:
    """Keeps what a link logs."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, /, level: str = "info", **fields: Any) -> None:
        self.events.append((event, {"level": level, **fields}))


@pytest.fixture
def dials() -> list[int]:
    """The attempts that were begun; none is made, for they block and have tests of their own."""
    return []


def make_venue(dials: list[int], settings: UpstreamSettings | None = None) -> Venue:
    return Venue(
        settings or UpstreamSettings(token=SecretStr("token")), AllTick(), Mailbox(), Lines(), lambda _: None,
        dial=lambda _, __, attempt: dials.append(attempt), wall_us=lambda: STANDING_CLOCK_US,
        monotonic=lambda: 0.0,
    )  # fmt: skip


def make_link(
    dials: list[int], settings: UpstreamSettings | None = None, *, desired: tuple[str, ...] = ("AAPL.US",)
) -> Link:
    link = Link(0, make_venue(dials, settings), LIMITS, 0.0)
    wanted = {symbol: Wanted(Subscription(symbol), number) for number, symbol in enumerate(desired)}
    link.want(Desired(0, MappingProxyType(wanted)), 0.0)
    return link


def bring_up(link: Link, *reads: bytes | None, deaf: bool = False, now: float = 0.0) -> ScriptedTransport:
    """Dial, and have the attempt succeed with a scripted transport."""
    transport = ScriptedTransport(*reads, deaf=deaf)
    link.work(now, now)
    link.dialled(link._attempt, cast("Transport", transport), now)
    return transport


def test_nothing_is_dialled_before_the_partition_was_read_to_its_end(dials: list[int]) -> None:
    link = Link(0, make_venue(dials), LIMITS, 0.0)
    link.work(100.0, 100.0)
    assert dials == []
    link.want(Desired(0), 100.0)
    link.work(100.0, 100.0)
    assert dials == [1]


def test_ticks_that_came_with_a_ping_count_although_the_pong_fails(dials: list[int]) -> None:
    link = make_link(dials)
    bring_up(link, tick("AAPL.US", 1) + PING, deaf=True)
    received = link.read(1.0)
    assert received is not None
    assert len(received.ticks) == 1
    assert not link.state().connected


def test_a_ping_is_answered_with_its_payload(dials: list[int]) -> None:
    link = make_link(dials)
    transport = bring_up(link, b"\x89\x02hi")
    link.read(1.0)
    assert transport.pongs == [b"hi"]


def test_an_answer_counts_from_when_it_was_read_not_from_when_the_turn_began(dials: list[int]) -> None:
    link = make_link(dials)
    link._venue.monotonic = lambda: 0.9
    asked = {"AAPL.US": Wanted(Subscription("AAPL.US"), 0), "700.HK": Wanted(Subscription("700.HK"), 1)}
    transport = bring_up(link, text({"ret": 200, "cmd_id": 22005, "seq_id": 1}))
    link.work(0.1, 0.1)
    assert len(transport.sent) == 1
    link.want(Desired(0, MappingProxyType(asked)), 0.2)
    link.read(0.2)
    link.work(1.8, 1.8)
    assert len(transport.sent) == 1
    link.work(1.9, 1.9)
    assert len(transport.sent) == 2


def test_a_lost_connection_is_dialled_again_no_sooner_than_the_plan_allows(dials: list[int]) -> None:
    link = make_link(dials)
    bring_up(link, None)
    link.read(1.0)
    assert link.state().reason == "network"
    link.work(3.9, 3.9)
    assert dials == [1]
    link.work(5.0, 5.0)
    assert dials == [1, 2]


def test_a_close_frame_is_answered_before_the_connection_goes(dials: list[int]) -> None:
    link = make_link(dials)
    transport = bring_up(link, CLOSE, b"")
    link.read(1.0)
    link.work(1.0, 1.0)
    assert transport.closes == [1000]
    link.read(1.1)
    assert transport.closed
    assert link.state().reason == "closed_by_venue"


def test_an_unanswered_farewell_ends_after_a_moment(dials: list[int]) -> None:
    link = make_link(dials)
    transport = bring_up(link)
    link.leave("stop", 10.0)
    assert transport.closes == [1000]
    assert link.next_due(10.0, 10.0) == 10.0 + FAREWELL_S
    link.work(10.0 + FAREWELL_S, 0.0)
    assert transport.closed
    assert link.state().reason == "stop"
    assert not link.state().connected


def test_ticks_that_arrive_during_the_farewell_still_count(dials: list[int]) -> None:
    link = make_link(dials)
    bring_up(link, tick("AAPL.US", 1), CLOSE)
    link.leave("stop", 10.0)
    received = link.read(10.1)
    assert received is not None
    assert len(received.ticks) == 1
    link.read(10.2)
    assert link.gone


def test_a_connection_that_comes_too_late_is_dropped(dials: list[int]) -> None:
    link = make_link(dials)
    link.work(0.0, 0.0)
    link.leave("revoked", 1.0)
    link.work(1.0 + FAREWELL_S, 0.0)
    assert link.gone
    late = ScriptedTransport()
    link.dialled(1, cast("Transport", late), 3.0)
    assert late.aborted
    assert not link.state().connected


def test_a_connection_made_while_leaving_is_dropped_and_the_link_is_gone(dials: list[int]) -> None:
    link = make_link(dials)
    link.work(0.0, 0.0)
    link.leave("revoked", 1.0)
    late = ScriptedTransport()
    link.dialled(1, cast("Transport", late), 1.1)
    assert late.aborted
    assert link.gone


def test_a_refused_token_waits_long_and_not_at_all_once_the_file_changes(dials: list[int], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    link = make_link(dials, UpstreamSettings(token_file=file))
    link.work(0.0, 0.0)
    link.dialled(1, TokenRefused("token", "401"), 1.0)
    link.work(60.0, 60.0)
    assert dials == [1]
    assert link.next_due(60.0, 60.0) <= 61.0  # the file is looked at each second
    file.write_text("newer")
    link.work(60.1, 60.1)
    assert dials == [1, 2]


@pytest.mark.parametrize(
    ("failure", "level"), [(TokenRefused("token", "401"), "error"), (UpstreamUnavailable("network", "x"), "warning")]
)
def test_a_token_that_is_refused_is_told_louder_than_a_network_that_fails(
    dials: list[int], failure: UpstreamUnavailable, level: str
) -> None:
    link = make_link(dials)
    link.work(0.0, 0.0)
    link.dialled(1, failure, 1.0)
    assert [fields["level"] for _, fields in cast("Lines", link._venue.log).events] == [level]


def test_failures_in_a_row_wait_longer_and_longer_up_to_the_cap(dials: list[int]) -> None:
    link = make_link(dials)
    now, waits = 0.0, []
    for attempt in range(1, 9):
        link.work(now, now)
        link.dialled(attempt, UpstreamUnavailable("network", "refused"), now)
        due = link.next_due(now, now)
        waits.append(round(due - now, 6))
        now = due
    assert waits == sorted(waits)
    assert waits[0] >= 3.0
    assert waits[-1] <= 60.1


def test_sessions_are_numbered_upwards_even_if_the_clock_stands_still(dials: list[int]) -> None:
    link = make_link(dials)
    numbers = []
    for now in (0.0, 100.0, 200.0):
        bring_up(link, None, now=now)
        numbers.append(link.number)
        link.read(now)
    assert numbers == [STANDING_CLOCK_US, STANDING_CLOCK_US + 1, STANDING_CLOCK_US + 2]


def test_rows_tell_pending_offline_and_what_our_own_checks_refuse(dials: list[int]) -> None:
    link = make_link(dials, desired=("AAPL.US", "BTCUSDT", "NOWHERE:X"))
    states = {row.symbol: (row.state, row.reason) for row in link.rows()}
    assert states == {
        "AAPL.US": (State.PENDING, ""),
        "BTCUSDT": (State.REJECTED, "wrong_endpoint"),
        "NOWHERE:X": (State.REJECTED, "bad_symbol"),
    }
    bring_up(link, None)
    assert {row.symbol: row.state for row in link.rows()}["AAPL.US"] is State.PENDING
    link.read(1.0)
    assert {row.symbol: row.state for row in link.rows()}["AAPL.US"] is State.OFFLINE
