"""How the control topic's clients are set up, and what their errors mean.

It has two kinds of errors for us. A refusal needs an operator: `refusal` makes a `KafkaUnusable` of it, with the
remedy. Everything else is trouble that passes: the library tries again by itself, for as long as it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import TopicMetadata  # type: ignore[attr-defined]  # its stubs forget it

from bridge.errors import KafkaUnusable
from bridge.kafka import CREDENTIALS, UNANSWERED, opened

if TYPE_CHECKING:
    from bridge.settings import Settings

_UNKNOWN_TOPIC = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001  librdkafka's own codes are spelled with an underscore
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.INCONSISTENT_TOPIC_ID,
)

#: Errors after which nobody knows whether the topic is still the one that was read.
TOPIC_DOUBTS = (*_UNKNOWN_TOPIC, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._LOG_TRUNCATION)  # noqa: SLF001

#: Errors that say that the cluster, not one broker or one topic, is out of reach.
OUT_OF_REACH = (KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE)  # noqa: SLF001

#: Heartbeats carry the news of a rebalance: this bounds what a clean hand-over costs.
HEARTBEAT_MAX_S = 0.5

#: What `Listener.on_revoked` may take beyond the shutdown budget before the group gives us up.
POLL_MARGIN_S = 60.0


_REMEDIES = {
    **dict.fromkeys(
        CREDENTIALS, "set TICKBRIDGE_KAFKA__SECURITY_PROTOCOL and TICKBRIDGE_KAFKA__SASL_* to what the cluster knows"
    ),
    **dict.fromkeys(
        _UNKNOWN_TOPIC, "run `tickbridge topics ensure`, or set TICKBRIDGE_TOPICS__SUBSCRIPTIONS to another name"
    ),
    KafkaError._SSL: "set TICKBRIDGE_KAFKA__SSL_CA_LOCATION to the authority of the brokers' certificates",  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant our user {may} on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant our user READ on the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant our user {may} on the topic, or DESCRIBE on the cluster",
    KafkaError.INVALID_SESSION_TIMEOUT: (
        "set TICKBRIDGE_GROUP__SESSION_TIMEOUT_S within the brokers' group.min.session.timeout.ms and "
        "group.max.session.timeout.ms"
    ),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "set TICKBRIDGE_GROUP__ID to a group that nothing else uses",
}


def refusal(error: KafkaError, about: str, may: str = "READ and DESCRIBE") -> KafkaUnusable | None:
    """Make what an operator must mend an exception; ``None`` for what passes.

    ``about`` names the topic and group, ``may`` the rights on the topic that are needed.
    """
    remedy = _REMEDIES.get(error.code())
    if remedy is None or (error.code() == KafkaError._SSL and "certificate" not in error.str()):  # noqa: SLF001
        return None
    return KafkaUnusable(f"Kafka refuses {about}: {error.str()}", remedy.format(may=may))


def member_properties(settings: Settings) -> dict[str, Any]:
    """Give a group member's properties; what guarantees rest on comes last, so that no setting overrides it."""
    session_s = settings.group.session_timeout_s
    return {
        "client.id": settings.name,
        "fetch.wait.max.ms": 100,  # the end of a partition is reported by the fetch that finds nothing
        "socket.timeout.ms": 10_000,  # how soon a connection that has died without a word is replaced
        "socket.keepalive.enable": True,
        "topic.metadata.refresh.interval.ms": 5000,  # how soon a deleted topic is missed
        "topic.metadata.propagation.max.ms": 1000,
        **settings.kafka.as_librdkafka(),
        "group.id": settings.group_id,
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": round(session_s * 1000),
        "heartbeat.interval.ms": round(min(session_s / 3, HEARTBEAT_MAX_S) * 1000),
        "max.poll.interval.ms": round((max(session_s, settings.shutdown.budget_s) + POLL_MARGIN_S) * 1000),
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
        "statistics.interval.ms": 1000,
    }


def count_partitions(consumer: Consumer, topic: str, timeout_s: float) -> int:
    """Ask how many partitions a topic has; 0 without an answer, and where there is no such topic."""
    try:
        return len(consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions)
    except KafkaException:
        return 0


def look_up(properties: dict[str, Any], topic: str, timeout_s: float) -> TopicMetadata | None:
    """Ask about a topic through a client of its own, whose connections are new; None without an answer."""
    consumer = opened(Consumer, properties)
    try:
        found: TopicMetadata = consumer.list_topics(topic, timeout=timeout_s).topics[topic]
    except KafkaException:
        return None
    else:
        return found
    finally:
        consumer.close()


def topic_is_gone(properties: dict[str, Any], topic: str, timeout_s: float) -> bool:
    """Ask whether a topic does not exist; without an answer, it does."""
    found = look_up(properties, topic, timeout_s)
    return found is not None and found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


class Watch:
    """Takes the library's errors for a client that lives for one task, and keeps what explains its failure."""

    def __init__(self, about: str, may: str = "READ and DESCRIBE") -> None:
        self._about = about
        self._may = may
        self._refusal: KafkaUnusable | None = None
        self._remark = "no broker has answered"

    def __call__(self, error: KafkaError) -> None:
        """Take one error in; a refusal is kept for `check`."""
        self._refusal = self._refusal or refusal(error, self._about, self._may)
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  what came before says why
            self._remark = error.str()

    def check(self) -> None:
        """Raise the first refusal, if there was one.

        Raises:
            KafkaUnusable: Kafka refuses us.
        """
        if self._refusal is not None:
            raise self._refusal

    def late(self, what: str) -> KafkaUnusable:
        """Make the exception that says that time is over; ``what`` is the beginning of its sentence."""
        return KafkaUnusable(f"{what} ({self._remark})", UNANSWERED)
