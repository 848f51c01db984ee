"""What `tickbridge check` finds about the token and the way to the venue; nothing here needs Kafka."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from bridge.cli import probes
from bridge.cli.probes import Finding, Verdict
from bridge.settings import Settings, load


def settings(**upstream: Any) -> Settings:
    return load(kafka={"bootstrap_servers": "localhost:1"}, upstream=upstream)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def token(**upstream: Any) -> Finding:
    (found,) = probes.token(settings(**upstream))
    return found


def endpoint(**upstream: Any) -> Finding:
    (found,) = probes.endpoint(settings(**upstream))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    return path


def test_a_token_in_a_private_file_is_good(file: Path) -> None:
    assert token(token_file=file) == Finding("token", Verdict.OK, f"from {file}")


def test_a_token_that_everybody_can_read_is_a_warning_with_the_command_that_mends_it(file: Path) -> None:
    file.chmod(0o644)
    found = token(token_file=file)
    assert (found.verdict, found.hint) == (Verdict.WARN, f"chmod o-r {file}")


def test_a_token_in_the_environment_is_good_and_never_shown() -> None:
    found = token(token="s3cret")
    assert found.verdict is Verdict.OK
    assert "s3cret" not in f"{found}"


@pytest.mark.parametrize("content", ["", " \n", "two tokens", "tok\nen", "tok\x00en"])
def test_what_is_no_token_fails_without_being_shown(file: Path, content: str) -> None:
    file.write_text(content)
    found = token(token_file=file)
    assert (found.verdict, bool(found.hint)) == (Verdict.FAIL, True)
    assert "tok\n" not in found.said


def test_a_file_that_is_no_text_fails(file: Path) -> None:
    file.write_bytes(b"\xff")
    assert token(token_file=file).verdict is Verdict.FAIL


def test_a_file_that_went_away_fails(file: Path) -> None:
    given = settings(token_file=file)
    file.unlink()
    (found,) = probes.token(given)
    assert found.verdict is Verdict.FAIL
    assert "No such file" in found.said


def test_no_token_at_all_fails() -> None:
    assert token().verdict is Verdict.FAIL


def test_no_token_is_good_where_the_venue_needs_none() -> None:
    assert token(dialect="action-code", url="ws://localhost:1").verdict is Verdict.OK


class Venue:
    """Accepts a connection, with TLS if it has a context, keeps what a client says after that, and answers it."""

    def __init__(self, context: ssl.SSLContext | None = None, answer: bytes = b"") -> None:
        self._answer = answer
        self.heard = b""
        self.over = threading.Event()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            peer, _ = self._listener.accept()
            peer.settimeout(5)
            if self._context:
                peer = self._context.wrap_socket(peer, server_side=True)
            with peer:
                while data := peer.recv(4096):
                    self.heard += data
                    peer.sendall(self._answer)
        except OSError:
            pass
        finally:
            self.over.set()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes an accept that nobody came for
        self._listener.close()
        self._thread.join(10)


@contextmanager
def venue(context: ssl.SSLContext | None = None, answer: bytes = b"") -> Iterator[Venue]:
    with closing(Venue(context, answer)) as made:
        yield made


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def served(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_the_endpoint_is_reached_up_to_tls_and_nothing_is_said_to_it(authority: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with venue(served(authority)) as peer:
        found = endpoint(url=f"wss://localhost:{peer.port}/x", ca_file=ca_file, token="s3cret")
        assert peer.over.wait(5)
    assert (found.verdict, peer.heard) == (Verdict.OK, b"")
    assert "TLSv1" in found.said
    assert "s3cret" not in found.said


def test_a_certificate_of_an_unknown_authority_fails_and_names_the_setting(authority: trustme.CA) -> None:
    with venue(served(authority)) as peer:
        found = endpoint(url=f"wss://localhost:{peer.port}/")
    assert found.verdict is Verdict.FAIL
    assert "UPSTREAM__CA_FILE" in found.hint


def test_a_certificate_of_another_host_fails(authority: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with venue(served(authority, "venue.example")) as peer:
        found = endpoint(url=f"wss://localhost:{peer.port}/", ca_file=ca_file)
    assert found.verdict is Verdict.FAIL
    assert "certificate" in found.said


def test_a_port_nobody_listens_on_fails_with_a_hint() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # taken, and nobody listens
        found = endpoint(url=f"ws://127.0.0.1:{bound.getsockname()[1]}/")
    assert found.verdict is Verdict.FAIL
    assert "refused" in found.said
    assert "UPSTREAM__URL" in found.hint


def test_a_name_that_is_not_known_fails_with_a_hint() -> None:
    found = endpoint(url="ws://no-such-venue.invalid/")
    assert found.verdict is Verdict.FAIL
    assert "name" in found.said
    assert "name servers" in found.hint


def test_an_address_that_is_no_host_name_fails_instead_of_breaking() -> None:
    assert endpoint(url=f"ws://{'a' * 70}.example/").verdict is Verdict.FAIL


def test_a_loopback_venue_may_do_without_tls() -> None:
    with venue() as peer:
        assert endpoint(url=f"ws://127.0.0.1:{peer.port}/").verdict is Verdict.OK


def test_a_proxy_is_not_gone_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    found = endpoint(url="wss://venue.example/")
    assert found.verdict is Verdict.SKIP
    assert "proxy" in found.said


def refusal(date: str) -> bytes:
    """Answer as a venue does that is asked for nothing by nobody it knows."""
    return f"HTTP/1.1 401 Unauthorized\r\n{date}Content-Length: 0\r\n\r\n".encode()


def date(ahead_s: float = 0) -> str:
    return f"Date: {formatdate(time.time() + ahead_s, usegmt=True)}\r\n"


def clock(**upstream: Any) -> Finding:
    (found,) = probes.clock(settings(**upstream))
    return found


def test_our_clock_is_compared_with_the_venues_without_logging_in(authority: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with venue(served(authority), refusal(date())) as peer:
        found = clock(url=f"wss://localhost:{peer.port}/path", ca_file=ca_file, token="s3cret")
        assert peer.over.wait(5)
    assert found.verdict is Verdict.OK
    assert b"s3cret" not in peer.heard
    assert b"upgrade" not in peer.heard.lower()


@pytest.mark.parametrize(("ahead_s", "said"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_is_wrong_is_told_with_its_distance(ahead_s: float, said: str) -> None:
    with venue(answer=refusal(date(ahead_s))) as peer:
        found = clock(url=f"ws://127.0.0.1:{peer.port}/")
    assert (found.verdict, said in found.said) == (Verdict.WARN, True)
    assert "3,6" in found.said or "3,59" in found.said
    assert "NTP" in found.hint


@pytest.mark.parametrize("answer", [refusal(""), refusal("Date: soon\r\n"), b"no HTTP\r\n\r\n"])
def test_a_venue_that_tells_no_time_says_nothing_about_our_clock(answer: bytes) -> None:
    with venue(answer=answer) as peer:
        assert clock(url=f"ws://127.0.0.1:{peer.port}/").verdict is Verdict.SKIP


def test_the_clock_of_a_venue_behind_a_proxy_or_out_of_reach_is_not_said_to_be_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert clock(url="ws://no-such-venue.invalid/").verdict is Verdict.SKIP
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert clock(url="wss://venue.example/").verdict is Verdict.SKIP
