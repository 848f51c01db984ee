"""Writes ``helm/tickbridge/README.md``: the prose of ``README.md.in``, and a table of every value.

``python -m scripts.chart_readme`` writes it; with ``--check`` nothing is written, and the exit code is 1 where the file
says anything else. What a value means is the comment above it in ``values.yaml``; settings of the bridge that do not
stand there are described by the bridge, through ``values.schema.json``. A value that nobody describes is an error.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from bridge.settings import PREFIX
from scripts.chart_schema import CHART, SCHEMA
from scripts.settings_table import Setting, settings, write_or_check

README, PROSE, VALUES = CHART / "README.md", CHART / "README.md.in", CHART / "values.yaml"

MARK = "<!-- values -->"
HEADING = re.compile(r"# -{10,} (.+)")
KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):")
FIRST_SECTION = "names, replicas and the image"


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    path: str
    default: str
    meaning: str


def readme() -> str:
    """Give the whole text of the chart's README."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    prose = PROSE.read_text(encoding="utf-8").replace("{{version}}", chart["version"])
    if prose.count(MARK) != 1:
        raise ValueError(f"{PROSE.name} must have {MARK} once")
    return prose.replace(MARK, "\n".join(tables()).strip())


def tables() -> Iterator[str]:
    """Give the tables line by line, one for each section of ``values.yaml``."""
    text = VALUES.read_text(encoding="utf-8")
    values, said, sections = yaml.safe_load(text), comments(text), headings(text)
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    walk = _Walk(document["definitions"], said, {PREFIX + one.name: one for one in settings()})
    for key, value in values.items():
        if key in sections:
            heading = f"{sections[key][0].upper()}{sections[key][1:]}"
            yield from ("", f"### {heading}", "", "| Value | Default | Meaning |", "| --- | --- | --- |")
        for row in walk.rows(key, document["properties"][key], value):
            yield f"| `{row.path}` | {row.default} | {row.meaning} |"


def headings(text: str) -> dict[str, str]:
    """Find which top-level key begins a section, and what the section is called."""
    found, waiting = {}, FIRST_SECTION
    for line in text.splitlines():
        if heading := HEADING.fullmatch(line):
            waiting = heading[1]
        elif waiting and (key := KEY.match(line)) and not key[1]:
            found[key[2]], waiting = waiting, ""
    return found


def comments(text: str) -> dict[str, str]:
    """Find the comment that stands right above each key, by the key's path."""
    found: dict[str, str] = {}
    place: list[tuple[int, str]] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            lines.append(line.strip("# "))
            continue
        if key := KEY.match(line):
            depth = len(key[1])
            place = [*((at, name) for at, name in place if at < depth), (depth, key[2])]
            found[".".join(name for _, name in place)] = " ".join(lines)
        lines = []
    return found


@dataclass(frozen=True)
class _Walk:
    """Schema and values, walked together; ``said`` has the comments by path, ``known`` the settings by variable."""

    definitions: dict[str, Any]
    said: dict[str, str]
    known: dict[str, Setting]

    def rows(self, path: str, schema: dict[str, Any], value: Any) -> Iterator[Row]:
        """Give the rows of one value and of all below it."""
        schema = self._resolved(schema)
        inner = schema.get("properties", {})
        below = [key for key in (value or {}) if key in inner] if inner else []
        if not any(self._describes(f"{path}.{key}", inner[key]) for key in inner) or "$comment" in schema:
            yield Row(path, self._default(schema, value), self._meaning(path, schema))
            return
        if self.said.get(path):
            yield Row(path, "", _cell(self.said[path]))
        for key in [*below, *(key for key in inner if key not in below)]:
            yield from self.rows(f"{path}.{key}", inner[key], (value or {}).get(key))

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("$ref", "").removeprefix("#/definitions/")
        return self.definitions[name] if name else schema

    def _describes(self, path: str, schema: object) -> bool:
        if not isinstance(schema, dict):
            return False
        below = self._resolved(schema).get("properties", {})
        return bool(self.said.get(path) or schema.get("description")) or any(
            self._describes(f"{path}.{key}", one) for key, one in below.items()
        )

    def _meaning(self, path: str, schema: dict[str, Any]) -> str:
        meaning = self.said.get(path) or schema.get("description", "")
        if not meaning:
            raise ValueError(f"nobody says what {path} is: write a comment above it in {VALUES.name}")
        variable = schema.get("$comment", "").removeprefix(PREFIX)
        return _cell(f"{meaning} ({variable})" if variable else meaning)

    def _default(self, schema: dict[str, Any], value: Any) -> str:
        setting = self.known.get(schema.get("$comment", ""))
        if value is not None or setting is None:
            return f"`{_cell(json.dumps(value, ensure_ascii=False))}`"
        own = None if setting.field.is_required() else setting.field.get_default(call_default_factory=True)
        return "" if own in (None, {}) else f"the bridge's, `{_cell(json.dumps(own))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(write_or_check(README, readme, sys.argv[1:]))
