"""``tickbridge subscriptions diff`` and ``apply``: the control topic made equal to a file, after a look at the plan.

What somebody has seen and agreed to is written with the header ``tickbridge-confirm: true``, so that the bridge does
not hold it as a mass removal (contract 1.5, fat fingers). Records that are added or changed go first, tombstones last:
an apply that is cut short has ended nothing that it should not have, and doing it again writes the rest.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.text import Text

from bridge.cli.files import Format, parse
from bridge.cli.plan import Plan, compare, standing
from bridge.cli.settling import WaitOption, ready
from bridge.cli.sheet import Sheet
from bridge.cli.stream import read_control
from bridge.cli.tables import Output, OutputOption, busy, count, emit, plain, quiet, say
from bridge.control.writer import write
from bridge.errors import KafkaUnusable, SettingsError
from bridge.settings import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.model import Subscription
    from bridge.settings import Settings

#: The topic and the file differ, and nothing was changed.
EXIT_DIFFERS = 5

CONFIRM = {"tickbridge-confirm": "true"}

#: Records written at once, between two looks at the progress, and seconds that may take.
BATCH, BATCH_S = 1000, 30.0

FileOption = Annotated[
    str, typer.Option("-f", "--file", metavar="FILE", help="YAML or CSV; [bold]-[/] is standard input.")
]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="How FILE is written; left out, its name or its first line says.")
]
PruneOption = Annotated[bool, typer.Option("--prune", help="Remove what is in the topic and not in FILE.")]


def diff(
    *,
    file: FileOption,
    form: FormatOption = None,
    prune: PruneOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what `apply` would write; nothing is changed.

    What only the topic has is told as "left alone", or with --prune as removed; it makes a difference either way.

    Exit codes: 0 no difference; 5 they differ; 2 the file or the settings cannot be used; 3 Kafka cannot.

    Examples:

        tickbridge subscriptions diff -f symbols.yaml

        tickbridge subscriptions diff -f symbols.csv --prune -o json
    """
    wanted = _read(file, form)
    settings = load()
    plan = _plan(settings, wanted, prune)
    _show(plan, settings, output)
    if plan.differs:
        raise typer.Exit(EXIT_DIFFERS)


