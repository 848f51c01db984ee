"""What was seen on the cluster, for the end of the report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Note:
    """Collects lines: `note(...)` adds one; `with note.timed(...)` adds how long the block took."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __call__(self, line: str) -> None:
        """Add a line."""
        self._lines.append(line)

    def seconds(self, what: str, seconds: float) -> None:
        """Add a duration."""
        self(f"{what}: {seconds:.2f} s")

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add how long the block took, if it came to its end."""
        began = time.monotonic()
        yield
        self.seconds(what, time.monotonic() - began)
