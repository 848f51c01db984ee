"""What is at which path, and with which verdict."""

import base64
import hashlib
import json
import re

import pytest

from bridge.observe.http import Response
from bridge.observe.site import Site, page
from bridge.observe.status import Identity
from bridge.settings import Settings
from bridge.snapshots import ControlSnapshot, FeedSnapshot, LinkState


class Bridge:
    """A bridge of which only the snapshots and the clocks are real."""

    def __init__(self) -> None:
        self.now = 100.0
        self.feed = FeedSnapshot(beat=100.0, links=(LinkState(0, connected=True, settled=True),))
        self.control = ControlSnapshot(beat=100.0, member=True, owned=(0,), caught_up=(0,))
        settings = Settings(kafka={"bootstrap_servers": "127.0.0.1:9"}, http={"ready_grace_s": 5.0})
        self.site = Site(
            Identity(settings, "pod-7", "9.9"),
            lambda: self.feed,
            lambda: self.control,
            clock=lambda: self.now,
            wall_us=lambda: 1_790_000_000_000_000,
        )

    def get(self, path: str) -> Response:
        return self.site.respond(path)


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


def test_a_healthy_bridge_says_so(bridge: Bridge) -> None:
    answer = bridge.get("/healthz")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.body) == {
        "healthy": True,
        "checks": {"feed_loop": {"ok": True, "detail": "turns"}, "control_loop": {"ok": True, "detail": "turns"}},
    }


def test_a_stuck_loop_fails_the_liveness_probe_only_after_its_bound(bridge: Bridge) -> None:
    bridge.now = 130.0
    assert bridge.get("/healthz").status == 200
    bridge.now = 131.0
    assert bridge.get("/healthz").status == 503


def test_a_ready_bridge_says_so(bridge: Bridge) -> None:
    answer = bridge.get("/readyz")
    assert answer.status == 200
    assert json.loads(answer.body)["ready"] is True


def test_readiness_follows_the_settings(bridge: Bridge) -> None:
    bridge.feed = FeedSnapshot(links=(LinkState(0, settled=True, down_since=96.0, reason="network"),))
    assert bridge.get("/readyz").status == 200
    bridge.now = 101.5
    answer = bridge.get("/readyz")
    assert answer.status == 503
    found = json.loads(answer.body)
    assert found["ready"] is False
    assert found["checks"]["upstream"] == {"ok": False, "detail": "partition 0: down for more than 5 s (network)"}


def test_the_status_is_json_of_this_moment(bridge: Bridge) -> None:
    found = json.loads(bridge.get("/status").body)
    assert (found["instance"], found["now_us"], found["ready"]) == ("pod-7", 1_790_000_000_000_000, True)


def test_metrics_are_written_in_the_format_that_is_asked_for(bridge: Bridge) -> None:
    assert bridge.site.respond("/metrics").content_type.startswith("text/plain")
    asked = bridge.site.respond("/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert asked.content_type.startswith("application/openmetrics-text")
    assert asked.body.endswith(b"# EOF\n")


def test_the_page_is_at_the_root(bridge: Bridge) -> None:
    answer = bridge.get("/")
    assert (answer.status, answer.content_type) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("path", ["/nothing", "", "/status/", "//", "/../etc/passwd", "/index.html"])
def test_a_path_nobody_knows_is_not_found(bridge: Bridge, path: str) -> None:
    assert bridge.get(path).status == 404


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = page().body.decode()
    addresses = re.findall(r"""(?:src|href|url\()=?["']?([^"'>]+)""", html)
    assert [address for address in addresses if not address.startswith("data:")] == ["status"]
    assert html.count("//") == html.count("// ") + html.count("http://www.w3.org/2000/svg")


def test_the_page_turns_nothing_it_reads_into_markup() -> None:
    html = page().body.decode()
    for road in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=", " on"):
        assert not re.search(rf"{re.escape(road)}\w*=" if road == " on" else re.escape(road), html), road


def test_the_policy_names_the_script_and_style_of_the_page() -> None:
    answer = page()
    policy = answer.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        content = answer.body.split(f"<{tag}>".encode())[1].split(f"</{tag}>".encode())[0]
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
