"""Ticks per second into the spill and out of it, synced, and the longest turn that this cost.

The first rows are stores alone: SQLite as the bridge uses it, and beside it the least that a plain file could do
(append length, checksum and batch, then ``fdatasync``; read it back; nothing is ever removed). The last row is the
whole path: records offered in turns while nothing may go, memory full, then everything drained in turns, each batch
forgotten once it is answered. Records are ~250 bytes; every batch is synced by itself. The directory decides: give the
one that the spill will have (``--directory``), since a disk in memory tells nothing.

Measured on a virtual disk and 2 cores (2026-11), thousands of ticks per second in and out, medians of three rounds:
SQLite 910 and 910 (batches of 4,096), the plain file 2,000 and 3,800, the whole path 580 and 680 with no turn above
31 ms. The goal was 100: what SQLite does for its price (removal at both ends, all or nothing, recovery) is worth it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path as Directory
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bridge.model import Record
from bridge.publish.backpressure import BATCH, Path
from bridge.publish.spill import Spill
from bridge.publish.store import DECODERS, FORMAT, Batch, Store, row

#: Records that a turn reads from a busy socket.
TURN = 1000


class Run(NamedTuple):
    """Seconds in and out, and the longest step of each."""

    into_s: float
    out_of_s: float
    longest_in_s: float
    longest_out_s: float


def batched(records: list[Record], size: int) -> Iterator[list[Record]]:
    """Cut records into batches."""
    return (records[at : at + size] for at in range(0, len(records), size))


def timed(steps: Iterator[object]) -> tuple[float, float]:
    """Take every step; give the seconds in all and those of the longest."""
    begin = before = time.perf_counter()
    longest = 0.0
    for _ in steps:
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return before - begin, longest


def sqlite(records: list[Record], directory: Directory, size: int) -> Run:
    """Write and drain batches of so many records with the bridge's store."""
    store = Store(directory)
    store.open("ticks")
    batches: list[Batch] = []

    def write() -> Iterator[None]:
        for number, part in enumerate(batched(records, size)):
            new = row(number, part)
            store.write([new])
            batches.append(new.batch)
            yield

    def drain() -> Iterator[None]:
        for batch in batches:
            store.read(batch.id)
            store.write([], [batch.id])
            yield

    into, out_of = timed(write()), timed(drain())
    store.release()
    return Run(into[0], out_of[0], into[1], out_of[1])


def plain_file(records: list[Record], directory: Directory, size: int) -> Run:
    """Append batches to a file, synced, and read them back."""
    file = os.open(directory / "segment", os.O_RDWR | os.O_CREAT)
    head = struct.Struct("<II")

    def write() -> Iterator[None]:
        for part in batched(records, size):
            data = row(0, part).data
            os.write(file, head.pack(len(data), zlib.crc32(data)) + data)
            os.fdatasync(file)
            yield

    def drain() -> Iterator[None]:
        at = 0
        while header := os.pread(file, head.size, at):
            length, crc = head.unpack(header)
            data = os.pread(file, length, at + head.size)
            assert zlib.crc32(data) == crc
            DECODERS[FORMAT](data)
            at += head.size + length
            yield

    into, out_of = timed(write()), timed(drain())
    os.close(file)
    return Run(into[0], out_of[0], into[1], out_of[1])


def whole_path(records: list[Record], directory: Directory, _: int) -> Run:
    """Offer records in turns while nothing may go, then drain them in turns."""
    spill = Spill(
        Store(directory), "ticks", max_bytes=1 << 40, max_age_s=1e9, log=lambda *_, **__: None,
        on_recovered=lambda _: None, on_lost=lambda *_: None,
    )  # fmt: skip
    path = Path(25_000, 1 << 20, disk=spill)
    path.held = True

    def write() -> Iterator[None]:
        for part in batched(records, TURN):
            path.offer(part, 0)
            spill.work(time.monotonic(), 0)
            path.relieve(time.monotonic())
            yield

    def drain() -> Iterator[None]:
        path.held = False
        turn = 0
        while len(path) or spill.size:
            turn += 1
            spill.work(time.monotonic(), turn)
            path.take(0)
            path.handed_over(turn)
            yield

    into, out_of = timed(write()), timed(drain())
    spill.close()
    return Run(into[0], out_of[0], into[1], out_of[1])


CONTESTANTS: dict[str, tuple[Callable[[list[Record], Directory, int], Run], int]] = {
    "SQLite, batches of 1,000": (sqlite, 1000),
    f"SQLite, batches of {BATCH:,}": (sqlite, BATCH),
    "plain file, batches of 1,000": (plain_file, 1000),
    f"plain file, batches of {BATCH:,}": (plain_file, BATCH),
    "the whole path": (whole_path, 0),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=200_000, help="per round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--directory", type=Directory, help="on the disk to measure (default: the system's for scratch)"
    )
    options = parser.parse_args()
    ms = int(time.time() * 1000)
    value = b'{"v":1,"venue":"alltick","symbol":"700.HK","seq":"%09d",'
    records = [(b"%d.HK" % (n % 3000), (value % n).ljust(240, b"x"), ms) for n in range(options.ticks)]
    table = Table(title=f"{options.ticks:,} ticks of ~250 bytes, synced")
    for column in ("", "in, ticks/s", "longest ms", "out, ticks/s", "longest ms"):
        table.add_column(column, justify="right" if column else "left")
    for name, (contestant, size) in CONTESTANTS.items():
        runs = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                runs.append(contestant(records, Directory(directory), size))
        into_s, out_of_s = (statistics.median(times) for times in ([r[0] for r in runs], [r[1] for r in runs]))
        longest_in, longest_out = (max(times) * 1000 for times in ([r[2] for r in runs], [r[3] for r in runs]))
        rates = f"{options.ticks / into_s:,.0f}", f"{options.ticks / out_of_s:,.0f}"
        table.add_row(name, rates[0], f"{longest_in:.0f}", rates[1], f"{longest_out:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
