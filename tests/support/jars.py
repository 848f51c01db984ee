"""Apache Kafka as Maven Central publishes it: fetched once, checked always.

The jars lie in `${XDG_CACHE_HOME:-~/.cache}/tickbridge/kafka-VERSION`. Which jars they are is said by
`kafka-VERSION/SHA256SUMS` beside this file, and nothing else is ever put on a class path: each one is checked against
it on every call. A fetch goes to a neighbouring directory that takes the final name only when it is whole, under a
lock, so an interrupted fetch cannot be mistaken for a good one and two processes cannot meet in the middle.

`python -m tests.support.jars` does the fetch alone (in CI, before the tests) and prints the directory.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.errors import REMEDY, KafkaUnavailableError

VERSION = "4.4.0"
RECIPE = Path(__file__).with_name(f"kafka-{VERSION}")

#: Seconds for Maven to fetch about 50 MB. What it did fetch it keeps, so a second try continues.
FETCH_TIMEOUT_S = 300.0


def kafka_jars(recipe: Path = RECIPE) -> list[Path]:
    """Return the verified jars of one broker, fetching them where they are missing or damaged.

    `recipe` is a directory named like the one in the cache, holding `pom.xml` and `SHA256SUMS`.
    Raises KafkaUnavailableError (no Maven, no network, or jars that are not the expected ones).
    """
    home, expected = cache_directory() / recipe.name, expected_sums(recipe)
    with _lock(home.with_name(home.name + ".lock")):
        if _damaged(home, expected):
            _replace(home, expected, recipe)
    return [home / name for name in expected]


def cache_directory() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tickbridge"


def expected_sums(recipe: Path = RECIPE) -> dict[str, str]:
    """Read the committed list: file name to SHA-256, in hexadecimal."""
    lines = (recipe / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _damaged(home: Path, expected: dict[str, str]) -> list[str]:
    return [name for name, digest in expected.items() if _sha256(home / name) != digest]


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _replace(home: Path, expected: dict[str, str], recipe: Path) -> None:
    part = home.with_name(home.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by a fetch that was killed
    try:
        _fetch(part, recipe)
        if damaged := _damaged(part, expected):
            raise KafkaUnavailableError(
                f"Maven delivered other jars than {recipe.name}/SHA256SUMS lists: {', '.join(damaged)}"
            )
        shutil.rmtree(home, ignore_errors=True)
        part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fetch(directory: Path, recipe: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError(f"{recipe.name} is not cached and there is no Maven to fetch it: {REMEDY}")
    # -U: Maven remembers a failed look-up for a day, and would repeat the failure without asking.
    command = [maven, "-q", "-B", "-U", "-f", str(recipe / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={directory}"]
    try:
        subprocess.run(
            command, check=True, timeout=FETCH_TIMEOUT_S, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except subprocess.CalledProcessError as failure:
        tail = failure.stdout.strip()[-2000:]
        raise KafkaUnavailableError(f"Maven could not fetch {recipe.name}:\n{tail}") from failure
    except subprocess.TimeoutExpired as failure:
        raise KafkaUnavailableError(
            f"Maven did not fetch {recipe.name} within {FETCH_TIMEOUT_S:.0f} s; a second try continues there"
        ) from failure


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + FETCH_TIMEOUT_S + 30
    with path.open("w") as file:
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise KafkaUnavailableError(f"another process has held {path} for too long")
            time.sleep(0.1)  # flock knows no timeout, and the holder sends no event
        yield  # closing the file, also by dying, gives the lock back


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    try:
        kafka_jars()
    except KafkaUnavailableError as reason:
        sys.exit(str(reason))
    sys.stdout.write(f"{cache_directory() / RECIPE.name}\n")
