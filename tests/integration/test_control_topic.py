"""The control topic on a real broker: the group, the end of a partition, readings that never show less."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from bridge.control.murmur2 import partition_of
from bridge.control.reader import read_to_end
from bridge.control.topic import ControlTopic
from bridge.errors import KafkaUnusable
from bridge.model import Desired, Unusable, Wanted
from bridge.settings import Settings, load
from tests.support.faults import kafka_behind_line
from tests.support.kafka import FAST_COMPACTION, Cluster, KafkaBroker, unique

SESSION_S = 3.0
COMPACT = {"cleanup.policy": "compact"}


class Script:
    """A listener that writes down what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.shown: list[Desired] = []
        self.at_revoked: Callable[[], None] = lambda: None
        self.unusable: list[Unusable] = []
        self.memory: dict[str, Wanted] = {}

    def on_assigned(self, partition: int) -> None:
        self.heard.append(("assigned", partition))

    def on_desired(self, desired: Desired) -> None:
        self.shown.append(desired)
        self.heard.append(("desired", set(desired.wanted)))

    def on_revoked(self, partitions: Sequence[int]) -> None:
        self.heard.append(("revoked", list(partitions)))
        self.at_revoked()

    def on_lost(self, partitions: Sequence[int]) -> None:
        self.heard.append(("lost", list(partitions)))

    def on_unusable(self, record: Unusable) -> None:
        self.unusable.append(record)

    def remembered(self, partition: int) -> Mapping[str, Wanted]:
        return self.memory

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.heard)

    def desired(self, partition: int = 0) -> set[str] | None:
        """Give the symbols last shown for a partition; None before the first."""
        return next((set(one.wanted) for one in reversed(self.shown) if one.partition == partition), None)


class Member:
    """A control topic, its listener and its log."""

    def __init__(self, settings: Settings) -> None:
        self.script = Script()
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.topic = ControlTopic(settings, self.script, lambda event, /, **fields: self.log.append((event, fields)))

    @property
    def owned(self) -> tuple[int, ...]:
        return self.topic.snapshot().owned

    @property
    def trouble(self) -> str:
        return self.topic.snapshot().trouble


def settings_for(cluster: Cluster, topic: str, group: str | None = None, **given: Any) -> Settings:
    return load(
        kafka={"bootstrap_servers": cluster.bootstrap, **given.pop("kafka", {})},
        topics={"subscriptions": topic},
        group={"id": group or unique("group"), "session_timeout_s": SESSION_S, **given.pop("group_settings", {})},
        **given,
    )


@contextmanager
def members(*settings: Settings) -> Iterator[list[Member]]:
    made = [Member(each) for each in settings]
    try:
        yield made
    finally:
        for member in made:
            member.topic.close()


