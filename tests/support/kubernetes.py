"""Kubernetes' own schemas, version by version, as the package kubernetes-validate carries them.

Its own function reads the definitions of a version (megabytes) anew for every object; here they are read once.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

import jsonschema
import referencing

from tests.support.helm import Manifest


class KubernetesRefusedError(Exception):
    """A manifest has what this version of Kubernetes does not know; the message says where and what."""


def validate(manifest: Manifest, version: str) -> None:
    """Hold a manifest against the strict schemas of a version, such as 1.35.

    Raises KubernetesRefusedError, and FileNotFoundError where the version has no such kind.
    """
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", manifest["apiVersion"])
    for error in _validator(version, f"{manifest['kind'].lower()}-{group}.json").iter_errors(manifest):
        raise KubernetesRefusedError(f"{error.json_path}: {error.message}")


@cache
def _validator(version: str, name: str) -> Any:
    schema = referencing.Resource.from_contents(_read(version, name))
    return jsonschema.Draft202012Validator(schema.contents, registry=schema @ _definitions(version))


@cache
def _definitions(version: str) -> Any:
    found = referencing.Resource.from_contents(_read(version, "_definitions.json"))
    registry: referencing.Registry[Any] = found @ referencing.Registry()
    return registry


def _read(version: str, name: str) -> Any:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    return json.loads((folder / name).read_text(encoding="utf-8"))
