"""Bad values are refused before anything is installed, with a message that names them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bridge.settings.plans import NO_ADDRESS
from bridge.settings.reserved import RESERVED
from tests.chart.examples import CHART, changed
from tests.support.helm import Chart, HelmRefusedError

SASL = {"mechanism": "SCRAM-SHA-512", "username": "bridge", "existingSecret": "kafka-user"}
STRIMZI = {"enabled": True, "cluster": "events"}


def refusal(chart: Chart, values: dict[str, Any]) -> str:
    with pytest.raises(HelmRefusedError) as caught:
        chart.render(values)
    return str(caught.value)


def test_what_every_installation_must_say_is_asked_for(chart: Chart) -> None:
    message = refusal(chart, {})
    assert "at '/kafka/bootstrapServers'" in message
    assert "at '/token/existingSecret'" in message
    assert "at '/token/value'" in message


#: What is wrong with each value, and where the message must say so.
UNUSABLE: list[tuple[str, Any]] = [
    ("name", "two words"),
    ("replicaCount", -1),
    ("replicaCount", 1.5),
    ("replicaCount", "2"),
    ("image.pullPolicy", "Sometimes"),
    ("image.repository", ""),
    ("image.digest", "0123"),
    ("service.port", 70_000),
    ("service.type", "ExternalName"),
    ("http.port", 0),
    ("token.key", ""),
    ("serviceAccount.create", "yes"),
    ("upstream.plan", "gold"),
    ("upstream.url", "https://venue.example"),
    ("upstream.url", "wss://venue.example/quote?token=opensesame"),
    ("upstream.maxSymbols", 0),
    ("upstream.requestIntervalSeconds", "1s"),
    ("upstream.connectTimeoutSeconds", 0),
    ("kafka.bootstrapServers", ""),
    ("kafka.securityProtocol", "TLS"),
    ("kafka.extra", '{"linger.ms": 20}'),
    ("topics.ensure", "true"),
    ("topics.subscriptionsPartitions", 101),
    ("topics.ticksRetentionHours", 0),
    ("group.sessionTimeoutSeconds", 10_000),
    ("backpressure.policy", "drop"),
    ("backpressure.queueMaxBytes", 1024),
    ("log.level", "LOUD"),
    ("shutdown.budgetSeconds", 0),
    ("shutdown.budgetSeconds", 25_000),
    ("ticks.staleAfterSeconds", 60_000_000),
    ("spill.sizeLimit", "much"),
    ("spill.persistence.accessModes", ["ReadOnlyMany"]),
    ("spill.persistence.retention.whenDeleted", "Keep"),
    ("subscriptions", ["AAPL.US"]),
    ("subscriptions.AAPL", {"prio": 5}),
    ("subscriptions.AAPL.priority", 1.5),
    ("subscriptions.AAPL.stale_after_s", 0),
    ("podDisruptionBudget.maxUnavailable", "0%"),
    ("readinessProbe.periodSeconds", 0),
    ("networkPolicy.kafka.ports", [0]),
    ("hookJobs.activeDeadlineSeconds", 1),
    ("tests.timeoutSeconds", 0),
    ("strimzi.user.authentication", "oauth"),
    ("extraEnv", [{"name": "NOT A NAME", "value": "a"}]),
    ("extraObjects", [1]),
]


@pytest.fixture(scope="module")
def said(chart: Chart) -> list[str]:
    """Give what Helm says to each value. It names all that is wrong, so values of different groups go together."""
    rounds: list[dict[str, int]] = []
    for number, (path, _) in enumerate(UNUSABLE):
        group = path.partition(".")[0]
        free = next((one for one in rounds if group not in one), None)
        if free is None:
            rounds.append(free := {})
        free[group] = number
    messages: dict[int, str] = {}
    for together in rounds:
        message = refusal(chart, changed(*(UNUSABLE[number] for number in together.values())))
        messages |= dict.fromkeys(together.values(), message)
    return [messages[number] for number in range(len(UNUSABLE))]


@pytest.mark.parametrize("number", range(len(UNUSABLE)), ids=lambda number: UNUSABLE[number][0])
def test_an_unusable_value_is_named(said: list[str], number: int) -> None:
    assert f"at '/{UNUSABLE[number][0].replace('.', '/')}" in said[number]
    assert "opensesame" not in said[number]


#: Values that need or exclude each other, and what the message must name.
COMBINATIONS: list[tuple[list[tuple[str, Any]], str]] = [
    ([("token", {"existingSecret": "a", "value": "b"})], "at '/token/value'"),
    ([("kafka.securityProtocol", "SASL_SSL")], "at '/kafka/sasl"),
    ([("kafka.securityProtocol", "SASL_SSL"), ("kafka.sasl", {"mechanism": "PLAIN"})], "at '/kafka/sasl/username'"),
    (
        [("kafka.securityProtocol", "SASL_PLAINTEXT"), ("kafka.sasl", {"mechanism": "PLAIN", "username": "a"})],
        "at '/kafka/sasl/existingSecret'",
    ),
    ([("kafka.sasl", SASL)], "at '/kafka/sasl/"),
    ([("kafka.securityProtocol", "SSL"), ("kafka.sasl", SASL)], "at '/kafka/sasl/mechanism'"),
    ([("kafka.securityProtocol", "SASL_SSL"), ("kafka.sasl", SASL | {"mechanism": "GSSAPI"})], "/sasl/mechanism'"),
    ([("kafka.securityProtocol", "SASL_SSL"), ("kafka.sasl", SASL | {"password": "c"})], "at '/kafka/sasl/password'"),
    ([("kafka.securityProtocol", "SASL_SSL"), ("kafka.sasl", SASL | {"usernameKey": "u"})], "/kafka/sasl/usernameKey'"),
    ([("kafka.tls.ca.existingSecret", "a")], "at '/kafka/tls/ca/existingSecret'"),
    ([("kafka.tls.certificate.existingSecret", "a")], "at '/kafka/tls/certificate/existingSecret'"),
    (
        [("kafka.securityProtocol", "SSL"), ("kafka.tls.ca", {"existingSecret": "a", "existingConfigMap": "b"})],
        "at '/kafka/tls/ca/existingConfigMap'",
    ),
    (
        [("kafka.securityProtocol", "SSL"), ("kafka.tls.certificate.passwordKey", "p")],
        "at '/kafka/tls/certificate/existingSecret'",
    ),
    ([("upstream.dialect", NO_ADDRESS[0])], "at '/upstream"),
    ([("spill", {"enabled": False, "persistence": {"enabled": True}})], "at '/spill/persistence/enabled'"),
    ([("strimzi", {"enabled": True})], "at '/strimzi/cluster'"),
    ([("strimzi", STRIMZI), ("topics.ensureJob.enabled", True)], "at '/topics/ensureJob/enabled'"),
    ([("strimzi", STRIMZI), ("topics.ensure", True)], "at '/topics/ensure'"),
    ([("strimzi", STRIMZI | {"user": {"operator": False}}), ("subscriptions.A", {})], "at '/subscriptions'"),
    ([("topics.ensure", True), ("topics.ensureJob.enabled", True)], "topics.ensure and topics.ensureJob.enabled"),
    ([("upstream.silenceSeconds", 5)], "upstream.silenceSeconds is 5 and must be above upstream.heartbeatSeconds"),
    ([("upstream.requestIntervalSeconds", 5)], "upstream.heartbeatSeconds is 10 and must be at least three times"),
    ([("http.host", "127.0.0.1")], "http.host is 127.0.0.1, where neither probes nor the Service reach it"),
    ([("spill.sizeLimit", "1Gi")], "spill.sizeLimit is 1Gi and must hold backpressure.spillMaxBytes"),
    ([("spill.persistence", {"enabled": True, "size": "1000M"})], "spill.persistence.size is 1000M and must hold"),
    ([("extraEnv", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])], "extraEnv has A"),
    ([("extraEnv", [{"name": "TICKBRIDGE_UPSTREAM__TOKEN", "value": "t"}])], "use token.existingSecret"),
    (
        [
            ("kafka.securityProtocol", "SASL_SSL"),
            ("kafka.sasl", SASL),
            ("extraEnv", [{"name": "TICKBRIDGE_KAFKA__SASL_PASSWORD", "value": "p"}]),
        ],
        "extraEnv has TICKBRIDGE_KAFKA__SASL_PASSWORD",
    ),
]


@pytest.mark.parametrize(("changes", "words"), COMBINATIONS)
def test_values_that_do_not_fit_together_are_named(chart: Chart, changes: list[tuple[str, Any]], words: str) -> None:
    assert words in refusal(chart, changed(*changes))


#: The same, as they do fit.
FITTING: list[list[tuple[str, Any]]] = [
    [("token", {"value": "t"})],
    [("kafka.securityProtocol", "SASL_SSL"), ("kafka.sasl", SASL)],
    [
        ("kafka.securityProtocol", "SASL_SSL"),
        ("kafka.sasl", {"mechanism": "PLAIN", "usernameKey": "u", "existingSecret": "s"}),
    ],
    [("kafka.securityProtocol", "SASL_PLAINTEXT"), ("kafka.sasl", {"mechanism": "OAUTHBEARER"})],
    [("kafka.securityProtocol", "SSL"), ("kafka.tls.ca.existingConfigMap", "ca")],
    [("upstream.dialect", NO_ADDRESS[0]), ("upstream.url", "ws://venue:1")],
    [("strimzi", STRIMZI), ("subscriptions.A", {})],
    [("strimzi", STRIMZI | {"topics": {"enabled": False}}), ("topics.ensureJob.enabled", True)],
    [("spill.sizeLimit", "1100Mi")],
    [("upstream.requestIntervalSeconds", 3)],
    [("resources", {"limits": {"memory": None, "cpu": 2}})],
    [("replicaCount", 0)],
    [("global.anything", {"at": "all"})],
]


@pytest.mark.parametrize("changes", FITTING)
def test_values_that_fit_together_are_taken(chart: Chart, changes: list[tuple[str, Any]]) -> None:
    assert "Service" in chart.render(changed(*changes)).kinds


def closed_objects(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Give the path of every object that names its properties."""
    if "properties" in schema:
        yield path
        for key, inner in schema["properties"].items():
            if isinstance(inner, dict):
                yield from closed_objects(inner, f"{path}.{key}".lstrip("."))