def until(true: Callable[[], bool], *turning: Member, timeout_s: float = 30.0) -> None:
    """Let the members take turns until something is true."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError([(one.script.heard, one.topic.snapshot(), one.log[-5:]) for one in turning])
        for member in turning:
            member.topic.turn(0.02)


def turn_for(seconds: float, *turning: Member) -> None:
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, *turning, timeout_s=seconds + 20)


def control_topic(cluster: Cluster, partitions: int = 1, config: dict[str, str] | None = None) -> str:
    return cluster.create_topic(unique("control"), partitions, config or COMPACT)


class Uncountable:
    """A consumer that cannot say how many partitions there are, so many times; all else is the real one's."""

    def __init__(self, consumer: Any, times: int) -> None:
        self._consumer = consumer
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def list_topics(self, *given: Any, **named: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self._consumer.list_topics(*given, **named)


@pytest.mark.parametrize("partitions", [1, 2])
def test_a_partition_is_told_of_before_what_is_desired_in_it_however_late_kafka_says_how_many_there_are(
    kafka: Cluster, partitions: int
) -> None:
    topic = control_topic(kafka, partitions)
    kafka.produce(topic, [("A", "{}"), ("B", "{}")])
    stray = ("A", '{"priority": 1}')
    if partitions == 2:
        kafka.produce(topic, [stray], partition=1 - partition_of(b"A", 2))
    with members(settings_for(kafka, topic)) as (one,):
        one.topic._consumer = deaf = Uncountable(one.topic._consumer, times=5)  # type: ignore[assignment]
        until(lambda: deaf.left == 0, one)
        assert one.script.heard == []
        assert one.topic.folds() == []
        until(lambda: len(one.script.shown) == partitions, one)
        assert {name for name, _ in one.script.heard[:partitions]} == {"assigned"}
        assert set().union(*(shown.wanted for shown in one.script.shown)) == {"A", "B"}
        reasons = {record.reason for record in one.script.unusable}
        assert reasons == ({"wrong_partition"} if partitions == 2 else set())


def test_nothing_is_said_before_the_partition_was_read_to_its_end(kafka: Cluster) -> None:
    topic = control_topic(kafka)
    kafka.produce(topic, [(f"S{number % 1500}", "{}") for number in range(3000)])
    with members(settings_for(kafka, topic)) as (one,):
        until(lambda: bool(one.script.shown), one)
        assert one.script.heard[0] == ("assigned", 0)
        assert one.script.count("desired") == 1
        assert len(one.script.shown[0].wanted) == 1500
        snapshot = one.topic.snapshot()
        assert (snapshot.owned, snapshot.caught_up, snapshot.member, snapshot.lag) == ((0,), (0,), True, 0)
        assert dict(snapshot.records) == {"used": 3000, "tombstone": 0, "invalid": 0}


def test_an_empty_topic_is_a_desired_set_with_nothing_in_it(kafka: Cluster) -> None:
    with members(settings_for(kafka, control_topic(kafka))) as (one,):
        until(lambda: one.script.desired() == set(), one)


def test_overwritten_records_tombstones_and_empty_objects_are_folded(kafka: Cluster) -> None:
    topic = control_topic(kafka)
    kafka.produce(
        topic, [("A", '{"priority":1}'), ("B", "{}"), ("GONE", "{}"), ("A", '{"priority":2}'), ("GONE", None)]
    )
    with members(settings_for(kafka, topic)) as (one,):
        until(lambda: one.script.desired() == {"A", "B"}, one)
        assert one.script.shown[-1].wanted["A"].subscription.priority == 2
        assert one.script.shown[-1].wanted["A"].offset == 3


def test_changes_are_told_as_they_come_and_a_burst_is_told_together(kafka: Cluster) -> None:
    topic = control_topic(kafka)
    with members(settings_for(kafka, topic)) as (one,):
        until(lambda: bool(one.script.shown), one)
        kafka.produce(topic, [("A", "{}")])
        until(lambda: one.script.desired() == {"A"}, one)
        before = one.script.count("desired")
        kafka.produce(topic, [(f"S{number}", "{}") for number in range(2000)])
        until(lambda: len(one.script.shown[-1].wanted) == 2001, one)
        assert one.script.count("desired") - before < 50
        kafka.produce(topic, [("A", None)])
        until(lambda: "A" not in one.script.shown[-1].wanted, one)


def test_what_stands_in_a_truly_compacted_topic_is_desired(kafka: Cluster) -> None:
    topic = control_topic(kafka, config=dict(FAST_COMPACTION))
    kafka.produce(topic, [(f"S{number % 5}", json.dumps({"priority": number})) for number in range(300)])
    kafka.produce(topic, [("S0", None)])
    left = kafka.compact(topic)
    assert len(left) < 20
    with members(settings_for(kafka, topic)) as (one,):
        until(lambda: one.script.desired() == {"S1", "S2", "S3", "S4"}, one)
        assert one.script.shown[-1].wanted["S4"].subscription.priority == 299


@pytest.mark.parametrize("last", ["committed", "aborted"])
def test_a_transaction_at_the_end_hides_nothing_and_holds_nothing_up(kafka: Cluster, last: str) -> None:
    topic = control_topic(kafka)
    producer = Producer(kafka.config(transactional_id=unique("transaction")))
    producer.init_transactions(20)
    for symbol, outcome in (("A", "committed"), ("B", "aborted"), ("C", "committed"), ("D", last)):
        producer.begin_transaction()
        producer.produce(topic, "{}", symbol)
        producer.flush(10)
        if outcome == "committed":
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)
    expected = {"A", "C", "D"} if last == "committed" else {"A", "C"}
    kafka.wait_for_records(topic, lambda found: {(one.key or b"").decode() for one in found} == expected)
    with members(settings_for(kafka, topic)) as (one,):
        until(lambda: bool(one.script.shown), one)
        assert one.script.desired() == expected
        assert one.topic.snapshot().lag == 0


