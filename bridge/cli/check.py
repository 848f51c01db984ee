"""``tickbridge check``: is everything there that a bridge needs? One verdict and one hint for each thing.

A check that cannot be made is told as ``skip`` with its reason, never as good. What fails decides the exit code: the
operator's own side (settings, token, endpoint) before Kafka's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from bridge.cli import ground, probes
from bridge.cli.probes import Finding, Verdict
from bridge.cli.tables import Output, OutputOption, busy, console, count, printable, put, say, written
from bridge.errors import EXIT_KAFKA, EXIT_SETTINGS, KafkaUnusable, SettingsError
from bridge.settings import load

if TYPE_CHECKING:
    from bridge.settings import Settings

Probe = Callable[["Settings"], Iterable[Finding]]

_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.SKIP: "dim"}

#: In the order in which they are made: what needs nobody, what needs Kafka, what needs the venue. Where the first of
#: Kafka's, or of the venue's, fails, its others are not tried.
_GROUND: tuple[tuple[str, Probe], ...] = (
    ("calendar", ground.holidays),
    ("spill", ground.spill),
)
_KAFKA: tuple[tuple[str, Probe], ...] = (
    ("kafka", probes.kafka),
    ("topics", probes.policies),
    ("access", probes.access),
)
_VENUE: tuple[tuple[str, Probe], ...] = (
    ("dialect", ground.dialect),
    ("clock", probes.clock),
    ("token", probes.token),
    ("endpoint", probes.endpoint),
)


def check(output: OutputOption = Output.TABLE) -> None:
    """Look at settings, spill, Kafka, topics, permissions, clock, token, endpoint; a verdict and a hint for each.

    Run it with the bridge's own settings: what its Kafka user may do is part of it. Nothing is changed or written, and
    the venue is not logged in to: a bridge that runs keeps its connection.

    Exit codes: 0 nothing fails; 2 something of our own fails (settings, token, endpoint …); 3 only Kafka fails.

    Examples:

        tickbridge check

        tickbridge check -o json | jq '.[] | select(.verdict != "ok")'
    """
    findings: list[Finding] = []
    own = False
    for finding, is_own in _findings():
        findings.append(finding)
        own |= is_own and finding.verdict is Verdict.FAIL
        if output is Output.TABLE:
            _print(finding)
    if output is not Output.TABLE:
        put(written(output, [asdict(finding) for finding in findings]))
    else:
        _sum_up(findings)
    if own:
        raise typer.Exit(EXIT_SETTINGS)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise typer.Exit(EXIT_KAFKA)


def _findings() -> Iterator[tuple[Finding, bool]]:
    """Give each finding, and whether it is about our own side."""
    try:
        settings = load()
    except SettingsError as error:
        yield from ((Finding("settings", Verdict.FAIL, line), True) for line in error.lines)
        yield Finding("everything else", Verdict.SKIP, "it needs the settings", "mend them, then check again"), True
        return
    yield Finding("settings", Verdict.OK, f"deployment {settings.name}", ""), True
    yield from ((finding, True) for finding in probes.versions())
    yield from _in_turn(_GROUND, settings, own=True)
    yield from _in_turn(_KAFKA, settings, first="kafka", without="Kafka cannot be used")
    yield from _in_turn(_VENUE, settings, own=True, first="dialect", without="it needs the dialect")


def _in_turn(
    probes: Iterable[tuple[str, Probe]], settings: Settings, *, own: bool = False, first: str = "", without: str = ""
) -> Iterator[tuple[Finding, bool]]:
    """Make probes one after the other; where ``first`` fails, the others are skipped ``without`` it."""
    usable = True
    for name, probe in probes:
        if not usable:
            yield Finding(name, Verdict.SKIP, without), False
            continue
        for finding, is_own in _made(name, probe, settings):
            usable &= not (name == first and finding.verdict is Verdict.FAIL)
            yield finding, is_own or own


def _made(name: str, probe: Probe, settings: Settings) -> Iterator[tuple[Finding, bool]]:
    """Make one probe; an error of ours becomes a finding under the probe's own name."""
    with busy(f"Checking {name} …"):
        try:
            found = [(finding, False) for finding in probe(settings)]
        except KafkaUnusable as error:
            found = [(Finding(name, Verdict.FAIL, error.what, error.remedy), False)]
        except SettingsError as error:
            found = [(Finding(name, Verdict.FAIL, line), True) for line in error.lines]
    yield from found


def _print(finding: Finding) -> None:
    """Print one finding, what does not fit on its line below its beginning."""
    what = Text.assemble((f"{printable(finding.check)}: ", "bold"), printable(finding.said))
    lines = [(Text(finding.verdict.ljust(4), style=_STYLES[finding.verdict]), what)]
    if finding.hint:
        lines.append((Text(), Text(f"-> {printable(finding.hint)}", style="cyan")))
    screen = console()
    for verdict, text in lines:
        for number, line in enumerate(text.wrap(screen, max(20, screen.width - 5), overflow="fold")):
            screen.print(Text.assemble(Text("    ") if number or not verdict else verdict, " ", line), no_wrap=True)


def _sum_up(findings: Iterable[Finding]) -> None:
    counts = Counter(finding.verdict for finding in findings)
    parts = [Text(f"{counts[one]} {one}", style=_STYLES[one]) for one in Verdict if counts[one]]
    say(Text.assemble(f"{count(counts.total(), 'check')}: ", Text(" · ").join(parts)))
