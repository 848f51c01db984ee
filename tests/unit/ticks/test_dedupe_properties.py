"""Whatever a venue's reconnects, repeats and restarts do to its ticks, the window with its short cut is a plain one."""

from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from bridge.ticks.dedupe import SIZE, Window


@dataclass(frozen=True)
class Tick:
    """What tells one tick from another; ``seq`` is -1 where the venue gives none."""

    seq: int
    look: int

    @property
    def key(self) -> int:
        return hash((str(self.seq), self.look))


class PlainWindow:
    """The last 64 different ticks, looked through every time."""

    def __init__(self) -> None:
        self._last: deque[Tick] = deque(maxlen=64)

    def is_repeat(self, tick: Tick) -> bool:
        if tick in self._last:
            return True
        self._last.append(tick)
        return False


@st.composite
def streams(draw: st.DrawFn) -> list[Tick]:
    """Draw what one code sends: runs of rising numbers; each goes on, starts anew or lies far ahead of the last."""
    stream: list[Tick] = []
    seq = draw(st.integers(0, 10_000))
    for _ in range(draw(st.integers(1, 6))):
        seq = draw(st.sampled_from([seq, 0, 1, seq // 2, seq + 1_000_000]))
        for _ in range(draw(st.integers(1, 100))):
            seq += draw(st.sampled_from([1, 1, 1, 0, 7]))
            stream.append(Tick(-1 if draw(st.integers(0, 30)) == 0 else seq, draw(st.integers(0, 1))))
    return stream


@st.composite
def as_received(draw: st.DrawFn) -> list[Tick]:
    """Draw such a stream as it may arrive: with stretches sent again after a reconnect, and neighbours swapped."""
    stream = draw(streams())
    for _ in range(draw(st.integers(0, 5))):
        begin = draw(st.integers(0, len(stream) - 1))
        end = min(len(stream), begin + draw(st.integers(1, 2 * SIZE)))
        at = min(len(stream), end + draw(st.integers(0, 80)))
        stream[at:at] = stream[begin:end]
    for _ in range(draw(st.integers(0, 40))):
        one = draw(st.integers(0, len(stream) - 1))
        other = min(len(stream) - 1, one + draw(st.integers(0, 100)))
        stream[one], stream[other] = stream[other], stream[one]
    return stream


@given(as_received())
def test_the_window_finds_the_same_repeats_as_a_plain_one(stream: list[Tick]) -> None:
    window, plain = Window(), PlainWindow()
    found = [window.is_repeat(tick.seq, tick.key) for tick in stream]
    assert found == [plain.is_repeat(tick) for tick in stream]