def test_no_bad_record_stops_it(kafka: Cluster) -> None:
    topic = control_topic(kafka, config={"cleanup.policy": "delete"})  # a compacted topic takes no record without a key
    bad: list[tuple[str | bytes | None, str | bytes | None]] = [
        (None, "{}"),
        (None, None),
        (b"\xff\xfe", "{}"),
        ("A", "{"),
        ("A", b"\x00\xff"),
        ("A", "[" * 50_000),
        ("A", "x" * 70_000),
        ("", "{}"),
        ("two words", "{}"),
        ("B", '{"priority":"x"}'),
        ("C", '{"x":1,"x":2}'),
    ]
    kafka.produce(topic, [("A", '{"priority":7}'), *bad, ("Z", "{}")])
    with members(settings_for(kafka, topic)) as (one,):
        until(lambda: one.script.desired() == {"A", "Z"}, one)
        assert one.script.shown[-1].wanted["A"].subscription.priority == 7
        snapshot = one.topic.snapshot()
        assert dict(snapshot.records) == {"used": 2, "tombstone": 0, "invalid": len(bad)}
        assert snapshot.old_records == 1
        kafka.produce(topic, [*bad, ("Y", "{}")])
        until(lambda: one.script.desired() == {"A", "Y", "Z"}, one)


def test_of_two_members_of_one_partition_one_is_a_standby_until_the_other_leaves(kafka: Cluster) -> None:
    topic, group = control_topic(kafka), unique("group")
    kafka.produce(topic, [("A", "{}")])
    settings = settings_for(kafka, topic, group)
    with members(settings, settings) as (one, two):
        until(lambda: one.script.desired() == {"A"}, one)
        until(lambda: two.topic.snapshot().member, one, two)
        assert two.owned == ()
        assert two.script.heard == []
        assert one.owned == (0,)
        assert one.script.count("revoked") == 0
        one.topic.close()
        began = time.monotonic()
        until(lambda: two.script.desired() == {"A"}, two)
        assert time.monotonic() - began < SESSION_S  # it is told, and waits for nothing to expire
        assert one.script.count("revoked") == 0
        left = one.topic.snapshot()
        assert (left.owned, left.member) == ((), False)


def test_a_second_member_gets_its_partition_when_the_first_has_let_go(kafka: Cluster) -> None:
    topic, group = control_topic(kafka, partitions=2), unique("group")
    for partition, symbol in ((0, "A"), (1, "D")):
        kafka.produce(topic, [(symbol, "{}")], partition=partition)
    settings = settings_for(kafka, topic, group)
    with members(settings, settings) as (one, two):
        until(lambda: one.topic.snapshot().caught_up == (0, 1), one)
        assert one.topic.partitions == 2
        assert (one.script.desired(0), one.script.desired(1)) == ({"A"}, {"D"})
        seen_at_revoked: list[tuple[Any, Any]] = []
        one.script.at_revoked = lambda: seen_at_revoked.append((one.owned, list(two.script.heard)))
        until(lambda: bool(two.script.shown), one, two)
        assert one.script.heard[-1] == ("revoked", [two.owned[0]])
        assert seen_at_revoked == [((0, 1), [])]
        until(lambda: len(one.owned) == 1, one, two)
        assert set(one.owned) | set(two.owned) == {0, 1}
        kept, moved = one.owned[0], two.owned[0]
        assert [event for event in one.script.heard if event == ("assigned", kept)] == [("assigned", kept)]
        assert two.script.desired(moved) == ({"A"}, {"D"})[moved]


