"""Settings: where they come from, and what is said of each one that cannot be used.

One long file, because two of its tables together must name every setting, and the tests below walk over them.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError

from bridge.errors import SettingsError
from bridge.settings import PREFIX, Settings, load
from bridge.settings.plans import PLANS
from bridge.settings.reserved import RESERVED
from scripts.settings_table import Setting, settings

Set: TypeAlias = Callable[[Mapping[str, str]], None]

ALL = {setting.name: setting for setting in settings()}

#: For every setting that does not take any text: one value it cannot take. The refusals are tested one by one.
BAD = {
    "NAME": "two words",
    "UPSTREAM__URL": "https://venue.example/quote",
    "UPSTREAM__MARKET": "bonds",
    "UPSTREAM__TOKEN_FILE": "/nowhere/token",
    "UPSTREAM__PLAN": "gold",
    "UPSTREAM__MAX_SYMBOLS": "0",
    "UPSTREAM__REQUEST_INTERVAL_S": "0",
    "UPSTREAM__RECONNECT_MIN_S": "-1",
    "UPSTREAM__RECONNECT_MAX_S": "soon",
    "UPSTREAM__HEARTBEAT_S": "0",
    "UPSTREAM__SILENCE_S": "nan",
    "UPSTREAM__ACK_TIMEOUT_S": "0",
    "UPSTREAM__CONNECT_TIMEOUT_S": "-3",
    "UPSTREAM__MAX_MESSAGE_BYTES": "1 MB",
    "UPSTREAM__CA_FILE": "/nowhere/ca.pem",
    "TICKS__CALENDAR_FILE": "/nowhere/calendar.yaml",
    "KAFKA__SECURITY_PROTOCOL": "TLS",
    "KAFKA__EXTRA": "linger.ms=20",
    "TOPICS__ENSURE": "maybe",
    "TOPICS__SUBSCRIPTIONS_PARTITIONS": "0",
    "TOPICS__TICKS_PARTITIONS": "1.5",
    "TOPICS__REPLICATION": "101",
    "TOPICS__MIN_INSYNC_REPLICAS": "0",
    "TOPICS__TICKS_RETENTION_H": "0",
    "TOPICS__GAPS_RETENTION_H": "1w",
    "TOPICS__DEAD_LETTERS_RETENTION_H": "-1",
    "TOPICS__TOMBSTONE_RETENTION_H": "0",
    "GROUP__SESSION_TIMEOUT_S": "0.5",
    "GROUP__LOST_HOLD_S": "-1",
    "BACKPRESSURE__POLICY": "hope",
    "BACKPRESSURE__HANDED_OVER_MAX": "99",
    "BACKPRESSURE__QUEUE_MAX_BYTES": "64M",
    "BACKPRESSURE__BLOCK_MAX_S": "21",
    "BACKPRESSURE__SPILL_MAX_BYTES": "1024",
    "BACKPRESSURE__SPILL_MAX_AGE_S": "0",
    "RECONCILE__REMOVAL_HOLD_S": "-1",
    "TICKS__STALE_AFTER_S": "0",
    "DEDUPE__WITHOUT_SEQ": "perhaps",
    "HTTP__PORT": "65536",
    "HTTP__READY_GRACE_S": "-1",
    "LOG__FORMAT": "xml",
    "LOG__LEVEL": "loud",
    "SHUTDOWN__BUDGET_S": "0",
}

#: Settings that take any text: whether it is right is known only where it is used.
ANY_TEXT = {
    "BACKPRESSURE__SPILL_DIR",
    "UPSTREAM__TOKEN",
    "UPSTREAM__DIALECT",
    "KAFKA__BOOTSTRAP_SERVERS",
    "KAFKA__SASL_MECHANISM",
    "KAFKA__SASL_USERNAME",
    "KAFKA__SASL_PASSWORD",
    "KAFKA__SSL_CA_LOCATION",
    "KAFKA__SSL_CERTIFICATE_LOCATION",
    "KAFKA__SSL_KEY_LOCATION",
    "KAFKA__SSL_KEY_PASSWORD",
    "TOPICS__SUBSCRIPTIONS",
    "TOPICS__TICKS",
    "TOPICS__STATUS",
    "TOPICS__GAPS",
    "TOPICS__DEAD_LETTERS",
    "TOPICS__STATE",
    "GROUP__ID",
    "HTTP__HOST",
}

SECRET = "opensesame"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    """Empty the environment of our names, in an empty directory; give a function that sets some, without the prefix."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def put(values: Mapping[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)

    put({"KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"})
    return put


