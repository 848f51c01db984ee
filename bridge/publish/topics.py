"""The topics as they should be, made where they are missing and looked at where they are not (contract 1.2).

Nothing that exists is ever altered: what differs is reported, and an operator decides. ``plan`` and ``fit`` are pure;
what Kafka is asked goes through ``admin``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from bridge.publish.admin import Admin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.publish.admin import Properties
    from bridge.settings import TopicSettings

HOUR_MS = 3_600_000
MIN_ISR = "min.insync.replicas"


class Outcome(StrEnum):
    """What `ensure` found or did."""

    CREATED = "created"
    EXISTS = "exists"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be; ``config`` has the broker's own names and strings."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


#: A dead letter is a control record of any size that Kafka takes (1 MiB by default), and some headers.
LETTER_MAX_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What became of one topic; ``details`` has one sentence for each difference or compromise."""

    name: str
    outcome: Outcome
    details: tuple[str, ...] = ()


def plan(topics: TopicSettings) -> tuple[TopicSpec, ...]:
    """Give the six topics as the settings want them."""
    control = topics.subscriptions_partitions

    def spec(name: str, partitions: int, **config: str) -> TopicSpec:
        named = {key.replace("_", "."): value for key, value in config.items()}
        named[MIN_ISR] = str(topics.min_insync_replicas)
        return TopicSpec(name, partitions, topics.replication, MappingProxyType(named))

    def compacted(name: str, partitions: int) -> TopicSpec:
        return spec(name, partitions, cleanup_policy="compact", delete_retention_ms=_ms(topics.tombstone_retention_h))

    def kept(name: str, partitions: int, hours: float, **config: str) -> TopicSpec:
        return spec(name, partitions, cleanup_policy="delete", retention_ms=_ms(hours), **config)

    return (
        compacted(topics.subscriptions, control),
        # A tick's record bears the time of its receipt, whatever the cluster's default.
        kept(topics.ticks, topics.ticks_partitions, topics.ticks_retention_h, message_timestamp_type="CreateTime"),
        compacted(topics.status, control),
        kept(topics.gaps, control, topics.gaps_retention_h),
        kept(topics.dead_letters, 1, topics.dead_letters_retention_h, max_message_bytes=str(LETTER_MAX_BYTES)),
        compacted(topics.state, 1),
    )


def fit(spec: TopicSpec, brokers: int) -> tuple[TopicSpec, tuple[str, ...]]:
    """Lower the replication to what a cluster of so many brokers can hold, and say so.

    ``min.insync.replicas`` goes down with it: as many brokers may be down as were meant to be.
    """
    replication, wanted = min(spec.replication, max(1, brokers)), int(spec.config[MIN_ISR])
    spare = max(0, spec.replication - wanted)
    in_sync = max(1, min(wanted, replication - spare))
    notes = []
    if replication < spec.replication:
        notes.append(f"{_count(replication, 'replica')} instead of {spec.replication}: {_count(brokers, 'broker')}")
    if in_sync < wanted:
        notes.append(f"{MIN_ISR} {in_sync} instead of {wanted}: {_count(replication, 'replica')}")
    config = MappingProxyType({**spec.config, MIN_ISR: str(in_sync)})
    return replace(spec, replication=replication, config=config), tuple(notes)


def ensure(kafka: Properties, specs: Sequence[TopicSpec], timeout_s: float = 30.0) -> list[TopicReport]:
    """Create what is missing, and report on all, in the order of ``specs``.

    Raises:
        KafkaOutOfReach: no broker answered within ``timeout_s``.
        KafkaUnusable: Kafka refuses us.
        SettingsError: librdkafka does not take the properties.
    """
    with Admin(kafka, timeout_s) as admin:
        reports = []
        for wanted in specs:
            spec, notes = fit(wanted, admin.brokers(wanted.name))
            absent = admin.look(spec.name) is None
            if absent and admin.create(spec.name, spec.partitions, spec.replication, spec.config):
                reports.append(TopicReport(spec.name, Outcome.CREATED, notes))
            else:
                reports.append(_compare(admin, spec))
        return reports


def missing(kafka: Properties, names: Iterable[str], timeout_s: float = 10.0) -> list[str]:
    """Tell which of the topics do not exist.

    Raises:
        KafkaOutOfReach: no broker answered within ``timeout_s``.
        KafkaUnusable: Kafka refuses us.
        SettingsError: librdkafka does not take the properties.
    """
    with Admin(kafka, timeout_s) as admin:
        return [name for name in names if admin.look(name) is None]


def cluster_id(kafka: Properties, about: str, timeout_s: float = 10.0) -> str:
    """Name the cluster; ``about`` is a topic that we may ask about; raises what `missing` does."""
    with Admin(kafka, timeout_s) as admin:
        return admin.cluster_id(about)


def _compare(admin: Admin, spec: TopicSpec) -> TopicReport:
    found = admin.look(spec.name) or admin.await_topic(spec.name)
    config = admin.config(spec.name)
    details = []
    if found.partitions != spec.partitions:
        details.append(f"has {_count(found.partitions, 'partition')}, not {spec.partitions}")
    if found.replicas != spec.replication:
        details.append(f"has {_count(found.replicas, 'replica')}, not {spec.replication}")
    if config is not None:
        details += [
            f"{key} is {config.get(key)}, not {value}" for key, value in spec.config.items() if config.get(key) != value
        ]
    outcome = Outcome.DIFFERS if details else Outcome.EXISTS
    if config is None:
        details.append("its settings could not be read; to have them compared, grant our user DESCRIBE_CONFIGS on it")
    return TopicReport(spec.name, outcome, tuple(details))


def _ms(hours: float) -> str:
    return str(round(hours * HOUR_MS))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
