"""Carries the bridge's settings into the chart, so that none can be forgotten and none is said in two ways.

``python -m scripts.chart_schema`` writes them into ``helm/tickbridge/values.schema.json`` (a property for each, marked
by the variable's name in its ``$comment``; the rest of that file is written by hand) and into
``templates/_settings.tpl`` (which value becomes which variable, and the bridge's own defaults). With ``--check``
nothing is written, and the exit code is 1 where they differ.

A value is named after its setting: the group in lower case, the key in camel case, units in full, as in ``shutdown:
budgetSeconds`` for SHUTDOWN__BUDGET_S. A value that is null or left out sets no variable: the bridge's default applies.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bridge.settings import PREFIX
from bridge.settings.reserved import RESERVED
from scripts.settings_table import ROOT, Setting, settings, write_or_check

CHART = ROOT / "helm" / "tickbridge"
SCHEMA = CHART / "values.schema.json"
TEMPLATE = CHART / "templates" / "_settings.tpl"
CONTROL = ROOT / "schemas" / "control.schema.json"

#: Settings that the chart makes out of a Secret, a volume or a port, and the value behind each; `-` is never set.
OWNED = {
    "UPSTREAM__TOKEN": "-",
    "UPSTREAM__TOKEN_FILE": "token",
    "UPSTREAM__CA_FILE": "upstream.ca",
    "KAFKA__SASL_USERNAME": "kafka.sasl.username",
    "KAFKA__SASL_PASSWORD": "kafka.sasl.password",
    "KAFKA__SSL_CA_LOCATION": "kafka.tls.ca",
    "KAFKA__SSL_CERTIFICATE_LOCATION": "kafka.tls.certificate",
    "KAFKA__SSL_KEY_LOCATION": "kafka.tls.certificate",
    "KAFKA__SSL_KEY_PASSWORD": "kafka.tls.certificate.passwordKey",
    "BACKPRESSURE__SPILL_DIR": "spill.enabled",
    "TICKS__CALENDAR_FILE": "ticks.calendar",
}

#: Values that stand elsewhere than their settings' names say.
MOVED = {"KAFKA__SASL_MECHANISM": "kafka.sasl.mechanism"}

#: Where the chart takes less than the bridge: in a pod there is no more that would work.
NARROWED: dict[str, dict[str, Any]] = {
    "HTTP__PORT": {"minimum": 1},
    "KAFKA__SASL_MECHANISM": {"enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", None]},
    "UPSTREAM__URL": {"pattern": "^wss?://.", "not": {"type": "string", "pattern": "[?&]token="}},
}

#: The most that a number may be where the bridge knows no limit, by its last word: a slip of the unit is caught here.
MOST = {"Seconds": 31_536_000, "Hours": 876_000, "Milliseconds": 86_400_000, "Bytes": 2**50, "": 1_000_000}
UNITS = {"s": "Seconds", "h": "Hours", "ms": "Milliseconds"}

#: librdkafka properties that would lie open in a ConfigMap; KAFKA__EXTRA as a whole may come from a Secret.
CONFIDENTIAL = r"(password|secret|key\.pem)$"

HEADER = """\
{{- /* Written by `python -m scripts.chart_schema` from bridge/settings; change it there. */}}
"""


def path(setting: Setting) -> str:
    """Give the place of a setting among the values, as in ``upstream.maxSymbols``; empty for what the chart owns."""
    if setting.name in OWNED:
        return ""
    if setting.name in MOVED:
        return MOVED[setting.name]
    first, *rest = setting.key.split("_")
    if rest:
        rest[-1] = UNITS.get(rest[-1], rest[-1])
    key = first + "".join(word[:1].upper() + word[1:] for word in rest)
    group = setting.name.lower().rpartition("__")[0]
    return f"{group}.{key}" if group else key


def schema() -> str:
    """Give the whole text of ``values.schema.json``."""
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    _forget(document)
    for setting in settings():
        *groups, key = path(setting).split(".")
        if not key:
            continue
        place = document
        for group in groups:
            place = place["properties"][group]
        place["properties"][key] = _value(setting, key)
    document["definitions"]["subscription"] = _subscription()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _forget(part: dict[str, Any]) -> None:
    """Take out what an earlier run wrote: a setting that is gone must not stay."""
    inner = part.get("properties", {})
    for key in [key for key, value in inner.items() if _generated(value)]:
        del inner[key]
    for value in inner.values():
        if isinstance(value, dict):
            _forget(value)


def _generated(value: object) -> bool:
    return isinstance(value, dict) and str(value.get("$comment", "")).startswith(PREFIX)


def _value(setting: Setting, key: str) -> dict[str, Any]:
    """Give the JSON Schema of one setting as the chart takes it."""
    full = setting.owner.model_json_schema()["properties"][setting.key]
    shape = next((choice for choice in full.get("anyOf", []) if choice != {"type": "null"}), full)
    value: dict[str, Any] = {"$comment": PREFIX + setting.name, "description": setting.field.description}
    value |= {word: part for word, part in shape.items() if word not in ("title", "format", "default", "description")}
    if "enum" in value:
        value.pop("type", None)
        value["enum"] = [*_spellings(setting, shape["enum"]), None]
    if value.get("type") in ("integer", "number"):
        unit = next((unit for unit in MOST if unit and key.endswith(unit)), "")
        value.setdefault("maximum", MOST[unit])
    if setting.name == "KAFKA__EXTRA":
        value["properties"] = dict.fromkeys(RESERVED, False)
        value["patternProperties"] = {CONFIDENTIAL: False}
    value |= NARROWED.get(setting.name, {})
    if not setting.field.is_required() and "type" in value:
        value["type"] = [value["type"], "null"]
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


def _subscription() -> dict[str, Any]:
    """Give the schema of a control record, closed: who misspells a field in a values file is there to mend it."""
    record = json.loads(CONTROL.read_text(encoding="utf-8"))
    fields = {name: dict(field) for name, field in record["properties"].items()}
    for field in fields.values():
        field.pop("default", None)
    fields["code"]["pattern"] = "^[A-Za-z0-9._=^/:-]+$"  # Helm's regular expressions cannot look ahead
    fields["stale_after_s"]["maximum"] = MOST["Seconds"]
    return {"type": "object", "additionalProperties": False, "properties": fields}


def template() -> str:
    """Give the whole text of ``templates/_settings.tpl``."""
    given = [(setting, path(setting)) for setting in settings() if path(setting)]
    lines = [HEADER, '{{- define "tickbridge.settings" -}}']
    lines += [f'{{{{- include "tickbridge.setting" (list "{one.name}" .Values.{place}) }}}}' for one, place in given]
    lines += ["{{- end }}", "", '{{- define "tickbridge.defaults" -}}']
    for setting, _ in given:
        default = None if setting.field.is_required() else setting.field.get_default(call_default_factory=True)
        if default not in (None, {}):
            lines.append(f"{setting.name}: {json.dumps(default)}")
    return "\n".join([*lines, "{{- end }}", ""])


def main(arguments: list[str]) -> int:
    """Write or check both files; return the exit code."""
    return max(write_or_check(SCHEMA, schema, arguments), write_or_check(TEMPLATE, template, arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
