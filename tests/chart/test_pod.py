"""The pod of the bridge, and what is around it."""

import math
from typing import Any

import pytest

import bridge
from bridge.settings.groups import BackpressureSettings
from tests.chart.examples import CI, GOOD, changed, container, pod, settings_of, variables, workload
from tests.support.helm import Chart

MIB = 1024**2


def test_a_new_pod_stands_by_before_the_old_one_goes(chart: Chart) -> None:
    strategy = chart.render(GOOD).one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize("changes", [(), (("http.port", 9090), ("service.port", 80))])
def test_probes_and_the_service_reach_the_port_the_bridge_listens_on(chart: Chart, changes: Any) -> None:
    manifests = chart.render(changed(*changes))
    (port,) = container(manifests)["ports"]
    probes = {name: container(manifests)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    (service,) = manifests.one("Service")["spec"]["ports"]
    assert port["name"] == "http"
    assert settings_of(manifests)["HTTP__PORT"] == str(port["containerPort"]) == ("9090" if changes else "8080")
    assert probes == {
        "startup": {"path": "/healthz", "port": "http"},
        "liveness": {"path": "/healthz", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    assert (service["name"], service["port"], service["targetPort"]) == ("http", 80 if changes else 8080, "http")


def test_the_service_selects_the_bridge_and_neither_jobs_nor_tests(chart: Chart) -> None:
    manifests = chart.render(CI["full"])
    selector = manifests.one("Service")["spec"]["selector"].items()
    others = [one["spec"]["template"]["metadata"]["labels"] for one in manifests.of("Job").values()]
    others += [one["metadata"]["labels"] for one in manifests.of("Pod").values()]
    assert selector == workload(manifests)["spec"]["selector"]["matchLabels"].items()
    assert selector <= workload(manifests)["spec"]["template"]["metadata"]["labels"].items()
    assert len(others) == 4
    assert not any(selector <= labels.items() for labels in others)


@pytest.mark.parametrize(("budget", "grace"), [(None, 35), (60, 70), (40.5, 51), (0.5, 11)])
def test_kubernetes_waits_ten_seconds_longer_than_the_bridge_may_take(
    chart: Chart, budget: float | None, grace: int
) -> None:
    assert pod(chart.render(changed(("shutdown.budgetSeconds", budget))))["terminationGracePeriodSeconds"] == grace


def test_the_token_is_a_file_in_a_directory_that_follows_its_secret(chart: Chart) -> None:
    manifests = chart.render(changed(("token", {"existingSecret": "mine", "key": "alltick"})))
    (volume,) = [one for one in pod(manifests)["volumes"] if one["name"] == "token"]
    (mount,) = [one for one in container(manifests)["volumeMounts"] if one["name"] == "token"]
    assert volume["secret"] == {"secretName": "mine", "items": [{"key": "alltick", "path": "token"}]}
    assert mount == {"name": "token", "mountPath": "/etc/tickbridge/token", "readOnly": True}
    assert settings_of(manifests)["UPSTREAM__TOKEN_FILE"] == "/etc/tickbridge/token/token"


def test_another_token_restarts_nothing(chart: Chart) -> None:
    def annotations(token: str) -> Any:
        values = changed(("token", {"value": token}))
        return workload(chart.render(values))["spec"]["template"]["metadata"]["annotations"]

    assert annotations("one") == annotations("two")


def test_a_token_given_as_a_value_gets_a_secret_of_its_own(chart: Chart) -> None:
    manifests = chart.render(changed(("token", {"value": "t0ken", "key": "unused"})))
    (volume,) = [one for one in pod(manifests)["volumes"] if one["name"] == "token"]
    secret = manifests.one("Secret")
    assert volume["secret"] == {
        "secretName": secret["metadata"]["name"],
        "items": [{"key": "token", "path": "token"}],
    }
    assert secret["data"] == {"token": "dDBrZW4="}


def test_pods_restart_for_a_setting_and_not_for_a_replica_more_or_a_label_of_the_service(chart: Chart) -> None:
    def template(*changes: tuple[str, Any]) -> Any:
        return workload(chart.render(changed(*changes)))["spec"]["template"]

    assert template() != template(("upstream.plan", "basic"))
    assert template(("replicaCount", 2)) == template(("replicaCount", 3), ("service.labels", {"a": "b"}))


def test_pods_restart_for_a_password_given_as_a_value(chart: Chart) -> None:
    def template(password: str) -> Any:
        sasl = {"mechanism": "PLAIN", "username": "bridge", "password": password}
        values = changed(("kafka.securityProtocol", "SASL_SSL"), ("kafka.sasl", sasl))
        return workload(chart.render(values))["spec"]["template"]

    assert template("one") != template("two")


@pytest.mark.parametrize(
    ("changes", "hold"),
    [
        ((), None),
        ((("replicaCount", 2),), "0"),
        ((("replicaCount", 2), ("group.lostHoldSeconds", 30)), "30"),
        ((("group.lostHoldSeconds", 0),), "0"),
    ],
)
def test_with_standbys_a_lost_instance_gives_up_its_connection_at_once(
    chart: Chart, changes: Any, hold: str | None
) -> None:
    assert settings_of(chart.render(changed(*changes))).get("GROUP__LOST_HOLD_S") == hold


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({}, f"tickbridge:{bridge.__version__}"),
        ({"registry": "registry.example", "tag": "9"}, "registry.example/tickbridge:9"),
        ({"digest": "sha256:" + "0" * 64, "tag": "9"}, "tickbridge@sha256:" + "0" * 64),
    ],
)
def test_the_image_is_the_charts_own_version_unless_another_is_given(
    chart: Chart, image: dict[str, str], name: str
) -> None:
    assert container(chart.render(changed(("image", image))))["image"] == name


def test_the_memory_limit_holds_what_may_wait_in_memory(chart: Chart) -> None:
    """Twice the queue, since a tick in memory is more than its bytes, and the process itself."""
    limit = container(chart.render(GOOD))["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert int(limit.removesuffix("Mi")) * MIB >= 2 * BackpressureSettings().queue_max_bytes + 160 * MIB


@pytest.mark.parametrize("maximum", [None, 16 * MIB, 5_000_000_000])
def test_the_spill_has_room_on_the_node_for_all_that_it_may_hold(chart: Chart, maximum: int | None) -> None:
    manifests = chart.render(changed(("backpressure.spillMaxBytes", maximum)))
    (volume,) = [one for one in pod(manifests)["volumes"] if one["name"] == "spill"]
    (mount,) = [one for one in container(manifests)["volumeMounts"] if one["name"] == "spill"]
    expected = math.ceil((maximum or BackpressureSettings().spill_max_bytes) * 1.25 / MIB) + 64
    assert volume["emptyDir"] == {"sizeLimit": f"{expected}Mi"}
    assert container(manifests)["resources"]["requests"]["ephemeral-storage"] == f"{expected}Mi"
    assert settings_of(manifests)["BACKPRESSURE__SPILL_DIR"].startswith(mount["mountPath"] + "/")


def test_without_a_spill_there_is_neither_volume_nor_directory(chart: Chart) -> None:
    manifests = chart.render(changed(("spill.enabled", False)))
    assert [one["name"] for one in pod(manifests)["volumes"]] == ["token"]
    assert "BACKPRESSURE__SPILL_DIR" not in settings_of(manifests)
    assert "ephemeral-storage" not in container(manifests)["resources"]["requests"]


def test_a_volume_can_be_written_by_the_images_user(chart: Chart) -> None:
    values = changed(("spill.persistence.enabled", True))
    context = pod(chart.render(values))["securityContext"]
    own = pod(chart.render(values | {"spill": {"persistence": {"enabled": True, "fsGroup": None}}}))["securityContext"]
    assert (context["fsGroup"], context["fsGroupChangePolicy"]) == (10001, "OnRootMismatch")
    assert "fsGroup" not in own


def test_a_claim_is_as_large_as_the_spill_and_of_the_clusters_default_class(chart: Chart) -> None:
    manifests = chart.render(changed(("spill.persistence.enabled", True)))
    (claim,) = manifests.one("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    assert "ephemeral-storage" not in container(manifests)["resources"]["requests"]
    assert "spill" not in [one["name"] for one in pod(manifests)["volumes"]]


def test_a_rollout_of_volumes_takes_one_pod_at_a_time_and_scaling_all_at_once(chart: Chart) -> None:
    stateful = chart.render(CI["spill-pvc"]).one("StatefulSet")["spec"]
    assert stateful["podManagementPolicy"] == "Parallel"
    assert stateful["updateStrategy"] == {"type": "RollingUpdate"}


def test_a_budget_for_disruptions_is_made_where_there_is_somebody_to_take_over(chart: Chart) -> None:
    assert "PodDisruptionBudget" not in chart.render(GOOD).kinds
    budget = chart.render(changed(("replicaCount", 2))).one("PodDisruptionBudget")["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    off = changed(("replicaCount", 2), ("podDisruptionBudget.enabled", False))
    assert "PodDisruptionBudget" not in chart.render(off).kinds


def test_a_constraint_without_a_selector_is_about_the_bridge(chart: Chart) -> None:
    manifests = chart.render(CI["full"])
    (only,) = pod(manifests)["topologySpreadConstraints"]
    assert only["whenUnsatisfiable"] == "DoNotSchedule"
    assert only["labelSelector"] == workload(manifests)["spec"]["selector"]


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
    manifests = chart.render(changed(("serviceAccount", account)))
    assert pod(manifests)["serviceAccountName"] == name
    assert list(manifests.of("ServiceAccount")) == ([name] if created else [])


def test_what_is_extra_is_all_there(chart: Chart) -> None:
    manifests = chart.render(CI["full"])
    assert variables(container(manifests))["TZ"] == "UTC"
    assert container(manifests)["envFrom"][1:] == [{"secretRef": {"name": "more-settings"}}]
    assert {"name": "more", "emptyDir": {}} in pod(manifests)["volumes"]
    assert {"name": "more", "mountPath": "/more"} in container(manifests)["volumeMounts"]
    assert [one["name"] for one in pod(manifests)["containers"]] == ["tickbridge", "helper"]
    assert manifests.of("ConfigMap")["crypto-extra"]["data"] == {"port": "80"}
    assert manifests.of("ConfigMap")["market-hours"]["data"] == {"calendar.yaml": "{}"}


def test_labels_for_all_reach_all_and_no_selector(chart: Chart) -> None:
    manifests = chart.render(CI["full"])
    assert all(one["metadata"]["labels"]["team"] == "market-data" for one in manifests if "labels" in one["metadata"])
    template = workload(manifests)["spec"]["template"]["metadata"]
    assert {"team": "market-data", "tier": "feed"}.items() <= template["labels"].items()
    assert template["annotations"]["example.com/note"] == "of the pod"
    assert "team" not in workload(manifests)["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, "bridge-tickbridge"),
        ({"nameOverride": "ticks"}, "bridge-ticks"),
        ({"nameOverride": "bridge"}, "bridge"),
        ({"fullnameOverride": "x" * 80}, "x" * 48),
    ],
)
def test_all_objects_share_a_name(chart: Chart, names: dict[str, str], expected: str) -> None:
    manifests = chart.render(GOOD | names)
    assert {one["metadata"]["name"] for one in manifests} == {expected, f"{expected}-test-ready"}
