"""What a test asks of the cluster: kubectl, as an operator would use it, and waits that say what they saw."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias, TypeVar

Manifest: TypeAlias = dict[str, Any]
T = TypeVar("T")

#: Seconds between two looks at what nobody tells by itself.
LOOK_S = 0.25


class KubectlError(Exception):
    """kubectl, or the server behind it, refused; the message is what it wrote."""


def wait_until(what: str, look: Callable[[], T], timeout_s: float = 60.0) -> T:
    """Look again and again until there is something true to return; what cannot be asked just now counts as nothing.

    Raises TimeoutError with the last answer, or the last reason why there was none.
    """
    end, pause, seen = time.monotonic() + timeout_s, Event(), "nothing"
    while True:
        try:
            if found := look():
                return found
            seen = repr(found)
        except (KubectlError, OSError) as trouble:  # a pod that is gone, a port that is not open yet
            seen = str(trouble)
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}; seen last: {seen[-2000:]}")
        pause.wait(LOOK_S)


@dataclass(frozen=True)
class Kube:
    """One namespace of the cluster, through kubectl."""

    kubernetes: Path
    kubeconfig: Path
    namespace: str

    def kubectl(self, *arguments: str, given: str | None = None, timeout_s: float = 60.0) -> str:
        """Run kubectl in the namespace and return what it wrote.

        Raises KubectlError.
        """
        place = ["--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        ran = subprocess.run(
            [str(self.kubernetes), "kubectl", *place, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if ran.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {ran.stderr.strip()}")
        return ran.stdout

    def apply(self, *manifests: Manifest) -> None:
        """Make the cluster hold these objects."""
        self.kubectl("apply", "-f", "-", given="\n---\n".join(json.dumps(one) for one in manifests))

    def get(self, *what: str) -> list[Manifest]:
        """List objects, by the words of `kubectl get`."""
        answer = json.loads(self.kubectl("get", *what, "--output", "json", "--ignore-not-found") or '{"items": []}')
        items: list[Manifest] = answer.get("items", [answer])
        return items

    def secret(self, name: str, values: Mapping[str, str]) -> None:
        """Write a Secret."""
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(values)})

    def report(self) -> str:
        """Say what an operator would look at when something is wrong: objects, events, each container's last words."""
        said = [
            self._try("get", "all,jobs,pvc", "--output", "wide"),
            self._try("get", "events", "--sort-by", ".lastTimestamp"),
        ]
        with contextlib.suppress(KubectlError):
            for pod in names(self.get("pods")):
                said += [f"--- {pod}", self._try("logs", pod, "--all-containers", "--tail", "60")]
                said += [self._try("logs", pod, "--all-containers", "--tail", "20", "--previous")]
        return "\n".join(said)

    def _try(self, *arguments: str) -> str:
        try:
            return self.kubectl(*arguments)
        except KubectlError as refused:
            return str(refused)


def names(objects: Sequence[Manifest]) -> list[str]:
    """Give the names of some objects."""
    return [one["metadata"]["name"] for one in objects]


def is_ready(pod: Manifest) -> bool:
    """Tell whether a pod is ready and not about to go."""
    conditions = pod["status"].get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