DOCUMENT = json.loads((CHART / "values.schema.json").read_text())
OPEN = {"global", "kafka.extra"}


def test_no_level_lets_a_misspelt_name_pass(chart: Chart) -> None:
    paths = sorted(set(closed_objects(DOCUMENT)) - OPEN)
    message = refusal(chart, changed(*((f"{path}.misspelt".lstrip("."), 1) for path in paths)))
    assert len(paths) > 40
    for path in paths:
        assert f"at '/{path.replace('.', '/')}': additional properties 'misspelt' not allowed" in message.replace(
            "at '':", "at '/':"
        )


def numbers(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every part of a schema that takes a number."""
    if isinstance(schema, list):
        for one in schema:
            yield from numbers(one, path)
    elif isinstance(schema, dict):
        kinds = schema.get("type", ())
        if {"integer", "number"} & {kinds} if isinstance(kinds, str) else {"integer", "number"} & set(kinds):
            yield path, schema
        for key, inner in schema.items():
            yield from numbers(inner, f"{path}/{key}")


def test_every_number_has_bounds() -> None:
    unbounded = [
        path
        for path, one in numbers(DOCUMENT)
        if not ({"maximum", "exclusiveMaximum"} & set(one) and {"minimum", "exclusiveMinimum"} & set(one))
    ]
    ours = [path for path in unbounded if "/resources/" not in path and "/kafka/properties/extra/" not in path]
    assert ours == []


def test_kafka_properties_that_carry_guarantees_or_secrets_are_not_taken(chart: Chart) -> None:
    names = [*RESERVED, "sasl.password", "sasl.oauthbearer.client.secret", "ssl.key.pem"]
    message = refusal(chart, changed(("kafka.extra", dict.fromkeys(names, "opensesame"))))
    for name in names:
        assert f"at '/kafka/extra/{name}'" in message
    assert "opensesame" not in message


def test_every_value_has_a_default_and_a_schema() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(defaults) == set(DOCUMENT["properties"])
