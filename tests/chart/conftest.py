"""The chart and what reads it: Helm, and Kubernetes' own schemas.

Where they cannot be had the tests skip and say why; with CI=true they fail.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

import pytest

from tests.support import kubernetes
from tests.support.helm import Chart, HelmUnavailableError, Manifest, find_helm

ROOT = Path(__file__).resolve().parents[2]

Validate: TypeAlias = Callable[[Manifest, str], None]


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    try:
        binary = find_helm()
    except HelmUnavailableError as reason:
        _go_without(str(reason))
    return Chart(binary, ROOT / "helm" / "tickbridge", tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def validate() -> Validate:
    """Give what holds a manifest against the schemas of a version of Kubernetes."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        _go_without("the package kubernetes-validate is not installed; it is one of the dev dependencies")
    return kubernetes.validate


def _go_without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
