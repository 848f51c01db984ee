"""What a change of subscriptions costs: control records folded, a plan made, statuses written; each with its target.

Control records come from a real Kafka, once as a command reads them and once as the bridge does, from the assignment
of the partition to the desired set. A plan is made by the reconciler alone, in this process. Statuses are those of a
bridge that starts with all symbols new to it: from the moment that its first comparison puts into them (``since_us``)
to the broker's own time of the last one. That broker is alone, so what it has written it acknowledges.

The table shows medians and the worst of the rounds. On a shared machine the worst says more about the neighbours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.text import Text

from bridge.cli.sheet import Sheet
from bridge.cli.tables import WIDTH
from bridge.control.reader import read_to_end
from bridge.control.topic import ControlTopic
from bridge.model import Desired, Limits, Subscription, Unusable, Wanted
from bridge.settings import Settings, load
from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.reconcile import Reconciler
from tests.e2e.conftest import PACE, World
from tests.support.kafka import Cluster, KafkaBroker, Record, unique
from tests.support.process import BridgeProcess

RECORDS, SYMBOLS = 10_000, 3_000
PATIENCE_S = 60.0


def quiet(_event: str, /, **_fields: Any) -> None:
    """Say nothing."""


class Reader:
    """Waits for the desired set, as the bridge does, and notes how long that took from the assignment on."""

    def __init__(self) -> None:
        self.assigned_at = 0.0
        self.took_s = 0.0
        self.found = 0

    def log(self, event: str, /, **_fields: Any) -> None:
        """Note the moment of the assignment."""
        if event == "group_assigned":
            self.assigned_at = time.perf_counter()

    def on_desired(self, desired: Desired) -> None:
        """Note the moment of the first desired set."""
        self.took_s = self.took_s or time.perf_counter() - self.assigned_at
        self.found = len(desired.wanted)

    def on_assigned(self, partition: int) -> None:
        """Nothing depends on it."""

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Nothing depends on it."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Nothing depends on it."""

    def on_unusable(self, record: Unusable) -> None:
        """Fail: all of them are good."""
        raise AssertionError(record)

    def remembered(self, _: int) -> Mapping[str, Wanted]:
        """Remember nothing."""
        return {}


def subscriptions(number: int) -> list[tuple[str | bytes | None, str | bytes | None]]:
    """Give control records as operators write them, each of another symbol."""
    return [(f"{n}.HK", json.dumps({"priority": n % 7, "owner": f"desk-{n % 5}"})) for n in range(1, number + 1)]


def by_command(settings: Settings) -> float:
    """Read the control topic as a command does; give the seconds."""
    begun = time.perf_counter()
    (fold,) = read_to_end(settings, quiet)
    took = time.perf_counter() - begun
    assert len(fold.desired().wanted) == RECORDS
    return took


def by_bridge(settings: Settings) -> float:
    """Read the control topic as a member of the group does; give the seconds from assignment to desired set."""
    reader = Reader()
    topic = ControlTopic(settings, reader, reader.log)
    end = time.monotonic() + PATIENCE_S
    while not reader.took_s and time.monotonic() < end:
        topic.turn(0.2)
    topic.close()
    assert reader.found == RECORDS
    return reader.took_s


def plans(rounds: int) -> tuple[list[float], list[float]]:
    """Plan for all symbols at once, then with one more among them; give the seconds of each round of both."""
    wanted = {f"{n}.HK": Wanted(Subscription(f"{n}.HK", priority=n % 7), n) for n in range(1, SYMBOLS + 1)}
    few = dict(list(wanted.items())[:-1])
    first, change = [], []
    for _ in range(rounds):
        reconciler = Reconciler(AllTick(), "stock", Limits(max_symbols=SYMBOLS))
        first.append(planned(reconciler, few, SYMBOLS - 1))
        plan = reconciler.plan(0.0)
        assert plan is not None
        reconciler.accept(plan, 0.0)
        change.append(planned(reconciler, wanted, SYMBOLS))
    return first, change


def planned(reconciler: Reconciler, wanted: dict[str, Wanted], expected: int) -> float:
    """Make one plan; give the seconds."""
    desired = Desired(0, MappingProxyType(wanted))
    begun = time.perf_counter()
    reconciler.want(desired, 0.0)
    plan = reconciler.plan(0.0)
    took = time.perf_counter() - begun
    assert plan is not None
    assert len(plan.ask.codes) == expected
    return took


def written(cluster: Cluster) -> float:
    """Start a bridge with all symbols; give the seconds from its first comparison to its last first status."""
    world = World(cluster, name=unique("bench"))
    settings_of_status = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
    status = cluster.create_topic(unique("status"), 1, settings_of_status)
    cluster.produce(world.topic("subscriptions"), subscriptions(SYMBOLS))

    def complete(records: list[Record]) -> bool:
        return len({record.key for record in records}) == SYMBOLS

    with Simulator(SimulatorConfig(time_scale=0.1, switches=Switches(rate=0))) as venue:
        settings = world.settings(venue, **PACE, TOPICS__STATUS=status, UPSTREAM__TOKEN=DEFAULT_TOKEN)
        with BridgeProcess(settings) as bridge:
            records = cluster.wait_for_records(status, complete, PATIENCE_S)
            bridge.stop()
    firsts: dict[bytes | None, Record] = {}
    for record in records:
        firsts.setdefault(record.key, record)
    begun_us: int = min(json.loads(record.value or b"")["since_us"] for record in firsts.values())
    return max(record.timestamp_ms for record in firsts.values()) / 1e3 - begun_us / 1e6


def main() -> None:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of what needs Kafka (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    table = Sheet("what", "median ms", "worst ms", "target ms", "", right=("median ms", "worst ms", "target ms"))
    first, change = plans(10 * rounds)
    with KafkaBroker() as broker:
        broker.cluster.warm_up()
        topic = broker.cluster.create_topic(unique("control"), 1, {"cleanup.policy": "compact"})
        broker.cluster.produce(topic, subscriptions(RECORDS))

        def settings() -> Settings:
            kafka, group = {"bootstrap_servers": broker.bootstrap}, {"id": unique("bench")}
            return load(kafka=kafka, topics={"subscriptions": topic}, upstream={"token": "none"}, group=group)

        def each(measure: Callable[[], float]) -> list[float]:
            return [measure() for _ in range(rounds)]

        add(
            table, f"{RECORDS:,} control records read and folded, by a command", each(lambda: by_command(settings())), 1
        )
        add(
            table, f"{RECORDS:,} control records read and folded, by the bridge", each(lambda: by_bridge(settings())), 1
        )
        add(table, f"a plan over {SYMBOLS:,} symbols, all of them new", first, 0.005)
        add(table, f"a plan over {SYMBOLS:,} symbols, one of them new", change, 0.005)
        add(table, f"{SYMBOLS:,} statuses at start", each(lambda: written(broker.cluster)), 1)
    Console(width=WIDTH, highlight=False).print(table)


def add(table: Sheet, what: str, seconds: Sequence[float], target_s: float) -> None:
    """Add a line to the table."""
    median = statistics.median(seconds)
    figures = (f"{value * 1000:,.1f}" for value in (median, max(seconds)))
    verdict = Text("ok", style="green") if median < target_s else Text("missed", style="bold red")
    table.add_row(what, *figures, f"{target_s * 1000:,.0f}", verdict)


if __name__ == "__main__":
    main()
