"""`tickbridge status`, `ticks tail`, `check` and completion, as an operator runs them, on a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.cli.complete import symbols
from bridge.cli.status import EXIT_ABSENT
from bridge.errors import EXIT_KAFKA, EXIT_OK, EXIT_SETTINGS
from bridge.model import State, SymbolState
from bridge.publish.notices import status
from tests.support.kafka import Cluster, KafkaBroker, unique
from tests.unit.test_schemas import TICK, accepts

KINDS = ("SUBSCRIPTIONS", "TICKS", "STATUS", "GAPS", "DEAD_LETTERS", "STATE")
WAIT_S = 20.0


class Place:
    """A Kafka with topics of its own, and somebody who looks at it."""

    def __init__(self, kafka: Cluster) -> None:
        self.kafka = kafka
        self.topics = {kind: unique(kind.lower()) for kind in KINDS}
        self.environment = {
            "TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "TICKBRIDGE_GROUP__ID": unique("group"),
            **{f"TICKBRIDGE_TOPICS__{kind}": name for kind, name in self.topics.items()},
        }

    def make(self, **partitions: int) -> None:
        for kind, number in partitions.items():
            self.kafka.create_topic(self.topics[kind], number)

    def says(self, symbol: str, state: State, **fields: str) -> None:
        row = SymbolState(symbol, symbol, state, **fields)  # type: ignore[arg-type]
        key, value = status(row, bridge="tickbridge", instance="one", since_us=time.time_ns() // 1000)
        assert accepts("status", json.loads(value))
        self.kafka.produce(self.topics["STATUS"], [(key, value)])

    def ticks(self, symbol: str, *prices: str) -> None:
        pairs = [(symbol, json.dumps({**TICK, "symbol": symbol, "price": price})) for price in prices]
        self.kafka.produce(self.topics["TICKS"], pairs)

    def types(self, *words: str, **environment: str) -> Result:
        return CliRunner().invoke(app, words, env=self.environment | environment)


@pytest.fixture
def place(kafka: Cluster) -> Place:
    return Place(kafka)


class Follower:
    """A command that goes on until Ctrl-C, in a process of its own."""

    def __init__(self, place: Place, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "bridge", *words], env={**os.environ, **place.environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def notice(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.readline().rstrip("\n")

    def end(self) -> tuple[int, str, str]:
        output, errors = self._process.communicate(timeout=WAIT_S)
        return self._process.returncode, output, errors

    def interrupt(self) -> tuple[int, str]:
        self._process.send_signal(signal.SIGINT)
        code, _, errors = self.end()
        return code, errors

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate(timeout=WAIT_S)


@pytest.fixture
def followers() -> Iterator[list[Follower]]:
    running: list[Follower] = []
    yield running
    for one in running:
        one.close()


def follow(followers: list[Follower], place: Place, *words: str) -> Follower:
    followers.append(Follower(place, *words))
    return followers[-1]


def test_status_shows_the_newest_of_each_symbol_problems_first(place: Place) -> None:
    place.make(STATUS=3)
    for number in range(10):
        place.says(f"S{number}", State.PENDING)
        place.says(f"S{number}", State.LIVE)
    place.says("BAD", State.REJECTED, reason="venue_600", detail="the venue refuses this code")
    place.kafka.produce(place.topics["STATUS"], [("S9", None), ("noise", "{")])
    shown = place.types("status")
    assert shown.exit_code == EXIT_OK, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == "10 symbols: 1 rejected · 9 live"
    assert "BAD" in lines[3]
    assert "venue_600: the venue refuses this code" in lines[3]
    assert "1 record could not be read" in shown.stderr
    rows = json.loads(place.types("status", "-o", "json", "--problems").stdout)
    assert [row["symbol"] for row in rows] == ["BAD"]
    assert accepts("status", rows[0])


def test_status_names_a_symbol_that_has_none_and_a_topic_that_says_nothing(place: Place) -> None:
    place.make(STATUS=1)
    assert "tickbridge run" in place.types("status").stderr
    place.says("A", State.LIVE)
    assert "NOPE has no status" in place.types("status", "A", "NOPE").stderr


def test_status_of_some_symbols_is_about_these_alone_and_fails_if_one_has_none(place: Place) -> None:
    place.make(STATUS=1)
    place.says("AAPL.US", State.LIVE)
    place.says("700.HK", State.STALE)
    shown = place.types("status", "AAPL.US")
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (EXIT_OK, "1 symbol: 1 live")
    absent = place.types("status", "NOPE")
    assert (absent.exit_code, absent.stdout) == (EXIT_ABSENT, "")
    assert absent.stderr == "NOPE has no status; `tickbridge subscriptions list` shows what is asked for\n"
    close = place.types("status", "AAPL.U", "AAPL.US", "-o", "json")
    assert (close.exit_code, [row["symbol"] for row in json.loads(close.stdout)]) == (EXIT_ABSENT, ["AAPL.US"])
    assert close.stderr == "AAPL.U has no status; did you mean AAPL.US?\n"


def test_status_in_a_pipe_prints_each_change_until_ctrl_c(place: Place, followers: list[Follower]) -> None:
    place.make(STATUS=1)
    place.says("A", State.PENDING)
    watcher = follow(followers, place, "status", "--watch")
    assert watcher.line() == "A  pending"
    place.says("A", State.REJECTED, reason="venue_600")
    assert watcher.line() == "A  rejected  venue_600"
    place.kafka.produce(place.topics["STATUS"], [("A", None)])
    assert watcher.line() == "A  no longer asked for"
    code, errors = watcher.interrupt()
    assert code == EXIT_OK
    assert "Traceback" not in errors


def test_status_in_a_pipe_prints_json_lines_of_what_was_asked_for(place: Place, followers: list[Follower]) -> None:
    place.make(STATUS=1)
    place.says("A", State.LIVE)
    watcher = follow(followers, place, "status", "--watch", "--problems", "-o", "json")
    place.says("B", State.STALE)
    assert json.loads(watcher.line())["symbol"] == "B"
    place.says("B", State.LIVE)
    assert json.loads(watcher.line())["state"] == "live"
    assert watcher.interrupt()[0] == EXIT_OK


def test_watching_as_yaml_is_refused(place: Place) -> None:
    result = place.types("status", "--watch", "-o", "yaml")
    assert result.exit_code == EXIT_SETTINGS
    assert "-o json" in result.stderr


def test_the_list_is_joined_with_what_the_bridge_says(place: Place) -> None:
    place.make(SUBSCRIPTIONS=1, STATUS=1)
    place.kafka.produce(
        place.topics["SUBSCRIPTIONS"], [("A", "{}"), ("B", "{}"), ("C", '{"owner":"desk"}'), ("D", "{")]
    )
    place.says("A", State.LIVE)
    place.says("C", State.OVER_CAP, reason="over_cap", detail="the plan has room for 1")
    place.says("D", State.LIVE)
    rows = json.loads(place.types("subscriptions", "list", "-o", "json").stdout)
    assert [(row["symbol"], row["state"]) for row in rows] == [
        ("D", "invalid"), ("C", "over_cap"), ("B", None), ("A", "live"),
    ]  # fmt: skip
    table = place.types("subscriptions", "list").stdout
    assert "over_cap: the plan has room for 1" in table
    assert "1 without a status: is a bridge running?" in table


def test_a_symbol_whose_removal_is_held_is_listed_and_can_be_confirmed(place: Place) -> None:
    place.make(SUBSCRIPTIONS=1, STATUS=1)
    place.kafka.produce(place.topics["SUBSCRIPTIONS"], [("A", "{}"), ("OFF", '{"enabled":false}')])
    place.says("A", State.LIVE)
    for symbol in ("GONE", "OFF"):
        place.says(symbol, State.LIVE, reason="removal_held", detail="held for 30 s")
    rows = json.loads(place.types("subscriptions", "list", "-o", "json").stdout)
    found = [(row["symbol"], row["reason"], row["enabled"]) for row in rows]
    assert found == [("GONE", "removal_held", True), ("OFF", "removal_held", False), ("A", None, True)]
    assert "2 to be removed, and held" in place.types("subscriptions", "list").stdout
    assert "2 removals held" in place.types("status").stdout
    assert place.types("subscriptions", "remove", "GONE", "--yes").exit_code == EXIT_OK
    *_, last = place.kafka.read_all(place.topics["SUBSCRIPTIONS"])
    assert (last.key, last.value, last.headers) == (b"GONE", None, (("tickbridge-confirm", b"true"),))


def test_without_the_status_topic_the_list_is_shown_and_says_why_states_are_unknown(place: Place) -> None:
    place.make(SUBSCRIPTIONS=1)
    place.kafka.produce(place.topics["SUBSCRIPTIONS"], [("A", "{}")])
    result = place.types("subscriptions", "list")
    assert result.exit_code == EXIT_OK
    assert "\nA  " in result.stdout
    assert f"the topic {place.topics['STATUS']} does not exist" in result.stderr


def test_tail_prints_what_comes_after_it_began_until_ctrl_c(place: Place, followers: list[Follower]) -> None:
    place.make(TICKS=3)
    place.ticks("A", "1")
    tail = follow(followers, place, "ticks", "tail")
    assert "Ctrl-C" in tail.notice()
    place.ticks("A", "1.50", "1.5", "2", "1")
    assert tail.line().split()[:3] == ["time", "symbol", "price"]
    lines = [tail.line().split() for _ in range(4)]
    assert [line[1:4] for line in lines] == [
        ["A", "1.50", "300"],
        ["A", "1.5", "300"],
        ["A", "2", "▲"],
        ["A", "1", "▼"],
    ]
    code, errors = tail.interrupt()
    assert (code, errors) == (EXIT_OK, "")


def test_tail_takes_chosen_symbols_from_the_beginning_up_to_a_count_as_json(place: Place) -> None:
    place.make(TICKS=3)
    for symbol in ("A", "B", "C"):
        place.ticks(symbol, "1", "2", "3")
    place.kafka.produce(place.topics["TICKS"], [("B", "no tick"), ("B", None), ("B", "[]")])
    words = ("ticks", "tail", "B", "--from-beginning", "-o", "json", "--count")
    result = place.types(*words, "2")
    assert result.exit_code == EXIT_OK, result.output
    ticks = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(tick["symbol"], tick["price"]) for tick in ticks] == [("B", "1"), ("B", "2")]
    assert all(accepts("tick", tick) for tick in ticks)


@pytest.mark.parametrize("words", [["status"], ["ticks", "tail"], ["status", "--watch"]])
def test_a_missing_topic_is_named_with_its_setting(place: Place, words: list[str]) -> None:
    result = place.types(*words)
    assert result.exit_code == EXIT_KAFKA
    assert "topics ensure" in result.stderr
    assert f"TICKBRIDGE_TOPICS__{'TICKS' if words[0] == 'ticks' else 'STATUS'}" in result.stderr


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(0o600)
    return str(path)


def checked(place: Place, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = place.types("check", "-o", "json", **environment)
    assert "s3cret" not in result.output
    return result.exit_code, {found["check"]: found for found in json.loads(result.stdout)}


def venue(place: Place) -> str:
    """Give an address at which somebody listens, for want of a venue: the broker."""
    return f"ws://{place.kafka.bootstrap}/"


def test_check_finds_missing_topics_then_what_is_made_then_what_differs(place: Place, token: str) -> None:
    good = {"TICKBRIDGE_UPSTREAM__TOKEN_FILE": token, "TICKBRIDGE_UPSTREAM__URL": venue(place),
            "TICKBRIDGE_TOPICS__REPLICATION": "1", "TICKBRIDGE_TOPICS__MIN_INSYNC_REPLICAS": "1"}  # fmt: skip
    code, found = checked(place, **good)
    assert code == EXIT_KAFKA
    missing = found[f"topic {place.topics['GAPS']}"]
    assert (missing["verdict"], missing["hint"]) == ("fail", "run `tickbridge topics ensure`")
    assert place.types("topics", "ensure", **good).exit_code == EXIT_OK
    code, found = checked(place, **good)
    assert code == EXIT_OK
    assert {one["verdict"] for name, one in found.items() if name != "clock"} == {"ok"}
    assert found["clock"]["verdict"] == "skip"  # a broker tells no time
    assert "librdkafka" in found["versions"]["said"]
    assert "READ and WRITE" in found[f"access to topic {place.topics['STATUS']}"]["said"]
    code, found = checked(place, **good, TICKBRIDGE_TOPICS__TICKS_RETENTION_H="1")
    differs = found[f"topic {place.topics['TICKS']}"]
    assert (code, differs["verdict"]) == (EXIT_OK, "warn")
    assert "retention.ms" in differs["said"]


def test_check_makes_no_topic_and_no_group(place: Place, token: str) -> None:
    checked(place, TICKBRIDGE_UPSTREAM__TOKEN_FILE=token)
    checked(place, TICKBRIDGE_UPSTREAM__TOKEN_FILE=token)
    result = place.types("status")
    assert "does not exist" in result.stderr
    assert place.kafka.describe_group(place.environment["TICKBRIDGE_GROUP__ID"]).members == ()


def test_check_blames_our_own_side_before_kafka(place: Place) -> None:
    code, found = checked(place, TICKBRIDGE_UPSTREAM__URL=venue(place))
    assert (code, found["token"]["verdict"]) == (EXIT_SETTINGS, "fail")


def test_check_prints_each_finding_with_its_hint(place: Place, token: str) -> None:
    result = place.types("check", TICKBRIDGE_UPSTREAM__TOKEN_FILE=token, TICKBRIDGE_UPSTREAM__URL=venue(place))
    assert "warn kafka: 1 broker" in result.stdout
    assert "-> run `tickbridge topics ensure`" in result.stdout


def test_check_goes_on_where_kafka_is_away_and_where_settings_are_bad(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cli.probes.KAFKA_S", 1.0)
    away = Place(Cluster("127.0.0.1:1"))
    code, found = checked(away, TICKBRIDGE_UPSTREAM__TOKEN_FILE=token, TICKBRIDGE_UPSTREAM__URL="ws://127.0.0.1:1/")
    assert (code, found["kafka"]["verdict"], found["topics"]["verdict"]) == (EXIT_SETTINGS, "fail", "skip")
    assert found["token"]["verdict"] == "ok"
    code, found = checked(away, TICKBRIDGE_HTTP__PORT="high")
    assert code == EXIT_SETTINGS
    assert "HTTP__PORT" in found["settings"]["said"]


SASL = {
    "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="admin" password="admin" user_admin="admin" user_bridge="bridge";'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin;User:ANONYMOUS",
}


def test_check_names_each_permission_that_is_missing(make_kafka: Any, token: str) -> None:
    def login(user: str) -> dict[str, str]:
        return {
            "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "SASL_MECHANISM": "PLAIN",
            "SASL_USERNAME": user,
            "SASL_PASSWORD": user,
        }

    admin = {key.lower().replace("_", "."): value for key, value in login("admin").items()}
    broker: KafkaBroker = make_kafka(SASL, client=admin)
    place = Place(broker.cluster)
    place.make(**dict.fromkeys(KINDS, 1))
    allow(broker, place)
    environment = {f"TICKBRIDGE_KAFKA__{key}": value for key, value in login("bridge").items()}
    environment["TICKBRIDGE_TOPICS__TICKS_PARTITIONS"] = "1"  # as it was made
    code, found = checked(
        place, **environment, TICKBRIDGE_UPSTREAM__TOKEN_FILE=token, TICKBRIDGE_UPSTREAM__URL=venue(place)
    )
    assert code == EXIT_KAFKA, found
    unread = found[f"topic {place.topics['TICKS']}"]
    assert (unread["verdict"], "DESCRIBE_CONFIGS" in unread["said"]) == ("skip", True)
    ticks = found[f"access to topic {place.topics['TICKS']}"]
    assert (ticks["verdict"], ticks["hint"]) == ("fail", f"grant our user WRITE on the topic {place.topics['TICKS']}")
    assert found[f"access to topic {place.topics['SUBSCRIPTIONS']}"]["verdict"] == "ok"
    assert found[f"access to group {place.environment['TICKBRIDGE_GROUP__ID']}"]["verdict"] == "fail"


def allow(broker: KafkaBroker, place: Place) -> None:
    """Let the user read every topic and write none."""
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # noqa: PLC0415
        AclBinding,
        AclOperation,
        AclPermissionType,
        AdminClient,
        ResourcePatternType,
        ResourceType,
    )

    rules = [
        AclBinding(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, "User:bridge", "*", operation,
                   AclPermissionType.ALLOW)
        for name in place.topics.values()
        for operation in (AclOperation.READ, AclOperation.DESCRIBE)
    ]  # fmt: skip
    admin = AdminClient(broker.cluster.config())
    for answer in admin.create_acls(rules).values():
        answer.result(20)


def test_symbols_complete_and_trouble_completes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.make(SUBSCRIPTIONS=1)
    place.kafka.produce(place.topics["SUBSCRIPTIONS"], [("AAPL.US", "{}"), ("AMZN.US", "{"), ("B", "{}")])
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    assert symbols("A") == ["AAPL.US", "AMZN.US"]
    place.kafka.produce(place.topics["SUBSCRIPTIONS"], [("HKEX:00700", "{}"), ("HKEX:00005", "{}")])
    assert symbols("HK") == ["HKEX:00005", "HKEX:00700"]
    with monkeypatch.context() as bash:  # which ends a word at a colon
        bash.setenv("COMP_WORDS", "tickbridge status B HKEX : 007")
        bash.setenv("COMP_CWORD", "5")
        assert symbols("007") == ["00700"]
    monkeypatch.setenv("TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    before = time.monotonic()
    assert symbols("A") == []
    assert time.monotonic() - before < 6
    monkeypatch.setenv("TICKBRIDGE_HTTP__PORT", "high")
    assert symbols("A") == []


@pytest.mark.parametrize(
    "words",
    [["status"], ["check"], ["ticks", "tail"], ["config", "show"], ["config", "schema"], ["subscriptions", "diff"],
     ["subscriptions", "apply"]],
)  # fmt: skip
def test_help_has_examples_and_exit_codes_where_they_are_special(words: list[str]) -> None:
    text = CliRunner().invoke(app, [*words, "--help"]).stdout
    assert "Examples:" in text
    assert f"tickbridge {' '.join(words)}" in text
    assert ("Exit codes:" in text) == (words[-1] in ("status", "check", "diff", "apply"))