def test_no_offset_is_ever_committed(kafka: Cluster) -> None:
    topic, group = control_topic(kafka), unique("group")
    kafka.produce(topic, [("A", "{}")])
    with members(settings_for(kafka, topic, group)) as (one,):
        until(lambda: one.script.desired() == {"A"}, one)
        turn_for(1.0, one)
    admin = AdminClient(kafka.config())
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    found = admin.list_consumer_group_offsets([asked])[group].result(10)
    assert [one.offset for one in found.topic_partitions] == [-1001]


def test_a_standby_whose_line_died_without_a_word_stands_aside_comes_back_and_can_take_over(
    make_kafka: Callable[..., KafkaBroker],
) -> None:
    with kafka_behind_line(make_kafka) as (broker, line):
        topic, group = control_topic(broker.cluster), unique("group")
        broker.cluster.produce(topic, [("A", "{}")])
        straight = settings_for(broker.cluster, topic, group)
        with members(
            straight, settings_for(broker.cluster, topic, group, kafka={"bootstrap_servers": line.address})
        ) as (
            owner,
            standby,
        ):
            until(lambda: owner.owned == (0,), owner)
            until(lambda: standby.topic.snapshot().member, owner, standby)
            assert standby.owned == ()
            line.half_open()
            until(lambda: "standby_steps_aside" in [event for event, _ in standby.log], owner, standby)
            assert not standby.topic.snapshot().member
            until(lambda: standby.topic.snapshot().member, owner, standby)
            assert (owner.owned, owner.script.count("lost"), owner.script.count("revoked")) == ((0,), 0, 0)
            owner.topic.close()
            until(lambda: standby.script.desired() == {"A"}, standby)


def test_a_broker_that_dies_takes_nothing_away(own_kafka: KafkaBroker) -> None:
    topic = control_topic(own_kafka.cluster)
    own_kafka.cluster.produce(topic, [("A", "{}"), ("B", "{}"), ("GONE", "{}"), ("GONE", None)])
    with members(settings_for(own_kafka.cluster, topic)) as (one,):
        until(lambda: one.script.desired() == {"A", "B"}, one)
        own_kafka.kill()
        until(lambda: bool(one.trouble), one)
        assert one.owned == (0,)
        until(lambda: one.script.count("lost") == 1, one, timeout_s=SESSION_S + 5)
        turn_for(1.0, one)
        snapshot = one.topic.snapshot()
        assert (snapshot.owned, snapshot.member) == ((), False)
        assert snapshot.trouble_since > 0
        own_kafka.start()
        own_kafka.cluster.produce(topic, [("C", "{}")])
        until(lambda: one.script.desired() == {"A", "B", "C"}, one)
        until(lambda: one.trouble == "", one)
        assert one.script.count("revoked") == 0
        assert {frozenset(shown.wanted) for shown in one.script.shown} == {frozenset("AB"), frozenset("ABC")}
        assert [event for event, _ in one.log].count("librdkafka") < 20


