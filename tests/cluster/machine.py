"""The cluster from outside: `machine.sh` starts it in its own namespaces, and all of it ends with its first process.

Rules: the caller stands in the cluster's network namespace (`network.own_network`); readiness is what `machine.sh`
says, never time that has passed; at the end no process, mount, control group or file of it is left, also when the
start failed half-way; a test run that is killed leaves a directory and empty control groups, no process. Two clusters
at once are refused: the node's control groups have one name.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.images import archive
from tests.cluster.programs import ClusterUnavailableError, Programs

#: Where pods reach the node, and with it whatever the tests run in the cluster's network.
NODE_IP = "10.250.0.2"

#: Seconds until the node is ready; alone on two cores it takes eight.
START_TIMEOUT_S = 240.0

CGROUPS = Path("/sys/fs/cgroup")


class Machine:
    """A cluster of one node; a context manager."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.state = Path()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start it; return when the node is ready.

        Raises ClusterUnavailableError with the last lines of its logs.
        """
        with self._stack:
            self.state = Path(tempfile.mkdtemp(prefix="tickbridge-cluster-"))
            self._stack.callback(shutil.rmtree, self.state, ignore_errors=True)
            _remove_cgroups()  # of a run that was killed
            self._stack.callback(_remove_cgroups)
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and clean up."""
        self._stack.close()

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self.state / "admin.kubeconfig"

    def load(self, image: Path) -> None:
        """Give the node an image, as `docker save` writes it.

        Raises CalledProcessError when containerd does not take it.
        """
        socket = self.state / "containerd.sock"
        command = ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", str(image)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def processes(self, pod_uid: str) -> list[int]:
        """List the processes of a pod's containers, those of its pause container aside, as the caller sees them."""
        lists = (path.read_text().split() for path in CGROUPS.rglob(f"pod{pod_uid}/*/cgroup.procs"))
        found = {int(pid) for pids in lists for pid in pids}
        return sorted(pid for pid in found if Path(f"/proc/{pid}/comm").read_text().strip() != "pause")

    def _start(self) -> None:
        archive(self.state / "pause.tar", "local/pause:1", {"pause": self.programs.pause}, ["/pause"])
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        script = ["bash", str(Path(__file__).with_name("machine.sh"))]
        arguments = [str(self.state), str(self.programs.kubernetes), str(self.programs.coredns), NODE_IP]
        # Whoever is killed takes along whom he has started: this process unshare, unshare the cluster.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *namespaces, *script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(self.state)},
        )
        self._stack.callback(_end, process)
        said: list[str] = []
        reader = threading.Thread(target=_read_until_ready, args=(process, said), daemon=True)
        reader.start()
        reader.join(START_TIMEOUT_S)
        if "ready\n" not in said:
            logs = "\n".join(_tail(path) for path in sorted(self.state.glob("log/*")))
            raise ClusterUnavailableError(f"the cluster did not start: {''.join(said)}\n{logs}")


def _read_until_ready(process: subprocess.Popen[str], said: list[str]) -> None:
    for line in process.stdout or ():
        said.append(line)
        if line == "ready\n":
            return


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()  # what machine.sh waits for in the end
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
    if process.stdout is not None:
        process.stdout.close()


def _remove_cgroups() -> None:
    try:
        for top in CGROUPS.rglob("kubepods"):
            for directory, _, _ in os.walk(top, topdown=False):
                Path(directory).rmdir()
    except OSError as busy:
        raise ClusterUnavailableError(f"there is another cluster on this machine: {busy}") from busy


def _tail(path: Path) -> str:
    return f"--- {path.name}\n" + "".join(path.read_text(errors="replace").splitlines(keepends=True)[-15:])
