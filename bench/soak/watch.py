"""The watcher: samples every second what the bridges weigh and how far they are, and shows it while the soak runs."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.soak.lab import Lab

#: Seconds between two samples, between two of them in the journal, and between two lines where there is no terminal.
SAMPLE_S = 1.0
JOURNAL_S = 5.0
LINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process weighed: `at` seconds after the begin, `age` of the process in seconds, megabytes."""

    at: float
    instance: str
    age: float
    rss_mb: float


@dataclass
class Shown:
    """What the watcher has to tell."""

    minutes: float
    fault: str = "none"
    since: float = 0.0
    sent: int = 0
    published: int = 0
    samples: list[Sample] = field(default_factory=list)
    verdicts: deque[str] = field(default_factory=lambda: deque(maxlen=8))


class Watcher:
    """A thread of its own; a context manager."""

    def __init__(self, lab: Lab, console: Console, minutes: float) -> None:
        self.shown = Shown(minutes)
        self._lab = lab
        self._console = console
        self._begun_at = time.monotonic()
        self._published: dict[tuple[str, str], int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(20)

    @property
    def elapsed(self) -> float:
        """Seconds since the begin."""
        return time.monotonic() - self._begun_at

    def under(self, fault: str) -> None:
        """Say which fault is under way."""
        self.shown.fault, self.shown.since = fault, self.elapsed

    def verdict(self, text: str) -> None:
        """Say how a fault ended."""
        self.shown.verdicts.append(f"{self.elapsed:7.1f} s  {text}")
        if not self._console.is_terminal:
            self._console.print(Text(self.shown.verdicts[-1]))
        self.under("none")

    def _run(self) -> None:
        if not self._console.is_terminal:
            self._loop(None)
            return
        with Live(console=self._console, auto_refresh=False) as live:
            self._loop(live)

    def _loop(self, live: Live | None) -> None:
        told = written = 0.0
        while not self._done.wait(SAMPLE_S):
            self._sample()
            if self.elapsed >= written + JOURNAL_S:
                written = self.elapsed
                self._write()
            if live is not None:
                live.update(self._screen(), refresh=True)
            elif self.elapsed >= told + LINE_S:
                told = self.elapsed
                self._console.print(Text(self._line()))

    def _sample(self) -> None:
        self.shown.sent = self._lab.venue.record.sent_total
        for instance in self._lab.instances:
            if (weight := instance.memory()) is not None:
                self.shown.samples.append(Sample(self.elapsed, instance.name, *weight))
            if (status := instance.status()) is not None:
                self._published[instance.name, status["instance"]] = status["accounts"]["published"]
        self.shown.published = sum(self._published.values())

    def _write(self) -> None:
        weights = {sample.instance: round(sample.rss_mb, 1) for sample in self._newest()}
        self._lab.journal.write(
            "sample", fault=self.shown.fault, sent=self.shown.sent, published=self.shown.published, rss_mb=weights
        )

    def _newest(self) -> list[Sample]:
        newest = {one.instance: one for one in self.shown.samples[-4:] if one.at > self.elapsed - 3 * SAMPLE_S}
        return [newest[name] for name in sorted(newest)]

    def _line(self) -> str:
        weights = ", ".join(f"{sample.instance} {sample.rss_mb:.0f} MB" for sample in self._newest()) or "no bridge"
        return (
            f"{self.elapsed:7.1f} s  {self.shown.sent:,} sent, {self.shown.published:,} published; {weights}; "
            f"fault: {self.shown.fault}"
        )

    def _screen(self) -> Group:
        shown, table = self.shown, Table.grid(padding=(0, 2))
        weights = ", ".join(f"{one.instance}: {one.rss_mb:.0f} MB" for one in self._newest()) or "no bridge"
        table.add_row("elapsed", f"{self.elapsed / 60:.1f} of {shown.minutes:g} min")
        table.add_row("fault", f"{shown.fault} ({self.elapsed - shown.since:.0f} s)")
        table.add_row("ticks", f"{shown.sent:,} sent, {shown.published:,} published")
        table.add_row("memory", weights)
        return Group(table, Text("\n".join(["", *shown.verdicts]), style="dim"))
