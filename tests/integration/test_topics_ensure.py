"""The topics as the settings want them: planned, made on a real broker, and compared where they exist."""

import time
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from bridge.errors import KafkaOutOfReach, KafkaUnusable, SettingsError
from bridge.publish import topics
from bridge.publish.admin import Admin, Properties
from bridge.publish.topics import Outcome, TopicReport, TopicSpec
from bridge.settings import TopicSettings
from tests.support.kafka import Cluster, KafkaBroker, unique

KINDS = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")


def settings(**given: Any) -> TopicSettings:
    """Give settings whose topics exist nowhere yet."""
    return TopicSettings(**{**{kind: unique(kind) for kind in KINDS}, **given})


def spec(**given: Any) -> TopicSpec:
    return replace(topics.plan(settings())[0], **given)


def config_of(cluster: Cluster, name: str) -> dict[str, str]:
    admin = AdminClient(cluster.config())
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    return {key: entry.value for key, entry in admin.describe_configs([resource])[resource].result(10).items()}


def test_the_plan_has_the_six_topics_of_the_contract() -> None:
    planned = {each.name: each for each in topics.plan(TopicSettings())}
    policies = {name: each.config["cleanup.policy"] for name, each in planned.items()}
    assert policies == {
        "market-data.subscriptions": "compact",
        "market-data.ticks": "delete",
        "market-data.subscription-status": "compact",
        "market-data.gaps": "delete",
        "market-data.subscriptions.dead-letters": "delete",
        "market-data.bridge-state": "compact",
    }
    assert all(each.replication == 3 for each in planned.values())
    assert all(each.config["min.insync.replicas"] == "2" for each in planned.values())


def test_settings_give_partitions_and_retention() -> None:
    wanted = settings(
        subscriptions_partitions=4,
        ticks_partitions=7,
        ticks_retention_h=0.5,
        gaps_retention_h=2,
        tombstone_retention_h=1,
    )
    planned = {each.name: each for each in topics.plan(wanted)}
    assert planned[wanted.subscriptions].partitions == planned[wanted.status].partitions == 4
    assert planned[wanted.ticks].partitions == 7
    assert planned[wanted.state].partitions == planned[wanted.dead_letters].partitions == 1
    assert planned[wanted.ticks].config["retention.ms"] == "1800000"
    assert planned[wanted.gaps].config["retention.ms"] == "7200000"
    assert planned[wanted.subscriptions].config["delete.retention.ms"] == "3600000"
    assert planned[wanted.state].config["delete.retention.ms"] == "3600000"


@pytest.mark.parametrize(
    ("replication", "in_sync", "brokers", "fitted"),
    [
        (3, 2, 5, (3, "2")),
        (3, 2, 3, (3, "2")),
        (3, 2, 2, (2, "1")),
        (3, 2, 1, (1, "1")),
        (5, 4, 3, (3, "2")),
        (1, 2, 3, (1, "1")),
        (3, 3, 2, (2, "2")),
        (3, 1, 1, (1, "1")),
        (3, 2, 0, (1, "1")),
    ],
)
def test_replication_falls_back_and_as_many_brokers_may_be_down(
    replication: int, in_sync: int, brokers: int, fitted: tuple[int, str]
) -> None:
    wanted = topics.plan(settings(replication=replication, min_insync_replicas=in_sync))[0]
    found, notes = topics.fit(wanted, brokers)
    assert (found.replication, found.config["min.insync.replicas"]) == fitted
    assert bool(notes) == ((replication, str(in_sync)) != fitted)


def test_what_is_missing_is_made_and_the_fall_back_is_said(kafka: Cluster) -> None:
    wanted = settings(subscriptions_partitions=2, ticks_partitions=3)
    planned = topics.plan(wanted)
    names = [each.name for each in planned]
    assert topics.missing(kafka.config(), names) == names
    reports = topics.ensure(kafka.config(), planned)
    assert [report.name for report in reports] == names
    assert {report.outcome for report in reports} == {Outcome.CREATED}
    assert all("1 replica instead of 3: 1 broker" in report.details for report in reports)
    assert topics.missing(kafka.config(), names) == []
    for each in planned:
        config = config_of(kafka, each.name)
        assert {key: config[key] for key in each.config} == {**each.config, "min.insync.replicas": "1"}


def test_a_second_time_there_is_nothing_to_do_and_nothing_differs(kafka: Cluster) -> None:
    planned = topics.plan(settings())
    topics.ensure(kafka.config(), planned)
    assert topics.ensure(kafka.config(), planned) == [TopicReport(each.name, Outcome.EXISTS) for each in planned]


