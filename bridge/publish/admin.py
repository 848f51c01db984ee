"""Kafka asked and told about topics: the one door to its administration.

Looking never creates anything, not even where brokers create topics by themselves: metadata is asked for through a
consumer, because a consumer alone may forbid that.

Every wait ends. A Kafka that does not answer is `KafkaOutOfReach`: whoever has time tries again. A Kafka that answers
and refuses us is `KafkaUnusable`: an operator must mend it.
"""

from __future__ import annotations

import time
from concurrent.futures import wait
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self

import tenacity
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # its stubs forget it
from confluent_kafka.cimpl import NewTopic  # confluent_kafka.admin has it too, but for no type checker

from bridge.errors import KafkaOutOfReach, KafkaUnusable
from bridge.kafka import CREDENTIALS, UNANSWERED, opened, silent_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from types import TracebackType

Properties = dict[str, str | int | float | bool]

#: Seconds that one attempt to reach Kafka takes, and between two looks at whether it has refused us meanwhile.
TRY_S, GLANCE_S = 1.0, 0.2

#: Seconds between two looks for a topic that was just made: metadata follows, and nobody is told when it has.
PROPAGATION_S = 0.05

_REMEDIES = {
    **dict.fromkeys(
        CREDENTIALS, "set TICKBRIDGE_KAFKA__SECURITY_PROTOCOL and TICKBRIDGE_KAFKA__SASL_* to what the cluster knows"
    ),
    KafkaError._SSL: "set TICKBRIDGE_KAFKA__SSL_CA_LOCATION to the authority of the brokers' certificates",  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "grant our user DESCRIBE on the topic (CREATE, to make it); `tickbridge check` names all that a bridge needs"
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant our user CREATE on the cluster, or have the topic made for it",
    KafkaError.INVALID_REPLICATION_FACTOR: "set TICKBRIDGE_TOPICS__REPLICATION to what the cluster can hold",
    KafkaError.POLICY_VIOLATION: "ask who runs the cluster what its policy allows, and set TOPICS__* so",
    KafkaError.TOPIC_EXCEPTION: "set TOPICS__* to names of letters, digits and . _ -",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A topic that exists; ``led`` says whether every partition has a leader."""

    partitions: int
    replicas: int
    led: bool


class Admin:
    """One task with one deadline; use it as a context manager."""

    def __init__(self, kafka: Properties, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._refusal: KafkaError | None = None
        self._remark = "no answer"
        self._properties: dict[str, Any] = {**kafka, "error_cb": self._hear, "logger": silent_logger()}
        own = {"group.id": "tickbridge-topics", "allow.auto.create.topics": False}  # the group is never joined
        self._consumer = opened(Consumer, {**self._properties, **own})

    @cached_property
    def _admin(self) -> AdminClient:
        return opened(AdminClient, self._properties)

    def __enter__(self) -> Self:
        """Give the open door."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._consumer.close()

    def brokers(self, about: str) -> int:
        """Count the brokers that are up; ``about`` is a topic that we may ask about."""
        return len(self._metadata(about).brokers)

    def cluster_id(self, about: str) -> str:
        """Name the cluster; ``about`` is a topic that we may ask about."""
        return str(self._metadata(about).cluster_id)

    def look(self, name: str) -> Found | None:
        """Look at a topic; ``None`` if there is no such topic."""
        topic = self._metadata(name).topics[name]
        if topic.error is not None and topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if topic.error is not None and topic.error.code() != KafkaError.LEADER_NOT_AVAILABLE:
            _refuse(topic.error, f"to describe the topic {name}")
        partitions = topic.partitions.values()
        return Found(
            partitions=len(partitions),
            replicas=max((len(one.replicas) for one in partitions), default=0),
            led=bool(partitions) and all(one.leader >= 0 for one in partitions),
        )

    def await_topic(self, name: str) -> Found:
        """Look until every partition of a topic that exists has a leader."""
        try:
            found = tenacity.Retrying(
                stop=tenacity.stop_after_delay(self._left()),
                wait=tenacity.wait_fixed(PROPAGATION_S),
                retry=tenacity.retry_if_result(lambda found: found is None or not found.led),
            )(self.look, name)
        except tenacity.RetryError:
            raise KafkaOutOfReach(f"the topic {name} has no leader", "look at the brokers' logs") from None
        return found or Found(0, 0, led=False)

    def create(self, name: str, partitions: int, replication: int, config: Mapping[str, str]) -> bool:
        """Make a topic and wait until it can be used; False if somebody else was faster."""
        new = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=dict(config))
        try:
            self._await(self._admin.create_topics([new], request_timeout=self._left())[name])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                self._give_up(error.args[0], f"to make the topic {name}")
            return False
        self.await_topic(name)
        return True

    def config(self, name: str) -> dict[str, str | None] | None:
        """Read a topic's settings, defaults included; ``None`` where we may not."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        try:
            found = self._await(self._admin.describe_configs([resource], request_timeout=self._left())[resource])
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                self._give_up(error.args[0], f"to describe the topic {name}")
            return None
        return {key: entry.value for key, entry in found.items()}

    def _metadata(self, name: str) -> Any:
        while True:
            try:
                return self._consumer.list_topics(name, timeout=min(TRY_S, self._left()))
            except KafkaException as error:
                self._glance(self._consumer.poll)
                if time.monotonic() > self._deadline:
                    self._give_up(error.args[0], f"to describe the topic {name}")

    def _await(self, future: Future[Any]) -> Any:
        while not wait([future], min(GLANCE_S, self._left())).done:
            self._glance(self._admin.poll)
            if time.monotonic() > self._deadline:
                self._give_up(KafkaError(KafkaError._TIMED_OUT), "to answer")  # noqa: SLF001  librdkafka's own code
        return future.result()

    def _glance(self, poll: Callable[[float], object]) -> None:
        """Let the library report its errors; raise if one of them is a refusal."""
        poll(0)
        if self._refusal is not None:
            _refuse(self._refusal, "us")

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  what came before says why
            self._remark = error.str()
        bad_certificate = error.code() == KafkaError._SSL and "certificate" in error.str()  # noqa: SLF001
        if error.code() in CREDENTIALS or bad_certificate:
            self._refusal = error

    def _give_up(self, error: KafkaError, task: str) -> NoReturn:
        """Raise what an error means; the library's own errors, with negative codes, mean that nobody answered."""
        if error.code() in CREDENTIALS or not (error.retriable() or error.code() < 0):
            _refuse(error, task)
        raise KafkaOutOfReach(
            f"no broker was there in time {task} ({error.str()}; {self._remark})",
            UNANSWERED,
        )

    def _left(self) -> float:
        return max(0.05, self._deadline - time.monotonic())


def _refuse(error: KafkaError, about: str) -> NoReturn:
    remedy = _REMEDIES.get(error.code(), "look at the brokers' logs")
    raise KafkaUnusable(f"Kafka refuses {about}: {error.str()}", remedy)
