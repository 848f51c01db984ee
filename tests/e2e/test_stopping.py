"""Stopping: whatever is going on, a bridge ends within its budget, says how many ticks Kafka does not have, and leaves
to its successor what there is to leave (contract 1.5, guarantee 12)."""

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import EXIT_OK, EXIT_UNDELIVERED
from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support.kafka import Cluster, KafkaBroker
from tests.support.ports import free_ports
from tests.support.process import BridgeProcess
from tests.support.trial import Size, Trial

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

BUDGET_S = 2.0
#: What the process itself may take on top, on a busy machine.
CLOSE_S = 1.0
HANDED_OVER = 500
ROOM = {"BACKPRESSURE__HANDED_OVER_MAX": str(HANDED_OVER), "BACKPRESSURE__QUEUE_MAX_BYTES": "262144"}
SIZE = Size(rate=1_000, symbols=50, session_s=3.0, outage_s=(), frozen_s=0.0, slow_s=0.0, room=ROOM)
#: A busy machine must not look like a silent venue.
PATIENT = {"UPSTREAM__SILENCE_S": "10", "SHUTDOWN__BUDGET_S": str(BUDGET_S)}

#: The venue's own pace.
SLOW = {"UPSTREAM__REQUEST_INTERVAL_S": "1", "UPSTREAM__HEARTBEAT_S": "10", "UPSTREAM__SILENCE_S": "25"}

Begin = Callable[..., Trial]


@pytest.fixture
def begin(make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path) -> Begin:
    """Begin a trial, one bridge running; `spill` says whether with a spill."""

    def make(name: str, cluster: Cluster, *, spill: bool = True, **settings: str) -> Trial:
        venue = make_venue(rate=SIZE.rate, heartbeat_cut_s=100.0)
        world, directory = World(cluster), tmp_path / name if spill else None
        return Trial(name, world, venue, make_bridge, SIZE, spill=directory, **PATIENT, **settings)

    return make


def stop_in_time(bridge: BridgeProcess) -> tuple[int, dict[str, Any]]:
    """Stop a bridge, within its budget; give its exit code and its last words."""
    began = time.monotonic()
    code = bridge.stop(timeout_s=BUDGET_S + 12.0)
    took_s = time.monotonic() - began
    print(f"stopped with {code} in {took_s:.2f} s")
    assert took_s < BUDGET_S + CLOSE_S
    last = bridge.wait_for("stopped")
    assert last["balanced"]
    assert last["exit_code"] == code
    assert last["undelivered"] == last["in_flight"]
    return code, last


def in_the_spill(trial: Trial) -> int:
    """Count the records in the first bridge's spill, when it has ended."""
    with closing(sqlite3.connect(Path(trial.spill_of(0)) / "spill.db")) as db:
        return int(db.execute("SELECT coalesce(sum(count), 0) FROM batch").fetchone()[0])


# While starting


@pytest.mark.parametrize(
    ("moment", "settings"),
    [
        ("started", {}),
        ("kafka_out_of_reach", {"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:{free}"}),
        ("upstream_failed", {"UPSTREAM__URL": "ws://127.0.0.1:{free}/quote-stock-b-ws-api"}),
    ],
)
def test_a_bridge_that_is_still_starting_stops_with_nothing_left(
    world: World, venue: Simulator, make_bridge: MakeBridge, moment: str, settings: dict[str, str]
) -> None:
    world.subscribe("AAPL.US")
    more = {name: value.format(free=free_ports()[0]) for name, value in settings.items()}
    bridge = make_bridge(world.settings(venue, SHUTDOWN__BUDGET_S=str(BUDGET_S), **more))
    bridge.wait_for(moment)
    assert stop_in_time(bridge)[0] == EXIT_OK


# While Kafka is away


@pytest.mark.slow
def test_what_a_stop_without_kafka_leaves_is_counted_and_with_a_spill_the_next_start_publishes_it(
    own_kafka: KafkaBroker, begin: Begin
) -> None:
    kept, bare = begin("kept", own_kafka.cluster), begin("bare", own_kafka.cluster, spill=False)
    flowing(kept, bare)
    for trial in (kept, bare):
        trial.rest()
    own_kafka.kill()
    for trial in (kept, bare):
        trial.venue.switches.rate = SIZE.rate
    kept.await_true("the disk reached", lambda: kept.place("spill") > 500)
    left = {}
    for trial in (kept, bare):
        code, last = stop_in_time(trial.bridges[0])
        left[trial] = last["undelivered"]
        assert code == EXIT_UNDELIVERED
        assert left[trial] > 500
    assert left[kept] == in_the_spill(kept)
    own_kafka.start()
    succeeded(kept, bare)
    assert kept.bridges[1].wait_for("spill_recovered")["records"] == left[kept]
    kept.end().check()
    verdict = bare.end()
    verdict.check()
    assert verdict.missing >= left[bare]


