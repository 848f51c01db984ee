"""``tickbridge demo``: the main job at once, on this machine: control records in, live ticks out.

Without further settings an embedded broker and the shipped simulator stand in for Kafka and the venue. With
``KAFKA__BOOTSTRAP_SERVERS`` set it uses that Kafka, with ``UPSTREAM__TOKEN`` set the real venue; its topics are its own
(``tickbridge-demo.…``), so nothing that runs is disturbed.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event
from typing import Annotated, Any

import typer
from confluent_kafka import Consumer, Producer, TopicPartition
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.app.bridge import Bridge
from bridge.control import records
from bridge.errors import SettingsError
from bridge.model import State, Subscription
from bridge.settings import PREFIX, Settings, load
from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches
from bridge.simulator.broker import EmbeddedBroker

NAME = "tickbridge-demo"
SYMBOLS = {
    "stock": ("AAPL.US", "TSLA.US", "HKEX:00700", "SSE:600519", "NASDAQ:NVDA"),
    "other": ("BTCUSDT", "ETHUSDT", "EURUSD", "USDJPY", "GOLD"),
}
#: Seconds between two changes of the subscriptions, and between two looks at the ticks.
CHANGE_S = 5.0
LOOK_S = 0.25
#: The most ticks a second: a screen shows no more, and the simulator shares this machine.
RATE_MAX = 10_000.0
#: What the table shows of a symbol, beside how many ticks came.
COLUMNS = ("symbol", "state", "code", "price", "volume", "side")
#: What is said of a symbol whose tombstone is written.
REMOVED = "removed"
#: Lines a second where the output is no terminal.
PLAIN_LINES_PER_S = 4


def demo(
    for_s: Annotated[float | None, typer.Option("--for", help="Stop after so many seconds.", metavar="SECONDS")] = None,
    rate: Annotated[float, typer.Option(help="Ticks per second from the simulator.", metavar="N")] = 40.0,
) -> None:
    """See it work: control records in, live ticks out, until Ctrl-C.

    An embedded broker and a simulated venue stand in for the real ones. Set TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS to use
    a real Kafka, and TICKBRIDGE_UPSTREAM__TOKEN to use the real venue.

    Examples:

        tickbridge demo --for 20

        TICKBRIDGE_UPSTREAM__TOKEN=… TICKBRIDGE_UPSTREAM__MARKET=other
          tickbridge demo
    """
    if for_s is not None and not (for_s > 0 and math.isfinite(for_s)):
        raise SettingsError(f"--for {for_s:g}: give a number of seconds above 0, or leave it out")
    if not 0 < rate <= RATE_MAX:
        raise SettingsError(f"--rate {rate:g}: give ticks per second, above 0 to {RATE_MAX:g}")
    over = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with ExitStack() as stack:
        settings = _stage(stack, rate)
        bridge = Bridge(settings)
        bridge.start()
        try:
            if _await_group(bridge, over):
                _perform(settings, Show(settings, bridge.http.port), over, for_s, bridge)
        finally:
            code = bridge.stop()
    raise typer.Exit(code)


def _stage(stack: ExitStack, rate: float) -> Settings:
    """Set up whatever of Kafka and the venue is not given."""
    given: dict[str, Any] = {
        "name": NAME,
        "topics": {**_topic_names(), "ensure": True, "ticks_partitions": 1, "replication": 1, "min_insync_replicas": 1},
        "log": {"level": "error", "format": "console"},
        "http": {"host": "127.0.0.1", "port": 0},
    }
    if f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS" not in os.environ:
        broker = stack.enter_context(EmbeddedBroker(dict.fromkeys(_topic_names().values(), 1)))
        given["kafka"] = {"bootstrap_servers": broker.bootstrap}
        given["topics"]["ensure"] = False  # the embedded broker has them, and cannot be asked to make any
    if not {f"{PREFIX}UPSTREAM__TOKEN", f"{PREFIX}UPSTREAM__TOKEN_FILE"} & os.environ.keys():
        venue = stack.enter_context(Simulator(SimulatorConfig(switches=Switches(rate=rate))))
        given["upstream"] = {"url": venue.url(), "token": DEFAULT_TOKEN, "plan": "professional"}
    return load(**given)


def _await_group(bridge: Bridge, over: Event) -> bool:
    """Wait until the bridge reads its control topic; False if somebody or something ends it before."""
    while not bridge.wanted_down.is_set() and not bridge.control.look().caught_up:
        if over.wait(0.05):
            return False
    return not bridge.wanted_down.is_set()


def _topic_names() -> dict[str, str]:
    kinds = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")
    return {kind: f"{NAME}.{kind.replace('_', '-')}" for kind in kinds}


@dataclass
class Show:
    """What the audience sees: what was asked for, and the newest tick of each symbol."""

    settings: Settings
    http_port: int
    asked: deque[str] = field(default_factory=lambda: deque(maxlen=6))
    states: dict[str, str] = field(default_factory=dict)
    newest: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    total: int = 0
    first_after_s: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def ask(self, symbols: Iterable[str], wanted: bool, line: str) -> None:
        """Take a change of the subscriptions, and the line that tells of it."""
        self.asked.append(line)
        for symbol in symbols:
            self.states[symbol] = State.WAITING if wanted else REMOVED

    def tick(self, tick: dict[str, Any]) -> None:
        """Take one record of the ticks topic."""
        if not self.total:
            self.first_after_s = time.monotonic() - self.started
        self.total += 1
        symbol = tick["symbol"]
        self.counts[symbol] = self.counts.get(symbol, 0) + 1
        self.newest[symbol] = tick
        if self.states.get(symbol) != REMOVED:  # the last ones of a symbol come after its tombstone
            self.states[symbol] = State.LIVE

    def summary(self) -> str:
        """Say what was seen, at the end."""
        if not self.total:
            return "no tick came"
        return f"{self.total} ticks of {len(self.newest)} symbols; the first came after {self.first_after_s:.1f} s."

    def __rich__(self) -> Group:
        """Draw it."""
        head = Text.assemble(
            ("tickbridge demo", "bold"), f"  {self.total} ticks in {self.settings.topics.ticks}",
            f"  ·  first after {self.first_after_s:.1f} s" if self.total else "  ·  waiting for the first tick",
            f"  ·  http://127.0.0.1:{self.http_port}/  ·  Ctrl-C ends it",
        )  # fmt: skip
        table = Table(title="symbols, each with its newest tick", title_justify="left", expand=False)
        for name in (*COLUMNS, "ticks"):
            table.add_column(name, justify="right" if name in ("price", "volume", "ticks") else "left")
        for symbol, state in sorted(self.states.items()):
            row = {**self.newest.get(symbol, {}), "symbol": symbol, "state": state}
            cells = [str(row.get(name, "")) for name in COLUMNS]
            table.add_row(*cells, str(self.counts.get(symbol, 0)), style="dim" if state == REMOVED else "")
        return Group(head, "", *(Text(line, style="cyan") for line in self.asked), "", table)


def _perform(settings: Settings, show: Show, over: Event, for_s: float | None, bridge: Bridge) -> None:
    """Change the subscriptions now and then, and show what comes out."""
    console = Console()
    producer = Producer({**settings.kafka.as_librdkafka(), "partitioner": "murmur2_random", "log_level": 0})
    ticks = Tail(settings)
    script = _script(SYMBOLS[settings.upstream.market])
    end = time.monotonic() + for_s if for_s is not None else float("inf")
    change_at = 0.0
    live = Live(show, console=console, refresh_per_second=8) if console.is_terminal else None
    with ExitStack() as stack:
        if live is not None:
            stack.enter_context(live)
        while not (over.is_set() or bridge.wanted_down.is_set()) and (now := time.monotonic()) < end:
            if now >= change_at:
                change_at = now + CHANGE_S
                symbols, wanted = next(script)
                line = _change(producer, settings.topics.subscriptions, symbols, wanted)
                show.ask(symbols, wanted, line)
                _say(console, live, line)
            for tick in ticks.take():
                show.tick(tick)
                if live is None and ticks.may_print():
                    fields = ("symbol", "price", "volume", "seq")
                    _say(console, None, "  ".join(f"{name}={tick[name]}" for name in fields if name in tick))
    _tidy(producer, settings)
    ticks.close()
    console.print(show.summary())


def _say(console: Console, live: Live | None, line: str) -> None:
    if live is None:
        console.print(line, highlight=False, soft_wrap=True)


def _script(symbols: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Tell which symbols to add (True) or remove: three first, then one more, one less, for ever."""
    yield symbols[:3], True
    while True:
        yield symbols[3:4], True
        yield symbols[:1], False
        yield symbols[4:5], True
        yield symbols[:1], True
        yield symbols[3:5], False


