"""The fault lab's certificates are each untrustworthy for their own reason, and only for that."""

import socket
import ssl
from pathlib import Path

import pytest

from tests.contract.simulator_clients import SOON, Client, simulator
from tests.support.faults import untrustworthy


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "certificate has expired"),
        ("wrong-host", "IP address mismatch"),
        ("unknown-ca", "unable to get local issuer certificate"),
    ],
)
def test_a_client_that_looks_refuses_the_venue_and_says_why(tmp_path: Path, kind: str, reason: str) -> None:
    paths = untrustworthy(tmp_path)[kind]
    context = ssl.create_default_context(cafile=paths["ca"])
    with simulator(cert=paths["cert"], key=paths["key"]) as sim:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            Client(sim, tls=context)
        assert sim.record.connections == []


def test_a_client_that_does_not_look_notices_nothing(tmp_path: Path) -> None:
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    for paths in untrustworthy(tmp_path).values():
        with (
            simulator(cert=paths["cert"], key=paths["key"]) as sim,
            socket.create_connection(("127.0.0.1", sim.port), timeout=SOON) as plain,
            careless.wrap_socket(plain) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.recv(8) == b"HTTP/1.1"
