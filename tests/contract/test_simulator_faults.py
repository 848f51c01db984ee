"""The running simulator misbehaves exactly as its switches and acts say, seen by a real client.

A long file: every switch and every act has its test here, so that none can rot unseen.
"""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.simulator import Simulator, Switches
from bridge.simulator.control import ControlError, ControlPort, ask
from bridge.simulator.rubbish import MAKERS, SOUND
from tests.contract.simulator_clients import HEARTBEAT, SOON, TICKS, Client, RawClient, masked, simulator


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with simulator() as sim:
        yield sim


@pytest.fixture
def client(sim: Simulator) -> Iterator[Client]:
    with Client(sim) as client:
        assert client.subscribe("700.HK") == 200
        yield client


def seqs(ticks: list[dict[str, Any]]) -> list[int]:
    return [int(tick["seq"]) for tick in ticks]


def fates(sim: Simulator, code: str) -> list[str]:
    return [tick.fate for tick in sim.record.ticks(code)]


def close_reason(sim: Simulator) -> str:
    return sim.wait_for(lambda record: record.connections[0].close_reason, SOON)


# Ticks and answers withheld.


def test_muted_the_market_goes_on_but_nothing_is_sent(sim: Simulator, client: Client) -> None:
    sim.switches.mute = True
    sim.tick_now("700.HK")
    assert client.ticks_before_heartbeat() == []
    sim.switches.mute = False
    sim.tick_now("700.HK")
    assert seqs(client.ticks(1)) == sim.sent("700.HK") == [2]
    assert fates(sim, "700.HK") == ["withheld", "sent"]


def test_heartbeats_can_go_unanswered_while_ticks_come(sim: Simulator, client: Client) -> None:
    sim.switches.heartbeat_mute = True
    client.send(HEARTBEAT, {})
    sim.wait_for(lambda record: record.heartbeats(), SOON)
    sim.tick_now("700.HK")
    assert seqs(client.ticks(1)) == [1]
    assert sim.record.heartbeats()[0].answered_at is None


def test_half_open_nothing_is_read_or_sent_until_it_ends(sim: Simulator, client: Client) -> None:
    sim.switches.half_open = True
    client.send(HEARTBEAT, {})
    sim.tick_now("700.HK")
    with pytest.raises(TimeoutError):
        client.ws.recv(timeout=0.05)
    assert sim.record.heartbeats() == []
    assert sim.record.connections[0].is_open
    sim.switches.half_open = False
    assert client.receive()["cmd_id"] == HEARTBEAT + 1
    assert sim.sent("700.HK") == []
    assert fates(sim, "700.HK") == ["absent"]


def test_deaf_nothing_is_read_while_ticks_come_and_nobody_is_cut_for_it() -> None:
    with simulator(Switches(rate=0), heartbeat_cut_s=0.1) as sim, Client(sim) as client:
        assert client.subscribe("700.HK") == 200
        sim.switches.deaf = True
        client.send(HEARTBEAT, {})
        sim.switches.rate = 100
        last = client.ticks(30)[-1]  # three times as long as a connection without heartbeats may live
        assert int(last["seq"]) == 30
        assert sim.record.heartbeats() == []
        sim.switches.update(deaf=False, rate=0)
        sim.wait_for(lambda record: record.heartbeats(), SOON)


def test_a_silent_code_is_accepted_and_never_ticks_by_itself(sim: Simulator, client: Client) -> None:
    assert client.subscribe("700.HK", "AAPL.US") == 200
    sim.switches.update(silent=["700.HK"], rate=500)
    assert {tick["code"] for tick in client.ticks(20)} == {"AAPL.US"}
    sim.switches.rate = 0
    client.ticks_before_heartbeat()
    assert sim.last_seq("700.HK") == 0
    sim.tick_now("700.HK")
    assert seqs(client.ticks(1)) == [1]


