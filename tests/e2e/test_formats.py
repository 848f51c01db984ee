"""Whatever the bridge writes fits the schemas, every kind of it: real records, of a real broker, in each topic."""

import json
import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from bridge import schemas
from bridge.model import State
from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.kafka import Cluster, KafkaBroker, Record
from tests.support.process import BridgeProcess
from tests.unit.test_schemas import problems

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

#: One bad record for each reason of a dead letter; `wrong_partition` is made where there are two.
UNUSABLE: dict[str, tuple[bytes | None, bytes]] = {
    "no_key": (None, b"{}"),
    "key_not_utf8": (b"\xff", b"{}"),
    "key_too_long": (b"K" * 1025, b"{}"),
    "bad_symbol": (b"two words", b"{}"),
    "too_large": (b"A.US", b'{"note":"' + b"x" * 65_536 + b'"}'),
    "not_json": (b"B.US", b"{"),
    "not_an_object": (b"C.US", b"[]"),
    "duplicate_field": (b"D.US", b'{"note":"a","note":"b"}'),
    "wrong_type": (b"AAPL.US", b'{"priority":"high"}'),
    "out_of_range": (b"F.US", b'{"stale_after_s":0}'),
    "bad_code": (b"G.US", b'{"code":"7 HK"}'),
}


def words(schema: str, field: str) -> set[str]:
    """List the words that a field's description explains or names."""
    return set(re.findall(r"\w+", schemas.load(schema)["properties"][field]["description"]))


def examples(schema: str) -> list[dict[str, Any]]:
    return list(schemas.load(schema)["examples"])


def checked(world: World, kind: str, schema: str) -> list[dict[str, Any]]:
    """Read a topic to its end; every value that is there must fit the schema, under the key that belongs to it."""
    found = [(one.key, json.loads(one.value)) for one in world.cluster.read_all(world.topic(kind)) if one.value]
    for key, value in found:
        assert problems(schema, value) == []
        about = f"{value['bridge']}/{value['partition']}" if schema == "state" else value["symbol"]
        assert key == about.encode()
    assert found
    return [value for _, value in found]


def headers(letter: Record) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in letter.headers}