def _change(producer: Producer, topic: str, symbols: tuple[str, ...], wanted: bool) -> str:
    """Produce control records, as any operator would; say what they are."""
    for symbol in symbols:
        key, value = records.encode(Subscription(symbol))
        producer.produce(topic, value if wanted else None, key)
    producer.flush(10)
    what = "{}" if wanted else "null"
    return f"→ {topic}: " + ", ".join(f"{symbol}={what}" for symbol in symbols)


def _tidy(producer: Producer, settings: Settings) -> None:
    """Leave nothing desired behind in a Kafka that stays."""
    for symbol in SYMBOLS[settings.upstream.market]:
        producer.produce(settings.topics.subscriptions, None, symbol.encode())
    producer.flush(5)


class Tail:
    """Follows the ticks topic from its present end, without a group."""

    def __init__(self, settings: Settings) -> None:
        config = {**settings.kafka.as_librdkafka(), "group.id": f"{NAME}-tail", "log_level": 0}
        self._consumer = Consumer({**config, "enable.auto.commit": False})
        topic = settings.topics.ticks
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = [(number, self._end(topic, number)) for number in partitions]
        self._consumer.assign([TopicPartition(topic, number, end) for number, end in ends])
        self._printed: deque[float] = deque(maxlen=PLAIN_LINES_PER_S)

    def take(self) -> list[dict[str, Any]]:
        """Give the ticks that came within a moment."""
        return [json.loads(m.value() or b"{}") for m in self._consumer.consume(500, LOOK_S) if m.error() is None]

    def _end(self, topic: str, number: int) -> int:
        return self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]

    def may_print(self) -> bool:
        """Tell whether one more line does not flood the output."""
        now = time.monotonic()
        if len(self._printed) == PLAIN_LINES_PER_S and now - self._printed[0] < 1.0:
            return False
        self._printed.append(now)
        return True

    def close(self) -> None:
        """Stop following."""
        self._consumer.close()