def test_what_differs_is_reported_and_left_alone(kafka: Cluster) -> None:
    wanted = settings(subscriptions_partitions=2)
    theirs = {"cleanup.policy": "delete", "retention.ms": "5000"}
    kafka.create_topic(wanted.subscriptions, 3, theirs)
    report = topics.ensure(kafka.config(), topics.plan(wanted))[0]
    assert report.outcome is Outcome.DIFFERS
    assert "has 3 partitions, not 2" in report.details
    assert "cleanup.policy is delete, not compact" in report.details
    config = config_of(kafka, wanted.subscriptions)
    assert {key: config[key] for key in theirs} == theirs


def test_looking_for_a_topic_does_not_make_it(kafka: Cluster) -> None:
    with KafkaBroker(extra={"auto.create.topics.enable": "true"}) as broker:
        name = unique("looked-for")
        for _ in range(3):
            assert topics.missing(broker.cluster.config(), [name]) == [name]


def test_two_operators_at_once_do_no_harm(kafka: Cluster) -> None:
    wanted = topics.plan(settings())[0]
    kafka.create_topic(wanted.name, 1, {"cleanup.policy": "compact"})
    with Admin(kafka.config(), 10) as admin:
        assert not admin.create(wanted.name, 1, 1, {})


def test_a_kafka_that_is_not_there_is_out_of_reach_in_bounded_time() -> None:
    began = time.monotonic()
    with pytest.raises(KafkaOutOfReach, match="KAFKA__BOOTSTRAP_SERVERS"):
        topics.missing({"bootstrap.servers": "127.0.0.1:1"}, ["t"], 1.0)
    with pytest.raises(KafkaOutOfReach):
        topics.ensure({"bootstrap.servers": "127.0.0.1:1"}, [spec()], 1.0)
    assert time.monotonic() - began < 6


def test_a_kafka_that_is_frozen_is_out_of_reach_in_bounded_time(own_kafka: KafkaBroker) -> None:
    config = own_kafka.cluster.config()
    assert topics.missing(config, ["t"]) == ["t"]
    own_kafka.suspend()
    try:
        began = time.monotonic()
        with pytest.raises(KafkaOutOfReach):
            topics.missing(config, ["t"], 1.0)
        assert time.monotonic() - began < 5
    finally:
        own_kafka.resume()


def test_a_property_that_is_none_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"no\.such\.thing"):
        topics.missing({"bootstrap.servers": "127.0.0.1:1", "no.such.thing": 1}, ["t"], 1.0)


@pytest.mark.parametrize(
    "broken",
    [{"partitions": 0}, {"name": "white space"}, {"config": {"min.insync.replicas": "1", "retention.ms": "x"}}],
)
def test_a_topic_that_kafka_will_not_make_is_named(kafka: Cluster, broken: dict[str, Any]) -> None:
    with pytest.raises(KafkaUnusable) as caught:
        topics.ensure(kafka.config(), [spec(**broken)])
    assert not isinstance(caught.value, KafkaOutOfReach)


SASL = {
    "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="broker" password="secret" user_broker="secret" user_alice="wonder";'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:broker;User:ANONYMOUS",
}


def as_user(broker: KafkaBroker, name: str, password: str) -> Properties:
    return {
        "bootstrap.servers": broker.bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": name,
        "sasl.password": password,
    }


def test_a_refused_log_in_and_a_missing_right_are_named_at_once_with_the_remedy(kafka: Cluster) -> None:
    client = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "broker",
        "sasl.password": "secret",
    }
    with KafkaBroker(extra=SASL, client=client) as broker:
        began = time.monotonic()
        with pytest.raises(KafkaUnusable, match="KAFKA__SASL_") as caught:
            topics.missing(as_user(broker, "alice", "wrong"), ["t"], 20.0)
        assert not isinstance(caught.value, KafkaOutOfReach)
        assert "wrong" not in str(caught.value)
        assert time.monotonic() - began < 10
        with pytest.raises(KafkaOutOfReach) as caught:  # it hangs up, and says nothing
            topics.missing({"bootstrap.servers": broker.bootstrap}, ["t"], 3.0)
        assert "SECURITY_PROTOCOL" in caught.value.remedy
        assert "brokers are down" not in str(caught.value)
        planned = topics.plan(settings())
        with pytest.raises(KafkaUnusable, match="grant"):
            topics.ensure(as_user(broker, "alice", "wonder"), planned)
        topics.ensure(broker.cluster.config(), planned)
        admin = AdminClient(broker.cluster.config())
        rule = AclBinding(
            ResourceType.TOPIC,
            planned[0].name,
            ResourcePatternType.LITERAL,
            "User:alice",
            "*",
            AclOperation.DESCRIBE,
            AclPermissionType.ALLOW,
        )
        for done in admin.create_acls([rule]).values():
            done.result(10)
        report = topics.ensure(as_user(broker, "alice", "wonder"), planned[:1])[0]
        assert report.outcome is Outcome.EXISTS
        assert "DESCRIBE_CONFIGS" in report.details[0]
