"""A window tells repeats exactly as a plain list of the last 64 ticks would, whatever short cut it takes."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ticks.dedupe import SIZE, Window

NO_SEQ = -1


class PlainWindow:
    """The contract, word for word: the last 64 ticks, looked through every time."""

    def __init__(self) -> None:
        self._last: deque[tuple[int, int]] = deque(maxlen=64)

    def is_repeat(self, seq: int, detail: int) -> bool:
        tick = (seq, detail)
        if tick in self._last:
            return True
        self._last.append(tick)
        return False


def key(seq: int, detail: int = 0) -> int:
    return hash((str(seq), detail))  # integers collide by design, modulo 2**61 - 1


def take(window: Window, *seqs: int) -> list[bool]:
    return [window.is_repeat(seq, key(seq)) for seq in seqs]


def test_a_tick_that_was_never_seen_is_no_repeat() -> None:
    assert take(Window(), 1, 2, 5, 3) == [False] * 4


def test_the_same_tick_at_once_again_is_a_repeat() -> None:
    assert take(Window(), 7, 7, 7) == [False, True, True]


def test_a_tick_of_the_same_seq_that_differs_otherwise_is_no_repeat() -> None:
    window = Window()
    assert [window.is_repeat(7, key(7, detail)) for detail in (1, 2, 1)] == [False, False, True]


def test_a_tick_is_still_known_when_63_newer_ones_have_come() -> None:
    assert take(Window(), *range(64), 0)[-1] is True


def test_a_tick_is_forgotten_when_64_newer_ones_have_come() -> None:
    assert take(Window(), *range(65), 0)[-1] is False


def test_repeats_take_no_room_in_the_window() -> None:
    window = Window()
    take(window, *range(64), *[63] * 100)
    assert take(window, 0) == [True]


def test_a_tick_that_took_the_short_cut_is_in_the_window_all_the_same() -> None:
    window = Window()
    take(window, 10, 20)  # both above everything seen
    assert take(window, 10, 20) == [True, True]


def test_ticks_without_seq_are_told_by_their_look_alone() -> None:
    window = Window()
    assert [window.is_repeat(NO_SEQ, look) for look in (11, 12, 11, 13, 12)] == [False, False, True, False, True]


def test_a_zero_hash_in_a_fresh_window_is_no_repeat_when_its_seq_is_new() -> None:
    window = Window()
    assert window.is_repeat(5, 0) is False
    assert window.is_repeat(5, 0) is True


def test_64_new_ticks_in_a_row_below_the_largest_set_it_anew() -> None:
    window = Window()
    take(window, 1_000_000, *range(100, 100 + SIZE))
    assert window._largest == 100 + SIZE - 1


def test_63_are_not_enough_to_set_the_largest_anew() -> None:
    window = Window()
    take(window, 1_000_000, *range(100, 100 + SIZE - 1))
    assert window._largest == 1_000_000


def test_a_tick_above_the_largest_begins_the_count_again() -> None:
    window = Window()
    take(window, 1_000, *range(100, 163), 1_001, *range(200, 263))
    assert window._largest == 1_001
    take(window, 263)
    assert window._largest == 263


def test_a_repeat_is_no_new_tick_and_neither_counts_nor_interrupts() -> None:
    window = Window()
    take(window, 1_000)
    for seq in range(100, 163):
        take(window, seq, seq, 1_000)
    assert window._largest == 1_000
    take(window, 163)
    assert window._largest == 163


def test_ticks_without_seq_neither_count_nor_interrupt() -> None:
    window = Window()
    take(window, 1_000)
    for seq in range(100, 163):
        take(window, seq)
        window.is_repeat(NO_SEQ, key(NO_SEQ, seq))
    assert window._largest == 1_000
    take(window, 163)
    assert window._largest == 163


def test_descending_numbers_are_all_new() -> None:
    assert take(Window(), *range(1000, 0, -1)) == [False] * 1000


def test_after_a_restart_of_the_venues_numbers_repeats_are_known_again() -> None:
    window = Window()
    take(window, *range(10_000, 10_100))
    assert take(window, *range(200)) == [False] * 200
    assert take(window, 199, 136, 135) == [True, True, False]


@pytest.mark.parametrize("seq", [2**63, 2**64 + 1, 10**32])
def test_numbers_of_any_size_are_numbers(seq: int) -> None:
    assert take(Window(), seq, seq + 1, seq, seq - 1) == [False, False, True, False]


#: Runs up and down, jumps, and ticks without seq: what a venue might do after a reconnect or a restart of its numbers.
RUNS = st.one_of(
    st.builds(lambda start, count: list(range(start, start + count)), st.integers(0, 500), st.integers(1, 90)),
    st.builds(lambda start, count: list(range(start + count, start, -1)), st.integers(0, 500), st.integers(1, 90)),
    st.lists(st.integers(0, 500), max_size=30),
    st.lists(st.just(NO_SEQ), max_size=5),
    st.just([2**64 + 5]),
)


@given(st.lists(RUNS, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_the_window_answers_as_a_plain_list_of_the_last_64_would(runs: list[list[int]], details: list[int]) -> None:
    window, plain = Window(), PlainWindow()
    for position, seq in enumerate(seq for run in runs for seq in run):
        detail = details[position % len(details)]
        assert window.is_repeat(seq, key(seq, detail)) == plain.is_repeat(seq, detail), (position, seq, detail)
