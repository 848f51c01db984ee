"""When the next connection may be tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Limits
from bridge.upstream.backoff import Backoff


def limits(minimum: float = 3.0, maximum: float = 60.0) -> Limits:
    return Limits(max_symbols=5, reconnect_min_s=minimum, reconnect_max_s=maximum)


@given(st.floats(1, 20), st.floats(0, 1e6))
def test_the_first_attempt_waits_the_minimum_and_less_than_a_second_more(minimum: float, now: float) -> None:
    wait = Backoff(limits(minimum)).failed(now) - now
    assert minimum <= wait <= minimum + 1


@pytest.mark.parametrize(
    ("minimum", "maximum", "leasts"),
    [(3, 60, (3, 6, 12, 24, 48, 60, 60, 60)), (1, 30, (1, 2, 4, 8, 16, 30, 30, 30))],
    ids=["by default", "1, 2, 4 to 30 s"],
)
def test_failures_in_a_row_double_the_wait_up_to_the_longest(
    minimum: float, maximum: float, leasts: tuple[float, ...]
) -> None:
    backoff = Backoff(limits(minimum, maximum))
    waits = [backoff.failed(0) for _ in range(8)]
    for wait, least in zip(waits, leasts, strict=True):
        assert least <= wait <= min(least + 1, maximum + 0.1)


@given(st.floats(0, 20), st.floats(0, 100), st.lists(st.sampled_from(["failed", "token", "useful"]), max_size=60))
def test_no_history_waits_less_than_the_minimum_or_longer_than_the_longest(
    minimum: float, more: float, history: list[str]
) -> None:
    backoff = Backoff(limits(minimum, minimum + more))
    for event in history:
        if event == "useful":
            backoff.useful()
        else:
            assert minimum <= backoff.failed(0, token=event == "token") <= minimum + more + 0.1


def test_a_useful_connection_begins_anew() -> None:
    backoff = Backoff(limits())
    for _ in range(5):
        backoff.failed(0)
    backoff.useful()
    assert backoff.failures == 0
    assert backoff.failed(0) <= 4


def test_a_refused_token_waits_the_longest_at_once() -> None:
    assert Backoff(limits()).failed(100, token=True) == 160


def test_attempts_of_many_bridges_do_not_fall_together() -> None:
    assert len({Backoff(limits()).failed(0) for _ in range(20)}) > 10


def test_a_year_of_failures_is_no_trouble() -> None:
    backoff = Backoff(limits())
    backoff.failures = 500_000
    assert backoff.failed(0) == pytest.approx(60, abs=0.1)
