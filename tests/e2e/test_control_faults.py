"""The control topic fails in every way that a topic can, and the live set is never changed by an error.

Judged by the venue's own record: no request and no reconnect is caused by any of it, and ticks go on.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.e2e.test_silence import link
from tests.support.faults import kafka_behind_line
from tests.support.kafka import Cluster, KafkaBroker, unique
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

SUBSCRIBE = 22004
#: Too few for mass removals to be held: nothing but the rules under test keeps them.
LIVE = ("AAPL.US", "700.HK", "600519.SH", "TSLA.US", "5.HK")
#: The group gives up a member that it does not hear for so long.
SESSION_S = 2.0
QUICK = {"KAFKA__EXTRA": '{"socket.timeout.ms": 1500, "reconnect.backoff.max.ms": 200}'}


class Live:
    """A bridge at work, its venue and its world."""

    def __init__(self, world: World, venue: Simulator, make_bridge: MakeBridge, **more: str) -> None:
        self.world, self.venue, self._make_bridge = world, venue, make_bridge
        self._settings = world.settings(venue, **{"GROUP__SESSION_TIMEOUT_S": str(SESSION_S), **more})
        self.topic = world.topic("subscriptions")
        world.subscribe(*LIVE)
        self.bridge = self.another()
        venue.wait_until_subscribed(*LIVE, timeout=30)
        self.bridge.wait_for("request_accepted")

    def another(self) -> BridgeProcess:
        """Start one more instance of the same deployment."""
        return self._make_bridge(self._settings)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Let something happen, and expect that the venue sees nothing of it while its ticks go on."""
        record = self.venue.record
        asked = len(record.requests())
        yield
        sent, beats = {code: record.sent_count(code) for code in LIVE}, len(record.heartbeats())
        # Heartbeats tell the time: what the fault would have caused is sent within two of them.
        self.venue.wait_for(lambda now: len(now.heartbeats()) >= beats + 2, 10, "heartbeats go on")
        assert [one.codes for one in record.requests()[asked:]] == []
        assert [one.is_open for one in record.connections] == [True]
        assert all(record.sent_count(code) > sent[code] for code in LIVE)

    def control_is(self, trouble: bool) -> None:
        """Wait until the bridge knows of a trouble with the control topic, or that it is over."""
        word = "a trouble" if trouble else "no trouble"
        self.bridge.wait_until(word, lambda: bool(self.bridge.status()["control"]["trouble"]) == trouble, 20)

    def obeys(self, symbol: str) -> None:
        """Add a symbol: it costs one request, which leaves nobody out."""
        asked = len(self.venue.requests(SUBSCRIBE))
        self.world.subscribe(symbol)
        self.venue.wait_until_subscribed(*LIVE, symbol, timeout=20)
        self.ends_after(asked, [{*LIVE, symbol}])

    def ends_after(self, asked: int, expected: list[set[str]]) -> None:
        """Stop, all delivered; since the request number ``asked`` just these were made, on one connection."""
        assert self.bridge.stop() == 0
        assert self.bridge.wait_for("stopped")["balanced"]
        assert [set(one.codes) for one in self.venue.requests(SUBSCRIBE)[asked:]] == expected
        assert len(self.venue.record.connections) == 1
        assert not self.venue.record.violations
        seqs = self.world.seqs()
        assert {code: seqs[code] for code in LIVE} == {code: self.venue.sent(code) for code in LIVE}


@pytest.fixture
def live(world: World, make_venue: MakeVenue, make_bridge: MakeBridge) -> Live:
    return Live(world, make_venue(rate=200), make_bridge)


def transaction(cluster: Cluster) -> Producer:
    """Give a producer with a transaction begun."""
    producer = Producer(cluster.config(transactional_id=unique("transaction"), partitioner="murmur2_random"))
    producer.init_transactions(20)
    producer.begin_transaction()
    return producer


def test_records_that_vanish_by_compaction_or_truncation_change_nothing(live: Live) -> None:
    live.world.subscribe(*LIVE, note="again")
    live.world.subscribe("PASSING.US")
    live.venue.wait_until_subscribed(*LIVE, "PASSING.US", timeout=10)
    live.world.unsubscribe("PASSING.US")
    live.venue.wait_until_subscribed(*LIVE, timeout=10)
    with live.undisturbed():
        left = live.world.cluster.compact(live.topic)
    assert b"PASSING.US" not in {record.key for record in left}
    with live.undisturbed():
        live.world.cluster.empty_topic(live.topic)
    assert live.world.cluster.read_all(live.topic) == []
    live.obeys("NVDA.US")


