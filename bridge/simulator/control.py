"""The control port: a small HTTP server on the loopback address through which a running simulator is changed.

`GET /record`, `GET /switches`, `POST /switches` (a JSON array of `switch=value`) and `POST /acts` (a JSON array of
acts as in `faults.ACTS`). A web page cannot reach the two that change something: they insist on
`application/json`, which a browser sends across origins only after asking, and nobody here says yes.
"""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from bridge.simulator.switches import parse_assignments

if TYPE_CHECKING:
    from bridge.simulator.simulator import Simulator

LOOPBACK = "127.0.0.1"
#: Seconds the client waits for the simulator, and bytes the simulator takes.
PATIENCE_S = 15.0
BODY_MAX = 2**20


class ControlError(RuntimeError):
    """The simulator could not be reached, or refused what was asked; the text says why and what helps."""


class ControlPort:
    """Serve one simulator's control port; a context manager."""

    def __init__(self, simulator: Simulator, port: int) -> None:
        """Listen on the loopback address; port 0 takes a free one. Raises OSError when it cannot be had."""
        handler = type("Handler", (_Handler,), {"simulator": simulator})
        self._http = ThreadingHTTPServer((LOOPBACK, port), handler)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="tickbridge-control", daemon=True
        )
        self.port: int = self._http.server_address[1]

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    simulator: Simulator

    def do_GET(self) -> None:
        """Answer what only reads."""
        if self.path == "/record":
            self._reply(200, self.simulator.record.as_dict())
        elif self.path == "/switches":
            self._reply(200, self.simulator.switches.as_dict())
        else:
            self._reply(404, {"error": f"there is no {self.path}; there are /record and /switches"})

    def do_POST(self) -> None:
        """Answer what changes something."""
        try:
            self._change(self._texts())
        except ValueError as exc:
            self._reply(400, {"error": str(exc)})
        else:
            self._reply(200, self.simulator.switches.as_dict())

    def _change(self, texts: list[str]) -> None:
        if self.path == "/switches":
            self.simulator.switches.update(**parse_assignments(texts))
        elif self.path == "/acts":
            for text in texts:
                self.simulator.faults.perform(text)
        else:
            raise ValueError(f"there is no {self.path}; there are /switches and /acts")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """Keep quiet: the terminal belongs to the live line."""

    def _texts(self) -> list[str]:
        if self.headers.get_content_type() != "application/json":
            raise ValueError("send a JSON array of texts with the content type application/json")
        texts = json.loads(self.rfile.read(min(int(self.headers.get("Content-Length", 0)), BODY_MAX)))
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("send a JSON array of texts")
        return texts

    def _reply(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def ask(port: int, path: str, texts: list[str] | None = None) -> dict[str, Any]:
    """Read from a control port, or with `texts` change something through it; return its answer.

    Raises ControlError when nothing answers there or the simulator refuses.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE_S)
    try:
        if texts is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(texts), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise ControlError(
            f"no simulator answers on control port {port} ({why}): start `tickbridge simulate`, "
            "or give the port it prints with --control-port"
        ) from exc
    finally:
        connection.close()
    if response.status != 200:
        raise ControlError(str(answer.get("error", answer)))
    return answer
