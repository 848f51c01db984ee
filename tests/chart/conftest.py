"""The chart and what reads it: Helm, and Kubernetes' own schemas.

Where they cannot be had the tests skip and say why; with CI=true they fail.
"""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

import pytest

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
    """Give a function that raises ValueError where a manifest has a field that this version of Kubernetes lacks."""
    try:
        validator = importlib.import_module("kubernetes_validate")
    except ImportError:
        _go_without("the package kubernetes-validate is not installed; it is one of the dev dependencies")

    def check(manifest: Manifest, version: str) -> None:
        try:
            validator.validate(manifest, version, strict=True)
        except validator.ValidationError as error:
            raise ValueError(error.message) from error

    return check


def _go_without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
