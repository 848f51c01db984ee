"""librdkafka in our words, for every room that opens a client of it: how one is made, and where its log goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from bridge.errors import SettingsError
from bridge.settings import KafkaSettings

_Client = TypeVar("_Client")

#: Seconds for which a kind of line in the library's log is not repeated: it logs every attempt to connect.
QUIET_S = 30.0

#: Errors that say that the brokers do not know us.
CREDENTIALS = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001  librdkafka's own codes are spelled with an underscore
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)


#: What to do when no broker answers. One that wants a password says nothing to who comes without.
UNANSWERED = (
    "check TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS, TICKBRIDGE_KAFKA__SECURITY_PROTOCOL (a broker that wants TLS or a "
    "password hangs up on who comes without) and the state of the brokers"
)

#: What guarantees 6 and 7 rest on: every replica has it, once and in order, however long Kafka is away.
SURE_PRODUCER: dict[str, str | int | float | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,
    "partitioner": "murmur2_random",
}


class Log(Protocol):
    """A logger's method, as structlog has it: a constant event and its fields."""

    def __call__(self, event: str, /, **fields: Any) -> object:
        """Write one line."""
        ...


def opened(make: Callable[[dict[str, Any]], _Client], properties: dict[str, Any]) -> _Client:
    """Make a client of librdkafka.

    Raises:
        SettingsError: the library does not take the properties.
    """
    try:
        return make(properties)
    except (KafkaException, TypeError, ValueError, AttributeError) as error:  # the last three: of properties for Python
        said = error.args[0].str() if isinstance(error.args[0], KafkaError) else str(error)
        setting, remedy = _blamed(said)
        raise SettingsError(f"{setting}: {said}; {remedy}") from None


def _blamed(said: str) -> tuple[str, str]:
    """Name the setting that the library complains of, and the remedy."""
    if "SASL mechanism" in said:
        known = KafkaSettings.model_fields["sasl_mechanism"].description
        return "TICKBRIDGE_KAFKA__SASL_MECHANISM", f"set it to {known}"
    return "TICKBRIDGE_KAFKA__*", "mend the setting, or the property in TICKBRIDGE_KAFKA__EXTRA"


def follower(kafka: KafkaSettings, group: str) -> dict[str, str | int | float | bool]:
    """Give a consumer's properties that is told its partitions; the library wants a ``group``, never joined."""
    return {
        "fetch.wait.max.ms": 50,  # the end of a partition is reported by the fetch that finds nothing
        **kafka.as_librdkafka(),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "allow.auto.create.topics": False,
    }


def library_logger(log: Log, clock: Callable[[], float] = time.monotonic) -> logging.Logger:
    """Make a logger for librdkafka that hands its lines to ``log`` instead of to standard error."""
    logger = logging.Logger("librdkafka")  # noqa: LOG001  outside the hierarchy: nobody else may configure it
    logger.addHandler(_Forward(log, clock))
    return logger


class _Forward(logging.Handler):
    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        super().__init__()
        self._log = log
        self._clock = clock
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on, unless its kind (its first word) was said a moment ago."""
        text = record.getMessage()
        kind, now = text.partition(" ")[0], self._clock()
        if record.levelno > logging.DEBUG and now - self._said.get(kind, -QUIET_S) < QUIET_S:
            return
        self._said[kind] = now
        self._log("librdkafka", level=record.levelname.lower(), message=text)


def silent_logger() -> logging.Logger:
    """Make a logger that says nothing: what matters of the library's log comes as errors too."""
    logger = logging.Logger("librdkafka")  # noqa: LOG001  outside the hierarchy: nobody else may configure it
    logger.addHandler(logging.NullHandler())
    return logger
