"""Control records: what is usable, what is refused and by which word, and that the schema says the same."""

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bridge.control import records
from bridge.errors import BadRecord
from bridge.model import Subscription
from tests.unit.test_schemas import accepts


def refused(key: bytes | None, value: bytes | None) -> str:
    with pytest.raises(BadRecord) as caught:
        records.decode(key, value)
    assert caught.value.detail
    assert caught.value.detail.isprintable()
    return caught.value.reason


def test_an_empty_object_is_a_subscription_with_every_default() -> None:
    assert records.decode(b"AAPL.US", b"{}") == Subscription("AAPL.US")


def test_every_field_is_read() -> None:
    value = b'{"code":"700.HK","priority":-3,"stale_after_s":1.5,"enabled":false,"owner":"desk","note":"\xc3\xa9"}'
    assert records.decode(b"HKEX:00700", value) == Subscription(
        "HKEX:00700", code="700.HK", priority=-3, stale_after_s=1.5, enabled=False, owner="desk", note="é"
    )


def test_no_value_is_a_tombstone() -> None:
    assert records.decode(b"AAPL.US", None) is None


def test_a_record_under_a_bad_symbol_can_be_withdrawn() -> None:
    assert records.decode(b"two words", None) is None


@pytest.mark.parametrize("value", [b"{}", None])
def test_without_a_key_it_is_nobodys_record(value: bytes | None) -> None:
    assert refused(None, value) == "no_key"


@pytest.mark.parametrize("value", [b"{}", None])
def test_a_key_that_is_no_text_is_refused(value: bytes | None) -> None:
    assert refused(b"AAPL\xff", value) == "key_not_utf8"


@pytest.mark.parametrize(
    "symbol",
    [
        "700.HK",
        "AAPL.US",
        "BTCUSDT",
        ".DJI.US",
        "Silver",
        "600519.SH",
        "BRK-B.US",
        "NASDAQ:AAPL",
        "HKEX:00700",
        "SSE:600519",
        "BTC-USDT",
        "BTC_USDT",
        "BTC/USD",
        "^GSPC",
        "GC=F",
        "X:BTCUSD",
        "5",
    ],
)
def test_what_venues_write_is_a_symbol_and_a_code(symbol: str) -> None:
    assert records.decode(symbol.encode(), json.dumps({"code": symbol}).encode()) == Subscription(symbol, code=symbol)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "AAPL ",
        " AAPL",
        "AA PL",
        "AAPL\n",
        "AAPL\t",
        "AAPL\xa0",
        "AAPL\x00",
        "AAPL\x1b[2J",
        "A" * 65,
        "A:B:C",
        ":AAPL",
        "NASDAQ:",
        ":",
        ".",
        "-",
        "ÅÄÖ",
        chr(0xFF21),
        "AAPL,MSFT",
        '"AAPL"',
        "<b>",
        "AAPL;",
        "{}",
        "AAPL\u200b",
    ],
)
def test_what_is_no_spelling_is_neither_a_symbol_nor_a_code(text: str) -> None:
    assert refused(text.encode(), b"{}") == "bad_symbol"
    assert refused(b"AAPL.US", json.dumps({"code": text}).encode()) == "bad_code"


@pytest.mark.parametrize(
    ("text", "said"),
    [("AAPL ", "'AAPL ' holds white space; write it without"), ("", "empty"), ("A" * 65, "65 characters; 64 may be")],
)
def test_the_detail_says_what_to_do(text: str, said: str) -> None:
    with pytest.raises(BadRecord) as caught:
        records.decode(text.encode(), b"{}")
    assert said in caught.value.detail


def test_64_characters_are_a_symbol() -> None:
    assert records.decode(b"A" * 64, b"{}") == Subscription("A" * 64)


def test_64_kib_of_key_and_value_are_read_and_one_byte_more_is_not() -> None:
    room = records.MAX_BYTES - len(b"AAPL.US") - len(b'{"note":""}')
    assert records.decode(b"AAPL.US", b'{"note":"%s"}' % (b"x" * room)) is not None
    assert refused(b"AAPL.US", b'{"note":"%s"}' % (b"x" * (room + 1))) == "too_large"


