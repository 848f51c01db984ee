"""What ``--help`` says on a screen of 80 columns, of every command."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli import app
from bridge.errors import EXIT_SETTINGS

SCREEN = {"COLUMNS": "80", "TERM": "dumb"}


def every(of: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Give the words of each command and each group."""
    yield words
    for name, inner in getattr(of, "commands", {}).items():
        yield from every(inner, *words, name)


COMMANDS = list(every(typer.main.get_command(app)))


def told(*words: str) -> list[str]:
    result = CliRunner().invoke(app, [*words, "--help"], env=SCREEN)
    assert result.exit_code == 0
    return result.stdout.splitlines()


def examples(lines: list[str]) -> list[str]:
    """Give the lines of all examples as they are on the screen."""
    start = next((number for number, line in enumerate(lines) if re.match(r" Examples?:$", line.rstrip())), len(lines))
    block = lines[start:]
    end = next((number for number, line in enumerate(block) if line.startswith("╭")), len(block))
    return [line.rstrip() for line in block[:end] if line.strip() and not line.rstrip().endswith(":")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_types_of_flags_and_arguments_are_not_told(words: tuple[str, ...]) -> None:
    text = "\n".join(told(*words))
    assert not re.search(r"<(bool|str|int|float|path|list\[.*)>|<=x", text)


@pytest.mark.parametrize("words", [words for words in COMMANDS if examples(told(*words))], ids=" ".join)
def test_an_example_stands_behind_a_prompt_and_a_long_one_is_broken_by_a_backslash(words: tuple[str, ...]) -> None:
    continued = False
    for line in examples(told(*words)):
        assert line.startswith("       " if continued else "   $ "), line
        continued = line.endswith("\\")
    assert not continued


def test_commands_with_examples_are_found() -> None:
    found = {" ".join(words) for words in COMMANDS if examples(told(*words))}
    assert found >= {"run", "demo", "simulate", "simulate set", "subscriptions add", "status"}


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["subs"], "subscriptions"), (["subscriptions", "rem"], "remove"), (["simulate", "rec"], "record")],
)
def test_the_beginning_of_a_command_is_answered_with_its_name(words: list[str], meant: str) -> None:
    result = CliRunner().invoke(app, words, env=SCREEN)
    assert result.exit_code == EXIT_SETTINGS
    assert f"Did you mean '{meant}'?" in result.stderr


def test_a_beginning_that_several_share_is_not_guessed_at() -> None:
    assert "Did you mean" not in CliRunner().invoke(app, ["s"], env=SCREEN).stderr


def test_a_priority_beyond_32_bits_is_refused_in_our_words() -> None:
    result = CliRunner().invoke(app, ["subscriptions", "add", "AAPL.US", "--priority", str(2**31)])
    assert result.exit_code == EXIT_SETTINGS
    assert result.stderr.startswith("error: AAPL.US: priority must be between")
