"""The dialects that add codes and take them away, end to end: real Kafka, simulator, the bridge as a process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from bridge.simulator import RequestRecord, Simulator
from bridge.simulator.market import Walk
from tests.e2e.conftest import World
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE, UNSUBSCRIBE = 22004, 22006
DIALECTS = ("action-code", "action-symbols")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def settings(world: World, venue: Simulator, **more: str) -> dict[str, str]:
    """Give a bridge's settings; the pause between requests is the dialect's own."""
    given = world.settings(venue, UPSTREAM__DIALECT=venue.config.dialect, **more)
    del given["UPSTREAM__REQUEST_INTERVAL_S"]
    return given


def stocks(count: int, first: int = 1) -> list[str]:
    return [f"HKEX:{number:05d}" for number in range(first, first + count)]


def code(dialect: str, symbol: str) -> str:
    """Spell a symbol as the venue does."""
    exchange, _, ticker = symbol.partition(":")
    if dialect == "action-code":
        return symbol
    return f"{ticker}.HK" if exchange == "HKEX" else ticker


def codes(venue: Simulator, symbols: list[str]) -> list[str]:
    return [code(venue.config.dialect, symbol) for symbol in symbols]


def published(world: World) -> dict[str, list[str]]:
    """Read the prices of each symbol, in the order of the topic."""
    found: dict[str, list[str]] = {}
    for tick in world.ticks():
        found.setdefault(tick["symbol"], []).append(tick["price"])
    return found


def sent(venue: Simulator, symbol: str) -> list[str]:
    """Give the prices that the venue sent of a symbol: pushes carry no seq, but a tick is a function of its own."""
    spelt = code(venue.config.dialect, symbol)
    walk = Walk(venue.config.seed, spelt)
    prices = [walk.tick(0).price for _ in range(venue.last_seq(spelt))]
    return [prices[seq - 1] for seq in venue.sent(spelt)]


def asked(venue: Simulator) -> list[tuple[int, int]]:
    """List what was asked for: the kind of each request, and how many codes it had."""
    return [(request.cmd_id, len(request.codes)) for request in venue.requests()]


def pauses(requests: list[RequestRecord]) -> list[float]:
    return [after.at - before.at for before, after in pairwise(requests)]


def await_published(bridge: BridgeProcess, at_least: int) -> None:
    what = f"{at_least} ticks published"
    bridge.wait_until(what, lambda: bridge.status()["accounts"]["published"] >= at_least, 30)


def state_of(bridge: BridgeProcess, symbol: str) -> tuple[str, str]:
    return next((row["state"], row["reason"]) for row in bridge.status()["symbols"] if row["symbol"] == symbol)


@pytest.mark.parametrize(
    ("dialect", "switches"),
    [
        ("action-code", {}),
        ("action-code", {"numbers": True, "answers": True}),
        ("action-symbols", {"time_unit": "s"}),
        ("action-symbols", {"time_unit": "us", "integers": True, "numbers": True, "answers": True}),
        ("action-symbols", {"time_unit": "iso"}),
    ],
    ids=str,
)
def test_symbols_in_give_keyed_ticks_out_however_the_venue_writes_them(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str, switches: dict[str, Any]
) -> None:
    venue = make_venue(dialect=dialect, switches=switches)
    world.subscribe("NASDAQ:AAPL", "HKEX:00700")
    bridge = make_bridge(settings(world, venue))
    american, chinese = codes(venue, ["NASDAQ:AAPL", "HKEX:00700"])
    venue.wait_until_subscribed(american, chinese, timeout=20)
    bridge.wait_ready()
    wire = [venue.tick_now(american, price="512.500000"), venue.tick_now(chinese, price="0.100")]
    await_published(bridge, 2)
    assert bridge.stop() == 0
    ticks = sorted(world.ticks(), key=lambda tick: tick["code"] != american)
    assert [(tick["symbol"], tick["code"], tick["price"]) for tick in ticks] == [
        ("NASDAQ:AAPL", american, "512.500000"),
        ("HKEX:00700", chinese, "0.100"),
    ]
    if dialect == "action-code":
        assert all("ts_event_us" not in tick and tick["open_24h"].endswith(".000000") for tick in ticks)
    else:
        rough = 1_000_000 if switches["time_unit"] == "s" else 1000
        assert [tick["ts_event_us"] for tick in ticks] == [one.tick_time * 1000 // rough * rough for one in wire]
    assert asked(venue) == [(SUBSCRIBE, 2)]
    assert not venue.record.violations


@every_dialect
@pytest.mark.parametrize("answers", [False, True], ids=["no answers", "answers"])
def test_adding_removing_and_changing_many_at_once_leaves_the_other_streams_and_the_connection_alone(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str, answers: bool
) -> None:
    venue = make_venue(rate=500, dialect=dialect, switches={"answers": answers, "late_ticks_s": 1.0})
    stay, go, come = stocks(30), stocks(25, 101), stocks(45, 201)
    world.subscribe(*stay)
    bridge = make_bridge(settings(world, venue, DEDUPE__WITHOUT_SEQ="false"))
    venue.wait_until_subscribed(*codes(venue, stay), timeout=20)
    bridge.wait_ready()
    assert asked(venue) == [(SUBSCRIBE, 20), (SUBSCRIBE, 10)]
    world.subscribe(*go)
    venue.wait_until_subscribed(*codes(venue, stay + go))
    world.unsubscribe("HKEX:00101")
    venue.wait_until_subscribed(*codes(venue, stay + go[1:]))
    bridge.wait_accepted(*stay, *go[1:])
    before = len(venue.requests())
    world.unsubscribe(*go[1:])
    world.subscribe(*come)
    venue.wait_until_subscribed(*codes(venue, stay + come))
    bridge.wait_accepted(*stay, *come)
    await_published(bridge, bridge.status()["accounts"]["published"] + 500)
    changes = venue.requests()[before:]
    assert Counter(one for request in changes for one in request.codes) == Counter(codes(venue, go[1:] + come))
    assert bridge.stop() == 0
    accounts = bridge.wait_for("stopped")
    assert accounts["balanced"]
    assert accounts["filtered"] > 0
    found = published(world)
    assert {symbol: found[symbol] for symbol in stay} == {symbol: sent(venue, symbol) for symbol in stay}
    assert len(venue.record.connections) == 1
    assert max(count for _, count in asked(venue)) <= 20
    assert not venue.record.violations


@every_dialect
@pytest.mark.parametrize("answers", [True, False])
def test_chunks_follow_each_other_after_50_to_100_ms(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str, answers: bool
) -> None:
    switches = {"answers": answers, "pacing": "605" if answers else "record"}
    venue = make_venue(dialect=dialect, time_scale=1, switches=switches)  # the venue's rule is 50 ms then
    world.subscribe(*stocks(300))
    bridge = make_bridge(settings(world, venue, UPSTREAM__HEARTBEAT_S="10", UPSTREAM__SILENCE_S="25"))
    venue.wait_until_subscribed(*codes(venue, stocks(300)), timeout=20)
    bridge.wait_accepted(*stocks(300))
    assert asked(venue) == [(SUBSCRIBE, 20)] * 15
    waits = sorted(pauses(venue.requests()))
    assert waits[len(waits) // 4] <= 0.1  # a busy machine delays some, and hastens none of what we decide
    if answers:  # else nothing tells us that a busy venue has taken one late
        assert waits[0] >= 0.05
        assert not venue.record.violations
    assert bridge.stop() == 0


@every_dialect
@pytest.mark.parametrize("partly", ["good", "none"])
def test_of_a_partly_failed_request_only_the_failed_are_asked_again_one_by_one(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str, partly: str
) -> None:
    symbols = stocks(15)
    bad = symbols[3], symbols[11]
    wrong = {code(dialect, symbol) for symbol in bad}
    switches = {"answers": True, "partly": partly, "unknown": frozenset(wrong)}
    venue = make_venue(rate=200, dialect=dialect, switches=switches)
    world.subscribe(*symbols)
    bridge = make_bridge(settings(world, venue))
    good = [symbol for symbol in symbols if symbol not in bad]
    venue.wait_until_subscribed(*codes(venue, good), timeout=20)
    bridge.wait_accepted(*good)
    bridge.wait_until("both rejected", lambda: all(state_of(bridge, one) == ("rejected", "venue_600") for one in bad))
    requests = [request.codes for request in venue.requests()]
    again = codes(venue, symbols) if partly == "none" else codes(venue, list(bad))
    assert requests == [tuple(codes(venue, symbols)), *((one,) for one in again)]
    # The good neighbours go on, and a newcomer is no reason to ask for anybody again.
    world.subscribe("HKEX:00500")
    venue.wait_until_subscribed(*codes(venue, [*good, "HKEX:00500"]))
    assert [request.codes for request in venue.requests()][len(requests) :] == [(code(dialect, "HKEX:00500"),)]
    assert len(venue.record.connections) == 1
    assert not venue.record.violations
    assert bridge.stop() == 0


@every_dialect
def test_two_pings_without_a_pong_are_a_reconnect_after_which_everything_is_asked_for_once(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str
) -> None:
    venue = make_venue(rate=100, dialect=dialect)
    world.subscribe(*stocks(25))
    bridge = make_bridge(settings(world, venue))
    venue.wait_until_subscribed(*codes(venue, stocks(25)), timeout=20)
    venue.wait_for(lambda record: len(record.heartbeats(1)) >= 3, timeout=10)
    beats = venue.record.heartbeats(1)
    assert all(pause <= 1.5 for pause in pauses(beats))
    # Of two, the venue may have taken the earlier one late: only the first counts.
    assert all(beat.at - beats[0].at >= 0.9 * number for number, beat in enumerate(beats))
    venue.switches.heartbeat_mute = True  # the ticks go on: it is the pongs that count
    venue.wait_for(lambda record: record.connections[0].closed_at, timeout=10)
    venue.switches.heartbeat_mute = False
    assert sum(beat.answered_at is None for beat in venue.record.heartbeats(1)) == 2
    bridge.wait_for("upstream_disconnected", reason="heartbeat")
    venue.wait_until_subscribed(*codes(venue, stocks(25)), timeout=10)
    bridge.wait_accepted(*stocks(25))
    first, second = (venue.requests(connection=number) for number in (1, 2))
    assert [len(request.codes) for request in second] == [20, 5]
    assert {one for request in second for one in request.codes} == {one for request in first for one in request.codes}
    assert len(venue.record.connections) == 2
    assert bridge.stop() == 0


def test_a_symbol_without_an_exchange_is_told_the_form_that_action_code_needs(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(dialect="action-code")
    world.subscribe("AAPL", "NASDAQ:MSFT")
    bridge = make_bridge(settings(world, venue))
    venue.wait_until_subscribed("NASDAQ:MSFT", timeout=20)
    bridge.wait_until("rejected", lambda: state_of(bridge, "AAPL") == ("rejected", "bad_symbol"))
    (row,) = (row for row in bridge.status()["symbols"] if row["symbol"] == "AAPL")
    assert "EXCHANGE:TICKER" in row["detail"]
    assert bridge.stop() == 0


@every_dialect
def test_without_an_address_it_does_not_start(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str
) -> None:
    given = settings(world, make_venue(dialect=dialect))
    del given["UPSTREAM__URL"]
    bridge = make_bridge(given)
    assert bridge.wait() == 2
    assert any("UPSTREAM__URL" in line for line in bridge.output)
