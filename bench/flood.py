"""A flood of ticks into a real Kafka: how many a second, at what cost, beside the naive script in the same run.

The simulator floods from a process of its own (pre-encoded frames, so it is nobody's bottleneck), the broker is a real
Apache Kafka, the bridge runs as users run it, everything on. Rate = ticks / (first tick written by the simulator -> the
topic's high watermarks hold them all). CPU is that of the contestant's process from first to last; memory its peak.
Contestants take turns, round after round; the table shows the median. Figures of different runs differ by up to 2 x:
trust the ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.request import urlopen

import psutil
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from bridge.simulator import DEFAULT_TOKEN
from tests.support.kafka import Cluster, KafkaBroker, unique
from tests.support.tls import certificates

ROOT = Path(__file__).parents[1]
PARTITIONS = 6
LOOK_S = 0.05
PATIENCE_S = 300.0

console = Console(stderr=True)


@dataclass
class Run:
    """One contestant in one round."""

    ticks_per_s: float
    cpu_s_per_million: float
    peak_rss_mb: float
    note: str = ""


@dataclass
class Arena:
    """What all contestants meet: broker, codes, certificates."""

    cluster: Cluster
    codes: list[str]
    ticks: int
    pem: dict[str, Path]


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process for as long as it is needed; its words go to a file nobody reads unless it fails."""
    with tempfile.TemporaryFile("w+") as words:
        child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=words, stderr=words, text=True
        )
        try:
            yield child
            if child.poll() not in (None, 0):
                words.seek(0)
                raise RuntimeError(f"{command} ended with {child.returncode}:\n{words.read()[-3000:]}")
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(10)


@contextmanager
def flood(arena: Arena, secure: bool) -> Iterator[tuple[str, int]]:
    """Flood whoever subscribes; gives the address and the control port."""
    tls = ["--cert", str(arena.pem["cert"]), "--key", str(arena.pem["key"])] if secure else []
    command = [sys.executable, "-m", "bridge", "simulate", "--port", "0", "--control-port", "0", "--flood"]
    command += ["--flood-total", str(arena.ticks), "--codes", ",".join(arena.codes), *tls]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        try:
            url = port = ""
            for line in child.stdout or ():
                url = found.group(0) if (found := re.search(r"wss?://\S+", line)) and not url else url
                port = found.group(1) if (found := re.search(r"control\s+http://[^:]+:(\d+)", line)) else port
                if url and port:
                    break
            yield url.partition("?")[0], int(port)
        finally:
            child.terminate()


def ticks_in(topic: str, consumer: Consumer) -> int:
    """Count the records in a topic by its high watermarks."""
    return sum(consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(PARTITIONS))


def sent(control_port: int) -> int:
    """Ask the simulator how many ticks it has written."""
    with urlopen(f"http://127.0.0.1:{control_port}/record", timeout=10) as answer:
        document = json.loads(answer.read())
    return sum(connection["ticks_sent"] for connection in document["connections"])


def measure(arena: Arena, topic: str, child: subprocess.Popen[str], control_port: int) -> Run:
    """Watch one contestant from the first tick to the last."""
    consumer = Consumer(arena.cluster.config(group_id=unique("bench")))
    watched = psutil.Process(child.pid)
    pause = Event()
    end = time.monotonic() + PATIENCE_S
    while sent(control_port) == 0 and child.poll() is None and time.monotonic() < end:
        pause.wait(0.005)
    start = time.monotonic()
    cpu_before = sum(watched.cpu_times()[:2])
    while ticks_in(topic, consumer) < arena.ticks and child.poll() is None:
        if time.monotonic() > end:
            raise TimeoutError(f"only {ticks_in(topic, consumer)} of {arena.ticks} after {PATIENCE_S} s")
        pause.wait(LOOK_S)
    took = time.monotonic() - start
    cpu = sum(watched.cpu_times()[:2]) - cpu_before
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{child.pid}/status").read_text()).group(1)) / 1024  # type: ignore[union-attr]
    consumer.close()
    return Run(arena.ticks / took, cpu / arena.ticks * 1e6, peak)


