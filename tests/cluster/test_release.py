"""One release from its installation to its removal, as an operator lives with it: each test goes on from the last.

The venue is strict and ticks all the time at the real one's pace; the judge looks at every tick since the first.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bridge.simulator import ConnectionRecord
from tests.cluster.deployment import Deployment, HelmError
from tests.cluster.figures import Note
from tests.cluster.kube import KubectlError, Manifest, is_ready, names, wait_until
from tests.cluster.site import TOKEN_SECRET, Site

SYMBOLS = [f"{number}.HK" for number in range(1, 9)]

#: The settings' defaults and the paid plans' pause between two connections: what a hand-over may take (contract 1.5).
SESSION_TIMEOUT_S, RECONNECT_MIN_S, BUDGET_S = 10.0, 3.0, 25.0
#: What the machine may add to it: two busy cores, on which a pod takes seconds to start.
MARGIN_S = 6.0

#: Ticks a second that the simulator can still make beside everything else, and the chart's limit for the pod.
BUSY, MEMORY_LIMIT_MIB = 5000, 512

TOKEN_FILE = "/etc/tickbridge/token/token"


@pytest.fixture(scope="module")
def feed(deploy: Callable[..., Deployment]) -> Deployment:
    return deploy("feed", token="first-token", rate=200.0)


def connections(feed: Deployment) -> list[ConnectionRecord]:
    return feed.venue.record.connections


def command_in(printed: str, words: str) -> list[str]:
    """Find the line of a printed text with these words of tickbridge's, and give the arguments of its `kubectl`."""
    (line,) = [line.split() for line in printed.splitlines() if f"-- tickbridge {words}" in line][:1]
    assert line[0] == "kubectl"
    return line[1:]


def one_other_than(pod: Manifest, pods: list[Manifest]) -> list[Manifest]:
    return pods if len(pods) == 1 and names(pods) != names([pod]) else []


def restarts(pods: list[Manifest]) -> dict[str, int]:
    """Count the restarts of each pod, by name: what is equal before and after was neither replaced nor restarted."""
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


def test_it_is_installed_into_a_restricted_namespace_and_ticks_flow(feed: Deployment, note: Note) -> None:
    feed.wish(*SYMBOLS)
    with note.timed("helm install with both hooks, until ready"):
        feed.upgrade(subscriptions={symbol: {} for symbol in SYMBOLS}, networkPolicy={"enabled": True})
    assert len(feed.ready_pods(1)) == 1
    feed.wait_live()
    assert len(feed.kube.get("networkpolicy")) == 1
    kept = {record.key for record in feed.kafka.read_all(feed.topic("subscriptions"))}
    assert kept == {symbol.encode() for symbol in SYMBOLS}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        feed.kube.kubectl("run", "careless", "--image=tickbridge")  # may gain rights, and may be root


def test_its_own_test_passes(feed: Deployment, note: Note) -> None:
    with note.timed("helm test"):
        assert "Succeeded" in feed.helm("test", feed.name, "--timeout", "60s")


def test_the_commands_that_helm_prints_work_in_the_pod(feed: Deployment) -> None:
    printed = feed.helm("get", "notes", feed.name)
    add, remove, check = (
        command_in(printed, words) for words in ("subscriptions add", "subscriptions remove", "check")
    )
    feed.wish("AAPL.US")
    feed.kube.kubectl(*add)
    feed.venue.wait_until_subscribed(*SYMBOLS, "AAPL.US", timeout=15)
    feed.kube.kubectl(*remove)
    feed.end_wishes()
    feed.venue.wait_until_subscribed(*SYMBOLS, timeout=15)
    assert "token" in feed.kube.kubectl(*check)


def test_a_symbol_is_added_and_removed_by_records_and_nothing_restarts(feed: Deployment, note: Note) -> None:
    before = restarts(feed.pods())
    with note.timed("from a control record to the venue's acceptance"):
        feed.subscribe("TSLA.US", priority=5)
        feed.venue.wait_until_subscribed(*SYMBOLS, "TSLA.US", timeout=15)
    wait_until("a tick of it", lambda: "TSLA.US" in {tick.symbol for tick in feed.published()}, 30)
    feed.unsubscribe("TSLA.US")
    feed.venue.wait_until_subscribed(*SYMBOLS, timeout=15)
    assert restarts(feed.pods()) == before
    assert len(connections(feed)) == 1
    assert feed.judge().missing == 0


