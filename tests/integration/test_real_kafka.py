"""The fixtures give a Kafka that does what a mock cluster cannot: these tests hold them to it."""

import time
from collections.abc import Callable

import psutil
import pytest
from confluent_kafka import Consumer, ConsumerGroupState

from tests.support.kafka import FAST_COMPACTION, Cluster, KafkaBroker, KafkaStartError, unique

MakeKafka = Callable[..., KafkaBroker]


def test_what_is_written_is_read_back(kafka: Cluster) -> None:
    topic = kafka.create_topic(unique("round-trip"), partitions=3)
    landed = kafka.produce(topic, [(f"k{i}", f"v{i}") for i in range(100)], headers=[("who", b"me")])
    records = kafka.read_all(topic)
    assert {(record.partition, record.offset) for record in records} == set(landed)
    assert {(record.key, record.value) for record in records} == {(b"k%d" % i, b"v%d" % i) for i in range(100)}
    assert {record.headers for record in records} == {(("who", b"me"),)}
    assert all(abs(record.timestamp_ms / 1000 - time.time()) < 60 for record in records)


def test_a_key_goes_to_the_partition_that_java_clients_choose(kafka: Cluster) -> None:
    # org.apache.kafka.common.utils.UtilsTest: murmur2("foobar") is -790332482, murmur2("21") is -973932308.
    topic = kafka.create_topic(unique("murmur2"), partitions=7)
    partitions = [partition for partition, _ in kafka.produce(topic, [("foobar", "1"), ("21", "2")])]
    assert partitions == [(-790332482 & 0x7FFFFFFF) % 7, (-973932308 & 0x7FFFFFFF) % 7]


def test_waiting_for_records_ends_when_they_come_and_says_what_it_saw_when_they_do_not(kafka: Cluster) -> None:
    topic = kafka.create_topic(unique("wait"))
    kafka.produce(topic, [("a", "1"), ("a", "2")])
    assert len(kafka.wait_for_records(topic, lambda records: len(records) == 2)) == 2
    with pytest.raises(TimeoutError, match=r"(?s)2 records, the last:.*b'2'"):
        kafka.wait_for_records(topic, lambda records: len(records) > 2, timeout_s=0.5)


@pytest.mark.slow
def test_compaction_removes_overwritten_records_and_tombstones(kafka: Cluster) -> None:
    topic = kafka.create_topic(unique("compacted"), partitions=2, config=FAST_COMPACTION)
    written = kafka.produce(topic, [(f"k{i % 10}", str(i)) for i in range(200)])
    buried = kafka.produce(topic, [("k3", None)])
    standing = kafka.compact(topic)
    offsets = {(record.partition, record.offset) for record in standing}
    assert not offsets & {*written[:190], *buried}, "overwritten records and the tombstone are gone"
    latest = {record.key: record.value for record in standing}
    assert latest == {b"k%d" % i: b"%d" % (190 + i) for i in range(10) if i != 3}


def test_a_cooperative_group_shares_partitions_and_takes_over(kafka: Cluster) -> None:
    topic, group = kafka.create_topic(unique("group"), partitions=4), unique("group")
    members = [_member(kafka, group, topic) for _ in range(2)]
    try:
        _poll_until(members, lambda: [len(member.assignment()) for member in members] == [2, 2])
        described = kafka.describe_group(group)
        assert described.state is ConsumerGroupState.STABLE
        assert sorted(len(member.assigned) for member in described.members) == [2, 2]
        assert frozenset().union(*(m.assigned for m in described.members)) == {(topic, p) for p in range(4)}
        members.pop().close()
        _poll_until(members, lambda: len(members[0].assignment()) == 4)
    finally:
        for member in members:
            member.close()


def test_a_group_that_never_was_is_described_as_dead(kafka: Cluster) -> None:
    assert kafka.describe_group(unique("nobody")).state is ConsumerGroupState.DEAD


def test_topics_do_not_come_into_being_by_being_used(kafka: Cluster) -> None:
    with pytest.raises(LookupError, match="no topic"):
        kafka.read_all(unique("never-made"))


@pytest.mark.slow
def test_a_killed_broker_comes_back_on_its_ports_with_its_data(own_kafka: KafkaBroker) -> None:
    kafka, before = own_kafka.cluster, own_kafka.bootstrap
    topic = kafka.create_topic(unique("survivor"))
    kafka.produce(topic, [(f"k{i}", "v" * 100) for i in range(1000)])
    written, pid = kafka.read_all(topic), own_kafka.pid
    own_kafka.kill()
    assert not psutil.pid_exists(pid)
    assert not own_kafka.alive
    own_kafka.start()
    assert own_kafka.bootstrap == before
    assert own_kafka.pid != pid
    assert kafka.identity() == own_kafka.cluster_id
    assert kafka.read_all(topic) == written


@pytest.mark.slow
def test_a_frozen_broker_answers_nobody_until_it_is_let_go_on(own_kafka: KafkaBroker) -> None:
    topic = own_kafka.cluster.create_topic(unique("frozen"))
    own_kafka.suspend()
    with pytest.raises(TimeoutError):
        own_kafka.cluster.produce(topic, [("k", "v")], timeout_s=1.0)
    assert own_kafka.alive
    own_kafka.resume()
    own_kafka.cluster.produce(topic, [("k", "w")])
    assert own_kafka.cluster.read_all(topic)[-1].value == b"w"


@pytest.mark.slow
def test_a_broker_leaves_nothing_behind(own_kafka: KafkaBroker) -> None:
    pid, directory = own_kafka.pid, own_kafka.directory
    assert "Kafka Server started" in (directory / "broker.log").read_text()
    own_kafka.close()
    assert not psutil.pid_exists(pid)
    assert not directory.exists()


def test_a_broker_that_cannot_start_says_why_and_its_test_is_not_skipped(make_kafka: MakeKafka) -> None:
    with pytest.raises(KafkaStartError, match=r"num\.network\.threads"):
        make_kafka({"num.network.threads": "many"})


@pytest.mark.slow
def test_a_broker_listens_and_advertises_on_loopback_only(own_kafka: KafkaBroker) -> None:
    assert own_kafka.cluster.advertised() == {own_kafka.bootstrap}
    assert own_kafka.bootstrap.startswith("127.0.0.1:")
    sockets = psutil.Process(own_kafka.pid).net_connections("inet")
    assert len([one for one in sockets if one.status == psutil.CONN_LISTEN]) == 2
    addresses = {address.ip.removeprefix("::ffff:") for one in sockets for address in (one.laddr, one.raddr) if address}
    assert addresses == {"127.0.0.1"}


def _member(kafka: Cluster, group: str, topic: str) -> Consumer:
    config = kafka.config(group_id=group, enable_auto_commit=False, heartbeat_interval_ms=200)
    member = Consumer({**config, "partition.assignment.strategy": "cooperative-sticky"})
    member.subscribe([topic])
    return member


def _poll_until(members: list[Consumer], settled: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not settled():
        assert time.monotonic() < deadline, [member.assignment() for member in members]
        for member in members:
            member.poll(0.05)