def test_ticks_that_nobody_could_get_are_remembered(sim: Simulator, client: Client) -> None:
    sim.tick_now("AAPL.US")  # nobody ever asked for it: nobody can miss it
    assert client.subscribe("700.HK", "AAPL.US") == 200
    sim.tick_now("AAPL.US")
    assert client.subscribe("700.HK") == 200
    sim.tick_now("AAPL.US")
    client.close()
    sim.wait_for(lambda record: not record.open_connections, SOON)
    sim.tick_now("700.HK")
    assert fates(sim, "AAPL.US") == ["sent", "absent"]
    assert fates(sim, "700.HK") == ["absent"]


def test_a_tick_that_happens_while_a_connection_ends_is_absent(sim: Simulator) -> None:
    with RawClient(sim) as client:
        subscribe = {"cmd_id": TICKS, "seq_id": 1, "trace": "t", "data": {"symbol_list": [{"code": "A.US"}]}}
        client.sock.sendall(masked(0x81, json.dumps(subscribe, separators=(",", ":")).encode()))
        sim.wait_until_subscribed("A.US")
        sim.faults.cut()
        sim.tick_now("A.US")
        assert fates(sim, "A.US") == ["absent"]


def test_half_open_an_upgrade_is_not_answered(sim: Simulator) -> None:
    sim.switches.half_open = True
    with socket.create_connection(("127.0.0.1", sim.port), timeout=0.05) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_a_client_that_does_not_read_has_its_ticks_withheld_and_memory_stays_bounded() -> None:
    with simulator(Switches(rate=0), send_buffer_bytes=100_000) as sim, RawClient(sim) as client:
        subscribe = {"cmd_id": TICKS, "seq_id": 1, "trace": "t", "data": {"symbol_list": [{"code": "A.US"}]}}
        client.sock.sendall(masked(0x81, json.dumps(subscribe, separators=(",", ":")).encode()))
        sim.wait_until_subscribed("A.US")
        sim.switches.rate = 100_000
        sim.wait_for(lambda record: record.connections[0].ticks_withheld > 100, 20)
        sim.switches.rate = 0
        connection = sim.record.connections[0]
        assert connection.ticks_sent + connection.ticks_withheld == sim.last_seq("A.US")


def test_ticks_are_lost_for_a_while_around_a_replacement(sim: Simulator, client: Client) -> None:
    sim.switches.replacement_gap_s = 0.4
    client.subscribe("700.HK", "AAPL.US")
    sim.tick_now("700.HK")
    assert client.ticks_before_heartbeat() == []
    assert fates(sim, "700.HK") == ["withheld"]
    sim.switches.rate = 200
    first = client.ticks(1)[0]
    replaced = sim.requests(TICKS)[-1].at
    assert int(first["tick_time"]) / 1000 >= replaced + 0.399


def test_ticks_of_removed_codes_go_on_for_a_while(sim: Simulator, client: Client) -> None:
    sim.switches.late_ticks_s = 0.4
    client.subscribe("AAPL.US")
    sim.tick_now("700.HK")
    assert seqs(client.ticks(1)) == [1]
    removed = sim.requests(TICKS)[-1].at
    sim.switches.rate = 400
    late = [tick for tick in client.ticks(250) if tick["code"] == "700.HK"]
    assert late
    assert all(int(tick["tick_time"]) / 1000 <= removed + 0.41 for tick in late)


# Ticks bent.


def test_duplicates_are_sent_twice_and_recorded_twice(sim: Simulator, client: Client) -> None:
    sim.switches.duplicates = 1
    sim.tick_now("700.HK")
    assert seqs(client.ticks_before_heartbeat()) == sim.sent("700.HK") == [1, 1]


def test_reordered_ticks_change_places_in_pairs_and_none_is_lost(sim: Simulator, client: Client) -> None:
    sim.switches.reordered = 1
    for _ in range(5):
        sim.tick_now("700.HK")
    assert seqs(client.ticks_before_heartbeat()) == [2, 1, 4, 3]
    sim.switches.reordered = 0
    assert seqs(client.ticks(1)) == [5]
    assert sim.sent("700.HK") == [2, 1, 4, 3, 5]


