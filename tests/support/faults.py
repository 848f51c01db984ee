"""The fault lab: Kafka and the venue behind bad lines, and certificates that nobody should trust.

A client of Kafka goes where brokers tell it to, not where it was sent first: a line is felt only if the broker
advertises the line's address. So the broker here gets a second listener for that, and a test reads the topics over the
first, untouched by any fault.

    with kafka_behind_line(make_kafka) as (broker, line):
        world = World(broker.cluster)                                  # straight
        world.settings(venue, KAFKA__BOOTSTRAP_SERVERS=line.address)   # over the line
    with venue_behind_line(venue) as line:
        world.settings(venue, UPSTREAM__URL=over(line, venue.url()))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import trustme

from bridge.simulator import Simulator
from tests.support.broker import KafkaBroker
from tests.support.network import Network
from tests.support.ports import free_ports

#: Broker properties for a second listener, LINE, at the first port, which clients are told to reach at the second.
_MAP = "CLIENT:PLAINTEXT,LINE:PLAINTEXT,CONTROLLER:PLAINTEXT"


@contextmanager
def kafka_behind_line(make: Callable[..., KafkaBroker]) -> Iterator[tuple[KafkaBroker, Network]]:
    """Start a broker of one's own that can also be reached over a line; `make` is the fixture `make_kafka`.

    The broker's own address stays straight, and both survive its restarts.
    """
    client, controller = free_ports()
    behind, _ = free_ports()
    with Network(("127.0.0.1", behind)) as line:
        extra = {
            "listeners": f"CLIENT://127.0.0.1:{client},LINE://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{client},LINE://{line.address}",
            "listener.security.protocol.map": _MAP,
        }
        yield make(extra, choose_ports=lambda: (client, controller)), line


@contextmanager
def venue_behind_line(venue: Simulator) -> Iterator[Network]:
    """Put a line before a simulator; whoever connects to the line's address feels it."""
    with Network(("127.0.0.1", venue.port)) as line:
        yield line


def over(line: Network, url: str) -> str:
    """Give the same URL with the line's address; a certificate for 127.0.0.1 holds there too."""
    return urlunsplit(urlsplit(url)._replace(netloc=line.address))


def untrustworthy(directory: Path) -> dict[str, dict[str, Path]]:
    """Write certificates for a venue on loopback that must be refused: by kind, `cert`, `key` and the client's `ca`.

    `expired` ended yesterday, `wrong-host` is another's, `unknown-ca` is signed by nobody the client knows.
    """
    known, unknown = trustme.CA(), trustme.CA()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    issued = {
        "expired": known.issue_cert("127.0.0.1", not_before=yesterday - timedelta(days=1), not_after=yesterday),
        "wrong-host": known.issue_cert("venue.example"),
        "unknown-ca": unknown.issue_cert("127.0.0.1"),
    }
    found = {}
    for name, certificate in issued.items():
        paths = {part: directory / f"{name}-{part}.pem" for part in ("cert", "key", "ca")}
        certificate.cert_chain_pems[0].write_to_path(paths["cert"])
        certificate.private_key_pem.write_to_path(paths["key"])
        known.cert_pem.write_to_path(paths["ca"])
        found[name] = paths
    return found
