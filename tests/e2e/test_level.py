"""Level, not edge (guarantee 2): whatever the order of records, few requests, and none that leaves out what is live.

Judged by the venue's own record: what it was asked, what it held, and that every tick of who stayed came through.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.e2e.test_guards import await_subscribed
from tests.e2e.test_silence import metric
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
#: Never touched; and those whose records come, go and change.
STAYERS = tuple(f"{number}.HK" for number in range(1, 16))
MOVERS = tuple(f"{number}.HK" for number in range(101, 131))
BAD = "BAD.US"
#: What is asked for may rest on what the topic said so long ago.
LAG_S = 1.0


def lists(venue: Simulator) -> list[set[str]]:
    """Give what was asked for, request by request."""
    return [set(request.codes) for request in venue.requests(SUBSCRIBE)]


def test_a_burst_of_single_changes_is_a_few_requests(world: World, venue: Simulator, make_bridge: MakeBridge) -> None:
    world.subscribe(*STAYERS)
    bridge = make_bridge(world.settings(venue, UPSTREAM__REQUEST_INTERVAL_S="0.3"))
    venue.wait_until_subscribed(*STAYERS, timeout=20)
    began, asked = time.time(), len(lists(venue))
    topic = world.topic("subscriptions")
    for number in range(300):  # each is added, all but every third is removed again
        code = f"{1000 + number}.HK"
        world.cluster.produce(topic, [(code, "{}"), *([(code, None)] if number % 3 else [])])
    left = {f"{1000 + number}.HK" for number in range(0, 300, 3)}
    await_subscribed(venue, *STAYERS, *left)
    requests = lists(venue)[asked:]
    assert len(requests) <= (time.time() - began) / 0.3 + 2  # as pacing allows, whatever was written
    assert len(requests) < 100
    assert all(set(STAYERS) <= codes for codes in requests)
    assert (len(venue.record.connections), venue.record.violations) == (1, [])
    assert bridge.stop() == 0


def symbol_state(bridge: BridgeProcess, symbol: str) -> tuple[str, str] | None:
    """Give state and reason of a symbol's row, if it has one."""
    return next(((row["state"], row["reason"]) for row in bridge.status()["symbols"] if row["symbol"] == symbol), None)


@dataclass
class Churn:
    """Writes records at random and remembers what they asked for, and when."""

    world: World
    chance: random.Random
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[float, frozenset[str]]] = field(default_factory=list)

    @property
    def codes(self) -> frozenset[str]:
        """What is asked for now, as the venue spells it."""
        return frozenset(one.get("code", symbol) for symbol, one in self.said.items() if one.get("enabled", True))

    def write(self, changes: dict[str, dict[str, Any] | None]) -> None:
        for symbol, fields in changes.items():
            self.said.pop(symbol, None)
            if fields is not None:
                self.said[symbol] = fields
        # Noted on both sides: who is missing from either may be left out in between.
        before = time.time()
        pairs = [(symbol, None if fields is None else json.dumps(fields)) for symbol, fields in changes.items()]
        self.world.cluster.produce(self.world.topic("subscriptions"), pairs)
        self.history += [(before, self.codes), (time.time(), self.codes)]

    def turn(self) -> None:
        """Change a few records, most in ways that the venue must not notice at its other symbols."""
        some = self.chance.sample([*MOVERS, BAD], self.chance.randint(1, 3))
        self.write({symbol: self._any(symbol) for symbol in some})
        self.write({symbol: {"note": str(self.chance.random())} for symbol in self.chance.sample(STAYERS, 2)})

    def _any(self, symbol: str) -> dict[str, Any] | None:
        ways: list[dict[str, Any] | None] = [{}, None, {"enabled": False}, {"priority": self.chance.randint(-2, 2)}]
        if symbol != BAD:  # each has two more spellings of its own
            ways.append({"code": f"{int(symbol[:3]) + self.chance.choice((100, 200))}.HK"})
        return self.chance.choice(ways)

    def always(self, since: float, until: float) -> frozenset[str]:
        """Give what was asked for all the while."""
        older = [codes for at, codes in self.history if at <= since][-1:]
        return frozenset.intersection(*older, *(codes for at, codes in self.history if since < at <= until))


