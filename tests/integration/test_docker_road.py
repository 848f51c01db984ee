"""The testcontainers road, taken for real, with an image built on the spot: no image registry is asked for anything.

Without a Docker engine there is nothing to test here. That skips, and does not fail, also where CI=true: the machines
of this project's CI have no engine, and the jars give the other tests the same Kafka.
"""

import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container import container_kafka, engine_version
from tests.support.kafka import FAST_COMPACTION, Cluster, KafkaUnavailableError, any_kafka, unique

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

BUILD = Path(__file__).parent.parent / "support" / "image" / "build.sh"
IMAGE = "tickbridge-test/kafka:8.4.0"
TOOL_MISSING = 69


@pytest.fixture(scope="module")
def image() -> str:
    """An image of Kafka made from the jars, this machine's Java and busybox."""
    try:
        engine_version()
    except KafkaUnavailableError as reason:
        pytest.skip(f"{reason}: the testcontainers road was not taken (nor is it in CI, which has no engine)")
    built = subprocess.run(
        [BUILD, IMAGE],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    if built.returncode == TOOL_MISSING:
        pytest.skip(f"the image cannot be built here: {built.stderr.strip()}")
    assert built.returncode == 0, built.stderr
    return IMAGE


@pytest.fixture(scope="module")
def contained(image: str) -> Iterator[Cluster]:
    with container_kafka(image) as cluster:
        cluster.warm_up()
        yield cluster


def test_kafka_in_a_container_keeps_what_it_is_given(contained: Cluster) -> None:
    topic = contained.create_topic(unique("contained"))
    contained.produce(topic, [(f"k{i}", f"v{i}") for i in range(100)])
    assert [(r.key, r.value) for r in contained.read_all(topic)] == [(b"k%d" % i, b"v%d" % i) for i in range(100)]


def test_kafka_in_a_container_compacts_as_quickly(contained: Cluster) -> None:
    topic = contained.create_topic(unique("compacted"), config=FAST_COMPACTION)
    contained.produce(topic, [("a", "1"), ("a", "2"), ("b", "3"), ("b", None), ("c", "4")])
    assert {record.value for record in contained.compact(topic)} == {b"2", b"4"}


def test_kafka_in_a_container_is_reached_over_loopback_and_nothing_else(contained: Cluster) -> None:
    assert contained.advertised() == {contained.bootstrap}
    host, _, port = contained.bootstrap.partition(":")
    assert ipaddress.ip_address(host).is_loopback
    published = subprocess.run(
        ["docker", "ps", "--format", "{{.Ports}}"], capture_output=True, text=True, check=True, timeout=20
    )
    assert f"127.0.0.1:{port}->9093/tcp" in published.stdout
    assert f"0.0.0.0:{port}" not in published.stdout


def test_an_engine_with_the_image_is_preferred_to_the_jars(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKBRIDGE_TEST_KAFKA", raising=False)
    monkeypatch.setenv("TICKBRIDGE_TEST_KAFKA_IMAGE", image)
    with any_kafka() as found:
        assert f"testcontainers, image {image}" in found.road
        assert found.refused == ()


def test_an_image_that_cannot_be_had_leads_on_to_the_jars(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "127.0.0.1:1/no/kafka:8.4.0"
    monkeypatch.delenv("TICKBRIDGE_TEST_KAFKA", raising=False)
    monkeypatch.setenv("TICKBRIDGE_TEST_KAFKA_IMAGE", nowhere)
    with any_kafka() as found:
        assert "jars of Kafka" in found.road
        assert nowhere in found.refused[0]