def test_a_held_back_tick_is_forgotten_with_its_subscription(sim: Simulator, client: Client) -> None:
    sim.switches.reordered = 1
    sim.tick_now("700.HK")
    client.subscribe("AAPL.US")
    sim.switches.reordered = 0
    assert client.ticks_before_heartbeat() == []
    assert sim.sent("700.HK") == []
    assert fates(sim, "700.HK") == ["withheld"]


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ("seconds", {"seq": "1", "tick_time": "1790000000", "price": "1.500000", "volume": "7"}),
        ("integers", {"seq": 1, "tick_time": 1790000000123, "price": "1.500000", "volume": "7"}),
        ("numbers", {"seq": "1", "tick_time": "1790000000123", "price": 1.5, "volume": 7}),
    ],
)
def test_ticks_can_be_spelt_otherwise(sim: Simulator, client: Client, switch: str, expected: dict[str, Any]) -> None:
    sim.switches.update(**{switch: True})
    sim.tick_now("700.HK", tick_time=1790000000123, price="1.500000", volume="7")
    tick = client.ticks(1)[0]
    assert {name: tick[name] for name in expected} == expected


# Answers.


def test_an_answer_can_be_late_while_the_list_is_in_force_at_once() -> None:
    with simulator(Switches(rate=0, ack_delay_s=2), time_scale=0.05) as sim, Client(sim) as client:
        client.send(TICKS, {"symbol_list": [{"code": "700.HK"}]})
        sim.wait_until_subscribed("700.HK")
        sim.tick_now("700.HK")
        assert [client.receive()["cmd_id"] for _ in range(2)] == [22998, 22005]
        request = sim.wait_for(lambda record: next((one for one in record.requests() if one.answered_at), None), SOON)
        assert request.answered_at is not None
        assert request.answered_at - request.at >= 0.1


def test_answers_can_be_missing_or_carry_a_wrong_seq_id(sim: Simulator, client: Client) -> None:
    sim.switches.drop_acks = 1
    client.send(TICKS, {"symbol_list": [{"code": "AAPL.US"}]})
    sim.wait_until_subscribed("AAPL.US")
    assert client.ticks_before_heartbeat() == []
    sim.switches.wrong_seq_id = True
    assert client.ask(TICKS, {"symbol_list": []})["seq_id"] == 1004


def test_the_next_request_can_be_refused_with_any_ret(sim: Simulator, client: Client) -> None:
    sim.faults.answer_next(603)
    refused = client.ask(TICKS, {"symbol_list": [{"code": "AAPL.US"}]})
    assert (refused["ret"], refused["cmd_id"]) == (603, 22005)
    assert sim.record.subscribed == {"700.HK"}
    sim.faults.answer_next(605, uncorrelated=True)
    refused = client.ask(TICKS, {"symbol_list": [{"code": "AAPL.US"}]})
    assert (refused["ret"], refused["cmd_id"], refused["seq_id"], refused["trace"]) == (605, 0, 0, "")
    assert client.subscribe("AAPL.US") == 200


# Connections ended and refused.


def test_a_reset_reaches_the_client_as_rst(sim: Simulator) -> None:
    with RawClient(sim) as client:
        sim.faults.reset()
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)
    assert close_reason(sim) == "fault: reset"


def test_a_cut_ends_the_stream_without_a_close_frame(sim: Simulator) -> None:
    with RawClient(sim) as client:
        sim.faults.cut()
        assert client.read_to_end() == b""
    assert close_reason(sim) == "fault: cut"


def test_a_close_carries_its_code_and_reason(sim: Simulator, client: Client) -> None:
    sim.faults.close(1012, "see you")
    with pytest.raises(ConnectionClosed):
        client.receive()
    assert (client.ws.close_code, client.ws.close_reason) == (1012, "see you")
    assert close_reason(sim) == "fault: close"
    assert sim.record.connections[0].client_close_code == 1012


