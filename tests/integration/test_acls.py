"""The rights in `bridge/publish/acls.py` are enough and the least, on a broker that lets nobody do anything else.

One broker serves all: every test has topics and groups of its own, and begins with taking back whatever was given.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget them
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.cli.apply import EXIT_DIFFERS
from bridge.errors import EXIT_KAFKA, EXIT_OK
from bridge.publish import acls
from bridge.publish.acls import Grant, Kind, Operation, Who
from bridge.settings import TopicSettings
from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches
from tests.e2e.conftest import PACE, SCALE
from tests.support.kafka import Cluster, KafkaBroker, unique
from tests.support.process import BridgeProcess
from tests.unit.test_schemas import accepts

PASSWORD = "secret"
USERS = " ".join(f'user_{name}="{PASSWORD}"' for name in ("broker", *Who))
BROKER = {
    "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="broker" password="{PASSWORD}" {USERS};'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:broker;User:ANONYMOUS",
}
KINDS = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")

#: Seconds that anything here may take until it is a failure.
PATIENCE_S = 20.0

#: What the bridge learns only when it writes: the topics are there, and may be read. Anything else ends `run` at once.
ONLY_WHEN_WRITTEN = {("status", "WRITE"), ("state", "WRITE")}


def login(user: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORD,
    }


@pytest.fixture(scope="module")
def guarded(kafka: Cluster) -> Iterator[Cluster]:
    """A broker with authorisation on, asked as its super-user; `kafka` says whether there can be one."""
    with KafkaBroker(extra=BROKER, client=login("broker")) as broker:
        broker.cluster.warm_up()
        yield broker.cluster


@dataclass
class Deployment:
    """Topics and groups of one test, and who may do what with them."""

    cluster: Cluster
    name: str = field(default_factory=lambda: unique("guarded"))

    @property
    def topics(self) -> TopicSettings:
        return TopicSettings(**{kind: f"{self.name}.{kind}" for kind in KINDS})

    @property
    def grants(self) -> tuple[Grant, ...]:
        return acls.grants(self.topics, self.name, f"{self.name}-mine")

    def make_topics(self) -> None:
        for name in acls.names(self.topics):
            self.cluster.create_topic(name)

    def allow(self, grants: Iterable[Grant]) -> None:
        """Give these rights and no others; return when the broker goes by them."""
        bindings = {binding(grant) for grant in grants}
        admin = AdminClient(self.cluster.config())
        for gone in admin.delete_acls([anything()]).values():
            gone.result(PATIENCE_S)
        for done in admin.create_acls(list(bindings)).values():
            done.result(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while set(admin.describe_acls(anything()).result(PATIENCE_S)) != bindings:
            assert time.monotonic() < deadline, "the broker does not take the rights over"

    def settings(self, user: str) -> dict[str, str]:
        """Give a user's settings, without the prefix."""
        return {
            "NAME": self.name,
            "UPSTREAM__TOKEN": "t",
            "KAFKA__BOOTSTRAP_SERVERS": self.cluster.bootstrap,
            **{f"KAFKA__{key.upper().replace('.', '_')}": value for key, value in login(user).items()},
            **{f"TOPICS__{kind.upper()}": f"{self.name}.{kind}" for kind in KINDS},
        }

    def types(self, user: str, *words: str) -> Result:
        """Run a command as a user."""
        return CliRunner().invoke(app, words, env={f"TICKBRIDGE_{k}": v for k, v in self.settings(user).items()})

    def written_by(self, user: str, topic: str) -> KafkaError | None:
        """Write a record as a user, as the bridge writes; give what Kafka has against it."""
        answers: list[KafkaError | None] = []
        config = {"bootstrap.servers": self.cluster.bootstrap, **login(user), "log_level": 0}
        producer = Producer({**config, "enable.idempotence": True, "acks": "all"})
        producer.produce(topic, b"{}", b"key", on_delivery=lambda error, _: answers.append(error))
        try:
            producer.flush(PATIENCE_S)
        except KafkaException as error:  # how confluent-kafka tells of a fatal error
            return KafkaError(error.args[0].code())
        assert answers, "Kafka has not answered"
        return answers[0]

    def read_by(self, user: str, topic: str) -> KafkaError | None:
        """Read a topic to its end as a user, without joining a group; give what Kafka has against it."""
        with self._consumer(user, "never-joined") as consumer:
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            return _end_or_error(consumer, but=KafkaError.GROUP_AUTHORIZATION_FAILED)

    def read_in_group(self, user: str, topics: list[str]) -> KafkaError | None:
        """Read topics as a member of the user's group, and commit; give what Kafka has against it."""
        with self._consumer(user, f"{self.name}-mine") as consumer:
            consumer.subscribe(topics)
            error = _end_or_error(consumer, ends=len(topics))
            if error is None:
                consumer.commit(offsets=[TopicPartition(topic, 0, 1) for topic in topics], asynchronous=False)
            return error

    @contextmanager
    def _consumer(self, user: str, group: str) -> Iterator[Consumer]:
        properties: dict[str, Any] = {"bootstrap.servers": self.cluster.bootstrap, **login(user), "group.id": group}
        properties |= {"enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50}
        consumer = Consumer({**properties, "enable.auto.commit": False, "log_level": 0})
        try:
            yield consumer
        finally:
            consumer.close()


def _end_or_error(consumer: Consumer, ends: int = 1, but: int | None = None) -> KafkaError | None:
    deadline = time.monotonic() + PATIENCE_S
    while ends:
        assert time.monotonic() < deadline, "neither an end nor an error"
        message = consumer.poll(0.5)
        error = message.error() if message is not None else None
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            ends -= 1
        elif error is not None and error.code() != but and not error.retriable():
            return error
    return None


def binding(grant: Grant) -> AclBinding:
    kind = ResourceType.TOPIC if grant.kind is Kind.TOPIC else ResourceType.GROUP
    user, pattern = f"User:{grant.who}", ResourcePatternType.LITERAL
    return AclBinding(kind, grant.name, pattern, user, "*", AclOperation[grant.operation], AclPermissionType.ALLOW)


def anything() -> AclBindingFilter:
    """Fit every right that was ever given."""
    name: Any = None  # the stubs want a text where the library takes this too
    kind, pattern = ResourceType.ANY, ResourcePatternType.ANY
    return AclBindingFilter(kind, name, pattern, name, name, AclOperation.ANY, AclPermissionType.ANY)


def all_but(number: int | None, grants: tuple[Grant, ...]) -> list[Grant]:
    return [grant for index, grant in enumerate(grants) if index != number]


def cases(who: Who) -> list[Any]:
    """Give each right of a user: its place in the table, the topic's kind or "group", the operation."""
    kinds = {kind: kind for kind in KINDS}
    found = acls.grants(TopicSettings(**kinds), "group", "group")
    return [
        pytest.param(
            number,
            grant.name if grant.kind is Kind.TOPIC else "group",
            grant.operation,
            id=f"{grant.operation}-{grant.name}",
        )
        for number, grant in enumerate(found)
        if grant.who is who
    ]


@pytest.fixture
def deployment(guarded: Cluster) -> Deployment:
    return Deployment(guarded)


@pytest.fixture
def venue() -> Iterator[Simulator]:
    switches = Switches(rate=100, pacing_slack_s=0, heartbeats_count="yes")
    with Simulator(SimulatorConfig(switches=switches, time_scale=SCALE)) as simulator:
        yield simulator


def running(deployment: Deployment, url: str) -> BridgeProcess:
    token = {"UPSTREAM__URL": url, "UPSTREAM__TOKEN": DEFAULT_TOKEN}
    return BridgeProcess({**deployment.settings(Who.BRIDGE), **PACE, **token})


def test_with_its_rights_the_bridge_gets_ready_publishes_and_tells(deployment: Deployment, venue: Simulator) -> None:
    deployment.make_topics()
    deployment.allow(deployment.grants)
    topics, cluster = deployment.topics, deployment.cluster
    assert deployment.types(Who.OPERATOR, "subscriptions", "add", "AAPL.US").exit_code == EXIT_OK
    cluster.produce(topics.subscriptions, [("TSLA.US", "{")])
    with running(deployment, venue.url()) as bridge:
        bridge.wait_ready()
        bridge.wait_until("ticks published", lambda: bridge.status()["accounts"]["published"] > 0)
        assert bridge.stop() == EXIT_OK
        assert not bridge.count("notice_refused")
        assert not bridge.count("report_topic_trouble")
    assert {tick.key for tick in cluster.read_all(topics.ticks)} == {b"AAPL.US"}
    assert {status.key for status in cluster.read_all(topics.status)} == {b"AAPL.US", b"TSLA.US"}
    (dead,) = cluster.read_all(topics.dead_letters)
    assert (dead.key, dead.value) == (b"TSLA.US", b"{")
    assert accepts("dead-letter-headers", {name: (value or b"").decode() for name, value in dead.headers})


def test_with_its_rights_the_bridge_writes_and_reads_every_topic_that_it_should(deployment: Deployment) -> None:
    deployment.make_topics()
    deployment.allow(deployment.grants)
    topics = deployment.topics
    for name in (topics.ticks, topics.status, topics.gaps, topics.dead_letters, topics.state):
        assert deployment.written_by(Who.BRIDGE, name) is None, name
    for name in (topics.subscriptions, topics.status, topics.state):
        assert deployment.read_by(Who.BRIDGE, name) is None, name


@pytest.mark.parametrize(("number", "kind", "operation"), cases(Who.BRIDGE))
def test_without_one_right_of_the_bridge_it_says_so_and_check_names_the_right(
    deployment: Deployment, number: int, kind: str, operation: Operation
) -> None:
    deployment.make_topics()
    missing = deployment.grants[number]
    deployment.allow(all_but(number, deployment.grants))
    deployment.cluster.produce(deployment.topics.subscriptions, [("AAPL.US", "{}")])
    with running(deployment, "ws://127.0.0.1:1/") as bridge:
        if (kind, operation) in ONLY_WHEN_WRITTEN:
            assert "TOPIC_AUTHORIZATION_FAILED" in bridge.wait_for("notice_refused", topic=missing.name)["why"]
        else:
            assert bridge.wait(PATIENCE_S) == EXIT_KAFKA
            line = bridge.wait_for("kafka_unusable")
            assert missing.name in line["what"]
            assert "grant" in line["remedy"]
    findings = checked(deployment)
    failed = [one for one in findings if one["verdict"] == "fail" and one["check"].startswith("access")]
    assert [one["check"] for one in failed] == [f"access to {missing.kind} {missing.name}"]
    assert f"{operation} on the {missing.kind} {missing.name}" in failed[0]["hint"]


def checked(deployment: Deployment) -> list[dict[str, str]]:
    """Let the bridge's user run `check`; nothing but Kafka matters here."""
    result = deployment.types(Who.BRIDGE, "check", "-o", "json")
    return [dict(one) for one in json.loads(result.stdout)]


@pytest.mark.parametrize("more", [(), (Operation.DESCRIBE_CONFIGS,)])
def test_with_its_rights_check_has_nothing_against_them_and_compares_settings_where_it_may(
    deployment: Deployment, more: tuple[Operation, ...]
) -> None:
    deployment.make_topics()
    given = [one for one in deployment.grants if one.who is Who.BRIDGE]
    given += [Grant(Who.BRIDGE, Kind.TOPIC, name, one, "") for name in acls.names(deployment.topics) for one in more]
    deployment.allow(given)
    findings = checked(deployment)
    access = [one["verdict"] for one in findings if one["check"].startswith("access to topic")]
    assert access == ["ok"] * len(KINDS)
    policies = {one["verdict"] for one in findings if one["check"].startswith("topic ")}
    assert ("skip" in policies) is not bool(more)


def test_statuses_that_may_not_be_written_are_reported_and_ticks_go_on(
    deployment: Deployment, venue: Simulator
) -> None:
    deployment.make_topics()
    refused = (deployment.topics.status, Operation.WRITE)
    deployment.allow(grant for grant in deployment.grants if (grant.name, grant.operation) != refused)
    deployment.cluster.produce(deployment.topics.subscriptions, [("AAPL.US", "{}")])
    with running(deployment, venue.url()) as bridge:
        assert "TOPIC_AUTHORIZATION_FAILED" in bridge.wait_for("notice_refused", topic=deployment.topics.status)["why"]
        bridge.wait_until("ticks published", lambda: bridge.status()["accounts"]["published"] > 0)
        assert bridge.stop() == EXIT_OK


def test_a_user_who_may_write_nothing_ends_the_bridge_with_what_to_grant(deployment: Deployment) -> None:
    deployment.make_topics()
    looks = [
        replace(grant, operation=Operation.DESCRIBE) if grant.operation == Operation.WRITE else grant
        for grant in deployment.grants
        if grant.who == Who.BRIDGE
    ]
    deployment.allow(looks)
    with running(deployment, "ws://127.0.0.1:1/") as bridge:
        assert bridge.wait(PATIENCE_S) == EXIT_KAFKA
        line = bridge.wait_for("kafka_unusable")
        assert "CLUSTER_AUTHORIZATION_FAILED" in line["what"]
        assert "WRITE" in line["remedy"]


COMMANDS = {
    ("subscriptions", "READ"): ("subscriptions", "list"),
    ("subscriptions", "WRITE"): ("subscriptions", "add", "TSLA.US"),
    ("group", "DESCRIBE"): ("subscriptions", "remove", "AAPL.US"),
    ("status", "READ"): ("status",),
    ("ticks", "READ"): ("ticks", "tail", "--from-beginning", "--count", "1"),
}


def stocked(deployment: Deployment) -> None:
    """Put what the operators' commands shall find into the topics."""
    deployment.make_topics()
    tick = {"v": 1, "venue": "v", "symbol": "AAPL.US", "code": "AAPL.US", "price": "1", "ts_recv_us": 1, "session": 1}
    deployment.cluster.produce(deployment.topics.ticks, [("AAPL.US", json.dumps(tick))])
    deployment.cluster.produce(deployment.topics.subscriptions, [("AAPL.US", "{}")])


def test_with_their_rights_operators_can_run_their_commands(deployment: Deployment) -> None:
    stocked(deployment)
    deployment.allow(grant for grant in deployment.grants if grant.who is Who.OPERATOR)
    for words in COMMANDS.values():
        result = deployment.types(Who.OPERATOR, *words)
        assert result.exit_code == EXIT_OK, (words, result.output)


def test_who_may_only_write_the_control_topic_adds_without_being_told_what_was_there(deployment: Deployment) -> None:
    stocked(deployment)
    mine = (deployment.topics.subscriptions, (Operation.WRITE, Operation.DESCRIBE))
    deployment.allow(one for one in deployment.grants if one.name == mine[0] and one.operation in mine[1])
    result = deployment.types(Who.OPERATOR, "subscriptions", "add", "AAPL.US")
    assert (result.exit_code, result.stdout) == (EXIT_OK, "written AAPL.US\n"), result.output


def test_with_the_rights_to_read_the_control_topic_alone_a_job_can_compare_a_file(
    deployment: Deployment, tmp_path: Path
) -> None:
    stocked(deployment)
    reading = (Operation.READ, Operation.DESCRIBE)
    mine = (deployment.topics.subscriptions, f"{deployment.name}-reader")
    operators = [one for one in deployment.grants if one.who is Who.OPERATOR]
    deployment.allow(one for one in operators if one.name in mine and one.operation in reading)
    for text, code in (("AAPL.US: {}", EXIT_OK), ("TSLA.US: {}", EXIT_DIFFERS)):
        file = tmp_path / "symbols.yaml"
        file.write_text(f"subscriptions:\n  {text}\n")
        result = deployment.types(Who.OPERATOR, "subscriptions", "diff", "-f", str(file))
        assert result.exit_code == code, result.output


@pytest.mark.parametrize(("number", "kind", "operation"), cases(Who.OPERATOR))
def test_without_one_right_of_operators_a_command_says_what_to_grant(
    deployment: Deployment, number: int, kind: str, operation: Operation
) -> None:
    stocked(deployment)
    missing = deployment.grants[number]
    deployment.allow(all_but(number, deployment.grants))
    result = deployment.types(Who.OPERATOR, *COMMANDS[kind, operation])
    assert result.exit_code == EXIT_KAFKA, (result.output, result.exception)
    assert "grant" in result.output
    assert (missing.name if missing.kind is Kind.TOPIC else "consumer group") in result.output


def test_with_their_rights_whoever_makes_the_topics_can(deployment: Deployment) -> None:
    deployment.allow(grant for grant in deployment.grants if grant.who is Who.ADMIN)
    for outcome in ("created", "exists"):
        result = deployment.types(Who.ADMIN, "topics", "ensure", "-o", "json")
        assert result.exit_code == EXIT_OK, result.output
        assert {row["outcome"] for row in json.loads(result.stdout)} == {outcome}
        assert "DESCRIBE_CONFIGS" not in result.stdout


@pytest.mark.parametrize(("number", "kind", "operation"), cases(Who.ADMIN))
def test_without_one_right_to_make_topics_the_command_names_right_and_topic(
    deployment: Deployment, number: int, kind: str, operation: Operation
) -> None:
    missing = deployment.grants[number]
    deployment.allow(all_but(number, deployment.grants))
    if operation is Operation.DESCRIBE_CONFIGS:
        deployment.make_topics()
        result = deployment.types(Who.ADMIN, "topics", "ensure", "-o", "json")
        (row,) = [row for row in json.loads(result.stdout) if row["details"] and "grant" in row["details"][-1]]
        assert row["name"] == missing.name
        assert operation in row["details"][-1]
    else:
        result = deployment.types(Who.ADMIN, "topics", "ensure")
        assert result.exit_code == EXIT_KAFKA
        assert missing.name in result.output
        assert operation in result.output


def test_with_their_rights_downstream_readers_can_read(deployment: Deployment) -> None:
    deployment.make_topics()
    deployment.allow(grant for grant in deployment.grants if grant.who is Who.READER)
    topics = deployment.topics
    assert deployment.read_in_group(Who.READER, [topics.ticks, topics.status, topics.gaps]) is None


@pytest.mark.parametrize(("number", "kind", "operation"), cases(Who.READER))
def test_without_one_right_of_downstream_readers_kafka_refuses_them(
    deployment: Deployment, number: int, kind: str, operation: Operation
) -> None:
    deployment.make_topics()
    deployment.allow(all_but(number, deployment.grants))
    topic = deployment.grants[number].name if kind != "group" else deployment.topics.ticks
    error = deployment.read_in_group(Who.READER, [topic])
    assert error is not None
    wanted = KafkaError.GROUP_AUTHORIZATION_FAILED if kind == "group" else KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert error.code() == wanted