def test_a_key_that_is_longer_than_any_symbol_is_nobodys() -> None:
    assert refused(b"A" * 1025, b"{}") == "key_too_long"
    assert refused(b"A" * 1024, b"{}") == "bad_symbol"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"{]",
        b"nope",
        b"{'a':1}",
        b'{"a":1,}',
        b"{} {}",
        b'{"a":NaN}',
        b'{"priority":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"stale_after_s":Infinity}',
        b'{"note":"\xff"}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"note":"a\x00b"}',
        b'{"note":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"priority":+1}',
        b'{"priority":01}',
        b'{"a":' + b"[" * 60000,
        b"[" * 60000,
        b"\x00" * 10,
    ],
)
def test_what_is_no_json_is_refused(value: bytes) -> None:
    assert refused(b"AAPL.US", value) == "not_json"


@pytest.mark.parametrize("value", [b"null", b"[]", b'[{"priority":1}]', b"1", b'"AAPL.US"', b"true", b"1e400"])
def test_json_that_is_no_object_is_refused(value: bytes) -> None:
    assert refused(b"AAPL.US", value) == "not_an_object"


@pytest.mark.parametrize(
    "value",
    [b'{"priority":1,"priority":2}', b'{"x":1,"x":1}', b'{"x":{"y":1,"y":2}}', b'{"code":"A","c\\u006fde":"B"}'],
)
def test_a_field_given_twice_is_refused(value: bytes) -> None:
    assert refused(b"AAPL.US", value) == "duplicate_field"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("code", (None, 1, True, [], {}, 1.5)),
        ("owner", (None, 1, True, [], {}, 1.5)),
        ("note", (None, 1, True, [], {}, 1.5)),
        ("priority", (None, "1", True, False, [], {}, 1.5)),
        ("stale_after_s", (None, "1", True, [], {})),
        ("enabled", (None, "true", 1, 0, [], {})),
    ],
)
def test_a_field_of_a_wrong_type_is_refused(name: str, values: tuple[object, ...]) -> None:
    for value in values:
        assert refused(b"AAPL.US", json.dumps({name: value}).encode()) == "wrong_type"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"priority": "high"}, "priority must be a whole number, not text"),
        ({"priority": True}, "priority must be a whole number, not true or false"),
        ({"stale_after_s": [60]}, "stale_after_s must be a number, not a list"),
        ({"enabled": 1}, "enabled must be true or false, not a number"),
        ({"enabled": 0.5}, "enabled must be true or false, not a number"),
        ({"code": None}, "code must be text, not null"),
        ({"owner": {}}, "owner must be text, not an object"),
        ({"note": 7}, "note must be text, not a number"),
    ],
)
def test_a_wrong_type_is_told_by_what_the_field_takes(value: dict[str, object], said: str) -> None:
    with pytest.raises(BadRecord) as caught:
        records.decode(b"AAPL.US", json.dumps(value).encode())
    assert caught.value.detail == said


def test_a_number_that_is_too_large_is_told_without_the_library_s_marks() -> None:
    with pytest.raises(BadRecord) as caught:
        records.decode(b"AAPL.US", b'{"stale_after_s":1e400}')
    assert caught.value.detail == "stale_after_s: number out of range"


def test_one_bad_field_spoils_the_record() -> None:
    assert refused(b"AAPL.US", b'{"priority":5,"enabled":"no"}') == "wrong_type"


@pytest.mark.parametrize(
    "value",
    [
        b'{"stale_after_s":0}',
        b'{"stale_after_s":-0.0}',
        b'{"stale_after_s":-60}',
        b'{"priority":2147483648}',
        b'{"priority":-2147483649}',
        b'{"priority":1e300}',
    ],
)
def test_a_number_that_the_field_cannot_hold_is_refused(value: bytes) -> None:
    assert refused(b"AAPL.US", value) == "out_of_range"


@pytest.mark.parametrize("value", [b'{"stale_after_s":1e400}', b'{"stale_after_s":1%s}' % (b"0" * 400)])
def test_a_number_that_is_not_finite_is_refused(value: bytes) -> None:
    assert refused(b"AAPL.US", value) == "out_of_range"


@pytest.mark.parametrize("value", [b'{"note":"\\ud800"}', b'{"\\uDFFFx":1}'])
def test_half_of_a_surrogate_pair_is_called_that(value: bytes) -> None:
    with pytest.raises(BadRecord, match="half of a surrogate pair"):
        records.decode(b"AAPL.US", value)


