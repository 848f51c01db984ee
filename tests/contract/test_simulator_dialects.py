"""The simulator in its other dialects, over a real socket: pings are heartbeats, and may be left unanswered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from bridge.simulator import Switches
from tests.contract.simulator_clients import SOON, Client, simulator

every_dialect = pytest.mark.parametrize("dialect", ["action-code", "action-symbols"])


def request(dialect: str, action: str, code: str) -> str:
    if dialect == "action-code":
        return json.dumps({"cmd_id": 22004, "action": action, "code": [code]})
    return json.dumps({"action": action, "symbols": [code]})


@every_dialect
def test_a_subscribed_code_ticks_until_it_is_unsubscribed(dialect: str) -> None:
    code = {"action-code": "NASDAQ:AAPL", "action-symbols": "AAPL"}[dialect]
    with simulator(dialect=dialect) as sim, Client(sim) as client:
        client.ws.send(request(dialect, "subscribe", code))
        sim.wait_until_subscribed(code)
        sim.tick_now(code, price="1.50")
        tick: dict[str, Any] = json.loads(client.ws.recv(timeout=SOON))
        assert (tick["code" if dialect == "action-code" else "symbol"], tick["price"]) == (code, "1.50")
        client.ws.send(request(dialect, "unsubscribe", code))
        sim.wait_until_subscribed()
        sim.tick_now(code)
        assert [one.fate for one in sim.record.ticks(code)] == ["sent", "absent"]


@every_dialect
def test_a_ping_is_answered_and_is_the_heartbeat(dialect: str) -> None:
    with simulator(dialect=dialect, heartbeat_cut_s=0.5) as sim, Client(sim) as client:
        for number in range(4):
            assert client.ws.ping(f"p{number}").wait(SOON)
            assert len(sim.record.heartbeats()) == number + 1
        assert all(beat.answered_at is not None for beat in sim.record.heartbeats())
        sim.wait_for(lambda record: record.connections[0].closed_at, timeout=SOON)
        assert sim.record.connections[0].close_reason == "no heartbeat"


def test_in_the_official_dialect_a_ping_is_no_heartbeat() -> None:
    with simulator(Switches(rate=0, heartbeat_mute=True)) as sim, Client(sim) as client:
        assert client.ws.ping("p").wait(SOON)
        assert sim.record.heartbeats() == []


@every_dialect
def test_pings_can_be_left_without_a_pong_while_ticks_go_on(dialect: str) -> None:
    code = {"action-code": "NASDAQ:AAPL", "action-symbols": "AAPL"}[dialect]
    with simulator(dialect=dialect) as sim, Client(sim) as client:
        client.ws.send(request(dialect, "subscribe", code))
        sim.wait_until_subscribed(code)
        sim.switches.heartbeat_mute = True
        ponged = client.ws.ping("lost")
        sim.wait_for(lambda record: record.heartbeats())
        sim.tick_now(code)
        client.ws.recv(timeout=SOON)
        assert not ponged.is_set()
        assert [beat.answered_at for beat in sim.record.heartbeats()] == [None]
        sim.switches.heartbeat_mute = False
        assert client.ws.ping("heard").wait(SOON)


@every_dialect
def test_a_binary_frame_is_refused_as_ever(dialect: str) -> None:
    with simulator(dialect=dialect) as sim, Client(sim) as client:
        client.ws.send(b"\x00")
        with pytest.raises(ConnectionClosed):
            client.ws.recv(timeout=SOON)
