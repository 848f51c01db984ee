"""What `tickbridge check` finds out on this machine alone: dialect, calendar, spill."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import ground
from bridge.cli.probes import Finding, Verdict
from bridge.errors import SettingsError
from bridge.settings import Settings, load


def settings(**groups: Any) -> Settings:
    return load(kafka={"bootstrap_servers": "localhost:1"}, **groups)


def spill(**backpressure: Any) -> Finding:
    (found,) = ground.spill(settings(backpressure=backpressure))
    return found


def test_a_dialect_that_is_not_there_is_named_with_those_that_are() -> None:
    assert [one.said for one in ground.dialect(settings())] == ["alltick"]
    with pytest.raises(SettingsError, match=r"DIALECT=foo: no such dialect; there are .*alltick"):
        list(ground.dialect(settings(upstream={"dialect": "foo"})))


def test_a_calendar_file_is_read_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "calendar.yaml"
    file.write_text("us: {holidays: [2026-12-25]}\n")
    assert list(ground.holidays(settings())) == []
    (found,) = ground.holidays(settings(ticks={"calendar_file": file}))
    assert found == Finding("calendar", Verdict.OK, f"from {file}")
    file.write_text("- 2026-12-25\n")
    with pytest.raises(SettingsError, match=r"calendar\.yaml, line 1"):
        list(ground.holidays(settings(ticks={"calendar_file": file})))


def test_without_a_spill_it_says_what_ticks_have_instead() -> None:
    found = spill(queue_max_bytes=32 * 1024 * 1024)
    assert (found.verdict, "32 MiB of memory" in found.said) == (Verdict.OK, True)


def test_a_spill_is_judged_by_what_exists_of_its_directory_and_nothing_is_made(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    found = spill(spill_dir=wanted, spill_max_bytes=16 * 1024 * 1024)
    assert (found.verdict, "MiB free, up to 16 MiB wanted" in found.said) == (Verdict.OK, True)
    assert list(tmp_path.iterdir()) == []


def test_a_spill_that_is_no_directory_or_may_not_be_written_is_a_failure_with_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = spill(spill_dir=file / "spill")
    assert (found.verdict, found.said) == (Verdict.FAIL, f"{file} is no directory")
    assert "TICKBRIDGE_BACKPRESSURE__SPILL_DIR" in found.hint


def test_a_disk_with_less_room_than_the_spill_may_take_is_a_warning(tmp_path: Path) -> None:
    found = spill(spill_dir=tmp_path, spill_max_bytes=shutil.disk_usage(tmp_path).total * 2)
    assert (found.verdict, "SPILL_MAX_BYTES" in found.hint) == (Verdict.WARN, True)
