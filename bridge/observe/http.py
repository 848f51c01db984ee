"""A small HTTP server for probes, scrapes and the page, which nothing that connects can wear down.

It knows sockets and HTTP, and nothing of what it serves: it is given a function from path to response.
Rules: GET and HEAD only; one request per connection; at most ``CONNECTIONS_MAX`` connections at once, above which the
one that has dawdled longest over its request makes room, and where none dawdles the answer is 503; request line and
headers together are bounded by ``REQUEST_MAX_BYTES``; and a connection ends after ``CONNECTION_MAX_S`` in all, however
slowly its peer sends or reads.
"""

from __future__ import annotations

import contextlib
import errno
import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from bridge.errors import SettingsError
from bridge.settings import PREFIX

#: Connections served at once, a thread each.
CONNECTIONS_MAX = 16
#: Seconds that one connection may last.
CONNECTION_MAX_S = 10.0
#: Seconds after which a connection without a whole request may be ended for one that asks.
DAWDLE_S = 1.0
#: Bytes of request line and headers together.
REQUEST_MAX_BYTES = 16 * 1024

#: Seconds and bytes that a refused client may go on sending before we hang up.
_LINGER_S = 1.0
_LINGER_BYTES = 64 * 1024
#: Seconds between two looks at stopping and at connections that last too long.
_TURN_S = 0.1
#: Seconds that stopping waits for the requests under way.
_STOP_S = 1.0

#: Nothing may be stored, framed, sniffed or handed on.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer; ``headers`` come on top of those that every answer has, and win."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


#: Answers a path, which comes without its query, in the format that the second argument, the Accept header, asks for.
Respond = Callable[[str, str], Response]


class Log(Protocol):
    """Where an error that nobody foresaw is written."""

    def exception(self, event: str, **fields: Any) -> Any: ...


def plain(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    """Answer a status in its own words."""
    return Response(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode(), headers or {})


class HttpServer:
    """The server, bound as soon as it exists; ``start`` serves in a thread of its own, ``stop`` ends it.

    Raises:
        SettingsError: the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, respond: Respond, log: Log) -> None:
        try:
            self._server = _Server(host, port, respond, log)
        except OSError as error:
            raise SettingsError(_cannot_listen(host, port, error)) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_TURN_S,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """Give the port it listens on, chosen by the system if 0 was asked for."""
        port: int = self._server.server_address[1]
        return port

    def start(self) -> None:
        """Serve; connections made since the port was bound have waited for this."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and end what is under way; may be called whether or not it was started."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    """Say which setting is wrong and what to do about it."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{PREFIX}HTTP__HOST={host}: is no address of this machine; set it to one, or to 0.0.0.0 for all"
    if error.errno == errno.EADDRINUSE:
        why = "another process listens on it"
    elif error.errno == errno.EACCES:
        why = "this user may not listen on it"
    else:
        why = error.strerror or str(error)
    return f"{PREFIX}HTTP__PORT={port}: {why}; set it to a free port from 1024 to 65535, or to 0 to have one picked"


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections and knows which are open."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, respond: Respond, log: Log) -> None:
        self.respond = respond
        self.log = log
        self._open: dict[socket.socket, float] = {}  # since when, oldest first
        self._asking: set[socket.socket] = set()  # whose request is not read yet
        self._changed = threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, or turn it away when there are too many."""
        now = time.monotonic()
        with self._changed:
            if room := len(self._open) < CONNECTIONS_MAX or self._end_a_dawdler(now):
                self._open[request] = now
                self._asking.add(request)
        if room:
            super().process_request(request, client_address)
        else:
            self._turn_away(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, whatever became of it."""
        super().shutdown_request(request)
        with self._changed:
            self._open.pop(request, None)
            self._asking.discard(request)
            self._changed.notify_all()

    def heard(self, request: socket.socket) -> None:
        """Note that a connection's request was read: from now on it waits for us."""
        with self._changed:
            self._asking.discard(request)

    def _end_a_dawdler(self, now: float) -> bool:
        """End the connection that has asked for nothing longest; a probe must not wait for those who only sit."""
        for request, since in self._open.items():
            if request in self._asking and since <= now - DAWDLE_S:
                self._asking.discard(request)
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
                return True
        return False

    def service_actions(self) -> None:
        """End connections that last too long; called at each turn of the accepting loop."""
        self._cut(older_than=time.monotonic() - CONNECTION_MAX_S)

    def server_close(self) -> None:
        """Stop listening, end every connection and wait a moment for their threads."""
        super().server_close()
        self._cut(older_than=time.monotonic())
        with self._changed:
            self._changed.wait_for(lambda: not self._open, timeout=_STOP_S)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the hook's own signature
        """Log what nobody foresaw; called while the exception is handled."""
        self.log.exception("http_connection_failed")  # noqa: LOG004  an exception is being handled, by the caller

    def _turn_away(self, request: socket.socket) -> None:
        """Say that there is no room; this thread accepts, so it never waits for a peer."""
        request.setblocking(False)
        with contextlib.suppress(OSError):
            request.send(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        super().shutdown_request(request)

    def _cut(self, older_than: float) -> None:
        with self._changed:
            overdue = [connection for connection, since in self._open.items() if since <= older_than]
        for connection in overdue:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _BoundedReader(io.BufferedReader):
    """Reads lines until a budget is used up; what is longer is refused before it is held in memory."""

    _left = REQUEST_MAX_BYTES

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line; raises LineTooLong."""
        bound = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        line = super().readline(bound)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("request")
        return line


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads its request, answers it, closes."""

    server: _Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    timeout = CONNECTION_MAX_S
    rbufsize = 0

    def setup(self) -> None:
        """Bound what is read."""
        super().setup()
        self.rfile = _BoundedReader(self.rfile)  # which reads the bare socket: rbufsize is 0

    def handle(self) -> None:
        """Answer one request; a peer that goes away or dawdles is nobody's fault."""
        with contextlib.suppress(OSError):
            if self._read_request():
                self._answer(self._respond())

    def _read_request(self) -> bool:
        """Read request line and headers; what cannot be read is answered already."""
        self.command, self.requestline, self.request_version = "", "", self.default_request_version
        try:
            self.raw_requestline = self.rfile.readline()
        except LineTooLong:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            return False
        complete = bool(self.raw_requestline) and self.parse_request()
        self.server.heard(self.connection)
        return complete

    def _respond(self) -> Response:
        if self.command not in ("GET", "HEAD"):
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        path = self.path.partition("?")[0]
        try:
            return self.server.respond(path, self.headers.get("Accept", ""))
        except Exception:  # a view that fails must not silence the others
            self.server.log.exception("http_request_failed", path=path)
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _answer(self, response: Response) -> None:
        self.send_response_only(response.status)
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Date": self.date_time_string(),
            "Connection": "close",
        }
        for name, value in (headers | _HEADERS | dict(response.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        if response.status >= HTTPStatus.BAD_REQUEST:
            self._linger()

    def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would reset the connection and lose our answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        left = _LINGER_BYTES
        while left > 0 and (data := self.connection.recv(left)):
            left -= len(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what cannot be read in the same shape as everything else; what was sent is not repeated."""
        self._answer(plain(HTTPStatus(code)))

    def handle_expect_100(self) -> bool:
        """Never ask for a body."""
        return True
