"""The example of a venue in a package of its own: installed as a stranger would, and run against its own fake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bridge.settings import PREFIX, Settings
from tests.e2e.conftest import World
from tests.support.process import ROOT, BridgeProcess

EXAMPLE = ROOT / "examples" / "tickbridge-binance"
PAGE = ROOT / "docs" / "adding-a-venue.md"

#: A file's name in the page, and the block of its text that follows.
BLOCK = re.compile(r"^`([^`\n]+)`[^\n]*:\n\n```(?:python|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package in it, installed from the example."""
    site = tmp_path_factory.mktemp("site")
    pip: list[str] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", str(site), str(EXAMPLE)], check=True, timeout=60)
    return site


@pytest.fixture
def fake(site: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's server; processes that are started meanwhile find the package."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return import_module("tickbridge_binance.fake").Fake


def settings(world: World, venue: Any) -> dict[str, str]:
    """Give a bridge's settings, at the pace that the dialect asks for."""
    kinds = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")
    return {
        "NAME": world.name,
        "KAFKA__BOOTSTRAP_SERVERS": world.cluster.bootstrap,
        **{f"TOPICS__{kind.upper()}": world.topic(kind) for kind in kinds},
        "UPSTREAM__DIALECT": "binance",
        "UPSTREAM__URL": venue.url,
        "UPSTREAM__MAX_SYMBOLS": "1024",
    }


def test_the_example_s_own_tests_pass(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_trades_of_pairs_that_come_and_go_are_published_under_their_symbols(
    world: World, fake: Any, make_bridge: Callable[..., BridgeProcess]
) -> None:
    with fake() as venue:
        world.subscribe("BTCUSDT", "BINANCE:ETHUSDT")
        bridge = make_bridge(settings(world, venue))
        venue.wait_for("BTCUSDT", "ETHUSDT")
        bridge.wait_ready()
        venue.trade("BTCUSDT", "97000.01000000", sold=True)
        venue.trade("ETHUSDT", "3500.00000000")
        bridge.wait_until("published", lambda: bridge.status()["accounts"]["published"] == 2)
        world.subscribe("SOLUSDT")
        world.unsubscribe("BINANCE:ETHUSDT")
        venue.wait_for("BTCUSDT", "SOLUSDT")
        bridge.wait_accepted("BTCUSDT", "SOLUSDT")
        venue.trade("SOLUSDT", "250.5", quantity="2")
        bridge.wait_until("published", lambda: bridge.status()["accounts"]["published"] == 3)
        assert bridge.stop() == 0
    found = {tick["symbol"]: tick for tick in world.ticks()}
    assert found.keys() == {"BTCUSDT", "BINANCE:ETHUSDT", "SOLUSDT"}
    tick = found["BTCUSDT"]
    assert (tick["venue"], tick["price"], tick["side"], tick["seq"]) == ("binance", "97000.01000000", "sell", "1")
    assert found["BINANCE:ETHUSDT"]["code"] == "ETHUSDT"
    assert venue.connections == 1
    assert sorted(one["id"] for one in venue.requests) == [one["id"] for one in venue.requests]


def test_of_a_refused_request_each_pair_is_tried_alone(
    world: World, fake: Any, make_bridge: Callable[..., BridgeProcess]
) -> None:
    with fake(refused=frozenset({"XXXUSDT"})) as venue:
        world.subscribe("BTCUSDT", "ETHUSDT", "XXXUSDT")
        bridge = make_bridge(settings(world, venue))
        venue.wait_for("BTCUSDT", "ETHUSDT")
        bridge.wait_accepted("BTCUSDT", "ETHUSDT")
        rows = {row["symbol"]: (row["state"], row["reason"]) for row in bridge.status()["symbols"]}
        bridge.wait_for("request_refused", codes=1)
        assert rows["BTCUSDT"][0] == "waiting"
        assert bridge.stop() == 0
    assert [len(one["params"]) for one in venue.requests] == [3, 1, 1, 1]


# The page


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def squeezed(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("name", ["pyproject.toml", "tickbridge_binance/__init__.py", "tests/test_binance.py"])
def test_the_page_s_blocks_are_the_example_s_own_text(name: str) -> None:
    own = squeezed((EXAMPLE / name).read_text(encoding="utf-8"))
    shown = [squeezed(text) for found, text in blocks() if found == name]
    assert shown, f"the page shows nothing of {name}"
    for text in shown:
        assert text in own


def test_the_page_shows_the_whole_dialect_in_its_order() -> None:
    shown = [text for name, text in blocks() if name == "tickbridge_binance/__init__.py"]
    whole = (EXAMPLE / "tickbridge_binance/__init__.py").read_text(encoding="utf-8")
    assert squeezed("\n".join(shown)) == squeezed(whole)


def test_every_block_of_code_on_the_page_names_its_file() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(blocks()) == len(re.findall(r"^```(?:python|toml)$", text, re.MULTILINE))


def test_the_page_s_settings_exist() -> None:
    for name in set(re.findall(rf"{PREFIX}(\w+)", PAGE.read_text(encoding="utf-8"))):
        group, _, field = name.lower().partition("__")
        annotation: Any = Settings.model_fields[group].annotation
        assert not field or field in annotation.model_fields, name


def test_the_dialect_is_small() -> None:
    code = squeezed((EXAMPLE / "tickbridge_binance/__init__.py").read_text(encoding="utf-8"))
    assert len(code.splitlines()) < 150
