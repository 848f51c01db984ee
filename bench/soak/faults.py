"""The faults, as one table: a name, a weight in the draw, and what is done.

Each function does its harm and undoes it, if that is not the bridge's own task; `Lab.calm` follows in any case. The
lab's dice decide how long and how much, so the seed decides everything.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.soak.lab import CALM, Lab


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` does harm to the lab and may say how much."""

    name: str
    weight: int
    act: Callable[[Lab], object]


# The venue


def switched(lab: Lab, least_s: float, most_s: float, **switches: Any) -> float:
    """Let the venue behave badly for a while."""
    lab.venue.switches.update(**switches)
    lasted = lab.wait(least_s, most_s)
    lab.venue.switches.update(**{name: CALM[name] for name in switches})
    return lasted


def turned_away(lab: Lab, most_s: float, **switches: Any) -> float:
    """End the connection and let the venue take no new one for a while."""
    lab.venue.switches.update(**switches)
    lab.venue.faults.reset()
    return switched(lab, 0.5, most_s, **switches)


def refused(lab: Lab, ret: int) -> None:
    """Have the next list refused."""
    lab.venue.faults.answer_next(ret)
    lab.operator.grow(lab.dice, 1)
    lab.wait(1, 2)


def unanswered(lab: Lab) -> None:
    """Have the next list taken and never acknowledged."""
    lab.venue.switches.drop_acks = 1
    lab.operator.grow(lab.dice, 1)
    lab.wait(1, 3)


def bad_code(lab: Lab) -> None:
    """Ask for one code that does not exist, beside one that does."""
    lab.operator.strange(wanted=True)
    lab.operator.grow(lab.dice, 1)
    lab.wait(2, 5)
    lab.operator.strange(wanted=False)


# The network


def cut(lab: Lab, which: str, how: Any, most_s: float) -> float:
    """Cut a line: reset and refused, or silent; both heal by themselves."""
    lasted = round(lab.dice.uniform(0.5, most_s), 1)
    getattr(lab, which).cut(how, lasted)
    getattr(lab, which).wait_whole()
    return lasted


def slow(lab: Lab) -> float:
    """Let the line to Kafka be too narrow for what comes."""
    lab.kafka_line.set(bandwidth=lab.dice.uniform(60_000, 300_000), latency_s=lab.dice.uniform(0.01, 0.2))
    return lab.wait(4, 12)


# Kafka


def broker_frozen(lab: Lab) -> float:
    """Freeze the broker."""
    lab.broker.suspend()
    lasted = lab.wait(1, 15)
    lab.broker.resume()
    return lasted


def broker_killed(lab: Lab) -> float:
    """Kill the broker and start it again."""
    lab.kill_broker()
    lasted = lab.wait(0, 6)
    lab.broker.start()
    return lasted


def both_frozen(lab: Lab) -> float:
    """Freeze the broker, and lose the venue meanwhile."""
    lab.broker.suspend()
    lab.wait(0.5, 3)
    lab.venue.faults.reset()
    lasted = lab.wait(1, 6)
    lab.broker.resume()
    return lasted


# The operator


def added(lab: Lab) -> int:
    """Desire more symbols."""
    count = lab.dice.randint(1, 6)
    lab.operator.grow(lab.dice, count)
    return count


def removed(lab: Lab) -> int:
    """Desire fewer symbols."""
    count = lab.dice.randint(1, 8)
    lab.operator.shrink(lab.dice, count)
    return count


def added_while_away(lab: Lab) -> None:
    """Desire one more symbol while the venue takes no connection."""
    lab.venue.switches.refuse_upgrades = 503
    lab.venue.faults.reset()
    lab.wait(0.5, 2)
    lab.operator.grow(lab.dice, 1)
    lab.wait(1, 4)
    lab.venue.switches.refuse_upgrades = 0


# The bridge


def restarted(lab: Lab) -> float:
    """Stop the owner; a standby takes over, if there is one."""
    owner = lab.owner()
    owner.stop()
    lasted = lab.wait(0, 4)
    owner.start()
    return lasted


def killed(lab: Lab) -> float:
    """Kill the owner; whoever is there takes over, and be it the same."""
    owner = lab.owner()
    lab.kill(owner)
    lasted = lab.wait(0, 4)
    owner.start()
    return lasted


def taken_over(lab: Lab) -> None:
    """Kill the owner while a standby waits; it comes back when the other owns the partition."""
    lab.standby()
    owner = lab.owner()
    lab.kill(owner)
    lab.owner()
    owner.start()


