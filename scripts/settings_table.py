"""Writes ``docs/settings.md``: every setting with its default and its meaning, from the classes that read them.

``python -m scripts.settings_table`` writes it; with ``--check`` nothing is written, and the exit code is 1 where the
file says anything else than the code. `settings` is the one walk over all settings; the chart's schema takes it too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bridge.settings import PREFIX, Settings
from bridge.settings.groups import RESERVED

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
"""

REFUSED = f"""\
## Refused in `{PREFIX}KAFKA__EXTRA`

These librdkafka properties carry guarantees or have a setting of their own.

| Property | Why |
| --- | --- |
"""


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
    lines, owner = [INTRODUCTION], None
    for setting in settings():
        if setting.owner is not owner:
            owner = setting.owner
            lines += _heading(setting)
        lines.append(f"| `{PREFIX}{setting.name}` | {_default(setting.field)} | {_cell(setting.field.description)} |")
    refused = "\n".join(f"| `{name}` | {_cell(why)} |" for name, why in RESERVED.items())
    return "\n".join([*lines, "", REFUSED + refused, ""])


def _heading(setting: Setting) -> list[str]:
    columns = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
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
