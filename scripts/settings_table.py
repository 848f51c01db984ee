"""Writes ``docs/settings.md``: every setting with its default and its meaning, from the classes that read them.

``python -m scripts.settings_table`` writes it; with ``--check`` nothing is written, and the exit code is 1 where the
file says anything else than the code. `settings` is the one walk over all settings; the chart's schema takes it too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bridge.settings import PREFIX, Settings
from bridge.settings.plans import PLANS
from bridge.settings.reserved import RESERVED

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "settings.md"

INTRODUCTION = f"""\
# Settings

<!-- Written by `python -m scripts.settings_table` from bridge/settings; change it there. -->

A setting is read from the environment, else from `.env` in the working directory, else from the YAML file given with
`--config`, where the group is a mapping: `{PREFIX}KAFKA__BOOTSTRAP_SERVERS` is `kafka: {{bootstrap_servers: …}}`.
An empty variable counts as not set. Settings are read once, at the start; a setting that cannot be used, a name that
its group does not know, or a variable that is plainly a misspelt setting ends the command with exit code 2 and one line
for each. Other variables are left alone. Names may be written in any case.

A file for `--config`; `tickbridge config show` says what is in force and where each value came from,
`tickbridge config schema -o json` gives the JSON Schema of such a file.

```yaml
@EXAMPLE@```

Only `{PREFIX}KAFKA__BOOTSTRAP_SERVERS` must be given and, for `run`, a token where the venue wants one, as AllTick
does. All commands take the same settings; `subscriptions`, `status`, `ticks` and `topics` need no token.
"""

#: What a deployment sets for itself, as a file for ``--config``.
EXAMPLE = """\
name: stocks
upstream: {plan: basic, token_file: /run/secrets/alltick/token}
kafka:
  bootstrap_servers: kafka-1:9092,kafka-2:9092
  security_protocol: SASL_SSL
  sasl_mechanism: SCRAM-SHA-512
  sasl_username: tickbridge   # the password stays in TICKBRIDGE_KAFKA__SASL_PASSWORD
  extra: {linger.ms: 20}
topics: {ticks_partitions: 24}
backpressure: {spill_dir: /var/lib/tickbridge}
"""

PLANS_OF_THE_VENUE = f"""\
## Plans

What `{PREFIX}UPSTREAM__PLAN` stands for; a setting of its own goes before each number.

| Plan | `MAX_SYMBOLS` | `RECONNECT_MIN_S` |
| --- | --- | --- |
"""

TOGETHER = f"""\
## What goes together

Names without `{PREFIX}`. A combination that cannot be is refused like a bad value.

- `UPSTREAM__TOKEN` or `UPSTREAM__TOKEN_FILE`, not both. A token in `UPSTREAM__URL` is refused: addresses get into logs.
- `UPSTREAM__DIALECT` `action-code` and `action-symbols` have no address of their own: give `UPSTREAM__URL`.
- `UPSTREAM__HEARTBEAT_S` is at least three times `UPSTREAM__REQUEST_INTERVAL_S`, or no request would ever be sent.
- `UPSTREAM__SILENCE_S` is above `UPSTREAM__HEARTBEAT_S`, or a quiet market would look like a dead connection.
- `GROUP__SESSION_TIMEOUT_S` lies within the brokers' `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
- With a standby, `GROUP__LOST_HOLD_S` decides between the quickest successor (0) and no lost tick (left out).
- `BACKPRESSURE__SPILL_DIR` belongs to one instance; two must not share it.
- Names in `TOPICS__…` and `NAME` differ from those of every other deployment on the cluster.
"""

REFUSED = f"""\
## Refused in `{PREFIX}KAFKA__EXTRA`

These librdkafka properties carry guarantees or have a setting of their own.

