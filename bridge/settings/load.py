"""Reading the settings, and saying in one line each what is wrong with them.

Order: given in code (the demo, tests), environment, ``.env``, then the YAML file. Read once, frozen, passed by
constructor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pydantic_settings
import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from bridge.errors import SettingsError
from bridge.settings.groups import (
    PREFIX,
    BackpressureSettings,
    DedupeSettings,
    GroupSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    ReconcileSettings,
    ShutdownSettings,
    TicksSettings,
    TopicSettings,
    UpstreamSettings,
)
from bridge.settings.names import mistyped

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

ENV_FILE = ".env"

_config_file: ContextVar[Path | None] = ContextVar("config_file", default=None)


class Settings(BaseSettings):
    """Everything a process is told, read once at its start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    name: str = Field(
        "tickbridge", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="the deployment's name: letters, digits, . _ -"
    )
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings)
    kafka: KafkaSettings = Field(default_factory=dict, validate_default=True)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    group: GroupSettings = Field(default_factory=GroupSettings)
    backpressure: BackpressureSettings = Field(default_factory=BackpressureSettings)
    reconcile: ReconcileSettings = Field(default_factory=ReconcileSettings)
    ticks: TicksSettings = Field(default_factory=TicksSettings)
    dedupe: DedupeSettings = Field(default_factory=DedupeSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    shutdown: ShutdownSettings = Field(default_factory=ShutdownSettings)

    @property
    def group_id(self) -> str:
        """Give the consumer group: its own setting, else the deployment's name."""
        return self.group.id or self.name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the hook's own signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: given in code (the demo, tests), environment, ``.env``, then the YAML file."""
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            YamlConfigSettingsSource(settings_cls, _config_file.get()),
        )


def use_config(file: Path | None) -> None:
    """Let every later ``load`` in this context read ``file``, unless it is given another."""
    _config_file.set(file)


def load(config: Path | None = None, **given: Any) -> Settings:
    """Read the settings from ``given``, the environment, ``.env`` and the YAML file ``config``, in this order.

    Raises:
        SettingsError: with one line for each setting that cannot be used; no line holds a secret.
    """
    file = config or _config_file.get()
    if file is not None:
        _check_yaml(file)
    wrong = list(mistyped({**_env_file(), **os.environ}, _names(), PREFIX))
    token = _config_file.set(file)
    try:
        settings = Settings(**given)
    except pydantic_settings.SettingsError as error:
        group = str(error).partition('"')[2].partition('"')[0].upper()
        wrong.append(_not_a_group(PREFIX + group))
    except ValidationError as error:
        wrong.extend(_line(e) for e in error.errors())
    finally:
        _config_file.reset(token)
    if wrong:
        raise SettingsError(*wrong)
    return settings


def _env_file() -> dict[str, str | None]:
    """Read ``.env``, which may be missing."""
    try:
        return dotenv_values(ENV_FILE)
    except OSError as error:
        raise SettingsError(f"{ENV_FILE}: {error.strerror}; make it readable, or remove it") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE}: is not UTF-8; mend the file") from None


def _names() -> Iterator[str]:
    """Name every setting, without the prefix."""
    for key, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from (f"{key}__{name}".upper() for name in group.model_fields)
        else:
            yield key.upper()


def _check_yaml(config: Path) -> None:
    """Refuse a configuration file that cannot be read or names no setting of ours."""
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {config}: {error.strerror}; give a readable YAML file") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        at = f" (line {where.line + 1})" if where else ""
        raise SettingsError(f"--config {config}: is not valid YAML{at}; mend the file") from None
    except (ValueError, LookupError, AttributeError, RecursionError):  # what the parser lets out of some rubbish
        raise SettingsError(f"--config {config}: is not valid YAML; mend the file") from None
    if content is not None and not isinstance(content, dict):
        raise SettingsError(
            f"--config {config}: must hold a mapping of settings, as in `kafka: {{bootstrap_servers: …}}`"
        )
    for key in content or {}:
        if key not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            raise SettingsError(f"--config {config}: no setting is called {key!r}; there are {known}")


def _line(error: ErrorDetails) -> str:
    """Say one thing that is wrong: the setting, its value unless it may be secret, and the remedy."""
    loc = [str(part) for part in error["loc"]]
    name = PREFIX + "__".join(loc[:2]).upper()
    field = _field_at(loc)
    if len(loc) == 1 and loc[0] != "name":
        return _not_a_group(name)
    if error["type"] == "missing":
        return f"{name} is not set; set it to {field.description if field else 'a value'}"
    if error["type"] == "extra_forbidden":
        group = Settings.model_fields[loc[0]].annotation
        known = ", ".join(n.upper() for n in getattr(group, "model_fields", {}))
        return f"{name} is no setting; {loc[0].upper()}__… has {known}"
    value = "" if field is None or _may_be_secret(loc, field, error["input"]) else f"={error['input']!s}"[:200]
    message = error["msg"].removeprefix("Value error, ")
    remedy = field.description if field else "another value"
    return f"{name}{value}: {message[:1].lower()}{message[1:]}; it takes: {remedy}"


def _not_a_group(name: str) -> str:
    """Say so without the value: who gave a group as one text may have given a secret."""
    return f"{name}: is a group of settings; set {name}__… one by one"


def _field_at(loc: list[str]) -> FieldInfo | None:
    group = Settings.model_fields.get(loc[0])
    if group is None or len(loc) == 1:
        return group
    fields: dict[str, FieldInfo] = getattr(group.annotation, "model_fields", {})
    return fields.get(loc[1])


def _may_be_secret(loc: list[str], field: FieldInfo, value: object) -> bool:
    if loc[-1] == "url":
        return any(mark in str(value) for mark in "@?")
    return SecretStr in (field.annotation, *get_args(field.annotation)) or "extra" in loc
