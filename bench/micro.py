"""Nanoseconds per tick of each stage of the hot path, on one core, without sockets and without Kafka.

Stages: frames (bytes to messages), decode (messages to ticks), normalise (ticks to records), hand over (records through
the path into a producer that does nothing). Each flow is one kind of tick, read in pieces of 256 KiB as from a busy
socket. The table shows the best of the rounds: on a shared machine it is the one that was disturbed least. Figures of
different runs differ by up to 2 x: to compare two versions, run both by turns.
"""

from __future__ import annotations

import argparse
import gc
import logging
import time
from collections.abc import Callable
from typing import Any, cast

from confluent_kafka import Producer

from bridge.publish.backpressure import Path
from bridge.publish.publisher import Publisher
from bridge.settings import KafkaSettings
from bridge.ticks.normalise import Normaliser
from bridge.ticks.symbols import Symbols
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.frames import FrameReader

CODES = [f"{number}.HK" for number in range(1, 3001)]
PIECE = 262_144
STAGES = ("frames", "decode", "normalise", "hand over")
PLENTY = 1 << 30

Flow = Callable[[int, int], str]


def stock(number: int, now_ms: int) -> str:
    """Write what a stock tick carries; a busy millisecond has many."""
    return _data(number, now_ms, ',"volume":"300","turnover":"153750.000000"')


def own_time(number: int, now_ms: int) -> str:
    """Write the same with a millisecond of its own."""
    return _data(number, now_ms - number, ',"volume":"300","turnover":"153750.000000"')


def forex(number: int, now_ms: int) -> str:
    """Write a tick without volume and turnover (docs/alltick.md 5.4)."""
    return _data(number, now_ms, "")


def integers(number: int, now_ms: int) -> str:
    """Write seq and time as JSON integers, as the newest documentation has them (docs/alltick.md 5.1)."""
    return (
        f'"seq":{number // len(CODES) + 1000},"tick_time":{now_ms},"price":"{512 + number % 1000 / 1000:.6f}",'
        '"volume":"300","turnover":"153750.000000","trade_direction":1'
    )


FLOWS: dict[str, Flow] = {"stock": stock, "own time": own_time, "forex": forex, "integers": integers}


def _data(number: int, time_ms: int, amounts: str) -> str:
    price = f"{512 + number % 1000 / 1000:.6f}"
    return (
        f'"seq":"{number // len(CODES) + 1000}","tick_time":"{time_ms}","price":"{price}"{amounts},"trade_direction":1'
    )


def pieces(flow: Flow, ticks: int, now_us: int) -> list[bytes]:
    """Write the frames of a flow, cut as a socket would give them."""
    stream = bytearray()
    for number in range(ticks):
        data = f'{{"cmd_id":22998,"data":{{"code":"{CODES[number % len(CODES)]}",{flow(number, now_us // 1000)}}}}}'
        size = len(data)
        stream += bytes((0x81, size)) if size < 126 else bytes((0x81, 126)) + size.to_bytes(2)
        stream += data.encode()
    return [bytes(stream[at : at + PIECE]) for at in range(0, len(stream), PIECE)]


class Nowhere:
    """A producer that takes everything and says nothing."""

    def produce(self, *_: object) -> None:
        """Forget a record."""


def publisher() -> Publisher:
    """Make a publisher before such a producer."""
    return Publisher(
        KafkaSettings(bootstrap_servers="nowhere:1"),
        "ticks",
        most=PLENTY,
        logger=logging.getLogger(__name__),
        on_latency=lambda _: None,
        on_trouble=lambda _: None,
        client=cast("Callable[[dict[str, Any]], Producer]", lambda _: Nowhere()),
    )


def run(given: list[bytes], now_us: int) -> tuple[list[float], int]:
    """Send pieces through all stages; give the seconds of each stage and the number of records."""
    dialect, reader = AllTick(), FrameReader(1 << 20)
    symbols = Symbols(dialect.venue)
    symbols.desire({code: code for code in CODES})
    normaliser = Normaliser(dialect.sides, without_seq=True)
    path, out = Path(PLENTY, PLENTY), publisher()
    seconds = [0.0] * len(STAGES)
    for piece in given:
        moments = [time.perf_counter()]
        texts = reader.feed(piece).texts
        moments.append(time.perf_counter())
        ticks = dialect.decode(texts).ticks
        moments.append(time.perf_counter())
        batch = normaliser.batch(ticks, symbols, now_us, 7)
        moments.append(time.perf_counter())
        out.hand_over(path.offer(batch.records, 0), path.since_ms)
        moments.append(time.perf_counter())
        for stage in range(len(STAGES)):
            seconds[stage] += moments[stage + 1] - moments[stage]
    return seconds, out.handed_over


def main() -> None:
    """Measure every flow and print a table."""
    parser = argparse.ArgumentParser(description="Nanoseconds per tick of each stage of the hot path.")
    parser.add_argument("--ticks", type=int, default=300_000, help="per flow and round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="the best one counts (default: %(default)s)")
    options = parser.parse_args()
    now_us = time.time_ns() // 1000
    gc.collect()
    gc.freeze()
    print(f"{'ns per tick':12s}" + "".join(f"{stage:>11s}" for stage in (*STAGES, "all")))
    for name, flow in FLOWS.items():
        given = pieces(flow, options.ticks, now_us)
        results = [run(given, now_us) for _ in range(options.rounds)]
        assert {records for _, records in results} == {options.ticks}
        best = [min(seconds[stage] for seconds, _ in results) / options.ticks * 1e9 for stage in range(len(STAGES))]
        print(f"{name:12s}" + "".join(f"{value:11.0f}" for value in (*best, sum(best))))


if __name__ == "__main__":
    main()
