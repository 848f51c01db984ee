"""What the usual scripts try to do, over the real path and in each dialect, where no other test shows it.

The page ``docs/venues.md`` lists it all, with the tests that hold it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.control.murmur2 import partition_of
from bridge.simulator import Simulator
from bridge.simulator.protocol import text_frame
from bridge.upstream.pacing import SLOT_OPEN_S, SLOT_S
from tests.e2e.conftest import World
from tests.e2e.test_silence import symbol_state
from tests.support.kafka import Cluster, Record
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
DIALECTS = ("alltick", "action-code", "action-symbols")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

#: How each venue spells the two symbols of most tests.
APPLE, TENCENT = "NASDAQ:AAPL", "HKEX:00700"
CODES = {
    "alltick": ("AAPL.US", "700.HK"),
    "action-code": (APPLE, TENCENT),
    "action-symbols": ("AAPL", "00700.HK"),
}
#: Exchanges that never close, so that silence means something at any hour.
ALWAYS = "us: {replace: true, timezone: UTC, sessions: {mon-sun: '00:00-24:00'}}\n"


class Stage:
    """A bridge and a venue that speak one dialect; the test decides what is sent, message by message."""

    def __init__(self, world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str) -> None:
        self.world, self.dialect = world, dialect
        self._make_venue, self._make_bridge = make_venue, make_bridge
        self.apple, self.tencent = CODES[dialect]
        self.venue: Simulator

    def start(
        self, *symbols: str, rate: float = 0, switches: dict[str, Any] | None = None, **more: str
    ) -> BridgeProcess:
        """Start both; the pause between requests is the dialect's own."""
        self.venue = self._make_venue(rate=rate, dialect=self.dialect, switches=switches)
        self.world.subscribe(*symbols)
        given = self.world.settings(self.venue, UPSTREAM__DIALECT=self.dialect, **more)
        if self.dialect != "alltick":
            del given["UPSTREAM__REQUEST_INTERVAL_S"]
        return self._make_bridge(given)

    def push(self, price: object, time_ms: int | None = None, **more: object) -> None:
        """Send one push for the American share."""
        moment = int(time.time() * 1000) if time_ms is None else time_ms
        message: dict[str, object] = {
            "alltick": {
                "cmd_id": 22998,
                "data": {"code": self.apple, "price": price, "tick_time": str(moment), **more},
            },
            "action-code": {"code": self.apple, "price": price, **more},
            "action-symbols": {"symbol": self.apple, "price": price, "time": moment},
        }[self.dialect]
        self.send(json.dumps(message))

    def send(self, text: str) -> None:
        """Send one text message as it stands."""
        self.venue.faults.send_raw(text_frame(text.encode()))

    def asked(self) -> list[tuple[int, tuple[str, ...]]]:
        return [(request.cmd_id, request.codes) for request in self.venue.requests()]

    def beats(self, count: int) -> None:
        """Wait for so many heartbeats more: they tell the time."""
        target = len(self.venue.record.heartbeats()) + count
        self.venue.wait_for(lambda record: len(record.heartbeats()) >= target, 10 + count)


@pytest.fixture
def stage(world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str) -> Stage:
    return Stage(world, make_venue, make_bridge, dialect)


def accounts(bridge: BridgeProcess) -> dict[str, int]:
    found: dict[str, int] = bridge.status()["accounts"]
    return found


def await_received(bridge: BridgeProcess, count: int) -> None:
    bridge.wait_until(f"{count} ticks received", lambda: accounts(bridge)["received"] >= count)


@every_dialect
def test_a_code_that_is_wanted_twice_is_asked_for_once_and_an_empty_change_asks_for_nothing(stage: Stage) -> None:
    stage.world.subscribe(APPLE, TENCENT, APPLE)
    stage.world.subscribe("DESK:APPLE", code=stage.apple)
    bridge = stage.start()
    stage.venue.wait_until_subscribed(stage.apple, stage.tencent, timeout=20)
    bridge.wait_accepted(APPLE, TENCENT)
    (first,) = stage.asked()
    assert (first[0], sorted(first[1])) == (SUBSCRIBE, sorted([stage.apple, stage.tencent]))
    assert symbol_state(bridge, "DESK:APPLE") == ("rejected", "duplicate_code")

    stage.world.subscribe(TENCENT, note="the same, in other words")
    stage.world.unsubscribe("NASDAQ:NOBODY", "DESK:APPLE")
    bridge.wait_until("read", lambda: len(bridge.status()["symbols"]) == 2)
    stage.beats(2)
    assert stage.asked() == [first]
    assert len(stage.venue.record.connections) == 1
    assert bridge.stop() == 0


