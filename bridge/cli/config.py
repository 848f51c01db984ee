"""``tickbridge config``: the settings in force, where each came from, and what there is to set. No secret is shown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import typer
import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr
from rich.text import Text

from bridge.cli.sheet import Sheet
from bridge.cli.tables import Output, OutputOption, emit, plain, printable
from bridge.settings import ENV_FILE, PREFIX, Settings, load
from bridge.settings.masks import MASK

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

#: librdkafka properties whose value may be secret, and those of them that are known to be harmless.
_SENSITIVE = re.compile(r"sasl|ssl|secret|password|token|key|credential|auth|jaas|pem", re.IGNORECASE)
_HARMLESS = re.compile(r"\.location$|\.mechanisms?$|^security\.protocol$|^ssl\.endpoint\.identification", re.IGNORECASE)

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", epilog="Example: [bold]tickbridge config show[/]")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its group (empty at the top), its name there, its class's field."""

    group: str
    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """Give the name of its environment variable."""
        return PREFIX + "__".join(part for part in (self.group, self.name) if part).upper()


@app.callback()
def _config() -> None:
    """See which settings are in force, and which there are."""


@app.command()
def show(context: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show the settings in force and where each came from; secrets are masked.

    With -o yaml they come in the shape of a file for --config, all defaults written out; put the secrets in again:
    their masks are refused.

    Examples:

        tickbridge config show

        TICKBRIDGE_UPSTREAM__PLAN=basic tickbridge config show | grep -v default

        tickbridge --config bridge.yaml config show -o yaml
    """
    effective = masked(load())
    sources = Sources(context.find_root().params.get("config"))
    emit(output, effective, lambda: _values(effective, sources))


@app.command()
def schema(output: OutputOption = Output.TABLE) -> None:
    """List every environment variable; with -o json or yaml, give the JSON Schema of a file for --config.

    Examples:

        tickbridge config schema

        tickbridge config schema -o json > tickbridge.schema.json
    """
    emit(output, Settings.model_json_schema(), _variables)


def settings() -> Iterator[Setting]:
    """Walk over every setting, in the order of the classes."""
    for key, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from (Setting(key, name, inner) for name, inner in group.model_fields.items())
        else:
            yield Setting("", key, field)


def masked(given: Settings) -> dict[str, Any]:
    """Give the settings as nested mappings of what JSON has, what is not set left out and secrets masked."""
    found: dict[str, Any] = {}
    for setting in settings():
        holder = getattr(given, setting.group) if setting.group else given
        value = _masked(setting.name, getattr(holder, setting.name))
        if value is not None:
            (found.setdefault(setting.group, {}) if setting.group else found)[setting.name] = value
    return found


def mask_url(url: str) -> str:
    """Give an address without user, password and what its query holds."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")
    query = parts.query and "&".join(_masked_pair(pair) for pair in parts.query.split("&"))
    return urlunsplit(parts._replace(netloc=f"{MASK}@{where[2]}" if where[1] else where[2], query=query))


def _masked_pair(pair: str) -> str:
    name, sign, _ = pair.partition("=")
    return f"{name}={MASK}" if sign else MASK


class Sources:
    """Tells where a setting came from: the same places in the same order as they are read."""

    def __init__(self, config: Path | None) -> None:
        self._config = config
        content = yaml.safe_load(config.read_text(encoding="utf-8")) if config else None
        self._file: Mapping[str, Any] = content if isinstance(content, dict) else {}
        self._environments = (
            ("environment", {name.upper() for name, value in os.environ.items() if value}),
            (ENV_FILE, {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value}),
        )

    def of(self, setting: Setting) -> str:
        """Name the place: environment, .env, the file, or default."""
        for place, names in self._environments:
            if {setting.variable, PREFIX + setting.group.upper()} & names:
                return place
        holder = self._file.get(setting.group) if setting.group else self._file
        if self._config is not None and isinstance(holder, dict) and setting.name in holder:
            return str(self._config)
        return "default"


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _masked_property(key, one) for key, one in value.items()}
    return mask_url(value) if name == "url" and isinstance(value, str) else value


def _masked_property(key: str, value: Any) -> Any:
    if _SENSITIVE.search(key) and not _HARMLESS.search(key):
        return MASK
    return mask_url(value) if isinstance(value, str) and "://" in value else value


def _values(effective: dict[str, Any], sources: Sources) -> Sheet:
    made = Sheet(
        "setting", "value", "from", gives="value", caption=f"in the environment: {PREFIX}UPSTREAM__TOKEN, and so on"
    )
    for setting in settings():
        holder = effective.get(setting.group, {}) if setting.group else effective
        place = sources.of(setting)
        style = "dim" if place == "default" else "bold"
        made.add_row(
            plain(setting.variable.removeprefix(PREFIX), style),
            plain(_shown(holder.get(setting.name)), style),
            plain(place, style),
        )
    return made


def _variables() -> Sheet:
    made = Sheet("variable", "meaning, and default", gives="meaning, and default")
    for setting in settings():
        required = setting.field.is_required()
        default = "" if required else _shown(setting.field.get_default(call_default_factory=True))
        meaning = Text(printable(setting.field.description or ""))
        meaning.append("; required" if required else f" [{printable(default)}]" if default else "")
        made.add_row(plain(setting.variable), meaning)
    return made


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