@pytest.mark.parametrize(("value", "priority"), [(b'{"priority":5.0}', 5), (b'{"priority":-2147483648}', -(2**31))])
def test_a_whole_number_is_a_priority(value: bytes, priority: int) -> None:
    assert records.decode(b"AAPL.US", value) == Subscription("AAPL.US", priority=priority)


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        (b'{"prio":5}', "unknown field 'prio'"),
        (b'{"":1}', "unknown field ''"),
        (b'{"\\u001b[2J":1}', "unknown field '\\x1b[2J'"),
        (b'{"\xc3\xa9":1}', "unknown field '\\xe9'"),
        (b'{"x":1e400}', "unknown field 'x'"),
        (b'{"x":1%s}' % (b"0" * 9000), "unknown field 'x'"),
        (b'{"Priority":"high"}', "unknown field 'Priority'"),
    ],
)
def test_an_unknown_field_does_no_harm_and_is_named(value: bytes, warning: str) -> None:
    assert records.decode(b"AAPL.US", value) == Subscription("AAPL.US", warnings=(warning,))


def test_warnings_are_bounded_in_number_and_length() -> None:
    value = json.dumps({f"{number}{'x' * 500}": number for number in range(60)}).encode()
    subscription = records.decode(b"AAPL.US", value)
    assert subscription is not None
    assert len(subscription.warnings) == records.MAX_WARNINGS
    assert all(len(warning) < 100 for warning in subscription.warnings)


def test_defaults_are_left_out_when_written() -> None:
    assert records.encode(Subscription("AAPL.US")) == (b"AAPL.US", b"{}")
    assert records.encode(Subscription("A", warnings=("unknown field 'x'",), priority=0, enabled=True)) == (b"A", b"{}")


def test_everything_else_is_written() -> None:
    whole = Subscription("A", code="B", priority=1, stale_after_s=60, enabled=False, owner="", note="n")
    assert json.loads(records.encode(whole)[1]) == {
        "code": "B",
        "priority": 1,
        "stale_after_s": 60,
        "enabled": False,
        "owner": "",
        "note": "n",
    }


SPELLINGS = st.from_regex(r"\A[A-Z0-9.]{0,5}[A-Z0-9](:[A-Z0-9]{1,5})?\Z")
SUBSCRIPTIONS = st.builds(
    Subscription,
    symbol=SPELLINGS,
    code=st.none() | SPELLINGS,
    priority=st.integers(records.MIN_PRIORITY, records.MAX_PRIORITY),
    stale_after_s=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    enabled=st.booleans(),
    owner=st.none() | st.text(max_size=20),
    note=st.none() | st.text(max_size=20),
    warnings=st.just(()),
)


@given(SUBSCRIPTIONS)
def test_what_is_written_is_read_back_and_fits_the_schema(subscription: Subscription) -> None:
    key, value = records.encode(subscription)
    assert records.decode(key, value) == subscription
    assert accepts("control", json.loads(value))


@given(st.none() | st.binary(max_size=30), st.none() | st.binary(max_size=60))
def test_no_bytes_do_anything_but_decode_or_be_refused(key: bytes | None, value: bytes | None) -> None:
    try:
        records.decode(key, value)
    except BadRecord as error:
        assert error.reason  # noqa: PT017  either outcome is fine; any other exception is not


NUMBERS = st.integers(-(2**33), 2**33) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=8) | st.text("AZaz09._=^/-: \n", max_size=8) | SPELLINGS
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def fields(likely: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return likely | JSON


VALUES = JSON | st.fixed_dictionaries(
    {},
    optional={
        "code": fields(TEXTS),
        "priority": fields(NUMBERS),
        "stale_after_s": fields(NUMBERS),
        "enabled": fields(st.booleans()),
        "owner": fields(TEXTS),
        "note": fields(TEXTS),
        "else": JSON,
    },
)


@given(VALUES)
@example({"code": "AAPL.US\n"})
@example({"priority": 2**31})
@example({"priority": 5.0})
@example({"priority": True})
@example({"stale_after_s": 5e-324})
def test_the_schema_accepts_exactly_what_is_decoded(value: object) -> None:
    encoded = json.dumps(value).encode()
    assume(len(encoded) < records.MAX_BYTES)
    try:
        records.decode(b"AAPL.US", encoded)
        decoded = True
    except BadRecord:
        decoded = False
    assert accepts("control", value) == decoded