@every_dialect
def test_null_broken_json_and_prices_that_cannot_be_are_left_out_and_the_next_tick_is_published(stage: Stage) -> None:
    bridge = stage.start(APPLE)
    stage.venue.wait_until_subscribed(stage.apple, timeout=20)
    bridge.wait_accepted(APPLE)
    rubbish = ("null", "{", "", "[]", "[null]", "7", '"text"', '{"data": null}', "not JSON")
    for text in rubbish:
        stage.send(text)
    bad: tuple[object, ...] = (0, "0", "0.000", -1, "-0.5", None, "", "abc", "NaN", "1e999999999", [], {})
    for price in bad:
        stage.push(price)
    stage.push("512.500000")
    await_received(bridge, 1 + len(bad))
    assert bridge.stop() == 0
    (tick,) = stage.world.ticks()
    assert (tick["symbol"], tick["price"]) == (APPLE, "512.500000")
    final = bridge.wait_for("stopped")
    assert (final["published"], final["invalid"], final["balanced"]) == (1, len(bad), True)
    assert len(stage.venue.record.connections) == 1


@pytest.mark.parametrize("dialect", ["action-code"])  # the only one whose venue gives that price
def test_an_opening_price_of_nothing_or_less_is_left_out_and_its_tick_stays(stage: Stage) -> None:
    bridge = stage.start(APPLE)
    stage.venue.wait_until_subscribed(stage.apple, timeout=20)
    openings = (0, "0.00", -3, None, "abc", "9.750", 9.5)
    for number, opening in enumerate(openings, 1):
        stage.push(f"{number}.0", open_24h=opening)
    await_received(bridge, len(openings))
    assert bridge.stop() == 0
    assert {tick["price"]: tick.get("open_24h") for tick in stage.world.ticks()} == {
        **{f"{number}.0": None for number in range(1, 6)},
        "6.0": "9.750",
        "7.0": "9.5",
    }


@pytest.mark.parametrize(
    ("dialect", "repeats"),
    [("alltick", 0), ("action-symbols", 0), ("action-code", 2)],  # without any time nobody can tell a repeat
    ids=DIALECTS[:1] + DIALECTS[:0:-1],
)
def test_two_trades_of_one_millisecond_are_two_and_what_comes_again_is_one(stage: Stage, repeats: int) -> None:
    bridge = stage.start(APPLE)
    stage.venue.wait_until_subscribed(stage.apple, timeout=20)
    moment = int(time.time() * 1000)
    for price in ("10.01", "10.02", "10.01", "10.02", "10.03"):
        stage.push(price, moment)
    await_received(bridge, 5)
    assert bridge.stop() == 0
    ticks = stage.world.ticks()
    assert sorted({tick["price"] for tick in ticks}) == ["10.01", "10.02", "10.03"]
    assert len(ticks) == 3 + repeats
    assert bridge.wait_for("stopped")["duplicate"] == 2 - repeats
    if stage.dialect != "action-code":
        assert {tick["ts_event_us"] for tick in ticks} == {moment * 1000}
    assert all(abs(tick["ts_recv_us"] - moment * 1000) < 60_000_000 for tick in ticks)


@every_dialect
def test_a_line_that_died_without_a_word_is_noticed_by_its_silence_and_everything_asked_for_anew(stage: Stage) -> None:
    bridge = stage.start(APPLE, TENCENT)
    stage.venue.wait_until_subscribed(stage.apple, stage.tencent, timeout=20)
    bridge.wait_accepted(APPLE, TENCENT)
    stage.venue.switches.half_open = True
    line = bridge.wait_for("upstream_disconnected")
    stage.venue.switches.half_open = False
    assert (line["reason"], line["detail"]) == ("silence", "no frame for 2.5 s")
    stage.venue.wait_for(lambda record: len(record.open_connections) == 1 and len(record.connections) >= 2, 15)
    stage.venue.wait_until_subscribed(stage.apple, stage.tencent, timeout=10)
    bridge.wait_accepted(APPLE, TENCENT)
    stage.push("512.5")
    bridge.wait_until("live again", lambda: symbol_state(bridge, APPLE) == ("live", ""))
    assert bridge.stop() == 0


@pytest.mark.parametrize("dialect", ["action-code", "action-symbols"])
@pytest.mark.parametrize("heals", [True, False], ids=["then it ticks", "and it stays mute"])
def test_who_has_no_tick_after_the_subscription_is_asked_for_once_more_alone_and_then_left_alone(
    stage: Stage, tmp_path: Path, heals: bool
) -> None:
    calendar = tmp_path / "calendar.yaml"
    calendar.write_text(ALWAYS)
    mute = {"action-code": "NASDAQ:MUTE", "action-symbols": "MUTE"}[stage.dialect]
    # The venue leaves out what it does not know, without a word.
    switches = {"unknown": frozenset({mute})}
    more = {"TICKS__CALENDAR_FILE": str(calendar), "TICKS__STALE_AFTER_S": "1.5"}
    bridge = stage.start(APPLE, "NASDAQ:MUTE", rate=50, switches=switches, **more)
    stage.venue.wait_until_subscribed(stage.apple, timeout=20)
    if heals:
        stage.venue.switches.silent = frozenset({mute})
        stage.venue.switches.unknown = frozenset()
    stage.venue.wait_for(lambda record: len(record.requests()) == 2, 15, "a second request")
    if heals:  # it may go on as soon as the topic says that it was stale
        status = stage.world.topic("status")
        stage.world.cluster.wait_for_records(status, lambda found: "stale" in states_of(found, b"NASDAQ:MUTE"))
        stage.venue.switches.silent = frozenset()
    state = ("live", "") if heals else ("stale", "never_ticked")
    bridge.wait_until("as it should be", lambda: symbol_state(bridge, "NASDAQ:MUTE") == state)
    stage.beats(4)  # two more patiences
    assert [codes for _, codes in stage.asked()][1:] == [(mute,)]
    assert (symbol_state(bridge, APPLE), symbol_state(bridge, "NASDAQ:MUTE")) == (("live", ""), state)
    assert len(stage.venue.record.connections) == 1
    assert bridge.stop() == 0
    states = states_of(stage.world.cluster.read_all(stage.world.topic("status")), b"NASDAQ:MUTE")
    assert "pending" not in states[states.index("stale") :]


