"""``docs/settings.md`` says what the settings are, and no one can forget to write it anew."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.settings import Settings
from bridge.settings.groups import RESERVED
from scripts.settings_table import TABLE, settings, table, write_or_check

ROOT = Path(__file__).resolve().parents[2]


def row(name: str) -> list[str]:
    (line,) = [line for line in table().splitlines() if line.startswith(f"| `{name}` |")]
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
        assert len(row(f"TICKBRIDGE_{setting.name}")) == 3


@pytest.mark.parametrize(
    ("name", "default", "meaning"),
    [
        ("NAME", "`tickbridge`", "the deployment's name: letters, digits, . _ -"),
        ("KAFKA__BOOTSTRAP_SERVERS", "required", "host:port,host:port of one or more brokers"),
        ("KAFKA__EXTRA", "`{}`", 'more librdkafka properties as JSON, as in {"linger.ms": 20}'),
        ("TOPICS__ENSURE", "`false`", "true lets `run` create missing topics itself"),
        ("HTTP__PORT", "`8080`", "a free port, 0 to 65535 (0 picks one)"),
        ("UPSTREAM__TOKEN", "", "the venue's token; or give UPSTREAM__TOKEN_FILE"),
    ],
)
def test_a_row_has_name_default_and_meaning(name: str, default: str, meaning: str) -> None:
    assert row(f"TICKBRIDGE_{name}") == [f"`TICKBRIDGE_{name}`", default, meaning]


@pytest.mark.parametrize("key", RESERVED)
def test_every_reserved_kafka_property_stands_there_with_its_reason(key: str) -> None:
    assert row(key) == [f"`{key}`", RESERVED[key]]
