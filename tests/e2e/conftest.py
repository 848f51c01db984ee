"""What the end-to-end tests share: topics of their own on the real Kafka, a strict venue, the bridge as a process."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.publish.topics import LETTER_MAX_BYTES
from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches
from tests.support.formats import check_letters, check_statuses
from tests.support.kafka import FAST_COMPACTION, Cluster, Record, unique
from tests.support.process import BridgeProcess

#: The venue runs ten times as fast as the real one, and the bridge keeps its rules at that pace.
SCALE = 0.1
PACE = {
    "UPSTREAM__REQUEST_INTERVAL_S": "0.1",
    "UPSTREAM__RECONNECT_MIN_S": "0.3",
    "UPSTREAM__RECONNECT_MAX_S": "2",
    "UPSTREAM__HEARTBEAT_S": "1",
    "UPSTREAM__SILENCE_S": "2.5",
    "UPSTREAM__ACK_TIMEOUT_S": "1",
    "UPSTREAM__PLAN": "professional",
}


def newest(records: list[Record]) -> dict[str, dict[str, Any]]:
    """Give the newest value of each key that has one."""
    last = {(record.key or b"").decode(): record.value for record in records}
    return {key: json.loads(value) for key, value in last.items() if value is not None}


@dataclass
class World:
    """One deployment's topics on a cluster, and what to tell a bridge so that it uses them."""

    cluster: Cluster
    name: str = field(default_factory=lambda: unique("bridge"))
    partitions: int = 1

    def __post_init__(self) -> None:
        # Only the control topic is compacted within seconds: there, tombstones may vanish before a test has seen them.
        self.cluster.create_topic(self.topic("subscriptions"), partitions=self.partitions, config=FAST_COMPACTION)
        for kind in ("status", "state"):
            self.cluster.create_topic(self.topic(kind), self.partitions, {"cleanup.policy": "compact"})
        for kind in ("ticks", "gaps", "dead_letters"):
            room = {"max.message.bytes": str(LETTER_MAX_BYTES)} if kind == "dead_letters" else {}
            self.cluster.create_topic(self.topic(kind), 3 if kind == "ticks" else 1, room)

    def topic(self, kind: str) -> str:
        """Name a topic."""
        return f"{self.name}.{kind}"

    def settings(self, venue: Simulator, **more: str) -> dict[str, str]:
        """Give the settings for a bridge between this world and that venue."""
        kinds = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")
        return {
            "NAME": self.name,
            "KAFKA__BOOTSTRAP_SERVERS": self.cluster.bootstrap,
            "UPSTREAM__URL": venue.url(),
            "UPSTREAM__TOKEN": DEFAULT_TOKEN,
            **{f"TOPICS__{kind.upper()}": self.topic(kind) for kind in kinds},
            **PACE,
            **more,
        }

    def subscribe(self, *symbols: str, **fields: Any) -> None:
        """Produce a control record for each symbol."""
        value = json.dumps(fields)
        self.cluster.produce(self.topic("subscriptions"), [(symbol, value) for symbol in symbols])

    def unsubscribe(self, *symbols: str) -> None:
        """Produce a tombstone for each symbol."""
        self.cluster.produce(self.topic("subscriptions"), [(symbol, None) for symbol in symbols])

    def ticks(self) -> list[dict[str, Any]]:
        """Read the ticks topic to its end, in the order of each partition."""
        return [json.loads(record.value or b"") for record in self.cluster.read_all(self.topic("ticks"))]

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Read the newest status of each symbol that has one."""
        return newest(self.cluster.read_all(self.topic("status")))

    def seqs(self) -> dict[str, list[int]]:
        """Read the seq of every tick, by symbol, in the order of the topic."""
        found: dict[str, list[int]] = {}
        for tick in self.ticks():
            found.setdefault(tick["symbol"], []).append(int(tick["seq"]))
        return found


@pytest.fixture
def world(kafka: Cluster) -> Iterator[World]:
    """Topics of this test's own; every status and dead letter that stands in them in the end is what it must be."""
    made = World(kafka)
    yield made
    check_statuses(kafka.read_all(made.topic("status")))
    check_letters(kafka.read_all(made.topic("dead_letters")))


@pytest.fixture
def make_venue() -> Iterator[Callable[..., Simulator]]:
    """Start simulators; keywords are those of `SimulatorConfig`, switches among them."""
    with ExitStack() as stack:

        def make(rate: float = 0, switches: Mapping[str, Any] | None = None, **config: Any) -> Simulator:
            chosen = Switches(rate=rate, pacing_slack_s=0, heartbeats_count="yes", **(switches or {}))
            config = {"time_scale": SCALE, **config}
            return stack.enter_context(Simulator(SimulatorConfig(switches=chosen, **config)))

        yield make


@pytest.fixture
def venue(make_venue: Callable[..., Simulator]) -> Simulator:
    """A strict venue that ticks only when asked to."""
    return make_venue()


@pytest.fixture
def make_bridge() -> Iterator[Callable[..., BridgeProcess]]:
    """Start bridges; whatever is left of them at the end of the test is killed."""
    with ExitStack() as stack:
        yield lambda settings, *arguments: stack.enter_context(BridgeProcess(settings, arguments or ("run",)))
