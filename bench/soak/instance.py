"""One place for a bridge, with a spill directory of its own: processes come and go, and come back to their spill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from bench.soak.journal import Journal
from tests.support.process import BridgeProcess

#: Seconds that a start may take until its first line, and a stop until the process is gone.
START_S = 30.0
STOP_S = 45.0
#: How a process may end that was asked to: all delivered, or the rest left in the spill.
ENDS = (0, 4)


class Instance:
    """Holds at most one process at a time; main thread only, but for what says otherwise."""

    def __init__(self, name: str, settings: Mapping[str, str], directory: Path, journal: Journal) -> None:
        self.name = name
        self._settings = {**settings, "BACKPRESSURE__SPILL_DIR": str(directory / f"spill-{name}")}
        self._directory = directory
        self._journal = journal
        self._bridge: BridgeProcess | None = None
        self._lives = 0
        self._begun_at = 0.0
        self.frozen = False
        #: The fields of every line `stopped`, and how often lines of level error or above came, by event.
        self.last_words: list[dict[str, Any]] = []
        self.errors: Counter[str] = Counter()
        self.reconnects = 0
        self.problems: list[str] = []

    @property
    def running(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._bridge is not None

    @property
    def ever_ran(self) -> bool:
        """Whether there may be something in its spill."""
        return self._lives > 0

    def start(self) -> None:
        """Start a process if there is none; TimeoutError when it says nothing."""
        if self._bridge is None:
            self._lives += 1
            self._bridge = BridgeProcess(self._settings)
            self._begun_at = time.monotonic()
            self._journal.write("start", instance=self.name, pid=self._bridge.process.pid)
            self._bridge.wait_for("started", START_S)

    def stop(self) -> None:
        """End it by SIGTERM and note its last words; an end that a bridge must not come to is a problem."""
        if self._bridge is None:
            return
        self.thaw()
        code = self._bridge.stop(timeout_s=STOP_S)
        if code not in ENDS:
            self.problems.append(f"bridge {self.name} ended with {code} after SIGTERM: {self._tail()}")
        self._bury(f"exit {code}")

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._bridge is not None:
            self._bridge.process.kill()
            self._bridge.wait()
            self._bury("killed")

    def freeze(self) -> None:
        """Stop it where it stands (SIGSTOP)."""
        if self._bridge is not None:
            self.frozen = True
            psutil.Process(self._bridge.process.pid).suspend()

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        if self._bridge is not None and self.frozen:
            psutil.Process(self._bridge.process.pid).resume()
            self.frozen = False

    def look_after(self) -> None:
        """Notice a process that ended unasked: a problem."""
        if self._bridge is not None and (code := self._bridge.process.poll()) is not None:
            self._bridge.wait()
            self.problems.append(f"bridge {self.name} ended by itself with {code}: {self._tail()}")
            self._bury(f"died with {code}")

    def close(self) -> None:
        """Kill what is left."""
        self.thaw()
        self.kill()

    def status(self) -> dict[str, Any] | None:
        """Give `/status`, None when nobody answers; on any thread."""
        bridge = self._bridge
        if bridge is None or self.frozen:
            return None
        try:
            return bridge.status()
        except (OSError, ValueError, TimeoutError):
            return None

    def memory(self) -> tuple[float, float] | None:
        """Give the age of the process in seconds and its resident memory in MB; on any thread."""
        bridge, begun_at = self._bridge, self._begun_at
        try:
            return (time.monotonic() - begun_at, psutil.Process(bridge.process.pid).memory_info().rss / 1e6)  # type: ignore[union-attr]
        except (psutil.Error, AttributeError):
            return None

    def _tail(self) -> str:
        return " | ".join(self._bridge.output[-3:]) if self._bridge else ""

    def _bury(self, how: str) -> None:
        bridge, self._bridge, self.frozen = self._bridge, None, False
        if bridge is None:
            return
        bridge.__exit__(None, None, None)
        log = self._directory / f"bridge-{self.name}-{self._lives}.log"
        log.write_text("\n".join(bridge.output) + "\n", encoding="utf-8")
        lines = [line for line in bridge.lines if isinstance(line, dict)]
        self.errors.update(line["event"] for line in lines if line.get("level") in ("error", "critical"))
        self.reconnects += sum(line.get("event") == "upstream_disconnected" for line in lines)
        self.last_words += [line for line in lines if line.get("event") == "stopped"]
        self._journal.write("end", instance=self.name, how=how, log=str(log))
