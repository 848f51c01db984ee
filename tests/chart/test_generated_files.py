"""The schema, the template of settings and the README say what their sources say, and a difference is noticed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from scripts import chart_readme, chart_schema
from scripts.settings_table import write_or_check
from tests.chart.examples import CHART, CI

FILES: list[tuple[Path, Callable[[], str], str]] = [
    (chart_schema.SCHEMA, chart_schema.schema, "maxSymbols"),
    (chart_schema.TEMPLATE, chart_schema.template, "UPSTREAM__PLAN"),
    (chart_readme.README, chart_readme.readme, "replicaCount"),
]


@pytest.mark.parametrize(("path", "produce", "word"), FILES, ids=lambda one: getattr(one, "name", ""))
def test_it_is_what_its_sources_say(path: Path, produce: Callable[[], str], word: str, tmp_path: Path) -> None:
    stale = tmp_path / path.name
    stale.write_text(produce().replace(word, "somethingElse"))
    assert write_or_check(path, produce, ["--check"]) == 0
    assert write_or_check(stale, produce, ["--check"]) == 1


def test_every_value_is_told_of_once() -> None:
    told = [line.split("`")[1] for line in chart_readme.tables() if line.startswith("| `")]
    assert len(set(told)) == len(told)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {one.partition(".")[0] for one in told} == set(values)
    assert {"upstream.ackTimeoutSeconds", "kafka.sasl.mechanism", "resources.limits", "token"} <= set(told)


def test_a_value_that_nobody_describes_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "values.yaml"
    silent.write_text(chart_readme.VALUES.read_text().replace("# Priority class of the pods.\n", ""))
    monkeypatch.setattr(chart_readme, "VALUES", silent)
    with pytest.raises(ValueError, match="nobody says what priorityClassName is"):
        chart_readme.readme()


def test_the_readme_tells_what_operators_ask(tmp_path: Path) -> None:
    headings = [line for line in chart_readme.readme().splitlines() if line.startswith("## ")]
    assert {"## Install", "## How many replicas", "## What a rollout does", "## Secrets", "## Remove"} <= set(headings)


def test_every_situation_says_what_it_is() -> None:
    for name in CI:
        assert (CHART / "ci" / f"{name}-values.yaml").read_text().startswith("# ")
