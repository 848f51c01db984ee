"""Bad codes among 3,000: found, whatever a refusal does to the list in force, and never at a neighbour's cost.

Guarantee 4. What the venue does with a list that it refuses, or with a code in it that it does not know, is
undocumented: each test here runs under every behaviour that its simulator has, or says under which.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.e2e.test_silence import symbol_state
from tests.support import audit
from tests.support.audit import Evidence, Published, Wish
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
#: Live before the bad codes come; these and `NEW` are all that the largest plan has room for.
LIVE = tuple(f"{number}.HK" for number in range(1, 2901))
NEW = tuple(f"{number}.HK" for number in range(2901, 3001))
#: New ones beside which 50 bad codes come: with all of `NEW` the search takes half as long again.
MANY_NEW = 60
RATE = 1500.0
#: Codes whose gaps are judged; that nothing sent is missing is looked at for all of them.
SAMPLE = 60
#: A gap may be wider than what is missing in it by this.
EXCESS_S = 2.0

#: Lists of 3,000 codes hold up the venue on a busy machine by most of an interval at this pace, so a heartbeat may come
#: in too soon after one that is not answered yet. Pacing is not what is tested.
SLACK_S = 0.1


def spread(count: int, among: Sequence[str]) -> tuple[str, ...]:
    """Choose so many, evenly."""
    return tuple(among[number * len(among) // count] for number in range(count))


def most_requests(bad: int, new: int) -> float:
    """Bound what halving needs: each bad code costs its way down, and every second refusal a restatement."""
    return 1.5 * (2 * bad * (math.log2(new / bad) + 1) + 2)


class Case:
    """A bridge whose `LIVE` symbols tick at a venue that refuses in some way."""

    def __init__(self, world: World, venue: Simulator, make_bridge: MakeBridge) -> None:
        self.world, self.venue, self._make_bridge = world, venue, make_bridge
        self.since = dict.fromkeys(LIVE, time.time())
        self.bad: set[str] = set()
        self.bridges: list[BridgeProcess] = []
        self.stopped_at = 0.0  # the first of them
        world.subscribe(*LIVE)
        self.start()

    @property
    def good(self) -> set[str]:
        return self.since.keys() - self.bad

    def start(self) -> BridgeProcess:
        """Start a bridge and wait until ticks flow."""
        bridge = self._make_bridge(self.world.settings(self.venue))
        self.bridges.append(bridge)
        self.await_settled()
        bridge.wait_until("ticks", lambda: bridge.status()["accounts"]["published"] > RATE / 10, 30)
        return bridge

    def add(self, codes: Sequence[str], bad: Collection[str]) -> tuple[int, float]:
        """Desire more, some of them bad; give the requests and the seconds until the last was settled."""
        self.bad |= set(bad)
        self.venue.switches.unknown = frozenset(self.bad)
        before = len(self.venue.requests(SUBSCRIBE))
        began = time.time()
        self.since |= dict.fromkeys(codes, began)
        self.world.subscribe(*codes)
        self.await_settled()
        asked = self.venue.requests(SUBSCRIBE)[before:]
        return len(asked), asked[-1].at - began

    def await_settled(self) -> None:
        """Wait until the venue has accepted a list with all the good codes, and no other."""
        count = len(self.good)

        def holds(record: Any) -> bool:
            last = record.requests(SUBSCRIBE)[-1:]
            return bool(last) and last[0].ret == 200 and len(last[0].codes) == count == len(record.subscribed)

        self.venue.wait_for(holds, 100, f"{count} good codes")
        assert self.venue.record.subscribed == self.good

    def stop(self) -> None:
        self.stopped_at = self.stopped_at or time.time()
        assert self.bridges[-1].stop() == 0
        assert self.bridges[-1].wait_for("stopped")["balanced"]

    def states(self) -> dict[str, tuple[str, str]]:
        """Read the newest status of each symbol from the topic."""
        newest = {one.key or b"": one.value for one in self.world.cluster.read_all(self.world.topic("status"))}
        told = {key.decode(): json.loads(value) for key, value in newest.items() if value is not None}
        return {symbol: (status["state"], status.get("reason", "")) for symbol, status in told.items()}

    def check_states(self) -> None:
        """Hold the status topic to the truth: the bad codes are rejected, all others are accepted."""

        def holds() -> bool:
            states = self.states()
            accepted = {symbol for symbol, (state, _) in states.items() if state in ("waiting", "live")}
            rejected = {symbol for symbol, state in states.items() if state == ("rejected", "venue_600")}
            return (accepted, rejected) == (self.good, self.bad)

        self.bridges[-1].wait_until("the topic says who is bad", holds)

    def check_requests(self) -> None:
        """Hold every list to the promise that it contains who was live, and all of them to the venue's rules."""
        live = set(LIVE)
        assert all(live <= set(request.codes) for request in self.venue.requests(SUBSCRIBE))
        assert not self.venue.record.violations
        assert len(self.venue.record.connections) == len(self.bridges)

    def check_ticks(self) -> None:
        """Hold the ticks topic to what was sent, for all; a sample to the gaps as well, tick by tick."""
        published = [
            Published(tick["symbol"], int(tick["seq"]), tick["session"])
            for tick in sorted(self.world.ticks(), key=lambda tick: int(tick["session"]))
        ]
        found: dict[str, list[int]] = {}
        for one in published:
            found.setdefault(one.symbol, []).append(one.seq)
        assert {code: found.get(code, []) for code in self.good} == {code: self.venue.sent(code) for code in self.good}
        assert sum(bridge.wait_for("stopped")["published"] for bridge in self.bridges) == len(published)
        sample = {*spread(SAMPLE, LIVE), *(self.good - set(LIVE))}
        evidence = self._evidence(sample, [one for one in published if one.symbol in sample])
        wishes = [Wish(code, code, self.since[code]) for code in sample]
        audit.judge(evidence, wishes).check(excess_max_s=EXCESS_S + 5 * (len(self.bridges) - 1))

    def _evidence(self, codes: Collection[str], published: list[Published]) -> Evidence:
        record = self.venue.record
        accepted = [(one.at, frozenset(one.codes)) for one in record.requests(SUBSCRIBE) if one.ret == 200]
        records = self.world.cluster.read_all(self.world.topic("gaps"))
        return Evidence(
            ticks={code: record.ticks(code) for code in codes},
            accepted={code: [at for at, held in accepted if code in held] for code in codes},
            published=published,
            gaps=audit.read_gaps((one.key, one.value) for one in records if (one.key or b"").decode() in codes),
        )

    def absent(self) -> int:
        """Count ticks of live codes that happened while the venue held no list with them, before the first stop."""
        first = next(one.at for one in self.venue.requests(SUBSCRIBE) if one.ret == 200)
        ticks = (tick for code in LIVE for tick in self.venue.record.ticks(code))
        return sum(tick.fate == "absent" and first < tick.at < self.stopped_at for tick in ticks)