@pytest.mark.parametrize("refused", ["keep", "clear", "skip"])
def test_no_request_of_a_random_churn_leaves_out_what_is_accepted_and_still_desired(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, refused: str
) -> None:
    venue = make_venue(rate=300, switches={"unknown": {BAD}, "refused": refused})
    churn = Churn(world, random.Random(refused))
    churn.write({symbol: {} for symbol in STAYERS})
    bridge = make_bridge(world.settings(venue, RECONCILE__REMOVAL_HOLD_S="0"))
    venue.wait_until_subscribed(*STAYERS, timeout=20)
    for number in range(60):
        churn.turn()
        if number % 4:  # now and then a change finds a request under way
            seen = len(venue.requests(SUBSCRIBE)) + len(venue.record.heartbeats())
            venue.wait_for(lambda now, seen=seen: len(now.requests(SUBSCRIBE)) + len(now.heartbeats()) > seen)  # type: ignore[misc]
    churn.write({BAD: None, MOVERS[0]: {}, MOVERS[1]: {"enabled": False}})
    await_subscribed(venue, *churn.codes, timeout=30)

    accepted: set[str] = set()
    requests = venue.requests(SUBSCRIBE)
    for request in requests:
        left_out = accepted & churn.always(request.at - LAG_S, request.at) - set(request.codes)
        assert left_out == set(), f"request {requests.index(request)} of {len(requests)}"
        accepted = set(request.codes) if request.ret == 200 else accepted
    assert len(requests) > 20
    assert (len(venue.record.connections), venue.record.violations) == (1, [])
    assert bridge.stop() == 0
    assert bridge.wait_for("stopped")["balanced"]
    if refused == "keep":  # else the venue itself may have stopped sending for a moment
        seqs = world.seqs()
        assert {code: seqs[code] for code in STAYERS} == {code: venue.sent(code) for code in STAYERS}


def test_a_code_changed_is_one_request_and_the_rewritten_record_of_an_incumbent_keeps_it(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=50)
    world.subscribe("HKEX:00700", "AAPL.US")
    bridge = make_bridge(world.settings(venue))
    bridge.wait_accepted("HKEX:00700", "AAPL.US")
    world.subscribe("700.HK")
    world.subscribe("HKEX:00700", note="now its record is the newer one")
    bridge.wait_until("no place", lambda: symbol_state(bridge, "700.HK") == ("rejected", "duplicate_code"))
    bridge.wait_until("read", lambda: "note" in world.statuses().get("HKEX:00700", {}).get("effective", {}))
    assert symbol_state(bridge, "HKEX:00700") in (("waiting", ""), ("live", ""))
    world.subscribe("AAPL.US", code="MSFT.US")
    await_subscribed(venue, "700.HK", "MSFT.US")
    world.subscribe("AAPL.US")
    await_subscribed(venue, "700.HK", "AAPL.US")
    world.unsubscribe("HKEX:00700")  # its code passes on
    bridge.wait_until("took over", lambda: symbol_state(bridge, "700.HK") == ("live", ""))
    world.subscribe("HKEX:00700")
    bridge.wait_until("too late", lambda: symbol_state(bridge, "HKEX:00700") == ("rejected", "duplicate_code"))
    assert lists(venue) == [{"700.HK", "AAPL.US"}, {"700.HK", "MSFT.US"}, {"700.HK", "AAPL.US"}]
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
    seqs = world.seqs()
    assert seqs["HKEX:00700"] + seqs["700.HK"] == venue.sent("700.HK")


def test_a_new_patience_takes_effect_without_a_request(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=50, switches={"silent": {"ETHUSDT"}})
    world.subscribe("BTCUSDT", "ETHUSDT")
    around_the_clock = {"UPSTREAM__MARKET": "other", "UPSTREAM__URL": venue.url("other")}
    bridge = make_bridge(world.settings(venue, **around_the_clock, TICKS__STALE_AFTER_S="300"))
    venue.wait_until_subscribed("BTCUSDT", "ETHUSDT", timeout=20)
    bridge.wait_until("live", lambda: symbol_state(bridge, "BTCUSDT") == ("live", ""))
    assert symbol_state(bridge, "ETHUSDT") == ("waiting", "")
    world.subscribe("ETHUSDT", stale_after_s=0.5)
    # Beside one that ticks it is asked for once more, with the whole list; the patience itself costs nothing.
    bridge.wait_until("stale", lambda: world.statuses().get("ETHUSDT", {}).get("state") == "stale")
    bridge.wait_for("never_ticked_asked_again")
    world.subscribe("ETHUSDT", stale_after_s=200)
    bridge.wait_until("patient", lambda: world.statuses().get("ETHUSDT", {}).get("state") == "waiting")
    assert metric(bridge, "tickbridge_subscriptions", state="stale") == 0
    assert lists(venue) == [{"BTCUSDT", "ETHUSDT"}] * 2
    assert bridge.stop() == 0