def apply(
    *,
    file: FileOption,
    form: FormatOption = None,
    prune: PruneOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: WaitOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the topic equal to a file: the plan first, then a question, then only the differences. Safe to repeat.

    FILE is YAML, [bold]subscriptions: {AAPL.US: {priority: 5}, "HKEX:00700": {}}[/], or CSV with the header
    [bold]symbol,code,priority,stale_after_s,enabled,owner,note[/]; columns may be left out, and semicolons or tabs may
    stand for the commas. A record is replaced as a whole: what FILE does not say gets its default. Symbols that are not
    in FILE stay, unless --prune is given.

    Exit codes: 0 the topic has what FILE says; 5 nothing was written although there is something to write (--dry-run,
    or the answer was no); 6 written, but --wait did not see all of it in force; 2 the file or the settings cannot be
    used; 3 Kafka cannot.

    Examples:

        tickbridge subscriptions apply -f symbols.yaml --dry-run

        tickbridge subscriptions apply -f symbols.csv --prune --wait 60

        generate-symbols | tickbridge subscriptions apply -f - --format csv --yes
    """
    wanted = _read(file, form)
    settings = load()
    plan = _plan(settings, wanted, prune)
    _show(plan, settings, output)
    if not plan.records:
        return
    if dry_run:
        say("--dry-run: nothing was written")
        raise typer.Exit(EXIT_DIFFERS)
    if not yes:
        if not sys.stdin.isatty():
            raise SettingsError(
                "there is no terminal to ask on, so nothing was written; give --yes to agree beforehand"
            )
        agree(f"Write {count(plan.records, 'record')} to {settings.topics.subscriptions}?")
    pairs = plan.writes()
    with ready(settings, wait) as settle:
        places = write_confirmed(settings, pairs)
        say(Text(f"{count(plan.records, 'record')} written to {settings.topics.subscriptions}", style="green"))
        settle(pairs, places)


def _read(file: str, form: Format | None) -> dict[str, Subscription]:
    if file == "-":
        if sys.stdin.isatty():
            say(Text("reading from this terminal: Ctrl-D on a line of its own ends it, Ctrl-C stops", style="dim"))
        return parse(sys.stdin.buffer.read(), "standard input", form)
    try:
        return parse(Path(file).read_bytes(), file, form)
    except OSError as error:
        raise SettingsError(f"-f {file}: {error.strerror}; give a readable file, or - for standard input") from None


def _plan(settings: Settings, wanted: dict[str, Subscription], prune: bool) -> Plan:
    return compare(standing(read_control(settings)), wanted, prune=prune)


def _show(plan: Plan, settings: Settings, output: Output) -> None:
    topic = settings.topics.subscriptions
    if output is Output.TABLE and not plan.records:
        say(f"{topic} has all that the file says: {_summary(plan)}")
        return
    emit(output, {"topic": topic, **plan.as_json()}, lambda: Group(_table(plan), _summary(plan)))
    for warning in plan.warnings:
        say(Text.assemble(("warning: ", "bold yellow"), warning))


def _table(plan: Plan) -> Sheet:
    made = Sheet("", "symbol", "what", gives="what")
    for one in plan.added:
        made.add_row(plain("+", "green"), plain(one.symbol), plain(_said(one)))
    for change in plan.changed:
        lines = (f"{field}: {old} -> {new}" for field, old, new in change.differences)
        made.add_row(plain("~", "yellow"), plain(change.subscription.symbol), Text("\n").join(map(plain, lines)))
    for symbol in plan.removed:
        made.add_row(plain("-", "red"), plain(symbol), plain("removed", "red"))
    return made


def _said(one: Subscription) -> str:
    """Say what a new record holds beyond the defaults."""
    fields = {"code": one.code, "priority": one.priority or None, "owner": one.owner, "note": one.note}
    fields["stale_after_s"] = None if one.stale_after_s is None else f"{one.stale_after_s:g}"
    fields["enabled"] = None if one.enabled else "false"
    return "added" + "".join(f", {name}: {value}" for name, value in fields.items() if value is not None)


def _summary(plan: Plan) -> str:
    parts = [f"{len(plan.added):,} added", f"{len(plan.changed):,} changed", f"{len(plan.removed):,} removed"]
    parts = parts if plan.records else []
    if plan.left_alone:
        few = ", ".join(plan.left_alone[:3]) + (", …" if len(plan.left_alone) > 3 else "")
        parts.append(f"{len(plan.left_alone):,} left alone ({few}: not in the file; --prune removes)")
    return " · ".join([*parts, f"{plan.unchanged:,} unchanged"])


def agree(question: str) -> None:
    """Ask on the terminal; anything but yes ends the command with nothing written."""
    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:  # Ctrl-C and the end of input are a no
        say("")
    say("nothing was written")
    raise typer.Exit(EXIT_DIFFERS)


def write_confirmed(settings: Settings, pairs: Sequence[tuple[bytes, bytes | None]]) -> Sequence[tuple[int, int]]:
    """Write records with an operator's word, in order and in batches; give the partition and the offset of each.

    Raises:
        KafkaUnusable: Kafka refuses us or does not answer in time; it says how many are written.
        KeyboardInterrupt: somebody has stopped it, and was told how many are written.
    """
    topic = settings.topics.subscriptions
    places: list[tuple[int, int]] = []
    with busy(f"Writing {topic} …") as status:
        for done in range(0, len(pairs), BATCH):
            try:
                places += write(settings, quiet, pairs[done : done + BATCH], headers=CONFIRM, timeout_s=BATCH_S)
            except KafkaUnusable as error:
                remedy = f"{error.remedy}; then do this again: it writes only what is missing"
                raise KafkaUnusable(f"{error.what}; {done:,} of {len(pairs):,} are written", remedy) from None
            except KeyboardInterrupt:
                status.stop()
                may_be = min(BATCH, len(pairs) - done)
                said = f"{done:,} of {len(pairs):,} are written, and up to {may_be:,} more may be"
                say(Text(f"interrupted: {said}; doing this again writes only what is missing", style="yellow"))
                raise
            status.update(f"Writing {topic}: {min(done + BATCH, len(pairs)):,} of {len(pairs):,} …")
    return places