def make_case(world: World, make_venue: MakeVenue, make_bridge: MakeBridge, refused: str) -> Case:
    venue = make_venue(rate=RATE, switches={"refused": refused, "skip_answer": "error"})
    venue.switches.pacing_slack_s = SLACK_S
    return Case(world, venue, make_bridge)


@pytest.mark.slow
@pytest.mark.parametrize("refused", ["keep", "clear", "skip"])
def test_one_bad_code_and_then_five_among_three_thousand_cost_the_live_ones_no_tick_nor_does_a_restart_try_them_again(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, refused: str
) -> None:
    case = make_case(world, make_venue, make_bridge, refused)
    for new, count in ((NEW[:50], 1), (NEW[50:], 5)):
        requests, seconds = case.add(new, spread(count, new))
        print(f"refused={refused}: {count} bad of {len(new)} new: {requests} requests, {seconds:.1f} s, ten-fold pace")
        assert requests <= most_requests(count, len(new))
    case.check_states()
    case.stop()
    assert (case.absent() > 0) == (refused == "clear")
    accepted, one_more = case.good, "AAPL.US"
    before = len(case.venue.requests(SUBSCRIBE))
    case.since[one_more] = time.time()
    world.subscribe(one_more)
    case.start()
    assert [set(request.codes) for request in case.venue.requests(SUBSCRIBE)[before:]] == [accepted, case.good]
    case.check_states()
    case.stop()
    case.check_requests()
    case.check_ticks()


