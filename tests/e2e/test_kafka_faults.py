"""Kafka's faults at full flow over 500 symbols, judged tick by tick.

With a spill nothing is lost, nothing comes twice, and the connection to the venue is not touched. Without one, what is
missing is exactly what counters and gaps say. `python -m bench.faults` runs the same at full rate and length.
"""

import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource  # type: ignore[attr-defined]

from bridge.publish.acls import Who
from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.integration.test_acls import BROKER, Deployment, login
from tests.support.audit import Verdict
from tests.support.faults import kafka_behind_line
from tests.support.kafka import Cluster, KafkaBroker
from tests.support.process import BridgeProcess
from tests.support.quorum import three_brokers
from tests.support.trial import Trial, chosen_size

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE = chosen_size()

#: Seconds in which a topic that is deleted may still take records.
SETTLED_S = 2.0
#: How a line is cut.
CUTS: tuple[Literal["reset", "stall"], ...] = ("reset", "stall")
#: Bytes of the disk that is too small.
SMALL = 3_000_000
#: Settings at the venue's own pace: a busy machine must not look like a silent connection.
PACE = {
    "UPSTREAM__REQUEST_INTERVAL_S": "1", "UPSTREAM__RECONNECT_MIN_S": "3", "UPSTREAM__RECONNECT_MAX_S": "10",
    "UPSTREAM__HEARTBEAT_S": "10", "UPSTREAM__SILENCE_S": "25", "UPSTREAM__ACK_TIMEOUT_S": "10",
}  # fmt: skip

Begin = Callable[..., Trial]


@pytest.fixture
def begin(make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess], tmp_path: Path) -> Begin:
    """Begin a trial on a cluster; `spill` says whether with one, `bridges` how many instances it has."""

    def make(
        name: str, cluster: Cluster, *, spill: bool = True, bridges: int = 1, world: World | None = None,
        where: Path | None = None, **settings: str,
    ) -> Trial:  # fmt: skip
        venue = make_venue(rate=SIZE.rate, time_scale=1.0, sent_seqs_max=5_000_000)
        directory = (where or tmp_path / name.replace(" ", "-")) if spill else None
        settings = {**PACE, **settings}
        trial = Trial(name, world or World(cluster), venue, make_bridge, SIZE, spill=directory, **settings)
        for _ in range(bridges):
            trial.start()
        return trial

    return make


def nothing_lost(trial: Trial, verdict: Verdict) -> None:
    """Hold a trial to the best there is: each tick once, in order, over one connection."""
    verdict.check()
    assert verdict.missing == 0
    assert len(trial.venue.record.connections) == 1, "a Kafka fault is no reason to leave the venue"


def loss_told_exactly(trial: Trial, verdict: Verdict, account: str) -> int:
    """Hold a trial to its word: what is missing is what the counter says, and the gaps, symbol by symbol."""
    verdict.check()
    counted = sum(int(bridge.wait_for("stopped")[account]) for bridge in trial.bridges)
    assert verdict.missing == counted == sum(one.lost_claimed for one in verdict.symbols.values())
    for one in verdict.symbols.values():
        assert one.lost_claimed == len(one.missing), one.symbol
    assert len(trial.venue.record.connections) == 1
    return counted


@pytest.mark.parametrize("outage_s", SIZE.outage_s)
def test_a_killed_broker_costs_what_spill_and_hold_say(own_kafka: KafkaBroker, begin: Begin, outage_s: float) -> None:
    what = f"broker killed for {outage_s:g} s"
    alone = begin(what, own_kafka.cluster)
    bare = begin(f"{what}, no spill", own_kafka.cluster, spill=False)
    held = begin(f"{what}, standby, hold without limit", own_kafka.cluster, bridges=2)
    let_go = begin(f"{what}, standby, hold 0", own_kafka.cluster, bridges=2, GROUP__LOST_HOLD_S="0")
    trials = (alone, bare, held, let_go)
    for trial in trials:
        trial.flow()
    own_kafka.kill()
    alone.pause(outage_s)
    assert alone.place("spill"), "the outage should be long enough to reach the disk"
    own_kafka.start()
    since = time.monotonic()
    for trial in trials:
        trial.drain(since)
    for trial in trials:
        trial.flow()
    held.bridges[1].wait_ready()  # it stood aside, and is back
    nothing_lost(alone, alone.end())
    assert loss_told_exactly(bare, bare.end(), "dropped") > 0
    nothing_lost(held, held.end())
    let_go.end().check()
    assert len(let_go.venue.record.connections) > 1
    assert not let_go.venue.record.overlaps


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """A directory, and whether it is a file system of `SMALL` bytes; where we may not mount one, it is not."""
    where = tmp_path / "small"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tickbridge", str(where)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    yield where, mounted
    if mounted:
        subprocess.run(["umount", "--lazy", where], check=True)


def test_a_frozen_broker_costs_nothing_and_a_full_disk_what_is_told(
    own_kafka: KafkaBroker, begin: Begin, small_disk: tuple[Path, bool]
) -> None:
    where, mounted = small_disk
    alone = begin(f"broker frozen for {SIZE.frozen_s:g} s", own_kafka.cluster)
    tight = begin(f"broker frozen for {SIZE.frozen_s:g} s, disk full", own_kafka.cluster, where=where)
    if not mounted:  # no file of the bridge's may grow beyond it, then
        resource.prlimit(tight.bridges[0].process.pid, resource.RLIMIT_FSIZE, (SMALL, SMALL))
    for trial in (alone, tight):
        trial.flow()
    own_kafka.suspend()
    alone.pause(SIZE.frozen_s)
    tight.await_true("an overflow", lambda: tight.account("dropped") > 0, 60)
    own_kafka.resume()
    since = time.monotonic()
    for trial in (alone, tight):
        trial.drain(since)
    nothing_lost(alone, alone.end())
    assert loss_told_exactly(tight, tight.end(), "dropped") > 0
    assert tight.bridges[0].count("spill_unusable") > 0


