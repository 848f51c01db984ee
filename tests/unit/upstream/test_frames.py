"""Bytes in, messages out: however the bytes are cut, and whatever they are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import RemoteProtocolError
from bridge.upstream.frames import INVALID_DATA, NO_STATUS, PROTOCOL_ERROR, FrameReader, Inbound, Opcode
from tests.fakes import close_frame, frame

LIMIT = 200


@dataclass
class Reading:
    """A reader and all that it has given so far."""

    limit: int = LIMIT
    got: Inbound = field(default_factory=Inbound)
    reader: FrameReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = FrameReader(self.limit)

    def feed(self, *pieces: bytes) -> Reading:
        for piece in pieces:
            new = self.reader.feed(piece)
            self.got.texts += new.texts
            self.got.pings += new.pings
            self.got.pongs += new.pongs
            self.got.binaries += new.binaries
            self.got.oversized += new.oversized
            self.got.closed = self.got.closed or new.closed
            self.got.error = self.got.error or new.error
        return self

    @property
    def facts(self) -> tuple[object, ...]:
        got = self.got
        return got.texts, got.pings, got.pongs, got.binaries, got.oversized, got.closed, str(got.error)

    def fails_with(self, code: int) -> bool:
        return self.got.error is not None and self.got.error.code == code


def read(*pieces: bytes, limit: int = LIMIT) -> Inbound:
    return Reading(limit).feed(*pieces).got


def one_by_one(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[left:right] for left, right in pairwise(edges)]


# What comes out


def test_texts_come_out_in_order() -> None:
    assert read(frame(b"one") + frame(b"two") + frame(b"")).texts == [b"one", b"two", b""]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000])
def test_every_form_of_length_is_read(size: int) -> None:
    data = frame(b"x" * size) + frame(b"next")
    assert read(data, limit=100_000).texts == [b"x" * size, b"next"]
    assert Reading(100_000).feed(*cut(data, (1, 2, 3, 4, 9, 10, 11, size))).got.texts == [b"x" * size, b"next"]


def test_a_length_may_be_written_longer_than_it_need_be() -> None:
    assert read(bytes((0x81, 127)) + (5).to_bytes(8) + b"hello" + bytes((0x81, 126, 0, 2)) + b"ok").texts == [
        b"hello",
        b"ok",
    ]


def test_fragments_make_one_message_and_control_frames_between_them_are_heard() -> None:
    got = read(
        frame(b"one ", final=False),
        frame(b"?", Opcode.PING),
        frame(b"two ", Opcode.CONTINUATION, final=False),
        frame(b"", Opcode.PONG),
        frame(b"three", Opcode.CONTINUATION),
        frame(b"next"),
    )
    assert (got.texts, got.pings, got.pongs, got.error) == ([b"one two three", b"next"], [b"?"], 1, None)


def test_binary_messages_are_counted_and_left_out_whole_or_in_pieces() -> None:
    data = frame(b"\xff\xfe", Opcode.BINARY) + frame(b"a", Opcode.BINARY, final=False)
    got = read(data + frame(b"\xff", Opcode.CONTINUATION) + frame(b"text"))
    assert (got.binaries, got.texts, got.error) == (2, [b"text"], None)


def test_a_text_of_any_language_is_read() -> None:
    assert read(frame("腾讯 €".encode())).texts == ["腾讯 €".encode()]


@pytest.mark.parametrize(
    ("payload", "closed"),
    [
        (b"", (NO_STATUS, "")),
        ((1000).to_bytes(2), (1000, "")),
        ((1011).to_bytes(2) + b"oops", (1011, "oops")),
        ((4999).to_bytes(2), (4999, "")),
        ((3000).to_bytes(2) + "é".encode(), (3000, "é")),
    ],
)
def test_a_close_frame_gives_its_code_and_reason(payload: bytes, closed: tuple[int, str]) -> None:
    got = read(frame(b"before") + frame(payload, Opcode.CLOSE))
    assert (got.texts, got.closed, got.error) == ([b"before"], closed, None)


@pytest.mark.parametrize("later", [frame(b"too late"), b"\xff\xff\xff"])
def test_after_a_close_frame_nothing_more_is_read(later: bytes) -> None:
    reading = Reading().feed(close_frame(1000) + later, later, later)
    assert (reading.got.texts, reading.got.closed, reading.got.error) == ([], (1000, ""), None)


# However it is cut

_texts = st.text(max_size=150).map(str.encode)


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """One message as frames: whole or in fragments, with control frames between them."""
    if draw(st.integers(0, 4)) == 0:
        return frame(draw(st.binary(max_size=125)), draw(st.sampled_from([Opcode.PING, Opcode.PONG])))
    opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.BINARY]))
    payload = draw(st.one_of(_texts, st.integers(0, 400).map(lambda size: b"x" * size)))
    pieces = cut(payload, draw(st.lists(st.integers(0, 400), max_size=3)))
    data = b""
    for number, piece in enumerate(pieces):
        data += frame(piece, Opcode.CONTINUATION if number else opcode, final=number == len(pieces) - 1)
        if number < len(pieces) - 1 and draw(st.booleans()):
            data += frame(b"between", Opcode.PING)
    return data


@given(st.lists(_messages(), max_size=12), st.lists(st.integers(0, 5000), max_size=8), st.booleans())
def test_any_cut_of_the_stream_gives_the_same_as_one_piece(
    messages: list[bytes], places: list[int], closes: bool
) -> None:
    data = b"".join(messages) + (close_frame(1001, "going away") if closes else b"")
    whole = Reading().feed(data).facts
    assert Reading().feed(*cut(data, places)).facts == whole
    assert Reading().feed(*one_by_one(data)).facts == whole


@given(st.lists(st.tuples(_texts, st.integers(1, 4)), max_size=8), st.lists(st.integers(0, 2000), max_size=6))
def test_every_text_within_the_limit_comes_out_as_it_was_sent(
    texts: list[tuple[bytes, int]], places: list[int]
) -> None:
    data = b""
    for text, parts in texts:
        pieces = cut(text, range(0, 1000, 1000 // parts))
        for number, piece in enumerate(pieces):
            opcode = Opcode.CONTINUATION if number else Opcode.TEXT
            data += frame(piece, opcode, final=number == len(pieces) - 1)
    limit = max((len(text) for text, _ in texts), default=0)
    got = Reading(limit).feed(*cut(data, places)).got
    assert (got.texts, got.oversized, got.error) == ([text for text, _ in texts], 0, None)


class _Looking(FrameReader):
    """Counts the bytes that are looked at."""

    looked = 0

    def _frames(self, data: bytes, got: Inbound) -> int:
        self.looked += len(data)
        return super()._frames(data, got)


@pytest.mark.parametrize("size", [100, 60_000, 200_000])
def test_a_message_that_arrives_byte_by_byte_is_not_looked_at_again_and_again(size: int) -> None:
    reader = _Looking(1 << 20)
    data = frame(b"x" * size)
    texts = [text for piece in one_by_one(data) for text in reader.feed(piece).texts]
    assert texts == [b"x" * size]
    assert reader.looked <= len(data) + 50


def test_a_burst_with_a_torn_end_is_looked_at_once() -> None:
    reader = _Looking(1 << 20)
    data = frame(b"x" * 180) * 1400
    reader.feed(data[:-50])
    reader.feed(data[-50:])
    assert reader.looked <= len(data) + 200


# Too large


@pytest.mark.parametrize("piece", [1000, 4096, 1 << 22])
def test_two_mebibytes_pass_by_without_being_stored(piece: int) -> None:
    big = frame(b"y" * (2 << 20))
    data = frame(b"before") + big + frame(b"after")
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    reading = Reading(1000)
    tracemalloc.start()
    try:
        reading.feed(*pieces)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (reading.got.texts, reading.got.oversized, reading.got.error) == ([b"before", b"after"], 1, None)
    assert peak < 100_000


def test_fragments_that_are_too_large_together_are_skipped_and_counted_once() -> None:
    pieces = [frame(b"a" * 150, final=False), *[frame(b"b" * 150, Opcode.CONTINUATION, final=False)] * 9]
    data = b"".join(pieces) + frame(b"?", Opcode.PING) + frame(b"c", Opcode.CONTINUATION) + frame(b"next")
    for got in (read(data), read(*one_by_one(data))):
        assert (got.texts, got.oversized, got.pings, got.error) == ([b"next"], 1, [b"?"], None)


def test_the_limit_itself_still_fits() -> None:
    got = read(frame(b"x" * LIMIT) + frame(b"x" * (LIMIT + 1)))
    assert (len(got.texts), got.oversized) == (1, 1)


def test_a_small_limit_holds_for_the_shortest_form_of_length_too() -> None:
    got = read(frame(b"x" * 40) + frame(b"y" * 5), limit=10)
    assert (got.texts, got.oversized) == ([b"y" * 5], 1)


# What breaks the protocol

MASKED = bytes((0x81, 0x85)) + b"mask" + b"hello"
CONTROL_TOO_LONG = bytes((0x89, 126)) + (126).to_bytes(2) + b"x" * 126


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(MASKED, id="masked"),
        pytest.param(bytes((0xC1, 0)), id="reserved bit 1"),
        pytest.param(bytes((0xA1, 0)), id="reserved bit 2"),
        pytest.param(bytes((0x91, 0)), id="reserved bit 3"),
        pytest.param(bytes((0x83, 0)), id="reserved opcode"),
        pytest.param(bytes((0x8F, 0)), id="reserved control opcode"),
        pytest.param(frame(b"", Opcode.PING, final=False), id="fragmented ping"),
        pytest.param(frame(b"", Opcode.CLOSE, final=False), id="fragmented close"),
        pytest.param(CONTROL_TOO_LONG, id="long control frame"),
        pytest.param(frame(b"x", Opcode.CONTINUATION), id="continues nothing"),
        pytest.param(frame(b"a", final=False) + frame(b"b"), id="text inside a fragmented text"),
        pytest.param(frame(b"a", final=False) + frame(b"b", Opcode.BINARY), id="binary inside a fragmented text"),
        pytest.param(frame(b"a" * 300, final=False) + frame(b"b"), id="text inside an oversized text"),
        pytest.param(bytes((0x81, 127)) + b"\xff" * 8, id="64-bit length"),
        pytest.param(frame(b"\x03", Opcode.CLOSE), id="half a close code"),
        *[
            pytest.param(close_frame(code), id=f"close code {code}")
            for code in (0, 999, 1004, 1005, 1006, 1015, 5000, 65_535)
        ],
    ],
)
def test_a_breach_gives_a_protocol_error_and_keeps_what_came_before(bad: bytes) -> None:
    for pieces in ([frame(b"kept") + bad + frame(b"lost")], one_by_one(frame(b"kept") + bad + frame(b"lost"))):
        reading = Reading().feed(*pieces)
        assert reading.fails_with(PROTOCOL_ERROR)
        assert reading.got.texts == [b"kept"]
        assert reading.got.closed is None


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_text_that_is_no_utf8_is_invalid_data_and_keeps_what_came_before(bad: bytes) -> None:
    reading = Reading().feed(frame(b"kept") + frame("é".encode()) + frame(bad) + frame(b"lost"))
    assert reading.fails_with(INVALID_DATA)
    assert reading.got.texts == [b"kept", "é".encode()]


def test_a_character_may_be_torn_between_fragments_but_not_between_messages() -> None:
    euro = "€".encode()
    assert read(frame(euro[:1], final=False) + frame(euro[1:], Opcode.CONTINUATION)).texts == [euro]
    assert Reading().feed(frame(euro[:1]) + frame(euro[1:])).fails_with(INVALID_DATA)


def test_of_two_breaches_in_one_piece_the_first_one_counts() -> None:
    assert Reading().feed(frame(b"\xff") + MASKED).fails_with(INVALID_DATA)
    assert Reading().feed(MASKED + frame(b"\xff")).fails_with(PROTOCOL_ERROR)


def test_a_close_reason_that_is_no_utf8_is_invalid_data() -> None:
    assert Reading().feed(frame((1000).to_bytes(2) + b"\xff", Opcode.CLOSE)).fails_with(INVALID_DATA)


def test_after_an_error_nothing_more_is_read() -> None:
    reading = Reading().feed(MASKED)
    assert reading.feed(frame(b"too late")).got.texts == []


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_random_bytes_never_raise(pieces: list[bytes]) -> None:
    error = read(*pieces).error
    assert error is None or isinstance(error, RemoteProtocolError)


@given(st.lists(_messages(), min_size=1, max_size=4), st.integers(0, 5000), st.integers(0, 255), st.integers(0, 9))
def test_a_flipped_byte_never_raises_and_cuts_do_not_change_what_is_read_before_the_error(
    messages: list[bytes], place: int, value: int, step: int
) -> None:
    data = bytearray(b"".join(messages))
    data[place % len(data)] = value
    whole = Reading().feed(bytes(data))
    pieces = Reading().feed(*cut(bytes(data), range(0, len(data), step + 1)))
    assert (pieces.got.texts, str(pieces.got.error)) == (whole.got.texts, str(whole.got.error))
