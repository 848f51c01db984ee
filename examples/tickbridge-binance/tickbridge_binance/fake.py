"""A Binance for a desk: takes requests as the real one does, and trades when it is told to, or by itself."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import suppress
from threading import Condition, Thread
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

VERBS = ("SUBSCRIBE", "UNSUBSCRIBE")


class Fake:
    """A server on a free port of this machine; a context manager. ``refused`` are pairs that it does not have."""

    def __init__(self, port: int = 0, refused: frozenset[str] = frozenset()) -> None:
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self._refused = {f"{pair.lower()}@trade" for pair in refused}
        self._streams: dict[ServerConnection, set[str]] = {}
        self._changed = Condition()
        self._trades = itertools.count(1)
        self._server = serve(self._hold, "127.0.0.1", port)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._server.shutdown()
        self._thread.join()

    @property
    def url(self) -> str:
        """The address, as UPSTREAM__URL takes it."""
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/ws"

    @property
    def pairs(self) -> set[str]:
        """The pairs that anybody listens to."""
        with self._changed:
            return {stream.partition("@")[0].upper() for streams in self._streams.values() for stream in streams}

    def wait_for(self, *pairs: str, timeout: float = 20.0) -> None:
        """Wait until somebody listens to exactly these pairs."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.pairs == set(pairs), timeout):
                raise TimeoutError(f"{pairs} awaited, {self.pairs} subscribed")

    def trade(self, pair: str, price: str, quantity: str = "0.10000000", *, sold: bool = False) -> None:
        """Let somebody trade."""
        now = time.time_ns() // 1_000_000
        push = {"e": "trade", "E": now, "s": pair, "t": next(self._trades), "p": price, "q": quantity, "T": now}
        text = json.dumps({**push, "m": sold, "M": True})
        with self._changed:
            listeners = [one for one, streams in self._streams.items() if f"{pair.lower()}@trade" in streams]
        for connection in listeners:
            with suppress(ConnectionClosed):
                connection.send(text)

    def _hold(self, connection: ServerConnection) -> None:
        self.connections += 1
        try:
            for text in connection:
                connection.send(json.dumps(self._answer(connection, json.loads(text))))
        finally:
            with self._changed:
                self._streams.pop(connection, None)
                self._changed.notify_all()

    def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        streams = set(request["params"])
        with self._changed:
            self.requests.append(request)
            held = self._streams.setdefault(connection, set())
            if request["method"] not in VERBS or streams & self._refused:
                return {"error": {"code": 2, "msg": "Invalid request"}, "id": request["id"]}
            if request["method"] == "SUBSCRIBE":
                held |= streams
            else:
                held -= streams
            self._changed.notify_all()
        return {"result": None, "id": request["id"]}


def main() -> None:
    """Serve and trade until Ctrl-C."""
    with Fake(8790) as fake, suppress(KeyboardInterrupt):
        print(f"TICKBRIDGE_UPSTREAM__URL={fake.url}")
        for number in itertools.count():
            for pair in fake.pairs:
                fake.trade(pair, f"{100 + number % 50}.00000000", sold=bool(number % 2))
            time.sleep(0.2)


if __name__ == "__main__":
    main()