def states_of(statuses: list[Record], symbol: bytes) -> list[str]:
    """Give the states that a symbol has had."""
    return [json.loads(one.value)["state"] for one in statuses if one.key == symbol and one.value]


@every_dialect
def test_a_lone_tick_is_handed_over_within_a_tenth_of_a_second_and_a_hundred_at_once_together(stage: Stage) -> None:
    bridge = stage.start(APPLE, DEDUPE__WITHOUT_SEQ="false")
    stage.venue.wait_until_subscribed(stage.apple, timeout=20)
    bridge.wait_accepted(APPLE)
    lone = 20
    for number in range(1, lone + 1):
        stage.push(f"{number}.5")
        bridge.wait_until("published", lambda count=number: accounts(bridge)["published"] == count)  # type: ignore[misc]
    buckets = latencies(bridge)
    assert buckets["+Inf"] == lone
    assert buckets["0.1"] >= lone / 2  # a busy machine may delay single ones
    for number in range(100):
        stage.push(f"1{number:03d}.5")
    bridge.wait_until("all published", lambda: accounts(bridge)["published"] == lone + 100)
    assert bridge.stop() == 0
    assert len(stage.world.ticks()) == lone + 100


def latencies(bridge: BridgeProcess) -> dict[str, float]:
    """Read the buckets of the time from a tick's receipt to Kafka's acknowledgement."""
    name = 'tickbridge_delivery_latency_seconds_bucket{le="'
    lines = [line for line in bridge.get("/metrics")[1].decode().splitlines() if line.startswith(name)]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_two_partitions_are_two_connections_that_share_symbols_and_time_in_one_process_or_in_two(
    kafka: Cluster, make_venue: MakeVenue, make_bridge: MakeBridge, processes: int
) -> None:
    world = World(kafka, partitions=2)
    venue = make_venue(rate=100, time_scale=1.0)  # time slots are the venue's seconds
    venue.switches.pacing_slack_s = 0.02  # it may see the end of a connection a moment after we do
    pace = {"UPSTREAM__REQUEST_INTERVAL_S": "1", "UPSTREAM__HEARTBEAT_S": "10", "UPSTREAM__SILENCE_S": "25"}
    pace |= {"UPSTREAM__RECONNECT_MIN_S": "3", "UPSTREAM__RECONNECT_MAX_S": "10", "UPSTREAM__ACK_TIMEOUT_S": "10"}
    bridges: list[BridgeProcess] = []
    for number in range(processes):  # one after the other: what the first has given up, the second connects
        bridges.append(make_bridge(world.settings(venue, **pace)))
        shares = [2 // (number + 1)] * (number + 1)
        bridges[0].wait_until("shared", lambda s=shares: [connected(one) for one in bridges] == s, 60)  # type: ignore[misc]
    symbols = [f"{number}.HK" for number in range(1, 21)]
    began = time.time()
    for wanted in (symbols, [*symbols, "AAPL.US", "TSLA.US", "NVDA.US", "MSFT.US"]):
        world.subscribe(*wanted)
        venue.wait_until_subscribed(*wanted, timeout=30)
    world.unsubscribe(*symbols[:5])
    venue.wait_until_subscribed(*wanted[5:], timeout=30)
    held = [set(connection.codes) for connection in venue.record.open_connections]
    by_hash = [{code for code in wanted[5:] if partition_of(code.encode(), 2) == number} for number in (0, 1)]
    assert sorted(map(sorted, held)) == sorted(map(sorted, by_hash))  # disjoint, and all of them
    for request in venue.requests():
        (partition,) = {partition_of(code.encode(), 2) for code in request.codes}
        into_s = (request.at - SLOT_S * partition) % (2 * SLOT_S)
        assert request.at >= began
        assert into_s <= SLOT_OPEN_S + 0.25, f"{into_s} s into the slot of partition {partition}"
    assert venue.record.violations == []  # the venue counts 3 s between any two connections of a token
    assert [bridge.stop() for bridge in bridges] == [0] * processes
    assert sum(bridge.wait_for("stopped")["published"] for bridge in bridges) == len(world.ticks())


def connected(bridge: BridgeProcess) -> int:
    """Count the partitions whose connection is open."""
    return sum(link["connected"] for link in bridge.status()["partitions"])
