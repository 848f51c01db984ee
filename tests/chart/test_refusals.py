"""Values that cannot be used are refused before anything is installed, with a message that names them."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.settings.groups import RESERVED
from scripts.chart_schema import schema
from scripts.settings_table import write_or_check
from tests.support.helm import Chart, HelmRefusedError

ROOT = Path(__file__).resolve().parents[2]
GOOD: dict[str, Any] = {
    "settings": {"KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"},
    "token": {"existingSecret": "token"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Give good values but for the one at ``path``, whose parts are separated by ``/``."""
    values = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return values


def refusal(chart: Chart, values: dict[str, Any]) -> str:
    with pytest.raises(HelmRefusedError) as caught:
        chart.render(values)
    return str(caught.value)


@pytest.mark.parametrize("path", ["settings/KAFKA__BOOTSTRAP_SERVERS", "token/existingSecret"])
def test_what_every_installation_must_say_is_asked_for(chart: Chart, path: str) -> None:
    group, name = path.split("/")
    values = copy.deepcopy(GOOD)
    del values[group][name]
    assert f"{group}.{name} is not set; set it to " in refusal(chart, values)


@pytest.mark.parametrize(
    "path",
    [
        "typo",
        "image/typo",
        "settings/UPSTRAEM__URL",
        "settingsFromSecrets/KAFKA__SASL_PASSWRD",
        "settingsFromSecrets/KAFKA__SASL_PASSWORD/typo",
        "token/typo",
        "service/typo",
        "serviceAccount/typo",
        "resources/typo",
    ],
)
def test_no_level_lets_a_misspelt_name_pass(chart: Chart, path: str) -> None:
    assert path.rpartition("/")[2] in refusal(chart, changed(path, {"name": "a", "key": "b"}))


@pytest.mark.parametrize("name", ["UPSTREAM__TOKEN", "UPSTREAM__TOKEN_FILE", "HTTP__PORT"])
@pytest.mark.parametrize("source", ["settings", "settingsFromSecrets"])
def test_what_the_chart_sets_itself_is_not_taken(chart: Chart, source: str, name: str) -> None:
    assert f"'{name}' not allowed" in refusal(chart, changed(f"{source}/{name}", "a"))


@pytest.mark.parametrize("name", ["KAFKA__SASL_PASSWORD", "KAFKA__SSL_KEY_PASSWORD"])
def test_a_secret_is_not_taken_in_the_open(chart: Chart, name: str) -> None:
    message = refusal(chart, changed(f"settings/{name}", "opensesame"))
    assert name in message
    assert "opensesame" not in message


@pytest.mark.parametrize("name", [*RESERVED, "sasl.password", "sasl.oauthbearer.client.secret", "ssl.key.pem"])
def test_kafka_properties_that_carry_guarantees_or_secrets_are_not_taken(chart: Chart, name: str) -> None:
    assert f"/settings/KAFKA__EXTRA/{name}'" in refusal(chart, changed("settings/KAFKA__EXTRA", {name: "opensesame"}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", -1),
        ("replicas", 1.5),
        ("image/pullPolicy", "Sometimes"),
        ("image/repository", ""),
        ("service/port", 70_000),
        ("token/key", ""),
        ("serviceAccount/create", "yes"),
        ("settings/NAME", "two words"),
        ("settings/NAME", None),
        ("settings/UPSTREAM__PLAN", "gold"),
        ("settings/UPSTREAM__MAX_SYMBOLS", 0),
        ("settings/UPSTREAM__REQUEST_INTERVAL_S", "1s"),
        ("settings/KAFKA__BOOTSTRAP_SERVERS", ""),
        ("settings/KAFKA__SECURITY_PROTOCOL", "TLS"),
        ("settings/KAFKA__EXTRA", '{"linger.ms": 20}'),
        ("settings/TOPICS__ENSURE", "true"),
        ("settings/LOG__LEVEL", "LOUD"),
        ("settings/SHUTDOWN__BUDGET_S", 0),
        ("settingsFromSecrets/KAFKA__SASL_PASSWORD", "opensesame"),
        ("settingsFromSecrets/KAFKA__SASL_PASSWORD", {"name": "kafka-user"}),
    ],
)
def test_an_unusable_value_is_named(chart: Chart, path: str, value: Any) -> None:
    assert f"at '/{path}'" in refusal(chart, changed(path, value))


@pytest.mark.parametrize("level", ["debug", "WARNING", "Error"])
def test_the_log_level_is_taken_in_any_case(chart: Chart, level: str) -> None:
    data = chart.render(changed("settings/LOG__LEVEL", level))["ConfigMap"]["data"]
    assert data["TICKBRIDGE_LOG__LEVEL"] == level


def test_one_setting_from_two_places_is_refused(chart: Chart) -> None:
    values = changed("settingsFromSecrets/KAFKA__BOOTSTRAP_SERVERS", {"name": "a", "key": "b"})
    assert "KAFKA__BOOTSTRAP_SERVERS is given in settings and in settingsFromSecrets" in refusal(chart, values)


def test_globals_of_a_parent_chart_do_no_harm(chart: Chart) -> None:
    assert "Deployment" in chart.render(changed("global/anything", {"at": "all"}))


def test_an_old_kubernetes_is_refused(chart: Chart) -> None:
    with pytest.raises(HelmRefusedError, match="kubeVersion"):
        chart.helm("template", "bridge", str(chart.directory), "--kube-version", "1.24.0", values=GOOD)


def test_every_value_has_a_default_and_a_schema(chart: Chart) -> None:
    assert set(yaml.safe_load((chart.directory / "values.yaml").read_text())) | {"global"} == set(
        yaml.safe_load((chart.directory / "values.schema.json").read_text())["properties"]
    )


def test_the_schema_is_what_the_settings_say() -> None:
    command = [sys.executable, "-m", "scripts.chart_schema", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0


def test_a_schema_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    stale = tmp_path / "values.schema.json"
    stale.write_text(schema().replace("UPSTREAM__PLAN", "UPSTREAM__PLANS"))
    assert write_or_check(stale, schema, ["--check"]) == 1
