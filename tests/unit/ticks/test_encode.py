"""A record is our own text around fields that were proven plain, or else fully encoded."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ticks import encode
from bridge.ticks.encode import SAME_DIGITS, SHAPES_MAX, Plain

DECIMAL = re.compile(r"[0-9]{1,32}(\.[0-9]{1,31})?")


def plain(price: str, volume: str = "300", turnover: str = "153750.0", seq: str = "1001", time: str = "1790") -> bool:
    return Plain()[shape(price, volume, turnover, seq, time)]


def shape(*fields: str) -> bytes:
    return " ".join(fields).encode().translate(SAME_DIGITS)


@pytest.mark.parametrize("price", ["5", "512.500000", "0.1", "0", "9" * 32, "9" * 32 + "." + "9" * 31])
def test_digits_with_at_most_one_point_between_them_are_plain(price: str) -> None:
    assert plain(price)


NOT_PLAIN = [
    "",
    ".",
    "5.",
    ".5",
    "1.2.3",
    "-5",
    "+5",
    "1e3",
    "1_0",
    "5,0",
    " 5",
    "5 ",
    "5\n",
    "5\x00",
    "NaN",
    "inf",
    "None",
]
NOT_ASCII = ["\u0663", "\uff15", "\u00b2"]  # an Arabic 3, a wide 5, a raised 2: digits to `str.isdigit`


@pytest.mark.parametrize("price", [*NOT_PLAIN, *NOT_ASCII, '5"', "5\\", "9" * 33, "1." + "9" * 32])
def test_anything_else_is_not_plain(price: str) -> None:
    assert not plain(price)


@pytest.mark.parametrize("field", ["volume", "turnover"])
def test_volume_and_turnover_may_be_empty(field: str) -> None:
    assert plain("5", **{field: ""})
    assert not plain("5", **{field: "None"})


@pytest.mark.parametrize("field", ["seq", "time"])
@pytest.mark.parametrize("value", ["", "1.5", "-1", "None", "1 1", "9" * 33])
def test_seq_and_time_are_digits_and_nothing_else(field: str, value: str) -> None:
    assert not plain("5", **{field: value})


def test_a_space_inside_a_field_cannot_pass_for_the_space_between_two() -> None:
    assert not plain("5 6", volume="7", turnover="8", seq="9", time="")
    assert not plain("5 6", volume="", turnover="8", seq="9")


def test_all_digits_have_the_same_shape_and_nothing_else_has() -> None:
    assert shape("0123456789") == b"0" * 10
    others = bytes(byte for byte in range(256) if byte not in b"0123456789")
    assert others.translate(SAME_DIGITS) == others


def test_a_shape_is_worked_out_once_and_kept_only_while_it_is_plain() -> None:
    found = Plain()
    assert found[shape("512.5", "3", "4", "5", "6")]
    assert found[shape("947.1", "9", "9", "9", "9")]
    assert not found[b"x" * 1_000_000]
    assert list(found) == [b"000.0 0 0 0 0"]


def test_the_shapes_kept_are_bounded() -> None:
    found = Plain()
    sizes = ((a, b, c) for a in range(1, 33) for b in range(1, 33) for c in range(1, 33))
    for _, (a, b, c) in zip(range(SHAPES_MAX + 10), sizes, strict=False):
        assert found[shape("1" * a, "1" * b, "1" * c, "1", "1")]
        assert len(found) <= SHAPES_MAX
    assert len(found) == 10


FIELD = st.one_of(
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})?", fullmatch=True),
    st.text(alphabet='0123456789. -+eE_"\\N\u0663', max_size=4),
)


@given(FIELD, FIELD, FIELD, FIELD, FIELD)
def test_plain_is_exactly_what_each_field_by_itself_allows(a: str, b: str, c: str, seq: str, time: str) -> None:
    alone = (
        DECIMAL.fullmatch(a) is not None
        and all(not amount or DECIMAL.fullmatch(amount) for amount in (b, c))
        and re.fullmatch(r"[0-9]{1,32}", seq) is not None
        and re.fullmatch(r"[0-9]{1,20}", time) is not None
    )
    assert plain(a, b, c, seq, time) == alone


def test_a_head_is_an_object_that_waits_for_the_digits_of_its_price() -> None:
    head = encode.head("alltick", 'HKEX:"00700', "700.HK\n", 1_789_999_876_543_210)
    assert json.loads(head + '512.5"}') == {
        "v": 1,
        "venue": "alltick",
        "symbol": 'HKEX:"00700',
        "code": "700.HK\n",
        "session": 1_789_999_876_543_210,
        "price": "512.5",
    }


def test_a_full_record_escapes_whatever_stands_in_its_fields() -> None:
    head = encode.head("alltick", "700.HK", "700.HK", 7)
    record = encode.full(head, "0.5", {"seq": 'a"b\\c\n\x00é😀', "ts_recv_us": 1})
    assert json.loads(record) == {
        "v": 1,
        "venue": "alltick",
        "symbol": "700.HK",
        "code": "700.HK",
        "session": 7,
        "price": "0.5",
        "seq": 'a"b\\c\n\x00é😀',
        "ts_recv_us": 1,
    }
