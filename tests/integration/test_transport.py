"""The transport on real sockets: what an attempt's failure is called, and that no text of it ever holds the token."""

import select
import socket
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme

from bridge.errors import TokenRefused, UpstreamUnavailable
from bridge.simulator import Simulator, SimulatorConfig, Switches
from bridge.upstream.dialects import Ask
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.transport import READ_MAX, WRITE_TIMEOUT_S, Transport, connect
from tests.support.faults import over, venue_behind_line

TOKEN = "sesame-1234-sesame"

Serve = Callable[..., int]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer each connection with given bytes, then close it, or keep it open; gives the port."""
    with ExitStack() as stack:

        def start(reply: bytes, *, close: bool = True) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.callback(listener.shutdown, socket.SHUT_RDWR)

            def run() -> None:
                with suppress(OSError):
                    while True:
                        peer = stack.enter_context(listener.accept()[0])
                        peer.recv(65_536)
                        peer.sendall(reply)
                        if close:
                            peer.close()

            Thread(target=run, daemon=True).start()
            port: int = listener.getsockname()[1]
            return port

        yield start


@pytest.fixture
def make_venue() -> Iterator[Callable[..., Simulator]]:
    with ExitStack() as stack:

        def make(certificate: Path | None = None, **switches: Any) -> Simulator:
            chosen = Switches(rate=0, tokens=frozenset({TOKEN}), refuse_connections=False, **switches)
            config = SimulatorConfig(switches=chosen, cert=certificate, key=certificate)
            return stack.enter_context(Simulator(config))

        yield make


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def write_pem(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def trusted(authority: trustme.CA, write_pem: Callable[[str, bytes], Path]) -> Path:
    """Who signed the certificate of the venue `secure`."""
    return write_pem("ca.pem", authority.cert_pem.bytes())


@pytest.fixture
def secure(
    make_venue: Callable[..., Simulator], authority: trustme.CA, write_pem: Callable[[str, bytes], Path]
) -> Simulator:
    """A venue that speaks wss."""
    return make_venue(write_pem("venue.pem", authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()))


def failure(address: str, *, timeout_s: float = 2.0, ca_file: Path | None = None) -> UpstreamUnavailable:
    """Try to connect; give why that failed, having looked that the token is in none of it."""
    with pytest.raises(UpstreamUnavailable) as caught:
        connect(f"{address}?token={TOKEN}", timeout_s=timeout_s, ca_file=ca_file)
    error = caught.value
    assert error.__suppress_context__
    for text in (str(error), repr(error), error.detail, "".join(traceback.format_exception_only(error))):
        assert TOKEN not in text
    assert error.detail
    return error


@pytest.mark.parametrize(
    ("status", "kind", "class_"),
    [
        (401, "token", TokenRefused),
        (403, "token", TokenRefused),
        (429, "too_many_connections", UpstreamUnavailable),
        (400, "refused", UpstreamUnavailable),
        (404, "refused", UpstreamUnavailable),
        (503, "refused", UpstreamUnavailable),
    ],
)
def test_a_refused_upgrade_is_named_by_its_status(
    make_venue: Callable[..., Simulator], status: int, kind: str, class_: type[UpstreamUnavailable]
) -> None:
    error = failure(make_venue(refuse_upgrades=status).url())
    assert type(error) is class_
    assert error.kind == kind
    assert str(status) in error.detail


def test_a_wrong_token_is_a_refused_token(make_venue: Callable[..., Simulator]) -> None:
    venue = make_venue()
    venue.switches.tokens = frozenset({"another"})
    assert isinstance(failure(venue.url()), TokenRefused)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"garbage\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 503 No\r\nContent-Length: abc\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_handshake_is_said_to_be_none(serve: Serve, reply: bytes) -> None:
    error = failure(f"ws://127.0.0.1:{serve(reply)}/")
    assert error.kind == "network"
    assert "the upgrade" in error.detail or "closed" in error.detail


def test_a_venue_that_repeats_the_address_in_its_refusal_does_not_get_it_into_a_text(serve: Serve) -> None:
    echo = b"HTTP/1.1 503 GET /?token=%b\r\nX-Echo: %b\r\n\r\n" % (TOKEN.encode(), TOKEN.encode())
    assert failure(f"ws://127.0.0.1:{serve(echo)}/").kind == "refused"


def test_a_venue_that_accepts_and_never_answers_is_a_timeout(serve: Serve) -> None:
    begun = time.monotonic()
    error = failure(f"ws://127.0.0.1:{serve(b'', close=False)}/", timeout_s=0.3)
    assert (error.kind, error.detail) == ("timeout", "no answer in time")
    assert time.monotonic() - begun < 2.0


def test_nobody_there_is_a_network_failure() -> None:
    with socket.socket() as taken:  # bound, so that nobody else gets it, and not listening
        taken.bind(("127.0.0.1", 0))
        error = failure(f"ws://127.0.0.1:{taken.getsockname()[1]}/")
    assert (error.kind, error.detail) == ("network", "Connection refused")


def test_a_name_that_nobody_has_is_a_dns_failure() -> None:
    assert failure("ws://venue.invalid/").kind == "dns"


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_redirect_is_refused_and_nobody_else_is_called(serve: Serve, scheme: str, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.1)
        location = f"{scheme}://127.0.0.1:{elsewhere.getsockname()[1]}/?token={TOKEN}"
        port = serve(b"HTTP/1.1 %d No\r\nLocation: %b\r\n\r\n" % (status, location.encode()))
        error = failure(f"ws://127.0.0.1:{port}/")
        assert error.kind == "refused"
        assert f"{status}: it sends us elsewhere" in error.detail
        with pytest.raises(TimeoutError):
            elsewhere.accept()


@pytest.mark.parametrize("where", [b"", b"Location: %b\r\n", b"Location: wss://[::1/%b\r\n"])
def test_a_redirect_to_nowhere_is_refused_like_any_other(serve: Serve, where: bytes) -> None:
    port = serve(b"HTTP/1.1 301 Moved\r\n%b\r\n" % where.replace(b"%b", TOKEN.encode()))
    assert failure(f"ws://127.0.0.1:{port}/").kind == "refused"


# Proxies


class Tunnels:
    """A proxy that makes tunnels (CONNECT) and keeps what it was told in the clear."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.asked: list[bytes] = []
        self.carried = bytearray()
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.callback(self._listener.shutdown, socket.SHUT_RDWR)
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                client = self._stack.enter_context(self._listener.accept()[0])
                self.asked.append(client.recv(65_536))
                host, port = self.asked[-1].split(b" ")[1].rsplit(b":", 1)
                server = self._stack.enter_context(socket.create_connection((host.decode(), int(port))))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                for source, sink in ((client, server), (server, client)):
                    Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.carried += data
                sink.sendall(data)


