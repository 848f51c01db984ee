"""Ticks that wait on a volume outlive their pod: a StatefulSet, a broker that is away, a pod that is deleted meanwhile.

There is no provisioner in this cluster, so the test makes the volume: a directory of the node. Kafka is down while the
pod goes and its successor comes; what the first could not deliver is in the volume, and the second publishes it.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.deployment import Deployment
from tests.cluster.figures import Note
from tests.cluster.kube import names, wait_until
from tests.cluster.site import Site

SYMBOLS = [f"{number}.HK" for number in range(1, 9)]


@pytest.fixture(scope="module")
def spilled(deploy: Callable[..., Deployment]) -> Deployment:
    return deploy("spilled", token="token", rate=200.0)


@pytest.fixture(scope="module")
def volume(site: Site, spilled: Deployment) -> Iterator[str]:
    """A volume for the one claim, root's: only the chart's `fsGroup` lets the bridge write to it."""
    place = site.machine.state / "volume"
    place.mkdir()
    claim = {"namespace": spilled.kube.namespace, "name": f"spill-{spilled.name}-tickbridge-0"}
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node"]}
    spilled.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "by-hand"},
            "spec": {
                "capacity": {"storage": "2Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim},
                "local": {"path": str(place)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }
    )
    yield claim["name"]
    spilled.kube.kubectl("delete", "pv", "by-hand", "--wait=false")


def test_what_waits_on_a_volume_is_published_by_the_next_pod(
    spilled: Deployment, site: Site, volume: str, note: Note
) -> None:
    spilled.wish(*SYMBOLS)
    spilled.upgrade(
        subscriptions={symbol: {} for symbol in SYMBOLS},
        spill={"persistence": {"enabled": True, "storageClass": ""}},
        shutdown={"budgetSeconds": 5},
    )
    spilled.wait_live()
    (pod,) = spilled.ready_pods(1)
    site.broker.stop()
    wait_until("ticks wait", lambda: spilled.status(pod)["accounts"]["in_flight"] > 1000)
    with spilled.last_words(pod) as said:
        spilled.kube.kubectl("delete", "pod", *names([pod]))
    (stopped,) = [line for line in said if line.get("event") == "stopped"]
    assert stopped["exit_code"] == 4
    assert stopped["balanced"]
    site.broker.start()
    (successor,) = spilled.wait_ready(1)
    assert names([successor]) == names([pod])
    spilled.wait_live()
    assert spilled.status(successor)["accounts"]["recovered"] == stopped["in_flight"] > 1000
    note(f"ticks left on the volume while Kafka was down, and published by the next pod: {stopped['in_flight']}")
    spilled.judge(at_least_once=True)


def test_the_claim_stays_when_the_release_is_removed(spilled: Deployment, volume: str) -> None:
    spilled.helm("uninstall", spilled.name, "--wait", "--timeout", "60s")
    assert names(spilled.kube.get("pvc")) == [f"spill-{spilled.name}-tickbridge-0"]
