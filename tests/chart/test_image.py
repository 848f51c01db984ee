"""The Dockerfile keeps what the chart relies on; an engine is not needed to see that."""

import json
import re
from pathlib import Path

import pytest

from bridge.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Give each instruction with its arguments, continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    split = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(word, rest) for word, rest in split]


def last(instructions: list[tuple[str, str]], word: str) -> str:
    return [rest for name, rest in instructions if name == word][-1]


def test_the_user_is_a_number_other_than_roots(instructions: list[tuple[str, str]]) -> None:
    user, _, group = last(instructions, "USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_the_bridge_itself_receives_the_signals(instructions: list[tuple[str, str]]) -> None:
    assert json.loads(last(instructions, "ENTRYPOINT")) == ["tickbridge"]
    assert json.loads(last(instructions, "CMD")) == ["run"]


def test_the_port_is_the_bridges_default(instructions: list[tuple[str, str]]) -> None:
    http = Settings.model_fields["http"].get_default(call_default_factory=True)
    assert int(last(instructions, "EXPOSE")) == http.port


def test_every_stage_starts_from_the_image_that_is_asked_for(instructions: list[tuple[str, str]]) -> None:
    assert [rest.split()[0] for word, rest in instructions if word == "FROM"] == ["${PYTHON}", "${PYTHON}"]


def test_every_dependency_is_held_to_its_hash(instructions: list[tuple[str, str]]) -> None:
    installs = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in install or "--no-deps" in install for install in installs)
    assert len(installs) == 2


def test_no_frontend_is_fetched_to_read_it() -> None:
    assert not re.match(r"#\s*syntax", (ROOT / "Dockerfile").read_text())


def test_all_that_is_copied_exists_and_is_sent_to_the_engine(instructions: list[tuple[str, str]]) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for word, rest in instructions
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == sent
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []
