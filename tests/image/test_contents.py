"""What is in the image, and what is not."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import bridge
from tests.image.conftest import BUILD_S, Image

pytestmark = pytest.mark.timeout(BUILD_S + 60)

LIMIT = 150_000_000
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "zsh"}
COMMANDS = [("run",), ("demo",), ("simulate",), ("check",), ("topics", "ensure"), ("subscriptions", "apply")]
TOOLS = {"pip", "pip3", "apt", "apt-get", "dpkg", "curl", "wget", "perl", "gcc"}


@pytest.fixture(scope="module")
def files(image: Image, tmp_path_factory: pytest.TempPathFactory) -> list[tarfile.TarInfo]:
    """Every file of the root file system, as the engine would mount it."""
    container = image.engine.docker("create", image.tag).stdout.strip()
    exported = tmp_path_factory.mktemp("root") / "root.tar"
    try:
        image.engine.docker("export", "--output", str(exported), container)
    finally:
        image.engine.docker("rm", container)
    with tarfile.open(exported) as archive:
        return archive.getmembers()


@pytest.fixture(scope="module")
def index_settings() -> list[str]:
    """What this machine's pip knows of its index that a reader of the image could learn: addresses and files."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    )
    values = [line.split("=", 1)[1].strip("'") for line in listed.stdout.splitlines() if "=" in line]
    return [urlsplit(value).netloc for value in values if "://" in value]


def test_it_is_smaller_than_150_mb(image: Image) -> None:
    assert image.engine.inspect("image", image.tag)["Size"] < LIMIT
    assert image.archive.stat().st_size < LIMIT


def test_it_says_what_it_is(image: Image) -> None:
    labels = image.engine.inspect("image", image.tag)["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "tickbridge"
    assert labels["org.opencontainers.image.version"] == bridge.__version__
    assert labels["org.opencontainers.image.revision"]


def test_it_runs_as_nobody_in_particular(image: Image) -> None:
    assert image.engine.inspect("image", image.tag)["Config"]["User"] == "10001:10001"
    ids = image.engine.once(image.tag, "-c", "import os; print(os.getuid(), os.getgid())", entrypoint="python")
    assert ids.split() == ["10001", "10001"]


def test_there_is_no_shell_and_nothing_to_install_or_fetch_with(files: list[tarfile.TarInfo]) -> None:
    programs = {Path(file.name).name for file in files if Path(file.name).parent.name in ("bin", "sbin", "busybox")}
    assert "tickbridge" in programs
    assert programs & (SHELLS | TOOLS) == set()


def test_no_file_lends_its_owners_rights_and_none_can_be_changed_by_the_bridge(files: list[tarfile.TarInfo]) -> None:
    assert [file.name for file in files if file.isfile() and file.mode & 0o6000] == []
    assert [file.name for file in files if file.isfile() and file.mode & 0o002] == []
    assert [file.name for file in files if file.isdir() and file.mode & 0o002 and not file.mode & 0o1000] == []
    assert [file.name for file in files if file.uid == 10001] == ["var/lib/tickbridge"]


def test_the_bytecode_is_there_so_that_nothing_is_compiled_at_start(image: Image) -> None:
    done = image.engine.docker(
        "run", "--rm", "--network", "host", "--env", "PYTHONVERBOSE=1", image.tag, "run", "--help"
    )
    read = [line for line in done.stderr.splitlines() if line.startswith("# code object from '")]
    assert len(read) > 200
    assert [line for line in read if not line.endswith(".pyc'") and "/bin/" not in line] == []


def test_the_bytecode_of_the_environment_is_valid_whatever_becomes_of_the_times_of_files(image: Image) -> None:
    code = """
import json, pathlib
root = pathlib.Path("/opt/tickbridge")
flags = [path.read_bytes()[4] for path in root.rglob("*.pyc")]
print(json.dumps([sorted(set(flags)), len(flags) - len(list(root.rglob("*.py")))]))
"""
    unchecked = 1  # PEP 552: a hash, never held against the source
    assert json.loads(image.engine.once(image.tag, "-c", code, entrypoint="python")) == [[unchecked], 0]


def test_nothing_tells_where_the_packages_were_fetched_from(image: Image, index_settings: list[str]) -> None:
    history = image.engine.docker("history", "--no-trunc", image.tag).stdout
    told = history + json.dumps(image.engine.inspect("image", image.tag))
    for host in index_settings:
        assert host not in told
    for word in ("pip.conf", "PIP_", "index-url"):
        assert word not in told


def test_no_configuration_of_pip_and_no_traces_of_the_build_are_left(files: list[tarfile.TarInfo]) -> None:
    names = [file.name for file in files]
    assert [name for name in names if "pip.conf" in name or name.startswith(("src/", "wheel/", "opt/build"))] == []
    assert [name for name in names if "site-packages/pip/" in name] == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_that_the_chart_and_compose_use_is_in(image: Image, command: tuple[str, ...]) -> None:
    assert "Usage: tickbridge" in image.engine.once(image.tag, *command, "--help")
