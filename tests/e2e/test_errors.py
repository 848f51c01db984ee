"""Errors by kind, end to end: what the venue refuses, what is done about it, and how long it takes (guarantee 9)."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.simulator import DEFAULT_TOKEN, Simulator
from tests.e2e.conftest import PACE, World
from tests.e2e.test_silence import attempts, link, metric, symbol_state
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
LONGEST_S = float(PACE["UPSTREAM__RECONNECT_MAX_S"])
INTERVAL_S = float(PACE["UPSTREAM__REQUEST_INTERVAL_S"])
LIVE = ("AAPL.US", "700.HK")
#: What a busy machine may add to a pause that is not to be longer than needed.
BUSY_S = 1.0


def settled(world: World, venue: Simulator, make_bridge: MakeBridge, **more: str) -> BridgeProcess:
    """Start a bridge whose symbols are accepted."""
    world.subscribe(*LIVE)
    bridge = make_bridge(world.settings(venue, **more))
    venue.wait_until_subscribed(*LIVE, timeout=20)
    bridge.wait_for("request_accepted")
    return bridge


def refused(bridge: BridgeProcess) -> list[int]:
    return [line["ret"] for line in bridge.lines if line.get("event") == "request_refused"]


@pytest.mark.parametrize("refuses", ["upgrade", "request"])
def test_a_bad_token_is_loud_tried_rarely_and_at_once_when_its_file_changes(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path, refuses: str
) -> None:
    venue = make_venue()
    file = tmp_path / "token"
    file.write_text("expired" if refuses == "upgrade" else DEFAULT_TOKEN)
    if refuses == "request":
        venue.faults.answer_next(401)
    given = world.settings(venue, UPSTREAM__TOKEN_FILE=str(file), UPSTREAM__RECONNECT_MAX_S="2.5")
    del given["UPSTREAM__TOKEN"]
    world.subscribe(*LIVE)
    bridge = make_bridge(given)
    bridge.wait_for("upstream_failed" if refuses == "upgrade" else "upstream_disconnected", reason="token")
    if refuses == "request":
        venue.switches.tokens = frozenset({"renewed"})
    ready, body = bridge.get("/readyz")
    assert (ready, "the venue does not accept the token" in body.decode()) == (503, True)
    assert link(bridge)["reason"] == "token"
    assert "it does not accept the token" in link(bridge)["detail"]
    venue.wait_for(lambda record: len(attempts(record)) >= 2, 15, "a second attempt")
    first, second = attempts(venue.record)[:2]
    assert 2.5 <= second - first <= 2.5 + BUSY_S
    venue.switches.tokens = frozenset({"renewed"})
    file.write_text("renewed")
    changed = time.time()
    venue.wait_until_subscribed(*LIVE, timeout=15)
    assert attempts(venue.record)[-1] - changed <= 1 + BUSY_S
    bridge.wait_ready()
    if refuses == "upgrade":
        assert metric(bridge, "tickbridge_upstream_sessions_total", outcome="token") >= 2
    else:
        assert metric(bridge, "tickbridge_upstream_disconnects_total", reason="token") == 1
    assert bridge.stop() == 0


def test_a_list_of_proven_codes_that_the_venue_does_not_understand_is_logged_and_asked_for_later(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=100)
    bridge = settled(world, venue, make_bridge)
    venue.faults.answer_next(400, uncorrelated=True)
    world.unsubscribe("700.HK")
    line = bridge.wait_for("request_refused")
    assert (line["level"], line["ret"], line["remedy"]) == ("error", 400, "bug")
    assert '"symbol_list":[{"code":"AAPL.US"}]' in line["request"]
    venue.wait_until_subscribed("AAPL.US", timeout=15)
    first, second = venue.requests(SUBSCRIBE)[1:]
    assert LONGEST_S <= second.at - first.at <= LONGEST_S + 2 * INTERVAL_S + BUSY_S  # after a heartbeat, perhaps
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
    assert world.seqs()["AAPL.US"] == venue.sent("AAPL.US")


def test_bad_codes_are_found_one_by_one_and_the_live_ones_never_leave_the_list(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=200, switches={"unknown": {"BAD.US"}, "unauthorised": {"DEAR.US"}})
    venue.switches.pacing_slack_s = 0.04  # pacing is not what is tested, and a busy machine delays what arrives
    bridge = settled(world, venue, make_bridge)
    new = [f"{number}.HK" for number in range(1, 7)]
    world.subscribe(*new, "BAD.US", "DEAR.US")
    venue.wait_until_subscribed(*LIVE, *new, timeout=15)
    bridge.wait_until("found", lambda: symbol_state(bridge, "BAD.US") == ("rejected", "venue_600"))
    bridge.wait_until("found", lambda: symbol_state(bridge, "DEAR.US") == ("rejected", "venue_604"))
    assert all(set(LIVE) <= set(request.codes) for request in venue.requests(SUBSCRIBE))
    assert len(venue.requests(SUBSCRIBE)) <= 2 + 4 * 4 + 4  # two searches through eight, and what is restated between
    bridge.wait_for("request_refused", ret=604)
    assert set(refused(bridge)) == {600, 604}
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
    for code in LIVE:
        assert world.seqs()[code] == venue.sent(code)


def test_more_codes_than_the_venue_grants_become_as_many_as_it_does(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"max_codes": 5, "over_cap": "603"})
    bridge = settled(world, venue, make_bridge)
    world.subscribe(*(f"{number}.HK" for number in range(1, 9)))
    venue.wait_for(lambda record: len(record.subscribed) == 5 and set(LIVE) <= record.subscribed, 15)
    states = {row["symbol"]: row["state"] for row in bridge.status()["symbols"]}
    assert {states[symbol] for symbol in LIVE} == {"waiting"}
    bridge.wait_until(
        "the rest over the cap", lambda: [row["state"] for row in bridge.status()["symbols"]].count("over_cap") == 5
    )
    assert set(refused(bridge)) == {603}
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0


def test_too_fast_slows_the_pace_and_an_accepted_request_eases_it(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = settled(world, venue, make_bridge)
    for ret in (429, 605):
        before = len(venue.requests(SUBSCRIBE))
        venue.faults.answer_next(ret)
        world.subscribe(f"{ret}.HK")
        venue.wait_for(lambda record, n=before: len(record.requests(SUBSCRIBE)) == n + 2, 15)  # type: ignore[misc]
        first, second = venue.requests(SUBSCRIBE)[before:]
        assert (first.ret, second.ret) == (ret, 200)
        assert 2 * INTERVAL_S <= second.at - first.at <= 4 * INTERVAL_S + BUSY_S
    assert refused(bridge) == [429, 605]
    assert len(venue.record.connections) == 1
    assert not venue.record.violations
    assert bridge.stop() == 0


def test_a_venue_that_hangs_up_on_us_for_haste_is_tried_ever_more_slowly_whatever_it_granted_before(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(reconnect_s=2.0)  # a little less than we think: it may see a connection end after we do
    # The proven codes are granted on each connection; the refusal is for the new one, a moment later.
    slow = {"REQUEST_INTERVAL_S": "0.8", "HEARTBEAT_S": "2.4", "SILENCE_S": "6"}
    bridge = settled(world, venue, make_bridge, **{f"UPSTREAM__{name}": value for name, value in slow.items()})
    for connection in (1, 2, 3):
        venue.wait_for(lambda record, n=connection: record.requests(SUBSCRIBE, n), 10)  # type: ignore[misc]
        venue.faults.answer_next(606)
        if connection == 1:
            world.subscribe("TSLA.US")
        venue.wait_for(lambda record, n=connection: len(record.connections) == n + 1, 10)  # type: ignore[misc]
    venue.wait_until_subscribed(*LIVE, "TSLA.US", timeout=10)
    assert [[one.ret for one in venue.requests(SUBSCRIBE, number)] for number in (1, 2, 3, 4)] == [
        [200, 606], [200, 606], [200, 606], [200, 200],
    ]  # fmt: skip
    closed_at = [one.closed_at or 0.0 for one in venue.record.connections[:3]]
    opened_at = [one.opened_at for one in venue.record.connections[1:]]
    pauses = [opened - closed for closed, opened in zip(closed_at, opened_at, strict=True)]
    for pause, least in zip(pauses, (0.3, 0.6, 1.2), strict=True):
        assert least - 0.1 <= pause <= least + BUSY_S, pauses
    assert not venue.record.violations
    assert bridge.stop() == 0
