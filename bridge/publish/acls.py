"""The least rights that everybody needs in Kafka, as one table. Pure.

``docs/topics.md`` shows it; ``tests/integration/test_acls.py`` holds it against a broker with authorisation on: with
these rights everything works, and without any one of them the thing that needs it fails.

READ and WRITE bring DESCRIBE along. An idempotent producer needs no right of its own since Kafka 2.8; older clusters
want IDEMPOTENT_WRITE on the cluster for whoever writes. Groups that are named and never joined need none, except
``…-reader``: librdkafka asks for its coordinator, and the operators' commands take a refusal seriously.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.settings import TopicSettings

#: Where the table is shown, the group of a downstream reader: it is the reader's own, and no setting of ours.
READER_GROUP = "my-consumers"


class Who(StrEnum):
    """Whose rights these are, as a user's name; several may be one user, with the rights of all of them."""

    BRIDGE = "tickbridge"
    ADMIN = "topics-admin"
    OPERATOR = "operator"
    READER = "reader"


class Kind(StrEnum):
    """What a right is about, as ``kafka-acls`` spells it."""

    TOPIC = "topic"
    GROUP = "group"


class Operation(StrEnum):
    """What may be done with it, as Kafka names it."""

    READ = "READ"
    WRITE = "WRITE"
    CREATE = "CREATE"
    DESCRIBE = "DESCRIBE"
    DESCRIBE_CONFIGS = "DESCRIBE_CONFIGS"


@dataclass(frozen=True, slots=True)
class Grant:
    """One right on one topic or group, by its literal name; ``purpose`` is what cannot be done without it."""

    who: Who
    kind: Kind
    name: str
    operation: Operation
    purpose: str


def grants(topics: TopicSettings, group_id: str, reader_group: str = READER_GROUP) -> tuple[Grant, ...]:
    """Give every right that is needed, by whom; ``group_id`` is the bridge's consumer group."""
    read, write = Operation.READ, Operation.WRITE
    making = (
        (Operation.CREATE, "make it where it is missing"),
        (Operation.DESCRIBE, "look whether it is there"),
        (Operation.DESCRIBE_CONFIGS, "compare its settings"),
    )
    return (
        _group(Who.BRIDGE, group_id, read, "join the group that decides who owns a control partition"),
        _topic(Who.BRIDGE, topics.subscriptions, read, "learn what to subscribe to"),
        _topic(Who.BRIDGE, topics.ticks, write, "publish ticks"),
        _topic(Who.BRIDGE, topics.status, read, "know what was accepted, refused and in force before"),
        _topic(Who.BRIDGE, topics.status, write, "say what really happens with a symbol"),
        _topic(Who.BRIDGE, topics.gaps, write, "say where ticks may be missing"),
        _topic(Who.BRIDGE, topics.dead_letters, write, "set unusable control records aside"),
        _topic(Who.BRIDGE, topics.state, read, "begin where a predecessor ended"),
        _topic(Who.BRIDGE, topics.state, write, "note how far everything is safe"),
        *(_topic(Who.ADMIN, name, operation, purpose) for name in names(topics) for operation, purpose in making),
        _group(
            Who.OPERATOR,
            f"{group_id}-reader",
            Operation.DESCRIBE,
            "whatever reads; `add` does without, and cannot say then what stood there",
        ),
        _topic(Who.OPERATOR, topics.subscriptions, read, "`subscriptions list`, `remove`, `diff`, `apply`, `export`"),
        _topic(Who.OPERATOR, topics.subscriptions, write, "`subscriptions add`, `remove`, `apply`"),
        _topic(Who.OPERATOR, topics.status, read, "`status`, `subscriptions list`, `--wait`"),
        _topic(Who.OPERATOR, topics.ticks, read, "`ticks tail`"),
        _group(Who.READER, reader_group, read, "read as a group, commit offsets"),
        _topic(Who.READER, topics.ticks, read, "read ticks"),
        _topic(Who.READER, topics.status, read, "see what happens with each symbol"),
        _topic(Who.READER, topics.gaps, read, "see where ticks may be missing"),
    )


def names(topics: TopicSettings) -> tuple[str, ...]:
    """Name the six topics, in the order of the contract."""
    return topics.subscriptions, topics.ticks, topics.status, topics.gaps, topics.dead_letters, topics.state


def _topic(who: Who, name: str, operation: Operation, purpose: str) -> Grant:
    return Grant(who, Kind.TOPIC, name, operation, purpose)


def _group(who: Who, name: str, operation: Operation, purpose: str) -> Grant:
    return Grant(who, Kind.GROUP, name, operation, purpose)
