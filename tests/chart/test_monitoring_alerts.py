"""Every alert fires when it should and keeps quiet when it should not, as Prometheus' own tools see it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.alert_cases import CASES, MINUTE, series
from tests.support.helm import Chart
from tests.support.prometheus import Group, Promtool, PromtoolRefusedError, promtool_for

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return promtool_for(tmp_path_factory.mktemp("promtool"))


def rendered(chart: Chart, **values: Any) -> list[Group]:
    """Give the groups of the chart's rules for these values of `prometheusRule`."""
    minimal = str(chart.directory / "ci" / "minimal-values.yaml")
    text = chart.helm(
        *("template", "bridge", str(chart.directory), "--values", minimal),
        *("--show-only", "templates/prometheusrule.yaml"),
        values={"prometheusRule": {"enabled": True, **values}},
    )
    found: list[Group] = yaml.safe_load(text)["spec"]["groups"]
    return found


@pytest.fixture(scope="module")
def groups(chart: Chart) -> list[Group]:
    return rendered(chart)


def alerts(groups: list[Group]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_prometheus_reads_every_rule(promtool: Promtool, groups: list[Group]) -> None:
    assert f"{len(alerts(groups))} rules found" in promtool.check(groups)


def test_a_rule_that_is_no_promql_would_be_noticed(promtool: Promtool) -> None:
    with pytest.raises(PromtoolRefusedError, match="parse error"):
        promtool.check([{"name": "broken", "rules": [{"alert": "Broken", "expr": "sum by (job"}]}])


def test_nothing_fires_while_all_is_well(promtool: Promtool, groups: list[Group]) -> None:
    assert promtool.firing(groups, [series({})], MINUTE) == [{}]


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_only_then(name: str, promtool: Promtool, groups: list[Group]) -> None:
    case = CASES[name]
    alone: list[Group] = [{"name": "alone", "rules": [alerts(groups)[name]]}]
    found = promtool.firing(alone, [series(change) for change in (*case.fires, *case.quiet)], MINUTE)
    fires, quiet = found[: len(case.fires)], found[len(case.fires) :]
    for change, seen in zip(case.fires, fires, strict=True):
        assert name in seen, f"quiet although {change}"
        assert "<" not in seen[name], f"a template of its annotations could not be expanded: {seen[name]}"
    for change, seen in zip(case.quiet, quiet, strict=True):
        assert not seen, f"fires although only {change}"


def test_every_alert_is_shown_firing_and_quiet(groups: list[Group]) -> None:
    assert set(CASES) == set(alerts(groups))
    assert all(case.fires and case.quiet for case in CASES.values())


def test_every_alert_has_its_heading_in_the_runbook_and_no_heading_is_left_over(groups: list[Group]) -> None:
    headings = re.findall(r"^## (?=[A-Z]\w+$)(.+)$", RUNBOOK, flags=re.MULTILINE)
    assert headings == list(alerts(groups))


@pytest.mark.parametrize("name", CASES)
def test_the_runbook_says_of_an_alert_what_it_means_how_to_see_it_and_what_to_do(name: str) -> None:
    section = RUNBOOK.split(f"\n## {name}\n")[1].split("\n## ")[0]
    said = re.findall(r"^\*\*(.+?)\*\*", section, flags=re.MULTILINE)
    assert said == ["What it means.", "How to see it.", "What to do.", "When it is harmless."]


def test_every_alert_says_how_bad_it_is_what_to_do_and_where_to_read_on(chart: Chart) -> None:
    for name, alert in alerts(rendered(chart, runbookBaseUrl="https://wiki.example/runbook")).items():
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        assert alert["annotations"]["runbook_url"] == f"https://wiki.example/runbook#{name.lower()}"
        assert alert["annotations"]["summary"].startswith("tickbridge {{ $labels.job }}: "), name
        assert alert["annotations"]["description"], name
        assert "${" not in str(alert), name


def test_rules_look_at_their_own_release_unless_told_otherwise(chart: Chart) -> None:
    own = alerts(rendered(chart))["FeedDown"]["expr"]
    assert own.count('{namespace="default",job="bridge-tickbridge"}') == 2
    other = alerts(rendered(chart, selector='job="feeds"'))["FeedDown"]["expr"]
    assert other.count('{job="feeds"}') == 2


def test_every_threshold_is_used(chart: Chart) -> None:
    thresholds = yaml.safe_load((chart.directory / "values.yaml").read_text())["prometheusRule"]["thresholds"]
    text = (chart.directory / "files" / "alerts.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == {"selector", "name", *thresholds}


def test_a_threshold_reaches_its_rule(chart: Chart) -> None:
    found = alerts(rendered(chart, thresholds={"feedDownSeconds": 45, "staleRatio": 0.25, "controlLagRecords": 900000}))
    assert found["FeedDown"]["for"] == "45s"
    assert ">= 0.25" in found["FeedStaleInMarketHours"]["expr"]
    assert float(re.findall(r"> (\S+)", found["ControlLag"]["expr"])[0]) == 900_000


def test_an_alert_can_be_left_out_or_weighed_otherwise(chart: Chart) -> None:
    found = alerts(rendered(chart, disabled=["SubscriptionsRejected"], severities={"FeedDown": "warning"}))
    assert "SubscriptionsRejected" not in found
    assert found["FeedDown"]["labels"]["severity"] == "warning"


def test_rules_of_ones_own_stand_in_a_group_of_their_own(chart: Chart) -> None:
    rule = {"record": "job:tickbridge_ticks:rate5m", "expr": "sum by (job) (rate(tickbridge_ticks_received_total[5m]))"}
    assert rendered(chart, additionalRules=[rule])[-1] == {"name": "bridge-tickbridge.additional", "rules": [rule]}


def test_who_pauses_the_bridge_is_not_told_that_it_is_absent(chart: Chart) -> None:
    minimal = str(chart.directory / "ci" / "minimal-values.yaml")
    text = chart.helm(
        *("template", "bridge", str(chart.directory), "--values", minimal, "--set", "prometheusRule.enabled=true"),
        *("--set", "replicaCount=0", "--show-only", "templates/prometheusrule.yaml"),
    )
    assert "BridgeAbsent" not in text
    assert "NoOwner" in text