def test_a_slow_line_that_breaks_now_and_then_costs_nothing(
    make_kafka: Callable[..., KafkaBroker], begin: Begin
) -> None:
    with kafka_behind_line(make_kafka) as (broker, line):
        trial = begin("100 KB/s, 300 ms, cuts of 2 s", broker.cluster, KAFKA__BOOTSTRAP_SERVERS=line.address)
        trial.flow()
        line.set(bandwidth=100_000, latency_s=0.3)
        end = time.monotonic() + SIZE.slow_s
        while time.monotonic() < end:
            for how in CUTS:
                trial.pause(1.0)
                line.cut(how, 2.0)
                line.wait_whole()
        line.set(bandwidth=None, latency_s=0.0)
        trial.drain()
        nothing_lost(trial, trial.end())


@pytest.mark.usefixtures("kafka")
def test_leaders_that_change_cost_nothing(begin: Begin) -> None:
    with three_brokers() as quorum:
        trial = begin("leader killed and back, 3 brokers", quorum.cluster)
        trial.flow()
        ticks = trial.world.topic("ticks")
        leader = quorum.leader(ticks)
        quorum.brokers[leader].kill()
        trial.await_true("another leader", lambda: quorum.leader(ticks) not in (leader, -1))
        trial.flow()
        quorum.brokers[leader].start()
        since = time.monotonic()
        trial.await_true("the first leader again", lambda: quorum.leader(ticks) == leader, 60)
        trial.drain(since)
        nothing_lost(trial, trial.end())


def test_a_ticks_topic_deleted_and_made_again_has_everything_from_then_on(kafka: Cluster, begin: Begin) -> None:
    trial = begin("ticks topic deleted, made again", kafka)
    trial.flow()
    ticks = trial.world.topic("ticks")
    kafka.delete_topic(ticks)
    deleted_at = time.time() + SETTLED_S
    trial.pause(SIZE.frozen_s)
    kafka.create_topic(ticks, partitions=3)
    trial.drain()
    verdict = trial.end(judged=False)
    stopped = trial.bridges[0].wait_for("stopped")
    assert stopped["balanced"]
    assert stopped["in_flight"] == stopped["dropped"] == stopped["undeliverable"] == 0
    assert not any(one.duplicates or one.disorder or one.strangers for one in verdict.symbols.values())
    late = {code: [tick.seq for tick in one.missing if tick.at > deleted_at] for code, one in verdict.symbols.items()}
    assert not any(late.values()), "only what stood in the topic may be gone with it"
    for code, one in verdict.symbols.items():
        gone = [tick.seq for tick in one.missing]
        assert gone == trial.venue.sent(code)[: len(gone)], "what is gone is the oldest"
    assert len(trial.venue.record.connections) == 1


def test_rights_that_are_lost_and_given_back_cost_nothing(make_kafka: Callable[..., KafkaBroker], begin: Begin) -> None:
    broker = make_kafka(BROKER, client=login("broker"))
    as_bridge = {f"KAFKA__{key.upper().replace('.', '_')}": value for key, value in login(Who.BRIDGE).items()}
    world = World(broker.cluster)
    deployment = Deployment(broker.cluster, world.name)
    others = [grant for grant in deployment.grants if grant.who is not Who.BRIDGE]
    deployment.allow(deployment.grants)
    trial = begin("all rights lost, and given back", broker.cluster, world=world, **as_bridge)
    trial.flow()
    deployment.allow(others)
    trial.bridges[0].wait_for("kafka_trouble", 30)
    trial.pause(SIZE.frozen_s)
    deployment.allow(deployment.grants)
    trial.drain()
    nothing_lost(trial, trial.end())


def test_a_tick_too_large_for_the_topic_is_told_and_costs_no_other(kafka: Cluster, begin: Begin) -> None:
    trial = begin("messages too large", kafka)
    trial.flow()
    trial.venue.switches.rate = SIZE.rate / 10  # one record in a batch is all that will be taken
    limit(trial, 400)
    dice = random.Random(1)
    for code in SIZE.codes[:5]:
        fat = {name: "".join(dice.choices("123456789", k=64)) for name in ("price", "volume", "turnover")}
        trial.venue.tick_now(code, **fat)
    trial.await_true("refused", lambda: trial.account("undeliverable") == 5)
    trial.flow(count=100)
    limit(trial, 1_048_588)
    trial.venue.switches.rate = SIZE.rate
    trial.drain()
    assert loss_told_exactly(trial, trial.end(), "undeliverable") == 5


def limit(trial: Trial, size: int) -> None:
    """Change what the ticks topic takes at once."""
    change = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    ticks = ConfigResource(ConfigResource.Type.TOPIC, trial.world.topic("ticks"), incremental_configs=[change])
    admin = AdminClient(trial.world.cluster.config())  # named: an answer never comes to a client that is gone
    for done in admin.incremental_alter_configs([ticks]).values():
        done.result(20)

    def known() -> bool:
        (found,) = admin.describe_configs([ticks]).values()
        return str(found.result(20)["max.message.bytes"].value) == str(size)

    trial.await_true("the broker knows", known)
