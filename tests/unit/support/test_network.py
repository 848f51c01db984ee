"""The bad network: each fault is felt by a real client and a real server, and ends when it is told to."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.network import PIECE, Network, Weather

#: Seconds that anything may take before it counts as not coming, and that nothing must come in.
SOON_S = 10.0
QUIET_S = 0.15


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it gets, and keeps in mind how each connection ended."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EchoHandler)
        self.ends: list[str] = []
        self.changed = threading.Condition()

    def ended(self, how: str) -> None:
        with self.changed:
            self.ends.append(how)
            self.changed.notify_all()

    def wait_for_ends(self, *ends: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.ends == [*ends], SOON_S), self.ends


class EchoHandler(socketserver.BaseRequestHandler):
    server: Echo

    def handle(self) -> None:
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
        except ConnectionResetError:
            self.server.ended("reset")
        else:
            self.server.ended("closed")


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(SOON_S)


@pytest.fixture
def line(echo: Echo) -> Iterator[Network]:
    with Network(("127.0.0.1", echo.server_address[1])) as line:
        yield line


def connect(line: Network) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=SOON_S)


def read(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (part := client.recv(size - len(data))):
        data += part
    return bytes(data)


def ask(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return read(client, len(data))


def nothing_comes(client: socket.socket) -> None:
    client.settimeout(QUIET_S)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(SOON_S)


def test_a_good_line_carries_every_byte_in_order_both_ways(line: Network) -> None:
    sent = bytes(range(256)) * 8192
    with connect(line) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert read(client, len(sent)) == sent
        writer.join(SOON_S)
    assert line.carried == {"up": len(sent), "down": len(sent)}


def test_an_orderly_end_of_one_side_reaches_the_other_after_all_bytes(line: Network, echo: Echo) -> None:
    with connect(line) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert read(client, 100) == b"last words"
        assert client.recv(1) == b""
    echo.wait_for_ends("closed")


def test_a_client_that_resets_is_felt_by_the_server(line: Network, echo: Echo) -> None:
    with connect(line) as client:
        assert ask(client, b"hello") == b"hello"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    echo.wait_for_ends("reset")


def test_latency_is_felt_once_each_way_and_not_for_every_piece(line: Network) -> None:
    line.set(latency_s=0.1)
    size = 20 * PIECE
    with connect(line) as client:
        began = time.monotonic()
        threading.Thread(target=client.sendall, args=(bytes(size),)).start()
        assert len(read(client, size)) == size
        assert 0.2 <= time.monotonic() - began < 2.0  # twenty pieces, each waiting for the one before: 4 s


def test_bandwidth_bounds_all_connections_together(line: Network) -> None:
    line.set(bandwidth=100_000)
    with connect(line) as one, connect(line) as two:
        began = time.monotonic()
        one.sendall(bytes(15_000))
        two.sendall(bytes(15_000))
        assert len(read(one, 15_000)) == len(read(two, 15_000)) == 15_000
        assert 0.25 <= time.monotonic() - began < 5.0


def test_more_bandwidth_is_felt_at_once(line: Network) -> None:
    line.set(bandwidth=1000)
    with connect(line) as client:
        client.sendall(bytes(200_000))
        assert read(client, 10)
        line.set(bandwidth=None)
        began = time.monotonic()
        assert len(read(client, 199_990)) == 199_990
        assert time.monotonic() - began < 5.0  # 200 s at the old pace


def test_what_is_sent_into_a_stall_arrives_after_it(line: Network) -> None:
    with connect(line) as client:
        assert ask(client, b"before") == b"before"
        line.set(stalled=True)
        client.sendall(b"during")
        nothing_comes(client)
        line.set(stalled=False)
        assert read(client, 6) == b"during"


def test_in_a_stall_nobody_hears_of_an_end(line: Network, echo: Echo) -> None:
    client = connect(line)
    assert ask(client, b"hello") == b"hello"
    line.set(stalled=True)
    client.close()
    with echo.changed:
        assert not echo.changed.wait_for(lambda: echo.ends, QUIET_S)
    line.set(stalled=False)
    echo.wait_for_ends("closed")


def test_a_connection_made_in_a_stall_lives_when_it_is_over(line: Network) -> None:
    line.set(stalled=True)
    with connect(line) as client:
        client.sendall(b"anyone?")
        nothing_comes(client)
        line.set(stalled=False)
        assert read(client, 7) == b"anyone?"


def test_a_reset_is_felt_at_both_ends_and_new_connections_are_taken(line: Network, echo: Echo) -> None:
    with connect(line) as client:
        assert ask(client, b"hello") == b"hello"
        line.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    echo.wait_for_ends("reset")
    with connect(line) as client:
        assert ask(client, b"again") == b"again"


def test_a_refusing_line_takes_no_new_connection_and_keeps_the_old(line: Network) -> None:
    with connect(line) as client:
        assert ask(client, b"hello") == b"hello"
        line.set(refusing=True)
        with pytest.raises(ConnectionRefusedError):
            connect(line)
        assert ask(client, b"still") == b"still"
    line.set(refusing=False)
    with connect(line) as client:
        assert ask(client, b"again") == b"again"


def test_half_open_the_server_is_rid_of_the_client_and_the_client_does_not_know(line: Network, echo: Echo) -> None:
    with connect(line) as client:
        assert ask(client, b"hello") == b"hello"
        line.half_open()
        echo.wait_for_ends("reset")
        client.sendall(b"anyone?")
        nothing_comes(client)
        with connect(line) as another:
            assert ask(another, b"again") == b"again"


@pytest.mark.parametrize("how", ["reset", "stall"])
def test_a_cut_heals_by_itself(line: Network, how: str) -> None:
    began = time.monotonic()
    line.cut(how, 0.3)  # type: ignore[arg-type]
    with suppress(ConnectionRefusedError), connect(line) as client:
        client.sendall(b"x")
        nothing_comes(client)
    line.wait_whole(SOON_S)
    assert time.monotonic() - began >= 0.3
    assert line.weather == Weather()
    with connect(line) as client:
        assert ask(client, b"again") == b"again"


def test_waiting_for_a_line_that_stays_cut_is_bounded(line: Network) -> None:
    line.cut("reset", 60)
    with pytest.raises(TimeoutError, match=r"still cut after 0\.01 s"):
        line.wait_whole(0.01)


def test_a_server_that_is_not_there_is_felt_as_a_reset() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        with Network(("127.0.0.1", taken.getsockname()[1])) as line:
            # It may come as early as while the client connects.
            with pytest.raises(ConnectionResetError), connect(line) as client:
                client.recv(1)
            assert line.connections == 0


def test_what_waits_is_bounded_and_the_sender_is_not_read_any_more(line: Network) -> None:
    with connect(line) as client:
        client.sendall(b"x")
        line.set(latency_s=60)
        client.setblocking(False)
        sent, full = 0, time.monotonic() + 0.5
        while time.monotonic() < full:
            with suppress(BlockingIOError):
                sent += client.send(bytes(65536))
        assert sent < 16 * 2**20  # our window, and what the system keeps in two sockets


def test_its_end_is_felt_by_those_who_are_connected(echo: Echo) -> None:
    with Network(("127.0.0.1", echo.server_address[1])) as line:
        client = connect(line)
        assert ask(client, b"hello") == b"hello"
        line.set(stalled=True)
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert not line._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        connect(line)


@pytest.mark.parametrize("weather", [{"bandwidth": 0}, {"latency_s": -1}, {"sunshine": True}])
def test_weather_that_cannot_be_is_refused(line: Network, weather: dict[str, float]) -> None:
    with pytest.raises((ValueError, TypeError)):
        line.set(**weather)
