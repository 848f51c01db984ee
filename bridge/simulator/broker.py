"""A small Kafka broker inside this process, for the demo: librdkafka's mock cluster, made by the library itself.

It speaks the real protocol to any client on this machine (groups, null values, end of partition, idempotent produce)
and keeps everything in memory; it does not compact. A demonstration and quick tests may use it, a proof may not.

confluent-kafka does not offer it, so it is made through the C interface of the library that ships inside its wheel
(``rdkafka_mock.h``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import confluent_kafka

_PRODUCER = 0
_ERROR_BYTES = 512
_FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "rd_kafka_conf_new": (ctypes.c_void_p, ()),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
    ),
    "rd_kafka_new": (ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)),
    "rd_kafka_destroy": (None, (ctypes.c_void_p,)),
    "rd_kafka_mock_cluster_new": (ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)),
    "rd_kafka_mock_cluster_destroy": (None, (ctypes.c_void_p,)),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, (ctypes.c_void_p,)),
    "rd_kafka_mock_topic_create": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)),
}


class EmbeddedBroker:
    """One broker on loopback with the given topics; ``topics`` maps name to number of partitions."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        config = self._library.rd_kafka_conf_new()
        # Its own client never connects anywhere and has nothing to say.
        self._library.rd_kafka_conf_set(config, b"log_level", b"0", error, _ERROR_BYTES)
        self._client = self._library.rd_kafka_new(_PRODUCER, config, error, _ERROR_BYTES)
        if not self._client:
            raise RuntimeError(f"the embedded broker does not start: {error.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            raise RuntimeError("the embedded broker does not start: librdkafka makes no mock cluster")
        for name, partitions in topics.items():
            self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def close(self) -> None:
        """Stop the broker; what it kept is gone."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = None

    def __enter__(self) -> Self:
        """Give the running broker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.close()


def _library() -> ctypes.CDLL:
    """Load the library that confluent-kafka itself uses."""
    package = Path(confluent_kafka.__file__).parent
    places = (package.parent / "confluent_kafka.libs", package / ".dylibs")
    found = [path for place in places if place.is_dir() for path in sorted(place.glob("librdkafka*"))]
    if not found:
        raise RuntimeError("confluent-kafka was not installed from a wheel, so the embedded broker cannot be found")
    library = ctypes.CDLL(str(found[0]))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library
