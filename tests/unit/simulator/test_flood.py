"""The flood's frames: sound, contiguous, of one length, cut at frame boundaries."""

import json
import struct
from collections import defaultdict

import pytest

from bridge.simulator.flood import FIRST_CYCLE, PIECE, ROUNDS, FloodStream
from bridge.simulator.protocol import Style

CODES = ("700.HK", "AAPL.US", "600519.SH")


def read_frames(data: bytes) -> list[dict[str, object]]:
    """Take a run of whole unfragmented text frames apart."""
    ticks, place = [], 0
    while place < len(data):
        first, length = struct.unpack_from("!BB", data, place)
        assert first == 0x81
        place += 2
        if length == 126:
            (length,) = struct.unpack_from("!H", data, place)
            place += 2
        ticks.append(json.loads(data[place : place + length])["data"])
        place += length
    assert place == len(data)
    return ticks


def take_all(stream: FloodStream, total: int, most: int = 2**31) -> list[dict[str, object]]:
    ticks: list[dict[str, object]] = []
    while len(ticks) < total:
        piece, count = stream.take(min(most, total - len(ticks)), 1790000000123)
        assert len(piece) <= PIECE
        read = read_frames(bytes(piece))
        assert len(read) == count
        ticks += read
    return ticks


def seqs(ticks: list[dict[str, object]]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for tick in ticks:
        found[str(tick["code"])].append(int(str(tick["seq"])))
    return found


@pytest.mark.parametrize("most", [1, 7, 2**31])
def test_seq_is_contiguous_per_code_over_cycles_however_the_pieces_are_cut(most: int) -> None:
    stream = FloodStream(CODES, 1, FIRST_CYCLE)
    total = 5 * ROUNDS * len(CODES) + 2
    found = seqs(take_all(stream, total, most))
    first = FIRST_CYCLE * ROUNDS
    assert found["700.HK"] == list(range(first, first + 51))
    assert found["600519.SH"] == list(range(first, first + 50))


def test_the_stream_knows_how_much_of_each_code_was_taken() -> None:
    stream = FloodStream(CODES, 1, FIRST_CYCLE)
    found = seqs(take_all(stream, 31))
    assert {code: stream.sent_of(code) for code in (*CODES, "5.HK")} == {
        **{code: len(found[code]) for code in CODES},
        "5.HK": 0,
    }


def test_a_stream_that_forgot_its_frames_remembers_what_it_sent() -> None:
    stream = FloodStream(CODES, 1, FIRST_CYCLE)
    take_all(stream, 4)
    stream.forget()
    piece, count = stream.take(10, 0)
    assert (bytes(piece), count) == (b"", 0)
    assert (stream.sent_of("700.HK"), stream.sent_of("AAPL.US")) == (2, 1)


def test_ticks_carry_the_time_they_were_made_ready_at() -> None:
    (tick, *_) = take_all(FloodStream(CODES, 1, FIRST_CYCLE), 1)
    assert (tick["tick_time"], tick["code"]) == ("1790000000123", "700.HK")
    assert set(tick) == {"code", "seq", "tick_time", "price", "volume", "turnover", "trade_direction"}


def test_integers_stay_integers() -> None:
    (tick, *_) = take_all(FloodStream(CODES, 1, FIRST_CYCLE, Style("", "", 1)), 1)
    assert (tick["seq"], tick["tick_time"]) == (FIRST_CYCLE * ROUNDS, 1790000000123)


def test_a_stream_that_is_ending_completes_what_it_made_ready_and_its_successor_goes_on() -> None:
    stream = FloodStream(CODES, 1, FIRST_CYCLE)
    before = take_all(stream, 1)
    stream.ending = True
    while (piece := stream.take(2**31, 0))[1]:
        before += read_frames(bytes(piece[0]))
    after = take_all(FloodStream(CODES[:1], 1, stream.next_cycle), 1)
    assert seqs(after)["700.HK"][0] == seqs(before)["700.HK"][-1] + 1
