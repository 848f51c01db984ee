"""What the bridge does with what it cannot use: settings, Kafka, control records, frames."""

import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.simulator import DEFAULT_TOKEN, Simulator
from tests.e2e.conftest import World
from tests.support.kafka import KafkaBroker
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

#: Rubbish inside a sound WebSocket: counted, and the connection stays. Name -> kind of frame in the metrics.
TOLERATED = {
    "not-json": "not_json",
    "empty-text": "not_json",
    "deep-json": "not_json",
    "json-null": "wrong_type",
    "json-array": "wrong_type",
    "unknown-cmd": "unknown",
    "depth-push": "depth",
    "uncorrelated-error": "answer",
    "stray-ack": "answer",
    "binary": "binary",
    "fragments": "tick",
    "one-byte-writes": "tick",
    "huge-text": "oversized",
    "ping": "ping",
}
#: Rubbish that breaks the WebSocket itself. Name -> the close code it must be answered with (RFC 6455 section 7.4.1).
BREAKING = {
    "invalid-utf8": 1007,
    "masked": 1002,
    "reserved-bits": 1002,
    "reserved-opcode": 1002,
    "oversized-control": 1002,
    "fragmented-control": 1002,
    "stray-continuation": 1002,
}
#: Tick pushes that hold no tick: received and invalid.
INVALID_TICKS = (
    "wrong-types", "data-list", "missing-fields", "price-zero", "price-negative", "price-nan", "time-1970",
    "time-far-future",
)  # fmt: skip


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def frames(bridge: BridgeProcess, kind: str) -> float:
    """Read one counter of frames."""
    text = bridge.get("/metrics")[1].decode()
    found = re.search(rf'tickbridge_upstream_frames_total{{kind="{kind}"}} (\S+)', text)
    return float(found.group(1)) if found else 0.0


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("HTTP__PORT", "abc", ("TICKBRIDGE_HTTP__PORT", "abc", "0 to 65535")),
        ("UPSTREAM__PLAN", "gold", ("TICKBRIDGE_UPSTREAM__PLAN", "gold", "professional")),
        ("UPSTREAM__URL", "http://venue", ("TICKBRIDGE_UPSTREAM__URL", "wss://")),
        ("UPSTREAM__TOKEN_FILE", "/no/such/file", ("TICKBRIDGE_UPSTREAM__TOKEN_FILE", "/no/such/file", "readable")),
        ("UPSTREAM__DIALECT", "klingon", ("TICKBRIDGE_UPSTREAM__DIALECT", "klingon", "alltick")),
        ("KAFKA__EXTRA", '{"acks": 1}', ("TICKBRIDGE_KAFKA__EXTRA", "acks")),
        ("LOG__LEVEL", "loud", ("TICKBRIDGE_LOG__LEVEL", "loud", "debug")),
        ("UPSTREAM__TOKN", "x", ("TICKBRIDGE_UPSTREAM__TOKN", "no setting")),
    ],
)
def test_a_bad_setting_ends_with_2_and_one_line_that_names_it(
    make_bridge: MakeBridge, setting: str, value: str, says: tuple[str, ...]
) -> None:
    base = {"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    if setting != "UPSTREAM__TOKEN_FILE":
        base["UPSTREAM__TOKEN"] = "very-secret-token"
    bridge = make_bridge({**base, setting: value})
    assert bridge.wait(20) == 2
    assert len(bridge.output) == 1
    assert all(word in bridge.output[0] for word in says)
    assert "very-secret-token" not in bridge.output[0]


def test_a_missing_token_ends_with_2_and_names_both_ways_to_give_it(make_bridge: MakeBridge) -> None:
    bridge = make_bridge({"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert bridge.wait(20) == 2
    assert "UPSTREAM__TOKEN" in bridge.output[0]
    assert "UPSTREAM__TOKEN_FILE" in bridge.output[0]


def test_missing_topics_end_with_3_and_are_named_with_the_remedy(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = make_bridge(world.settings(venue, TOPICS__TICKS="no-such-ticks", TOPICS__GAPS="no-such-gaps"))
    assert bridge.wait(30) == 3
    line = bridge.wait_for("kafka_unusable")
    assert "no-such-ticks" in line["what"]
    assert "no-such-gaps" in line["what"]
    assert "topics ensure" in line["remedy"]


def test_kafka_out_of_reach_at_start_is_waited_for_and_said(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bridge = make_bridge(world.settings(venue, KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}"))
    bridge.wait_for("kafka_out_of_reach")
    assert bridge.get("/healthz")[0] == 200
    status, body = bridge.get("/readyz")
    assert status == 503
    assert not json.loads(body)["checks"]["group"]["ok"]
    assert not venue.record.connections
    assert bridge.stop() == 0


def test_a_second_signal_stops_at_once(make_venue: MakeVenue, make_bridge: MakeBridge, own_kafka: KafkaBroker) -> None:
    own_kafka.cluster.warm_up()
    world = World(own_kafka.cluster)
    venue = make_venue(rate=100)
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue, SHUTDOWN__BUDGET_S="60"))
    bridge.wait_until("ticks", lambda: bridge.status()["accounts"]["published"] > 10)
    own_kafka.suspend()  # so that the first signal has something to wait for
    bridge.wait_until("ticks wait", lambda: bridge.status()["accounts"]["in_flight"] > 10)
    bridge.process.send_signal(signal.SIGTERM)
    bridge.wait_for("stopping")
    assert bridge.stop(timeout_s=10) == 4
    assert bridge.count("stopped") == 0


def test_what_cannot_be_delivered_in_time_is_counted_and_ends_with_4(
    make_venue: MakeVenue, make_bridge: MakeBridge, own_kafka: KafkaBroker
) -> None:
    own_kafka.cluster.warm_up()
    world = World(own_kafka.cluster)
    venue = make_venue(rate=100)
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue, SHUTDOWN__BUDGET_S="3"))
    bridge.wait_until("ticks", lambda: bridge.status()["accounts"]["published"] > 10)
    own_kafka.suspend()
    bridge.wait_until("ticks wait", lambda: bridge.status()["accounts"]["in_flight"] > 10)
    assert bridge.stop() == 4
    accounts = bridge.wait_for("stopped")
    assert accounts["balanced"]
    assert accounts["undelivered"] == accounts["in_flight"] > 10


def test_bad_control_records_are_counted_and_stop_nothing(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    bad: list[tuple[str | bytes | None, str | bytes | None]] = [
        ("A.US", b"{"), ("B.US", b"[]"), ("C.US", b'{"priority":"high"}'), (b"\xff", b"{}"),
        ("has space", b"{}"), ("D.US", b"null"), ("E.US", b'{"stale_after_s":-1}'), ("F.US", b" " * 70_000),
    ]  # fmt: skip
    world.cluster.produce(world.topic("subscriptions"), bad)
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", timeout=20)
    line = f'tickbridge_control_records_total{{result="invalid"}} {len(bad)}.0'
    bridge.wait_until("all counted", lambda: line in bridge.get("/metrics")[1].decode())
    world.cluster.produce(world.topic("subscriptions"), [("AAPL.US", b"rubbish")])
    world.subscribe("TSLA.US")
    venue.wait_until_subscribed("AAPL.US", "TSLA.US")
    assert bridge.stop() == 0


def test_bad_frames_are_counted_and_the_connection_stays(
    world: World, venue: Simulator, make_bridge: MakeBridge
) -> None:
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue, UPSTREAM__SILENCE_S="10"))
    venue.wait_until_subscribed("AAPL.US", timeout=20)
    for name, kind in TOLERATED.items():
        before = frames(bridge, kind)
        venue.faults.send_rubbish(name)
        bridge.wait_until(f"{name} counted as {kind}", lambda: frames(bridge, kind) > before)  # noqa: B023
    invalid = bridge.status()["accounts"]["invalid"]
    for name in INVALID_TICKS:
        venue.faults.send_rubbish(name)
    expected = invalid + len(INVALID_TICKS)
    bridge.wait_until("ticks counted invalid", lambda: bridge.status()["accounts"]["invalid"] == expected)
    assert len(venue.record.connections) == 1
    assert bridge.stop() == 0
    assert bridge.wait_for("stopped")["balanced"]


@pytest.mark.parametrize(("name", "code"), BREAKING.items())
def test_a_broken_websocket_is_closed_with_the_right_code_and_connected_anew(
    world: World, venue: Simulator, make_bridge: MakeBridge, name: str, code: int
) -> None:
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue))
    venue.wait_until_subscribed("AAPL.US", timeout=20)
    venue.faults.send_rubbish(name)
    bridge.wait_for("upstream_disconnected", reason="protocol")
    venue.wait_for(lambda record: len(record.connections) == 2, timeout=10)
    venue.wait_for(lambda record: record.connections[0].client_close_code == code)
    venue.wait_until_subscribed("AAPL.US")
    assert bridge.stop() == 0


def test_the_token_is_percent_encoded_and_shown_nowhere(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    token = "p%l/u+s &c=1"
    venue = make_venue(switches={"tokens": {token}})
    file = tmp_path / "token"
    file.write_text("wrong-token\n")
    settings = world.settings(venue, UPSTREAM__TOKEN_FILE=str(file))
    del settings["UPSTREAM__TOKEN"]
    world.subscribe("AAPL.US")
    bridge = make_bridge({**settings, "UPSTREAM__RECONNECT_MAX_S": "60", "LOG__LEVEL": "DEBUG"})
    bridge.wait_for("upstream_failed", reason="token")
    assert bridge.get("/readyz")[0] == 503
    file.write_text(f"{token}\n")  # noticed at once, not after the minute
    venue.wait_until_subscribed("AAPL.US", timeout=10)
    pages = [bridge.get(path)[1].decode() for path in ("/metrics", "/status", "/readyz", "/")]
    assert bridge.stop() == 0
    shown = "\n".join([*bridge.output, *pages])
    for secret in (token, "p%25l", "wrong-token", DEFAULT_TOKEN):
        assert secret not in shown