| Property | Why |
| --- | --- |
"""


_NUMBERS = {"integer": "whole number", "number": "number"}
_KINDS = {"boolean": "true or false", "object": "JSON object", "path": "path", "password": "text, kept secret"}


@dataclass(frozen=True)
class Setting:
    """One setting: its name without the prefix, the class that has it, and its field there."""

    name: str
    owner: type[BaseModel]
    key: str

    @property
    def field(self) -> FieldInfo:
        return self.owner.model_fields[self.key]

    @property
    def secret(self) -> bool:
        return SecretStr in (self.field.annotation, *get_args(self.field.annotation))


def settings() -> Iterator[Setting]:
    """Walk over every setting, in the order of the classes."""
    for key, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from (Setting(f"{key}__{inner}".upper(), group, inner) for inner in group.model_fields)
        else:
            yield Setting(key.upper(), Settings, key)


def table() -> str:
    """Give the whole text of ``docs/settings.md``."""
    lines, owner = [INTRODUCTION.replace("@EXAMPLE@", EXAMPLE)], None
    for setting in settings():
        if setting.owner is not owner:
            owner = setting.owner
            lines += _heading(setting)
        cells = f"`{PREFIX}{setting.name}`", _default(setting.field), takes(setting), _cell(setting.field.description)
        lines.append(f"| {' | '.join(cells)} |")
    plans = "\n".join(f"| `{name}` | {plan.max_symbols} | {plan.reconnect_min_s:g} |" for name, plan in PLANS.items())
    refused = "\n".join(f"| `{name}` | {_cell(why)} |" for name, why in RESERVED.items())
    return "\n".join([*lines, "", PLANS_OF_THE_VENUE + plans, "", TOGETHER, REFUSED + refused, ""])


def takes(setting: Setting) -> str:
    """Say what a setting takes, by its type and its bounds."""
    found = shape(setting)
    if "enum" in found:
        return ", ".join(f"`{word}`" for word in found["enum"])
    if found["type"] in _NUMBERS:
        least, most = bounds(found)
        above = "above" if "exclusiveMinimum" in found else "from"
        parts = [_NUMBERS[found["type"]], f"{above} {least:.15g}" if least is not None else ""]
        return " ".join(filter(None, [*parts, f"to {most:.15g}" if most is not None else ""]))
    return _KINDS.get(found.get("format", found["type"]), "text")


def shape(setting: Setting) -> dict[str, Any]:
    """Give the JSON Schema of a setting's value, where there is one."""
    found: dict[str, Any] = _schema_of(setting.owner)["properties"][setting.key]
    return next((one for one in found.get("anyOf", ()) if one["type"] != "null"), found)


@cache
def _schema_of(owner: type[BaseModel]) -> dict[str, Any]:
    return owner.model_json_schema()


def bounds(found: dict[str, Any]) -> tuple[float | None, float | None]:
    """Give the least and the most of a number; an excluded least is the one that just cannot be."""
    return found.get("minimum", found.get("exclusiveMinimum")), found.get("maximum")


def _heading(setting: Setting) -> list[str]:
    columns = ["| Setting | Default | Takes | Meaning |", "| --- | --- | --- | --- |"]
    if setting.owner is Settings:
        return columns
    group, summary = setting.name.partition("__")[0], (setting.owner.__doc__ or "").splitlines()[0]
    return ["", f"## {group}", "", summary, "", *columns]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _cell(text: str | None) -> str:
    if not text:
        raise ValueError("a setting has no description")
    return text.replace("|", "\\|")


def write_or_check(path: Path, produce: Callable[[], str], arguments: list[str]) -> int:
    """Write what ``produce`` gives to ``path``, or with ``--check`` compare; return the exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("the only argument is --check\n")
        return 2
    if not arguments:
        path.write_text(produce(), encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == produce():
        return 0
    sys.stderr.write(f"{path.name} differs from what it is made of; run this without --check and commit the file\n")
    return 1


if __name__ == "__main__":
    sys.exit(write_or_check(TABLE, table, sys.argv[1:]))