def test_a_topic_deleted_and_made_anew_is_no_removal_and_its_records_written_again_cost_nothing(live: Live) -> None:
    with live.undisturbed():
        live.world.cluster.delete_topic(live.topic)
        live.control_is(trouble=True)
    with live.undisturbed():
        live.world.cluster.create_topic(live.topic, config={"cleanup.policy": "compact"})
        live.bridge.wait_until("held", lambda: link(live.bridge).get("removals_held") == len(LIVE), 30)
    with live.undisturbed():
        producer = transaction(live.world.cluster)  # all at once: the first record alone would remove the others
        for symbol in LIVE:
            producer.produce(live.topic, b"{}", symbol)
        producer.commit_transaction(20)
        live.bridge.wait_until("no longer held", lambda: link(live.bridge).get("removals_held") == 0, 20)
    live.control_is(trouble=False)
    live.obeys("NVDA.US")


def test_instances_that_come_go_and_die_disturb_nobody(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    # Two processes that start may keep the owner from the coordinator for longer than SESSION_S.
    live = Live(world, make_venue(rate=200), make_bridge, GROUP__SESSION_TIMEOUT_S="8")
    group = live.world.name
    with live.undisturbed():
        second, third = live.another(), live.another()
        for standby in (second, third):
            standby.wait_ready(30)
        live.world.cluster.wait_for_group(group, lambda one: len(one.members) == 3)
        second.process.kill()
        assert third.stop() == 0
        live.world.cluster.wait_for_group(group, lambda one: len(one.members) == 1)
    live.obeys("NVDA.US")


def test_a_transaction_counts_from_its_commit_all_at_once_and_an_aborted_one_never(live: Live) -> None:
    producer = transaction(live.world.cluster)
    asked = len(live.venue.requests(SUBSCRIBE))
    with live.undisturbed():
        for symbol in LIVE:
            producer.produce(live.topic, None, symbol)
        producer.produce(live.topic, b"{}", "GHOST.US")
        producer.flush(10)
        producer.abort_transaction(20)
    with live.undisturbed():
        producer.begin_transaction()
        producer.produce(live.topic, b"{}", "INSIDE.US")
        producer.flush(10)
        live.world.subscribe("BEHIND.US")
    producer.commit_transaction(20)
    live.venue.wait_until_subscribed(*LIVE, "INSIDE.US", "BEHIND.US", timeout=10)
    live.ends_after(asked, [{*LIVE, "INSIDE.US", "BEHIND.US"}])


@pytest.mark.slow
def test_a_kafka_out_of_reach_for_longer_than_the_group_waits_changes_nothing(
    make_kafka: Callable[..., KafkaBroker], make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    with kafka_behind_line(make_kafka) as (broker, line):
        world = World(broker.cluster)
        live = Live(world, make_venue(rate=200), make_bridge, KAFKA__BOOTSTRAP_SERVERS=line.address, **QUICK)
        asked = len(live.venue.requests(SUBSCRIBE))
        with live.undisturbed():
            line.set(stalled=True)
            live.bridge.wait_for("group_lost", 10)
            live.control_is(trouble=True)
            world.subscribe("NVDA.US")  # by another road
        line.set(stalled=False)
        live.venue.wait_until_subscribed(*LIVE, "NVDA.US", timeout=20)
        live.bridge.wait_until("delivered", lambda: live.bridge.status()["accounts"]["in_flight"] < 100, 20)
        live.ends_after(asked, [{*LIVE, "NVDA.US"}])


AUTHORIZED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.mark.slow
def test_a_right_to_read_that_is_taken_away_takes_nothing_else_away(
    make_kafka: Callable[..., KafkaBroker], make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world = World(make_kafka(AUTHORIZED).cluster)
    live = Live(world, make_venue(rate=200), make_bridge, **QUICK)
    admin = AdminClient(world.cluster.config())
    rule: tuple[Any, ...] = (ResourceType.TOPIC, live.topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*")
    rule = (*rule, AclOperation.READ, AclPermissionType.DENY)
    with live.undisturbed():
        for done in admin.create_acls([AclBinding(*rule)]).values():
            done.result(10)
        live.control_is(trouble=True)
    assert "AUTHORIZATION" in json.dumps(live.bridge.status()["control"])
    with live.undisturbed():
        for deleted in admin.delete_acls([AclBindingFilter(*rule)]).values():
            deleted.result(10)
        live.control_is(trouble=False)
    live.obeys("NVDA.US")
