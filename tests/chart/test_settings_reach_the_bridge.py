"""What the chart renders is read back with the bridge's own loader, as the pod would."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bridge.settings import PREFIX, Settings, load
from scripts.chart_schema import OWNED
from scripts.settings_table import Setting, settings
from tests.support.helm import Chart, Manifest

MOUNT = "/etc/tickbridge/token"
SECRET = "from-a-secret"
LEAST = {"KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"}
TOKEN = {"existingSecret": "token"}


@pytest.fixture(autouse=True)
def _an_empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("the token")


def loaded(manifests: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Load settings from the environment of the pod, with the token's directory mounted at ``tmp_path``."""
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    (source,) = container["envFrom"]
    assert source["configMapRef"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
    environment = dict(manifests["ConfigMap"]["data"])
    environment |= {entry["name"]: entry.get("value", SECRET) for entry in container["env"]}
    for name, value in environment.items():
        assert isinstance(value, str)
        monkeypatch.setenv(name, value.replace(MOUNT, str(tmp_path)))
    return load()


#: Settings that must fit together.
PACE = {"UPSTREAM__REQUEST_INTERVAL_S": 0.5, "UPSTREAM__HEARTBEAT_S": 2.5, "UPSTREAM__SILENCE_S": 5.5}


def sample(setting: Setting, schema: dict[str, Any], tmp_path: Path) -> Any:
    """Give a value that differs from the setting's default wherever its schema leaves a choice."""
    given: dict[str, Any] = {
        **PACE,
        "KAFKA__EXTRA": {"linger.ms": 20, "client.rack": "1", "socket.keepalive.enable": True},
        "UPSTREAM__CA_FILE": str(tmp_path / "token"),
        "TICKS__CALENDAR_FILE": str(tmp_path / "token"),
        "UPSTREAM__URL": "wss://venue.example/quote",
    }
    if setting.name in given:
        return given[setting.name]
    if "enum" in schema:
        return schema["enum"][-1]
    if "const" in schema:
        return schema["const"]
    default = setting.field.get_default(call_default_factory=True)
    kinds = {"boolean": default is not True, "integer": 1_234_567, "number": 2.5, "string": "any"}
    value = kinds[schema["type"]]
    return max(min(value, schema.get("maximum", value)), schema.get("minimum", value)) if value != "any" else value


def test_every_setting_of_the_chart_arrives_as_it_was_given(
    chart: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    schema = json.loads((chart.directory / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    offered = [setting for setting in settings() if setting.name in schema]
    given = {setting.name: sample(setting, schema[setting.name], tmp_path) for setting in offered}
    nested: dict[str, Any] = {}
    for name, value in given.items():
        group, _, key = name.lower().rpartition("__")
        (nested.setdefault(group, {}) if group else nested)[key] = value
    expected = load(**nested)

    arrived = loaded(chart.render({"settings": given, "token": TOKEN}), monkeypatch, tmp_path)

    def plain(loaded_settings: Settings) -> dict[str, Any]:
        return loaded_settings.model_dump(exclude={"upstream": {"token_file"}})

    assert plain(arrived) == plain(expected)


def test_settings_can_come_from_secrets(chart: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ["NAME", "KAFKA__SASL_USERNAME", "KAFKA__SASL_PASSWORD", "KAFKA__SSL_KEY_PASSWORD"]
    references = {name: {"name": "some", "key": name.lower()} for name in names}

    arrived = loaded(
        chart.render({"settings": LEAST, "settingsFromSecrets": references, "token": TOKEN}), monkeypatch, tmp_path
    )

    opened = arrived.kafka.as_librdkafka()
    assert [arrived.name, *(opened[key] for key in ("sasl.username", "sasl.password", "ssl.key.password"))] == [
        SECRET
    ] * 4


def test_what_the_chart_owns_is_set_by_it(chart: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manifests = chart.render({"settings": LEAST, "token": TOKEN})

    arrived = loaded(manifests, monkeypatch, tmp_path)

    assert arrived.http.port == 8080
    assert arrived.upstream.read_token() == "the token"


def test_every_setting_of_the_bridge_is_offered_or_owned(chart: Chart) -> None:
    offered = json.loads((chart.directory / "values.schema.json").read_text())["properties"]
    everything = {setting.name for setting in settings()}
    secrets = {setting.name for setting in settings() if setting.secret}
    assert set(offered["settingsFromSecrets"]["properties"]) == everything - set(OWNED)
    assert set(offered["settings"]["properties"]) == everything - set(OWNED) - secrets
