"""Names with our prefix that are no settings: which are plainly mistyped, and which are somebody else's."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from bridge.errors import SettingsError
from bridge.settings import PREFIX, load
from bridge.settings.names import mistyped
from scripts.settings_table import settings

Set: TypeAlias = Callable[[Mapping[str, str]], None]

KNOWN = [setting.name for setting in settings()]
SEPARATED = "groups are separated by two underscores"


def said(name: str, value: str = "x") -> list[str]:
    return list(mistyped({PREFIX + name: value}, KNOWN, PREFIX))


@pytest.mark.parametrize("name", [name for name in KNOWN if "__" in name])
def test_every_setting_with_one_underscore_is_told_apart(name: str) -> None:
    assert said(name.replace("__", "_")) == [
        f"{PREFIX}{name.replace('__', '_')} is no setting; did you mean {PREFIX}{name}? {SEPARATED}"
    ]


@pytest.mark.parametrize("name", ["_UPSTREAM__PLAN", "UPSTREAMPLAN", "UP_STREAM__PLAN"])
def test_underscores_elsewhere_are_no_better(name: str) -> None:
    assert said(name) == [f"{PREFIX}{name} is no setting; did you mean {PREFIX}UPSTREAM__PLAN? {SEPARATED}"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("UPSTREAM_TOKN", "UPSTREAM__TOKEN"),
        ("UPSTRAEM__PLAN", "UPSTREAM__PLAN"),
        ("HTPP__PORT", "HTTP__PORT"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA__BOOTSTRAP_SERVERS"),
        ("TOPIC__TICKS", "TOPICS__TICKS"),
    ],
)
def test_a_wrong_letter_or_two_are_seen_through(name: str, meant: str) -> None:
    (line,) = said(name)
    assert line.startswith(f"{PREFIX}{name} is no setting; did you mean {PREFIX}{meant}?")


@pytest.mark.parametrize("name", [*KNOWN, "HTTP__PROT", "HTTP", "KAFKA__EXTRA__X"])
def test_what_a_group_knows_or_refuses_itself_is_not_told_twice(name: str) -> None:
    assert not said(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "tcp://10.0.0.1:8080"),
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("HTTP_PORT", "tcp://10.0.0.1:8080"),  # of a Service called tickbridge-http
        ("HTTP_SERVICE_PORT", "8080"),
        ("HTTP_PORT_8080_TCP_PORT", "8080"),
        ("TEST_KAFKA", "yes"),
        ("TEST_KAFKA_IMAGE", "kafka"),
        ("TEST_IMAGE", "yes"),
        ("IMAGE", "tickbridge"),
        ("FAULTS", "all"),
        ("ENGINE_DIR", "engine"),
        ("UPSTREAM_PLAN", ""),  # an empty variable counts as not set
    ],
)
def test_everything_else_is_left_alone(name: str, value: str) -> None:
    assert not said(name, value)


def test_names_with_another_prefix_are_nobody_s_business_here() -> None:
    assert not list(mistyped({"UPSTREAM_PLAN": "basic", "BRIDGE_UPSTREAM_PLAN": "basic"}, KNOWN, PREFIX))


# Where settings are loaded


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")


def test_a_mistyped_variable_stands_beside_whatever_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("tickbridge_upstream_plan", "basic")
    monkeypatch.setenv(f"{PREFIX}HTTP__PORT", "high")
    with pytest.raises(SettingsError) as caught:
        load()
    names = [line.partition("=")[0].partition(" ")[0] for line in caught.value.lines]
    assert names == [f"{PREFIX}UPSTREAM_PLAN", f"{PREFIX}HTTP__PORT"]


def test_a_mistyped_line_of_dotenv_is_refused_and_its_value_not_repeated() -> None:
    Path(".env").write_text("TICKBRIDGE_UPSTREAM_TOKEN=opensesame\n")
    with pytest.raises(SettingsError, match="did you mean TICKBRIDGE_UPSTREAM__TOKEN") as caught:
        load()
    assert "opensesame" not in str(caught.value)


def test_a_dotenv_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"\xff\xfe=1\n")
    with pytest.raises(SettingsError, match=r"\.env: is not UTF-8"):
        load()
