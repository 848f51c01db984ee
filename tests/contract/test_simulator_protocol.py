"""The running simulator keeps AllTick's documented protocol, seen by the clients that people use.

A long file: it follows the protocol from the upgrade to the end, one behaviour per test.
"""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
import websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches
from bridge.simulator.market import Walk
from tests.contract.simulator_clients import CANCEL, DEPTH, HEARTBEAT, SOON, TICKS, Client, RawClient, masked, simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with simulator() as sim:
        yield sim


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    where = tmp_path_factory.mktemp("pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(str(where / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(where / "cert.pem"))
    return {"cert": where / "cert.pem", "key": where / "key.pem"}


def refusal(sim: Simulator, **how: Any) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught:
        Client(sim, **how)
    return caught.value.response.status_code, bytes(caught.value.response.body)


# Upgrade.


def test_a_bad_token_is_refused_with_401_and_json(sim: Simulator) -> None:
    status, body = refusal(sim, token="wrong")
    assert (status, json.loads(body)["ret"]) == (401, 401)
    assert [(one.status, one.path) for one in sim.record.refused_upgrades] == [(401, "/quote-stock-b-ws-api")]


def test_a_missing_token_is_refused_with_401(sim: Simulator) -> None:
    assert refusal(sim, token="") == (401, b'{"ret":401,"msg":"token is required"}')


def test_a_second_connection_on_a_plan_of_one_is_refused_with_429() -> None:
    with simulator(plan="free") as sim, Client(sim), Client(sim, "other"):
        assert refusal(sim)[0] == 429
        assert [one.rule for one in sim.record.violations] == ["connections"]


def test_a_reconnect_before_its_time_is_refused_with_429() -> None:
    with simulator(reconnect_s=0.3) as sim:
        Client(sim).close()
        closed = sim.wait_for(lambda record: record.connections[0].closed_at, SOON)
        assert refusal(sim)[0] == 429
        (violation,) = sim.record.violations
        assert violation.rule == "reconnect_interval"
        assert violation.too_early_s == pytest.approx(closed + 0.3 - violation.at, abs=0.001)


def test_plain_http_is_told_to_upgrade(sim: Simulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=SOON)
    connection.request("GET", f"/quote-stock-b-ws-api?token={DEFAULT_TOKEN}")
    assert connection.getresponse().status == 426
    connection.close()


def test_no_extension_is_ever_agreed_on(sim: Simulator) -> None:
    with RawClient(sim) as client:
        assert client.head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in client.head.lower()


# Messages.


def test_websocket_client_subscribes_and_receives_ticks(sim: Simulator) -> None:
    ws = websocket.create_connection(f"{sim.url()}?token={DEFAULT_TOKEN}", timeout=SOON)
    ws.send(json.dumps({"cmd_id": TICKS, "seq_id": 1, "trace": "a", "data": {"symbol_list": [{"code": "700.HK"}]}}))
    assert json.loads(ws.recv())["cmd_id"] == 22005
    sim.tick_now("700.HK", price="1.500000")
    assert json.loads(ws.recv())["data"]["price"] == "1.500000"
    ws.close()
    assert sim.wait_for(lambda record: record.connections[0].client_close_code, SOON) == 1000


def test_a_tick_is_one_text_frame_with_the_documented_fields(sim: Simulator) -> None:
    with Client(sim) as client:
        client.subscribe("700.HK")
        tick = sim.tick_now("700.HK")
        frame = client.ws.recv(timeout=SOON)
        assert isinstance(frame, str)
        assert json.loads(frame) == {
            "cmd_id": 22998,
            "data": {**tick._asdict(), "seq": str(tick.seq), "tick_time": str(tick.tick_time)},
        }


def test_a_new_list_replaces_the_old_one_and_its_ticks_end(sim: Simulator) -> None:
    with Client(sim) as client:
        client.subscribe("700.HK", "AAPL.US")
        client.subscribe("AAPL.US", "TSLA.US")
        for code in ("700.HK", "AAPL.US", "TSLA.US"):
            sim.tick_now(code)
        assert [tick["code"] for tick in client.ticks_before_heartbeat()] == ["AAPL.US", "TSLA.US"]
        assert [one.codes for one in sim.requests(TICKS)] == [("700.HK", "AAPL.US"), ("AAPL.US", "TSLA.US")]


@pytest.mark.parametrize(("kind", "expected"), [(0, []), (1, ["700.HK"]), (2, [])])
def test_a_cancel_of_ticks_ends_them(sim: Simulator, kind: int, expected: list[str]) -> None:
    with Client(sim) as client:
        client.subscribe("700.HK")
        assert client.ask(CANCEL, {"cancel_type": kind})["cmd_id"] == 22007
        sim.tick_now("700.HK")
        assert [tick["code"] for tick in client.ticks_before_heartbeat()] == expected


def test_depth_is_acknowledged_and_never_pushed(sim: Simulator) -> None:
    with Client(sim) as client:
        assert client.ask(DEPTH, {"symbol_list": [{"code": "700.HK", "depth_level": 5}]})["cmd_id"] == 22003
        sim.tick_now("700.HK")
        assert client.ticks_before_heartbeat() == []


def test_a_request_in_fragments_is_one_request(sim: Simulator) -> None:
    with Client(sim) as client:
        client.ws.send(['{"cmd_id":22000,"seq_id":5,', '"trace":"x","data":{}}'])
        assert client.receive()["seq_id"] == 5


def test_protocol_pings_are_answered(sim: Simulator) -> None:
    with Client(sim) as client:
        assert client.ws.ping(b"hello").wait(SOON)


def test_codes_of_the_wrong_endpoint_are_answered_600(sim: Simulator) -> None:
    with Client(sim) as stock, Client(sim, "other") as other:
        assert [stock.subscribe("BTCUSDT"), other.subscribe("700.HK")] == [600, 600]
        assert [stock.subscribe("700.HK"), other.subscribe("BTCUSDT")] == [200, 200]


def test_a_malformed_envelope_is_answered_400_and_the_connection_stays(sim: Simulator) -> None:
    with Client(sim) as client:
        client.ws.send("what?")
        assert client.receive()["ret"] == 400
        assert client.ask(TICKS, {"symbol_list": []}, trace="x" * 65)["ret"] == 400
        assert client.ask(22099, {})["ret"] == 402
        assert client.ticks_before_heartbeat() == []


# Rules of RFC 6455 that a client must keep.


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x02{}", 1002),  # not masked (5.1)
        (masked(0xC1, b"{}"), 1002),  # a reserved bit (5.2)
        (masked(0x83, b"{}"), 1002),  # a reserved opcode (5.2)
        (masked(0x80, b"{}"), 1002),  # a continuation of nothing (5.4)
        (masked(0x09, b""), 1002),  # a fragmented ping (5.5)
        (masked(0x82, b"{}"), 1003),  # binary
        (masked(0x81, b"\xff"), 1007),  # not UTF-8 (8.1)
        (b"\x81\xff" + (2**21).to_bytes(8, "big") + bytes(4), 1009),  # 2 MiB
    ],
)
def test_a_client_that_breaks_the_framing_is_closed_with_the_code_for_it(
    sim: Simulator, frames: bytes, code: int
) -> None:
    with RawClient(sim) as client:
        client.sock.sendall(frames)
        answer = client.read_to_end()
        assert (answer[0], int.from_bytes(answer[2:4], "big")) == (0x88, code)
    reason = sim.wait_for(lambda record: record.connections[0].close_reason, SOON)
    assert reason.startswith("client")