@pytest.mark.slow
def test_when_kafka_is_frozen_a_stop_loses_nothing_and_a_kill_what_a_gap_tells(
    own_kafka: KafkaBroker, begin: Begin
) -> None:
    stopped, killed = begin("stopped", own_kafka.cluster), begin("killed", own_kafka.cluster)
    flowing(stopped, killed)
    own_kafka.suspend()
    for trial in (stopped, killed):
        trial.await_true("the disk reached", lambda: trial.place("spill") > 500)  # noqa: B023  called at once
    code, last = stop_in_time(stopped.bridges[0])
    assert code == EXIT_UNDELIVERED
    assert last["undelivered"] == in_the_spill(stopped)
    killed.bridges[0].stop(signal.SIGKILL)
    waited = in_the_spill(killed)
    assert waited > 500
    own_kafka.resume()
    succeeded(stopped, killed)
    assert stopped.bridges[1].wait_for("spill_recovered")["records"] == last["undelivered"]
    assert killed.bridges[1].wait_for("spill_recovered")["records"] == waited
    # What was in flight when the broker froze may have arrived all the same: it comes twice after a stop.
    verdict = stopped.end(judged=False)
    verdict.check(at_least_once=True)
    assert sum(len(one.duplicates) for one in verdict.symbols.values()) <= HANDED_OVER
    verdict = killed.end(judged=False)
    verdict.check(at_least_once=True)
    assert verdict.missing > 0, "what was with the producer, and nowhere else, is gone"


def flowing(*trials: Trial) -> None:
    """Start a bridge in each, and wait until ticks are published."""
    for trial in trials:
        trial.start()
    for trial in trials:
        trial.flow()


def succeeded(*trials: Trial) -> None:
    """Start a successor in each, with the same spill, and wait until nothing old is left."""
    for trial in trials:
        trial.start(again=True)
    for trial in trials:
        trial.flow()
        trial.drain()


# While the group or the operator is busy


@pytest.mark.slow
def test_a_member_that_stops_in_the_middle_of_a_rebalance_ends_in_order_and_the_other_owns_all(
    kafka: Cluster, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world = World(kafka, partitions=2)
    venue = make_venue(rate=SIZE.rate, time_scale=1.0)  # partitions share the venue's seconds
    world.subscribe(*SIZE.codes)
    settings = world.settings(venue, **SLOW, SHUTDOWN__BUDGET_S=str(BUDGET_S))
    owner = make_bridge(settings)
    venue.wait_until_subscribed(*SIZE.codes, timeout=30)
    venue.switches.deaf = True  # a farewell that nobody answers keeps the rebalance waiting
    newcomer = make_bridge(settings)
    owner.wait_for("group_revoked", 30)
    assert stop_in_time(owner)[0] == EXIT_OK
    venue.switches.deaf = False
    newcomer.wait_until("all", lambda: len(newcomer.status()["partitions"]) == 2, 30)
    venue.wait_until_subscribed(*SIZE.codes, timeout=30)
    latecomer = make_bridge(settings)
    latecomer.wait_for("started")
    assert stop_in_time(latecomer)[0] == EXIT_OK
    assert stop_in_time(newcomer)[0] == EXIT_OK


@pytest.mark.slow
def test_a_stop_in_the_middle_of_a_mass_of_control_records_ends_in_order(kafka: Cluster, begin: Begin) -> None:
    trial = begin("mass", kafka)
    bridge = trial.start()
    trial.flow()
    topic = trial.world.topic("subscriptions")
    kafka.produce(topic, [(f"{number % 3_000}.HK", f'{{"note": "{number}"}}') for number in range(30_000)])
    code, last = stop_in_time(bridge)
    assert code == EXIT_OK
    assert last["published"] == len(trial.world.ticks())
