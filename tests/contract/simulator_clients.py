"""A real WebSocket client with AllTick's messages, for tests that speak to a running simulator."""

from __future__ import annotations

import itertools
import json
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from websockets.sync.client import connect

from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

#: Seconds that anything may take before it counts as not coming.
SOON = 5.0

HEARTBEAT, DEPTH, TICKS, CANCEL, PUSH = 22000, 22002, 22004, 22006, 22998


def simulator(switches: Switches | None = None, **fields: Any) -> Simulator:
    """Make a simulator without pacing, whose ticks happen only when asked for."""
    unpaced = {"request_interval_s": 0, "token_interval_s": 0, "reconnect_s": 0}
    return Simulator(SimulatorConfig(switches=switches or Switches(rate=0), **{**unpaced, **fields}))


class Client:
    """One connection of the `websockets` library; a context manager."""

    def __init__(
        self, sim: Simulator, market: Any = "stock", token: str = DEFAULT_TOKEN, tls: ssl.SSLContext | None = None
    ) -> None:
        self._seq_ids = itertools.count(1)
        self._stack = ExitStack()
        connecting = connect(
            f"{sim.url(market)}?token={token}",
            ssl=tls,
            max_size=None,
            ping_interval=None,
            compression=None,
            open_timeout=SOON,
            close_timeout=SOON,
        )
        self.ws = self._stack.enter_context(connecting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close with code 1000 and wait for the server's answer."""
        self._stack.close()

    def send(self, cmd_id: int, data: Any, **envelope: Any) -> int:
        """Send a request and return its seq_id."""
        seq_id = next(self._seq_ids)
        self.ws.send(json.dumps({"cmd_id": cmd_id, "seq_id": seq_id, "trace": f"t-{seq_id}", "data": data, **envelope}))
        return seq_id

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads(self.ws.recv(timeout=SOON))
        return message

    def ask(self, cmd_id: int, data: Any, **envelope: Any) -> dict[str, Any]:
        """Send a request and return the next message that is no tick."""
        self.send(cmd_id, data, **envelope)
        return next(message for message in iter(self.receive, None) if message["cmd_id"] != PUSH)

    def subscribe(self, *codes: str) -> int:
        """Replace the tick list and return the ret."""
        ret: int = self.ask(TICKS, {"symbol_list": [{"code": code} for code in codes]})["ret"]
        return ret

    def ticks(self, count: int) -> list[dict[str, Any]]:
        """Return the data of the next ticks; anything else in between is an error."""
        return [self._tick() for _ in range(count)]

    def ticks_before_heartbeat(self) -> list[dict[str, Any]]:
        """Send a heartbeat and return the ticks that came before its answer: a fence instead of a sleep."""
        self.send(HEARTBEAT, {})
        return [message["data"] for message in self._until_heartbeat()]

    def _until_heartbeat(self) -> Iterator[dict[str, Any]]:
        while (message := self.receive())["cmd_id"] != HEARTBEAT + 1:
            assert message["cmd_id"] == PUSH, message
            yield message

    def _tick(self) -> dict[str, Any]:
        message = self.receive()
        assert message["cmd_id"] == PUSH, message
        data: dict[str, Any] = message["data"]
        return data


class RawClient:
    """A socket after a sound upgrade, to break the rules with."""

    def __init__(self, sim: Simulator) -> None:
        self.sock = socket.create_connection(("127.0.0.1", sim.port), timeout=SOON)
        self.sock.sendall(
            f"GET /quote-stock-b-ws-api?token={DEFAULT_TOKEN} HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.sock.recv(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def read_to_end(self) -> bytes:
        """Return everything until the server closes its side."""
        data = b""
        while piece := self.sock.recv(65536):
            data += piece
        return data


def masked(first_byte: int, payload: bytes) -> bytes:
    """Write a client's frame of up to 125 bytes with an all-zero mask."""
    return bytes([first_byte, 0x80 | len(payload)]) + bytes(4) + payload
