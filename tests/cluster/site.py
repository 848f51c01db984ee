"""What stands around a release: names in the cluster for Kafka and the venue, a namespace, its secrets, its venue."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from bridge.simulator import Simulator, SimulatorConfig, Switches
from tests.cluster.deployment import Deployment
from tests.cluster.kube import Kube, Manifest
from tests.cluster.machine import NODE_IP, Machine
from tests.support.kafka import KafkaBroker

KAFKA_PORT = 9092

#: The namespace of the names for what is outside of the cluster.
OUTSIDE = "outside"
KAFKA, VENUE = f"kafka.{OUTSIDE}.svc", f"venue.{OUTSIDE}.svc"

#: The Secrets that each namespace has.
TOKEN_SECRET, CA_SECRET = "venue-token", "venue-ca"


class Site:
    """The cluster, a real Kafka, and who signs the venues' certificates."""

    def __init__(self, machine: Machine, broker: KafkaBroker, helm: Path, image: str, home: Path) -> None:
        self.machine, self.broker, self.image = machine, broker, image
        self._helm, self._home = helm, home
        self._authority = trustme.CA()
        issued = self._authority.issue_cert(VENUE)
        self._cert, self._key = home / "cert.pem", home / "key.pem"
        issued.cert_chain_pems[0].write_to_path(self._cert)
        issued.private_key_pem.write_to_path(self._key)
        outside = self.kube(OUTSIDE)
        outside.apply(_namespace(OUTSIDE))
        outside.apply(*_name_for_the_node("kafka"), *_name_for_the_node("venue"))

    def kube(self, namespace: str) -> Kube:
        """Give the hands to a namespace."""
        return Kube(self.machine.programs.kubernetes, self.machine.kubeconfig, namespace)

    @contextmanager
    def prepare(self, name: str, *, token: str, rate: float) -> Iterator[Deployment]:
        """Make a namespace that admits restricted pods only, with its secrets, and a strict venue with TLS that ticks.

        The venue keeps the real one's pace. Nothing is installed yet. At the end the namespace goes, and the venue.
        """
        kube = self.kube(name)
        kube.apply(_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"}))
        kube.secret(TOKEN_SECRET, {"token": token})
        kube.secret(CA_SECRET, {"ca.crt": self._authority.cert_pem.bytes().decode()})
        switches = Switches(rate=rate, tokens=frozenset({token}), pacing_slack_s=0, heartbeats_count="yes")
        config = SimulatorConfig(host=NODE_IP, cert=self._cert, key=self._key, switches=switches)
        with Simulator(config) as venue:
            deployment = Deployment(name, kube, self._helm, self._home, self.broker.cluster, venue, {})
            deployment.values = self._values(deployment)
            yield deployment
            kube.kubectl("delete", "namespace", name, "--wait=false")

    def _values(self, deployment: Deployment) -> Manifest:
        repository, tag = self.image.rsplit(":", 1)
        address = deployment.venue.url().replace(NODE_IP, VENUE)
        return {
            "image": {"repository": repository, "tag": tag},
            "name": deployment.name,
            "upstream": {"url": address, "plan": "professional", "ca": {"existingSecret": CA_SECRET}},
            "token": {"existingSecret": TOKEN_SECRET},
            "kafka": {"bootstrapServers": f"{KAFKA}:{KAFKA_PORT}"},
            "topics": {**deployment.topics(), "ticksPartitions": 3, "ensureJob": {"enabled": True}},
        }


def _namespace(name: str, labels: dict[str, str] | None = None) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def _name_for_the_node(name: str) -> list[Manifest]:
    """Make a Service without a selector: its name leads to the node, whatever the port."""
    place = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"clusterIP": "None"}}
    ends = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE_IP]}],
    }
    return [place, {**ends, "ports": []}]
