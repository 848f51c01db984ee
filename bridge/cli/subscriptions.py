"""``tickbridge subscriptions``: what is asked for, written to the control topic and read from it.

``list``, ``diff`` and ``apply`` live in files of their own.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.text import Text

from bridge.cli import apply, export, listing, plan, statuses
from bridge.cli.complete import symbols as complete_symbols
from bridge.cli.replacing import left_out, told
from bridge.cli.settling import WaitOption, ready
from bridge.cli.stream import look_for_control, read_control
from bridge.cli.tables import busy, count, put, quiet, say
from bridge.control import records
from bridge.control.reader import read_to_end
from bridge.control.writer import write
from bridge.errors import BadRecord, KafkaUnusable, SettingsError
from bridge.model import Subscription
from bridge.settings import Settings, load

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="Example: [bold]tickbridge subscriptions add AAPL.US 700.HK[/]",
)

Symbols = Annotated[
    list[str],
    typer.Argument(metavar="SYMBOL", help="As the venue spells it (700.HK), or EXCHANGE:TICKER (HKEX:00700)."),
]
Standing = Annotated[
    list[str],
    typer.Argument(metavar="SYMBOL", help="As `subscriptions list` shows it.", autocompletion=complete_symbols),
]


@app.callback()
def _subscriptions() -> None:
    """Say which symbols the bridge subscribes to. Only Kafka is needed: no token, no running bridge."""


@app.command()
def add(
    symbols: Symbols,
    *,
    code: Annotated[
        str | None, typer.Option(metavar="CODE", help="The venue's spelling, where it does not follow from SYMBOL.")
    ] = None,
    priority: Annotated[
        int,
        typer.Option(metavar="N", help="Who comes first when the plan has no room for all."),
    ] = 0,
    stale_after: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Seconds without a tick until it is stale.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Who asks for it.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Keep the record, but do not subscribe.")] = False,
    wait: WaitOption = None,
) -> None:
    """Ask for symbols; a record that is there already is replaced as a whole, and what it held is shown.

    Exit codes: 0 written; 6 written, but --wait did not see all of it in force; 2 the arguments or the settings cannot
    be used; 3 Kafka cannot.

    Examples:

        tickbridge subscriptions add AAPL.US 700.HK

        tickbridge subscriptions add HKEX:00700 --priority 5 --owner desk-3

        tickbridge subscriptions add TENCENT --code 700.HK --wait 30
    """
    if code is not None and len(symbols) > 1:
        raise SettingsError(f"--code {code} is one symbol's, and {len(symbols)} are given; add them one by one")
    if stale_after is not None and not (stale_after > 0 and math.isfinite(stale_after)):
        raise SettingsError(f"--stale-after {stale_after:g}: give a number of seconds above 0")
    wanted = [Subscription(one, code, priority, stale_after, not disabled, owner, note) for one in _each_once(symbols)]
    pairs = [_encoded(one) for one in wanted]
    settings = load()
    with ready(settings, wait) as settle:
        with busy(f"Writing {settings.topics.subscriptions} …"):
            look_for_control(settings)
            former = _standing(settings)
            places = write(settings, quiet, pairs)
        put("\n".join(told(one, former) for one in wanted))
        for warning in left_out(wanted, former or {}):
            say(Text.assemble(("warning: ", "bold yellow"), warning))
        settle(pairs, places)


@app.command()
def remove(
    symbols: Standing,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; the bridge holds none of them back.")] = False,
    wait: WaitOption = None,
) -> None:
    """End subscriptions, by a tombstone for each; symbols without a record are refused, and then nothing is written.

    On a terminal you are asked before more than one is removed. What you agree to, there or by --yes, the bridge does
    at once. Anything else that would end most subscriptions it holds for a while (reason removal_held); removing such
    a symbol again with --yes ends the wait.

    Exit codes: 0 removed; 5 nothing was written, as the answer was no; 6 written, but --wait did not see all of them
    gone; 2 the symbols or the settings cannot be used; 3 Kafka cannot.

    Examples:

        tickbridge subscriptions remove AAPL.US 700.HK --wait 30

        tickbridge subscriptions remove $(cat symbols.txt) --yes
    """
    settings = load()
    name = settings.topics.subscriptions
    standing = {symbol for fold in read_control(settings) for symbol in fold.symbols}
    if not standing.issuperset(_each_once(symbols)):
        standing |= {symbol for symbol, row in listing.told(settings).items() if statuses.held(row)}
    _refuse_absent(symbols, standing, name)
    confirmed = yes
    if len(symbols) > 1 and not yes and sys.stdin.isatty():
        few = ", ".join(symbols[:5]) + (", …" if len(symbols) > 5 else "")
        apply.agree(f"Remove {len(symbols):,} of {count(len(standing), 'symbol')} ({few}) from {name}?")
        confirmed = True
    tombstones = [(symbol.encode(), None) for symbol in symbols]
    with ready(settings, wait) as settle:
        if confirmed:
            places = apply.write_confirmed(settings, tombstones)
        else:
            with busy(f"Writing {name} …"):
                places = write(settings, quiet, tombstones)
        put("\n".join(f"removed {symbol}" for symbol in symbols))
        settle(tombstones, places)


app.command("list")(listing.show)
app.command()(export.export)
app.command()(apply.diff)
app.command()(apply.apply)


def _standing(settings: Settings) -> dict[str, plan.Standing] | None:
    """Read what the topic holds; None where we may only write it."""
    try:
        return plan.standing(read_to_end(settings, quiet))
    except KafkaUnusable:
        return None


def _encoded(subscription: Subscription) -> tuple[bytes, bytes]:
    """Write a record as the bridge would accept it, or say what is wrong with which argument."""
    for argument, text in (("SYMBOL", subscription.symbol), ("--code", subscription.code)):
        if text is not None and (problem := records.spelling_problem(text)):
            raise SettingsError(f"{argument} {problem}")
    try:
        key, value = records.encode(subscription)
        records.decode(key, value)
    except UnicodeEncodeError:
        raise SettingsError("--owner or --note is no text in UTF-8; write it anew") from None
    except BadRecord as error:
        raise SettingsError(f"{subscription.symbol}: {error.detail}") from None
    return key, value


def _each_once(symbols: Sequence[str]) -> Sequence[str]:
    for symbol, times in Counter(symbols).items():
        if times > 1:
            raise SettingsError(f"SYMBOL {symbol!a} is given twice; give it once")
    return symbols


def _refuse_absent(symbols: Iterable[str], standing: set[str], topic: str) -> None:
    lines = []
    for symbol in symbols:
        if symbol not in standing:
            close = difflib.get_close_matches(symbol, standing, 1)
            hint = f"did you mean {close[0]!a}?" if close else "see `tickbridge subscriptions list`"
            lines.append(f"SYMBOL {symbol!a} has no record in {topic}; {hint}")
    if lines:
        raise SettingsError(*lines)
