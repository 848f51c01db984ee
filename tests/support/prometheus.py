"""Prometheus' own promtool, and what the tests ask of it: is this PromQL, and which alerts fire.

`scripts/test-tools.sh` takes it out of Debian's package into `${XDG_CACHE_HOME:-~/.cache}/tickbridge`; one on PATH will
do as well.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

#: A rule group, as a PrometheusRule and a rules file have it.
Group: TypeAlias = dict[str, Any]

#: Seconds between two values of a series, and between two evaluations of the rules.
STEP_S = 30

_SELECTOR = re.compile(r"\b(?P<metric>[a-zA-Z_:][\w:]*)\{(?P<matchers>[^}]*)\}")
_MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<operator>=~|!~|!=|=)\s*"(?P<value>[^"]*)"')
_COMPLAINT = re.compile(r"alertname: (\w+), time: \d+m(\d+)ms")


class PromtoolUnavailableError(Exception):
    """There is no promtool; the message says what would help."""


class PromtoolRefusedError(Exception):
    """promtool found a fault; the message is what it wrote."""


@dataclass(frozen=True)
class Selector:
    """One selector of an expression: a metric and its matchers as (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> list[Selector]:
    """Give the selectors of an expression; each must have its braces, and no value a brace."""
    return [
        Selector(found["metric"], tuple(_MATCHER.findall(found["matchers"])))
        for found in _SELECTOR.finditer(expression)
    ]


def find_promtool() -> Path:
    """Return the promtool to use.

    Raises PromtoolUnavailableError.
    """
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickbridge" / "promtool"
    if os.access(cached, os.X_OK):
        return cached
    if found := shutil.which("promtool"):
        return Path(found)
    raise PromtoolUnavailableError("there is no promtool: run scripts/test-tools.sh, or put Prometheus' own on PATH")


def promtool_for(directory: Path) -> "Promtool":
    """Give promtool to a test; where it cannot be had the test is skipped and says why, with CI=true it fails."""
    try:
        return Promtool(find_promtool(), directory)
    except PromtoolUnavailableError as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason))
        pytest.skip(str(reason))


@dataclass(frozen=True)
class Promtool:
    """promtool, and a directory for its files."""

    binary: Path
    directory: Path

    def check(self, groups: Sequence[Group]) -> str:
        """Read rules as Prometheus would, the templates of their annotations included.

        Raises PromtoolRefusedError.
        """
        return self._run("check", "rules", str(self._write("rules", {"groups": list(groups)})))

    def firing(self, groups: Sequence[Group], worlds: Sequence[Mapping[str, str]], minute: int) -> list[dict[str, str]]:
        """Give which alerts fire at a minute in each world, each with the labels and annotations that promtool shows.

        A world maps series to their values in promtool's notation, one for each `STEP_S`.
        """
        rules = self._write("rules", {"groups": list(groups)})
        names = [rule["alert"] for group in groups for rule in group["rules"]]
        tests = [
            {
                "interval": f"{STEP_S}s",
                "input_series": [{"series": name, "values": values} for name, values in world.items()],
                "alert_rule_test": [
                    # A complaint names the moment and not the test, so each test has a millisecond of its own.
                    {"eval_time": f"{minute}m{number}ms", "alertname": name, "exp_alerts": []}
                    for name in names
                ],
            }
            for number, world in enumerate(worlds, 1)
        ]
        found: list[dict[str, str]] = [{} for _ in worlds]
        document = {"rule_files": [str(rules)], "evaluation_interval": f"{STEP_S}s", "tests": tests}
        try:
            self._run("test", "rules", str(self._write("tests", document)))
        except PromtoolRefusedError as told:
            # No alert was expected, so it complains of each one that fires.
            _, *parts = _COMPLAINT.split(str(told))
            if not parts:
                raise
            for name, number, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
                found[int(number) - 1][name] = text
        return found

    def _write(self, name: str, document: Mapping[str, Any]) -> Path:
        path = self.directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump(dict(document)))
        return path

    def _run(self, *arguments: str) -> str:
        ran = subprocess.run([str(self.binary), *arguments], check=False, capture_output=True, text=True, timeout=100)
        if ran.returncode != 0:
            raise PromtoolRefusedError(ran.stdout + ran.stderr)
        return ran.stdout
