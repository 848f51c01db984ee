"""What ``--help`` says on a screen of 80 columns, of every command."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli import LINES, app
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


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rm", "AAPL.US"], "subscriptions remove"), (["subscriptions", "rm"], "remove"),
        (["ls"], "subscriptions list"), (["add"], "subscriptions add"), (["subscriptions", "plan"], "diff"),
        (["dump"], "subscriptions export"),
        (["tail"], "ticks tail"), (["topics", "create"], "ensure"), (["watch"], "status --watch"),
        (["help"], "--help"), (["version"], "--version"), (["completion"], "--install-completion"),
    ],
)  # fmt: skip
def test_what_others_call_a_command_and_what_stands_in_a_group_is_answered_with_its_name(
    words: list[str], meant: str
) -> None:
    result = CliRunner().invoke(app, words, env=SCREEN)
    assert result.exit_code == EXIT_SETTINGS
    assert f"Did you mean '{meant}'?" in result.stderr


def test_a_name_that_nobody_uses_is_not_guessed_at() -> None:
    for words in (["zzz"], ["ticks", "create"], ["config", "rm"]):
        result = CliRunner().invoke(app, words, env=SCREEN)
        assert (result.exit_code, "Did you mean" in result.stderr) == (EXIT_SETTINGS, False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_h_is_help(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, [*words, "-h"], env=SCREEN).stdout.splitlines() == told(*words)


def test_config_after_the_command_is_answered_with_its_place() -> None:
    result = CliRunner().invoke(app, ["subscriptions", "list", "--config", "x"], env={**SCREEN, "COLUMNS": "200"})
    assert result.exit_code == EXIT_SETTINGS
    assert "tickbridge --config FILE subscriptions list" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "-o", "xml"], "'xml' is not one of 'table', 'json', 'yaml'"),
        (["status", "--state", "dead"], "'dead' is not one of 'pending'"),
        (["ticks", "tail", "--count", "x"], "it should be a valid integer"),
        (["ticks", "tail", "--count", "0"], "it should be greater than or equal to 1"),
    ],
)
def test_a_bad_value_is_told_without_the_words_of_a_library(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words, env={**SCREEN, "COLUMNS": "200"})
    assert result.exit_code == EXIT_SETTINGS
    assert said in result.stderr
    assert not re.search("Value error|unable to parse|Input should", result.stderr)


def test_of_thousands_of_faults_the_first_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("symbol,priority\n" + "".join(f"S{number},high\n" for number in range(3000)))
    result = CliRunner().invoke(app, ["subscriptions", "diff", "-f", str(file)])
    assert result.exit_code == EXIT_SETTINGS
    assert result.stderr.count("priority is 'high'") == LINES
    assert f"and {3000 - LINES:,} more of them" in result.stderr


def test_a_beginning_that_several_share_is_not_guessed_at() -> None:
    assert "Did you mean" not in CliRunner().invoke(app, ["s"], env=SCREEN).stderr


def test_a_priority_beyond_32_bits_is_refused_in_our_words() -> None:
    result = CliRunner().invoke(app, ["subscriptions", "add", "AAPL.US", "--priority", str(2**31)])
    assert result.exit_code == EXIT_SETTINGS
    assert result.stderr.startswith("error: AAPL.US: priority must be between")
