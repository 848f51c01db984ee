"""How Prometheus and Grafana find the bridge: the monitors, and the dashboard's ConfigMap."""

import json
import re
from typing import Any

import pytest
import yaml

from tests.support.helm import Chart, HelmRefusedError, Manifest

MONITORS = ["serviceMonitor", "podMonitor"]


def rendered(chart: Chart, section: str, **values: Any) -> Manifest:
    """Give the object that one of the sections makes, enabled, with these values."""
    found: Manifest = yaml.safe_load(template(chart, section, {section: {"enabled": True, **values}}))
    return found


def template(chart: Chart, section: str, values: dict[str, Any]) -> str:
    minimal = str(chart.directory / "ci" / "minimal-values.yaml")
    return chart.helm(
        *("template", "bridge", str(chart.directory), "--namespace", "feeds", "--values", minimal),
        *("--show-only", f"templates/{section.lower()}.yaml"),
        values=values,
    )


def endpoint(monitor: Manifest) -> dict[str, Any]:
    (only,) = monitor["spec"]["endpoints" if monitor["kind"] == "ServiceMonitor" else "podMetricsEndpoints"]
    return dict(only)


@pytest.mark.parametrize("section", [*MONITORS, "prometheusRule", "dashboard"])
def test_nothing_is_made_unless_it_is_asked_for(chart: Chart, section: str) -> None:
    minimal = str(chart.directory / "ci" / "minimal-values.yaml")
    text = chart.helm("template", "bridge", str(chart.directory), "--values", minimal)
    assert f"# Source: tickbridge/templates/{section.lower()}.yaml" not in text


@pytest.mark.parametrize("section", MONITORS)
def test_a_monitor_scrapes_the_port_of_the_bridge(chart: Chart, section: str) -> None:
    monitor = rendered(chart, section)
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert {"port": "http", "path": "/metrics", "interval": "15s"}.items() <= endpoint(monitor).items()
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["feeds"]}


@pytest.mark.parametrize("section", MONITORS)
def test_a_monitor_selects_the_service_and_the_pods_of_the_bridge_alone(chart: Chart, section: str) -> None:
    minimal = str(chart.directory / "ci" / "minimal-values.yaml")
    manifests = [
        one
        for one in yaml.safe_load_all(chart.helm("template", "bridge", str(chart.directory), "--values", minimal))
        if one
    ]
    (service,) = [one for one in manifests if one["kind"] == "Service"]
    (deployment,) = [one for one in manifests if one["kind"] == "Deployment"]
    selector = rendered(chart, section)["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    jobs = [one for one in manifests if one["kind"] in ("Job", "Pod")]
    assert not [one for one in jobs if selector.items() <= one["metadata"].get("labels", {}).items()]


@pytest.mark.parametrize("section", MONITORS)
def test_either_way_the_job_is_the_name_of_the_release(chart: Chart, section: str) -> None:
    more = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
    found = endpoint(rendered(chart, section, relabelings=[more]))["relabelings"]
    assert found == [{"targetLabel": "job", "replacement": "bridge-tickbridge"}, more]


@pytest.mark.parametrize("section", MONITORS)
def test_a_monitor_says_what_it_is_told_to(chart: Chart, section: str) -> None:
    drop = {"sourceLabels": ["__name__"], "regex": "python_.*", "action": "drop"}
    monitor = rendered(
        chart, section, namespace="monitoring", labels={"release": "prometheus"}, annotations={"team": "feeds"},
        interval="1m", scrapeTimeout="20s", metricRelabelings=[drop],
    )  # fmt: skip
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["metadata"]["annotations"] == {"team": "feeds"}
    told = {"interval": "1m", "scrapeTimeout": "20s", "metricRelabelings": [drop]}
    assert told.items() <= endpoint(monitor).items()


def test_two_monitors_would_count_everything_twice_and_are_refused(chart: Chart) -> None:
    both = {section: {"enabled": True} for section in MONITORS}
    with pytest.raises(HelmRefusedError, match=r"serviceMonitor\.enabled and podMonitor\.enabled"):
        template(chart, "serviceMonitor", both)


def test_the_rule_object_bears_what_prometheus_chooses_it_by(chart: Chart) -> None:
    rule = rendered(chart, "prometheusRule", labels={"release": "prometheus"}, annotations={"team": "feeds"})
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["metadata"]["annotations"] == {"team": "feeds"}


def test_grafanas_sidecar_finds_the_dashboard(chart: Chart) -> None:
    found = rendered(chart, "dashboard", namespace="monitoring", annotations={"grafana_folder": "Feeds"})
    assert found["kind"] == "ConfigMap"
    assert found["metadata"]["namespace"] == "monitoring"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Feeds"}
    assert json.loads(found["data"]["tickbridge.json"]) == json.loads(
        (chart.directory / "files" / "dashboard.json").read_text()
    )


def test_the_dashboard_links_to_where_the_runbook_is_read(chart: Chart) -> None:
    values = {"dashboard": {"enabled": True}, "prometheusRule": {"runbookBaseUrl": "https://wiki.example/runbook"}}
    text = yaml.safe_load(template(chart, "dashboard", values))["data"]["tickbridge.json"]
    assert json.loads(text)["links"][0]["url"] == "https://wiki.example/runbook"
    assert "docs/runbook.md" not in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"serviceMonitor": {"intervall": "15s"}}, "intervall"),
        ({"podMonitor": {"interval": "15"}}, "/podMonitor/interval"),
        ({"serviceMonitor": {"scrapeTimeout": "soon"}}, "/serviceMonitor/scrapeTimeout"),
        ({"prometheusRule": {"thresholds": {"staleRatio": 1.5}}}, "/prometheusRule/thresholds/staleRatio"),
        ({"prometheusRule": {"thresholds": {"staleRatio": 0}}}, "/prometheusRule/thresholds/staleRatio"),
        ({"prometheusRule": {"thresholds": {"feedDownSeconds": 1.5}}}, "/prometheusRule/thresholds/feedDownSeconds"),
        ({"prometheusRule": {"thresholds": {"feedDownSeconds": 90000}}}, "/prometheusRule/thresholds/feedDownSeconds"),
        ({"prometheusRule": {"thresholds": {"feedDownSeconds": None}}}, "feedDownSeconds"),
        ({"prometheusRule": {"thresholds": {"feedDown": 60}}}, "feedDown"),
        ({"prometheusRule": {"disabled": ["FeedDwon"]}}, "/prometheusRule/disabled/0"),
        ({"prometheusRule": {"severities": {"FeedDwon": "info"}}}, "FeedDwon"),
        ({"prometheusRule": {"severities": {"FeedDown": "loud"}}}, "/prometheusRule/severities/FeedDown"),
        ({"prometheusRule": {"runbookBaseUrl": ""}}, "/prometheusRule/runbookBaseUrl"),
        ({"dashboard": {"labels": {"grafana_dashboard": 1}}}, "/dashboard/labels/grafana_dashboard"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(chart: Chart, values: dict[str, Any], words: str) -> None:
    (section,) = values
    with pytest.raises(HelmRefusedError) as refusal:
        template(chart, section, values)
    assert words in str(refusal.value)


def test_the_names_that_can_be_left_out_or_weighed_otherwise_are_those_of_the_alerts(chart: Chart) -> None:
    names = re.findall(r"- alert: (\w+)", (chart.directory / "files" / "alerts.yaml").read_text())
    schema = json.loads((chart.directory / "values.schema.json").read_text())["properties"]["prometheusRule"]
    assert schema["properties"]["disabled"]["items"]["enum"] == names
    assert list(schema["properties"]["severities"]["properties"]) == names