def test_a_frozen_broker_is_trouble_and_closing_does_not_wait_for_it(own_kafka: KafkaBroker) -> None:
    topic = control_topic(own_kafka.cluster)
    own_kafka.cluster.produce(topic, [("A", "{}")])
    with members(settings_for(own_kafka.cluster, topic)) as (one,):
        until(lambda: one.script.desired() == {"A"}, one)
        own_kafka.suspend()
        try:
            until(lambda: one.script.count("lost") == 1, one, timeout_s=SESSION_S + 5)
            assert one.trouble
            began = time.monotonic()
            one.topic.close()
            assert time.monotonic() - began < 7
            assert one.script.count("revoked") == 0
        finally:
            own_kafka.resume()


def live_alone(settings: Settings, pipe: Connection) -> None:
    """Be a member in a process of one's own, and send on what the listener hears."""
    with members(settings) as (one,):
        sent = 0
        while not pipe.poll():
            one.topic.turn(0.05)
            for event in one.script.heard[sent:]:
                pipe.send(event)
            sent = len(one.script.heard)


def hear(pipe: Connection, event: str, timeout_s: float = 30.0) -> Any:
    """Wait for an event of the other process and give its detail."""
    while pipe.poll(timeout_s):
        name, detail = pipe.recv()
        if name == event:
            return detail
    raise AssertionError(event)


def test_a_partition_lost_in_a_freeze_and_given_to_another_is_revoked_after_all(kafka: Cluster) -> None:
    topic, group = control_topic(kafka), unique("group")
    kafka.produce(topic, [("A", "{}")])
    settings = settings_for(kafka, topic, group)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    frozen = multiprocessing.get_context("spawn").Process(target=live_alone, args=(settings, theirs), daemon=True)
    frozen.start()
    assert frozen.pid is not None
    try:
        assert hear(ours, "desired") == {"A"}
        with members(settings) as (two,):
            until(lambda: two.topic.snapshot().member, two)
            os.kill(frozen.pid, signal.SIGSTOP)
            until(lambda: two.script.desired() == {"A"}, two, timeout_s=SESSION_S + 10)
            os.kill(frozen.pid, signal.SIGCONT)
            assert hear(ours, "lost") == [0]
            until(lambda: ours.poll(0.05), two)
            assert hear(ours, "revoked") == [0]
            assert two.owned == (0,)
            assert two.script.count("revoked") == 0
            ours.send("stop")
            frozen.join(20)
            assert frozen.exitcode == 0
    finally:
        frozen.kill()
        frozen.join(10)


def test_a_standby_is_no_member_while_kafka_is_gone(own_kafka: KafkaBroker) -> None:
    topic, group = control_topic(own_kafka.cluster), unique("group")
    settings = settings_for(own_kafka.cluster, topic, group)
    with members(settings, settings) as (one, two):
        until(lambda: bool(one.script.shown), one)
        until(lambda: two.topic.snapshot().member, one, two)
        own_kafka.kill()
        until(lambda: not two.topic.snapshot().member, one, two, timeout_s=3 * SESSION_S + 5)
        assert two.trouble
        own_kafka.start()
        until(lambda: one.topic.snapshot().member and two.topic.snapshot().member, one, two)
        until(lambda: (one.trouble, two.trouble) == ("", ""), one, two)
        assert len(one.owned + two.owned) == 1


def test_a_topic_deleted_leaves_all_as_it_was_and_its_successor_is_read_as_a_whole(kafka: Cluster) -> None:
    topic = control_topic(kafka)
    kafka.produce(topic, [("A", "{}"), ("B", "{}")])
    with members(settings_for(kafka, topic, kafka={"extra": {"topic.metadata.refresh.interval.ms": 500}})) as (one,):
        until(lambda: one.script.desired() == {"A", "B"}, one)
        kafka.delete_topic(topic)
        until(lambda: one.script.count("lost") == 1, one)
        assert "UNKNOWN" in one.trouble
        assert one.script.desired() == {"A", "B"}
        assert one.script.count("revoked") == 0
        kafka.create_topic(topic, 1, COMPACT)
        until(lambda: one.topic.snapshot().caught_up == (0,), one)
        assert one.script.desired() == {"A", "B"}
        kafka.produce(topic, [("A", "{"), ("C", "{}")])
        until(
            lambda: one.script.desired() == {"A", "C"}, one
        )  # of A only an unusable record is left: the old one holds
        assert one.topic.snapshot().old_records == 1
        until(lambda: one.trouble == "", one)


