"""The situations in ``ci/``: each is linted, known to every Kubernetes that the chart allows, and as promised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

import bridge
from tests.chart.examples import CHART, CI, container, pod, settings_of, variables, workload
from tests.support.helm import Chart, HelmRefusedError, Manifest, Manifests, hooks
from tests.support.kubernetes import KubernetesRefusedError

Validate: TypeAlias = Callable[[Manifest, str], None]

#: The oldest that Chart.yaml allows, up to the newest that we know.
KUBERNETES = ("1.27", "1.30", "1.33", "1.35")
FOREIGN = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "KafkaTopic", "KafkaUser"}


@pytest.fixture(scope="module")
def rendered(chart: Chart) -> dict[str, Manifests]:
    return {name: chart.render(values) for name, values in CI.items()}


def test_the_situations_are_those_that_users_are_in() -> None:
    assert set(CI) == {
        *("minimal", "sasl-ssl", "replicas", "spill-pvc"),
        *("monitoring", "restricted", "strimzi", "full"),
    }


@pytest.mark.parametrize("name", CI)
def test_strict_lint_finds_nothing(chart: Chart, name: str) -> None:
    assert "0 chart(s) failed" in chart.helm("lint", "--strict", str(chart.directory), values=CI[name])


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", CI)
def test_kubernetes_knows_every_field(chart: Chart, validate: Validate, name: str, version: str) -> None:
    for manifest in chart.render(CI[name], "--kube-version", f"{version}.0"):
        if manifest["kind"] not in FOREIGN:
            validate(manifest, version)


def test_a_strange_field_would_be_noticed(rendered: dict[str, Manifests], validate: Validate) -> None:
    manifest = yaml.safe_load(yaml.safe_dump(workload(rendered["minimal"])))
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(KubernetesRefusedError, match="readynessProbe"):
        validate(manifest, "1.35")


def test_an_older_kubernetes_is_refused(chart: Chart) -> None:
    with pytest.raises(HelmRefusedError, match="kubeVersion"):
        chart.render(CI["minimal"], "--kube-version", "1.26.0")


@pytest.mark.parametrize("name", CI)
def test_no_two_objects_have_one_name_and_all_bear_the_labels(rendered: dict[str, Manifests], name: str) -> None:
    identities = [(one["kind"], one["metadata"]["name"]) for one in rendered[name]]
    assert sorted(identities) == sorted(set(identities))
    ours = [one for one in rendered[name] if not one["metadata"]["name"].startswith(("market-hours", "crypto-extra"))]
    for one in ours:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "bridge"
        assert labels["app.kubernetes.io/version"] == bridge.__version__


@pytest.mark.parametrize("name", CI)
def test_no_pod_of_any_kind_has_more_rights_than_it_needs(rendered: dict[str, Manifests], name: str) -> None:
    pods = [workload(rendered[name])["spec"]["template"]["spec"]]
    pods += [one["spec"]["template"]["spec"] for one in rendered[name].of("Job").values()]
    pods += [one["spec"] for one in rendered[name].of("Pod").values()]
    assert len(pods) >= 2
    for spec in pods:
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["containers"][0]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("name", CI)
def test_nothing_relies_on_a_shell(rendered: dict[str, Manifests], name: str) -> None:
    """The image has none: a container runs the entry point, or Python."""

    def containers(part: Any) -> list[dict[str, Any]]:
        if isinstance(part, list):
            return [one for item in part for one in containers(item)]
        if not isinstance(part, dict):
            return []
        return [*part.get("containers", []), *(one for item in part.values() for one in containers(item))]

    for one in containers(list(rendered[name])):
        assert one.get("command", ["python"])[0] == "python"
        assert "exec" not in str([one.get(f"{probe}Probe") for probe in ("startup", "liveness", "readiness")])


def test_the_minimal_release_is_one_bridge_and_no_more(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["minimal"]
    assert manifests.kinds == {"Deployment", "ConfigMap", "Service", "ServiceAccount"}
    assert workload(manifests)["spec"]["replicas"] == 1
    assert [name for name, one in manifests.of("Pod").items() if hooks(one) == ["test"]] == [
        "bridge-tickbridge-test-ready"
    ]


def test_sasl_ssl_takes_user_password_and_authority_from_secrets(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["sasl-ssl"]
    assert variables(container(manifests)) == {
        "TICKBRIDGE_KAFKA__SASL_USERNAME": {"secretKeyRef": {"name": "kafka-credentials", "key": "username"}},
        "TICKBRIDGE_KAFKA__SASL_PASSWORD": {"secretKeyRef": {"name": "kafka-credentials", "key": "password"}},
    }
    assert "Secret" not in {one["kind"] for one in manifests}
    assert settings_of(manifests)["KAFKA__SSL_CA_LOCATION"] == "/etc/tickbridge/kafka-ca/ca.crt"


def test_replicas_are_spread_protected_and_let_go_at_once(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["replicas"]
    assert workload(manifests)["spec"]["replicas"] == 3
    assert settings_of(manifests)["GROUP__LOST_HOLD_S"] == "0"
    assert settings_of(manifests)["TOPICS__SUBSCRIPTIONS_PARTITIONS"] == "2"
    assert manifests.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert [one["topologyKey"] for one in pod(manifests)["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]


def test_a_spill_on_volumes_is_a_statefulset_with_a_claim_for_each_pod(rendered: dict[str, Manifests]) -> None:
    stateful = rendered["spill-pvc"].one("StatefulSet")["spec"]
    (claim,) = stateful["volumeClaimTemplates"]
    assert "Deployment" not in rendered["spill-pvc"].kinds
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "32Gi"}},
    }
    assert stateful["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Retain"}


def test_the_restricted_namespace_gets_a_digest_certificates_and_a_policy(rendered: dict[str, Manifests]) -> None:
    manifests = rendered["restricted"]
    assert container(manifests)["image"].startswith("mirror.example/market-data/tickbridge@sha256:0123")
    assert pod(manifests)["imagePullSecrets"] == [{"name": "mirror-credentials"}]
    assert pod(manifests)["serviceAccountName"] == "market-data"
    assert "ServiceAccount" not in manifests.kinds
    files = {name: value for name, value in settings_of(manifests).items() if value.startswith("/etc/")}
    assert files == {
        "UPSTREAM__TOKEN_FILE": "/etc/tickbridge/token/token",
        "UPSTREAM__CA_FILE": "/etc/tickbridge/upstream-ca/ca.crt",
        "KAFKA__SSL_CA_LOCATION": "/etc/tickbridge/kafka-ca/ca.crt",
        "KAFKA__SSL_CERTIFICATE_LOCATION": "/etc/tickbridge/kafka-certificate/tls.crt",
        "KAFKA__SSL_KEY_LOCATION": "/etc/tickbridge/kafka-certificate/tls.key",
    }
    assert set(variables(container(manifests))) == {"TICKBRIDGE_KAFKA__SSL_KEY_PASSWORD", "HTTPS_PROXY"}


def test_monitoring_is_all_there_when_it_is_asked_for(rendered: dict[str, Manifests]) -> None:
    assert {"ServiceMonitor", "PrometheusRule"} <= rendered["monitoring"].kinds
    assert len(rendered["monitoring"].of("ConfigMap")) == 2
    for name in set(CI) - {"monitoring"}:
        assert not {"ServiceMonitor", "PodMonitor", "PrometheusRule"} & rendered[name].kinds


def test_the_package_renders_as_the_directory_does(chart: Chart, tmp_path: Path) -> None:
    chart.helm("package", str(chart.directory), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    assert package.name == f"tickbridge-{bridge.__version__}.tgz"
    assert Chart(chart.binary, package, chart.home).render(CI["full"]) == chart.render(CI["full"])


def test_the_chart_is_of_the_bridges_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (image,) = yaml.safe_load(about["annotations"]["artifacthub.io/images"])
    assert about["appVersion"] == about["version"] == bridge.__version__
    assert image["image"] == f"tickbridge:{bridge.__version__}"