def refused(config: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(config)
    return caught.value.lines


def written(text: str) -> Path:
    path = Path("config.yaml")
    path.write_text(text)
    return path


# Where they come from


def test_a_brokers_address_is_all_that_must_be_given(environment: Set) -> None:
    loaded = load()
    assert loaded.name == "tickbridge"
    assert loaded.group_id == "tickbridge"
    assert loaded.kafka.bootstrap_servers == "kafka:9092"


def test_what_must_be_given_is_asked_for(environment: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS")
    assert refused() == (
        "TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS is not set; set it to host:port,host:port of one or more brokers",
    )


def test_code_goes_before_environment_before_dotenv_before_yaml(environment: Set) -> None:
    config = written("{name: yaml, http: {port: 1, host: yaml}, log: {format: console}, ticks: {stale_after_s: 1}}")
    Path(".env").write_text("TICKBRIDGE_NAME=dotenv\nTICKBRIDGE_HTTP__PORT=2\nTICKBRIDGE_HTTP__HOST=dotenv\n")
    environment({"NAME": "environment", "HTTP__PORT": "3"})

    loaded = load(config, name="code")

    assert loaded.name == "code"
    assert loaded.http.port == 3
    assert loaded.http.host == "dotenv"
    assert loaded.log.format == "console"


def test_the_configuration_file_of_one_call_is_forgotten_by_the_next(environment: Set) -> None:
    assert load(written("name: yaml")).name == "yaml"
    assert load().name == "tickbridge"


def test_an_empty_configuration_file_says_nothing(environment: Set) -> None:
    assert load(written("")).name == "tickbridge"


def test_an_empty_variable_counts_as_not_set(environment: Set) -> None:
    environment({"HTTP__PORT": "", "UPSTREAM__TOKEN": ""})
    assert load().http.port == 8080
    assert load().upstream.token is None


def test_variables_may_be_written_in_any_case(environment: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("tickbridge_name", "stocks")
    assert load().name == "stocks"


@pytest.mark.parametrize("level", ["debug", "WARNING", "Error", "cRiTiCaL"])
def test_the_log_level_is_taken_in_any_case(environment: Set, level: str) -> None:
    environment({"LOG__LEVEL": level})
    assert load().log.level == level.lower()


def test_the_group_has_an_id_of_its_own_where_it_is_given(environment: Set) -> None:
    environment({"NAME": "stocks", "GROUP__ID": "other"})
    assert load().group_id == "other"


def test_what_kubernetes_injects_for_a_service_of_our_name_does_no_harm(environment: Set) -> None:
    environment(
        {
            "PORT": "tcp://10.0.0.1:8080",
            "PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "PORT_8080_TCP_ADDR": "10.0.0.1",
            "SERVICE_HOST": "10.0.0.1",
            "SERVICE_PORT": "8080",
            "SERVICE_PORT_HTTP": "8080",
        }
    )
    assert load().http.port == 8080


def test_settings_cannot_be_changed(environment: Set) -> None:
    loaded = load()
    for setting in settings():
        group = setting.name.lower().rpartition("__")[0]
        with pytest.raises(ValidationError, match="frozen"):
            setattr(getattr(loaded, group) if group else loaded, setting.key, None)
    for group in Settings.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(loaded, group, None)


# What is said of one that cannot be used


def test_every_setting_is_either_checked_or_takes_any_text() -> None:
    assert BAD.keys() | ANY_TEXT == ALL.keys()
    assert not BAD.keys() & ANY_TEXT


@pytest.mark.parametrize("name", BAD)
def test_a_bad_setting_is_named_with_its_value_and_its_remedy(environment: Set, name: str) -> None:
    environment({name: BAD[name]})
    (line,) = refused()
    shown = "" if name == "KAFKA__EXTRA" else f"={BAD[name]}"
    assert line.startswith(f"TICKBRIDGE_{name}{shown}: ")
    assert line.endswith(f"; it takes: {ALL[name].field.description}")


def test_each_bad_setting_has_a_line_of_its_own(environment: Set) -> None:
    environment({name: value for name, value in BAD.items() if name != "UPSTREAM__TOKEN_FILE"})
    assert len(refused()) == len(BAD) - 1


def test_a_long_value_is_cut(environment: Set) -> None:
    environment({"NAME": "x" * 10_000})
    (line,) = refused()
    assert len(line) < 500


@pytest.mark.parametrize("key", RESERVED)
def test_a_kafka_property_that_carries_a_guarantee_is_refused_by_name(environment: Set, key: str) -> None:
    environment({"KAFKA__EXTRA": f'{{"linger.ms": 20, "{key}": "1"}}'})
    (line,) = refused()
    assert line.startswith(f"TICKBRIDGE_KAFKA__EXTRA: must not set {key}: {RESERVED[key]}; it takes: ")


@pytest.mark.parametrize("name", ["TICKS", "STATUS", "GAPS", "DEAD_LETTERS", "STATE"])
def test_two_topics_of_one_name_are_refused_with_both_settings(environment: Set, name: str) -> None:
    environment({f"TOPICS__{name}": "market-data.subscriptions"})
    (line,) = refused()
    assert line.startswith(f"TICKBRIDGE_TOPICS__{name}=market-data.subscriptions: ")
    assert "TICKBRIDGE_TOPICS__SUBSCRIPTIONS" in line


def test_a_topic_with_the_default_name_of_another_is_refused(environment: Set) -> None:
    environment({"TOPICS__TICKS": "market-data.gaps"})
    (line,) = refused()
    assert line.startswith("TICKBRIDGE_TOPICS__GAPS=market-data.gaps: ")
    assert "TICKBRIDGE_TOPICS__TICKS" in line


def test_the_contract_names_these_reserved_properties() -> None:
    assert set(RESERVED) >= {
        "acks",
        "enable.idempotence",
        "message.timeout.ms",
        "partitioner",
        "partition.assignment.strategy",
        "group.protocol",
        "group.instance.id",
    }


def test_other_kafka_properties_are_handed_on(environment: Set) -> None:
    environment({"KAFKA__EXTRA": '{"linger.ms": 20, "client.rack": "1"}', "KAFKA__SASL_PASSWORD": SECRET})
    assert load().kafka.as_librdkafka() == {
        "bootstrap.servers": "kafka:9092",
        "security.protocol": "PLAINTEXT",
        "sasl.password": SECRET,
        "linger.ms": 20,
        "client.rack": "1",
    }


def test_an_unknown_name_in_a_group_is_refused_with_the_known_ones(environment: Set) -> None:
    environment({"HTTP__PROT": "80"})
    assert refused() == ("TICKBRIDGE_HTTP__PROT is no setting; HTTP__… has HOST, PORT, READY_GRACE_S",)


def test_an_unknown_name_in_dotenv_is_refused_too(environment: Set) -> None:
    Path(".env").write_text("TICKBRIDGE_HTTP__PROT=80\nSOMETHING_ELSE=1\n")
    assert refused() == ("TICKBRIDGE_HTTP__PROT is no setting; HTTP__… has HOST, PORT, READY_GRACE_S",)


def test_an_unknown_name_in_the_configuration_file_is_refused(environment: Set) -> None:
    assert refused(written("{http: {prot: 80}}")) == (
        "TICKBRIDGE_HTTP__PROT is no setting; HTTP__… has HOST, PORT, READY_GRACE_S",
    )
    (line,) = refused(written("htpp: {port: 80}"))
    assert line.startswith("--config config.yaml: no setting is called 'htpp'; there are name, upstream, ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "is not valid YAML (line 1); mend the file"),
        ("- name", "must hold a mapping of settings, as in `kafka: {bootstrap_servers: …}`"),
    ],
)
def test_a_configuration_file_that_says_no_settings_is_refused(environment: Set, text: str, complaint: str) -> None:
    assert refused(written(text)) == (f"--config config.yaml: {complaint}",)


def test_a_configuration_file_that_is_not_there_is_refused(environment: Set) -> None:
    (line,) = refused(Path("nowhere.yaml"))
    assert line == "--config nowhere.yaml: No such file or directory; give a readable YAML file"


@pytest.mark.parametrize("value", ["text", "[1]", "7"])
def test_a_group_given_as_one_variable_is_refused(environment: Set, value: str) -> None:
    environment({"HTTP": value})
    (line,) = refused()
    assert line.startswith("TICKBRIDGE_HTTP: ")
    assert "set TICKBRIDGE_HTTP__… one by one" in line


def test_two_sources_of_the_token_are_refused(environment: Set, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    environment({"UPSTREAM__TOKEN": SECRET, "UPSTREAM__TOKEN_FILE": str(tmp_path / "token")})
    (line,) = refused()
    assert line.startswith("TICKBRIDGE_UPSTREAM__TOKEN_FILE=")
    assert "beside UPSTREAM__TOKEN; keep one of them" in line


# Secrets


@pytest.mark.parametrize(
    "values",
    [
        {"UPSTREAM__TOKEN": SECRET},
        {"KAFKA__SASL_PASSWORD": SECRET},
        {"KAFKA__SSL_KEY_PASSWORD": SECRET},
        {"KAFKA__EXTRA": f'{{"sasl.oauthbearer.client.secret": "{SECRET}"}}'},
        {"UPSTREAM__URL": f"wss://user:{SECRET}@venue.example/quote"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_secret_is_never_shown(environment: Set, values: dict[str, str]) -> None:
    environment(values)
    loaded = load()
    assert SECRET not in f"{loaded!r} {loaded} {loaded.upstream!r} {loaded.kafka!r} {loaded.kafka}"


@pytest.mark.parametrize(
    "values",
    [
        {"UPSTREAM": SECRET},
        {"UPSTREAM": f'["{SECRET}"]'},
        {"UPSTREAM": f'{{"token": ["{SECRET}"]}}'},
        {"UPSTREAM__TOKN": SECRET},
        {"UPSTREAM__URL": f"wss://venue.example/quote?token={SECRET}"},
        {"UPSTREAM__URL": f"https://user:{SECRET}@venue.example/quote"},
        {"UPSTREAM__URL": f"wss://user:{SECRET}@[venue/quote"},
        {"KAFKA__EXTRA": f'{{"sasl.password": "{SECRET}"'},
        {"KAFKA__EXTRA": f'["{SECRET}"]'},
        {"KAFKA__EXTRA": f'{{"sasl.password": ["{SECRET}"]}}'},
        {"KAFKA__EXTRA": f'{{"sasl.password": "{SECRET}", "acks": 1}}'},
    ],
    ids=lambda values: " ".join(f"{name}={value}" for name, value in values.items()),
)
def test_a_secret_is_never_repeated_in_a_complaint(environment: Set, values: dict[str, str]) -> None:
    environment(values)
    with pytest.raises(SettingsError) as caught:
        load()
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.lines}"


@pytest.mark.parametrize(
    "text",
    [
        f"upstream: {SECRET}",
        f"upstream: [{SECRET}]",
        f"upstream: {{token: [{SECRET}]}}",
        f"kafka: {{sasl_password: {{a: {SECRET}}}}}",
        f"upstream: {{token: {SECRET}",
    ],
)
def test_a_secret_in_a_mistaken_file_is_not_repeated_either(environment: Set, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(text))
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.lines}"


def test_the_token_is_read_from_its_file_anew(environment: Set, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    environment({"UPSTREAM__TOKEN_FILE": str(file)})
    upstream = load().upstream
    assert upstream.read_token() == "first"
    file.write_text("second\n")
    assert upstream.read_token() == "second"


def test_the_token_may_stand_in_the_environment(environment: Set) -> None:
    environment({"UPSTREAM__TOKEN": f" {SECRET}\n"})
    assert load().upstream.read_token() == SECRET


def test_without_a_token_it_is_empty(environment: Set) -> None:
    assert load().upstream.read_token() == ""


# What the plan allows


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_sets_the_cap_and_the_pace(environment: Set, plan: str) -> None:
    environment({"UPSTREAM__PLAN": plan})
    limits = load().upstream.limits()
    assert (limits.max_symbols, limits.reconnect_min_s) == (PLANS[plan].max_symbols, PLANS[plan].reconnect_min_s)


def test_each_limit_of_a_plan_can_be_overridden(environment: Set) -> None:
    given: dict[str, Any] = {
        "MAX_SYMBOLS": 7,
        "REQUEST_INTERVAL_S": 2.0,
        "RECONNECT_MIN_S": 4.0,
        "RECONNECT_MAX_S": 90.0,
        "HEARTBEAT_S": 6.0,
        "SILENCE_S": 15.0,
        "ACK_TIMEOUT_S": 6.0,
    }
    environment({f"UPSTREAM__{name}": str(value) for name, value in given.items()})
    limits = load().upstream.limits(partitions=3)
    assert {name: getattr(limits, name.lower()) for name in given} == given
    assert limits.partitions == 3


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"REQUEST_INTERVAL_S": "4", "HEARTBEAT_S": "10"}, "UPSTREAM__HEARTBEAT_S=10"),
        ({"HEARTBEAT_S": "25", "SILENCE_S": "25"}, "UPSTREAM__SILENCE_S=25"),
    ],
)
def test_a_pace_that_could_not_work_is_refused(environment: Set, given: dict[str, str], named: str) -> None:
    environment({f"UPSTREAM__{name}": value for name, value in given.items()})
    with pytest.raises(SettingsError, match=named):
        load()


def test_the_longest_back_off_is_never_below_the_shortest(environment: Set) -> None:
    environment({"UPSTREAM__RECONNECT_MIN_S": "20", "UPSTREAM__RECONNECT_MAX_S": "5"})
    assert load().upstream.limits().reconnect_max_s == 20.0


@pytest.mark.parametrize("setting", [s for s in ALL.values() if s.secret], ids=lambda setting: setting.name)
def test_secrets_are_told_apart_by_their_type(setting: Setting) -> None:
    assert setting.name in {"UPSTREAM__TOKEN", "KAFKA__SASL_PASSWORD", "KAFKA__SSL_KEY_PASSWORD"}


@pytest.mark.parametrize("dialect", ["action-code", "action-symbols"])
def test_a_dialect_without_an_address_of_its_own_needs_one(environment: Set, dialect: str) -> None:
    environment({"UPSTREAM__DIALECT": dialect})
    with pytest.raises(SettingsError, match=r"UPSTREAM__DIALECT.*give UPSTREAM__URL"):
        load()
    environment({"UPSTREAM__URL": "wss://venue.example/ws"})
    assert load().upstream.dialect == dialect


def test_the_pause_between_requests_is_the_dialect_s_unless_the_operator_wants_another(environment: Set) -> None:
    assert load().upstream.limits(pause_s=0.07).request_interval_s == 0.07
    environment({"UPSTREAM__REQUEST_INTERVAL_S": "2"})
    assert load().upstream.limits(pause_s=0.07).request_interval_s == 2.0


def test_a_short_heartbeat_is_refused_only_where_requests_need_a_second(environment: Set) -> None:
    environment({"UPSTREAM__HEARTBEAT_S": "1"})
    with pytest.raises(SettingsError, match="UPSTREAM__HEARTBEAT_S=1"):
        load()
    environment({"UPSTREAM__DIALECT": "action-code", "UPSTREAM__URL": "ws://venue.example/ws"})
    assert load().upstream.heartbeat_s == 1.0


def test_a_heartbeat_of_just_three_intervals_is_enough(environment: Set) -> None:
    environment({"UPSTREAM__REQUEST_INTERVAL_S": "0.8", "UPSTREAM__HEARTBEAT_S": "2.4"})
    assert load().upstream.heartbeat_s == 2.4
