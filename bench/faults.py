"""Kafka's faults at full rate and length: 5,000 ticks/s over 500 symbols, outages of 20 and 30 s, a table at the end.

The trials are those of `tests/e2e/test_kafka_faults.py`, which the test suite runs at a smaller size; what they hold is
held here too. One test is one fault; the trials of a test stand under the same fault at the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.trial import FIGURES, LONG

ROOT = Path(__file__).parents[1]
TESTS = "tests/e2e/test_kafka_faults.py"
COLUMNS = {
    "sent": "sent by the venue", "in_topic": "in the topic", "missing": "missing", "covered": "of these in a gap",
    "twice": "twice", "connections": "connections to the venue", "rss_mb": "RSS at most, MB",
    "rss_over_time": "RSS over time, MB", "drain_s": "drained after, s",
}  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the rows as a table in Markdown."""
    lines = [f"| fault | {' | '.join(COLUMNS.values())} |", f"|---|{'---:|' * len(COLUMNS)}"]
    for row in rows:
        shown = {**row, "rss_over_time": " ".join(map(str, row["curve"]))}
        cells = [f"{shown[name]:,}" if isinstance(shown[name], int) else str(shown[name]) for name in COLUMNS]
        lines.append(f"| {row['trial']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run as a command; the exit code is that of the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only tests whose name fits this expression, as `pytest -k` has it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = Path(directory) / "figures.jsonl"
        figures.touch()
        command = [sys.executable, "-m", "pytest", "-q", "--timeout", "900", "-k", chosen.only, TESTS]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, LONG: "long", FIGURES: str(figures)}, check=False)
        rows = [json.loads(line) for line in figures.read_text(encoding="utf-8").splitlines()]
    print(table(rows))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
