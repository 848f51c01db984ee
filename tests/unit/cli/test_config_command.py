"""`tickbridge config`: what is in force, where it came from, and no secret in any of it."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bridge import __version__
from bridge.cli import app
from bridge.cli.config import mask_url, settings
from bridge.errors import EXIT_OK, EXIT_SETTINGS
from bridge.settings import load
from bridge.settings.masks import MASK

SECRETS = ("s3cret-token", "s3cret-sasl", "s3cret-key", "s3cret-extra", "s3cret-user", "s3cret-query")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS", "localhost:9092")


def types(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == EXIT_OK, result.output
    return result.stdout


def row(name: str, table: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.split()[:1] == [name]]
    return line.split()


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    extra = {"sasl.oauthbearer.config": SECRETS[3], "ssl.key.pem": SECRETS[3], "linger.ms": 7,
             "ssl.ca.location": "/ca.pem", "x.url": f"http://u:{SECRETS[4]}@h/"}  # fmt: skip
    for name, value in {
        "UPSTREAM__TOKEN": SECRETS[0],
        "KAFKA__SASL_PASSWORD": SECRETS[1],
        "KAFKA__SSL_KEY_PASSWORD": SECRETS[2],
        "KAFKA__EXTRA": json.dumps(extra),
        "UPSTREAM__URL": f"wss://me:{SECRETS[4]}@venue.example/x?key={SECRETS[5]}",
    }.items():
        monkeypatch.setenv(f"TICKBRIDGE_{name}", value)
    text = types("config", "show", "-o", output)
    assert not [secret for secret in SECRETS if secret in text]
    if output == "json":
        shown = json.loads(text)
        assert shown["upstream"]["url"] == f"wss://{MASK}@venue.example/x?key={MASK}"
        assert shown["upstream"]["token"] == shown["kafka"]["sasl_password"] == MASK
        assert shown["kafka"]["extra"] == {
            "sasl.oauthbearer.config": MASK, "ssl.key.pem": MASK, "linger.ms": 7,
            "ssl.ca.location": "/ca.pem", "x.url": f"http://{MASK}@h/",
        }  # fmt: skip


@pytest.mark.parametrize("url", ["wss://h/x", "wss://h:1/x", "ws://[::1]:5/"])
def test_an_address_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert mask_url(url) == url


def test_a_bare_query_is_masked_too() -> None:
    assert mask_url("wss://h/x?s3cret") == f"wss://h/x?{MASK}"


def test_each_setting_says_where_it_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path(".env").write_text("TICKBRIDGE_NAME=from-env-file\nTICKBRIDGE_HTTP__PORT=1\n")
    file = tmp_path / "c.yaml"
    file.write_text("http: {port: 2, host: 127.0.0.1}\ngroup: {id: g}\nname: from-file\n")
    monkeypatch.setenv("tickbridge_group__id", "mine")
    table = types("--config", str(file), "config", "show")
    assert row("NAME", table) == ["NAME", "from-env-file", ".env"]
    assert row("HTTP__PORT", table) == ["HTTP__PORT", "1", ".env"]
    assert row("HTTP__HOST", table)[:2] == ["HTTP__HOST", "127.0.0.1"]
    assert "c.yaml" in table
    assert row("GROUP__ID", table) == ["GROUP__ID", "mine", "environment"]
    assert row("LOG__LEVEL", table) == ["LOG__LEVEL", "info", "default"]
    assert row("UPSTREAM__TOKEN", table) == ["UPSTREAM__TOKEN", "default"]


def test_yaml_is_a_file_for_config(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(types("config", "show", "-o", "yaml"))
    assert load(file) == load()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("UPSTREAM__TOKEN", MASK), ("UPSTREAM__TOKEN", "*"), ("KAFKA__SASL_PASSWORD", MASK),
        ("KAFKA__SSL_KEY_PASSWORD", MASK), ("KAFKA__EXTRA", json.dumps({"ssl.key.pem": MASK})),
        ("UPSTREAM__URL", f"wss://{MASK}@venue.example/x"), ("UPSTREAM__URL", f"wss://venue.example/x?key={MASK}"),
    ],
)  # fmt: skip
def test_a_mask_that_comes_back_as_a_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(f"TICKBRIDGE_{setting}", value)
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == EXIT_SETTINGS
    assert f"TICKBRIDGE_{setting}: holds asterisks as `config show` puts them" in result.stderr


def test_what_config_show_wrote_is_refused_until_the_secret_is_put_in_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TICKBRIDGE_UPSTREAM__TOKEN", "t*ken")
    file = tmp_path / "bridge.yaml"
    file.write_text(types("config", "show", "-o", "yaml"))
    assert load(file).upstream.read_token() == "t*ken"  # the environment wins
    monkeypatch.delenv("TICKBRIDGE_UPSTREAM__TOKEN")
    result = CliRunner().invoke(app, ["--config", str(file), "config", "show"])
    assert result.exit_code == EXIT_SETTINGS
    assert result.stderr.startswith("error: TICKBRIDGE_UPSTREAM__TOKEN: holds asterisks")


def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKBRIDGE_HTTP__PORT", "high")
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == EXIT_SETTINGS
    assert "TICKBRIDGE_HTTP__PORT" in result.stderr


def test_the_schema_is_json_schema_and_the_table_has_every_variable() -> None:
    schema = json.loads(types("config", "schema", "-o", "json"))
    assert schema == yaml.safe_load(types("config", "schema", "-o", "yaml"))
    assert set(schema["properties"]) >= {"name", "kafka", "upstream"}
    table = types("config", "schema")
    for setting in settings():
        row(setting.variable, table)
    assert row("TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS", table)[-1] == "required"
    assert row("TICKBRIDGE_UPSTREAM__MARKET", table)[-1] == "[stock]"


def test_the_version_needs_no_command() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"tickbridge {__version__}\n")
