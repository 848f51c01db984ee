"""The Jobs do their work on a real Kafka, with nothing but what the chart tells them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.chart.examples import changed, variables
from tests.support.cluster import unique
from tests.support.helm import Chart, Manifest
from tests.support.kafka import Cluster


def run(job: Manifest, arguments: dict[str, str], directory: Path) -> None:
    """Run a Job's container here; ``arguments`` replaces paths of the pod by ours."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    words = [arguments.get(word, word) for word in container["args"]]
    environment = {"PATH": os.environ["PATH"], **variables(container)}
    command = [sys.executable, "-m", "bridge", *words]
    ran = subprocess.run(command, env=environment, cwd=directory, check=False, capture_output=True, timeout=100)
    assert ran.returncode == 0, ran.stderr.decode()


def test_topics_are_made_and_subscriptions_applied_twice_over(chart: Chart, kafka: Cluster, tmp_path: Path) -> None:
    prefix = unique("chart")
    keys = ("subscriptions", "ticks", "status", "gaps", "deadLetters", "state")
    names = {key: f"{prefix}.{key}" for key in keys}
    wanted: dict[str, Any] = {"AAPL.US": {"priority": 5}, "HKEX:00700": {}}
    topics = {**names, "ticksPartitions": 3, "replication": 1, "minInsyncReplicas": 1, "ensureJob": {"enabled": True}}
    manifests = chart.render(
        changed(("kafka.bootstrapServers", kafka.bootstrap), ("topics", topics), ("subscriptions", wanted))
    )
    jobs = {name.rpartition("-")[2]: one for name, one in manifests.of("Job").items()}
    config = manifests.of("ConfigMap")["bridge-tickbridge-subscriptions"]["data"]
    file = tmp_path / "subscriptions.yaml"
    file.write_text(config[file.name])

    for _ in range(2):
        run(jobs["topics"], {}, tmp_path)
        run(jobs["subscriptions"], {f"/etc/tickbridge/subscriptions/{file.name}": str(file)}, tmp_path)

    assert sorted(record.key or b"" for record in kafka.read_all(names["subscriptions"])) == [b"AAPL.US", b"HKEX:00700"]
    assert {record.partition for record in kafka.read_all(names["subscriptions"])} == {0}
