"""Writes the settings into ``helm/tickbridge/values.schema.json``; the rest of that file is written by hand.

``python -m scripts.chart_schema`` replaces the properties of ``settings`` and the names allowed in
``settingsFromSecrets``; with ``--check`` nothing is written, and the exit code is 1 where they differ. A setting of the
bridge is a value of the chart under the same name, except those in `OWNED`, which the chart sets itself; a secret may
only come from a Secret.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bridge.settings.groups import RESERVED
from scripts.settings_table import ROOT, Setting, settings, write_or_check

SCHEMA = ROOT / "helm" / "tickbridge" / "values.schema.json"

#: Settings that the chart gives itself, beside the port and the volume they belong to.
OWNED = ("HTTP__PORT", "UPSTREAM__TOKEN", "UPSTREAM__TOKEN_FILE")

#: librdkafka properties that would lie open in a ConfigMap; KAFKA__EXTRA as a whole may come from a Secret.
CONFIDENTIAL = r"(password|secret|key\.pem)$"


def schema() -> str:
    """Give the whole text of ``values.schema.json``."""
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    given = [setting for setting in settings() if setting.name not in OWNED]
    document["properties"]["settings"]["properties"] = {s.name: _value(s) for s in given if not s.secret}
    document["properties"]["settingsFromSecrets"]["properties"] = {s.name: {"$ref": "#/$defs/key"} for s in given}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _value(setting: Setting) -> dict[str, Any]:
    """Give the JSON Schema of one setting as the chart takes it: never null, since left out says the same."""
    full = setting.owner.model_json_schema()["properties"][setting.key]
    shape = next((choice for choice in full.get("anyOf", []) if choice != {"type": "null"}), full)
    value: dict[str, Any] = {"description": setting.field.description}
    value |= {key: part for key, part in shape.items() if key not in ("title", "format", "default", "description")}
    if "enum" in value:
        value["enum"] = _spellings(setting, shape["enum"])
    if setting.name == "KAFKA__EXTRA":
        value["properties"] = dict.fromkeys(RESERVED, False)
        value["patternProperties"] = {CONFIDENTIAL: False}
    return value


def _spellings(setting: Setting, choices: list[str]) -> list[str]:
    """Add the upper-case and capitalised spellings where the setting takes them."""
    adapter: TypeAdapter[object] = TypeAdapter(setting.field.rebuild_annotation())
    spelled = dict.fromkeys(way(choice) for way in (str, str.upper, str.capitalize) for choice in choices)
    return [choice for choice in spelled if _valid(adapter, choice)]


def _valid(adapter: TypeAdapter[object], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(write_or_check(SCHEMA, schema, sys.argv[1:]))
