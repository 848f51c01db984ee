"""Values for the tests: the least that the chart takes, the files in ``ci/``, and changes of them."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.support.helm import Manifests

CHART = Path(__file__).resolve().parents[2] / "helm" / "tickbridge"

GOOD: dict[str, Any] = {"kafka": {"bootstrapServers": "kafka:9092"}, "token": {"existingSecret": "token"}}

#: The files in ``ci/``, by situation.
CI: dict[str, dict[str, Any]] = {
    path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text())
    for path in sorted((CHART / "ci").glob("*-values.yaml"))
}


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """Give good values but for what stands at each path, whose parts are separated by dots."""
    values = copy.deepcopy(GOOD)
    for path, value in changes:
        *parents, last = path.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return values


def workload(manifests: Manifests) -> dict[str, Any]:
    (only,) = [one for one in manifests if one["kind"] in ("Deployment", "StatefulSet")]
    return only


def pod(manifests: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = workload(manifests)["spec"]["template"]["spec"]
    return spec


def container(manifests: Manifests) -> dict[str, Any]:
    (bridge,) = [one for one in pod(manifests)["containers"] if one["name"] == "tickbridge"]
    return dict(bridge)


def variables(declared: dict[str, Any]) -> dict[str, Any]:
    """Give the variables of a container: a text each, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in declared.get("env", [])}


def settings_of(manifests: Manifests) -> dict[str, str]:
    """Give what stands in the bridge's own ConfigMap, without the prefix."""
    (source, *_) = container(manifests)["envFrom"]
    data = manifests.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
    return {name.removeprefix("TICKBRIDGE_"): value for name, value in data.items()}
