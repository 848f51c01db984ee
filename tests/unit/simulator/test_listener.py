"""The listener: no accepted socket is lost while it closes."""

import asyncio
import socket

from bridge.simulator.config import SimulatorConfig
from bridge.simulator.listener import Listener


class Told(asyncio.Protocol):
    """Remember that it was given a connection, and end it."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Told.made += 1
        transport.close()


def test_a_connection_accepted_just_before_the_end_still_gets_its_protocol() -> None:
    async def accept_and_close() -> None:
        listener = Listener(SimulatorConfig(), 0, Told)
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as client:
            listener._accept()
            await listener.close()
            await asyncio.sleep(0)
            assert client.recv(1) == b""

    asyncio.run(accept_and_close())
    assert Told.made == 1


def test_nothing_to_accept_is_no_error() -> None:
    async def accept_nothing() -> None:
        listener = Listener(SimulatorConfig(), 0, Told)
        listener._accept()
        await listener.close()

    asyncio.run(accept_nothing())
