"""Each bad record has one dead letter, whatever follows it, whoever owns the topic, and whatever Kafka does."""

import json
from collections.abc import Callable

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from bridge.control.murmur2 import partition_of
from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.formats import check_letters
from tests.support.kafka import Cluster, Record
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
Pair = tuple[str | bytes, bytes | None]


def configure(cluster: Cluster, topic: str, name: str, value: str) -> None:
    """Change one setting of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(cluster.config())  # named: an answer never comes to a client that is gone
    for future in admin.incremental_alter_configs([resource], request_timeout=20).values():
        future.result(25)


def make_anew(world: World) -> None:
    """Make the control topic one that keeps its records for a while, as production has it."""
    world.cluster.delete_topic(world.topic("subscriptions"))
    world.cluster.create_topic(world.topic("subscriptions"), 1, {"cleanup.policy": "compact"})


def produce(world: World, *pairs: Pair) -> None:
    world.cluster.produce(world.topic("subscriptions"), pairs)


def letters(world: World) -> list[Pair]:
    """Read what was set aside, in order."""
    found = world.cluster.read_all(world.topic("dead_letters"))
    check_letters(found)
    return [(one.key or b"", one.value) for one in found]


def await_letter(world: World, value: bytes) -> None:
    world.cluster.wait_for_records(
        world.topic("dead_letters"), lambda found: any(one.value == value for one in found), 60
    )


def states(records: list[Record]) -> dict[str, str]:
    """Give the newest state of each symbol that has one."""
    newest = {(one.key or b"").decode(): one.value for one in records}
    return {symbol: json.loads(value)["state"] for symbol, value in newest.items() if value is not None}


def await_states(world: World, **wanted: str) -> None:
    expected = {symbol.replace("_", "."): state for symbol, state in wanted.items()}
    world.cluster.wait_for_records(world.topic("status"), lambda found: states(found) == expected, 60)


def set_aside(world: World) -> tuple[int, int]:
    """Give before which offsets there are letters, as the newest state record says: without and with a symbol."""
    found = [json.loads(one.value) for one in world.cluster.read_all(world.topic("state")) if one.value]
    newest = found[-1] if found else {}
    return newest.get("set_aside", 0), newest.get("set_aside_symbols", 0)


#: Bad records that no status remembers: something good, or nothing, came right after them.
PASSED: list[Pair] = [
    ("AAPL.US", b"bad before a good one"),
    ("AAPL.US", b"{}"),
    ("GONE.US", b"bad before a tombstone"),
    ("GONE.US", None),
    ("NEVER.US", b"bad without any good one"),
    ("NEVER.US", None),
    (b"\xff", None),
]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_bad_record_that_is_repaired_at_once_is_not_set_aside_again_by_whoever_reads_it_later(
    world: World, venue: Simulator, make_bridge: MakeBridge, killed: bool
) -> None:
    make_anew(world)
    world.subscribe("AAPL.US", "GONE.US")
    first = make_bridge(world.settings(venue))
    await_states(world, AAPL_US="waiting", GONE_US="waiting")
    produce(world, *PASSED)
    await_letter(world, b"bad without any good one")
    await_states(world, AAPL_US="waiting")
    first.wait_until("the state topic remembers", lambda: set_aside(world) == (9, 7))
    if killed:
        first.process.kill()
        first.wait()
    else:
        assert first.stop() == 0
    second = make_bridge(world.settings(venue))
    produce(world, ("LAST.US", b"the last one"))
    await_letter(world, b"the last one")
    expected = [(key.encode() if isinstance(key, str) else key, value) for key, value in PASSED]
    bad = [pair for pair in expected if pair[1] not in (b"{}", None) or pair[0] == b"\xff"]
    assert letters(world) == [*bad, (b"LAST.US", b"the last one")]
    assert second.stop() == 0


def test_a_standby_that_takes_over_right_after_a_bad_record_sets_nothing_aside_twice(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    make_anew(world)
    world.subscribe("AAPL.US", "TSLA.US")
    first = make_bridge(world.settings(venue))
    await_states(world, AAPL_US="waiting", TSLA_US="waiting")
    second = make_bridge(world.settings(venue))
    second.wait_ready()
    produce(world, ("AAPL.US", b"x1"), ("TSLA.US", b"x2"), ("TSLA.US", b"{}"), (b"\xfe", b"x3"))
    await_letter(world, b"x3")
    assert first.stop() == 0
    venue.wait_for(lambda record: len(record.connections) == 2, 20)
    await_states(world, AAPL_US="invalid", TSLA_US="waiting")
    produce(world, ("LAST.US", b"the last one"))
    await_letter(world, b"the last one")
    assert [value for _, value in letters(world)] == [b"x1", b"x2", b"x3", b"the last one"]
    assert second.stop() == 0


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while nobody runs"])
def test_in_a_topic_made_anew_the_same_offsets_are_other_records(
    world: World, venue: Simulator, make_bridge: MakeBridge, running: bool
) -> None:
    make_anew(world)
    produce(world, *[("AAPL.US", b"{}")] * 20, ("AAPL.US", b"x1"), (b"\xff", b"x2"), ("AAPL.US", b"{}"))
    bridge = make_bridge(world.settings(venue))
    await_states(world, AAPL_US="waiting")
    await_letter(world, b"x2")
    bridge.wait_until("the state topic remembers", lambda: set_aside(world) == (22, 21))
    if not running:
        assert bridge.stop() == 0
    make_anew(world)
    produce(world, ("AAPL.US", b"{}"), ("AAPL.US", b"x3"), (b"\xff", b"x4"))
    if not running:
        bridge = make_bridge(world.settings(venue))
    await_letter(world, b"x4")
    await_states(world, AAPL_US="invalid")
    assert bridge.stop() == 0
    again = make_bridge(world.settings(venue))
    produce(world, ("AAPL.US", b"x5"))
    await_letter(world, b"x5")
    assert [value for _, value in letters(world)] == [b"x1", b"x2", b"x3", b"x4", b"x5"]
    assert again.stop() == 0


def test_a_stop_right_after_a_letter_was_written_remembers_it(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    make_anew(world)
    produce(world, ("AAPL.US", b"{}"))
    first = make_bridge(world.settings(venue))
    await_states(world, AAPL_US="waiting")
    produce(world, (b"\xff", b"x1"))  # no status will ever tell of it
    first.wait_for("control_record_unusable")
    assert first.stop() == 0
    second = make_bridge(world.settings(venue))
    produce(world, (b"\xff", b"x2"))
    await_letter(world, b"x2")
    assert [value for _, value in letters(world)] == [b"x1", b"x2"]
    assert second.stop() == 0


@pytest.mark.slow
def test_a_bad_record_that_comes_while_kafka_takes_no_letters_is_set_aside_by_whoever_finds_it_when_kafka_does(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    make_anew(world)
    world.subscribe("AAPL.US", "TSLA.US")
    first = make_bridge(world.settings(venue))
    await_states(world, AAPL_US="waiting", TSLA_US="waiting")
    world.cluster.delete_topic(world.topic("dead_letters"))  # for half a minute, that is a fault that may pass
    produce(world, ("AAPL.US", b"x1"), ("TSLA.US", b"x2"), ("TSLA.US", b"{}"), ("NEW.US", b"{}"))
    first.wait_until("seen", lambda: "invalid" in {row["state"] for row in first.status()["symbols"]})
    await_states(world, AAPL_US="waiting", TSLA_US="waiting", NEW_US="waiting")
    world.subscribe("NEW.US", note="told a moment after that, when nothing of before is held back any more")
    told = world.cluster.wait_for_records(
        world.topic("status"), lambda found: any(b"held back" in (one.value or b"") for one in found), 20
    )
    assert states(told)["AAPL.US"] == "waiting"  # no status remembers what has no letter
    assert set_aside(world) == (0, 0)
    first.process.kill()
    first.wait()
    world.cluster.create_topic(world.topic("dead_letters"), 1)
    second = make_bridge(world.settings(venue))
    await_letter(world, b"x2")
    await_states(world, AAPL_US="invalid", TSLA_US="waiting", NEW_US="waiting")
    assert second.stop() == 0
    assert [value for _, value in letters(world)] == [b"x1", b"x2"]


@pytest.mark.slow
def test_statuses_that_kafka_refused_are_written_once_it_takes_them(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    configure(world.cluster, world.topic("status"), "max.message.bytes", "10")
    symbols = [f"{number}.HK" for number in range(1, 51)]
    world.subscribe(*symbols)
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed(*symbols, timeout=20)
    bridge.wait_for("notice_refused", topic=world.topic("status"))
    configure(world.cluster, world.topic("status"), "max.message.bytes", "1000000")
    await_states(world, **dict.fromkeys((symbol.replace(".", "_") for symbol in symbols), "waiting"))
    assert bridge.count("notice_refused") == 1
    assert bridge.stop() == 0


def test_records_that_a_grown_topic_has_in_the_wrong_partition_are_set_aside_although_later_ones_were_before(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    make_anew(world)
    symbols = [f"{number}.HK" for number in range(1, 9)]
    world.subscribe(*symbols)
    produce(world, ("1.HK", b"x1"))
    first = make_bridge(world.settings(venue))
    await_letter(world, b"x1")
    first.wait_until("the state topic remembers", lambda: set_aside(world) == (0, 9))
    assert first.stop() == 0
    admin, topic = AdminClient(world.cluster.config()), world.topic("subscriptions")
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(25)
    strangers = {symbol for symbol in symbols if partition_of(symbol.encode(), 2) == 1}
    assert strangers
    second = make_bridge(world.settings(venue))
    venue.wait_until_subscribed(*symbols, timeout=30)
    produce(world, ("2.HK", b"x2"))
    await_letter(world, b"x2")
    found = [key.decode() for key, value in letters(world) if isinstance(key, bytes) and value == b"{}"]
    assert sorted(found) == sorted(strangers)
    assert second.stop() == 0


@pytest.mark.parametrize("compacted", [False, True])
def test_a_symbol_that_was_bad_before_any_owner_came_runs_on_what_is_left_of_it(
    world: World, venue: Simulator, make_bridge: MakeBridge, compacted: bool
) -> None:
    produce(world, ("AAPL.US", b'{"priority":3}'), ("AAPL.US", b"x1"), ("TSLA.US", b"{}"))
    if compacted:
        world.cluster.compact(world.topic("subscriptions"))
    bridge = make_bridge(world.settings(venue))
    await_states(world, AAPL_US="invalid", TSLA_US="waiting")
    venue.wait_until_subscribed(*(["TSLA.US"] if compacted else ["TSLA.US", "AAPL.US"]), timeout=20)
    assert bridge.stop() == 0
    (*_, newest) = [one for one in world.cluster.read_all(world.topic("status")) if one.key == b"AAPL.US"]
    assert json.loads(newest.value or b"").get("effective") == (None if compacted else {"priority": 3})
    assert {symbol for one in venue.requests(22004) for symbol in one.codes} >= {"TSLA.US"}
