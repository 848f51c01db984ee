"""The listening socket, and the time between accepting a connection and the end of its TLS handshake.

asyncio's own server loses a connection that is being accepted while it closes: the client would wait for ever.
This one knows every socket it accepted until a protocol holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.config import SimulatorConfig

#: Seconds that closing gives an accepted connection to begin its life, so that it can be ended properly.
BEGIN_S = 0.05


class Listener:
    """Accept connections on one port until closed. Lives in the loop that it is made in."""

    def __init__(self, config: SimulatorConfig, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        """Listen; `factory` makes the protocol of each connection.

        Raises OSError when the port cannot be had or the certificate cannot be read.
        """
        self._factory = factory
        self._tls = _tls(config)
        self._loop = asyncio.get_running_loop()
        self._welcoming: set[asyncio.Task[None]] = set()
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        self._socket = socket.create_server((config.host, port), family=family, backlog=128)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._accept)
        self.port: int = self._socket.getsockname()[1]

    async def close(self) -> None:
        """Accept no more, and give up what is still in its TLS handshake."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._welcoming:
            await asyncio.wait(self._welcoming, timeout=BEGIN_S)
        for task in self._welcoming:
            task.cancel()
        await asyncio.gather(*self._welcoming, return_exceptions=True)

    def _accept(self) -> None:
        # The client may be gone again, or another event of this turn may have taken it: nothing to accept then.
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            task = self._loop.create_task(self._welcome(connection))
            self._welcoming.add(task)
            task.add_done_callback(self._welcoming.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection, ssl=self._tls)
        except (OSError, ssl.SSLError):
            # A handshake that failed is the client's business; the socket must not outlive it.
            connection.close()


def _tls(config: SimulatorConfig) -> ssl.SSLContext | None:
    if config.cert is None or config.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config.cert, config.key)
    return context
