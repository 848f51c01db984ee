"""Every point of the usual advice stands in ``docs/venues.md`` with the tests that hold it, and these tests exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "venues.md"

POINTS = (
    "Add, remove and change many without reconnecting",
    "Leave the streams that run alone",
    "Keep the set free of duplicates",
    "Send nothing for an empty change",
    "Check the symbol's form, and say what it should be",
    "Survive null, broken JSON and wrong types",
    "Drop prices of nothing or less, and such openings",
    "Receive without waiting for what is done with it",
    "Notice a line that died without a word",
    "Ping, and reconnect after two without an answer",
    "Back off 1, 2, 4 … 30 s",
    "Subscribe again where no data follows",
    "Filter late data of removed symbols",
    "Drop duplicates, and no second trade of a millisecond",
    "Tell the time in UTC microseconds",
    "Hand over in batches: 100 ticks or 200 ms",
    "Share many symbols among several connections",
)


def rows() -> dict[str, list[str]]:
    """Read the table: each point with its tests."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and "::" in cells[2]:
            found[cells[0]] = [one.strip("` ") for one in cells[2].split("<br>")]
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """Give the names of a file's tests, relative to ``tests/``."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return frozenset(
        one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    )


def test_the_page_has_every_point_and_no_other() -> None:
    assert tuple(rows()) == POINTS


@pytest.mark.parametrize("point", POINTS)
def test_each_test_of_a_point_exists_and_one_at_least_runs_over_the_real_path(point: str) -> None:
    held_by = [one.partition("::") for one in rows()[point]]
    assert [name for path, _, name in held_by if name not in names_in(path)] == []
    assert any(path.startswith("e2e/") for path, _, _ in held_by)


def test_each_test_of_the_articles_holds_a_point() -> None:
    named = {one for held_by in rows().values() for one in held_by}
    assert {f"e2e/test_articles.py::{name}" for name in names_in("e2e/test_articles.py")} <= named
