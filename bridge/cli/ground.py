"""What ``tickbridge check`` finds out on this machine alone: what the settings name, and what they name must be.

One function for each thing: settings in, findings out. Nothing is asked of anybody, and nothing is written: whether a
directory can be made is judged by the one it would be made in.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from bridge.cli.probes import Finding, Verdict
from bridge.ticks import calendar
from bridge.upstream import dialects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bridge.settings import Settings

_MIB = 1024 * 1024


def dialect(settings: Settings) -> Iterator[Finding]:
    """Find the dialect.

    Raises:
        SettingsError: there is none of that name.
    """
    name = settings.upstream.dialect
    dialects.get(name)
    yield Finding("dialect", Verdict.OK, name)


def holidays(settings: Settings) -> Iterator[Finding]:
    """Read the calendar file, where there is one.

    Raises:
        SettingsError: it cannot be used.
    """
    if file := settings.ticks.calendar_file:
        calendar.load(file)
        yield Finding("calendar", Verdict.OK, f"from {file}")


def spill(settings: Settings) -> Iterator[Finding]:
    """See whether ticks could be written to the spill's directory, where there is one, and how much room it has."""
    pressure = settings.backpressure
    if pressure.spill_dir is None:
        said = f"none: while Kafka is away, {pressure.queue_max_bytes // _MIB:,} MiB of memory are all that ticks have"
        yield Finding("spill", Verdict.OK, said)
        return
    place = _standing(pressure.spill_dir)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        hint = "set TICKBRIDGE_BACKPRESSURE__SPILL_DIR to a directory that the bridge's user may write to"
        why = "may not be written to by our user" if place.is_dir() else "is no directory"
        yield Finding("spill", Verdict.FAIL, f"{place} {why}", hint)
        return
    free, wanted = shutil.disk_usage(place).free, pressure.spill_max_bytes
    said = f"{pressure.spill_dir}: {free // _MIB:,} MiB free, up to {wanted // _MIB:,} MiB wanted"
    if free < wanted:
        yield Finding("spill", Verdict.WARN, said, "make room, or lower TICKBRIDGE_BACKPRESSURE__SPILL_MAX_BYTES")
    else:
        yield Finding("spill", Verdict.OK, said)


def _standing(path: Path) -> Path:
    """Give what exists of a path: itself, or the nearest of what it would be made in."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if os.path.lexists(one))
