"""What Helm prints after an installation, read by somebody who sees it for the first time."""

from typing import Any

import pytest

from tests.chart.examples import CI, GOOD, changed
from tests.support.helm import Chart

RUN = "kubectl --namespace market-data exec deployment/bridge-tickbridge --container tickbridge -- tickbridge"


def warnings(notes: str) -> list[str]:
    return [line.removeprefix("WARNING: ") for line in notes.splitlines() if line.startswith("WARNING")]


def test_the_commands_are_there_that_one_needs_first(chart: Chart) -> None:
    notes = chart.notes(GOOD)
    for words in ("subscriptions add AAPL.US", "subscriptions remove AAPL.US", "status", "check", "ticks tail AAPL.US"):
        assert f"{RUN} {words}\n" in notes
    assert "helm test bridge --namespace market-data\n" in notes
    assert "port-forward service/bridge-tickbridge 8080:8080" in notes
    assert "no shell" in notes
    assert warnings(notes) == []


def test_a_statefulset_is_called_by_its_name(chart: Chart) -> None:
    assert "exec statefulset/bridge-tickbridge --container" in chart.notes(CI["spill-pvc"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((), True),
        ((("topics.ensureJob.enabled", True),), False),
        ((("topics.ensure", True),), False),
        ((("strimzi", {"enabled": True, "cluster": "events"}),), False),
    ],
)
def test_who_has_no_topics_is_told_how_to_get_them(chart: Chart, changes: Any, said: bool) -> None:
    assert ("The topics must be there" in chart.notes(changed(*changes))) is said


def test_a_paused_release_says_so_and_gives_no_commands_that_cannot_work(chart: Chart) -> None:
    notes = chart.notes(changed(("replicaCount", 0)))
    assert "It is PAUSED" in notes
    assert "exec" not in notes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("replicaCount", 3)], "2 of the replicas can only wait"),
        ([("topics.subscriptionsPartitions", 3)], "Does your plan allow that many?"),
        ([("spill.enabled", False)], "spill.enabled is false"),
        ([("token", {"value": "t"})], "token.value lies open"),
        ([("backpressure.queueMaxBytes", 268435456)], "resources.limits.memory is 512Mi, less than twice"),
        ([("subscriptionsPrune", True)], "subscriptionsPrune does nothing"),
    ],
)
def test_what_is_seldom_meant_is_told(chart: Chart, changes: list[tuple[str, Any]], words: str) -> None:
    (warning,) = warnings(chart.notes(changed(*changes)))
    assert words in warning


def test_no_secret_is_printed(chart: Chart) -> None:
    notes = chart.notes(CI["full"])
    assert len(warnings(notes)) == 2
    assert "for-trying-out" not in notes
