"""What a cluster is made of: Debian's packages, and what is built once from Go modules.

Kubernetes, kubectl and CoreDNS are built from the modules in `go/`, whose `go.mod` and `go.sum` pin every one of them,
and kept in `${XDG_CACHE_HOME:-~/.cache}/tickbridge/kubernetes-VERSION-HASH`, where the hash is of those files. A build
takes its name only when it is whole. `python -m tests.cluster.programs` builds (in CI, before the tests) and prints
the directory.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.jars import cache_directory

GO = Path(__file__).with_name("go")

#: Commands, and Debian's package for each.
COMMANDS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
PLUGINS = Path("/usr/lib/cni")

#: Seconds for one build: 2,500 packages on two busy cores.
BUILD_TIMEOUT_S = 2400.0


class ClusterUnavailableError(Exception):
    """No cluster can be had here; the message says why and what would help."""


@dataclass(frozen=True)
class Programs:
    """Binaries built here; `kubernetes` is all of Kubernetes, kubectl too, by its first argument."""

    kubernetes: Path
    coredns: Path
    pause: Path


def find_programs() -> Programs:
    """Return the binaries, building what is missing.

    Raises ClusterUnavailableError with all that this machine lacks, or with the end of a failed build's output.
    """
    home = cache_directory() / f"kubernetes-{version()}-{_fingerprint()}"
    lacking = missing()
    if not home.is_dir() and shutil.which("go") is None:
        lacking.append("there is no Go toolchain to build Kubernetes with")
    if lacking:
        raise ClusterUnavailableError("no cluster here: " + "; ".join(lacking))
    if not home.is_dir():
        _build(home)
    return Programs(home / "kubernetes", home / "coredns", home / "pause")


def missing() -> list[str]:
    """Say what this machine lacks, one sentence each."""
    lacking = []
    if os.geteuid() != 0:
        lacking.append("it takes root (namespaces, mounts, cgroups)")
    elif not _may_unshare():
        lacking.append("this root may not make namespaces (CAP_SYS_ADMIN)")
    if not any(Path("/sys/fs/cgroup").rglob("cgroup.procs")):
        lacking.append("there are no cgroups in /sys/fs/cgroup")
    packages = {package for command, package in COMMANDS.items() if shutil.which(command) is None}
    if not (PLUGINS / "bridge").exists():
        packages.add("containernetworking-plugins")
    if packages:
        lacking.append(f"Debian's packages {', '.join(sorted(packages))} are not installed")
    return lacking


def version() -> str:
    """Return the version of Kubernetes that is pinned."""
    pinned = (GO / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v\S+)", pinned, re.MULTILINE)
    if found is None:
        raise LookupError("go.mod does not name k8s.io/kubernetes")
    return found[1]


def _may_unshare() -> bool:
    command = ["unshare", "--mount", "--pid", "--net", "--fork", "true"]
    if shutil.which("unshare") is None:
        return True  # another sentence says so
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _fingerprint() -> str:
    pinned = sorted(path for path in GO.rglob("*") if path.is_file())
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in pinned)).hexdigest()[:12]


def _build(home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"Building Kubernetes {version()} once, into {home}: some minutes …\n")
    major, minor, _ = version().lstrip("v").split(".")
    facts = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    # Without these the server calls itself v0.0.0, and charts that ask for its version misbehave.
    told = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in facts.items())
    part = Path(tempfile.mkdtemp(dir=home.parent, prefix="kubernetes-part-"))
    try:
        _go_build(GO / "kubernetes", ".", part / "kubernetes", told)
        _go_build(GO / "kubernetes", "./pause", part / "pause")
        _go_build(GO / "coredns", ".", part / "coredns")
        if not home.is_dir():  # another process may have been faster
            part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _go_build(module: Path, package: str, output: Path, told: str = "") -> None:
    command = ["nice", "go", "build", "-trimpath", "-ldflags", f"-s -w {told}", "-o", str(output), package]
    try:
        subprocess.run(
            command,
            cwd=module,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
            timeout=BUILD_TIMEOUT_S,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.CalledProcessError as failure:
        raise ClusterUnavailableError(f"{module.name} could not be built:\n{failure.stdout[-3000:]}") from failure
    except subprocess.TimeoutExpired as failure:
        raise ClusterUnavailableError(
            f"{module.name} was not built within {BUILD_TIMEOUT_S:.0f} s; a second try continues there"
        ) from failure


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_programs().kubernetes.parent}\n")
    except ClusterUnavailableError as reason:
        sys.exit(str(reason))
