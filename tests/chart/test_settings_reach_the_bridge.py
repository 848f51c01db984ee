"""What the chart renders is read back with the bridge's own loader, as the pod and the Jobs would."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from bridge.settings import PREFIX, Settings, load
from scripts.chart_schema import OWNED, path
from scripts.settings_table import Setting, settings
from tests.chart.examples import CHART, CI, GOOD, changed, container, pod, settings_of, variables
from tests.support.helm import Chart, Manifests

MOUNTS = "/etc/tickbridge/"
SECRET = "from-a-secret"

Read: TypeAlias = Callable[[dict[str, Any]], Settings]

#: Settings that must fit together, or that are no plain value.
FITTING: dict[str, Any] = {
    "NAME": "any",
    "UPSTREAM__URL": "wss://venue.example/quote",
    "UPSTREAM__REQUEST_INTERVAL_S": 0.5,
    "UPSTREAM__HEARTBEAT_S": 2.5,
    "UPSTREAM__SILENCE_S": 5.5,
    "KAFKA__BOOTSTRAP_SERVERS": "a:9093,b:9094",
    "KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA__EXTRA": {"linger.ms": 20, "client.rack": "1", "socket.keepalive.enable": True},
    "HTTP__HOST": "::",
    "LOG__LEVEL": "WARNING",
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """Give what loads settings from variables, the mounted directories standing in ``tmp_path``."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    mounted = ["token/token", "upstream-ca/ca.crt", "calendar/calendar.yaml"]
    for name in mounted:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("the token")

    def loaded(declared: dict[str, Any]) -> Settings:
        for name, value in declared.items():
            text = value if isinstance(value, str) else SECRET
            monkeypatch.setenv(name, text.replace(MOUNTS, f"{tmp_path}/"))
        return load()

    return loaded


def of_the_pod(manifests: Manifests) -> dict[str, Any]:
    given = {PREFIX + name: value for name, value in settings_of(manifests).items()}
    return given | variables(container(manifests))


def schema_at(place: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    for part in place.split("."):
        found = found["properties"][part]
    return found


def sample(setting: Setting) -> Any:
    """Give a value that differs from the setting's default wherever its schema leaves a choice."""
    if setting.name in FITTING:
        return FITTING[setting.name]
    schema = schema_at(path(setting))
    if "enum" in schema:
        return next(one for one in reversed(schema["enum"]) if one not in (None, "OAUTHBEARER"))
    default = setting.field.get_default(call_default_factory=True)
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    word = setting.name.lower().replace("__", "-")  # two topics may not have one name
    value = {"boolean": default is not True, "integer": 67_108_865, "number": 2.5, "string": word}[kind]
    if kind in ("integer", "number"):
        return max(min(value, schema["maximum"]), schema.get("minimum", value))
    return value


OFFERED = [setting for setting in settings() if setting.name not in OWNED]


def test_every_setting_arrives_as_it_was_given(chart: Chart, read: Read) -> None:
    given = {setting.name: sample(setting) for setting in OFFERED}
    values = changed(
        *((path(setting), given[setting.name]) for setting in OFFERED),
        ("kafka.sasl.username", "bridge"),
        ("kafka.sasl.existingSecret", "kafka-user"),
        ("spill.sizeLimit", "1Ti"),
    )

    arrived = read(of_the_pod(chart.render(values)))

    nested: dict[str, Any] = {"kafka": {"sasl_username": "bridge", "sasl_password": SECRET}}
    for name, value in given.items():
        group, _, key = name.lower().rpartition("__")
        (nested.setdefault(group, {}) if group else nested)[key] = value
    chart_owned = {"upstream": {"token_file"}, "backpressure": {"spill_dir"}}
    assert arrived.model_dump(exclude=chart_owned) == load(**nested).model_dump(exclude=chart_owned)


def test_values_that_are_left_out_or_null_or_empty_leave_the_bridges_own_defaults(chart: Chart, read: Read) -> None:
    """All but the port and the time to stop, which the chart must know itself; both are the bridge's."""
    nothing = [(path(setting), None) for setting in OFFERED if setting.name != "KAFKA__BOOTSTRAP_SERVERS"]
    left_out = chart.render(GOOD)
    assert set(settings_of(left_out)) == {
        *("KAFKA__BOOTSTRAP_SERVERS", "UPSTREAM__TOKEN_FILE", "BACKPRESSURE__SPILL_DIR"),
        *("HTTP__PORT", "SHUTDOWN__BUDGET_S"),
    }
    assert set(settings_of(chart.render(changed(*nothing)))) == set(settings_of(left_out)) - {
        "HTTP__PORT",
        "SHUTDOWN__BUDGET_S",
    }
    arrived = read(of_the_pod(left_out))
    assert arrived.http == Settings.model_fields["http"].get_default(call_default_factory=True)
    assert arrived.shutdown == Settings.model_fields["shutdown"].get_default(call_default_factory=True)


def test_every_setting_is_a_value_or_the_charts_own_and_no_value_is_two_settings() -> None:
    places = [path(setting) for setting in OFFERED]
    assert [schema_at(place)["$comment"] for place in places] == [PREFIX + setting.name for setting in OFFERED]
    assert len(set(places)) == len(places)
    assert set(OWNED) <= {setting.name for setting in settings()}
    assert {setting.name for setting in settings() if setting.secret} <= set(OWNED)


@pytest.mark.parametrize("name", ["UPSTREAM__MAX_SYMBOLS", "SHUTDOWN__BUDGET_S", "TOPICS__TICKS_RETENTION_H", "NAME"])
def test_a_value_is_named_after_its_setting(name: str) -> None:
    expected = {
        "UPSTREAM__MAX_SYMBOLS": "upstream.maxSymbols",
        "SHUTDOWN__BUDGET_S": "shutdown.budgetSeconds",
        "TOPICS__TICKS_RETENTION_H": "topics.ticksRetentionHours",
        "NAME": "name",
    }
    (found,) = [path(setting) for setting in settings() if setting.name == name]
    assert found == expected[name]


def test_what_the_chart_owns_is_a_file_that_is_mounted(chart: Chart, read: Read) -> None:
    manifests = chart.render(
        changed(("upstream.ca.existingSecret", "venue-ca"), ("ticks.calendar.existingConfigMap", "hours"))
    )
    files = {value for value in settings_of(manifests).values() if value.startswith(MOUNTS)}
    sources = {one["name"]: one.get("secret") or one.get("configMap") for one in pod(manifests)["volumes"]}
    mounted = {
        f"{mount['mountPath']}/{item['path']}"
        for mount in container(manifests)["volumeMounts"]
        for item in (sources[mount["name"]] or {}).get("items", [])
    }
    assert files == mounted
    assert len(files) == 3
    assert read(of_the_pod(manifests)).upstream.read_token() == "the token"


@pytest.mark.parametrize("name", [name for name in CI if name not in ("full", "strimzi")])
def test_the_bridge_can_use_what_each_situation_gives_it(chart: Chart, read: Read, name: str) -> None:
    manifests = chart.render(CI[name])
    given = of_the_pod(manifests)
    arrived = read(given)
    assert arrived.kafka.bootstrap_servers == CI[name]["kafka"]["bootstrapServers"]
    if "TICKBRIDGE_KAFKA__SASL_PASSWORD" in given:
        assert arrived.kafka.as_librdkafka()["sasl.password"] == SECRET


def test_the_log_level_is_taken_in_any_case(chart: Chart) -> None:
    for level in ("debug", "WARNING", "Error"):
        assert settings_of(chart.render(changed(("log.level", level))))["LOG__LEVEL"] == level
