"""Silence is a fault, and none of its forms is taken for a quiet market or the other way round (guarantee 5)."""

import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge.simulator import Simulator
from bridge.simulator.record import Record
from tests.e2e.conftest import PACE, World
from tests.support.faults import untrustworthy
from tests.support.ports import free_ports
from tests.support.process import BridgeProcess
from tests.support.tls import certificates

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
MIN_S, ACK_S = float(PACE["UPSTREAM__RECONNECT_MIN_S"]), float(PACE["UPSTREAM__ACK_TIMEOUT_S"])
#: What two busy cores may add to any wait.
SLACK_S = 0.7
CODES = ("AAPL.US", "700.HK")


def metric(bridge: BridgeProcess, name: str, **labels: str) -> float:
    """Read one series."""
    shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{re.escape(f'{name}{{{shown}}}')} (\S+)$", bridge.get("/metrics")[1].decode(), re.MULTILINE)
    assert found is not None, f"no series {name} with {shown}"
    return float(found[1])


def link(bridge: BridgeProcess) -> dict[str, Any]:
    """Give what `/status` says of the one connection; nothing while it is nobody's."""
    return dict(*bridge.status()["partitions"])


def symbol_state(bridge: BridgeProcess, symbol: str) -> tuple[str, str]:
    rows = {row["symbol"]: row for row in bridge.status()["symbols"]}
    return rows[symbol]["state"], rows[symbol]["reason"]


@pytest.fixture
def flowing(world: World, make_venue: MakeVenue, make_bridge: MakeBridge) -> Iterator[tuple[Simulator, BridgeProcess]]:
    """A bridge with two live symbols; in the end its second connection holds them, by all rules."""
    venue = make_venue(rate=200)
    world.subscribe(*CODES)
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed(*CODES, timeout=20)
    bridge.wait_until("ticks", lambda: bridge.status()["accounts"]["published"] > 50)
    yield venue, bridge
    venue.wait_for(lambda record: len(record.connections) == 2, 15, "a second connection")
    venue.wait_until_subscribed(*CODES, timeout=10)
    # What a venue that was numb finds waiting on the first came to it in one piece.
    assert [one for one in venue.record.violations if one.connection != 1] == []
    assert not venue.record.overlaps
    assert bridge.stop() == 0
    assert bridge.wait_for("stopped")["balanced"]


# An open connection on which something is missing.


def test_a_half_open_connection_is_given_up_after_the_silence_and_replaced(
    flowing: tuple[Simulator, BridgeProcess],
) -> None:
    venue, bridge = flowing
    # From the answer to a heartbeat on, silence comes half a second before the second one that goes unanswered.
    answered = len([one for one in venue.record.heartbeats(1) if one.answered_at])
    venue.wait_for(lambda now: len([one for one in now.heartbeats(1) if one.answered_at]) > answered, 10)
    began = time.monotonic()
    venue.switches.half_open = True
    line = bridge.wait_for("upstream_disconnected")
    took_s = time.monotonic() - began
    venue.switches.half_open = False
    assert line["reason"] == "silence"
    assert line["detail"] == "no frame for 2.5 s"
    assert 2.3 <= took_s <= 2.5 + SLACK_S
    assert metric(bridge, "tickbridge_upstream_disconnects_total", reason="silence") == 1


def test_heartbeats_without_an_answer_end_the_connection_though_ticks_flow(
    flowing: tuple[Simulator, BridgeProcess],
) -> None:
    venue, bridge = flowing
    venue.switches.heartbeat_mute = True
    assert bridge.wait_for("upstream_disconnected")["reason"] == "heartbeat"
    venue.switches.heartbeat_mute = False
    unanswered = [one for one in venue.record.heartbeats(1) if one.answered_at is None]
    assert len(unanswered) == 2
    assert venue.record.connections[0].ticks_sent > 50
    assert metric(bridge, "tickbridge_upstream_disconnects_total", reason="heartbeat") == 1


