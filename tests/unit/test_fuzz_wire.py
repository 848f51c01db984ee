"""Whatever bytes the venue sends: nothing is raised, nothing is invented, and how they are cut makes no difference.

Hypothesis bounds itself by the number of examples, which is chosen so that this file takes a few seconds. Under CI the
examples are always the same (its profile `ci`).
"""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.upstream import dialects
from bridge.upstream.frames import FrameReader, Inbound
from tests.fakes import CLOSE, TEXT, close_frame, frame

MAX_MESSAGE = 1000
CONTINUATION, BINARY, PING, PONG = 0x0, 0x2, 0x9, 0xA

FUZZ = settings(max_examples=400, deadline=None, database=None)


def fragmented(parts: list[bytes]) -> bytes:
    last = len(parts) - 1
    return b"".join(
        frame(part, CONTINUATION if index else TEXT, final=index == last) for index, part in enumerate(parts)
    )


sizes = st.one_of(st.integers(0, 140), st.sampled_from((125, 126, 127, 999, 1000, 1001, 65_535, 65_536)))
payloads = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(str.encode),
    st.builds(lambda size: b"x" * size, sizes),
)
frames = st.one_of(
    st.builds(frame, payloads),
    st.builds(frame, payloads, st.sampled_from((TEXT, CONTINUATION, BINARY, PING, PONG, CLOSE)), final=st.booleans()),
    st.lists(payloads, min_size=1, max_size=4).map(fragmented),
    st.builds(close_frame, st.integers(0, 65_535), st.just("bye")),
    st.binary(max_size=20),
)
streams = st.lists(frames, max_size=8).map(b"".join)


@dataclass
class Heard:
    """Everything a reader gave, over all pieces."""

    texts: list[bytes] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("pongs", "binaries", "oversized"), 0))
    closed: tuple[int, str] | None = None
    error: str = ""

    def add(self, got: Inbound) -> None:
        self.texts += got.texts
        self.pings += got.pings
        for name in self.counts:
            self.counts[name] += getattr(got, name)
        self.closed = self.closed or got.closed
        self.error = self.error or str(got.error or "")

    def told(self) -> tuple[object, ...]:
        """Give what must not depend on the cuts: what else a read held with a text that is not UTF-8 is nobody's."""
        if self.error.startswith("a text message is not UTF-8"):
            return self.texts, self.error
        return self.texts, self.error, self.pings, self.counts, self.closed


def heard(stream: bytes, cuts: list[int]) -> Heard:
    reader, everything = FrameReader(MAX_MESSAGE), Heard()
    for start, stop in pairwise([0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]):
        everything.add(reader.feed(stream[start:stop]))
        # Of one message, and of the head and payload of the frame that may complete it.
        assert reader._over or len(reader._rest) + len(reader._parts) <= 2 * MAX_MESSAGE + 10
    return everything


@FUZZ
@given(streams, st.lists(st.integers(0, 100_000), max_size=30))
def test_frames_mean_the_same_however_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    assert heard(stream, cuts).told() == heard(stream, []).told()


@settings(FUZZ, max_examples=100)
@given(streams)
def test_frames_mean_the_same_byte_by_byte(stream: bytes) -> None:
    head = stream[:3000]
    assert heard(head, [*range(len(head))]).told() == heard(head, []).told()


@FUZZ
@given(st.binary(max_size=400))
def test_any_bytes_at_all_end_in_messages_or_in_a_protocol_error(stream: bytes) -> None:
    everything = heard(stream, [])
    assert not everything.error or everything.error.endswith(("(close code 1002)", "(close code 1007)"))


@FUZZ
@given(st.lists(st.text(max_size=60).map(str.encode), max_size=8), st.lists(st.integers(0, 1000), max_size=10))
def test_sound_messages_all_arrive_as_they_are(texts: list[bytes], cuts: list[int]) -> None:
    everything = heard(b"".join(map(frame, texts)), cuts)
    assert (everything.texts, everything.error) == (texts, "")


@settings(FUZZ, max_examples=200)
@given(streams)
def test_after_an_error_or_a_close_nothing_is_read_any_more(stream: bytes) -> None:
    reader = FrameReader(MAX_MESSAGE)
    over = reader.feed(stream)
    if over.error is not None or over.closed is not None:
        assert reader.feed(frame(b"hello")) == Inbound()


# The dialect.

alltick = dialects.get("alltick")

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=12),
    st.sampled_from((22998, 22999, 22001, 22005, 200, 600, "700.HK", "512.5", "1790000000123", "NaN", "1e5")),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
names = ("code", "seq", "tick_time", "price", "volume", "turnover", "trade_direction", "open_24h")
datas = st.one_of(values, st.dictionaries(st.sampled_from(names), scalars, max_size=8))
good = {"code": "700.HK", "seq": "1", "tick_time": "1790000000123", "price": "512.500000"}
bent = st.builds(lambda name, value: good | {name: value}, st.sampled_from(names), scalars)
#: A tick push, with whatever in it.
pushes = st.one_of(datas, bent).map(lambda data: {"cmd_id": 22998, "data": data})
envelopes = st.dictionaries(st.sampled_from(("cmd_id", "seq_id", "ret", "msg", "trace", "data")), values, max_size=6)


def encoded(message: Any) -> bytes:
    return json.dumps(message).encode()


tick_texts = pushes.map(encoded)
other_texts = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    st.builds(lambda depth: b"[" * depth + b"]" * depth, st.integers(0, 3000)),
    values.map(encoded),
    envelopes.filter(lambda message: message.get("cmd_id") != 22998).map(encoded),
).filter(lambda text: b"22998" not in text)  # texts of the house's own sources are among those tried


@FUZZ
@given(st.lists(st.one_of(tick_texts, other_texts), max_size=8))
def test_no_text_makes_the_dialect_raise_and_each_is_counted_once(texts: list[bytes]) -> None:
    decoded = alltick.decode(texts)
    counted = len(decoded.ticks) + decoded.bad_ticks + len(decoded.answers) + sum(decoded.others.values())
    assert counted == len(texts)


@FUZZ
@given(st.lists(tick_texts, max_size=5), st.lists(other_texts, max_size=3))
def test_every_tick_push_is_a_tick_or_a_bad_tick_and_nothing_else_is(ticks: list[bytes], others: list[bytes]) -> None:
    decoded = alltick.decode([*ticks, *others])
    assert len(decoded.ticks) + decoded.bad_ticks == len([text for text in ticks if is_json(text)])
    assert len(decoded.answers) + sum(decoded.others.values()) >= len(others)


def is_json(text: bytes) -> bool:
    """Tell whether a text is JSON as RFC 8259 has it: Python's own encoder writes NaN and Infinity, which it is not."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


@FUZZ
@given(st.lists(st.one_of(tick_texts, other_texts), max_size=8))
def test_texts_mean_the_same_together_and_one_by_one(texts: list[bytes]) -> None:
    together = alltick.decode(texts)
    apart = [alltick.decode([text]) for text in texts]
    assert list(together.ticks) == [tick for one in apart for tick in one.ticks]
    assert together.bad_ticks == sum(one.bad_ticks for one in apart)
    assert together.answers == [answer for one in apart for answer in one.answers]


@FUZZ
@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?", fullmatch=True), st.booleans())
def test_a_price_keeps_its_digits_whether_it_comes_as_a_string_or_a_number(digits: str, quoted: bool) -> None:
    written = f'"{digits}"' if quoted else digits
    text = f'{{"cmd_id":22998,"data":{{"code":"A","seq":1,"price":{written}}}}}'
    (tick,) = alltick.decode([text.encode()]).ticks
    assert tick.price == digits