def test_a_client_that_vanishes_is_recorded_as_lost(sim: Simulator) -> None:
    RawClient(sim).sock.close()
    assert sim.wait_for(lambda record: record.connections[0].close_reason, SOON) == "client lost"


# Pacing and heartbeats.


def test_requests_too_close_together_are_answered_605_and_not_carried_out() -> None:
    with simulator(request_interval_s=30) as sim, Client(sim) as client:
        assert [client.subscribe("700.HK"), client.subscribe("AAPL.US")] == [200, 605]
        assert sim.record.subscribed == {"700.HK"}
        assert [one.rule for one in sim.record.violations] == ["request_interval"]


def test_requests_of_two_connections_too_close_together_are_answered_605() -> None:
    with simulator(token_interval_s=30) as sim, Client(sim) as first, Client(sim) as second:
        assert [first.subscribe("700.HK"), second.subscribe("AAPL.US")] == [200, 605]
        assert second.ask(HEARTBEAT, {})["ret"] == 200


def test_a_client_told_606_is_closed() -> None:
    with simulator(Switches(rate=0, pacing="606"), request_interval_s=30) as sim, Client(sim) as client:
        assert [client.subscribe("700.HK"), client.subscribe("AAPL.US")] == [200, 606]
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert sim.wait_for(lambda record: record.connections[0].close_reason, SOON) == "ret 606"


