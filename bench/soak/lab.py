"""What the soak is made of: a real Kafka and a strict venue behind lines, two places for a bridge, the operator."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from bench.soak.instance import Instance
from bench.soak.journal import Journal
from bench.soak.operator import UNKNOWN, Operator
from bridge.simulator import Simulator, SimulatorConfig, Switches
from tests.e2e.conftest import SCALE, World
from tests.support.faults import kafka_behind_line, over, venue_behind_line
from tests.support.kafka import KafkaBroker
from tests.support.tls import certificates

#: Symbols desired at first, and more of them to add.
SYMBOLS, SPARES = 100, 20
#: Seconds in which everything must be well again after a fault: the group's session, a hand-over, a frozen connection.
RECOVERY_S = 60.0
#: Ticks on their way when all is well, at most.
IN_FLIGHT_MAX = 5_000
#: Seconds between two looks at whether all is well.
LOOK_S = 0.1
#: What faults change at the venue, as it should be.
CALM: dict[str, Any] = {
    "mute": False, "heartbeat_mute": False, "half_open": False, "deaf": False, "refuse_upgrades": 0,
    "accept_then_close": False, "duplicates": 0.0, "reordered": 0.0, "drop_acks": 0, "next_ret": 0,
}  # fmt: skip
#: Settings of every bridge: a quick group, a library that soon notices a dead broker.
SETTINGS = {
    "GROUP__SESSION_TIMEOUT_S": "6",
    "SHUTDOWN__BUDGET_S": "8",
    "KAFKA__EXTRA": '{"socket.timeout.ms": 4000, "reconnect.backoff.max.ms": 500}',
    "LOG__LEVEL": "info",
}


class Lab:
    """Everything that faults happen to; enter it to have it, leave it and nothing of it is left."""

    def __init__(self, directory: Path, journal: Journal, dice: random.Random, *, rate: float, minutes: float) -> None:
        self.directory, self.journal, self.dice, self.rate = directory, journal, dice, rate
        self._room = int((minutes * 60 + 900) * rate * 1.3)
        self._stack = ExitStack()
        self._pause = threading.Event()
        #: When something died by SIGKILL (Unix seconds), and what.
        self.kills: list[tuple[float, str]] = []
        #: When a bridge was stopped that could not learn what had become of its last ticks (Unix seconds).
        self.unsure: list[float] = []
        #: When which fault began (Unix seconds).
        self.history: list[tuple[float, str]] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self) -> None:
        enter = self._stack.enter_context
        make: Callable[..., KafkaBroker] = lambda *args, **more: enter(KafkaBroker(*args, **more))  # noqa: E731
        self.broker, self.kafka_line = enter(kafka_behind_line(make))
        self.broker.cluster.warm_up()
        self.world = World(self.broker.cluster)
        pem = certificates(self.directory)
        switches = Switches(
            rate=self.rate, pacing_slack_s=0.05, heartbeats_count="yes", max_connections=1,
            unknown=frozenset({UNKNOWN}),
        )  # fmt: skip
        config = SimulatorConfig(
            time_scale=SCALE, cert=pem["cert"], key=pem["key"], sent_seqs_max=self._room, switches=switches
        )
        self.venue = enter(Simulator(config))
        self.venue_line = enter(venue_behind_line(self.venue))
        settings = self.world.settings(
            self.venue,
            UPSTREAM__URL=over(self.venue_line, self.venue.url()),
            UPSTREAM__CA_FILE=str(pem["ca"]),
            KAFKA__BOOTSTRAP_SERVERS=self.kafka_line.address,
            **SETTINGS,
        )
        self.instances = [Instance(name, settings, self.directory, self.journal) for name in ("a", "b")]
        for instance in self.instances:
            self._stack.callback(instance.close)
        codes = [f"{number}.HK" for number in range(1, SYMBOLS + SPARES + 1)]
        self.operator = Operator(self.world, codes)
        self.operator.add(codes[:SYMBOLS])

    # Who is who

    def owner(self) -> Instance:
        """Wait until some instance says that it owns the partition; TimeoutError when none does."""
        found: list[Instance] = []

        def owned() -> str:
            found[:] = [one for one in self.instances if _owns(one.status())]
            return "" if found else "nobody owns the partition"

        self.await_none(owned, RECOVERY_S)
        return found[0]

    def standby(self) -> Instance:
        """Give the instance that is not the owner, started if need be, once it is a member of the group."""
        owner = self.owner()
        other = next(one for one in self.instances if one is not owner)
        other.start()
        self.await_none(lambda: "" if _member(other.status()) else "the standby is not in the group", RECOVERY_S)
        return other

    def kill(self, instance: Instance) -> None:
        """Kill a bridge."""
        self.kills.append((time.time(), f"bridge {instance.name}"))
        instance.kill()

    def kill_broker(self) -> None:
        """Kill the broker."""
        self.kills.append((time.time(), "broker"))
        self.broker.kill()

    # How time passes

    def wait(self, least_s: float, most_s: float) -> float:
        """Let a random time pass; give it."""
        seconds = self.dice.uniform(least_s, most_s)
        self._pause.wait(seconds)
        return round(seconds, 1)

    def await_none(self, lacking: Callable[[], str], timeout_s: float) -> None:
        """Look again and again until nothing is lacking; TimeoutError says what is."""
        end = time.monotonic() + timeout_s
        while missing := lacking():
            if time.monotonic() > end:
                raise TimeoutError(f"after {timeout_s:.0f} s {missing}")
            self._pause.wait(LOOK_S)

    # How all becomes well again

    def calm(self) -> None:
        """End whatever a fault may have left, and let there be a bridge."""
        if not self.broker.alive:
            self.broker.start()
        self.broker.resume()
        for line in (self.kafka_line, self.venue_line):
            line.wait_whole()
            line.set(bandwidth=None, latency_s=0.0)
        self.venue.switches.update(**CALM)
        for instance in self.instances:
            instance.thaw()
            instance.look_after()
        if not any(instance.running for instance in self.instances):
            self.instances[0].start()

    def lacking(self) -> str:
        """Say what is not as it should be; nothing when all is well."""
        subscribed, wanted = self.venue.record.subscribed, self.operator.codes
        if subscribed != wanted:
            few, many = sorted(wanted - subscribed), sorted(subscribed - wanted)
            return f"{len(few)} codes are not subscribed {few[:3]}, {len(many)} should not be {many[:3]}"
        owners = [status for one in self.instances if _owns(status := one.status())]
        if len(owners) != 1:
            return f"{len(owners)} instances own the partition"
        in_flight = sum(status["accounts"]["in_flight"] for status in owners if status)
        return "" if in_flight < IN_FLIGHT_MAX else f"{in_flight} ticks are in flight"

    def finish(self) -> None:
        """Bring everything to rest: whoever left a spill comes back to it, the market sleeps, all stop in order."""
        self.calm()
        for instance in self.instances:
            if instance.ever_ran:
                instance.start()
        self.await_none(self.lacking, RECOVERY_S)
        self.venue.switches.rate = 0.0
        self.await_none(self._under_way, RECOVERY_S)
        owner = self.owner()
        for instance in (*(one for one in self.instances if one is not owner), owner):
            instance.stop()

    def _under_way(self) -> str:
        statuses = [one.status() for one in self.instances if one.running]
        left = [status["accounts"]["in_flight"] if status else None for status in statuses]
        return "" if not any(left) and None not in left else f"in flight: {left}"


def _owns(status: dict[str, Any] | None) -> bool:
    return status is not None and status["control"]["member"] and bool(status["control"]["owned"])


def _member(status: dict[str, Any] | None) -> bool:
    return status is not None and status["control"]["member"]
