"""One release of the chart with its topics and its venue: what an operator does with it, and the judge's evidence.

Everything that the operator wishes for goes through `subscribe` and `unsubscribe`, which keep the wishes that the judge
(`tests.support.audit`) compares with the venue's record, the ticks topic and the gaps topic.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import yaml

from bridge.simulator import Simulator
from tests.cluster.kube import Kube, Manifest, is_ready, names, wait_until
from tests.support import audit
from tests.support.audit import Verdict, Wish
from tests.support.kafka import Cluster

CHART = Path(__file__).parents[2] / "helm" / "tickbridge"
TOPICS = ("subscriptions", "ticks", "status", "gaps", "deadLetters", "state")

#: Seconds for a release to be installed or changed, with its hooks, on two busy cores.
HELM_TIMEOUT_S = 150

#: Seconds between a venue's write and the bridge's clock, at most, on a machine that is busy with a roll-out.
WIRE_S = 1.0


class HelmError(Exception):
    """Helm ended with an error; the message is what it wrote."""


@dataclass
class Deployment:
    """A release; `values` are what every install and upgrade of it has in common."""

    name: str
    kube: Kube
    helm_binary: Path
    home: Path
    kafka: Cluster
    venue: Simulator
    values: Manifest
    wishes: list[Wish] = field(default_factory=list)

    def topic(self, kind: str) -> str:
        """Name a topic."""
        return f"{self.name}.{kind}"

    def topics(self) -> dict[str, str]:
        """Give the names of all topics, as values."""
        return {kind: self.topic(kind) for kind in TOPICS}

    # What an operator does

    def helm(self, *arguments: str, values: Manifest | None = None) -> str:
        """Run Helm in the release's namespace and return what it wrote; `values` go in as a values file.

        Raises HelmError.
        """
        place = ["--kubeconfig", str(self.kube.kubeconfig), "--namespace", self.kube.namespace]
        given = ["--values", "-"] if values is not None else []
        ran = subprocess.run(
            [str(self.helm_binary), *arguments, *place, *given],
            input=yaml.safe_dump(values or {}),
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=HELM_TIMEOUT_S + 30,
        )
        if ran.returncode != 0:
            raise HelmError(ran.stdout + ran.stderr)
        return ran.stdout

    def upgrade(self, **values: Any) -> None:
        """Install the release, or change it; keywords are values beyond those in common, group by group."""
        waiting = ["--wait", "--timeout", f"{HELM_TIMEOUT_S}s"]
        merged = {key: _merged(self.values.get(key), values.get(key)) for key in {*self.values, *values}}
        self.helm("upgrade", "--install", self.name, str(CHART), *waiting, values=merged)

    def subscribe(self, *symbols: str, priority: int = 0) -> None:
        """Produce a control record for each symbol."""
        self.wish(*symbols)
        value = json.dumps({"priority": priority})
        self.kafka.produce(self.topic("subscriptions"), [(symbol, value) for symbol in symbols])

    def wish(self, *symbols: str) -> None:
        """Note symbols that somebody else has produced control records for, or is about to."""
        self.wishes += [Wish(symbol, symbol, time.time()) for symbol in symbols]

    def unsubscribe(self, *symbols: str) -> None:
        """Produce a tombstone for each symbol."""
        self.kafka.produce(self.topic("subscriptions"), [(symbol, None) for symbol in symbols])
        self.end_wishes()

    def end_wishes(self) -> None:
        """Note the symbols that somebody has removed; what was on the wire just then may be filtered, or not."""
        records = self.kafka.read_all(self.topic("subscriptions"))
        newest = {(record.key or b"").decode(): record for record in records}
        ends = {symbol: one.timestamp_ms / 1000 - WIRE_S for symbol, one in newest.items() if one.value is None}
        self.wishes = [
            replace(wish, until=ends[wish.symbol]) if wish.until is None and wish.symbol in ends else wish
            for wish in self.wishes
        ]

    @property
    def desired(self) -> list[str]:
        """The symbols that are wished for now."""
        return [wish.symbol for wish in self.wishes if wish.until is None]

    # What an operator sees

    def pods(self) -> list[Manifest]:
        """List the release's pods of bridges, without those that hooks have left."""
        labels = f"app.kubernetes.io/instance={self.name}"
        found = self.kube.get("pods", "--selector", labels)
        return [pod for pod in found if any("http" in _ports(one) for one in pod["spec"]["containers"])]

    def ready_pods(self, count: int = 1) -> list[Manifest]:
        """Give the pods when so many are ready, and no others are there; else nothing."""
        pods = self.pods()
        return pods if len(pods) == count and all(map(is_ready, pods)) else []

    def wait_ready(self, count: int = 1, timeout_s: float = 90.0) -> list[Manifest]:
        """Wait until exactly so many pods are there, all ready."""
        return wait_until(f"{count} ready", lambda: self.ready_pods(count), timeout_s)

    def ask(self, pod: Manifest, path: str) -> tuple[int, bytes]:
        """Ask a pod over HTTP; gives status and body."""
        address, port = pod["status"].get("podIP"), _ports(pod["spec"]["containers"][0])["http"]
        try:
            with urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except HTTPError as refusal:
            return refusal.code, refusal.read()

    def status(self, pod: Manifest) -> dict[str, Any]:
        """Give a pod's `/status`."""
        document: dict[str, Any] = json.loads(self.ask(pod, "/status")[1])
        return document

    def owners(self) -> list[Manifest]:
        """List the pods that own a control partition."""
        return [pod for pod in self.pods() if is_ready(pod) and self.status(pod)["partitions"]]

    def wait_live(self, timeout_s: float = 90.0) -> None:
        """Wait until the venue holds just what is wished for, ticks of it flow, and a successor would know of it."""
        self.venue.wait_until_subscribed(*self.desired, timeout=timeout_s)
        owner = wait_until("an owner", self.owners, timeout_s)[0]
        before = self.status(owner)["accounts"]["published"]
        wait_until("ticks", lambda: self.status(owner)["accounts"]["published"] > before, timeout_s)
        session = self.status(owner)["partitions"][0]["session"]
        wait_until("the owner's state, no gap open", lambda: self._told() == (session, []), timeout_s)

    @contextlib.contextmanager
    def last_words(self, pod: Manifest) -> Iterator[list[dict[str, Any]]]:
        """Follow a pod's log to its end; what it says is in the list once the block is left."""
        (name,), said = names([pod]), list[dict[str, Any]]()
        place = ["--kubeconfig", str(self.kube.kubeconfig), "--namespace", self.kube.namespace]
        command = [str(self.kube.kubernetes), "kubectl", *place, "logs", "--follow", "--tail=200", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            try:
                yield said
                output, _ = follower.communicate(timeout=60)
                said += [json.loads(line) for line in output.splitlines() if line.startswith("{")]
            finally:
                follower.kill()

    def published(self) -> list[audit.Published]:
        """Read the ticks topic to its end."""
        records = self.kafka.read_all(self.topic("ticks"))
        ticks = [json.loads(record.value or b"") for record in records]
        return [audit.Published(tick["symbol"], int(tick["seq"]), tick["session"]) for tick in ticks]

    # What the judge sees

    def judge(self, **allowed: Any) -> Verdict:
        """Let the market rest until Kafka has everything, and judge all ticks since the beginning; then go on.

        Keywords are those of `Verdict.check`. Raises AssertionError.
        """
        rate = self.venue.switches.rate
        self.venue.switches.rate = 0
        try:
            wait_until("nothing in flight", self._at_rest)
            codes = {wish.code for wish in self.wishes}
            topics = self.topic("ticks"), self.topic("gaps")
            evidence = audit.collect(self.kafka, *topics, self.venue.record, codes)
        finally:
            self.venue.switches.rate = rate
        verdict = audit.judge(evidence, self.wishes, wire_s=WIRE_S)
        verdict.check(**{"may_stay_open": (), **allowed})
        assert not self.venue.record.violations, self.venue.record.violations
        assert not self.venue.record.overlaps, self.venue.record.overlaps
        return verdict

    def gaps(self) -> list[audit.Gap]:
        """Read the newest record of every gap."""
        return audit.read_gaps((one.key, one.value) for one in self.kafka.read_all(self.topic("gaps")))

    def interrupted(self, *causes: str) -> set[str]:
        """Name the symbols that have gaps with one of these causes."""
        return {gap.symbol for gap in self.gaps() if gap.cause in causes}

    def _told(self) -> tuple[int | None, list[Any]]:
        last = json.loads(self.kafka.read_all(self.topic("state"))[-1].value or b"")
        return last.get("session"), last.get("open", [])

    def _at_rest(self) -> bool:
        accounts: Sequence[Mapping[str, int]] = [self.status(pod)["accounts"] for pod in self.pods()]
        return bool(accounts) and all(terms["in_flight"] == 0 for terms in accounts)


def _ports(container: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container.get("ports", []) if "name" in port}


def _merged(common: Any, more: Any) -> Any:
    if isinstance(common, dict) and isinstance(more, dict):
        return {key: _merged(common.get(key), more.get(key)) for key in {*common, *more}}
    return common if more is None else more
