"""The report of a soak, in Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from bench.soak.lab import Lab
from bench.soak.verdict import EXCESS_S, Findings, slope
from bench.soak.watch import Sample

#: Rows of the curve, and lines of what may be a long list.
ROWS = 10
LINES = 40


def write(lab: Lab, findings: Findings, samples: Sequence[Sample], told: dict[str, object], done: Counter[str]) -> str:
    """Write everything about a run; `told` begins the report, `done` counts the faults by name."""
    verdict = "PASSED" if not findings.problems else f"FAILED, {len(findings.problems)} problems"
    parts = [
        "# Soak\n",
        _table(("", ""), [*told.items(), ("verdict", f"**{verdict}**")]),
        _listed("Problems", findings.problems),
        "## Ticks\n",
        _table(("", ""), _ticks(lab, findings)),
        "## Faults\n",
        _table(("fault", "times"), sorted(done.items())),
        "## Gaps\n",
        _table(("cause", "records"), sorted(findings.gaps.items())),
        _excess(findings),
        "## Memory\n",
        _memory(samples),
        "## Connections\n",
        _table(("", ""), _connections(lab)),
    ]
    return "\n".join(part for part in parts if part)


def _ticks(lab: Lab, findings: Findings) -> list[tuple[str, object]]:
    missing = findings.verdict.missing
    return [
        ("sent by the venue", lab.venue.record.sent_total),
        ("due", findings.due),
        ("in the topic", len(findings.evidence.published)),
        ("missing, covered by a gap", missing - findings.silent),
        ("missing in silence", findings.silent),
        ("twice, excused by a kill", findings.excused),
    ]


def _excess(findings: Findings) -> str:
    seconds = sorted(findings.excess.values())
    if not seconds:
        return ""
    wide = {(gap.cause, gap.from_us): (excess, gap) for gap, excess in findings.excess.items() if excess > EXCESS_S}
    lines = [
        f"{excess:.1f} s: {gap.cause} of {gap.symbol}, {gap.from_us / 1e6:.3f} to {(gap.to_us or 0) / 1e6:.3f}"
        for excess, gap in sorted(wide.values(), key=lambda one: -one[0])
    ]
    told = f"Wider than needed: median {statistics.median(seconds):.2f} s, at most {seconds[-1]:.2f} s.\n"
    return told + _listed(f"Wider than needed by more than {EXCESS_S:g} s, one symbol of each", lines)


def _memory(samples: Sequence[Sample]) -> str:
    if not samples:
        return "No samples.\n"
    width = max(sample.at for sample in samples) / ROWS + 1e-9
    rows = []
    for row in range(ROWS):
        within = [sample.rss_mb for sample in samples if int(sample.at / width) == row]
        if within:
            minutes = f"{row * width / 60:.1f} to {(row + 1) * width / 60:.1f}"
            rows.append((minutes, f"{min(within):.0f}", f"{statistics.median(within):.0f}", f"{max(within):.0f}"))
    gained = slope(samples)
    told = (
        f"Slope after the first quarter of the longest life ({gained[1]:.1f} min): {gained[0]:+.2f} MB/min.\n"
        if gained
        else ""
    )
    return _table(("minutes", "least MB", "median MB", "most MB"), rows) + "\n" + told


def _connections(lab: Lab) -> list[tuple[str, object]]:
    record = lab.venue.record
    broken: Counter[str] = Counter(violation.rule for violation in record.violations)
    errors = sum((one.errors for one in lab.instances), Counter[str]())
    return [
        ("connections", len(record.connections)),
        ("reconnects that a bridge told of", sum(one.reconnects for one in lab.instances)),
        ("upgrades refused", len(record.refused_upgrades)),
        ("two at once", len(record.overlaps)),
        ("rules of the venue broken", _counted(broken)),
        ("lines of level error, by event", _counted(errors)),
        ("kills", len(lab.kills)),
    ]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _listed(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    more = [f"… and {len(lines) - LINES} more"] if len(lines) > LINES else []
    return "\n".join([f"## {title}\n", *(f"- {line}" for line in [*lines[:LINES], *more]), ""])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join(
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) + " |"
            for row in lines
        )
        + "\n"
    )
