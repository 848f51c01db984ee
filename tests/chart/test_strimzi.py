"""Strimzi's objects are what the bridge itself would make and needs, no more and no less."""

from typing import Any

import pytest

from bridge.publish import acls
from bridge.publish.acls import Who
from bridge.publish.topics import plan
from bridge.settings.groups import TopicSettings
from scripts.chart_schema import path
from scripts.settings_table import settings
from tests.chart.examples import CI, GOOD, changed, container, settings_of, variables
from tests.support.helm import Chart, Manifests

ON = ("strimzi", {"enabled": True, "cluster": "events"})
SHAPES: list[dict[str, Any]] = [
    {},
    {"ticks": "Some_Ticks", "ticks_partitions": 48, "ticks_retention_h": 0.1, "subscriptions_partitions": 3},
    {"replication": 1, "min_insync_replicas": 1, "tombstone_retention_h": 24.5, "gaps_retention_h": 1.0},
]


def shaped(shape: dict[str, Any], *more: tuple[str, Any]) -> dict[str, Any]:
    places = {setting.key: path(setting) for setting in settings() if setting.owner is TopicSettings}
    return changed(ON, *((places[key], value) for key, value in shape.items()), *more)


def rights(manifests: Manifests) -> set[tuple[str, str, str]]:
    """Give every right of the user, as (kind, name, operation) in the bridge's words."""
    given = manifests.one("KafkaUser")["spec"]["authorization"]["acls"]
    assert all(one["resource"]["patternType"] == "literal" for one in given)
    camel = {"DescribeConfigs": "DESCRIBE_CONFIGS"}
    return {
        (one["resource"]["type"], one["resource"]["name"], camel.get(operation, operation.upper()))
        for one in given
        for operation in one["operations"]
    }


def needed(topics: TopicSettings, group: str, *who: Who) -> set[tuple[str, str, str]]:
    return {(one.kind.value, one.name, one.operation.value) for one in acls.grants(topics, group) if one.who in who}


@pytest.mark.parametrize("shape", SHAPES)
def test_its_topics_are_those_of_topics_ensure(chart: Chart, shape: dict[str, Any]) -> None:
    made = [one["spec"] for one in chart.render(shaped(shape)).of("KafkaTopic").values()]
    assert {one["topicName"]: (one["partitions"], one["replicas"], one["config"]) for one in made} == {
        spec.name: (spec.partitions, spec.replication, dict(spec.config)) for spec in plan(TopicSettings(**shape))
    }


def test_topics_belong_to_the_cluster_and_outlive_the_release(chart: Chart) -> None:
    made = chart.render(CI["strimzi"]).of("KafkaTopic").values()
    assert {one["metadata"]["labels"]["strimzi.io/cluster"] for one in made} == {"events"}
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in made} == {"keep"}
    gone = chart.render(changed(("strimzi", {"enabled": True, "cluster": "events", "topics": {"keep": False}})))
    assert not [one for one in gone.of("KafkaTopic").values() if "annotations" in one["metadata"]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("user", "ensure", "who"),
    [
        ({"operator": False}, None, {Who.BRIDGE}),
        ({}, None, {Who.BRIDGE, Who.OPERATOR}),
        ({}, True, {Who.BRIDGE, Who.OPERATOR, Who.ADMIN}),
    ],
)
def test_its_user_has_the_least_rights_that_its_tasks_need(
    chart: Chart, shape: dict[str, Any], user: dict[str, Any], ensure: bool | None, who: set[Who]
) -> None:
    strimzi = {"enabled": True, "cluster": "events", "user": user, "topics": {"enabled": not ensure}}
    values = shaped(shape, ("strimzi", strimzi), ("topics.ensure", ensure), ("group.id", "bridge-group"))
    assert rights(chart.render(values)) == needed(TopicSettings(**shape), "bridge-group", *who)


def test_without_a_group_of_its_own_the_name_is_the_group(chart: Chart) -> None:
    assert ("group", "stocks", "READ") in rights(chart.render(changed(ON, ("name", "stocks"))))


def test_a_user_without_authorization_has_none(chart: Chart) -> None:
    values = changed(("strimzi", {"enabled": True, "cluster": "events", "user": {"acls": False, "name": "me"}}))
    user = chart.render(values).one("KafkaUser")
    assert user["metadata"]["name"] == "me"
    assert user["spec"] == {"authentication": {"type": "scram-sha-512"}}


def test_objects_can_live_where_kafka_does_and_be_of_the_newest_version(chart: Chart) -> None:
    values = changed(("strimzi", {"enabled": True, "cluster": "events", "namespace": "kafka"}))
    manifests = chart.render(values, "--api-versions", "kafka.strimzi.io/v1")
    made = [one for one in manifests if one["kind"] in ("KafkaTopic", "KafkaUser")]
    assert len(made) == 7
    assert {(one["apiVersion"], one["metadata"]["namespace"]) for one in made} == {("kafka.strimzi.io/v1", "kafka")}


def test_its_parts_can_be_left_out(chart: Chart) -> None:
    assert not {"KafkaTopic", "KafkaUser"} & chart.render(GOOD).kinds
    off = {"enabled": True, "cluster": "events", "topics": {"enabled": False}, "user": {"enabled": False}}
    assert not {"KafkaTopic", "KafkaUser"} & chart.render(changed(("strimzi", off))).kinds


def test_the_secret_of_a_scram_user_is_used_as_it_is(chart: Chart) -> None:
    manifests = chart.render(CI["strimzi"])
    user = manifests.one("KafkaUser")["metadata"]["name"]
    assert settings_of(manifests)["KAFKA__SASL_USERNAME"] == user
    assert variables(container(manifests))["TICKBRIDGE_KAFKA__SASL_PASSWORD"] == {
        "secretKeyRef": {"name": user, "key": "password"}
    }


def test_the_secret_of_a_tls_user_is_used_as_it_is(chart: Chart) -> None:
    certificate = {"existingSecret": "stocks", "certificateKey": "user.crt", "privateKeyKey": "user.key"}
    values = changed(("kafka.securityProtocol", "SSL"), ("kafka.tls.certificate", certificate))
    volumes = chart.render(values).one("Deployment")["spec"]["template"]["spec"]["volumes"]
    (volume,) = [one for one in volumes if one["name"] == "kafka-certificate"]
    assert volume["secret"] == {
        "secretName": "stocks",
        "items": [{"key": "user.crt", "path": "tls.crt"}, {"key": "user.key", "path": "tls.key"}],
    }
