"""What may come in and go out where the policy is on."""

from typing import Any

import pytest

from tests.chart.examples import CI, GOOD, changed
from tests.support.helm import Chart


def policy(chart: Chart, *changes: tuple[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = chart.render(changed(("networkPolicy.enabled", True), *changes)).one("NetworkPolicy")["spec"]
    return spec


def ports(rule: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["port"], one["protocol"]) for one in rule["ports"]]


def test_it_is_off_unless_it_is_asked_for(chart: Chart) -> None:
    assert "NetworkPolicy" not in chart.render(GOOD).kinds


def test_names_kafka_and_the_venue_can_be_reached_and_nothing_else(chart: Chart) -> None:
    spec = policy(chart)
    dns, kafka, venue = spec["egress"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert ports(dns) == [(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")]
    assert ports(kafka) == [(9092, "TCP")]
    assert ports(venue) == [(443, "TCP")]


@pytest.mark.parametrize(
    ("servers", "expected"),
    [("a:9093,b:9094", [9093, 9094]), ("a:9093, b:9093", [9093]), ("a", [9092]), ("[::1]:9095", [9095])],
)
def test_kafkas_ports_are_those_of_the_bootstrap_servers(chart: Chart, servers: str, expected: list[int]) -> None:
    _, kafka, _ = policy(chart, ("kafka.bootstrapServers", servers))["egress"]
    assert ports(kafka) == [(port, "TCP") for port in expected]


@pytest.mark.parametrize(
    ("url", "port"),
    [("wss://venue.example/quote", 443), ("ws://venue.example/quote", 80), ("ws://simulator:8765/quote", 8765)],
)
def test_the_venues_port_is_that_of_its_address(chart: Chart, url: str, port: int) -> None:
    *_, venue = policy(chart, ("upstream.url", url))["egress"]
    assert ports(venue) == [(port, "TCP")]


def test_everybody_may_read_the_http_port_unless_peers_are_named(chart: Chart) -> None:
    (ingress,) = policy(chart)["ingress"]
    assert ports(ingress) == [(8080, "TCP")]
    assert "from" not in ingress


def test_where_peers_are_named_the_releases_own_test_is_let_in_too(chart: Chart) -> None:
    manifests = chart.render(CI["restricted"])
    (ingress,) = manifests.one("NetworkPolicy")["spec"]["ingress"]
    named, own = ingress["from"]
    labels = own["podSelector"]["matchLabels"].items()
    assert named == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert all(labels <= one["metadata"]["labels"].items() for one in manifests.of("Pod").values())


def test_peers_and_more_rules_are_taken_as_they_are(chart: Chart) -> None:
    dns, kafka, venue, proxy = chart.render(CI["restricted"]).one("NetworkPolicy")["spec"]["egress"]
    assert dns["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    assert kafka["to"] == [{"ipBlock": {"cidr": "10.20.0.0/16"}}]
    assert "to" not in venue
    assert ports(proxy) == [(3128, "TCP")]


def test_it_holds_for_the_jobs_as_well(chart: Chart) -> None:
    manifests = chart.render(CI["full"])
    selected = manifests.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    templates = [one["spec"]["template"] for one in manifests.of("Job").values()]
    assert len(templates) == 2
    assert all(selected <= one["metadata"]["labels"].items() for one in templates)