def test_a_reconnect_told_606_is_accepted_and_closed() -> None:
    with simulator(Switches(rate=0, pacing="606"), reconnect_s=30) as sim:
        Client(sim).close()
        sim.wait_for(lambda record: record.connections[0].closed_at, SOON)
        with Client(sim) as client:
            assert client.receive()["ret"] == 606
            with pytest.raises(ConnectionClosed):
                client.receive()


def test_time_scale_shortens_the_patience_with_a_silent_client() -> None:
    with Simulator(SimulatorConfig(time_scale=0.001)) as sim, Client(sim):
        sim.wait_for(lambda record: record.connections[0].close_reason == "no heartbeat", SOON)


@pytest.mark.parametrize(("hangup", "close_code"), [("close", 1000), ("cut", 1006), ("reset", 1006)])
def test_a_connection_without_heartbeat_is_hung_up(hangup: Any, close_code: int) -> None:
    with simulator(Switches(rate=0, hangup=hangup), heartbeat_cut_s=0.1) as sim, Client(sim) as client:
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert client.ws.close_code == close_code
        closed = sim.wait_for(lambda record: record.connections[0].closed_at, SOON)
        connection = sim.record.connections[0]
        assert connection.close_reason == "no heartbeat"
        assert closed - connection.opened_at >= 0.1


def test_each_heartbeat_puts_the_cut_off() -> None:
    with simulator(heartbeat_cut_s=0.2) as sim, Client(sim) as client:
        for _ in range(4):
            assert client.ask(HEARTBEAT, {})["ret"] == 200
            with pytest.raises(TimeoutError):
                client.ws.recv(timeout=0.1)
        closed = sim.wait_for(lambda record: record.connections[0].closed_at, SOON)
        assert 0.2 <= closed - sim.record.heartbeats()[-1].at < 0.4


# Ticks over time.


def test_ticks_come_by_themselves_at_the_rate() -> None:
    with simulator(Switches(rate=1000), codes=("700.HK", "AAPL.US")) as sim, Client(sim) as client:
        began = sim.record.connections[0].opened_at
        client.subscribe("700.HK", "AAPL.US")
        ticks = client.ticks(300)
        took = int(ticks[-1]["tick_time"]) / 1000 - began
        assert 0.2 < took < 3
        assert {tick["code"] for tick in ticks} == {"700.HK", "AAPL.US"}


def test_every_tick_sent_is_received_once_and_in_order() -> None:
    with simulator(Switches(rate=20_000)) as sim, Client(sim) as client:
        client.subscribe("700.HK", "AAPL.US", "TSLA.US")
        received = client.ticks(2000)
        sim.switches.rate = 0
        received += client.ticks_before_heartbeat()
        assert sim.sent_total == len(received)
        for code in ("700.HK", "AAPL.US", "TSLA.US"):
            seqs = [int(tick["seq"]) for tick in received if tick["code"] == code]
            assert seqs == sim.sent(code)
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_seq_counts_on_while_nobody_listens(sim: Simulator) -> None:
    with Client(sim) as client:
        client.subscribe("700.HK")
        sim.tick_now("700.HK")
        client.subscribe("AAPL.US")
        sim.tick_now("700.HK")
    sim.tick_now("700.HK")
    with Client(sim) as client:
        client.subscribe("700.HK")
        sim.tick_now("700.HK")
        assert client.ticks(1)[0]["seq"] == "4"
    assert (sim.sent("700.HK"), sim.last_seq("700.HK")) == ([1, 4], 4)


def test_prices_are_a_function_of_seed_code_and_seq() -> None:
    walk = Walk(42, "700.HK")
    with simulator(seed=42) as sim:
        assert [sim.tick_now("700.HK").price for _ in range(5)] == [walk.tick(0).price for _ in range(5)]