def test_a_rolling_upgrade_loses_nothing_but_what_a_gap_tells(feed: Deployment, note: Note) -> None:
    (old,) = feed.ready_pods(1)
    with note.timed("helm upgrade of a setting, under ticks, until ready"):
        feed.upgrade(ticks={"staleAfterSeconds": 90})
    (new,) = feed.wait_ready(1)
    assert names([new]) != names([old])
    feed.wait_live()
    first, second = connections(feed)
    assert first.closed_at is not None
    # The successor was ready, as a standby, before the owner was told to go.
    assert second.opened_at - first.closed_at < RECONNECT_MIN_S + 1 + MARGIN_S
    note.seconds("without a connection during that roll-out", second.opened_at - first.closed_at)
    verdict = feed.judge()
    due = sum(one.due for one in verdict.symbols.values())
    note(f"ticks until then: {due} due, {verdict.missing} of them missing, every one inside a gap record")
    assert feed.interrupted("stop", "rebalance") == set(SYMBOLS)


def test_a_pod_that_is_deleted_drains_within_its_budget_and_says_so(feed: Deployment, note: Note) -> None:
    (old,) = feed.ready_pods(1)
    deleted_at = time.monotonic()
    with note.timed("deletion of a pod, until it is gone"), feed.last_words(old) as said:
        feed.kube.kubectl("delete", "pod", *names([old]))  # returns when it is gone
    assert time.monotonic() - deleted_at < BUDGET_S
    (stopped,) = [line for line in said if line.get("event") == "stopped"]
    assert stopped["exit_code"] == 0
    assert stopped["balanced"]
    assert stopped["in_flight"] == 0
    feed.wait_ready(1)
    feed.wait_live()
    feed.judge()  # every gap that the stop has left open is closed by now


def test_of_two_replicas_one_stands_by_and_a_killed_owner_is_succeeded_in_time(
    feed: Deployment, site: Site, note: Note
) -> None:
    feed.upgrade(replicaCount=2)
    pods = feed.wait_ready(2)
    feed.wait_live()
    (owner,) = feed.owners()
    (standby,) = [pod for pod in pods if names([pod]) != names([owner])]
    assert feed.status(standby)["partitions"] == []
    assert len(feed.venue.record.open_connections) == 1
    before = len(connections(feed))
    killed_at = time.time()
    for process in site.machine.processes(owner["metadata"]["uid"]):
        os.kill(process, signal.SIGKILL)
    successor = feed.venue.wait_for(lambda record: record.connections[before:], SESSION_TIMEOUT_S + 30)[0]
    assert successor.opened_at - killed_at < SESSION_TIMEOUT_S + RECONNECT_MIN_S + 1 + MARGIN_S
    note.seconds("from SIGKILL of the owner to its successor's connection", successor.opened_at - killed_at)
    feed.wait_live()
    feed.wait_ready(2)
    # Whose connection it is, the group decides: the killed container is back before it is missed.
    assert len(feed.owners()) == 1
    feed.judge(at_least_once=True)
    assert feed.interrupted("crash") == set(SYMBOLS)


def test_a_new_token_is_used_without_a_restart(feed: Deployment, site: Site, note: Note) -> None:
    feed.upgrade(replicaCount=1)
    (pod,) = feed.wait_ready(1)
    feed.wait_live()
    before = restarts([pod])
    feed.venue.switches.tokens = frozenset({"first-token", "second-token"})
    feed.kube.secret(TOKEN_SECRET, {"token": "second-token"})
    (process,) = site.machine.processes(pod["metadata"]["uid"])
    mounted = Path(f"/proc/{process}/root{TOKEN_FILE}")  # as the bridge sees it
    with note.timed("from a new Secret to the file in the pod (the kubelet's syncFrequency is 5 s here)"):
        wait_until("the new token in the pod", lambda: mounted.read_text() == "second-token", 90)
    feed.venue.switches.tokens = frozenset({"second-token"})
    feed.venue.faults.close()
    feed.wait_live()
    assert connections(feed)[-1].token.startswith("sec")
    assert feed.venue.record.refused_upgrades == []
    assert restarts(feed.pods()) == before
    feed.judge(at_least_once=True)


def test_a_token_that_the_venue_refuses_shows_and_heals_when_it_is_mended(feed: Deployment, note: Note) -> None:
    (pod,) = feed.wait_ready(1)
    before = restarts([pod])
    feed.venue.switches.tokens = frozenset({"third-token"})
    feed.venue.faults.close()
    wait_until("not ready", lambda: feed.ask(pod, "/readyz")[0] == 503)
    wait_until("not ready for Kubernetes", lambda: not feed.ready_pods(1))
    assert feed.ask(pod, "/healthz")[0] == 200
    log = feed.kube.kubectl("logs", *names([pod]))
    assert "401" in log
    assert "second-token" not in log
    with note.timed("from a mended Secret to a pod that is ready again"):
        feed.kube.secret(TOKEN_SECRET, {"token": "third-token"})
        feed.wait_ready(1)
    feed.wait_live()
    assert restarts(feed.pods()) == before
    feed.judge(at_least_once=True)


