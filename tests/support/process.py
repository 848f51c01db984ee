"""The bridge as a process of its own, as users run it: watched by its log and its HTTP, ended by signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]

#: Seconds between two looks at something that cannot be awaited (an answer over HTTP).
LOOK_S = 0.05

#: Lines of a bridge's log that a test which fails shows.
LAST_LINES = 80


class BridgeProcess:
    """``tickbridge run`` with the given settings (names without the prefix), and nothing else of this environment."""

    def __init__(self, settings: Mapping[str, str], arguments: tuple[str, ...] = ("run",)) -> None:
        self.lines: list[dict[str, Any]] = []
        self.output: list[str] = []
        self._news = Condition()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "TICKBRIDGE_HTTP__HOST": "127.0.0.1",
            "TICKBRIDGE_HTTP__PORT": "0",
            **{name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "PYTHONPATH"))},
            **{f"TICKBRIDGE_{name}": value for name, value in settings.items()},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
        # Shown beside a failure only: what a test that saw something else would need to be understood.
        print(f"the last lines of the bridge with process id {self.process.pid}:", *self.output[-LAST_LINES:], sep="\n")

    def wait_for(self, event: str, timeout_s: float = 20.0, **fields: Any) -> dict[str, Any]:
        """Wait for a line of the log with this event and these fields; the first such line ever counts."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.lines if _fits(line, event, fields)), None)

        with self._news:
            if not self._news.wait_for(lambda: found() or not self._reader.is_alive(), timeout_s) or not found():
                tail = "\n".join(self.output[-30:])
                raise TimeoutError(f"no line {event} {fields} within {timeout_s} s; the last lines:\n{tail}")
        return found() or {}

    def count(self, event: str, **fields: Any) -> int:
        """Count the lines with this event and these fields."""
        return sum(_fits(line, event, fields) for line in list(self.lines))

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask over HTTP; gives status and body."""
        port = self.wait_for("started")["http_port"]
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def status(self) -> dict[str, Any]:
        """Give ``/status``."""
        document: dict[str, Any] = json.loads(self.get("/status")[1])
        return document

    def wait_until(self, what: str, holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Look again and again until something holds that the process tells only when asked."""
        end = time.monotonic() + timeout_s
        pause = Event()
        while True:
            with contextlib.suppress(URLError, ConnectionError):
                if holds():
                    return
            if time.monotonic() > end:
                raise TimeoutError(f"not within {timeout_s} s: {what}; status: {self.status()}")
            pause.wait(LOOK_S)

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        """Wait until ``/readyz`` says so."""
        self.wait_until("ready", lambda: self.get("/readyz")[0] == 200, timeout_s)

    def wait_accepted(self, *symbols: str, timeout_s: float = 20.0) -> None:
        """Wait until exactly these symbols are accepted by the venue."""

        def holds() -> bool:
            rows = self.status()["symbols"]
            return {row["symbol"] for row in rows if row["state"] in ("waiting", "live")} == set(symbols)

        self.wait_until(f"{symbols} accepted", holds, timeout_s)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 40.0) -> int:
        """Wait for the end; gives the exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code

    def _read(self) -> None:
        for text in self.process.stdout or ():
            line = text.rstrip("\n")
            with self._news:
                self.output.append(line)
                with contextlib.suppress(ValueError):
                    self.lines.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def _fits(line: Any, event: str, fields: Mapping[str, Any]) -> bool:
    return isinstance(line, dict) and line.get("event") == event and fields.items() <= line.items()
