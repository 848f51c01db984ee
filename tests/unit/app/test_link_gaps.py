"""What a link says of ticks that may be missing: when they ceased to come, and when they come again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.app.link import UNSEEN_S, Link
from bridge.app.venue import Venue
from bridge.model import Desired, Event, Interrupted, Limits, Progress, Resumed, Subscription, Wanted
from bridge.upstream.backoff import SLACK_S
from tests.unit.app.test_link import LIMITS, ScriptedTransport, bring_up, make_venue, text, tick

START_US = 1_790_000_000_000_000


class Stage:
    """A link whose wall clock the test moves."""

    def __init__(self, former: Progress | None = None, limits: Limits = LIMITS) -> None:
        self.wall_us = START_US
        self.dials: list[int] = []
        self.venue: Venue = replace(make_venue(self.dials), wall_us=lambda: self.wall_us)
        self.link = Link(0, self.venue, limits, 0.0, former)
        self.want("AAPL.US", "700.HK")

    def want(self, *symbols: str) -> None:
        wanted = {symbol: Wanted(Subscription(symbol), number) for number, symbol in enumerate(symbols)}
        self.link.want(Desired(0, wanted), 0.0)

    def subscribed(self, now: float = 0.0) -> ScriptedTransport:
        """Connect, ask, and let the venue consent."""
        transport = bring_up(self.link, now=now)
        self.link.work(now, now)
        request = json.loads(transport.sent[-1])
        self.read(transport, text({"cmd_id": 22005, "ret": 200, "seq_id": request["seq_id"], "msg": "ok"}), now)
        return transport

    def read(self, transport: ScriptedTransport, data: bytes | None, now: float) -> None:
        transport.reads.append(data)
        self.link.read(now)
        self.link.work(now, now)

    def told(self) -> list[Event]:
        events = list(self.venue.events)
        self.venue.events.clear()
        return events


def test_the_acceptance_of_a_list_is_told_once() -> None:
    stage = Stage()
    transport = stage.subscribed()
    stage.read(transport, tick("AAPL.US", 1), 0.5)
    assert stage.told() == [Resumed(0, START_US, stage.link.number, frozenset({"AAPL.US", "700.HK"}))]


def test_the_end_of_a_connection_is_told_with_the_symbols_that_came_over_it() -> None:
    stage = Stage()
    transport = stage.subscribed()
    stage.link.wants.symbols.routes["AAPL.US"].window.is_repeat(41, 1)  # the normaliser's part
    stage.told()
    stage.read(transport, None, 1.0)
    (event,) = stage.told()
    assert isinstance(event, Interrupted)
    assert event.symbols == {"AAPL.US": ("AAPL.US", "41"), "700.HK": ("700.HK", "")}
    assert (event.cause, event.session) == ("disconnect", stage.link.number)


@pytest.mark.parametrize(("why", "cause"), [("stop", "stop"), ("revoked", "rebalance"), ("lost", "lost_ownership")])
def test_a_link_that_is_to_leave_says_why(why: str, cause: str) -> None:
    stage = Stage()
    stage.subscribed()
    stage.told()
    stage.link.leave(why, 1.0)
    stage.link.work(3.0, 3.0)
    assert [event.cause for event in stage.told() if isinstance(event, Interrupted)] == [cause]


def test_a_gap_begins_where_the_socket_was_last_known_to_be_empty() -> None:
    stage = Stage()
    transport = stage.subscribed()
    stage.link.heard_nothing(START_US + 1_000_000)
    stage.wall_us = START_US + 9_000_000  # the process slept: the frame waited, and others after it were cut off
    stage.read(transport, tick("AAPL.US", 1), 9.0)
    stage.told()
    stage.read(transport, None, 9.0)
    (event,) = stage.told()
    assert isinstance(event, Interrupted)
    assert event.from_us == START_US + 1_000_000


def test_a_change_of_wishes_while_nothing_is_connected_is_no_acceptance() -> None:
    stage = Stage()
    transport = stage.subscribed()
    stage.read(transport, None, 1.0)
    stage.told()
    stage.want("AAPL.US", "700.HK", "MSFT.US")
    stage.link.work(1.1, 1.1)
    assert stage.told() == []


def test_a_symbol_that_is_not_wanted_any_more_is_not_missed() -> None:
    stage = Stage()
    transport = stage.subscribed()
    stage.want("700.HK")
    stage.link.work(0.1, 0.1)
    stage.told()
    stage.read(transport, None, 1.0)
    (event,) = stage.told()
    assert isinstance(event, Interrupted)
    assert set(event.symbols) == {"700.HK"}


@pytest.mark.parametrize(
    ("former", "wait_s"),
    [
        (Progress(0, START_US - 1_000_000, 7, ended="stop"), 2.0),
        (Progress(0, START_US - 1_000_000, 7), 2.0 + UNSEEN_S),
        (Progress(0, START_US - 10_000_000, 7), 0.0),
        (Progress(0, START_US - 60_000_000, 7), 3.0),
        (Progress(0, START_US - 60_000_000, 7, ended="stop"), 0.0),
        (Progress(0, START_US + 3_600_000_000, 7, ended="stop"), 3.0),
    ],
    ids=["ended", "died", "died long enough ago", "may have been cut off", "ended long ago", "a clock that was ahead"],
)
def test_a_successor_keeps_the_plans_pause_since_the_former_connection(former: Progress, wait_s: float) -> None:
    stage = Stage(former)
    if wait_s:
        stage.link.work(wait_s, 0.0)  # to the venue, the former one closed a little later than to us
        assert stage.dials == []
    stage.link.work(wait_s + SLACK_S, 0.0)
    assert stage.dials == [1]


def test_a_successors_sessions_go_on_from_the_former_ones() -> None:
    stage = Stage(Progress(0, 0, START_US + 5_000_000))
    stage.subscribed(10.0)
    assert stage.link.number == START_US + 5_000_001


def refusal(request: str, ret: int) -> dict[str, Any]:
    return {"cmd_id": 22005, "ret": ret, "seq_id": json.loads(request)["seq_id"], "msg": "code invalid"}


@pytest.mark.parametrize("ticks", [True, False], ids=["ticks came after it", "none did"])
def test_a_refused_list_may_have_ended_the_one_in_force_unless_ticks_come_after_it(ticks: bool) -> None:
    stage = Stage()
    transport = stage.subscribed()
    stage.want("AAPL.US", "700.HK", "BAD.US")
    stage.link.work(2.0, 2.0)
    stage.read(transport, text(refusal(transport.sent[-1], 600)), 2.1)
    stage.told()
    stage.wall_us += 500_000
    if ticks:
        stage.read(transport, tick("AAPL.US", 1), 2.5)
        stage.link.wants.symbols.routes["AAPL.US"].last_us = stage.wall_us  # the feed's part
    stage.want("AAPL.US", "700.HK", "GOOD.US")
    stage.link.work(5.0, 5.0)
    stage.read(transport, text({**refusal(transport.sent[-1], 200), "msg": "ok"}), 5.1)
    interrupted = [event for event in stage.told() if isinstance(event, Interrupted)]
    assert [set(event.symbols) for event in interrupted] == ([] if ticks else [{"AAPL.US", "700.HK"}])