def test_a_topic_made_anew_in_a_moment_is_not_read_from_its_middle(kafka: Cluster) -> None:
    topic = control_topic(kafka)
    kafka.produce(topic, [("A", "{}"), ("B", "{}")])
    # For so long after its creation a topic may be unknown without being missed.
    at_once = {"extra": {"topic.metadata.propagation.max.ms": 0}}
    with members(settings_for(kafka, topic, kafka=at_once)) as (one,):
        until(lambda: one.script.desired() == {"A", "B"}, one)
        kafka.delete_topic(topic)
        kafka.create_topic(topic, 1, COMPACT)
        kafka.produce(topic, [(f"N{number}", "{}") for number in range(6)])
        until(lambda: one.script.desired() == {f"N{number}" for number in range(6)}, one)
        assert not any(set(shown.wanted) < {"A", "B"} for shown in one.script.shown)


def test_a_missing_topic_is_named_with_its_remedy(kafka: Cluster) -> None:
    name = unique("nowhere")
    with members(settings_for(kafka, name)) as (one,), pytest.raises(KafkaUnusable) as caught:
        until(lambda: False, one)
    assert name in caught.value.what
    assert "topics ensure" in caught.value.remedy


def test_a_session_timeout_that_the_brokers_refuse_is_named(kafka: Cluster) -> None:
    settings = settings_for(kafka, control_topic(kafka))
    tiny = settings.model_copy(update={"group": settings.group.model_copy(update={"session_timeout_s": 0.5})})
    with members(tiny) as (one,), pytest.raises(KafkaUnusable, match="GROUP__SESSION_TIMEOUT_S"):
        until(lambda: False, one)


def test_no_kafka_at_all_is_trouble_and_no_error() -> None:
    nowhere = Cluster("127.0.0.1:1")
    with members(settings_for(nowhere, "control")) as (one,):
        until(lambda: bool(one.trouble), one)
        assert not one.topic.snapshot().member


AUTHORIZED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


def deny(cluster: Cluster, kind: ResourceType, name: str) -> None:
    rule = AclBinding(
        kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", AclOperation.READ, AclPermissionType.DENY
    )
    admin = AdminClient(cluster.config())  # named: an answer never comes to a client that is gone
    for done in admin.create_acls([rule]).values():
        done.result(10)
    any_: Any = None  # the stubs want a text where the library takes this too
    literal, either = ResourcePatternType.LITERAL, AclPermissionType.ANY
    standing = AclBindingFilter(kind, name, literal, any_, any_, AclOperation.ANY, either)
    end = time.monotonic() + 10
    while not admin.describe_acls(standing).result(10):
        assert time.monotonic() < end, "the broker does not take the rule over"


def test_what_kafka_does_not_let_us_read_is_named_with_its_remedy(kafka: Cluster) -> None:
    with KafkaBroker(extra=AUTHORIZED) as broker:
        topic = control_topic(broker.cluster)
        deny(broker.cluster, ResourceType.TOPIC, topic)
        settings = settings_for(broker.cluster, topic)
        with members(settings) as (one,), pytest.raises(KafkaUnusable, match="READ") as caught:
            until(lambda: False, one)
        assert topic in str(caught.value)
        with pytest.raises(KafkaUnusable, match=f"as the group {settings.group_id}-reader.* READ"):
            read_to_end(settings, lambda *_, **__: None)
        other, group = control_topic(broker.cluster), unique("group")
        deny(broker.cluster, ResourceType.GROUP, group)
        with members(settings_for(broker.cluster, other, group)) as (one,), pytest.raises(KafkaUnusable, match="group"):
            until(lambda: False, one)
