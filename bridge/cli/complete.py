"""Completion of symbols in a shell: quick, or not at all.

A shell that waits is worse than one that completes nothing: the time is bounded, and whatever goes wrong goes unsaid.
"""

from __future__ import annotations

import contextlib

from bridge.cli.tables import quiet
from bridge.control.reader import read_to_end
from bridge.settings import load

#: Seconds that a completion may take.
PATIENCE_S = 2.0


def symbols(incomplete: str) -> list[str]:
    """Give the symbols in the control topic that begin as somebody has begun to type."""
    with contextlib.suppress(Exception):
        folds = read_to_end(load(), quiet, PATIENCE_S)
        found = {symbol for fold in folds for symbol in (*fold.desired().wanted, *fold.invalid)}
        return sorted(symbol for symbol in found if symbol.startswith(incomplete))
    return []