def test_an_act_can_be_meant_for_one_connection(sim: Simulator, client: Client) -> None:
    with Client(sim) as second:
        sim.faults.close(connection=2)
        with pytest.raises(ConnectionClosed):
            second.receive()
        assert client.ticks_before_heartbeat() == []
    sim.wait_for(lambda record: [one.is_open for one in record.connections] == [True, False], SOON)


def test_a_connection_that_was_cut_is_read_no_more(sim: Simulator) -> None:
    with RawClient(sim) as client:
        sim.faults.cut()
        client.sock.sendall(masked(0x81, b'{"cmd_id":22000,"seq_id":1,"trace":"t","data":{}}'))
        assert client.read_to_end() == b""
    close_reason(sim)
    assert sim.record.heartbeats() == []


@pytest.mark.parametrize("status", [401, 429, 503])
def test_upgrades_can_be_refused_with_any_status(sim: Simulator, status: int) -> None:
    sim.switches.update(refuse_upgrades=status)
    with pytest.raises(InvalidStatus) as caught:
        Client(sim)
    assert caught.value.response.status_code == status


def test_connections_can_be_accepted_and_closed_at_once(sim: Simulator) -> None:
    sim.switches.accept_then_close = True
    with Client(sim) as client, pytest.raises(ConnectionClosed):
        client.receive()
    assert close_reason(sim) == "accept_then_close"


@pytest.mark.parametrize("act", ["cut", "reset"])
def test_the_venue_still_holds_a_lost_connection_until_it_reaps_it(act: str) -> None:
    switches = Switches(rate=0, max_connections=1, reap_delay_s=3)
    with simulator(switches, time_scale=0.1) as sim:
        with Client(sim):
            sim.faults.perform(act)
            sim.wait_for(lambda record: not record.open_connections, SOON)
        with pytest.raises(InvalidStatus) as caught:
            Client(sim)
        assert caught.value.response.status_code == 429
        assert sim.record.violations == []
        again = connected(sim)
        held = sim.record.connections[0].closed_at
        assert held is not None
        assert again >= held + 0.3


def test_a_client_that_vanishes_is_held_and_one_that_says_good_bye_is_not() -> None:
    with simulator(Switches(rate=0, max_connections=1, reap_delay_s=60)) as sim:
        Client(sim).close()
        sim.wait_for(lambda record: not record.open_connections, SOON)
        with RawClient(sim) as client:
            assert b" 101 " in client.head
        sim.wait_for(lambda record: not record.open_connections, SOON)
        with pytest.raises(InvalidStatus):
            Client(sim)


def test_with_the_one_connection_rule_off_two_connections_show_as_an_overlap_beyond_the_plan() -> None:
    with simulator(Switches(rate=0, refuse_connections=False), plan="free") as sim, Client(sim), Client(sim):
        (overlap,) = sim.record.overlaps
        assert (overlap.first, overlap.second, overlap.within_plan, overlap.ended_at) == (1, 2, False, None)
    ended = sim.record.overlaps[0].ended_at
    assert ended is not None
    assert ended >= overlap.started_at