def test_a_request_without_an_answer_is_repeated_once_and_then_the_connection_ends(
    world: World, flowing: tuple[Simulator, BridgeProcess]
) -> None:
    venue, bridge = flowing
    before = len(venue.requests(SUBSCRIBE))
    venue.switches.drop_acks = 2
    world.subscribe("TSLA.US")
    assert bridge.wait_for("upstream_disconnected", timeout_s=10)["reason"] == "unanswered"
    asked = venue.requests(SUBSCRIBE, 1)[before:]
    assert [set(one.codes) for one in asked] == [{*CODES, "TSLA.US"}] * 2
    assert asked[1].at - asked[0].at > 0.9 * ACK_S  # the first may have been longer on its way
    assert metric(bridge, "tickbridge_upstream_requests_total", kind="subscribe", result="unanswered") == 2
    everything = {*CODES, "TSLA.US"}
    venue.wait_for(lambda now: len(now.connections) == 2 and now.subscribed == everything, 10)
    # The answers are missed, not the ticks: the first request of the new connection holds what was accepted before.
    assert set(venue.requests(SUBSCRIBE, 2)[0].codes) == set(CODES)
    world.unsubscribe("TSLA.US")


def test_a_venue_that_ceases_to_read_is_left_and_never_holds_the_loop_up(
    flowing: tuple[Simulator, BridgeProcess],
) -> None:
    venue, bridge = flowing
    venue.switches.deaf = True
    slowest = 0.0
    while not bridge.count("upstream_disconnected"):
        began = time.monotonic()
        assert bridge.get("/healthz")[0] == 200
        bridge.status()
        slowest = max(slowest, time.monotonic() - began)
        assert time.monotonic() - began < 15
    venue.switches.deaf = False
    assert bridge.wait_for("upstream_disconnected")["reason"] == "heartbeat"
    assert slowest < 0.5 + SLACK_S


def test_muted_ticks_are_no_fault_of_the_connection_but_their_symbol_is_stale_until_the_next(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue()
    world.subscribe("BTCUSDT", "ETHUSDT")
    around_the_clock = {"UPSTREAM__MARKET": "other", "UPSTREAM__URL": venue.url("other")}
    bridge = make_bridge(world.settings(venue, **around_the_clock, TICKS__STALE_AFTER_S="1.5"))
    venue.wait_until_subscribed("BTCUSDT", "ETHUSDT", timeout=20)
    venue.tick_now("BTCUSDT")
    bridge.wait_until("live", lambda: symbol_state(bridge, "BTCUSDT") == ("live", ""))
    venue.switches.mute = True
    beats = len(venue.record.heartbeats())
    bridge.wait_until("stale", lambda: symbol_state(bridge, "BTCUSDT") == ("stale", "no_tick"), 6)
    bridge.wait_until("stale", lambda: symbol_state(bridge, "ETHUSDT") == ("stale", "never_ticked"), 6)
    venue.wait_for(lambda record: len(record.heartbeats()) >= beats + 3, 6, "heartbeats through the silence")
    venue.switches.mute = False
    venue.tick_now("BTCUSDT")
    bridge.wait_until("live again", lambda: symbol_state(bridge, "BTCUSDT") == ("live", ""), 3)
    assert symbol_state(bridge, "ETHUSDT") == ("stale", "never_ticked")
    assert len(venue.record.connections) == 1
    assert len(venue.requests(SUBSCRIBE)) <= 2  # asked for once more at most
    assert bridge.get("/readyz")[0] == 200
    assert bridge.stop() == 0


# No connection at all.


def attempts(record: Record) -> list[float]:
    """Give the moments at which the bridge tried, accepted or refused."""
    return sorted([one.opened_at for one in record.connections] + [one.at for one in record.refused_upgrades])


def test_a_venue_that_hangs_up_at_once_is_tried_ever_more_slowly_up_to_the_cap(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"accept_then_close": True})
    world.subscribe(*CODES)
    cap_s = 3 * MIN_S
    bridge = make_bridge(world.settings(venue, UPSTREAM__RECONNECT_MAX_S=str(cap_s)))
    venue.wait_for(lambda record: len(attempts(record)) >= 5, 25, "five attempts")
    found = [later - earlier for earlier, later in pairwise(attempts(venue.record)[:5])]
    for wait, least in zip(found, (MIN_S, 2 * MIN_S, cap_s, cap_s), strict=True):
        assert least <= wait <= least + SLACK_S, found
    assert bridge.get("/readyz")[0] == 503
    assert not venue.record.violations
    venue.switches.accept_then_close = False
    venue.wait_until_subscribed(*CODES, timeout=10)
    bridge.wait_ready()
    assert bridge.stop() == 0


