"""The Grafana dashboard: readable, complete, and every expression is PromQL over series that the bridge exposes.

A real bridge is scraped once; what the dashboard and the alerts select must be among what it says.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bridge.simulator import Simulator, SimulatorConfig, Switches
from tests.e2e.conftest import SCALE, World
from tests.support.alert_cases import CASES
from tests.support.kafka import Cluster
from tests.support.process import BridgeProcess
from tests.support.prometheus import Promtool, Selector, promtool_for, selectors

FILES = Path(__file__).resolve().parents[2] / "helm" / "tickbridge" / "files"
DASHBOARD: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text())
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
}

#: Labels that Prometheus adds to what it scrapes.
TARGET = {"namespace", "job", "instance"}


def expressions() -> list[str]:
    """Give every expression of a panel, as Grafana would ask it."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [re.sub(r"\$(namespace|job|instance)", ".*", text).replace("$__rate_interval", "5m") for text in asked]


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return promtool_for(tmp_path_factory.mktemp("promtool"))


@pytest.fixture(scope="module")
def exposed(kafka: Cluster) -> dict[str, list[dict[str, str]]]:
    """Scrape a bridge that has just begun its work; give the labels of each series by its name."""
    world = World(kafka)
    config = SimulatorConfig(switches=Switches(pacing_slack_s=0, heartbeats_count="yes"), time_scale=SCALE)
    with Simulator(config) as venue, BridgeProcess(world.settings(venue)) as bridge:
        bridge.wait_ready()
        text = bridge.get("/metrics")[1].decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def unmet(selector: Selector, exposed: dict[str, list[dict[str, str]]]) -> list[str]:
    """Say what a selector asks for that no series has; every value of a list of values counts."""
    known = exposed.get(selector.metric)
    if known is None:
        return [selector.metric]
    return [
        f"{selector.metric}{{{label}={value!r}}}"
        for label, operator, values in selector.matchers
        if label not in TARGET
        for value in (values.split("|") if operator in ("=~", "!~") else [values])
        if value not in {labels.get(label) for labels in known}
    ]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_selects_only_what_a_real_bridge_exposes(name: str, exposed: dict[str, list[dict[str, str]]]) -> None:
    found = selectors(ALERTS[name].replace("${selector}", 'job="x"'))
    assert found
    assert [fault for selector in found for fault in unmet(selector, exposed)] == []


def test_the_dashboard_selects_only_what_a_real_bridge_exposes(exposed: dict[str, list[dict[str, str]]]) -> None:
    found = {selector for expression in expressions() for selector in selectors(expression)}
    assert [fault for selector in sorted(found, key=str) for fault in unmet(selector, exposed)] == []


def test_every_series_of_the_bridge_is_on_the_dashboard(exposed: dict[str, list[dict[str, str]]]) -> None:
    asked = {re.sub(r"_bucket$", "", one.metric) for text in expressions() for one in selectors(text)}
    ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exposed if name.startswith("tickbridge_")}
    assert ours - asked == set()


def test_a_name_that_nobody_exposes_would_be_noticed() -> None:
    exposed = {"tickbridge_ticks_total": [{"outcome": "dropped"}]}
    (strange,) = selectors('sum(tickbridge_tick_total{job="x"})')
    (mistyped,) = selectors('tickbridge_ticks_total{job="x",outcome=~"dropped|droped"}')
    assert unmet(strange, exposed) == ["tickbridge_tick_total"]
    assert unmet(mistyped, exposed) == ["tickbridge_ticks_total{outcome='droped'}"]


def test_prometheus_reads_every_expression(promtool: Promtool) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    assert f"{len(rules)} rules found" in promtool.check([{"name": "dashboard", "rules": rules}])


def test_every_selector_is_of_the_chosen_release_and_instances() -> None:
    chosen = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
    for panel in PANELS:
        for target in panel["targets"]:
            names = re.findall(r"\b(?:tickbridge|process)_\w+", target["expr"])
            assert len(names) == target["expr"].count(chosen) > 0, panel["title"]


def test_every_panel_says_what_it_shows_in_which_unit_and_of_which_source() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_panels_have_titles_and_numbers_of_their_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_no_panel_covers_another_or_leaves_the_page() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_every_alert_is_linked_from_a_panel_and_every_link_leads_to_an_alert() -> None:
    links = {link["url"] for panel in PANELS for link in panel["links"]}
    assert links == {f"docs/runbook.md#{name.lower()}" for name in CASES}


def test_the_release_and_its_instances_are_chosen_by_variables() -> None:
    variables = DASHBOARD["templating"]["list"]
    assert [variable["name"] for variable in variables] == ["datasource", "namespace", "job", "instance"]
    assert (variables[0]["type"], variables[0]["query"]) == ("datasource", "prometheus")


@pytest.mark.parametrize("title", [row["title"] for row in ROWS])
def test_the_runbook_explains_a_row(title: str) -> None:
    runbook = (FILES.parents[2] / "docs" / "runbook.md").read_text()
    assert f"**{title}**" in runbook.split("\n## Reading the dashboard\n")[1].split("\n## ")[0]


def test_every_panel_that_the_runbook_names_is_there() -> None:
    runbook = (FILES.parents[2] / "docs" / "runbook.md").read_text()
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)", runbook))
    assert named <= {panel["title"] for panel in DASHBOARD["panels"]}
    assert named
