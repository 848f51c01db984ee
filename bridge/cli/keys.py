"""Single keys from a terminal, as they are pressed, while a picture is shown. Works where there is termios."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: What a terminal sends for the keys that are no characters; the rest of its escape sequences mean nothing here.
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1b[1~": "home", "\x1b[F": "end", "\x1b[4~": "end",
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x1b": "escape",
}  # fmt: skip
_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|[\s\S]")


@contextmanager
def pressed() -> Iterator[Callable[[float], list[str]]]:
    """Give a function that waits for keys, as many seconds as it is told, and names them; a letter is its own name.

    Ctrl-C stays what it is. Without a terminal to read from no key is ever pressed.
    """
    if not sys.stdin.isatty():
        yield lambda seconds: select.select([], [], [], seconds) and []
        return
    terminal = sys.stdin.fileno()
    former = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield lambda seconds: _take(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, former)


def _take(terminal: int, seconds: float) -> list[str]:
    if not select.select([terminal], [], [], seconds)[0]:
        return []
    return named(os.read(terminal, 1024).decode(errors="ignore"))


def named(text: str) -> list[str]:
    """Name the keys that a terminal's characters stand for."""
    keys = (_NAMES.get(one, one) for one in _KEY.findall(text))
    return [key for key in keys if key in _NAMES.values() or key.isprintable()]
