"""Latency histograms that cost little: the feed thread observes, others see frozen copies."""

from __future__ import annotations

from bisect import bisect_left

from bridge.snapshots import Histogram

#: Upper bounds in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Meter:
    """One histogram of seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation; a clock that runs ahead gives 0, not less."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._total += seconds

    def snapshot(self) -> Histogram:
        """Give a frozen copy."""
        return Histogram(BOUNDS, tuple(self._counts), self._total)
