"""Free ports for a server that is stopped and comes back to them.

They lie below the range from which the system gives ports to outgoing connections. Inside it, a client that tries again
and again to reach the stopped server can be given the server's own port, connect to itself, and keep it. A server that
starts once needs none of this: it binds port 0.
"""

import random
import socket
from pathlib import Path


def free_ports() -> tuple[int, int]:
    """Pick two ports of 127.0.0.1 that are free now."""
    ports: list[int] = []
    for port in random.sample(range(12000, min(_first_ephemeral_port(), 32000)), 500):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == 2:
            return ports[0], ports[1]
    raise OSError("no two free ports below the ephemeral range")


def _first_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux
        return 32000