def connected(sim: Simulator) -> float:
    """Try to connect until the venue lets us; give the moment at which it did."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        with contextlib.suppress(InvalidStatus):
            Client(sim).close()
            return sim.record.connections[-1].opened_at
    raise TimeoutError(f"no connection within {SOON} s")


def test_a_stopped_simulator_refuses_the_upgrade_under_way(sim: Simulator) -> None:
    with socket.create_connection(("127.0.0.1", sim.port), timeout=SOON) as sock:
        sock.sendall(b"GET /quote-stock-b-ws-api HTTP/1.1\r\n")
        sim.stop()
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""


# Rubbish.

#: What a strict client must close the connection for.
FATAL = {
    "fragmented-control",
    "invalid-utf8",
    "masked",
    "oversized-control",
    "reserved-bits",
    "reserved-opcode",
    "stray-continuation",
}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_rubbish_is_sent_once_and_recorded_by_name(sim: Simulator, client: Client, name: str) -> None:
    sim.faults.send_rubbish(name)
    sim.tick_now("700.HK")
    try:
        while b'"seq":"2"' not in _bytes(client.ws.recv(timeout=SOON)):
            pass
    except ConnectionClosed:
        assert name in FATAL
    else:
        assert sim.sent("700.HK") == ([1, 2] if name in SOUND else [2])
    assert [one.name for one in sim.record.rubbish] == [name]


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def test_a_ping_is_answered_by_the_client_with_its_payload(sim: Simulator, client: Client) -> None:
    sim.faults.send_rubbish("ping")
    assert sim.wait_for(lambda record: list(record.connections[0].pongs), SOON) == [b"are you there?"]
    assert client.ticks_before_heartbeat() == []


def test_raw_bytes_go_past_the_websocket_layer(sim: Simulator) -> None:
    with RawClient(sim) as client:
        sim.faults.send_raw(b"\x00\xffanything")
        assert client.sock.recv(100) == b"\x00\xffanything"


def test_unknown_rubbish_is_an_error_that_lists_what_there_is(sim: Simulator) -> None:
    with pytest.raises(ValueError, match="no rubbish 'dirt'"):
        sim.faults.send_rubbish("dirt")


# Flood mode.


def test_a_flood_is_bounded_exact_and_contiguous() -> None:
    with simulator(flood=True, flood_total=10_001) as sim, Client(sim) as client:
        client.subscribe("700.HK", "AAPL.US", "TSLA.US")
        ticks = client.ticks(10_001)
        assert client.ticks_before_heartbeat() == []
        assert (sim.sent_total, sim.record.sent_count("700.HK")) == (10_001, 3334)
        for code in ("700.HK", "AAPL.US", "TSLA.US"):
            found = seqs([tick for tick in ticks if tick["code"] == code])
            assert found == list(range(found[0], found[0] + len(found)))


def test_a_flood_follows_a_new_list_without_a_hole_in_seq() -> None:
    with simulator(flood=True, flood_total=20_000) as sim, Client(sim) as client:
        sim.switches.flood_rate = 50_000
        client.subscribe("700.HK", "AAPL.US")
        client.ticks(100)
        client.send(TICKS, {"symbol_list": [{"code": "700.HK"}]})
        sim.wait_until_subscribed("700.HK")
        sim.switches.flood_rate = 0
        messages = [client.receive() for _ in range(19_901)]
        ticks = [message["data"] for message in messages if message["cmd_id"] == 22998]
        kept = seqs([tick for tick in ticks if tick["code"] == "700.HK"])
        assert kept == list(range(kept[0], kept[0] + len(kept)))
        assert ticks[-1]["code"] == "700.HK"
        assert len(kept) > 10_000


def test_a_flood_keeps_its_pace() -> None:
    with simulator(Switches(flood_rate=5000), flood=True, flood_total=1500) as sim, Client(sim) as client:
        client.subscribe("700.HK")
        began = sim.requests(TICKS)[0].at
        ticks = client.ticks(1500)
        assert 0.25 < int(ticks[-1]["tick_time"]) / 1000 - began < 3


def test_a_flood_waits_for_its_client() -> None:
    with simulator(flood=True, flood_total=500_000) as sim, RawClient(sim) as client:
        subscribe = {"cmd_id": TICKS, "seq_id": 1, "trace": "t", "data": {"symbol_list": [{"code": "A.US"}]}}
        client.sock.sendall(masked(0x81, json.dumps(subscribe, separators=(",", ":")).encode()))
        sim.wait_for(lambda record: record.sent_total > 1000, SOON)
        for _ in range(30):
            before = len(sim.record.heartbeats())
            client.sock.sendall(masked(0x81, b'{"cmd_id":22000,"seq_id":2,"trace":"t","data":{}}'))
            sim.wait_for(lambda record: len(record.heartbeats()) > before, SOON)  # noqa: B023 (called at once)
        assert sim.sent_total < 100_000
        received = 0
        while sim.sent_total < 500_000:
            received += len(client.sock.recv(2**20))
        assert received > 10_000_000


def test_a_flood_can_be_muted_and_goes_on() -> None:
    with simulator(flood=True, flood_total=3000) as sim, Client(sim) as client:
        sim.switches.mute = True
        client.subscribe("700.HK")
        assert client.ticks_before_heartbeat() == []
        sim.switches.mute = False
        assert len(client.ticks(3000)) == 3000


def test_a_flood_refuses_single_ticks() -> None:
    with simulator(flood=True) as sim, pytest.raises(ValueError, match="flood mode sends no single ticks"):
        sim.tick_now("700.HK")


# The control port.


@pytest.fixture
def control(sim: Simulator) -> Iterator[Callable[..., dict[str, Any]]]:
    with ControlPort(sim, 0) as port:
        yield lambda path, texts=None: ask(port.port, path, texts)


def test_the_control_port_changes_switches(sim: Simulator, control: Callable[..., dict[str, Any]]) -> None:
    assert control("/switches", ["mute=true", "tokens=a,b"])["tokens"] == ["a", "b"]
    assert (sim.switches.mute, sim.switches.tokens) == (True, frozenset({"a", "b"}))
    assert control("/switches")["mute"] is True


def test_the_control_port_shows_the_record(client: Client, control: Callable[..., dict[str, Any]]) -> None:
    assert control("/record")["connections"][0]["codes"] == ["700.HK"]


@pytest.mark.parametrize(
    ("act", "close_code"), [("close:1001:bye", 1001), ("close", 1000), ("cut", 1006), ("reset", 1006)]
)
def test_the_control_port_ends_connections(
    client: Client, control: Callable[..., dict[str, Any]], act: str, close_code: int
) -> None:
    control("/acts", [act])
    with pytest.raises(ConnectionClosed):
        client.receive()
    assert client.ws.close_code == close_code


def test_the_control_port_sends_ticks_rubbish_and_bytes(
    sim: Simulator, client: Client, control: Callable[..., dict[str, Any]]
) -> None:
    control("/acts", ["tick:700.HK:price=1.5,seq=9", "rubbish:binary", "raw:8902", "answer:429"])
    assert client.ticks(1)[0]["price"] == "1.5"
    assert isinstance(client.ws.recv(timeout=SOON), bytes)
    assert [one.name for one in sim.record.rubbish] == ["binary", "raw"]
    assert sim.switches.next_ret == 429


@pytest.mark.parametrize(
    ("path", "texts", "complaint"),
    [
        ("/switches", ["mutex=1"], "there is no switch 'mutex'"),
        ("/acts", ["explode"], "there is no act 'explode'"),
        ("/acts", ["close:soon"], "'soon' in 'close:soon' is not a whole number"),
        ("/acts", ["close:1005"], "cannot carry code 1005"),
        ("/acts", ["tick:700.HK:colour=red"], "a tick has the fields code, seq"),
        ("/elsewhere", ["x"], "there is no /elsewhere"),
        ("/elsewhere", None, "there is no /elsewhere"),
    ],
)
def test_the_control_port_says_what_it_does_not_know(
    control: Callable[..., dict[str, Any]], path: str, texts: list[str] | None, complaint: str
) -> None:
    with pytest.raises(ControlError, match=complaint):
        control(path, texts)


def test_the_control_port_takes_nothing_that_a_web_page_could_send(sim: Simulator) -> None:
    with ControlPort(sim, 0) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port.port, timeout=SOON)
        connection.request("POST", "/switches", '["mute=true"]', {"Content-Type": "text/plain"})
        assert connection.getresponse().status == 400
        connection.close()
    assert sim.switches.mute is False


def test_nobody_on_the_control_port_is_said_with_the_remedy(sim: Simulator) -> None:
    with pytest.raises(ControlError, match="start `tickbridge simulate`"):
        ask(sim.port, "/switches")


def test_a_client_that_is_no_websocket_gets_nowhere(sim: Simulator) -> None:
    with socket.create_connection(("127.0.0.1", sim.port), timeout=SOON) as sock:
        sock.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert sock.recv(100) == b""
