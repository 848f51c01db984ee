"""``tickbridge subscriptions export``: the control topic as a file that ``diff`` and ``apply`` take.

The same topic gives the same file: symbols in order, defaults left out. Of a symbol whose newest record cannot be used
the topic alone does not say what is in force; it is named on standard error and left out.
"""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
import yaml
from rich.text import Text

from bridge.cli import plan
from bridge.cli.files import FIELDS, HEADER, Format, parse
from bridge.cli.stream import read_control
from bridge.cli.tables import WIDTH, printable, put, say
from bridge.control import records
from bridge.settings import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.model import Subscription

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
#: Up to here a float holds every whole number.
_EXACT = 2**53


def export(
    form: Annotated[Format, typer.Option("--format", help="How the file is written.")] = Format.YAML,
) -> None:
    """Write the control topic as a file for `apply` and `diff`, to begin keeping one for a topic that exists.

    A symbol whose newest record cannot be used is named on standard error and left out; `apply --prune` would remove
    it.

    Examples:

        tickbridge subscriptions export > symbols.yaml

        tickbridge subscriptions export --format csv > symbols.csv

        tickbridge subscriptions export | tickbridge subscriptions diff -f -
    """
    settings = load()
    standing = plan.standing(read_control(settings))
    bad = {symbol: one.problem for symbol, one in sorted(standing.items()) if one.problem is not None}
    kept = [one.subscription for symbol, one in sorted(standing.items()) if one.subscription and symbol not in bad]
    text = written(kept, form)
    put(_for_a_terminal(text) if sys.stdout.isatty() else text)
    for symbol, problem in bad.items():
        _warn(f"{symbol} is left out: its newest record is unusable ({problem}); write it anew, or remove it")
    for symbol in changed_by(text, kept, form):
        _warn(f"{symbol}: a cell of CSV loses the blanks at its ends, or that it is empty; --format yaml does not")


def written(subscriptions: Sequence[Subscription], form: Format) -> str:
    """Write subscriptions as a file, without its last line feed."""
    rows = {one.symbol: _fields(one) for one in subscriptions}
    if form is Format.YAML:
        book = {"subscriptions": rows}
        text = yaml.dump(
            book, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=None
        )
        return str(text).rstrip("\n")
    cells = [(symbol, *(_cell(fields.get(name)) for name in FIELDS)) for symbol, fields in rows.items()]
    file = io.StringIO(newline="")
    # Unasked, the library does not quote a carriage return, which ends a line where it is read.
    everything = any("\r" in cell for row in cells for cell in row)
    lines = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL)
    lines.writerows([HEADER, *cells])
    return file.getvalue().rstrip("\n")


def changed_by(text: str, subscriptions: Sequence[Subscription], form: Format) -> list[str]:
    """Name the symbols that a file does not give back as they were."""
    back = parse(text.encode(), "the export", form)
    return [one.symbol for one in subscriptions if _fields(back[one.symbol]) != _fields(one)]


def _fields(subscription: Subscription) -> dict[str, Any]:
    """Give what a record holds beyond the defaults."""
    found: dict[str, Any] = msgspec.json.decode(records.encode(subscription)[1])
    return {name: _short(value) for name, value in found.items()}


def _short(value: Any) -> Any:
    """Write a whole number of seconds as people do."""
    return int(value) if isinstance(value, float) and value.is_integer() and value < _EXACT else value


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _warn(what: str) -> None:
    say(Text.assemble(("warning: ", "bold yellow"), printable(what)))


def _for_a_terminal(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
