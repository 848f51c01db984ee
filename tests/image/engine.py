"""A Docker engine to try the image on: the one that answers here, else one of our own for as long as the tests take.

Containers share the machine's network, as an engine of our own has none, so Kafka, the venue and the bridge meet on
loopback; and they are held as the chart holds them: a read-only root file system, no capability, no new privileges.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
HELD = ("--network", "host", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
START_S = 30.0


class MissingError(Exception):
    """Something that these tests need is not here; the text says what."""


class Engine:
    """The `docker` command, told which engine to talk to."""

    def __init__(self, host: str | None) -> None:
        self.environment = {**os.environ, "PYTHON": sys.executable, **({"DOCKER_HOST": host} if host else {})}

    def answers(self) -> bool:
        """Tell whether there is one."""
        return self.docker("version", check=False).returncode == 0

    def docker(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command of docker's; raises where it fails, with what it said, unless told not to."""
        return self.run("docker", *arguments, check=check, timeout_s=timeout_s)

    def run(self, *command: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run any command that uses docker. Raises MissingError where it exits with 69."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode == 69:
            raise MissingError(done.stderr.strip())
        if check and done.returncode:
            raise AssertionError(f"{command} exited with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr}")
        return done

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Give what the engine knows of an image or a container."""
        found: dict[str, Any] = json.loads(self.docker(kind, "inspect", name).stdout)[0]
        return found

    def once(self, image: str, *arguments: str, entrypoint: str = "tickbridge", **settings: str) -> str:
        """Run the image for one command, its root file system read-only; gives what it printed."""
        environment = _as_options(settings)
        return self.docker(
            "run", "--rm", "--read-only", *HELD, *environment, "--entrypoint", entrypoint, image, *arguments
        ).stdout


class Container:
    """One container of the image, until the context ends."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        *command: str,
        settings: Mapping[str, str] | None = None,
        read_only: bool = True,
    ) -> None:
        self.engine = engine
        held = (*HELD, *(["--read-only"] if read_only else []), *_as_options(settings or {}))
        self.id = engine.docker("run", "--detach", *held, image, *command).stdout.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            sys.stderr.write("the container's last lines:\n" + self.output()[-6000:])
        self.engine.docker("rm", "--force", self.id, check=False)

    def output(self) -> str:
        """Give all that it printed."""
        done = self.engine.docker("logs", self.id, check=False)
        return done.stdout + done.stderr

    def state(self) -> dict[str, Any]:
        """Give `Running`, `ExitCode`, `Pid` and more."""
        state: dict[str, Any] = self.engine.inspect("container", self.id)["State"]
        return state

    def execute(self, *command: str) -> str:
        """Run a command in it; gives what it printed."""
        return self.engine.docker("exec", self.id, *command).stdout

    def stop(self, within_s: int) -> tuple[int, float]:
        """Send SIGTERM, and SIGKILL if it is not gone in time; gives the exit code, and the seconds it took."""
        start = time.monotonic()
        self.engine.docker("stop", "--time", str(within_s), self.id, timeout_s=within_s + 20)
        return self.state()["ExitCode"], time.monotonic() - start

    def wait_until(self, what: str, holds: Callable[[], bool], timeout_s: float = 40) -> None:
        """Look again and again until something holds; raises TimeoutError, at once where the container has ended."""
        end = time.monotonic() + timeout_s
        while True:
            with suppress(URLError, ConnectionError):
                if holds():
                    return
            if time.monotonic() > end or not self.state()["Running"]:
                raise TimeoutError(f"not within {timeout_s} s, or the container ended: {what}")
            Event().wait(0.1)


def ask(port: int, path: str) -> tuple[int, str]:
    """Ask a server on this machine; gives status and body."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def any_engine() -> Iterator[Engine]:
    """Provide the engine that answers, else one of our own. Raises MissingError where there can be none."""
    try:
        engine = Engine(None)
        if engine.answers():
            yield engine
            return
    except FileNotFoundError as missing:
        raise MissingError("the docker command is missing (Debian: docker.io)") from missing
    with tempfile.TemporaryDirectory(prefix="tickbridge-engine-") as scratch, _own_engine(scratch) as engine:
        yield engine


@contextmanager
def _own_engine(scratch: str) -> Iterator[Engine]:
    directory = os.environ.get("TICKBRIDGE_ENGINE_DIR") or scratch
    engine = Engine(f"unix://{directory}/docker.sock")
    with (Path(scratch) / "log").open("w+") as log:
        process = subprocess.Popen([ROOT / "scripts" / "image-engine.sh", directory], stdout=log, stderr=log)
        try:
            end = time.monotonic() + START_S
            while not engine.answers():
                if process.poll() is not None or time.monotonic() > end:
                    raise MissingError(f"no Docker engine: {Path(log.name).read_text().strip()[-2000:]}")
                Event().wait(0.1)
            yield engine
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _as_options(settings: Mapping[str, str]) -> list[str]:
    return [option for name, value in settings.items() for option in ("--env", f"TICKBRIDGE_{name}={value}")]
