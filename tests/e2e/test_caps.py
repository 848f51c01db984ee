"""The plan's cap, end to end (guarantee 3): who gets the room, how the others show, what the venue does beyond it.

What a venue does with more codes than the plan grants is documented twice: it answers 603, or it takes the first and
ignores the rest without a word (docs/alltick.md 1.5).
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.e2e.test_silence import metric, symbol_state
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
#: One plan's worth, and three more; in the order of their records.
ROOM, SURPLUS = ("1.HK", "2.HK", "3.HK", "4.HK", "5.HK"), ("6.HK", "7.HK", "8.HK")
CAP = len(ROOM)

every_venue = pytest.mark.parametrize("over_cap", ["603", "ignored"])


def lists(venue: Simulator) -> list[set[str]]:
    """Give what was asked for, request by request."""
    return [set(request.codes) for request in venue.requests(SUBSCRIBE)]


def await_over_cap(world: World, bridge: BridgeProcess, *symbols: str) -> None:
    """Wait until status page, metrics and status topic say of exactly these that there is no room for them."""

    def holds() -> bool:
        rows = {row["symbol"]: row for row in bridge.status()["symbols"] if row["state"] == "over_cap"}
        return set(rows) == set(symbols) and {row["reason"] for row in rows.values()} == {"over_cap"}

    def told() -> bool:
        newest = {one.key or b"": one.value for one in world.cluster.read_all(world.topic("status"))}
        values = [json.loads(value) for value in newest.values() if value is not None]
        found = {one["symbol"]: one for one in values if one["state"] == "over_cap"}
        return set(found) == set(symbols) and all("room for" in one["detail"] for one in found.values())

    bridge.wait_until("over_cap on the page", holds)
    bridge.wait_until("over_cap in the topic", told)
    assert metric(bridge, "tickbridge_subscriptions", state="over_cap") == len(symbols)


@pytest.fixture
def free_plan(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, over_cap: str
) -> tuple[Simulator, BridgeProcess]:
    """A bridge and a venue with the smallest plan, and more symbols than it has room for."""
    venue = make_venue(rate=50, plan="free", reconnect_s=3.0, switches={"over_cap": over_cap})
    world.subscribe(*ROOM, *SURPLUS)
    bridge = make_bridge(world.settings(venue, UPSTREAM__PLAN="free"))
    venue.wait_until_subscribed(*ROOM, timeout=20)
    await_over_cap(world, bridge, *SURPLUS)
    line = bridge.wait_for("over_cap", symbols=len(SURPLUS), cap=CAP)
    assert (line["level"], "TICKBRIDGE_UPSTREAM__PLAN" in line["remedy"]) == ("warning", True)
    return venue, bridge


@every_venue
def test_priority_then_incumbents_then_offset_decide_and_each_change_is_one_request(
    world: World, free_plan: tuple[Simulator, BridgeProcess]
) -> None:
    venue, bridge = free_plan
    assert lists(venue) == [set(ROOM)]  # the surplus was never asked for, whatever the venue would have done with it

    # A raised priority swaps: the incumbent with the newest record makes room.
    world.subscribe("8.HK", priority=5)
    venue.wait_until_subscribed("8.HK", *ROOM[:4], timeout=5)
    await_over_cap(world, bridge, "5.HK", "6.HK", "7.HK")

    # A rewritten record is newer than its rivals', but its symbol is an incumbent; a new one of no priority waits.
    world.subscribe("1.HK", note="rewritten")
    world.subscribe("9.HK")
    await_over_cap(world, bridge, "5.HK", "6.HK", "7.HK", "9.HK")

    # Room that is given up goes to the oldest record that waits.
    world.unsubscribe("2.HK")
    venue.wait_until_subscribed("8.HK", "1.HK", "3.HK", "4.HK", "5.HK", timeout=5)
    await_over_cap(world, bridge, "6.HK", "7.HK", "9.HK")

    # Two raised at once are one swap; one lowered below all others makes room for nobody's sake but the oldest.
    world.cluster.produce(world.topic("subscriptions"), [("9.HK", '{"priority": 9}'), ("7.HK", '{"priority": 9}')])
    venue.wait_until_subscribed("9.HK", "7.HK", "8.HK", "3.HK", "4.HK", timeout=5)
    world.subscribe("8.HK", priority=-1)
    venue.wait_until_subscribed("9.HK", "7.HK", "3.HK", "4.HK", "5.HK", timeout=5)
    await_over_cap(world, bridge, "1.HK", "6.HK", "8.HK")

    assert all(len(codes) == CAP for codes in lists(venue))
    assert len(lists(venue)) == 5
    assert bridge.count("over_cap") <= 2  # one line for all changes of a minute
    assert (len(venue.record.connections), venue.record.violations) == (1, [])
    assert bridge.stop() == 0
    for code in ("3.HK", "4.HK"):  # who was in every list
        assert world.seqs()[code] == venue.sent(code)


@pytest.mark.parametrize("over_cap", ["603"])
def test_incumbents_keep_their_room_over_a_reconnect_and_a_restart(
    world: World, free_plan: tuple[Simulator, BridgeProcess], make_bridge: MakeBridge
) -> None:
    venue, bridge = free_plan
    world.subscribe(*ROOM, note="rewritten")  # now the surplus has the older records
    bridge.wait_until("read", lambda: metric(bridge, "tickbridge_control_records_total", result="used") >= 13)
    venue.faults.reset()
    venue.wait_for(lambda record: len(record.connections) == 2 and record.subscribed == set(ROOM), 10)
    assert bridge.stop() == 0
    second = make_bridge(world.settings(venue, UPSTREAM__PLAN="free"))
    venue.wait_for(lambda record: len(record.connections) == 3 and record.subscribed == set(ROOM), 20)
    await_over_cap(world, second, *SURPLUS)
    assert lists(venue) == [set(ROOM)] * 3
    assert second.stop() == 0


def test_a_cap_that_603_teaches_holds_the_most_wanted_and_lasts(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=50, switches={"max_codes": CAP, "over_cap": "603"})
    world.subscribe(*ROOM, *SURPLUS)
    world.subscribe("VIP.US", priority=1)
    bridge = make_bridge(world.settings(venue))
    held = ("VIP.US", *ROOM[:4])
    venue.wait_until_subscribed(*held, timeout=20)
    await_over_cap(world, bridge, "5.HK", *SURPLUS)
    taught = len(lists(venue))
    assert taught <= 6  # 9, 4, 6, 5: half the distance each time; a restatement in between

    # From now on it is kept to: swaps are one request, the surplus is not asked for, on a new connection neither.
    world.subscribe("8.HK", priority=5)
    venue.wait_until_subscribed("8.HK", *held[:4], timeout=5)
    await_over_cap(world, bridge, "4.HK", "5.HK", "6.HK", "7.HK")
    venue.faults.reset()
    venue.wait_for(lambda record: len(record.connections) == 2 and len(record.subscribed) == CAP, 10)
    world.subscribe("9.HK")
    await_over_cap(world, bridge, "4.HK", "5.HK", "6.HK", "7.HK", "9.HK")
    assert lists(venue)[taught:] == [{"8.HK", *held[:4]}] * 2
    assert venue.record.violations == []
    assert bridge.stop() == 0


def test_a_surplus_that_the_venue_ignores_is_the_least_wanted_and_is_seen_as_never_ticking(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    """The settings claim a larger plan than the token has, so the cap is the venue's alone, and it says nothing."""
    venue = make_venue(rate=100, switches={"max_codes": 2, "over_cap": "ignored"})
    world.subscribe("BTCUSDT", "SOLUSDT")
    world.subscribe("ETHUSDT", "XRPUSDT", priority=1)
    around_the_clock = {"UPSTREAM__MARKET": "other", "UPSTREAM__URL": venue.url("other")}
    bridge = make_bridge(world.settings(venue, **around_the_clock, TICKS__STALE_AFTER_S="2"))
    venue.wait_until_subscribed("ETHUSDT", "XRPUSDT", timeout=20)
    for symbol in ("BTCUSDT", "SOLUSDT"):
        bridge.wait_until("stale", lambda one=symbol: symbol_state(bridge, one) == ("stale", "never_ticked"), 10)  # type: ignore[misc]
    assert {symbol_state(bridge, symbol) for symbol in ("ETHUSDT", "XRPUSDT")} == {("live", "")}
    assert metric(bridge, "tickbridge_subscriptions", state="stale") == 2
    assert venue.record.subscribed == {"ETHUSDT", "XRPUSDT"}
    assert bridge.stop() == 0
