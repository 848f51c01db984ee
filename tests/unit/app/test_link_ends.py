"""How a link's attempts and farewells end when things go wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from bridge.app.link import ATTEMPT_TIMEOUTS, FAREWELL_S, Link
from bridge.app.mailbox import Dialled, Mailbox
from bridge.app.venue import Venue, _dial
from bridge.errors import TokenRefused, UpstreamUnavailable
from bridge.model import Desired, Limits
from bridge.settings import UpstreamSettings
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.transport import Transport
from tests.fakes import answer, frame

LIMITS = Limits(max_symbols=10, reconnect_min_s=3.0, reconnect_max_s=60.0)


class FakeTransport:
    """Gives the reads it was told to."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.ended = self.aborted = False
        self.closes: list[int] = []

    def read(self) -> bytes:
        return self.reads.pop(0) if self.reads else b""

    def send(self, text: str) -> None:
        """Take it."""

    def close_frame(self, code: int) -> None:
        self.closes.append(code)

    def close(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True


def make_venue(settings: UpstreamSettings | None = None, log: Callable[..., None] = lambda *_, **__: None) -> Venue:
    return Venue(
        settings or UpstreamSettings(token=SecretStr("token")), AllTick(), Mailbox(), cast("Any", log), lambda _: None,
        dial=lambda *_: None,
    )  # fmt: skip


def make_link(venue: Venue) -> Link:
    link = Link(0, venue, LIMITS, 0.0)
    link.want(Desired(0), 0.0)
    return link


def connect(link: Link, now: float) -> FakeTransport:
    transport = FakeTransport()
    link.work(now, now)
    link.dialled(link._attempt, cast("Transport", transport), now)
    return transport


@pytest.mark.parametrize("peer_answers", [True, False])
def test_a_token_refused_on_an_open_connection_waits_as_long_as_one_refused_at_the_upgrade(
    peer_answers: bool,
) -> None:
    link = make_link(make_venue())
    transport = connect(link, 0.0)
    link.work(10.0, 10.0)  # a heartbeat goes out
    transport.reads.append(frame(answer({"cmd_id": 22000, "seq_id": 1}, 401).encode()))
    link.read(10.1)
    link.work(10.1, 10.1)
    assert transport.closes == [1000]
    if peer_answers:
        transport.reads.append(frame(b"\x03\xe8", 0x8))
        link.read(10.2)
    link.work(10.1 + FAREWELL_S, 0.0)
    assert link.state().reason == "token"
    assert link.dial_at >= 10.0 + LIMITS.reconnect_max_s


def test_an_attempt_that_never_reports_is_given_up_and_tried_anew() -> None:
    settings = UpstreamSettings(token=SecretStr("token"), connect_timeout_s=2.0)
    link = make_link(make_venue(settings))
    link.work(0.0, 0.0)
    patience = ATTEMPT_TIMEOUTS * 2.0
    assert link.next_due(0.0, 0.0) == patience
    link.work(patience, 0.0)
    assert link.state().reason == "timeout"
    late = FakeTransport()
    attempt = link._attempt
    link.work(link.dial_at, 0.0)
    link.dialled(attempt, cast("Transport", late), link.dial_at + 0.1)
    assert late.aborted
    assert not link.state().connected


def test_an_attempt_of_an_earlier_ownership_is_not_taken_for_ours() -> None:
    venue = make_venue()
    earlier = make_link(venue)
    earlier.work(0.0, 0.0)
    ours = make_link(venue)
    ours.work(1.0, 1.0)
    late = FakeTransport()
    ours.dialled(earlier._attempt, cast("Transport", late), 1.1)
    assert late.aborted
    assert not ours.state().connected


def test_a_token_file_that_changes_while_its_old_token_is_being_refused_is_read_at_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    link = make_link(make_venue(UpstreamSettings(token_file=file)))
    link.work(0.0, 0.0)
    first = link._attempt
    file.write_text("newer")
    link.dialled(first, TokenRefused("token", "401"), 1.0)
    link.work(1.1, 1.1)
    assert link._attempt != first


def test_a_vanished_token_file_counts_as_a_refused_token_and_its_return_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    venue = make_venue(UpstreamSettings(token_file=file))
    file.unlink()
    link = make_link(venue)
    link.work(0.0, 0.0)
    first = link._attempt
    _dial(venue, 0, first)
    (message,) = venue.mailbox.take()
    assert isinstance(message, Dialled)
    assert isinstance(message.outcome, TokenRefused)
    link.dialled(first, message.outcome, 1.0)
    link.work(2.0, 2.0)
    assert link._attempt == first
    file.write_text("new")
    link.work(3.0, 3.0)
    assert link._attempt != first


def test_a_token_file_that_is_no_text_is_said_to_be_so_and_nothing_of_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"secret\xff\xfe")
    venue = make_venue(UpstreamSettings(token_file=file))
    _dial(venue, 0, 1)
    (message,) = venue.mailbox.take()
    assert isinstance(message, Dialled)
    assert isinstance(message.outcome, TokenRefused)
    assert "UTF-8" in message.outcome.detail
    assert "secret" not in str(message.outcome)


class Surprise(Exception):
    """What nobody foresaw."""


def test_an_attempt_that_fails_as_nobody_foresaw_still_reports() -> None:
    def learn(_: str) -> None:
        raise Surprise

    venue = make_venue()
    venue.learn_secret = learn
    with pytest.raises(Surprise):
        _dial(venue, 0, 1)
    (message,) = venue.mailbox.take()
    assert isinstance(message, Dialled)
    assert isinstance(message.outcome, UpstreamUnavailable)
