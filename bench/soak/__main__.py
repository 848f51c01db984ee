"""`python -m bench.soak`: let faults come one after another, then judge. Exit code 0 when nothing is wrong, else 1."""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from confluent_kafka import KafkaException
from rich.console import Console

from bench.soak import report
from bench.soak.faults import FAULTS, Fault, draw
from bench.soak.journal import Journal
from bench.soak.lab import RECOVERY_S, Lab
from bench.soak.verdict import judge
from bench.soak.watch import Watcher

#: Seconds of peace before a fault, and at the begin.
PEACE_S = (1.0, 8.0)
#: What a fault may fail with; anything else is a bug of the soak.
FAILURES = (TimeoutError, OSError, RuntimeError, LookupError, KafkaException)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults come (5)")
    parser.add_argument("--seed", type=int, default=None, help="what decides them; drawn and shown if left out")
    parser.add_argument("--rate", type=float, default=1500.0, help="ticks per second (1500)")
    parser.add_argument("--faults", type=re.compile, default=re.compile(""), help="a pattern: only such faults come")
    parser.add_argument(
        "--report", type=Path, default=None, help="where the report goes; journal and logs stand beside"
    )
    return parser.parse_args()


def harm(lab: Lab, watcher: Watcher, fault: Fault) -> None:
    """Let one fault happen and wait until all is well again; a failure of either is a problem."""
    watcher.under(fault.name)
    lab.journal.write("fault", name=fault.name)
    lab.history.append((time.time(), fault.name))
    detail: object = None
    outcome = ""
    try:
        detail = fault.act(lab)
    except FAILURES as error:
        outcome = f"could not be done: {error}"
    began = time.monotonic()
    try:
        lab.calm()
        lab.await_none(lab.lacking, RECOVERY_S)
    except FAILURES as error:
        outcome += f"not well again: {error}"
    took = time.monotonic() - began
    shown = f"{fault.name} {detail if detail is not None else ''}".strip()
    if outcome:
        lab.problems.append(f"{watcher.elapsed:.0f} s: {shown}: {outcome}")
    lab.journal.write("recovered", name=fault.name, detail=detail, took_s=round(took, 2), problem=outcome)
    watcher.verdict(f"{shown}: {outcome or f'well again after {took:.1f} s'}")


def harry(lab: Lab, watcher: Watcher, minutes: float, faults: Sequence[Fault]) -> Counter[str]:
    """Let faults come until the time is over; give how often each came. Ctrl-C ends it sooner."""
    done: Counter[str] = Counter()
    try:
        lab.instances[0].start()
        lab.await_none(lab.lacking, RECOVERY_S)
        while watcher.elapsed < minutes * 60:
            lab.wait(*PEACE_S)
            fault = draw(lab.dice, faults)
            done[fault.name] += 1
            harm(lab, watcher, fault)
    except KeyboardInterrupt:
        watcher.verdict("interrupted; what there is so far is judged")
    return done


def soak(chosen: argparse.Namespace, directory: Path, console: Console) -> bool:
    """Run and judge; True when nothing is wrong."""
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    console.print(f"seed {seed}, {chosen.minutes:g} minutes, {chosen.rate:g} ticks/s; everything is in {directory}")
    faults = [fault for fault in FAULTS if chosen.faults.search(fault.name)]
    journal = Journal(directory / "journal.jsonl")
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    lab = Lab(directory, journal, random.Random(seed), rate=chosen.rate, minutes=chosen.minutes)
    with lab:
        with Watcher(lab, console, chosen.minutes) as watcher:
            done = harry(lab, watcher, chosen.minutes, faults)
            watcher.under("coming to rest")
            try:
                lab.finish()
            except FAILURES as error:
                lab.problems.append(f"no rest at the end: {error}")
        took = watcher.elapsed
        console.print("judging …")
        for instance in lab.instances:
            instance.close()
        findings = judge(lab, watcher.shown.samples)
        told = {
            "begun": began,
            "minutes": round(took / 60, 1),
            "seed": seed,
            "ticks/s": chosen.rate,
            "faults": done.total(),
        }
        text = report.write(lab, findings, watcher.shown.samples, told, done)
    journal.write("verdict", problems=findings.problems)
    journal.close()
    path = chosen.report or directory / "report.md"
    path.write_text(text, encoding="utf-8")
    console.print(text, markup=False, highlight=False)
    console.print(f"report: {path}")
    return not findings.problems


def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  a handler's signature
    """Treat SIGTERM as Ctrl-C, so that nothing outlives the run."""
    raise KeyboardInterrupt


def main() -> int:
    """Run as a command."""
    chosen = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    beside = chosen.report.parent if chosen.report else Path(tempfile.gettempdir())
    beside.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="tickbridge-soak-", dir=beside))
    return 0 if soak(chosen, directory, Console(soft_wrap=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
