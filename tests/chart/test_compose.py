"""compose.yaml names what there is: settings, files, ports; an engine is not needed to see that."""

import ipaddress
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import bridge
from bridge.cli import app
from bridge.settings import PREFIX, Settings, load
from bridge.simulator import DEFAULT_TOKEN, PLANS
from bridge.simulator.codes import PATHS
from scripts import compose_alerts
from scripts.settings_table import settings
from tests.support.prometheus import PromtoolUnavailableError, find_promtool

ROOT = Path(__file__).resolve().parents[2]
OURS = ("simulator", "bridge")


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "compose.yaml").read_text()


@pytest.fixture(scope="module")
def compose(text: str) -> dict[str, Any]:
    """The file as compose reads it when no variable is set."""
    document: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    return document


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


@pytest.fixture
def told(services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the bridge makes of the environment that it is given."""
    for name, value in services["bridge"]["environment"].items():
        monkeypatch.setenv(name, value)
    return load()


def test_every_variable_of_ours_is_a_setting(text: str) -> None:
    named = set(re.findall(rf"\b{PREFIX}\w+", text))
    assert len(named) > 5
    assert named - {PREFIX + setting.name for setting in settings()} == set()


def test_the_bridge_can_use_what_it_is_told(told: Settings, services: dict[str, dict[str, Any]]) -> None:
    assert told.topics.ensure
    assert told.kafka.bootstrap_servers in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert told.upstream.plan in PLANS


def test_the_bridge_meets_the_simulator_as_it_is_started(told: Settings, services: dict[str, dict[str, Any]]) -> None:
    command = services["simulator"]["command"]
    port = command[command.index("--port") + 1]
    assert told.upstream.url in {f"ws://simulator:{port}{path}" for path in PATHS}
    assert told.upstream.token is not None
    assert told.upstream.token.get_secret_value() == DEFAULT_TOKEN
    assert f":{int(port) + 1}/" in services["simulator"]["healthcheck"]["test"][-1]


def test_the_bridge_has_the_time_that_it_allows_itself_to_stop(
    told: Settings, services: dict[str, dict[str, Any]]
) -> None:
    assert int(services["bridge"]["stop_grace_period"].removesuffix("s")) >= told.shutdown.budget_s + 10


def test_the_spill_is_on_the_volume_that_is_mounted(told: Settings, services: dict[str, dict[str, Any]]) -> None:
    assert services["bridge"]["volumes"] == [f"spill:{told.backpressure.spill_dir}"]


def test_nothing_listens_beyond_this_machine(services: dict[str, dict[str, Any]]) -> None:
    ports = [port.split(":") for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 4
    assert all(len(port) == 3 and ipaddress.ip_address(port[0]).is_loopback for port in ports)


def test_every_image_has_a_version(services: dict[str, dict[str, Any]]) -> None:
    tags = {name: service["image"].rpartition(":")[2] for name, service in services.items()}
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", tag) for tag in tags.values()), tags
    assert {tags[name] for name in OURS} == {bridge.__version__}
    assert {services[name]["build"]["args"]["VERSION"] for name in OURS} == {bridge.__version__}


def test_whatever_can_live_on_a_read_only_root_does_and_nobody_has_a_capability(
    services: dict[str, dict[str, Any]],
) -> None:
    assert {name for name, service in services.items() if not service.get("read_only")} == {"kafka"}
    assert all(service["cap_drop"] == ["ALL"] for service in services.values())
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in services.values())


def test_every_service_has_a_health_check_that_needs_no_shell(services: dict[str, dict[str, Any]]) -> None:
    assert {service["healthcheck"]["test"][0] for service in services.values()} == {"CMD"}
    assert {services[name]["healthcheck"]["test"][1] for name in OURS} == {"python"}
    for name in OURS:
        compile(services[name]["healthcheck"]["test"][-1], name, "exec")


def test_who_waits_for_whom_is_there_and_every_volume_is_declared(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    awaited = {name for service in services.values() for name in service.get("depends_on", ())}
    assert awaited <= services.keys()
    sources = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert {source for source in sources if not source.startswith("./")} == compose["volumes"].keys()
    mounted = [ROOT / source for source in sources if source.startswith("./")]
    assert len(mounted) == 5
    assert [str(path) for path in mounted if not path.exists()] == []


def test_prometheus_scrapes_the_bridge_and_grafana_asks_prometheus(services: dict[str, dict[str, Any]]) -> None:
    scrape = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"][0]["targets"] == [f"bridge:{services['bridge']['ports'][0].split(':')[-1]}"]
    source = yaml.safe_load((ROOT / "deploy/compose/grafana/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == f"http://prometheus:{services['prometheus']['ports'][0].split(':')[-1]}"


def test_prometheus_takes_its_configuration() -> None:
    try:
        promtool = find_promtool()
    except PromtoolUnavailableError as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))
    command = [str(promtool), "check", "config", str(ROOT / "deploy/compose/prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_its_alerts_are_the_charts_and_look_at_what_is_scraped_here() -> None:
    assert compose_alerts.ALERTS.read_text() == compose_alerts.text(), "run python -m scripts.compose_alerts"
    scrape = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["scrape_configs"][0]
    labels = {"job": scrape["job_name"], **scrape["static_configs"][0]["labels"]}
    assert {f'{name}="{value}"' for name, value in labels.items()} == set(compose_alerts.SELECTOR.split(","))
    assert "${" not in compose_alerts.text()


def test_grafana_finds_the_dashboard_where_it_is_mounted(services: dict[str, dict[str, Any]]) -> None:
    provider = yaml.safe_load((ROOT / "deploy/compose/grafana/dashboards/tickbridge.yaml").read_text())["providers"][0]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert str(Path(home).parent) == provider["options"]["path"]
    assert f"./helm/tickbridge/files/dashboard.json:{home}:ro" in services["grafana"]["volumes"]


def test_the_commands_that_it_tells_to_type_exist(text: str) -> None:
    typed = re.findall(r"docker compose exec \w+ tickbridge (\w+)", text)
    known = {group.name for group in app.registered_groups} | {
        command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands
    }
    assert len(typed) == 3
    assert set(typed) <= known
