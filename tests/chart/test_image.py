"""The Dockerfile keeps what the chart relies on; an engine is not needed to see that."""

import json
import re
from pathlib import Path

import pytest

from bridge.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SPILL = "/var/lib/tickbridge"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Give each instruction with its arguments, continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    split = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return [(word, rest) for word, rest in split]


def pins(lock: Path) -> dict[str, str]:
    """Give the version of each package that a lock file pins."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))


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
    assert [rest.split()[0] for word, rest in instructions if word == "FROM"] == ["${BUILD}", "${RUNTIME}"]


def test_both_bases_hold_the_same_python_of_the_same_debian(instructions: list[tuple[str, str]]) -> None:
    bases = dict(rest.split("=", 1) for word, rest in instructions[:2] if word == "ARG")
    assert re.fullmatch(r"python:3\.13-slim-trixie", bases["BUILD"])
    assert re.fullmatch(r"\S+/distroless/python3-debian13:nonroot", bases["RUNTIME"])


def test_nothing_needs_a_shell_in_the_stage_that_has_none(instructions: list[tuple[str, str]]) -> None:
    last_stage = [word for word, _ in instructions].index("FROM", [word for word, _ in instructions].index("FROM") + 1)
    runs = [rest for word, rest in instructions[last_stage:] if word in ("RUN", "ENTRYPOINT", "CMD")]
    assert len(runs) == 3
    assert all(isinstance(json.loads(run), list) for run in runs)


def test_it_needs_no_option_that_only_some_builders_know(instructions: list[tuple[str, str]]) -> None:
    assert [rest for _, rest in instructions if rest.startswith(("--mount", "--link", "<<"))] == []


def test_the_spill_has_a_place_that_the_bridge_may_write_to(instructions: list[tuple[str, str]]) -> None:
    owners = [rest.split() for word, rest in instructions if word == "COPY" and "--chown" in rest]
    assert [(words[1], words[-1]) for words in owners] == [(f"--chown={last(instructions, 'USER')}", SPILL)]


def test_every_dependency_is_held_to_its_hash(instructions: list[tuple[str, str]]) -> None:
    runs = [rest for word, rest in instructions if word == "RUN"]
    installs = [part for run in runs for part in run.split("&&") if re.search(r"/pip .*(install|wheel) ", part)]
    assert len(installs) == 4
    assert all("--require-hashes" in install or "--no-deps" in install for install in installs)


def test_the_builder_of_the_package_is_the_one_that_the_tests_use() -> None:
    build, dev = (pins(ROOT / f"requirements-{name}.lock") for name in ("build", "dev"))
    assert "hatchling" in build
    assert {name: dev[name] for name in build if name in dev} == {name: build[name] for name in build if name in dev}


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
