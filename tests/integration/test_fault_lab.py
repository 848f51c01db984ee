"""The fault lab on the real Kafka and the simulator: what the other fault tests rely on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, Producer

from tests.contract.simulator_clients import Client, simulator
from tests.support.faults import kafka_behind_line, over, venue_behind_line
from tests.support.kafka import KafkaBroker, unique
from tests.support.network import Network

#: Seconds that a record may take over a good line, and in which nothing must come over a bad one.
SOON_S = 20.0
QUIET_S = 0.3

Behind = tuple[KafkaBroker, Network]


@pytest.fixture
def behind(make_kafka: Callable[..., KafkaBroker]) -> Iterator[Behind]:
    with kafka_behind_line(make_kafka) as (broker, line):
        yield broker, line


class Sender:
    """An idempotent producer over the line, and what became of its records."""

    def __init__(self, line: Network, topic: str) -> None:
        self.answers: list[KafkaError | None] = []
        self._topic = topic
        config: dict[str, Any] = {
            "bootstrap.servers": line.address,
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "socket.timeout.ms": 2000,
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
        self._producer = Producer(config)

    def send(self, *values: str) -> None:
        for value in values:
            self._producer.produce(self._topic, value, on_delivery=self._note)

    def flush(self, timeout_s: float = SOON_S) -> int:
        return self._producer.flush(timeout_s)

    def _note(self, error: KafkaError | None, message: Message) -> None:
        self.answers.append(error)


def test_the_line_carries_all_traffic_of_its_clients_and_none_of_the_judge_s(behind: Behind) -> None:
    broker, line = behind
    topic = broker.cluster.create_topic(unique("line"))
    assert line.carried["up"] == 0
    sender = Sender(line, topic)
    sender.send("x" * 50_000)
    assert sender.flush() == 0
    carried = line.carried["up"]
    assert carried > 50_000
    assert len(broker.cluster.read_all(topic)) == 1
    assert line.carried["down"] < 50_000


@pytest.mark.slow
@pytest.mark.parametrize("how", ["reset", "stall"])
def test_during_a_cut_nothing_arrives_and_after_it_everything_once_in_order(behind: Behind, how: Any) -> None:
    broker, line = behind
    topic = broker.cluster.create_topic(unique("line"))
    sender = Sender(line, topic)
    sender.send("before")
    assert sender.flush() == 0
    line.cut(how, 5.0)
    sender.send(*(str(number) for number in range(1000)))
    assert sender.flush(QUIET_S) == 1000
    assert len(broker.cluster.read_all(topic)) == 1
    line.wait_whole()
    assert sender.flush() == 0
    expected = [b"before", *(str(number).encode() for number in range(1000))]
    assert [record.value for record in broker.cluster.read_all(topic)] == expected
    assert sender.answers == [None] * 1001


def test_half_open_a_client_finds_out_by_itself(behind: Behind) -> None:
    broker, line = behind
    topic = broker.cluster.create_topic(unique("line"))
    sender = Sender(line, topic)
    sender.send("before")
    assert sender.flush() == 0
    line.half_open()
    sender.send("after")
    assert sender.flush(QUIET_S) == 1
    assert sender.flush() == 0
    assert [record.value for record in broker.cluster.read_all(topic)] == [b"before", b"after"]


def test_a_venue_can_be_behind_a_line_too() -> None:
    with ExitStack() as stack:
        sim = stack.enter_context(simulator())
        line = stack.enter_context(venue_behind_line(sim))
        assert over(line, f"{sim.url()}?a=b") == f"ws://{line.address}/quote-stock-b-ws-api?a=b"
        line.set(latency_s=0.1)
        client = stack.enter_context(Client(line_of(sim, line)))
        assert client.subscribe("700.HK") == 200
        line.reset()
        sim.wait_for(lambda record: record.connections[0].close_reason)
        assert "client lost" in str(sim.record.connections[0].close_reason)


def line_of(sim: Any, line: Network) -> Any:
    """Give what a `Client` asks of a simulator, with the line's address."""

    class OverTheLine:
        @staticmethod
        def url(market: Any) -> str:
            return over(line, sim.url(market))

    return OverTheLine()