def test_a_connection_that_the_venue_has_not_reaped_yet_is_waited_out(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"max_connections": 1, "reap_delay_s": 15.0})  # of its own, ten times as fast, seconds
    world.subscribe(*CODES)
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed(*CODES, timeout=20)
    venue.faults.reset()
    line = bridge.wait_for("upstream_failed")
    assert (line["reason"], line["detail"]) == (
        "too_many_connections",
        "the venue answers the upgrade with 429: the token has a connection already",
    )
    venue.wait_for(lambda record: len(record.connections) == 2, 15)
    venue.wait_until_subscribed(*CODES, timeout=10)
    refused = [one.status for one in venue.record.refused_upgrades]
    assert set(refused) == {429}
    assert len(refused) <= 4
    assert metric(bridge, "tickbridge_upstream_sessions_total", outcome="too_many_connections") == len(refused)
    assert not venue.record.violations
    assert bridge.stop() == 0


def test_a_venue_that_is_not_there_is_named_and_tried_again(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe(*CODES)
    bridge = make_bridge(world.settings(venue, UPSTREAM__URL="wss://venue.invalid/"))
    bridge.wait_until("again", lambda: bridge.count("upstream_failed") >= 3)
    lines = [line for line in bridge.lines if line["event"] == "upstream_failed"][:3]
    assert {(line["reason"], line["detail"]) for line in lines} == {("dns", "the venue's host name is not known")}
    pauses = [line["retry_in_s"] for line in lines]
    assert pauses[0] >= MIN_S
    assert pauses == sorted(pauses)
    assert (link(bridge)["connected"], link(bridge)["reason"]) == (False, "dns")
    assert metric(bridge, "tickbridge_upstream_sessions_total", outcome="dns") >= 3
    ready, body = bridge.get("/readyz")
    assert (ready, "dns" in body.decode()) == (503, True)
    assert bridge.get("/healthz")[0] == 200
    assert bridge.stop() == 0


def test_a_venue_is_connected_only_once_it_is_there_and_its_certificate_can_be_trusted(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    kinds, good = untrustworthy(tmp_path), certificates(tmp_path)
    trusted = tmp_path / "trusted.pem"  # the authorities of all but the one that is to be unknown
    trusted.write_bytes(good["ca"].read_bytes() + kinds["expired"]["ca"].read_bytes())
    world.subscribe(*CODES)
    absent = make_venue(cert=good["cert"], key=good["key"], port=free_ports()[0])
    absent.stop()
    bridge = make_bridge(world.settings(absent, UPSTREAM__CA_FILE=str(trusted)))
    assert bridge.wait_for("upstream_failed", reason="network")["detail"] == "Connection refused"
    assert metric(bridge, "tickbridge_upstream_sessions_total", outcome="network") >= 1
    reasons = {"expired": "has expired", "wrong-host": "IP address mismatch", "unknown-ca": "unable to get"}
    for kind, reason in reasons.items():
        venue = make_venue(port=absent.port, cert=kinds[kind]["cert"], key=kinds[kind]["key"])
        bridge.wait_until(reason, lambda words=reason: words in link(bridge)["detail"])  # type: ignore[misc]
        assert (link(bridge)["connected"], link(bridge)["reason"]) == (False, "tls")
        assert "cannot be trusted" in link(bridge)["detail"]
        venue.stop()
        assert attempts(venue.record) == []
    assert metric(bridge, "tickbridge_upstream_sessions_total", outcome="tls") >= 3
    assert metric(bridge, "tickbridge_upstream_sessions_total", outcome="opened") == 0
    venue = make_venue(port=absent.port, cert=good["cert"], key=good["key"])
    venue.wait_until_subscribed(*CODES, timeout=10)
    bridge.wait_ready()
    assert bridge.stop() == 0