def test_a_tick_now_can_have_any_field_overridden(sim: Simulator) -> None:
    with Client(sim) as client:
        client.subscribe("700.HK")
        sim.tick_now("700.HK", price="7.000000", seq=99, tick_time=5, volume="1", turnover="7", trade_direction=2)
        assert client.ticks(1)[0] == {
            "code": "700.HK",
            "seq": "99",
            "tick_time": "5",
            "price": "7.000000",
            "volume": "1",
            "turnover": "7",
            "trade_direction": 2,
        }


def test_two_connections_each_get_their_own_codes_and_overlap(sim: Simulator) -> None:
    with Client(sim) as first, Client(sim) as second:
        first.subscribe("700.HK", "AAPL.US")
        second.subscribe("AAPL.US")
        sim.tick_now("700.HK")
        sim.tick_now("AAPL.US")
        assert [tick["code"] for tick in first.ticks_before_heartbeat()] == ["700.HK", "AAPL.US"]
        assert [tick["code"] for tick in second.ticks_before_heartbeat()] == ["AAPL.US"]
    overlap = sim.wait_for(lambda record: record.overlaps[0] if record.overlaps[0].ended_at else None, SOON)
    assert (overlap.first, overlap.second, overlap.within_plan) == (1, 2, True)


# The simulator itself.


def test_it_speaks_wss(pem: dict[str, Any], tls: ssl.SSLContext) -> None:
    with simulator(**pem) as sim, Client(sim, tls=tls) as client:
        assert sim.url().startswith("wss://")
        client.subscribe("700.HK")
        sim.tick_now("700.HK")
        assert client.ticks(1)[0]["code"] == "700.HK"


@pytest.mark.parametrize("act", ["cut", "reset", "close"])
def test_wss_connections_can_be_ended_too(pem: dict[str, Any], tls: ssl.SSLContext, act: str) -> None:
    with simulator(**pem) as sim, Client(sim, tls=tls) as client:
        sim.faults.perform(act)
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert sim.wait_for(lambda record: record.connections[0].close_reason, SOON) == f"fault: {act}"


def test_a_client_that_speaks_no_tls_does_not_disturb_others_nor_the_end(
    pem: dict[str, Any], tls: ssl.SSLContext
) -> None:
    with simulator(**pem) as sim, socket.create_connection(("127.0.0.1", sim.port), timeout=SOON) as silent:
        with socket.create_connection(("127.0.0.1", sim.port), timeout=SOON) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while plain.recv(1000):
                    pass
        with Client(sim, tls=tls) as client:
            assert client.subscribe("700.HK") == 200
        sim.stop()
        assert silent.recv(1) == b""


def test_a_flood_goes_through_tls(pem: dict[str, Any], tls: ssl.SSLContext) -> None:
    with simulator(**pem, flood=True, flood_total=5000) as sim, Client(sim, tls=tls) as client:
        client.subscribe("700.HK", "AAPL.US")
        assert len(client.ticks(5000)) == 5000


def test_a_stopped_simulator_starts_again_with_port_market_and_record(sim: Simulator) -> None:
    port = sim.port
    with Client(sim) as client:
        client.subscribe("700.HK")
        sim.tick_now("700.HK")
        sim.stop()
        client.ticks(1)
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert client.ws.close_code == 1001
    with pytest.raises(OSError, match="refused"):
        Client(sim)
    sim.start()
    assert (sim.port, sim.last_seq("700.HK")) == (port, 1)
    Client(sim).close()
    assert [one.id for one in sim.record.connections] == [1, 2]


def test_a_taken_port_is_an_error_and_leaves_nothing_behind(sim: Simulator) -> None:
    second = simulator(port=sim.port)
    with pytest.raises(OSError, match="in use"):
        second.start()
    second.stop()


def test_waiting_for_codes_that_do_not_come_says_what_came(sim: Simulator) -> None:
    with Client(sim) as client:
        client.subscribe("700.HK")
        sim.wait_until_subscribed("700.HK", timeout=SOON)
        with pytest.raises(TimeoutError, match=r"AAPL\.US awaited, but subscribed is 700\.HK"):
            sim.wait_until_subscribed("AAPL.US", timeout=0.01)