def test_a_roll_out_while_the_venue_is_down_goes_through_and_the_feed_is_back_with_the_venue(feed: Deployment) -> None:
    (old,) = feed.wait_ready(1)
    feed.venue.stop()
    feed.upgrade(ticks={"staleAfterSeconds": 80})
    (new,) = wait_until("the old pod gone", lambda: one_other_than(old, feed.pods()))
    wait_until("not ready", lambda: feed.ask(new, "/readyz")[0] == 503)
    feed.venue.start()
    feed.wait_ready(1)
    feed.wait_live()
    feed.judge(at_least_once=True)


def test_a_roll_out_while_kafka_is_down_waits_and_the_old_pod_goes_on(feed: Deployment, site: Site, note: Note) -> None:
    (old,) = feed.wait_ready(1)
    before = len(connections(feed))
    site.broker.stop()
    feed.kube.kubectl("rollout", "restart", "deployment", "--selector", f"app.kubernetes.io/instance={feed.name}")
    wait_until("a new pod", lambda: len(feed.pods()) == 2)
    wait_until("ticks wait", lambda: feed.status(old)["accounts"]["in_flight"] > 1000)
    waiting = feed.status(old)["accounts"]["in_flight"]
    assert names([pod for pod in feed.pods() if is_ready(pod)]) in ([], names([old]))
    assert len(connections(feed)) == before
    site.broker.start()
    (new,) = feed.wait_ready(1)
    assert names([new]) != names([old])
    feed.wait_live()
    feed.judge(at_least_once=True)
    note(f"ticks that waited in the old pod while Kafka was down during a roll-out: {waiting}, then published")


def test_without_replicas_it_pauses_and_with_one_again_it_goes_on(feed: Deployment) -> None:
    feed.upgrade(replicaCount=0)
    wait_until("no pod", lambda: not feed.pods())
    assert feed.venue.record.open_connections == []
    feed.upgrade(replicaCount=1)
    feed.wait_ready(1)
    feed.wait_live()
    feed.judge(at_least_once=True)


def test_a_busy_market_takes_a_fraction_of_a_core_and_half_of_the_memory(
    feed: Deployment, site: Site, note: Note
) -> None:
    (pod,) = feed.wait_ready(1)
    (number,) = site.machine.processes(pod["metadata"]["uid"])
    process, before = psutil.Process(number), feed.status(pod)["accounts"]["published"]
    feed.venue.switches.rate = BUSY
    process.cpu_percent()
    wait_until("ten seconds of it", lambda: feed.status(pod)["accounts"]["published"] > before + 10 * BUSY)
    share, megabytes = process.cpu_percent() / 100, process.memory_info().rss / 2**20
    feed.venue.switches.rate = 200.0
    note(f"at {BUSY} ticks a second: {share:.2f} of a core, {megabytes:.0f} MiB")
    assert share < 1
    assert megabytes < MEMORY_LIMIT_MIB / 2
    feed.judge(at_least_once=True)


def test_values_that_cannot_be_used_are_refused_and_change_nothing(feed: Deployment) -> None:
    before = restarts(feed.pods()), feed.helm("history", feed.name)
    for values, word in (
        ({"upstream": {"plan": "gold"}}, "plan"),
        ({"replicaCount": -1}, "replicaCount"),
        ({"kafka": {"bootstrapServers": ""}}, "bootstrapServers"),
        ({"token": {"value": "as-well-as-the-secret"}}, "token"),
    ):
        with pytest.raises(HelmError, match=word):
            feed.upgrade(**values)
    assert (restarts(feed.pods()), feed.helm("history", feed.name)) == before


def test_an_uninstalled_release_leaves_nothing(feed: Deployment, note: Note) -> None:
    feed.unsubscribe(*feed.desired)
    feed.venue.wait_until_subscribed(timeout=60)
    with note.timed("helm uninstall"):
        feed.helm("uninstall", feed.name, "--wait", "--timeout", "60s")
    kinds = feed.kube.kubectl("api-resources", "--namespaced", "--verbs", "list", "--output", "name").split()
    label = f"app.kubernetes.io/instance={feed.name}"
    wait_until("nothing left", lambda: not feed.kube.get(",".join(kinds), "--selector", label), 60)
    left = [one for one in feed.kube.get("secrets,configmaps") if "helm" in one["metadata"]["name"]]
    assert names(left) == []
    assert not feed.venue.record.open_connections
