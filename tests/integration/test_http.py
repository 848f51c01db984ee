"""The HTTP server over real sockets: what it answers, and what nobody can do to it."""

import errno
import http.client
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.errors import SettingsError
from bridge.observe.http import (
    CONNECTION_MAX_S,
    CONNECTIONS_MAX,
    REQUEST_MAX_BYTES,
    HttpServer,
    Response,
    _cannot_listen,
    _Server,
)

WAIT_S = 10.0


@dataclass
class Views:
    """Paths answered by functions, and what was logged."""

    log: list[str] = field(default_factory=list)
    at: dict[str, Callable[[], bytes]] = field(default_factory=lambda: {"/": lambda: b"hello"})

    def respond(self, path: str, accept: str) -> Response:
        if path == "/accept":
            return Response(200, "text/plain", accept.encode())
        if path == "/policy":
            return Response(200, "text/html", b"", {"Content-Security-Policy": "script-src 'self'"})
        return Response(200, "text/plain", self.at[path]())

    def exception(self, event: str, **_: Any) -> None:
        self.log.append(event)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)

    def send(self, data: bytes) -> bytes:
        """Send bytes as they are and read all that comes back."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    data = bytearray()
    while part := connection.recv(65536):
        data += part
    return bytes(data)


@pytest.fixture
def views() -> Views:
    return Views()


@pytest.fixture
def server(views: Views) -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, views.respond, views)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: HttpServer) -> Client:
    return Client(server.port)


def test_a_get_is_answered(client: Client) -> None:
    answer = client.ask()
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["Content-Type"] == "text/plain"


def test_nothing_may_be_stored_sniffed_framed_or_kept_open(client: Client) -> None:
    headers = client.ask().headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Connection"] == "close"
    assert "Server" not in headers


def test_a_view_may_widen_the_policy(client: Client) -> None:
    assert client.ask("/policy").headers.get_all("Content-Security-Policy") == ["script-src 'self'"]


def test_a_head_has_the_headers_of_a_get_and_no_body(client: Client) -> None:
    answer = client.send(b"HEAD / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_another_method_is_not_allowed(client: Client, method: str) -> None:
    answer = client.ask(method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_who_sends_a_body_hears_the_answer_out(client: Client) -> None:
    with client.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 50000\r\n\r\n" + b"x" * 20_000)
        assert read_all(connection).endswith(b"405 Method Not Allowed\n")
        reset = select.poll()
        reset.register(connection, select.POLLERR)
        assert reset.poll(200) == [], "the server hangs up while the client still talks"
        connection.sendall(b"x" * 30_000)


def test_nobody_is_asked_for_a_body(client: Client) -> None:
    answer = client.send(b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_query_is_no_part_of_the_path(client: Client) -> None:
    assert client.ask("/?token=abc").body == b"hello"


def test_a_view_hears_which_format_is_asked_for(client: Client) -> None:
    assert client.ask("/accept", Accept="text/plain;version=1").body == b"text/plain;version=1"


def test_a_view_that_fails_is_told_and_logged_and_takes_nothing_with_it(client: Client, views: Views) -> None:
    assert client.ask("/fails").status == 500
    assert views.log == ["http_request_failed"]
    assert client.ask().status == 200


def test_a_connection_that_fails_in_the_middle_is_logged(client: Client, server: HttpServer, views: Views) -> None:
    views.at["/"] = lambda: "no bytes"  # type: ignore[assignment,return-value]
    with pytest.raises(http.client.IncompleteRead):
        client.ask()
    wait_until_idle(server)
    assert views.log == ["http_connection_failed"]


def test_the_server_answers_one_request_for_each_connection(client: Client) -> None:
    answer = client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * REQUEST_MAX_BYTES + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * REQUEST_MAX_BYTES + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (REQUEST_MAX_BYTES // 6) + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", b"431"),
        (b"rubbish\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
    ids=["long line", "long header", "many bytes of headers", "many headers", "rubbish", "version", "TLS"],
)
def test_a_request_that_cannot_be_read_is_refused(client: Client, views: Views, data: bytes, status: bytes) -> None:
    answer = client.send(data)
    assert answer.split(b" ")[1] == status
    assert b"\r\nConnection: close\r\n" in answer
    assert views.log == []
    assert client.ask().status == 200


def test_the_longest_request_allowed_is_answered(client: Client) -> None:
    head, tail = b"GET / HTTP/1.1\r\nX: ", b"\r\n\r\n"
    padding = b"x" * (REQUEST_MAX_BYTES - len(head) - len(tail))
    assert client.send(head + padding + tail).startswith(b"HTTP/1.1 200")
    assert client.send(head + padding + b"x" + tail).startswith(b"HTTP/1.1 431")


def test_slow_clients_do_not_hold_up_the_others(client: Client) -> None:
    slow = [client.connect() for _ in range(CONNECTIONS_MAX - 1)]
    for connection in slow:
        connection.sendall(b"GET / HT")
    began = time.monotonic()
    assert client.ask().status == 200
    assert time.monotonic() - began < CONNECTION_MAX_S / 2
    for connection in slow:
        connection.sendall(b"TP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")
        connection.close()


def test_a_slow_view_does_not_hold_up_the_others(client: Client, views: Views) -> None:
    entered, may_go = threading.Event(), threading.Event()

    def slow() -> bytes:
        entered.set()
        assert may_go.wait(WAIT_S)
        return b"at last"

    views.at["/slow"] = slow
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(client.ask("/slow").body))
    asking.start()
    assert entered.wait(WAIT_S)
    assert client.ask().status == 200
    may_go.set()
    asking.join(WAIT_S)
    assert answers == [b"at last"]


def test_one_connection_too_many_is_turned_away_at_once(client: Client, server: HttpServer) -> None:
    held = [client.connect() for _ in range(CONNECTIONS_MAX)]
    with client.connect() as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 503")
    for connection in held:
        connection.close()
    wait_until_idle(server)
    assert client.ask().status == 200


def test_who_sits_on_every_place_without_asking_makes_room_for_who_asks(client: Client) -> None:
    held = [client.connect() for _ in range(CONNECTIONS_MAX)]
    for connection in held:
        connection.sendall(b"GET / HT")
    refused, end = 0, time.monotonic() + CONNECTION_MAX_S / 2
    while client.ask().status != 200:
        refused += 1
        assert time.monotonic() < end
    assert refused, "at first nobody has sat for long"
    assert read_all(held[0]) == b"", "the one that sat longest is ended"
    held[-1].sendall(b"TP/1.1\r\n\r\n")
    assert read_all(held[-1]).startswith(b"HTTP/1.1 200"), "and nobody else"
    for connection in held:
        connection.close()


def test_a_client_that_drips_is_cut_off_in_the_end(views: Views) -> None:
    server = _Server("127.0.0.1", 0, views.respond, views)
    try:
        with Client(int(server.server_address[1])).connect() as connection:
            server.handle_request()
            connection.sendall(b"GET")
            server._cut(older_than=time.monotonic() - CONNECTION_MAX_S)
            connection.sendall(b" /")
            server._cut(older_than=time.monotonic())
            assert read_all(connection) == b""
    finally:
        server.server_close()


def test_a_client_that_resets_the_connection_leaves_no_trace(client: Client, server: HttpServer, views: Views) -> None:
    views.at["/big"] = lambda: b"x" * 10_000_000
    connection = client.connect()
    connection.sendall(b"GET /big HTTP/1.1\r\n\r\n")
    connection.recv(1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    wait_until_idle(server)
    assert views.log == []
    assert client.ask().status == 200


def test_it_is_bound_before_it_starts(views: Views) -> None:
    server = HttpServer("127.0.0.1", 0, views.respond, views)
    with Client(server.port).connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.start()
        assert read_all(connection).startswith(b"HTTP/1.1 200")
    server.stop()


def test_it_stops_with_a_connection_still_open(views: Views) -> None:
    server = HttpServer("127.0.0.1", 0, views.respond, views)
    server.start()
    client = Client(server.port)
    with client.connect() as connection:
        connection.sendall(b"GET")
        client.ask()  # the connection before this one is accepted by now
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 1.0
        assert read_all(connection) == b""
    with pytest.raises(ConnectionError):
        client.connect()


def test_it_may_be_stopped_without_being_started(views: Views) -> None:
    server = HttpServer("127.0.0.1", 0, views.respond, views)
    server.stop()
    with pytest.raises(ConnectionError):
        Client(server.port).connect()


def test_it_listens_on_an_address_of_version_6_too(views: Views) -> None:
    try:
        server = HttpServer("::1", 0, views.respond, views)
    except SettingsError:
        pytest.skip("this machine has no IPv6")
    server.start()
    with socket.create_connection(("::1", server.port), timeout=WAIT_S) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")
    server.stop()


def test_a_port_that_is_taken_is_a_matter_of_settings(server: HttpServer, views: Views) -> None:
    with pytest.raises(SettingsError) as caught:
        HttpServer("127.0.0.1", server.port, views.respond, views)
    (line,) = caught.value.lines
    assert line == (
        f"TICKBRIDGE_HTTP__PORT={server.port}: another process listens on it; "
        "set it to a free port from 1024 to 65535, or to 0 to have one picked"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "HTTP__PORT=80: this user may not listen on it; set it"),
        (OSError(errno.ENOBUFS, "No buffer space"), "HTTP__PORT=80: No buffer space; set it to a free port"),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "HTTP__HOST=host: is no address of this machine; set it"),
    ],
)
def test_whatever_forbids_listening_is_named(error: OSError, line: str) -> None:
    assert _cannot_listen("host", 80, error).startswith(f"TICKBRIDGE_{line}")


def test_an_address_of_another_machine_is_a_matter_of_settings(views: Views) -> None:
    with pytest.raises(SettingsError, match=r"^TICKBRIDGE_HTTP__HOST=192\.0\.2\.1: is no address of this machine"):
        HttpServer("192.0.2.1", 0, views.respond, views)


def wait_until_idle(server: HttpServer) -> None:
    """Wait until no connection is open."""
    inner = server._server
    with inner._changed:
        assert inner._changed.wait_for(lambda: not inner._open, timeout=WAIT_S)
