"""`--wait`, `subscriptions export`, and what `add` says of former records, as operators see them, on a real broker."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.apply import EXIT_DIFFERS
from bridge.cli.settling import EXIT_UNSETTLED
from bridge.errors import EXIT_KAFKA, EXIT_OK, EXIT_SETTINGS
from bridge.model import State, SymbolState
from bridge.publish.notices import status
from tests.integration.test_looking_cli import Follower, Place, follow, followers, place

__all__ = ["followers", "place"]


def tells(place: Place, symbol: str, state: State, offset: int, effective: dict[str, Any], **fields: str) -> None:
    """Say of a symbol what a bridge would."""
    row = SymbolState(symbol, symbol, state, **fields)  # type: ignore[arg-type]
    key, value = status(
        row, bridge="tickbridge", instance="one", since_us=time.time_ns() // 1000, control=(0, offset),
        effective=effective,
    )  # fmt: skip
    place.kafka.produce(place.topics["STATUS"], [(key, value)])


def asked(place: Place, *records: tuple[str, str | None]) -> None:
    place.kafka.produce(place.topics["SUBSCRIPTIONS"], list(records))


@pytest.fixture
def stage(place: Place) -> Place:
    place.make(SUBSCRIPTIONS=1, STATUS=1)
    return place


def waiting(followers: list[Follower], place: Place, *words: str) -> Follower:
    """Start a command and return when it waits."""
    one = follow(followers, place, "subscriptions", *words, "--wait", "30")
    while not (notice := one.notice()).startswith("waiting for"):
        assert notice, "it ended before it waited"
    return one


def test_adding_waits_until_the_bridge_says_that_it_is_accepted(stage: Place, followers: list[Follower]) -> None:
    tells(stage, "A", State.REJECTED, 0, {}, reason="venue_600")  # of a record that was there before
    asked(stage, ("A", "{}"))
    one = waiting(followers, stage, "add", "A", "B", "--priority", "5")
    tells(stage, "A", State.PENDING, 1, {"priority": 5})
    tells(stage, "A", State.WAITING, 1, {"priority": 5})
    tells(stage, "B", State.LIVE, 2, {"priority": 5})
    assert one.end()[::2] == (EXIT_OK, "in force: 2 symbols: 1 waiting · 1 live\n")


def test_what_the_venue_refuses_is_drawn_alone_and_has_an_exit_code(stage: Place, followers: list[Follower]) -> None:
    one = waiting(followers, stage, "add", "GOOD", "BAD")
    tells(stage, "GOOD", State.LIVE, 0, {})
    tells(stage, "BAD", State.REJECTED, 1, {}, reason="venue_600", detail="the venue refuses this code")
    code, _, errors = one.end()
    assert code == EXIT_UNSETTLED
    assert "venue_600: the venue refuses this code" in errors
    assert "1 of 2 ended badly; see `tickbridge status BAD`" in errors
    assert "GOOD" not in errors


def test_a_newer_record_than_ours_settles_it_too(stage: Place, followers: list[Follower]) -> None:
    one = waiting(followers, stage, "add", "A", "--priority", "5")
    tells(stage, "A", State.LIVE, 1, {"priority": 9})
    assert one.end()[0] == EXIT_OK


def test_where_nobody_answers_the_time_out_says_so_and_where_to_look(stage: Place) -> None:
    result = stage.types("subscriptions", "add", "A", "--wait", "0.5")
    assert result.exit_code == EXIT_UNSETTLED
    assert result.stdout == "added A\n"
    assert "no status yet" in result.stderr
    assert "1 of 1 not in force after 0.5 s" in result.stderr
    assert "is one running?" in result.stderr
    assert "`tickbridge status A`" in result.stderr


def test_removing_waits_for_the_status_to_go(stage: Place, followers: list[Follower]) -> None:
    asked(stage, ("A", "{}"))
    tells(stage, "A", State.LIVE, 0, {})
    one = waiting(followers, stage, "remove", "A")
    stage.kafka.produce(stage.topics["STATUS"], [("A", None)])
    assert one.end()[::2] == (EXIT_OK, "in force: 1 removed\n")


def test_a_removal_that_is_held_is_not_done_and_says_what_ends_it(stage: Place) -> None:
    asked(stage, ("A", "{}"))
    tells(stage, "A", State.LIVE, 0, {}, reason="removal_held")
    result = stage.types("subscriptions", "remove", "A", "--wait", "0.5")
    assert result.exit_code == EXIT_UNSETTLED
    assert "its removal is held" in result.stderr
    assert "`tickbridge subscriptions remove SYMBOL… --yes`" in result.stderr


def test_apply_waits_for_what_it_wrote_and_its_result_stays_one_document(
    stage: Place, followers: list[Follower], tmp_path: Path
) -> None:
    asked(stage, ("GONE", "{}"), ("SAME", "{}"))
    tells(stage, "GONE", State.LIVE, 0, {})
    file = tmp_path / "symbols.csv"
    file.write_text("symbol,enabled\nOFF,false\nSAME,\n")
    one = waiting(followers, stage, "apply", "-f", str(file), "--prune", "--yes", "-o", "json")
    stage.kafka.produce(stage.topics["STATUS"], [("GONE", None)])
    tells(stage, "OFF", State.DISABLED, 2, {"enabled": False})
    code, stdout, errors = one.end()
    assert (code, errors) == (EXIT_OK, "in force: 1 symbol: 1 disabled, 1 removed\n")
    assert json.loads(stdout)["removed"] == ["GONE"]


def test_thousands_that_are_not_done_fill_no_screen(stage: Place, tmp_path: Path) -> None:
    file = tmp_path / "symbols.csv"
    file.write_text("symbol\n" + "".join(f"S{number}\n" for number in range(3000)))
    result = stage.types("subscriptions", "apply", "-f", str(file), "--yes", "--wait", "0.5")
    assert result.exit_code == EXIT_UNSETTLED
    assert len(result.stderr.splitlines()) < 30
    assert "and 2,980 more of them" in result.stderr


def test_ctrl_c_says_that_the_records_are_written(stage: Place, followers: list[Follower]) -> None:
    code, errors = waiting(followers, stage, "add", "A").interrupt()
    assert code == 130
    assert "stopped waiting; all is written (1 record)" in errors


def test_without_a_status_topic_nothing_is_written(place: Place) -> None:
    place.make(SUBSCRIPTIONS=1)
    result = place.types("subscriptions", "add", "A", "--wait", "1")
    assert result.exit_code == EXIT_KAFKA
    assert place.topics["STATUS"] in result.stderr
    assert place.kafka.read_all(place.topics["SUBSCRIPTIONS"]) == []


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_no_time_to_wait_is_refused(place: Place, seconds: str) -> None:
    result = place.types("subscriptions", "add", "A", "--wait", seconds)
    assert result.exit_code == EXIT_SETTINGS
    assert "above 0" in result.stderr


@pytest.mark.parametrize("form", ["yaml", "csv"])
def test_an_exported_topic_is_equal_to_its_file(stage: Place, tmp_path: Path, form: str) -> None:
    asked(stage, ("B", '{"priority":5,"enabled":false,"owner":"desk, three"}'), ("00700", '{"stale_after_s":1.5}'))
    asked(stage, ("HKEX:00700", '{"code":"700.HK","note":"é \\u001b[2J"}'), ("A", "{}"), ("A", None))
    text = stage.types("subscriptions", "export", "--format", form)
    assert (text.exit_code, text.stderr) == (EXIT_OK, "")
    assert [symbol for symbol in ("00700", "B", "HKEX:00700") if symbol not in text.stdout] == []
    assert text.stdout.index("\n00700" if form == "csv" else "'00700'") < text.stdout.index("desk")
    file = tmp_path / f"symbols.{form}"
    file.write_text(text.stdout)
    diff = stage.types("subscriptions", "diff", "-f", str(file), "--prune")
    assert diff.exit_code == EXIT_OK, diff.output


def test_an_unusable_record_is_named_and_left_out(stage: Place, tmp_path: Path) -> None:
    asked(stage, ("A", "{}"), ("BAD", '{"priority":1}'), ("BAD", "{"))
    text = stage.types("subscriptions", "export")
    assert (text.exit_code, text.stdout) == (EXIT_OK, "subscriptions:\n  A: {}\n")
    assert "BAD is left out: its newest record is unusable (not_json" in text.stderr
    file = tmp_path / "symbols.yaml"
    file.write_text(text.stdout)
    diff = stage.types("subscriptions", "diff", "-f", str(file))
    assert (diff.exit_code, "BAD: not in the file" in diff.stderr) == (EXIT_DIFFERS, True)


def test_what_csv_cannot_hold_is_named(stage: Place) -> None:
    asked(stage, ("A", '{"note":" x "}'), ("B", '{"note":"x"}'))
    text = stage.types("subscriptions", "export", "--format", "csv")
    assert text.exit_code == EXIT_OK
    assert "warning: A: a cell of CSV" in text.stderr
    assert "B" not in text.stderr


def test_a_disk_that_is_full_is_told_and_has_an_exit_code(stage: Place) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bridge", "subscriptions", "export"], env={**os.environ, **stage.environment},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert done.returncode == EXIT_SETTINGS
    assert done.stderr.startswith("error: the result cannot be written: No space left")


def test_an_empty_topic_is_an_empty_file(stage: Place) -> None:
    assert stage.types("subscriptions", "export").stdout == "subscriptions: {}\n"


def test_adding_what_is_there_says_what_was_there_and_what_is_gone(stage: Place) -> None:
    asked(stage, ("A", '{"priority":5,"owner":"desk"}'), ("B", "{"), ("C", "{}"))
    result = stage.types("subscriptions", "add", "A", "B", "C", "D")
    assert result.exit_code == EXIT_OK
    a, b, c, d = result.stdout.splitlines()
    assert a == 'changed A, was {"priority":5,"owner":"desk"}'
    assert b.startswith("changed B, was unusable (not_json")
    assert (c, d) == ("unchanged C", "added D")
    warning = "warning: A: left out priority, owner, which the former record had; nothing of it is kept\n"
    assert result.stderr == warning
