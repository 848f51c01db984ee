"""What happens on the way to a real Kafka when something is missing, damaged or in use."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.jars import kafka_jars
from tests.support.kafka import KafkaBroker, KafkaStartError, KafkaUnavailableError, any_kafka
from tests.support.ports import free_ports

PROJECT = Path(__file__).parents[2]

#: Stands for Maven: notes that it was called, then delivers what lies in the directory given by WAREHOUSE.
FAKE_MAVEN = """#!/bin/sh
echo called >> "$WAREHOUSE.calls"
for argument; do case $argument in -DoutputDirectory=*) out=${argument#*=} ;; esac; done
mkdir -p "$out" && cp "$WAREHOUSE"/* "$out" && sleep "${MAVEN_TAKES:-0}"
"""

STARTER = """
import threading
from tests.support.kafka import KafkaBroker

broker = KafkaBroker()
broker.start()
print(broker.pid, flush=True)
threading.Event().wait(60)
"""


class Warehouse:
    """Two small jars, the recipe that lists them, and a Maven that delivers them into an empty cache."""

    def __init__(self, root: Path) -> None:
        self.shelf, self.recipe, self.home = root / "shelf", root / "kafka-0.0.1", root / "cache/tickbridge/kafka-0.0.1"
        for directory in (self.shelf, self.recipe, root / "bin"):
            directory.mkdir()
        jars = {"one.jar": b"1" * 1000, "two.jar": b"2" * 1000}
        for name, content in jars.items():
            (self.shelf / name).write_bytes(content)
        sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in jars.items()]
        (self.recipe / "SHA256SUMS").write_text("".join(sums))
        maven = root / "bin" / "mvn"
        maven.write_text(FAKE_MAVEN)
        maven.chmod(0o755)
        self.environ = {
            "PATH": f"{maven.parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(root / "cache"),
            "WAREHOUSE": str(self.shelf),
        }

    @property
    def calls(self) -> int:
        log = self.shelf.with_name("shelf.calls")
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    made = Warehouse(tmp_path)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


def test_jars_are_fetched_once_and_then_found_in_the_cache(warehouse: Warehouse) -> None:
    assert kafka_jars(warehouse.recipe) == [warehouse.home / "one.jar", warehouse.home / "two.jar"]
    assert kafka_jars(warehouse.recipe) == [warehouse.home / "one.jar", warehouse.home / "two.jar"]
    assert warehouse.calls == 1


def test_a_damaged_jar_in_the_cache_is_fetched_again(warehouse: Warehouse) -> None:
    damaged = kafka_jars(warehouse.recipe)[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    kafka_jars(warehouse.recipe)
    assert damaged.read_bytes() == (warehouse.shelf / "two.jar").read_bytes()


def test_what_an_interrupted_fetch_left_is_not_used(warehouse: Warehouse) -> None:
    part = warehouse.home.with_name("kafka-0.0.1.part")
    part.mkdir(parents=True)
    (part / "stranger.jar").write_bytes(b"?")
    kafka_jars(warehouse.recipe)
    assert {path.name for path in warehouse.home.iterdir()} == {"one.jar", "two.jar"}
    assert not part.exists()


def test_a_jar_with_other_contents_than_listed_is_refused_by_name(warehouse: Warehouse) -> None:
    (warehouse.shelf / "two.jar").write_bytes(b"tampered")
    with pytest.raises(KafkaUnavailableError, match=r"other jars .*: two\.jar$"):
        kafka_jars(warehouse.recipe)
    assert not warehouse.home.exists()


def test_two_processes_at_once_fetch_once(warehouse: Warehouse) -> None:
    code = f"import pathlib, tests.support.jars as j; j.kafka_jars(pathlib.Path({str(warehouse.recipe)!r}))"
    environ = {**os.environ, "MAVEN_TAKES": "0.5"}
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, env=environ) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert warehouse.calls == 1


def test_without_maven_and_without_a_cache_the_remedy_is_named(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(warehouse.shelf))
    with pytest.raises(KafkaUnavailableError, match="apt-get install default-jre-headless maven"):
        kafka_jars(warehouse.recipe)


def test_without_any_kafka_tests_are_skipped_and_the_report_says_once_what_would_help(tmp_path: Path) -> None:
    status, report = _pytest_without_kafka(tmp_path)
    assert status == pytest.ExitCode.OK
    assert "2 skipped" in report
    assert report.count("apt-get install default-jre-headless maven") == 1


def test_without_any_kafka_tests_fail_in_ci(tmp_path: Path) -> None:
    status, report = _pytest_without_kafka(tmp_path, CI="true")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "2 errors" in report
    assert "apt-get install default-jre-headless maven" in report


@pytest.mark.slow
def test_a_named_cluster_that_does_not_answer_is_an_error_and_no_reason_to_look_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TICKBRIDGE_TEST_KAFKA", "127.0.0.1:1")
    with pytest.raises(KafkaStartError, match=r"127\.0\.0\.1:1, given by TICKBRIDGE_TEST_KAFKA"), any_kafka():
        pytest.fail("a Kafka at port 1?")


def _pytest_without_kafka(tmp_path: Path, **environ: str) -> tuple[int, str]:
    selected = ["tests/integration/test_real_kafka.py", "-k", "read_back or leaves_nothing", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *selected],
        cwd=PROJECT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/nobody", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_a_port_that_was_taken_meanwhile_is_given_up_for_another(make_kafka: Callable[..., KafkaBroker]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        choices = [(free_ports()[0], other.getsockname()[1]), free_ports()]
        broker = make_kafka(choose_ports=lambda: choices.pop(0))
        assert not choices
        assert broker.cluster.identity() == broker.cluster_id


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_a_broker_does_not_outlive_the_process_that_started_it(own_kafka: KafkaBroker, tmp_path: Path) -> None:
    assert own_kafka.alive, "jars and Java are here"
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        broker = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
    broker.wait(10)
