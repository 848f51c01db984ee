"""What the chart makes of its values, as parsed YAML."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

import bridge
from bridge.settings import Settings
from tests.support.helm import Chart, Manifest

CHART = Path(__file__).resolve().parents[2] / "helm" / "tickbridge"
Validate: TypeAlias = Callable[[Manifest, str], None]
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
MINIMAL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())
FULL: dict[str, Any] = yaml.safe_load((CHART / "ci" / "full-values.yaml").read_text())


def minimal(**more: Any) -> dict[str, Any]:
    """Give the least values, with ``settings`` added to and every other value replaced."""
    values = copy.deepcopy(MINIMAL)
    values["settings"] |= more.pop("settings", {})
    return values | more


def pod(manifests: dict[str, Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(manifests: dict[str, Manifest]) -> dict[str, Any]:
    (only,) = pod(manifests)["containers"]
    return dict(only)


def environment(manifests: dict[str, Manifest]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(manifests)["env"]}


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_strict_lint_finds_nothing(chart: Chart, values: Path) -> None:
    assert "0 chart(s) failed" in chart.helm("lint", "--strict", "--values", str(values), str(chart.directory))


def test_lint_needs_no_values_at_all(chart: Chart) -> None:
    assert "0 chart(s) failed" in chart.helm("lint", "--strict", str(chart.directory))


@pytest.mark.parametrize("version", ["1.25", "1.35"])
@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_kubernetes_knows_every_field(chart: Chart, validate: Validate, values: Path, version: str) -> None:
    for manifest in chart.render(yaml.safe_load(values.read_text())).values():
        validate(manifest, version)


def test_a_strange_field_would_be_noticed(chart: Chart, validate: Validate) -> None:
    manifest = chart.render(MINIMAL)["Deployment"]
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(ValueError, match="readynessProbe"):
        validate(manifest, "1.35")


def test_one_instance_runs_unless_more_are_asked_for(chart: Chart) -> None:
    assert chart.render(MINIMAL)["Deployment"]["spec"]["replicas"] == 1
    assert chart.render(FULL)["Deployment"]["spec"]["replicas"] == 2


def test_a_new_pod_stands_by_before_the_old_one_goes(chart: Chart) -> None:
    strategy = chart.render(MINIMAL)["Deployment"]["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_nothing_in_the_pod_has_more_rights_than_it_needs(chart: Chart) -> None:
    manifests = chart.render(MINIMAL)
    assert pod(manifests)["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container(manifests)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(manifests)["automountServiceAccountToken"] is False
    assert manifests["ServiceAccount"]["automountServiceAccountToken"] is False


def test_other_services_add_nothing_to_the_environment(chart: Chart) -> None:
    assert pod(chart.render(MINIMAL))["enableServiceLinks"] is False


def test_probes_and_the_service_reach_the_port_the_bridge_listens_on(chart: Chart) -> None:
    manifests = chart.render(MINIMAL)
    (port,) = container(manifests)["ports"]
    probes = {name: container(manifests)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    (service,) = manifests["Service"]["spec"]["ports"]
    assert port["name"] == "http"
    assert environment(manifests)["TICKBRIDGE_HTTP__PORT"] == str(port["containerPort"])
    assert probes == {
        "startup": {"path": "/healthz", "port": "http"},
        "liveness": {"path": "/healthz", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    assert (service["name"], service["port"], service["targetPort"]) == ("http", 8080, "http")


def test_the_service_selects_the_pods(chart: Chart) -> None:
    manifests = chart.render(MINIMAL)
    selector = manifests["Service"]["spec"]["selector"]
    assert selector == manifests["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("budget", "grace"), [(None, 35), (60, 70), (40.5, 51), (0.5, 11)])
def test_kubernetes_waits_ten_seconds_longer_than_the_bridge_may_take(
    chart: Chart, budget: float | None, grace: int
) -> None:
    settings = {} if budget is None else {"SHUTDOWN__BUDGET_S": budget}
    assert pod(chart.render(minimal(settings=settings)))["terminationGracePeriodSeconds"] == grace


def test_the_shutdown_budget_is_the_bridges_own_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["settings"] == {
        "SHUTDOWN__BUDGET_S": Settings.model_fields["shutdown"].get_default(call_default_factory=True).budget_s
    }


def test_the_token_is_a_file_in_a_directory_that_follows_its_secret(chart: Chart) -> None:
    manifests = chart.render(minimal(token={"existingSecret": "mine", "key": "alltick"}))
    (volume,) = pod(manifests)["volumes"]
    (mount,) = container(manifests)["volumeMounts"]
    assert volume["secret"] == {"secretName": "mine", "items": [{"key": "alltick", "path": "token"}]}
    assert mount == {"name": volume["name"], "mountPath": "/etc/tickbridge/token", "readOnly": True}
    assert environment(manifests)["TICKBRIDGE_UPSTREAM__TOKEN_FILE"] == "/etc/tickbridge/token/token"


def test_a_setting_from_a_secret_is_only_referred_to(chart: Chart) -> None:
    manifests = chart.render(FULL)
    assert environment(manifests)["TICKBRIDGE_KAFKA__SASL_PASSWORD"] == {
        "secretKeyRef": {"name": "kafka-user", "key": "password"}
    }
    assert "TICKBRIDGE_KAFKA__SASL_PASSWORD" not in manifests["ConfigMap"]["data"]


def test_extra_files_are_mounted_beside_the_token(chart: Chart) -> None:
    manifests = chart.render(FULL)
    assert [volume["name"] for volume in pod(manifests)["volumes"]] == ["token", "kafka-ca"]
    assert [mount["mountPath"] for mount in container(manifests)["volumeMounts"]] == [
        "/etc/tickbridge/token",
        "/etc/kafka-ca",
    ]


def test_a_changed_setting_restarts_the_bridge_and_another_number_of_replicas_does_not(chart: Chart) -> None:
    def template(**more: Any) -> Any:
        return chart.render(minimal(**more))["Deployment"]["spec"]["template"]

    assert template() != template(settings={"UPSTREAM__PLAN": "basic"})
    assert template(replicas=2) == template(replicas=3)


def test_with_standbys_a_lost_instance_gives_up_its_connection_at_once(chart: Chart) -> None:
    def hold(**more: Any) -> str | None:
        data: dict[str, str] = chart.render(minimal(**more))["ConfigMap"]["data"]
        return data.get("TICKBRIDGE_GROUP__LOST_HOLD_S")

    assert hold() is None
    assert hold(replicas=2) == "0"
    assert hold(replicas=2, settings={"GROUP__LOST_HOLD_S": 30}) == "30"


def test_the_image_is_the_charts_own_version_unless_a_tag_is_given(chart: Chart) -> None:
    assert container(chart.render(MINIMAL))["image"] == f"tickbridge:{bridge.__version__}"
    assert container(chart.render(FULL))["image"] == "registry.example/tickbridge:0.1.0-rc.1"
    assert pod(chart.render(FULL))["imagePullSecrets"] == [{"name": "registry-credentials"}]


@pytest.mark.parametrize(
    ("account", "name", "created"),
    [
        ({}, "bridge-tickbridge", True),
        ({"name": "mine"}, "mine", True),
        ({"create": False}, "default", False),
        ({"create": False, "name": "mine"}, "mine", False),
    ],
)
def test_the_service_account_is_made_or_named(chart: Chart, account: dict[str, Any], name: str, created: bool) -> None:
    manifests = chart.render(minimal(serviceAccount=account))
    assert pod(manifests)["serviceAccountName"] == name
    assert ("ServiceAccount" in manifests) is created
    if created:
        assert manifests["ServiceAccount"]["metadata"]["name"] == name


def test_the_notes_tell_how_to_add_and_to_remove_a_symbol(chart: Chart) -> None:
    notes = chart.helm("install", "--dry-run=client", "bridge", str(chart.directory), values=MINIMAL)
    run = "kubectl --namespace default exec deploy/bridge-tickbridge -- tickbridge subscriptions"
    assert f"{run} add AAPL.US" in notes
    assert f"{run} remove AAPL.US" in notes


def test_the_package_renders_as_the_directory_does(chart: Chart, tmp_path: Path) -> None:
    chart.helm("package", str(chart.directory), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    assert package.name == f"tickbridge-{bridge.__version__}.tgz"
    assert Chart(chart.binary, package, chart.home).render(FULL) == chart.render(FULL)