@pytest.fixture
def tunnels() -> Iterator[Tunnels]:
    with ExitStack() as stack:
        yield Tunnels(stack)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_over_a_proxy_the_token_goes_through_tls_and_the_proxy_learns_only_where_to(
    secure: Simulator, trusted: Path, tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://us:pass%40word@127.0.0.1:{tunnels.port}")
    opened = connect(f"{secure.url()}?token={TOKEN}", timeout_s=2.0, ca_file=trusted)
    opened.close_frame(1000)
    assert read(opened, 4)[:2] == b"\x88\x02"
    opened.close()
    (asked,) = tunnels.asked
    assert asked.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % secure.port)
    assert b"Proxy-Authorization: Basic %b\r\n" % b64encode(b"us:pass@word") in asked
    assert TOKEN.encode() not in asked + tunnels.carried
    assert len(secure.record.connections) == 1


def test_a_proxy_changes_nothing_about_whom_we_trust(
    secure: Simulator, write_pem: Callable[[str, bytes], Path], tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnels.port}")
    error = failure(secure.url(), ca_file=write_pem("another.pem", trustme.CA().cert_pem.bytes()))
    assert error.kind == "tls"
    assert len(tunnels.asked) == 1
    assert not secure.record.connections


def test_who_is_excepted_is_called_without_the_proxy(
    make_venue: Callable[..., Simulator], tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = make_venue()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{tunnels.port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,venue.invalid")
    connect(f"{venue.url()}?token={TOKEN}", timeout_s=2.0).close()
    assert not tunnels.asked
    assert "proxy" not in failure("ws://venue.invalid/").detail


def test_a_proxy_that_refuses_is_named(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    monkeypatch.setenv("https_proxy", f"http://user:{TOKEN}@127.0.0.1:{port}")
    error = failure("wss://venue.invalid/")
    assert (error.kind, "proxy 127.0.0.1" in error.detail) == ("proxy", True)


@pytest.mark.parametrize(("proxy", "kind"), [("127.0.0.1:1", "network"), ("proxy.invalid:3128", "dns")])
def test_a_proxy_that_is_not_there_is_not_taken_for_the_venue(
    monkeypatch: pytest.MonkeyPatch, proxy: str, kind: str
) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:{TOKEN}@{proxy}")
    error = failure("wss://venue.example/")
    assert error.kind == kind
    assert error.detail.endswith(f"(the environment names the proxy {proxy.partition(':')[0]})")


# TLS


def test_a_venue_with_a_trusted_certificate_is_connected_and_gives_no_address_back(
    secure: Simulator, trusted: Path
) -> None:
    opened = connect(f"{secure.url()}?token={TOKEN}", timeout_s=2.0, ca_file=trusted)
    opened.close()
    assert TOKEN not in repr(opened)


@pytest.mark.parametrize(
    ("host", "trusted", "says"),
    [("127.0.0.1", False, "cannot be trusted"), ("venue.test", True, "IP address mismatch")],
    ids=["untrusted", "wrong-host"],
)
def test_a_certificate_that_does_not_hold_is_a_tls_failure(
    make_venue: Callable[..., Simulator], write_pem: Callable[[str, bytes], Path], host: str, trusted: bool, says: str
) -> None:
    signer = trustme.CA()
    venue = make_venue(write_pem("venue.pem", signer.issue_cert(host).private_key_and_cert_chain_pem.bytes()))
    known = signer if trusted else trustme.CA()
    error = failure(venue.url(), ca_file=write_pem("ca.pem", known.cert_pem.bytes()))
    assert error.kind == "tls"
    assert says in error.detail
    assert not venue.record.connections


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_authorities_that_cannot_be_read_are_a_tls_failure_that_names_the_file(
    write_pem: Callable[[str, bytes], Path], tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "absent.pem" if content is None else write_pem("bad.pem", content)
    error = failure("wss://127.0.0.1:9/", ca_file=path)
    assert error.kind == "tls"
    assert str(path) in error.detail


def test_a_plain_server_where_tls_is_expected_is_a_tls_failure(serve: Serve) -> None:
    assert failure(f"wss://127.0.0.1:{serve(b'HTTP/1.1 400 Bad Request')}/").kind == "tls"


def test_what_tls_holds_back_is_pending_until_it_is_read(secure: Simulator, trusted: Path) -> None:
    opened = connect(f"{secure.url()}?token={TOKEN}", timeout_s=2.0, ca_file=trusted)
    expected = b"x" * (3 * READ_MAX)
    secure.faults.send_raw(expected)
    assert read(opened, len(expected)) == expected
    assert not opened.pending()
    opened.close()


# Once open


def read(opened: Transport, size: int) -> bytes:
    """Read as the loop does, until so much has come."""
    data = b""
    while len(data) < size:
        assert opened.pending() or select.select([opened.fileno()], [], [], 5.0)[0], "nothing more comes"
        part = opened.read()
        assert len(part) <= READ_MAX + 16 * 1024
        data += part
    return data


@pytest.fixture
def pair(make_venue: Callable[..., Simulator]) -> Iterator[tuple[Transport, Simulator]]:
    venue = make_venue()
    opened = connect(f"{venue.url()}?token={TOKEN}", timeout_s=2.0)
    yield opened, venue
    opened.close()


def test_a_read_with_nothing_there_gives_nothing_and_does_not_wait(pair: tuple[Transport, Simulator]) -> None:
    opened, _ = pair
    assert opened.read() == b""
    assert not opened.ended


def test_a_peer_that_ends_the_connection_is_seen_as_the_end(pair: tuple[Transport, Simulator]) -> None:
    opened, venue = pair
    venue.faults.cut()
    assert select.select([opened.fileno()], [], [], 5.0)[0]
    assert opened.read() == b""
    assert opened.ended


def test_a_reset_is_a_network_failure(pair: tuple[Transport, Simulator]) -> None:
    opened, venue = pair
    venue.faults.reset()
    assert select.select([opened.fileno()], [], [], 5.0)[0]
    with pytest.raises(UpstreamUnavailable) as caught:
        opened.read()
    assert caught.value.kind == "network"


def test_a_close_frame_is_answered_by_the_venue(pair: tuple[Transport, Simulator]) -> None:
    opened, _ = pair
    opened.close_frame(1000)
    assert read(opened, 4)[:2] == b"\x88\x02"


@pytest.fixture(params=["ws", "wss"])
def connected(request: pytest.FixtureRequest, trusted: Path) -> Iterator[tuple[Transport, Simulator]]:
    venue = request.getfixturevalue("secure") if request.param == "wss" else request.getfixturevalue("make_venue")()
    opened = connect(f"{venue.url()}?token={TOKEN}", timeout_s=2.0, ca_file=trusted)
    yield opened, venue
    opened.close()


#: What a busy machine may add; far less than what granting every piece its own time would.
BUSY_S = 0.8


def fill(opened: Transport) -> tuple[UpstreamUnavailable, float]:
    """Write more than the systems between us hold; give why that failed, and how long the last write took."""
    text = "x" * 900_000
    for _ in range(50):
        begun = time.monotonic()
        try:
            opened.send(text)
        except UpstreamUnavailable as error:
            return error, time.monotonic() - begun
    pytest.fail("every write was taken")


@pytest.mark.parametrize("numb", ["half_open", "deaf"])
def test_a_venue_that_does_not_read_holds_the_loop_up_for_half_a_second_at_most(
    connected: tuple[Transport, Simulator], numb: str
) -> None:
    opened, venue = connected
    venue.switches.update(**{numb: True})
    error, took_s = fill(opened)
    assert (error.kind, error.detail) == ("write", "the venue does not take what we send")
    assert WRITE_TIMEOUT_S <= took_s < WRITE_TIMEOUT_S + BUSY_S


def test_a_venue_that_reads_by_the_drop_gets_no_more_time_than_one_that_does_not(
    connected: tuple[Transport, Simulator], trusted: Path
) -> None:
    _, venue = connected
    with venue_behind_line(venue) as line:
        opened = connect(f"{over(line, venue.url())}?token={TOKEN}", timeout_s=2.0, ca_file=trusted)
        with closing(opened):
            line.set(bandwidth=500_000)  # one write of ours is nearly two seconds of it
            error, took_s = fill(opened)
    assert error.kind == "write"
    assert WRITE_TIMEOUT_S <= took_s < WRITE_TIMEOUT_S + BUSY_S


def test_the_longest_request_of_all_is_taken_at_once_by_a_venue_that_has_just_ceased_to_read(
    connected: tuple[Transport, Simulator],
) -> None:
    opened, venue = connected
    venue.switches.deaf = True
    # One that had to wait would fail: nobody ever reads it.
    opened.send(AllTick().encode(Ask("subscribe", tuple(f"{number:032}.HK" for number in range(3000))), 1, "t"))


def test_closing_twice_and_writing_after_it_do_no_harm(pair: tuple[Transport, Simulator]) -> None:
    opened, _ = pair
    opened.close()
    opened.abort()
    assert not opened.pending()
    with pytest.raises(UpstreamUnavailable):
        opened.send("late")
