"""What happened when, one JSON object per line."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any


class Journal:
    """Appends lines to a file; any thread may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self._begun_at = time.monotonic()

    def write(self, event: str, **fields: Any) -> None:
        """Write a line: Unix seconds, seconds since the begin, the event and its fields."""
        line = {"ts": round(time.time(), 3), "t": round(time.monotonic() - self._begun_at, 1), "event": event, **fields}
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(line, default=str) + "\n")

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            self._file.close()