@pytest.mark.slow
def test_fifty_bad_codes_among_three_thousand_cost_the_live_ones_no_tick_that_no_gap_covers(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    case = make_case(world, make_venue, make_bridge, "clear")
    new = NEW[:MANY_NEW]
    requests, seconds = case.add(new, spread(50, new))
    print(f"refused=clear: 50 bad of {len(new)} new: {requests} requests, {seconds:.1f} s, ten-fold pace")
    assert requests <= most_requests(50, len(new))
    case.check_states()
    case.stop()
    case.check_requests()
    case.check_ticks()


# A code that the venue does not understand, and says so of the whole request


@pytest.mark.parametrize("uncorrelated", ["no", "all"], ids=["named", "errors that name no request"])
def test_one_code_that_is_not_understood_among_fifty_new_costs_a_hundred_live_ones_no_tick_and_the_others_no_place(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, uncorrelated: str
) -> None:
    venue = make_venue(rate=500, switches={"uncorrelated_errors": uncorrelated})
    venue.switches.pacing_slack_s = SLACK_S
    live, new = LIVE[:100], NEW[:50]
    strange = new[17]
    world.subscribe(*live)
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed(*live, timeout=20)
    bridge.wait_for("request_accepted")
    venue.switches.strange = frozenset({strange})
    began = time.time()
    world.subscribe(*new)
    good = {*live, *new} - {strange}
    venue.wait_for(lambda record: record.subscribed == good, 30, "the 49 others")
    bridge.wait_until("rejected", lambda: symbol_state(bridge, strange) == ("rejected", "venue_400"))
    asked = venue.requests(SUBSCRIBE)[1:]
    print(f"1 strange of 50 new: {len(asked)} requests, {asked[-1].at - began:.1f} s, ten-fold pace")
    assert len(asked) <= most_requests(1, len(new))
    assert all(set(live) <= set(request.codes) for request in venue.requests(SUBSCRIBE))
    refusals = [line for line in bridge.lines if line.get("event") == "request_refused"]
    assert {(line["level"], line["ret"], line["remedy"]) for line in refusals} == {("error", 400, "narrow")}
    assert refusals[-1]["among_the_new"] == [strange]
    assert all('"symbol_list":[{"code":' in line["request"] for line in refusals)
    assert (len(venue.record.connections), venue.record.violations) == (1, [])
    assert bridge.stop() == 0
    found = world.seqs()
    assert {code: found[code] for code in live} == {code: venue.sent(code) for code in live}


# A venue that leaves out what it does not know, and says 200


AROUND_THE_CLOCK = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def silently_skipping(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, patience_s: float
) -> tuple[Simulator, BridgeProcess]:
    """A venue that skips BADUSDT without a word, and a bridge that wants it among coins that tick."""
    switches = {"refused": "skip", "skip_answer": "ack", "unknown": {"BADUSDT"}}
    venue = make_venue(rate=60, switches=switches)
    world.subscribe(*AROUND_THE_CLOCK, "BADUSDT")
    around_the_clock = {"UPSTREAM__MARKET": "other", "UPSTREAM__URL": venue.url("other")}
    bridge = make_bridge(world.settings(venue, **around_the_clock, TICKS__STALE_AFTER_S=str(patience_s)))
    venue.wait_until_subscribed(*AROUND_THE_CLOCK, timeout=20)
    return venue, bridge


def stop_with_every_tick_of_the_neighbours(world: World, venue: Simulator, bridge: BridgeProcess) -> None:
    """Stop after one connection, and hold the topic to all that the venue sent of the coins that tick."""
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
    found = world.seqs()
    assert {code: found[code] for code in AROUND_THE_CLOCK} == {code: venue.sent(code) for code in AROUND_THE_CLOCK}


def beats(venue: Simulator, count: int) -> None:
    """Wait for so many heartbeats more: they tell the time."""
    target = len(venue.record.heartbeats()) + count
    venue.wait_for(lambda record: len(record.heartbeats()) >= target, 10 + count)


def test_a_code_that_is_accepted_and_never_ticks_is_stale_and_its_neighbours_stay_live(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue, bridge = silently_skipping(world, make_venue, make_bridge, 2.0)
    bridge.wait_until("stale", lambda: symbol_state(bridge, "BADUSDT") == ("stale", "never_ticked"), 10)
    assert {symbol_state(bridge, symbol) for symbol in AROUND_THE_CLOCK} == {("live", "")}
    stop_with_every_tick_of_the_neighbours(world, venue, bridge)


def test_a_code_that_never_ticks_is_asked_for_once_more_and_then_left_alone(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue, bridge = silently_skipping(world, make_venue, make_bridge, 3.0)  # long after "waiting" was written
    venue.wait_for(lambda record: len(record.requests(SUBSCRIBE)) == 2, 15, "a second request")
    beats(venue, 7)  # two more patiences
    everything = {*AROUND_THE_CLOCK, "BADUSDT"}
    assert [set(request.codes) for request in venue.requests(SUBSCRIBE)] == [everything, everything]
    assert symbol_state(bridge, "BADUSDT") == ("stale", "never_ticked")
    told = [one for one in world.cluster.read_all(world.topic("status")) if one.key == b"BADUSDT"]
    assert [json.loads(one.value or b"")["state"] for one in told][-2:] == ["waiting", "stale"]
    stop_with_every_tick_of_the_neighbours(world, venue, bridge)


def test_a_code_that_the_venue_had_left_out_ticks_once_it_is_asked_for_again(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue, bridge = silently_skipping(world, make_venue, make_bridge, 1.5)
    venue.switches.unknown = frozenset()
    venue.wait_until_subscribed(*AROUND_THE_CLOCK, "BADUSDT", timeout=15)
    bridge.wait_until("live", lambda: symbol_state(bridge, "BADUSDT") == ("live", ""), 15)
    assert len(venue.requests(SUBSCRIBE)) == 2
    assert bridge.stop() == 0
