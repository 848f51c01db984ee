"""Three real brokers that hold every topic together: one of them may be killed, and the other two go on.

Every topic has three replicas, of which two must have a record before it counts as written. Leaders go back to where
they belong a second after a broker is back, so that a kill and a start are two changes of leaders.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.broker import KafkaBroker
from tests.support.cluster import Cluster
from tests.support.ports import free_ports

NODES = (1, 2, 3)
_THRICE = (
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
    "default.replication.factor",
)
_EXTRA = {
    **dict.fromkeys(_THRICE, "3"),
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.min.isr": "2",
    "min.insync.replicas": "2",
    "leader.imbalance.check.interval.seconds": "1",
    "leader.imbalance.per.broker.percentage": "0",
}


class Replicated(Cluster):
    """A cluster whose topics have as many replicas as its brokers say."""

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None, timeout_s: float = 20.0
    ) -> str:
        """Create a topic and return its name once every partition has all its replicas in step."""
        admin = AdminClient(self.config())
        admin.create_topics([NewTopic(name, partitions, config=dict(config or {}))])[name].result(timeout_s)
        self.await_in_step(name, partitions, timeout_s)
        return name

    def await_in_step(self, name: str, partitions: int, timeout_s: float = 20.0) -> None:
        """Wait until every partition of a topic has a leader and all its replicas in step."""
        admin, deadline = AdminClient(self.config()), time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = admin.list_topics(name, timeout=timeout_s).topics[name].partitions.values()
            if len(found) == partitions and all(one.leader >= 0 and len(one.isrs) == len(NODES) for one in found):
                return
            time.sleep(0.1)  # the cluster can be asked, not listened to
        raise TimeoutError(f"topic {name} is not in step after {timeout_s} s")


@dataclass(frozen=True)
class Quorum:
    """The brokers by their number, and how to reach whoever is alive."""

    brokers: Mapping[int, KafkaBroker]
    cluster: Replicated

    def leader(self, topic: str, partition: int = 0) -> int:
        """Ask who leads a partition."""
        return int(
            AdminClient(self.cluster.config()).list_topics(topic, timeout=10).topics[topic].partitions[partition].leader
        )


@contextmanager
def three_brokers() -> Iterator[Quorum]:
    """Start three brokers as one cluster; raises what `KafkaBroker` raises."""
    ports = {node: free_ports() for node in NODES}
    voters = ",".join(f"{node}@127.0.0.1:{ports[node][1]}" for node in NODES)
    brokers = {
        node: KafkaBroker(
            {**_EXTRA, "node.id": str(node), "controller.quorum.voters": voters},
            choose_ports=lambda node=node: ports[node],  # type: ignore[misc]
        )
        for node in NODES
    }
    with ExitStack() as stack:
        # A broker serves when a majority is there, and ends with the thread that started it: so all three at once, on
        # threads that stay.
        threads = stack.enter_context(ThreadPoolExecutor(len(NODES), thread_name_prefix="quorum"))
        for broker in brokers.values():
            broker.cluster_id = brokers[1].cluster_id
            stack.callback(_end, broker)
        for started in [threads.submit(broker.start) for broker in brokers.values()]:
            started.result(90)
        yield Quorum(brokers, Replicated(",".join(broker.bootstrap for broker in brokers.values())))


def _end(broker: KafkaBroker) -> None:
    if broker.alive:
        broker.kill()  # the last ones would wait in vain for a majority that lets them go
    broker.close()
