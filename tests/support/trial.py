"""A deployment on trial: a venue that ticks steadily, bridges that publish, and what is to be said of them at the end.

    trial = Trial("with a spill", World(cluster), venue, make_bridge, size, BACKPRESSURE__SPILL_DIR=...)
    trial.start()
    trial.flow()
    ...                             # the fault
    trial.drain()                   # until Kafka has what waited; new ticks go on coming
    verdict = trial.end()           # the market rests, the bridges stop, the judge speaks

`Size` says how large and how long; the environment variable TICKBRIDGE_FAULTS=long picks the full one. What was seen
is appended as a line of JSON to the file that TICKBRIDGE_FAULTS_FIGURES names, for whoever makes a table of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.support import audit
from tests.support.accounts import Scraper
from tests.support.audit import Verdict, Wish
from tests.support.process import BridgeProcess

LONG, FIGURES = "TICKBRIDGE_FAULTS", "TICKBRIDGE_FAULTS_FIGURES"

#: Seconds between two looks at a bridge: its status has a row for each symbol.
LOOK_S = 0.2
#: Seconds between two weighings.
WEIGH_S = 0.5
#: Seconds between two scrapes of the accounts.
SCRAPE_S = 0.3
#: Seconds that a tick may take to the bridge's clock while several processes share two cores.
WIRE_S = 1.0
#: Seconds that a start, or a drain, may take.
START_S, DRAIN_S = 60.0, 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """How large a trial is; `room` are settings under which an outage fills memory and goes on to the disk."""

    rate: float
    symbols: int
    session_s: float
    outage_s: tuple[float, ...]
    frozen_s: float
    slow_s: float
    room: dict[str, str]

    @property
    def codes(self) -> list[str]:
        return [f"{number}.HK" for number in range(1, self.symbols + 1)]


SHORT_SIZE = Size(
    rate=2_000, symbols=500, session_s=3.0, outage_s=(6.0,), frozen_s=4.0, slow_s=4.0,
    room={"BACKPRESSURE__HANDED_OVER_MAX": "2000", "BACKPRESSURE__QUEUE_MAX_BYTES": "1048576"},
)  # fmt: skip
LONG_SIZE = Size(
    rate=5_000, symbols=500, session_s=10.0, outage_s=(20.0, 30.0), frozen_s=20.0, slow_s=30.0,
    room={"BACKPRESSURE__HANDED_OVER_MAX": "10000", "BACKPRESSURE__QUEUE_MAX_BYTES": "8388608"},
)  # fmt: skip


def chosen_size() -> Size:
    """Give the size that the environment asks for."""
    return LONG_SIZE if os.environ.get(LONG) == "long" else SHORT_SIZE


class Scales:
    """Weighs processes twice a second, on a thread of its own."""

    def __init__(self) -> None:
        self.megabytes: dict[int, list[float]] = {}
        self._over = Event()
        self._thread = Thread(target=self._run, name="scales", daemon=True)
        self._thread.start()

    def add(self, pid: int) -> None:
        """Weigh this one too."""
        self.megabytes[pid] = []

    def stop(self) -> None:
        """Weigh no more."""
        self._over.set()
        self._thread.join(10)

    @property
    def heaviest(self) -> list[float]:
        """The curve of the process that was heaviest."""
        return max(self.megabytes.values(), key=lambda curve: max(curve, default=0.0), default=[])

    def _run(self) -> None:
        while not self._over.wait(WEIGH_S):
            for pid, curve in [*self.megabytes.items()]:
                with contextlib.suppress(psutil.Error):
                    if weight := psutil.Process(pid).memory_info().rss:  # what has ended weighs nothing
                        curve.append(weight / 1e6)


@dataclass
class Figures:
    """What was seen in one trial; `curve` is memory in MB, about ten points of it."""

    trial: str
    sent: int = 0
    in_topic: int = 0
    missing: int = 0
    covered: int = 0
    twice: int = 0
    connections: int = 0
    overlaps: int = 0
    rss_mb: float = 0.0
    drain_s: float = 0.0
    curve: list[int] = field(default_factory=list)


class Trial:
    """One deployment; `settings` are those of every bridge in it, `spill` a directory under which each has its own."""

    def __init__(
        self, name: str, world: World, venue: Simulator, make_bridge: Callable[..., BridgeProcess], size: Size, *,
        spill: Path | None = None, **settings: str,
    ) -> None:  # fmt: skip
        self.world, self.venue, self.size = world, venue, size
        self.bridges: list[BridgeProcess] = []
        self.figures = Figures(name)
        self.scales = Scales()
        self._scrapers: list[Scraper] = []
        self._make_bridge = make_bridge
        self._spill = spill
        self._settings = {"GROUP__SESSION_TIMEOUT_S": str(size.session_s), **size.room, **settings}
        self._pause = Event()
        self.since = time.time()
        world.subscribe(*size.codes)

    def start(self, *, again: bool = False, **more: str) -> BridgeProcess:
        """Start an instance; `again` gives it the first one's spill."""
        if self._spill is not None:
            more = {"BACKPRESSURE__SPILL_DIR": self.spill_of(0 if again else len(self.bridges)), **more}
        bridge = self._make_bridge(self.world.settings(self.venue, **self._settings, **more))
        self.bridges.append(bridge)
        self.scales.add(bridge.process.pid)
        self._scrapers.append(Scraper(bridge, SCRAPE_S))
        return bridge

    def spill_of(self, number: int) -> str:
        """Name the spill directory of an instance."""
        return f"{self._spill}/spill-{number}"

    def flow(self, count: int | None = None) -> None:
        """Wait until all is subscribed, and so many more ticks are published: a second's worth unless said."""
        for bridge in self._running():
            bridge.wait_ready(START_S)
        self.venue.wait_until_subscribed(*self.size.codes, timeout=START_S)
        more = int(self.size.rate) if count is None else count
        before = self.account("published")
        self.await_true(f"{more} more published", lambda: self.account("published") >= before + more, START_S)

    def account(self, term: str) -> int:
        """Add up a term of guarantee 7 over the bridges that run."""
        return sum(int(bridge.status()["accounts"][term]) for bridge in self._running())

    def place(self, name: str) -> int:
        """Add up what waits in one place over the bridges that run."""
        return sum(int(bridge.status()["backpressure"]["places"].get(name, 0)) for bridge in self._running())

    def await_true(self, what: str, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Look again and again until something holds."""
        end = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.figures.trial}: not within {timeout_s} s: {what}; {self._stand()}")
            self._pause.wait(LOOK_S)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._pause.wait(seconds)

    def drain(self, since: float | None = None) -> None:
        """Wait until Kafka has all but the newest ticks, while more of them come; `since` is when it could begin."""
        began = time.monotonic() if since is None else since
        few = int(self.size.rate / 2)
        self.await_true("drained", lambda: self.account("in_flight") < few, DRAIN_S)
        self.figures.drain_s = round(time.monotonic() - began, 1)

    def rest(self) -> None:
        """Let the market rest until Kafka has everything."""
        self.venue.switches.rate = 0
        self.await_true("nothing in flight", lambda: self.account("in_flight") == 0, DRAIN_S)

    def end(self, *, judged: bool = True) -> Verdict:
        """Let the market rest, stop every bridge, and judge: ticks, gaps, and unless told otherwise the accounts."""
        self.rest()
        for bridge in self._running():
            assert bridge.stop() == 0
        self.scales.stop()
        self._check_scrapes()
        stopped = [bridge.wait_for("stopped") for bridge in self.bridges] if judged else []
        evidence = audit.collect(
            self.world.cluster, self.world.topic("ticks"), self.world.topic("gaps"), self.venue.record,
            self.size.codes, accounts=stopped,
        )  # fmt: skip
        wishes = [Wish(code, code, self.since) for code in self.size.codes]
        verdict = audit.judge(evidence, wishes, wire_s=WIRE_S)
        self._note(verdict)
        return verdict

    def _check_scrapes(self) -> None:
        """Hold the accounts to their sum at every scrape, from the first to the last."""
        for scraper in self._scrapers:
            scraper.stop()
            assert scraper.scrapes
            assert scraper.wrong == []

    def _note(self, verdict: Verdict) -> None:
        seen, curve = self.figures, self.scales.heaviest
        seen.sent = self.venue.sent_total
        seen.in_topic = sum(one.published for one in verdict.symbols.values())
        seen.missing = verdict.missing
        seen.covered = verdict.missing - sum(len(one.silent) for one in verdict.symbols.values())
        seen.twice = sum(len(one.duplicates) for one in verdict.symbols.values())
        seen.connections = len(self.venue.record.connections)
        seen.overlaps = len(self.venue.record.overlaps)
        seen.rss_mb = round(max(curve, default=0.0), 1)
        seen.curve = [round(weight) for weight in curve[:: max(1, len(curve) // 10)]]
        if path := os.environ.get(FIGURES):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(seen)) + "\n")

    def _running(self) -> list[BridgeProcess]:
        return [bridge for bridge in self.bridges if bridge.process.poll() is None]

    def _stand(self) -> list[dict[str, Any]]:
        shown = ("accounts", "backpressure", "control", "partitions")
        return [{name: bridge.status()[name] for name in shown} for bridge in self._running()]