def test_statuses_of_all_states_fit_the_schema_and_have_reasons_that_it_names(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    venue = make_venue(switches={"unknown": {"BADUSDT"}, "ack_delay_s": 5})
    world.subscribe("BTCUSDT", priority=5, owner="desk-3", code="BTCUSDT", stale_after_s=3600)
    world.subscribe("ETHUSDT", stale_after_s=3600, enabled=True)
    world.subscribe("SOLUSDT", stale_after_s=0.5, whim="unknown")
    world.subscribe("BADUSDT", priority=9)
    world.subscribe("AAPL.US", "NOWHERE:BTC")
    world.subscribe("COIN:BTC", code="BTCUSDT")
    world.subscribe("OFFUSDT", enabled=False)
    world.subscribe("LOWUSDT", priority=-1)
    world.cluster.produce(world.topic("subscriptions"), [("XRPUSDT", '{"priority":"high"}')])
    other = {"UPSTREAM__MARKET": "other", "UPSTREAM__URL": venue.url("other"), "UPSTREAM__MAX_SYMBOLS": "3"}
    bridge = make_bridge(world.settings(venue, **other))
    venue.wait_until_subscribed("BTCUSDT", "ETHUSDT", "SOLUSDT", timeout=30)
    venue.tick_now("BTCUSDT")
    there = {"live", "waiting", "stale", "venue_600", "duplicate_code", "over_cap", "disabled", "invalid"}

    def told(records: list[Record]) -> bool:
        said = [json.loads(one.value) for one in records if one.value]
        return there <= {word for one in said for word in (one["state"], one.get("reason"))}

    world.cluster.wait_for_records(world.topic("status"), told, 30)
    assert bridge.stop() == 0
    statuses = checked(world, "status", "status")
    assert {one["state"] for one in statuses} == {str(state) for state in State}
    reasons = {one["reason"] for one in statuses if "reason" in one}
    assert reasons <= words("status", "reason")
    assert reasons >= {"wrong_endpoint", "bad_symbol", "never_ticked", "wrong_type", "accepted_before"}
    assert {warning for one in statuses for warning in one.get("warnings", ())} == {"unknown field 'whim'"}
    sayings = {(one["state"], one["reason"]): one["detail"] for one in statuses if "detail" in one}
    for one in examples("status"):
        if one["state"] != "over_cap":  # that one names another plan's room
            assert sayings.get((one["state"], one.get("reason"))) == one.get("detail")
    assert sayings["over_cap", "over_cap"] == "the plan has room for 3"


def test_dead_letters_of_all_reasons_have_the_headers_of_the_schema(
    kafka: Cluster, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world = World(kafka, partitions=2)
    world.cluster.empty_topic(world.topic("subscriptions"))  # leaves it uncompacted: else Kafka refuses what has no key
    generous = Cluster(kafka.bootstrap, {**kafka.client, "message.max.bytes": "2000000"})
    generous.produce(world.topic("subscriptions"), [pair for pair in UNUSABLE.values() if pair[0] is not None])
    generous.produce(world.topic("subscriptions"), [UNUSABLE["no_key"]])
    for partition in (0, 1):  # it belongs to one of them
        world.cluster.produce(world.topic("subscriptions"), [("700.HK", "{}")], partition=partition)
    bridge = make_bridge(world.settings(make_venue()))
    letters = world.cluster.wait_for_records(
        world.topic("dead_letters"), lambda found: len(found) == len(UNUSABLE) + 1, 30
    )
    assert bridge.stop() == 0
    found = [headers(letter) for letter in letters]
    assert [problem for one in found for problem in problems("dead-letter-headers", one)] == []
    assert {one["tickbridge-reason"] for one in found} == {*UNUSABLE, "wrong_partition"}
    described = schemas.load("dead-letter-headers")["properties"]["tickbridge-reason"]["description"]
    assert set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", described)) == {*UNUSABLE, "wrong_partition"}
    (example,) = examples("dead-letter-headers")
    assert example.keys() == found[0].keys()
    checked(world, "status", "status")


def flowing(venue: Simulator, bridge: BridgeProcess, symbols: list[str]) -> None:
    """Wait until all symbols are subscribed to, and some ticks more are published."""
    venue.wait_until_subscribed(*symbols, timeout=40)
    before = bridge.status()["accounts"]["published"]
    bridge.wait_until("ticks", lambda: bridge.status()["accounts"]["published"] > before + 100, 40)


def newest_states(records: list[Record]) -> dict[bytes | None, dict[str, Any]]:
    return {one.key: json.loads(one.value) for one in records if one.value}


def nothing_is_open(records: list[Record], session: int) -> bool:
    """Tell whether the owner of an upstream connection, by its number, says that no gap is left open."""
    return any(one["session"] == session and "open" not in one for one in newest_states(records).values())


def forget_open_gaps(world: World) -> None:
    """Make the last words of an owner that left in order poorer by its open gaps, as if it had not got to say them."""
    newest = newest_states(world.cluster.read_all(world.topic("state")))
    assert {one["ended"] for one in newest.values()} == {"stop"}
    poorer = [(key, json.dumps({name: one[name] for name in one if name != "open"})) for key, one in newest.items()]
    world.cluster.produce(world.topic("state"), poorer)


@pytest.mark.slow
def test_gaps_and_states_of_all_causes_that_an_owner_can_have_fit_their_schemas(
    own_kafka: KafkaBroker, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    own_kafka.cluster.warm_up()
    world, venue = World(own_kafka.cluster, partitions=2), make_venue(rate=400, switches={"refuse_connections": False})
    symbols = [f"{number}.HK" for number in range(1, 21)]
    world.subscribe(*symbols)
    narrow = {"BACKPRESSURE__HANDED_OVER_MAX": "100", "BACKPRESSURE__QUEUE_MAX_BYTES": "65536"}
    given = world.settings(venue, GROUP__SESSION_TIMEOUT_S="3", GROUP__LOST_HOLD_S="0", **narrow)
    first = make_bridge(given)
    flowing(venue, first, symbols)
    venue.faults.reset()
    first.wait_for("upstream_disconnected")
    flowing(venue, first, symbols)
    own_kafka.suspend()  # overflow first, and then the group no longer hears it
    first.wait_for("queue_overflows")
    first.wait_for("ownership_given_up", 30)
    venue.wait_for(lambda record: not record.open_connections, 10)
    own_kafka.resume()
    flowing(venue, first, symbols)
    second = make_bridge(given)
    second.wait_until("a share", lambda: len(second.status()["partitions"]) == 1, 40)
    flowing(venue, second, symbols)
    (mine,) = second.status()["partitions"]
    world.cluster.wait_for_records(world.topic("state"), partial(nothing_is_open, session=mine["session"]), 20)
    second.process.send_signal(signal.SIGKILL)
    second.wait()
    first.wait_until("both", lambda: len(first.status()["partitions"]) == 2, 40)
    flowing(venue, first, symbols)
    assert first.stop() == 0
    forget_open_gaps(world)
    third = make_bridge(given)
    flowing(venue, third, symbols)
    assert third.stop() == 0
    gaps = checked(world, "gaps", "gap")
    elsewhere = {"undeliverable"}  # tests/e2e/test_kafka_faults.py: its records are checked by the judge
    assert {one["cause"] for one in gaps} == set(schemas.load("gap")["properties"]["cause"]["enum"]) - elsewhere
    assert {one["ended"] for one in checked(world, "state", "state") if "ended" in one} == {"stop", "rebalance"}
    assert {field for one in gaps for field in one} == set(schemas.load("gap")["properties"]) - {"first_seq"}
    checked(world, "ticks", "tick")
    checked(world, "status", "status")


#: What a tick has of each venue, beside what every tick has.
GIVEN = {
    "alltick": {"volume", "turnover", "side", "seq", "ts_event_us"},
    "action-code": {"open_24h"},
    "action-symbols": {"ts_event_us"},
}


@pytest.mark.parametrize("switches", [{}, {"integers": True, "numbers": True}], ids=["texts", "numbers"])
@pytest.mark.parametrize("dialect", GIVEN)
def test_ticks_of_each_dialect_fit_the_schema_with_what_the_venue_gives(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, dialect: str, switches: dict[str, Any]
) -> None:
    venue = make_venue(rate=200, dialect=dialect, switches=switches)
    world.subscribe("NASDAQ:AAPL", "HKEX:00700")
    bridge = make_bridge(world.settings(venue, UPSTREAM__DIALECT=dialect))
    bridge.wait_until("ticks", lambda: bridge.status()["accounts"]["published"] > 100, 30)
    assert bridge.stop() == 0
    ticks = checked(world, "ticks", "tick")
    assert {one["symbol"] for one in ticks} == {"NASDAQ:AAPL", "HKEX:00700"}
    always = set(schemas.load("tick")["required"])
    assert {field for one in ticks for field in one} - always == GIVEN[dialect]