def naive(arena: Arena, secure: bool) -> Run:
    """Run the naive script."""
    topic = arena.cluster.create_topic(unique("naive"), PARTITIONS)
    with flood(arena, secure) as (url, port):
        environment = {
            "KAFKA": arena.cluster.bootstrap, "TOPIC": topic, "CODES": ",".join(arena.codes),
            "URL": f"{url}?token={DEFAULT_TOKEN}", **({"CA": str(arena.pem["ca"])} if secure else {}),
        }  # fmt: skip
        with process([sys.executable, "-m", "bench.naive"], environment) as child:
            run = measure(arena, topic, child, port)
            child.kill()
            child.wait()
            child.returncode = 0
    arena.cluster.delete_topic(topic)
    return run


def tickbridge(arena: Arena, secure: bool) -> Run:
    """Run the bridge as users do."""
    name = unique("bench")
    kinds = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")
    for kind in kinds:
        arena.cluster.create_topic(f"{name}.{kind}", PARTITIONS if kind == "ticks" else 1)
    arena.cluster.produce(f"{name}.subscriptions", [(code, "{}") for code in arena.codes])
    with flood(arena, secure) as (url, port):
        environment = {
            "TICKBRIDGE_NAME": name,
            "TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS": arena.cluster.bootstrap,
            "TICKBRIDGE_UPSTREAM__URL": url,
            "TICKBRIDGE_UPSTREAM__TOKEN": DEFAULT_TOKEN,
            "TICKBRIDGE_UPSTREAM__PLAN": "professional",
            "TICKBRIDGE_HTTP__HOST": "127.0.0.1",
            "TICKBRIDGE_HTTP__PORT": "0",
            **{f"TICKBRIDGE_TOPICS__{kind.upper()}": f"{name}.{kind}" for kind in kinds},
            **({"TICKBRIDGE_UPSTREAM__CA_FILE": str(arena.pem["ca"])} if secure else {}),
        }
        with process([sys.executable, "-m", "bridge", "run"], environment) as child:
            run = measure(arena, f"{name}.ticks", child, port)
    for kind in kinds:
        arena.cluster.delete_topic(f"{name}.{kind}")
    return run


CONTESTANTS: dict[str, Callable[[Arena], Run]] = {
    "naive script, ws": lambda arena: naive(arena, secure=False),
    "tickbridge, ws": lambda arena: tickbridge(arena, secure=False),
    "naive script, wss": lambda arena: naive(arena, secure=True),
    "tickbridge, wss": lambda arena: tickbridge(arena, secure=True),
}


def report(runs: dict[str, list[Run]]) -> None:
    """Print the medians, each beside the naive script's over the same kind of connection."""
    table = Table(title="WebSocket flood to Kafka, 3,000 symbols")
    for column in ("contestant", "ticks/s min", "median", "max", "CPU-s per million", "peak RSS MB", "x naive"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name, rows in runs.items():
        rates = [run.ticks_per_s for run in rows]
        base = statistics.median(run.ticks_per_s for run in runs[f"naive script, {name.rpartition(' ')[2]}"])
        table.add_row(
            name,
            *(f"{value:,.0f}" for value in (min(rates), statistics.median(rates), max(rates))),
            f"{statistics.median(run.cpu_s_per_million for run in rows):.2f}",
            f"{max(run.peak_rss_mb for run in rows):.0f}",
            f"{statistics.median(rates) / base:.1f}",
        )
    Console().print(table)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=1_500_000, help="ticks for the bridge (default 1,500,000)")
    parser.add_argument("--naive-ticks", type=int, default=300_000, help="ticks for the naive script (default 300,000)")
    parser.add_argument("--symbols", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only contestants whose name holds this")
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {}
    with ExitStack() as stack:
        pem = certificates(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        broker = stack.enter_context(KafkaBroker(heap_mb=1024))
        codes = [f"{number}.HK" for number in range(1, options.symbols + 1)]
        broker.cluster.warm_up()
        for lap in range(options.rounds + 1):
            for name, contestant in CONTESTANTS.items():
                if options.only not in name:
                    continue
                ticks = options.naive_ticks if name.startswith("naive") else options.ticks
                if lap == 0:  # a broker's first records are slow
                    ticks //= 5
                run = contestant(Arena(broker.cluster, codes, ticks, pem))
                console.print(f"{'warm-up' if lap == 0 else f'round {lap}'}: {name}: {run.ticks_per_s:,.0f} ticks/s")
                if lap:
                    runs.setdefault(name, []).append(run)
    report(runs)


if __name__ == "__main__":
    main()
