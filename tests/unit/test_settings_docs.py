"""``docs/settings.md`` says what the settings are, and no one can forget to write it anew."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.errors import SettingsError
from bridge.settings import Settings, load
from bridge.settings.plans import PLANS
from bridge.settings.reserved import RESERVED
from scripts.settings_table import EXAMPLE, TABLE, Setting, bounds, settings, shape, table, write_or_check

ROOT = Path(__file__).resolve().parents[2]


@cache
def text() -> str:
    return table()


def row(name: str) -> list[str]:
    (line,) = [line for line in text().splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_page_is_what_the_settings_say() -> None:
    command = [sys.executable, "-m", "scripts.settings_table", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0


def test_a_page_that_says_something_else_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "settings.md"
    stale.write_text(TABLE.read_text().replace("`8080`", "`8081`"))
    assert write_or_check(stale, table, ["--check"]) == 1
    assert "settings.md differs from what it is made of" in capsys.readouterr().err


def test_a_page_that_is_missing_is_noticed_and_then_written(tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    assert write_or_check(page, table, ["--check"]) == 1
    assert write_or_check(page, table, []) == 0
    assert write_or_check(page, table, ["--check"]) == 0
    assert page.read_text() == table()


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    assert write_or_check(tmp_path / "settings.md", table, ["--chek"]) == 2
    assert not list(tmp_path.iterdir())


def test_every_field_of_every_group_has_a_row() -> None:
    groups = {name: field.annotation for name, field in Settings.model_fields.items()}
    fields = {
        f"{group}__{name}".upper() for group, kind in groups.items() for name in getattr(kind, "model_fields", {})
    }
    assert {setting.name for setting in settings()} == fields | {"NAME"}
    for setting in settings():
        assert len(row(f"TICKBRIDGE_{setting.name}")) == 4


@pytest.mark.parametrize(
    ("name", "default", "takes", "meaning"),
    [
        ("NAME", "`tickbridge`", "text", "the deployment's name: letters, digits, . _ -"),
        ("KAFKA__BOOTSTRAP_SERVERS", "required", "text", "host:port,host:port of one or more brokers"),
        ("KAFKA__EXTRA", "`{}`", "JSON object", 'more librdkafka properties as JSON, as in {"linger.ms": 20}'),
        ("TOPICS__ENSURE", "`false`", "true or false", "true lets `run` create missing topics itself"),
        ("HTTP__PORT", "`8080`", "whole number from 0 to 65535", "a free port, 0 to 65535 (0 picks one)"),
        ("UPSTREAM__TOKEN", "", "text, kept secret", "the venue's token; or give UPSTREAM__TOKEN_FILE"),
        ("LOG__FORMAT", "`json`", "`json`, `console`", "json or console"),
        ("TICKS__STALE_AFTER_S", "`60.0`", "number above 0", "seconds without a tick in market hours, above 0"),
        (
            "TICKS__CALENDAR_FILE", "", "path",
            "a YAML file of market hours and holidays that replaces or adds to those built in",
        ),
    ],
)  # fmt: skip
def test_a_row_has_name_default_values_and_meaning(name: str, default: str, takes: str, meaning: str) -> None:
    assert row(f"TICKBRIDGE_{name}") == [f"`TICKBRIDGE_{name}`", default, takes, meaning]


NUMBERS = [one for one in settings() if shape(one)["type"] in ("integer", "number")]
LIMITS = [
    pytest.param(one, limit, id=f"{one.name}-{limit:g}")
    for one in NUMBERS
    for limit in bounds(shape(one))
    if limit is not None
]


def refusals(setting: Setting, value: float) -> list[str]:
    """Say what is wrong with a setting of this value, if anything is wrong with that."""
    group, _, key = setting.name.lower().partition("__")
    given: dict[str, Any] = {"kafka": {"bootstrap_servers": "localhost:9092"}, group: {key: value}}
    try:
        Settings(**given)
    except ValidationError as error:
        return [str(one["type"]) for one in error.errors() if one["loc"][-1] == key]
    return []


@pytest.mark.parametrize(("setting", "limit"), LIMITS)
def test_a_bound_that_the_page_names_is_where_values_begin_to_be_refused(setting: Setting, limit: float) -> None:
    found, (least, _) = shape(setting), bounds(shape(setting))
    is_least, step = limit == least, 1 if found["type"] == "integer" else 1e-6 * max(1.0, limit)
    inside, outside = (limit + step, limit - step) if is_least else (limit - step, limit + step)
    beyond = {"greater_than", "greater_than_equal", "less_than_equal"}
    assert beyond.isdisjoint(refusals(setting, inside))
    assert beyond.intersection(refusals(setting, outside))
    assert bool(beyond.intersection(refusals(setting, limit))) is (is_least and "exclusiveMinimum" in found)
    assert f"{limit:.15g}" in row(f"TICKBRIDGE_{setting.name}")[2]


def test_the_example_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    (token := tmp_path / "token").write_text("t")
    file = tmp_path / "bridge.yaml"
    file.write_text(EXAMPLE.replace("/run/secrets/alltick/token", str(token)))
    found = load(file, http={"port": 0})
    assert EXAMPLE in TABLE.read_text()
    assert (found.name, found.upstream.plan, found.topics.ticks_partitions) == ("stocks", "basic", 24)
    assert found.kafka.as_librdkafka()["linger.ms"] == 20


@pytest.mark.parametrize(
    "upstream",
    [
        {"token": "t", "token_file": __file__},
        {"url": "wss://venue.example/?token=t"},
        {"dialect": "action-code"},
        {"heartbeat_s": 2.9},
        {"heartbeat_s": 10, "silence_s": 10},
    ],
)
def test_what_cannot_go_together_is_refused(upstream: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        load(upstream=upstream, kafka={"bootstrap_servers": "localhost:9092"})


@pytest.mark.parametrize("plan", PLANS)
def test_the_plans_stand_there_with_their_numbers(plan: str) -> None:
    assert row(plan) == [f"`{plan}`", str(PLANS[plan].max_symbols), f"{PLANS[plan].reconnect_min_s:g}"]


@pytest.mark.parametrize("key", RESERVED)
def test_every_reserved_kafka_property_stands_there_with_its_reason(key: str) -> None:
    assert row(key) == [f"`{key}`", RESERVED[key]]
