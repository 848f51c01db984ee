"""compose.yaml as compose itself reads it: schema, interpolation, paths."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.image.engine import ROOT

VERSION = "v5.0.2"
MODULE = f"github.com/docker/compose/v5/cmd@{VERSION}"
BUILD_S = 900

pytestmark = pytest.mark.timeout(BUILD_S + 60)


@pytest.fixture(scope="module")
def plugin() -> list[str]:
    """Docker's compose, or the same built from its Go module, once: that takes a few minutes."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30, check=False).returncode == 0:
        return ["docker", "compose"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickbridge" / f"compose-{VERSION}"
    if not (cache / "cmd").exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("docker has no compose plugin, and Go is not here to build it (Debian: golang-go)")
        environment = {**os.environ, "GOBIN": str(cache), "CGO_ENABLED": "0"}
        built = subprocess.run(
            [go, "install", MODULE], env=environment, capture_output=True, text=True, timeout=BUILD_S, check=False
        )
        assert built.returncode == 0, built.stderr[-3000:]
    return [str(cache / "cmd")]


def read(plugin: list[str], *arguments: str, file: str = "compose.yaml", **variables: str) -> str:
    """Let compose read a file; gives what it printed. Raises CalledProcessError where it refuses."""
    command = [*plugin, "--project-directory", str(ROOT), "--file", file, "config", *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKBRIDGE_")}
    environment = {**kept, "COMPOSE_DISABLE_ENV_FILE": "true", **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def services(plugin: list[str], **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(plugin, "--format", "json", **variables))["services"]
    return found


def test_compose_takes_it(plugin: list[str]) -> None:
    assert read(plugin, "--quiet") == ""


def test_compose_would_not_take_a_key_that_it_does_not_know(plugin: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "compose.yaml"
    broken.write_text((ROOT / "compose.yaml").read_text().replace("depends_on:", "depend_on:"))
    with pytest.raises(subprocess.CalledProcessError):
        read(plugin, "--quiet", file=str(broken))


def test_everything_that_is_published_is_published_on_loopback(plugin: list[str]) -> None:
    ports = [port for service in services(plugin).values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["published"] for port in ports} == {"8080", "9092", "9090", "3000"}


def test_two_variables_are_enough_for_the_real_venue(plugin: list[str]) -> None:
    told = {"TICKBRIDGE_UPSTREAM__TOKEN": "my-token", "TICKBRIDGE_UPSTREAM__URL": "wss://venue.example/quotes"}
    found = services(plugin, **told)
    assert told.items() <= found["bridge"]["environment"].items()
    assert [name for name, service in found.items() if "my-token" in json.dumps(service)] == ["bridge"]
    assert "my-token" not in json.dumps(found["bridge"].get("build"))


def test_every_file_that_is_mounted_is_there(plugin: list[str]) -> None:
    volumes = [volume for service in services(plugin).values() for volume in service.get("volumes", ())]
    bound = [volume["source"] for volume in volumes if volume["type"] == "bind"]
    assert len(bound) == 5
    assert [source for source in bound if not Path(source).exists()] == []
