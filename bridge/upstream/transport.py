"""The one door to websocket-client: it makes the connection, TLS, proxies and every frame that is written.

Reads bypass it: its socket is read in bulk, without blocking, and the bytes go to ``frames``. Nothing of the library's
types or exceptions leaves this file, and no text that could hold the address, and with it the token, ever does.

A proxy is what the environment says: ``HTTPS_PROXY`` (for ``ws`` addresses ``HTTP_PROXY``), as ``http://host:port`` or
``http://user:password@host:port``, and ``NO_PROXY``. It is asked for a tunnel (CONNECT) and learns the venue's host and
port; the token goes through TLS, inside. Redirects are not followed: the token is for the address that the operator has
given, and for nobody to whom that address points.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import websocket

from bridge.errors import TokenRefused, UpstreamUnavailable
from bridge.upstream.dialects import remedies
from bridge.upstream.dialects.remedies import Wait

#: One read takes at most this much, so that one turn of the loop is bounded.
READ_MAX = 256 * 1024
#: Seconds that one write may take: the loop stands still meanwhile, and what we write fits into any socket's buffer
#: unless the peer has ceased to read.
WRITE_TIMEOUT_S = 0.5

_TLS_RECORD = 16 * 1024
#: HTTP status of an upgrade that is granted.
SWITCHING = 101


class Transport:
    """One open connection; every method raises UpstreamUnavailable when it is gone."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        sock = connection.sock
        if sock is None:
            raise UpstreamUnavailable("network", "the connection closed while it opened")
        self._sock: socket.socket = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._sock.setblocking(False)
        self.ended = False

    def fileno(self) -> int:
        """Give the descriptor to select on."""
        return self._sock.fileno()

    def pending(self) -> bool:
        """Tell whether TLS holds decrypted bytes that select cannot see."""
        return self._tls and not self.ended and self._sock.pending() > 0  # type: ignore[attr-defined]

    def read(self) -> bytes:
        """Read what is there, up to READ_MAX; sets ``ended`` when the peer has finished."""
        parts: list[bytes] = []
        size = 0
        while size < READ_MAX:
            try:
                data = self._sock.recv(_TLS_RECORD if self._tls else READ_MAX)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                if not parts:
                    raise UpstreamUnavailable("network", _why(error)) from None
                break
            if not data:
                self.ended = True
                break
            parts.append(data)
            size += len(data)
            if not self._tls:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def send(self, message: str | bytes) -> None:
        """Send a text message, or a ping with these bytes."""
        ping = isinstance(message, bytes)
        self._write(message, websocket.ABNF.OPCODE_PING if ping else websocket.ABNF.OPCODE_TEXT)

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self._write(payload, websocket.ABNF.OPCODE_PONG)

    def close_frame(self, code: int) -> None:
        """Send a close frame; the peer's comes as a read."""
        self._write(struct.pack("!H", code), websocket.ABNF.OPCODE_CLOSE)

    def close(self) -> None:
        """Drop the connection; never fails."""
        self.ended = True
        with contextlib.suppress(OSError):
            self._sock.close()

    def abort(self) -> None:
        """Drop the connection without the farewell, so that the peer sees at once that it is gone."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _write(self, payload: str | bytes, opcode: int) -> None:
        frame = websocket.ABNF.create_frame(payload, opcode).format()
        try:
            # Not the library's own loop, which grants this time anew to each piece that a slow peer takes.
            self._sock.settimeout(WRITE_TIMEOUT_S)
            self._sock.sendall(frame)
        except TimeoutError:
            raise UpstreamUnavailable("write", "the venue does not take what we send") from None
        except OSError as error:
            raise UpstreamUnavailable("write", _why(error)) from None
        finally:
            with contextlib.suppress(OSError):
                self._sock.setblocking(False)


def connect(address: str, *, timeout_s: float, ca_file: Path | None = None) -> Transport:
    """Open a connection; ``address`` holds the token, so it goes into no message.

    Raises:
        TokenRefused: the venue answers the upgrade with 401 or 403.
        UpstreamUnavailable: anything else.
    """
    sslopt = {"context": _context(ca_file)} if address.startswith("wss:") else {}
    connection = websocket.WebSocket(sslopt=sslopt, skip_utf8_validation=True)
    try:
        # A redirect would be followed with an address that another has chosen.
        connection.connect(address, timeout=timeout_s, suppress_origin=True, redirect_limit=0)  # type: ignore[no-untyped-call]
        return Transport(connection)
    except websocket.WebSocketBadStatusException as error:
        raise _refused(error.status_code) from None
    except (OSError, websocket.WebSocketException, ValueError) as error:
        answered = connection.handshake_response
        if answered is not None and answered.status != SWITCHING:
            raise _refused(answered.status) from None
        raise UpstreamUnavailable(_kind(error), _why(error) + _by_way_of(address)) from None


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Give what TLS needs: certificates are checked, and so is the host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        why = f"the authorities in {ca_file or 'the system'} cannot be read: {_why(error)}"
        raise UpstreamUnavailable("tls", why) from None
    return context


#: What an answer to the upgrade means, in words; 400 was seen for a token that had lost its end.
_MEANS: dict[str | int, str] = {
    "token": ": it does not accept the token",
    "too_many_connections": ": the token has a connection already",
    400: ": it does not understand us, or the token is not whole",
    **dict.fromkeys((301, 302, 303, 307, 308), ": it sends us elsewhere, where the token must not go"),
}


def _refused(status: int | None) -> UpstreamUnavailable:
    """Name the venue's answer to the upgrade."""
    error = remedies.of_upgrade(status)
    kind = TokenRefused if error.wait is Wait.LONGEST else UpstreamUnavailable
    meaning = _MEANS.get(error.kind, _MEANS.get(status or 0, ""))
    return kind(error.kind, f"the venue answers the upgrade with {status}{meaning}")


def _by_way_of(address: str) -> str:
    """Say which proxy there may be on the way: what failed may be the way to it, or from there."""
    parts = urlsplit(address)
    named = getproxies().get("https" if parts.scheme == "wss" else "http", "")
    if not named or proxy_bypass(parts.hostname or ""):
        return ""
    return f" (the environment names the proxy {urlsplit(named).hostname})"


_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLError, "tls"),
    (socket.gaierror, "dns"),
    (websocket.WebSocketAddressException, "dns"),
    (websocket.WebSocketProxyException, "proxy"),
    (websocket.WebSocketTimeoutException, "timeout"),
    (TimeoutError, "timeout"),
)


def _kind(error: Exception) -> str:
    return next((kind for type_, kind in _KINDS if isinstance(error, type_)), "network")


#: In place of the library's own texts, which may hold the address; what is more special comes first.
_TEXTS: tuple[tuple[type[Exception], str], ...] = (
    (websocket.WebSocketAddressException, "the venue's host name is not known"),
    (websocket.WebSocketProxyException, "the proxy does not let us through"),
    (websocket.WebSocketTimeoutException, "no answer in time"),
    (websocket.WebSocketConnectionClosedException, "the connection closed while it opened"),
    (websocket.WebSocketException, "the answer to the upgrade is no WebSocket handshake"),
    (TimeoutError, "no answer in time"),
)


def _why(error: Exception) -> str:
    """Describe an error without its text where that could hold the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the venue's certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next((text for type_, text in _TEXTS if isinstance(error, type_)), type(error).__name__)
