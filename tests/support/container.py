"""Kafka in a container, by testcontainers, where a Docker engine answers.

Kept apart because importing testcontainers costs half a second that only this road should pay. With an engine on this
machine everything stays on loopback: the port is published on 127.0.0.1 alone, and testcontainers is told to hand out
that address; left to itself it gives the address of a network bridge when it believes to run inside a container. Its
own reaper is off, since it would be one more image to fetch; the container is removed by the fixture that asked for it.
"""

import gc
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.community.kafka import KafkaContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.exceptions import ContainerStartException

from tests.support.broker import QUICK
from tests.support.cluster import Cluster
from tests.support.errors import KafkaUnavailableError

START_TIMEOUT_S = 90


def engine_version() -> str:
    """Ask the Docker engine for its version. Raises KafkaUnavailableError where none answers."""
    version = _ask_engine()
    if version is None:
        raise KafkaUnavailableError("no Docker engine answers")
    return version


def _ask_engine() -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # where nobody answers, docker leaves its socket open
        try:
            client = DockerClient(timeout=10).client
            version = str(client.version()["Version"])
            client.close()
        except (DockerException, OSError):
            version = None
        gc.collect()
    return version


@contextmanager
def container_kafka(image: str) -> Iterator[Cluster]:
    """Run one broker from `image` (Confluent's layout, a version tag of 7.0.0 or newer) for as long as the context.

    Raises KafkaUnavailableError without an engine, and where the image cannot be had or does not start.
    """
    engine_version()
    with ExitStack() as stack:
        try:
            kafka = _container(image)
            stack.callback(kafka.stop)
            kafka.start(timeout=START_TIMEOUT_S)
        except (DockerException, ContainerStartException, OSError, ValueError) as failure:
            raise KafkaUnavailableError(str(failure)) from failure
        yield Cluster(kafka.get_bootstrap_server())


def _container(image: str) -> KafkaContainer:
    testcontainers_config.ryuk_disabled = True
    kafka = KafkaContainer(image).with_kraft()
    for key, value in QUICK.items():
        kafka.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
    if kafka.get_docker_client().client.api.base_url == "http+docker://localhost":  # by its local socket
        testcontainers_config.tc_host_override = "127.0.0.1"
        testcontainers_config.connection_mode_override = ConnectionMode.docker_host
        kafka.ports[str(kafka.port)] = cast(Any, ("127.0.0.1",))  # any free port, of this address only
    return kafka
