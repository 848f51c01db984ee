"""The front door to a real Kafka for tests and benchmarks.

`KafkaBroker` is one of one's own, to kill and freeze; `any_kafka` the nearest one, to share; `Cluster` what can be
asked of either. The fixtures `kafka` and `own_kafka` in `tests/conftest.py` give these to tests.
"""

from tests.support.broker import KafkaBroker
from tests.support.cluster import FAST_COMPACTION, Cluster, Group, Member, Record, unique
from tests.support.errors import KafkaStartError, KafkaUnavailableError
from tests.support.roads import any_kafka

__all__ = [
    "FAST_COMPACTION",
    "Cluster",
    "Group",
    "KafkaBroker",
    "KafkaStartError",
    "KafkaUnavailableError",
    "Member",
    "Record",
    "any_kafka",
    "unique",
]
