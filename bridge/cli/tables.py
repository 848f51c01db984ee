"""What the commands share when they show something: the formats, and what may reach a terminal.

A result goes to standard output and nothing else does: what a command says about its own work goes to standard error,
so that ``-o json`` can be piped. A table in a file or a pipe has no colours, and no line of it is folded:
``grep`` finds the whole of a row. A reader that has enough (``| head``) ends nothing and spoils no exit code: the rest
of the result goes nowhere.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
import yaml
from rich.console import Console
from rich.text import Text

from bridge.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

#: Columns of what goes into a file or a pipe: more than any line has, so that none is folded.
WIDTH = 100_000

#: The quick one where libyaml is there: ten thousand rows take it a second instead of ten.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

#: Units of an age, from the largest: seconds in it, and its sign.
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How the result is printed.")]


def emit(output: Output, result: Any, table: Callable[[], RenderableType]) -> None:
    """Print a result as JSON or YAML, else as the table that ``table`` makes."""
    if output is Output.TABLE:
        console().print(table())
    else:
        put(written(output, result))


def put(text: str) -> None:
    """Print lines of a result as they are.

    Raises:
        SettingsError: what standard output was sent to is full, or fails.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        hang_up()
    except OSError as error:
        hang_up()
        raise SettingsError(
            f"the result cannot be written: {error.strerror}; make room for it, and try again"
        ) from None


def hang_up(stream: TextIO | None = None) -> None:
    """Send what else is printed nowhere: whoever read us has enough, and the last flush must not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def written(output: Output, result: Any) -> str:
    """Write a result of what JSON has (and tuples and string enumerations) as JSON or YAML."""
    text = json.dumps(result, indent=2, ensure_ascii=False)
    if output is Output.JSON:
        return text
    plain_data = json.loads(text)
    return str(yaml.dump(plain_data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)).rstrip("\n")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Go on without a reader."""
        hang_up(sys.stderr if self.stderr else sys.stdout)


def console() -> Console:
    """Give the console of results."""
    return _Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def say(*lines: str | Text) -> None:
    """Say something about the work, to standard error."""
    for line in lines:
        errors().print(line if isinstance(line, Text) else Text(line))


def errors() -> Console:
    """Give the console of everything else; a line in a file stays one line."""
    return _Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)


def busy(what: str) -> Any:
    """Show that something goes on for as long as the context lasts; nothing where nobody watches."""
    return Console(stderr=True).status(what)


def plain(value: object, style: str = "") -> Text:
    """Make a cell of anything, without markup; nothing is an empty cell."""
    return Text("" if value is None else printable(str(value)), style=style)


def printable(text: str) -> str:
    """Take the power over a terminal from a text that anybody may have written."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def age(seconds: float) -> str:
    """Write how long something lasts by its largest unit."""
    whole = max(0, int(seconds))
    size, unit = next(((size, unit) for size, unit in _UNITS if whole >= size), _UNITS[-1])
    return f"{whole // size} {unit}"


def count(number: int, thing: str, things: str | None = None) -> str:
    """Write a number of things."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def quiet(_event: str, /, **_fields: Any) -> None:
    """Say nothing: an error that matters ends the command and explains itself."""
