"""Completion of symbols in a shell: quick, or not at all.

A shell that waits is worse than one that completes nothing: the time is bounded, and whatever goes wrong goes unsaid.
"""

from __future__ import annotations

import contextlib
import os

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
        before, begun = _as_typed(incomplete)
        return sorted(symbol.removeprefix(before) for symbol in found if symbol.startswith(before + begun))
    return []


def _as_typed(incomplete: str) -> tuple[str, str]:
    """Give what stands before the word and the word: bash ends a word at a colon, and completes what follows it."""
    words, number = os.environ.get("COMP_WORDS", "").split(), int(os.environ.get("COMP_CWORD", "0"))
    if number > 2 and words[number - 1 : number] == [":"]:
        return f"{words[number - 2]}:", incomplete
    return "", incomplete