def frozen(lab: Lab) -> float:
    """Freeze the owner; for long enough, and a standby takes over."""
    owner = lab.owner()
    owner.freeze()
    lasted = lab.wait(1, 14)
    owner.thaw()
    return lasted


def standby_leaves(lab: Lab) -> None:
    """Stop the standby."""
    lab.standby().stop()


def restarted_without_kafka(lab: Lab) -> None:
    """Stop the owner while Kafka is out of reach: the rest goes to its spill, and is found there."""
    owner = lab.owner()
    lab.kafka_line.set(stalled=True)
    lab.wait(0.5, 3)
    lab.unsure.append(time.time())
    try:
        owner.stop()
    finally:
        lab.kafka_line.set(stalled=False)
    owner.start()


FAULTS: tuple[Fault, ...] = (
    Fault("venue: reset", 5, lambda lab: lab.venue.faults.reset()),
    Fault("venue: close", 4, lambda lab: lab.venue.faults.close(lab.dice.choice((1000, 1001, 1011)))),
    Fault("venue: cut", 4, lambda lab: lab.venue.faults.cut()),
    Fault("venue: half-open", 4, partial(switched, least_s=3, most_s=6, half_open=True)),
    Fault("venue: ticks muted", 3, partial(switched, least_s=2, most_s=6, mute=True)),
    Fault("venue: heartbeats unanswered", 4, partial(switched, least_s=2, most_s=5, heartbeat_mute=True)),
    Fault("venue: does not read", 3, partial(switched, least_s=2, most_s=5, deaf=True)),
    Fault("venue: repeats and reorders", 3, partial(switched, least_s=2, most_s=6, duplicates=0.1, reordered=0.1)),
    Fault("venue: 503 at the upgrade", 3, partial(turned_away, most_s=4, refuse_upgrades=503)),
    Fault("venue: 429 at the upgrade", 2, partial(turned_away, most_s=4, refuse_upgrades=429)),
    Fault("venue: 401 at the upgrade", 2, partial(turned_away, most_s=4, refuse_upgrades=401)),
    Fault("venue: closes at once", 2, partial(turned_away, most_s=3, accept_then_close=True)),
    Fault("request: 600, one bad code", 4, bad_code),
    Fault("request: 605", 3, partial(refused, ret=605)),
    Fault("request: 606", 3, partial(refused, ret=606)),
    Fault("request: no answer", 3, unanswered),
    Fault("venue down", 5, partial(cut, which="venue_line", how="reset", most_s=8)),
    Fault("line to the venue: stalled", 4, partial(cut, which="venue_line", how="stall", most_s=6)),
    Fault("line to the venue: half-open", 3, lambda lab: lab.venue_line.half_open()),
    Fault("line to Kafka: reset", 4, partial(cut, which="kafka_line", how="reset", most_s=8)),
    Fault("line to Kafka: stalled", 4, partial(cut, which="kafka_line", how="stall", most_s=12)),
    Fault("line to Kafka: half-open", 3, lambda lab: lab.kafka_line.half_open()),
    Fault("line to Kafka: slow", 4, slow),
    Fault("broker: SIGSTOP", 5, broker_frozen),
    Fault("broker: kill -9", 3, broker_killed),
    Fault("broker: SIGSTOP, venue: reset", 3, both_frozen),
    Fault("control: add", 5, added),
    Fault("control: remove", 5, removed),
    Fault("control: add, venue: 503", 3, added_while_away),
    Fault("control: rewrite", 3, lambda lab: lab.operator.rewrite()),
    Fault("control: rubbish", 3, lambda lab: lab.operator.rubbish(lab.dice, 12)),
    Fault("control: burst", 3, lambda lab: lab.operator.burst(lab.dice, 250)),
    Fault("bridge: SIGTERM", 3, restarted),
    Fault("bridge: SIGTERM without Kafka", 2, restarted_without_kafka),
    Fault("bridge: kill -9", 3, killed),
    Fault("bridge: kill -9, standby takes over", 3, taken_over),
    Fault("bridge: SIGSTOP", 4, frozen),
    Fault("standby: comes", 4, lambda lab: lab.standby().name),
    Fault("standby: goes", 3, standby_leaves),
)


def draw(dice: random.Random, faults: Sequence[Fault]) -> Fault:
    """Draw a fault by weight."""
    return dice.choices(faults, [fault.weight for fault in faults])[0]
