"""The accounts of guarantee 7 as whoever scrapes a bridge sees them: exact at every scrape, whatever happens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from threading import Condition, Event, Thread
from typing import Any

from tests.support.process import BridgeProcess

OUTCOMES = ("published", "duplicate", "filtered", "invalid", "conflated", "dropped", "undeliverable")


class Scraper:
    """Scrapes the metrics of one bridge again and again until it ends, and keeps what every scrape said."""

    def __init__(self, bridge: BridgeProcess, pause_s: float = 0.01) -> None:
        self.scrapes: list[dict[str, int]] = []
        self._bridge = bridge
        self._pause_s = pause_s
        self._over = Event()
        self._news = Condition()
        self._thread = Thread(target=self._scrape, daemon=True)
        self._thread.start()

    @property
    def wrong(self) -> list[dict[str, int]]:
        """The scrapes that do not add up."""
        return [accounts for accounts in self.scrapes if surplus(accounts)]

    def await_more(self, count: int, timeout_s: float = 30.0) -> None:
        """Wait for so many scrapes more; TimeoutError if they do not come."""
        with self._news:
            enough = len(self.scrapes) + count
            if not self._news.wait_for(lambda: len(self.scrapes) >= enough, timeout_s):
                raise TimeoutError(f"{len(self.scrapes)} scrapes of {enough} after {timeout_s} s")

    def stop(self) -> None:
        """Scrape no more."""
        self._over.set()
        self._thread.join(10)

    def _scrape(self) -> None:
        while not self._over.wait(self._pause_s) and self._bridge.process.poll() is None:
            with suppress(OSError, HTTPException):  # it has only just started, or is ending
                found = terms(self._bridge.get("/metrics")[1].decode())
                with self._news:
                    self.scrapes.append(found)
                    self._news.notify_all()


def terms(exposition: str) -> dict[str, int]:
    """Read the terms of guarantee 7 from the metrics."""
    found = {name: _value(exposition, f'tickbridge_ticks_total{{outcome="{name}"}}') for name in OUTCOMES}
    for name in ("received_total", "recovered_total", "in_flight"):
        found[name.removesuffix("_total")] = _value(exposition, f"tickbridge_ticks_{name}")
    return found


def surplus(accounts: Mapping[str, Any]) -> int:
    """Give by how much the accounts do not add up."""
    out = sum(accounts[name] for name in (*OUTCOMES, "in_flight"))
    return int(accounts["received"] + accounts["recovered"] - out)


def _value(exposition: str, series: str) -> int:
    found = re.search(rf"^{re.escape(series)} (\S+)$", exposition, re.MULTILINE)
    assert found, f"{series} is missing"
    return int(float(found.group(1)))
