"""The image at work: a real Kafka, the venue's simulator from the same image, and the bridge, all read-only."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bridge.simulator import DEFAULT_TOKEN
from tests.image.conftest import BUILD_S, Image
from tests.image.engine import Container, ask
from tests.support.kafka import Cluster, unique

pytestmark = pytest.mark.timeout(BUILD_S + 60)

BUDGET_S = 25


@dataclass
class Place:
    """Topics of a test's own, a venue, and how a bridge is told of both."""

    image: Image
    cluster: Cluster
    venue: str
    name: str

    @property
    def settings(self) -> dict[str, str]:
        kinds = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")
        return {
            "NAME": self.name,
            "KAFKA__BOOTSTRAP_SERVERS": self.cluster.bootstrap,
            "UPSTREAM__URL": self.venue,
            "UPSTREAM__TOKEN": DEFAULT_TOKEN,
            "UPSTREAM__PLAN": "professional",
            "TOPICS__ENSURE": "true",
            "HTTP__HOST": "127.0.0.1",
            "HTTP__PORT": "0",
            "SHUTDOWN__BUDGET_S": str(BUDGET_S),
            **{f"TOPICS__{kind.upper()}": f"{self.name}.{kind}" for kind in kinds},
        }

    def ticked(self) -> set[str]:
        """Give the symbols of all ticks that were published."""
        return {json.loads(record.value or b"")["symbol"] for record in self.cluster.read_all(f"{self.name}.ticks")}


class Bridge(Container):
    """`run`, asked over HTTP."""

    def __init__(self, place: Place, *, read_only: bool = True) -> None:
        super().__init__(place.image.engine, place.image.tag, settings=place.settings, read_only=read_only)

    def get(self, path: str) -> tuple[int, str]:
        """Ask it; raises ConnectionError where it does not listen yet."""
        started = re.search(r'"http_port": *(\d+)', self.output())
        if started is None:
            raise ConnectionError("not started yet")
        return ask(int(started[1]), path)

    def wait_ready(self) -> None:
        """Wait until both probes pass."""
        self.wait_until("healthy", lambda: self.get("/healthz")[0] == 200)
        self.wait_until("ready", lambda: self.get("/readyz")[0] == 200)

    def wait_live(self, symbol: str) -> None:
        """Wait until ticks of a symbol come."""

        def live() -> bool:
            rows = json.loads(self.get("/status")[1])["symbols"]
            return any(row["symbol"] == symbol and row["state"] == "live" for row in rows)

        self.wait_until(f"ticks of {symbol}", live)


@pytest.fixture
def place(image: Image, kafka: Cluster) -> Iterator[Place]:
    with Container(image.engine, image.tag, "simulate", "--port", "0", "--control-port", "0") as venue:
        venue.wait_until("the venue listens", lambda: "control " in venue.output())
        address = re.search(r"^stock +(\S+)\?", venue.output(), re.MULTILINE)
        assert address is not None
        yield Place(image, kafka, address[1], unique("image"))


def test_a_symbol_is_added_by_a_record_and_its_ticks_come_until_sigterm(place: Place) -> None:
    with Bridge(place) as bridge:
        bridge.wait_ready()
        place.cluster.produce(f"{place.name}.subscriptions", [("700.HK", "{}")])
        bridge.wait_live("700.HK")
        assert place.ticked() == {"700.HK"}
        code, took_s = bridge.stop(within_s=BUDGET_S + 10)
        assert code == 0
        assert took_s < BUDGET_S


def test_the_command_line_in_the_container_serves_its_bridge(place: Place) -> None:
    with Bridge(place) as bridge:
        bridge.wait_ready()
        bridge.execute("tickbridge", "subscriptions", "add", "AAPL.US")
        bridge.wait_live("AAPL.US")
        assert "AAPL.US" in bridge.execute("tickbridge", "status", "-o", "json")


def test_nothing_is_written_outside_of_a_volume_even_where_it_could_be(place: Place) -> None:
    with Bridge(place, read_only=False) as bridge:
        bridge.wait_ready()
        place.cluster.produce(f"{place.name}.subscriptions", [("700.HK", "{}")])
        bridge.wait_live("700.HK")
        assert bridge.stop(within_s=BUDGET_S + 10)[0] == 0
        assert place.image.engine.docker("diff", bridge.id).stdout == ""


def test_topics_are_made_and_subscriptions_listed_without_a_token(place: Place) -> None:
    settings = {name: value for name, value in place.settings.items() if name.startswith(("NAME", "KAFKA", "TOPICS__"))}
    assert f"{place.name}.ticks" in place.image.engine.once(place.image.tag, "topics", "ensure", **settings)
    assert "700.HK" not in place.image.engine.once(place.image.tag, "subscriptions", "list", **settings)
