"""What is at which path: metrics, the two probes, the status and the page."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files

import msgspec

from bridge.observe import health
from bridge.observe.health import Health
from bridge.observe.http import Response, plain
from bridge.observe.metrics import Metrics
from bridge.observe.status import Identity, status
from bridge.snapshots import ControlSnapshot, FeedSnapshot

_JSON = "application/json"


class Site:
    """Answers requests from the newest snapshots; called from the server's threads, it holds nothing that changes.

    ``clock`` gives monotonic seconds, as the snapshots' beats do; ``wall_us`` microseconds since the epoch.
    """

    def __init__(
        self,
        identity: Identity,
        feed: Callable[[], FeedSnapshot],
        control: Callable[[], ControlSnapshot],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._identity = identity
        self._settings = identity.settings
        self._feed = feed
        self._control = control
        self._clock = clock
        self._wall_us = wall_us
        self._started = clock()
        self._metrics = Metrics(feed, control, identity.settings, version=identity.version, ready=self._ready)
        self._page = page()

    def respond(self, path: str, accept: str = "") -> Response:
        """Answer a GET of ``path``; paths nobody knows get 404."""
        match path:
            case "/":
                return self._page
            case "/healthz":
                return self._healthz()
            case "/metrics":
                body, content_type = self._metrics.exposition(accept)
                return Response(HTTPStatus.OK, content_type, body)
            case "/readyz":
                return self._readyz()
            case "/status":
                return self._status()
            case _:
                return plain(HTTPStatus.NOT_FOUND)

    def _healthz(self) -> Response:
        return _verdict("healthy", self._alive(self._feed(), self._control()))

    def _readyz(self) -> Response:
        return _verdict("ready", self._ready(self._feed(), self._control()))

    def _status(self) -> Response:
        feed, control = self._feed(), self._control()
        alive, ready = self._alive(feed, control), self._ready(feed, control)
        body = status(self._identity, feed, control, alive=alive, ready=ready, now_us=self._wall_us())
        return Response(HTTPStatus.OK, _JSON, body)

    def _alive(self, feed: FeedSnapshot, control: ControlSnapshot) -> Health:
        return health.alive(feed, control, self._clock(), started=self._started)

    def _ready(self, feed: FeedSnapshot, control: ControlSnapshot) -> Health:
        patience_s, grace_s = self._settings.group.session_timeout_s, self._settings.http.ready_grace_s
        return health.ready(feed, control, self._clock(), session_timeout_s=patience_s, grace_s=grace_s)


def _verdict(word: str, found: Health) -> Response:
    body = msgspec.json.encode({word: found.ok, "checks": found.checks}) + b"\n"
    return Response(HTTPStatus.OK if found.ok else HTTPStatus.SERVICE_UNAVAILABLE, _JSON, body)


def page() -> Response:
    """Read the page; its policy allows its own script and style by their hashes, requests to us, and nothing else."""
    html = (files("bridge.observe") / "page" / "index.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(html, 'script')}; style-src {_hash(html, 'style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(HTTPStatus.OK, "text/html; charset=utf-8", html.encode(), {"Content-Security-Policy": policy})


def _hash(html: str, tag: str) -> str:
    """Name the content of the page's one element ``tag`` as a policy does (CSP level 3, section 6.7.3.3)."""
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
