"""The roads to a real Apache Kafka, tried in order; the first that leads there is taken.

1. `TICKBRIDGE_TEST_KAFKA`: bootstrap servers of a running cluster. Who names one wants that one: when it does not
   answer, the error stands.
2. testcontainers, where a Docker engine answers (image: `TICKBRIDGE_TEST_KAFKA_IMAGE`).
3. A broker of the jars from Maven Central, with the machine's Java.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaException

from tests.support.broker import KafkaBroker
from tests.support.cluster import Cluster
from tests.support.errors import KafkaStartError, KafkaUnavailableError
from tests.support.jars import VERSION

DEFAULT_IMAGE = "confluentinc/cp-kafka:8.2.1"


@dataclass(frozen=True)
class Found:
    """A Kafka that answers, the road to it in words, and why earlier roads were not taken."""

    cluster: Cluster
    road: str
    refused: tuple[str, ...] = ()


@contextmanager
def any_kafka() -> Iterator[Found]:
    """Provide a warmed-up Kafka for as long as the context.

    Raises KafkaUnavailableError, naming each road and what would open it, where there is none; KafkaStartError when the
    one that was named, or the broker started, does not come to serve.
    """
    if servers := os.environ.get("TICKBRIDGE_TEST_KAFKA"):
        cluster = Cluster(servers)
        try:
            cluster.identity()
        except KafkaException as failure:
            raise KafkaStartError(f"{servers}, given by TICKBRIDGE_TEST_KAFKA, does not answer") from failure
        cluster.warm_up()
        yield Found(cluster, f"{servers}, given by TICKBRIDGE_TEST_KAFKA")
        return
    image = os.environ.get("TICKBRIDGE_TEST_KAFKA_IMAGE") or DEFAULT_IMAGE
    roads = ((f"testcontainers, image {image}", _container(image)), (f"jars of Kafka {VERSION}", _jars()))
    refused: list[str] = []
    with ExitStack() as stack:
        for name, road in roads:
            try:
                cluster = stack.enter_context(road)
            except KafkaUnavailableError as reason:
                refused.append(f"{name}: {reason}")
            else:
                cluster.warm_up()
                yield Found(cluster, f"{cluster.bootstrap}, {name}", tuple(refused))
                return
    raise KafkaUnavailableError("no real Kafka for these tests\n" + "\n".join(refused))


@contextmanager
def _container(image: str) -> Iterator[Cluster]:
    try:
        from tests.support.container import container_kafka  # noqa: PLC0415  its imports are slow and optional
    except ImportError as missing:
        raise KafkaUnavailableError(f"testcontainers cannot be imported: {missing}") from missing
    with container_kafka(image) as cluster:
        yield cluster


@contextmanager
def _jars() -> Iterator[Cluster]:
    with KafkaBroker() as broker:
        yield broker.cluster
