"""The latency histograms."""

import pytest

from bridge.app.meters import BOUNDS, Meter


def counts(*seconds: float) -> dict[float, int]:
    """Observe, and give the bounds whose bucket holds something."""
    meter = Meter()
    for one in seconds:
        meter.observe(one)
    found = meter.snapshot().counts
    return {bound: number for bound, number in zip((*BOUNDS, float("inf")), found, strict=True) if number}


def test_a_fresh_meter_is_empty() -> None:
    assert counts() == {}
    assert Meter().snapshot().total == 0


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0005, 0.001), (0.001, 0.001), (0.0011, 0.0025), (60.0, 60.0), (60.1, float("inf"))]
)
def test_an_observation_falls_below_the_bound_that_it_does_not_exceed(seconds: float, bound: float) -> None:
    assert counts(seconds) == {bound: 1}


def test_a_clock_that_runs_ahead_counts_as_nothing() -> None:
    meter = Meter()
    meter.observe(-5.0)
    assert meter.snapshot().counts[0] == 1
    assert meter.snapshot().total == 0


def test_a_snapshot_does_not_change_with_what_comes_later() -> None:
    meter = Meter()
    meter.observe(0.5)
    before = meter.snapshot()
    meter.observe(0.25)
    assert (sum(before.counts), before.total) == (1, 0.5)
    assert (sum(meter.snapshot().counts), meter.snapshot().total) == (2, 0.75)
