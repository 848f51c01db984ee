"""The official dialect: what it writes, and what it makes of whatever it reads."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SettingsError
from bridge.model import WireTick
from bridge.upstream import dialects
from bridge.upstream.dialects import Answer, Ask, BadSymbol, Decoded, Remedy
from bridge.upstream.dialects.alltick import AllTick

DIALECT = AllTick()

#: The examples of docs/alltick.md 2.1 to 2.7.
HEARTBEAT = b'{"ret":200,"msg":"ok","cmd_id":22001,"seq_id":1,"trace":"hb-0001","data":{}}'
SUBSCRIBED = b'{"ret":200,"msg":"ok","cmd_id":22005,"seq_id":2,"trace":"t-0002","data":{}}'
CANCELLED = b'{"ret":200,"msg":"ok","cmd_id":22007,"seq_id":4,"trace":"c-0004","data":{}}'
ERROR = b'{"ret":201,"msg":"header param invalid","cmd_id":0,"seq_id":0,"trace":"","data":{}}'
TICK = (
    b'{"cmd_id":22998,"data":{"code":"700.HK","seq":"1001","tick_time":"1790000000123","price":"512.500000",'
    b'"volume":"300","turnover":"153750.000000","trade_direction":1}}'
)
DEPTH = (
    b'{"cmd_id":22999,"data":{"code":"700.HK","seq":"1002","tick_time":"1790000000456",'
    b'"bids":[{"price":"512.400000","volume":"1200"}],"asks":[{"price":"512.600000","volume":"800"}]}}'
)


def push(**data: Any) -> bytes:
    return json.dumps({"cmd_id": 22998, "data": {"code": "700.HK", "price": "1.0", **data}}).encode()


def one_tick(text: bytes) -> WireTick:
    decoded = DIALECT.decode([text])
    assert (len(decoded.ticks), decoded.bad_ticks, decoded.others) == (1, 0, {})
    return decoded.ticks[0]


def values(tick: WireTick) -> tuple[object, ...]:
    return tick.code, tick.price, tick.volume, tick.turnover, tick.side, tick.seq, tick.time, tick.open_24h


# What it reads: the page's examples


def test_a_tick_is_read_as_it_was_written() -> None:
    tick = one_tick(TICK)
    assert values(tick) == ("700.HK", "512.500000", "300", "153750.000000", 1, "1001", "1790000000123", None)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (HEARTBEAT, Answer("heartbeat", 1, 200, "ok")),
        (SUBSCRIBED, Answer("subscribe", 2, 200, "ok")),
        (CANCELLED, Answer("cancel", 4, 200, "ok")),
        (ERROR, Answer("error", 0, 201, "header param invalid")),
    ],
)
def test_an_answer_says_what_it_answers_and_how(text: bytes, answer: Answer) -> None:
    assert DIALECT.decode([text]).answers == [answer]


@pytest.mark.parametrize("field", ["seq_id", "msg"])
def test_an_answer_without_a_number_or_a_text_still_answers(field: str) -> None:
    for text in (json.dumps({**json.loads(SUBSCRIBED), field: None}), json.dumps({"cmd_id": 22005, "ret": 200})):
        (answer,) = DIALECT.decode([text.encode()]).answers
        assert (answer.kind, answer.ret) == ("subscribe", 200)


def test_a_batch_of_everything_keeps_the_order_of_ticks_and_counts_the_rest() -> None:
    texts = [
        TICK,
        HEARTBEAT,
        push(price=3),
        b"rubbish",
        DEPTH,
        DEPTH,
        push(seq="9"),
        b"[1]",
        b'{"cmd_id":5}',
        SUBSCRIBED,
    ]
    decoded = DIALECT.decode(texts)
    assert [tick.price for tick in decoded.ticks] == ["512.500000", "3", "1.0"]
    assert [answer.kind for answer in decoded.answers] == ["heartbeat", "subscribe"]
    assert decoded.others == {"not_json": 1, "depth": 2, "wrong_type": 1, "unknown": 1}
    assert decoded.bad_ticks == 0


def test_seq_and_time_may_be_strings_or_integers() -> None:
    tick = one_tick(push(seq=1782180168224, tick_time=1782180164000))
    assert (tick.seq, tick.time) == (1782180168224, 1782180164000)


def test_everything_but_code_and_price_may_be_missing() -> None:
    assert values(one_tick(push())) == ("700.HK", "1.0", None, None, None, None, None, None)


@pytest.mark.parametrize("side", [0, 1, 2, "0", "1", "2"])
def test_every_documented_side_has_a_name(side: int | str) -> None:
    assert DIALECT.sides[one_tick(push(trade_direction=side)).side] in ("none", "buy", "sell")


def test_unknown_fields_do_no_harm() -> None:
    tick = one_tick(push(open_24h="500", extra={"a": [1]}, volume="7"))
    assert (tick.price, tick.volume) == ("1.0", "7")


# Numbers keep their literal digits


@pytest.mark.parametrize(
    "digits", ["512.500000", "0.1", "300", "-1.50", "1e5", "1.10E-7", "0", "123456789012345678901234567890.123456789"]
)
@pytest.mark.parametrize("field", ["price", "volume", "turnover"])
def test_a_json_number_keeps_its_digits(field: str, digits: str) -> None:
    text = push(**{"volume": "1", "turnover": "2", field: "@"}).replace(b'"@"', digits.encode())
    assert getattr(one_tick(text), field) == digits


def test_a_tick_may_have_all_its_decimals_as_json_numbers() -> None:
    text = b'{"cmd_id":22998,"data":{"code":"A","price":1.50,"volume":300,"turnover":450.00,"seq":7,"tick_time":8}}'
    assert values(one_tick(text)) == ("A", "1.50", "300", "450.00", None, "7", "8", None)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.booleans())
def test_any_decimal_comes_out_with_the_digits_that_were_sent(number: Decimal, quoted: bool) -> None:
    digits = f"{number:f}"
    text = push(volume="@").replace(b'"@"', f'"{digits}"'.encode() if quoted else digits.encode())
    assert one_tick(text).volume == digits


@pytest.mark.parametrize("odd", [None, True, [], {}])
def test_what_is_optional_and_of_another_type_is_unknown(odd: object) -> None:
    tick = one_tick(push(price=2, volume=odd, turnover=odd, seq=odd, trade_direction=odd))
    assert (tick.volume, tick.turnover, tick.seq, tick.side) == (None, None, None, None)


def test_digits_of_any_kind_stay_as_they_are_where_they_are_optional() -> None:
    tick = one_tick(push(seq=1.50, trade_direction=1.0, tick_time=1790000000.5))
    assert (tick.seq, tick.side, tick.time) == ("1.5", "1.0", "1790000000.5")
    assert one_tick(push(seq="@").replace(b'"@"', b"9" * 5000)).seq == "9" * 5000


@pytest.mark.parametrize("odd", [True, [], {}])
def test_a_time_of_another_type_is_one_that_cannot_be_read(odd: object) -> None:
    assert one_tick(push(tick_time=odd)).time == "?"
    assert one_tick(push(tick_time=None, price=2)).time is None


@pytest.mark.parametrize(
    "text",
    [
        push(price=None),
        push(price=True),
        push(price=[]),
        push(code=5),
        b'{"cmd_id":22998}',
        b'{"cmd_id":22998,"data":[]}',
        b'{"cmd_id":22998,"data":{"code":"A"}}',
        b'{"cmd_id":22998,"data":{"price":"1"}}',
        b'{"cmd_id":22998,"data":{"code":"\xff","price":"1"}}',
        b'{"cmd_id":22998,"data":{"code":"A","price":"\xff"}}',
    ],
)
def test_a_push_without_usable_code_and_price_is_a_bad_tick(text: bytes) -> None:
    decoded = DIALECT.decode([TICK, text, TICK])
    assert (len(decoded.ticks), decoded.bad_ticks, decoded.others) == (2, 1, {})


# It never raises


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"", "not_json"),
        (b"\x00", "not_json"),
        (b"{", "not_json"),
        (b'"\xff"', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"cmd_id":22998,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (b"null", "wrong_type"),
        (b"{}", "wrong_type"),
        (b'{"cmd_id":"22005","ret":200}', "wrong_type"),
        (b'{"cmd_id":22005,"ret":"200"}', "wrong_type"),
        (b'{"cmd_id":123456,"data":{}}', "unknown"),
    ],
)
def test_rubbish_is_counted_by_kind(text: bytes, kind: str) -> None:
    decoded = DIALECT.decode([text])
    assert (decoded.others, list(decoded.ticks), decoded.answers) == ({kind: 1}, [], [])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_data = st.dictionaries(
    st.sampled_from(["code", "price", "seq", "tick_time", "volume", "turnover", "trade_direction", "open_24h"]), _json
)
_message = st.fixed_dictionaries(
    {},
    optional={
        "cmd_id": st.sampled_from([0, 22001, 22005, 22998, 22999]) | _json,
        "seq_id": _json,
        "ret": _json,
        "msg": _json,
        "data": _data | _json,
    },
)


def accounted_for(decoded: Decoded) -> int:
    return len(decoded.ticks) + decoded.bad_ticks + len(decoded.answers) + sum(decoded.others.values())


@given(st.lists(st.binary(max_size=40) | _message.map(lambda one: json.dumps(one).encode()), max_size=5))
def test_every_message_is_accounted_for_whatever_it_is(texts: list[bytes]) -> None:
    assert accounted_for(DIALECT.decode(texts)) == len(texts)


@given(
    st.sampled_from([TICK, SUBSCRIBED, ERROR, push(price=1.5, volume=3, open_24h="2")]),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=2)), min_size=1, max_size=4),
)
def test_a_damaged_message_is_accounted_for_too(text: bytes, damage: list[tuple[int, bytes]]) -> None:
    for place, new in damage:
        text = text[:place] + new + text[place + 1 :]
    decoded = DIALECT.decode([text])
    assert accounted_for(decoded) == 1
    assert all(isinstance(tick.code, str) and isinstance(tick.price, str) for tick in decoded.ticks)


# What it writes


def test_the_requests_are_those_of_the_sheet() -> None:
    assert json.loads(DIALECT.heartbeat(1, "hb-0001")) == {
        "cmd_id": 22000, "seq_id": 1, "trace": "hb-0001", "data": {},
    }  # fmt: skip
    assert json.loads(DIALECT.encode(Ask("subscribe", ("700.HK", "AAPL.US")), 2, "t-0002")) == {
        "cmd_id": 22004, "seq_id": 2, "trace": "t-0002",
        "data": {"symbol_list": [{"code": "700.HK"}, {"code": "AAPL.US"}]},
    }  # fmt: skip
    assert json.loads(DIALECT.encode(Ask("cancel", ()), 4, "c-0004")) == {
        "cmd_id": 22006, "seq_id": 4, "trace": "c-0004", "data": {"cancel_type": 2},
    }  # fmt: skip


def test_a_list_is_asked_for_whole_and_an_empty_one_is_a_cancel() -> None:
    assert DIALECT.asks(["A"], ["A", "B"]) == (Ask("subscribe", ("A", "B")),)
    assert DIALECT.asks(["A"], []) == (Ask("cancel", ()),)
    assert DIALECT.asks([], []) == ()


@given(st.text(min_size=1), st.sampled_from(["wss://h.example/p", "wss://h.example:1/p?a=b", "ws://[::1]:8/?x=%20"]))
def test_the_address_carries_the_token_percent_encoded_and_leaves_the_rest_alone(token: str, url: str) -> None:
    address = DIALECT.address(url, token)
    assert address.isascii()
    assert not set(" \t\r\n#") & set(address)
    query = urlsplit(address).query
    assert parse_qs(query)["token"] == [token]
    assert address.removesuffix(query).rstrip("?") == url.removesuffix(urlsplit(url).query).rstrip("?")
    assert query.startswith(urlsplit(url).query)


def test_a_token_with_every_awkward_sign_survives() -> None:
    assert DIALECT.address("wss://h/p", "a+b/c=&d#e f").endswith("?token=a%2Bb%2Fc%3D%26d%23e%20f")


def test_each_market_has_its_own_address() -> None:
    assert DIALECT.default_url("stock") == "wss://quote.alltick.co/quote-stock-b-ws-api"
    assert DIALECT.default_url("other") == "wss://quote.alltick.co/quote-b-ws-api"


# How it spells


@pytest.mark.parametrize(
    ("symbol", "code"),
    [
        ("NASDAQ:AAPL", "AAPL.US"),
        ("NYSE:BRK.B", "BRK.B.US"),
        ("HKEX:00700", "700.HK"),
        ("HKEX:9988", "9988.HK"),
        ("SSE:600519", "600519.SH"),
        ("SZSE:000001", "000001.SZ"),
        ("700.HK", "700.HK"),
        (".DJI.US", ".DJI.US"),
        ("BTCUSDT", "BTCUSDT"),
        ("Silver", "Silver"),
    ],
)
def test_a_symbol_is_spelled_as_the_venue_does(symbol: str, code: str) -> None:
    assert DIALECT.code(symbol) == code


@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT", "nasdaq:AAPL", "NASDAQ:", "HKEX:000", ":AAPL"])
def test_a_symbol_that_the_venue_cannot_have_is_refused_with_a_reason(symbol: str) -> None:
    with pytest.raises(BadSymbol, match=r"ticker|it has AMEX, ARCA"):
        DIALECT.code(symbol)


@pytest.mark.parametrize(
    ("code", "market"),
    [
        ("AAPL.US", "stock"),
        ("700.HK", "stock"),
        ("600519.SH", "stock"),
        ("399001.SZ", "stock"),
        (".DJI.US", "stock"),
        ("HSI.HK", "stock"),
        ("BTCUSDT", "other"),
        ("EURUSD", "other"),
        ("GOLD", None),
        ("Silver", None),
        ("NAS100", None),
        ("700.HK.X", None),
    ],
)
def test_the_endpoint_of_a_code_is_told_only_where_it_plainly_shows(code: str, market: str | None) -> None:
    assert DIALECT.market(code) == market


@pytest.mark.parametrize(
    ("rets", "remedy"),
    [
        ((600, 604, 601), Remedy.NARROW),
        ((603,), Remedy.SHRINK),
        ((429, 605, 606, 999, -1), Remedy.SLOW),
        ((401, 403), Remedy.TOKEN),
        ((400, 402, 201, 202), Remedy.BUG),
    ],
)
def test_every_error_has_a_remedy(rets: tuple[int, ...], remedy: Remedy) -> None:
    assert {DIALECT.remedy(ret) for ret in rets} == {remedy}


# How it is found


def test_the_dialect_is_found_by_its_name() -> None:
    assert isinstance(dialects.get("alltick"), AllTick)


def test_an_unknown_name_is_the_operators_mistake_and_says_which_there_are() -> None:
    with pytest.raises(SettingsError, match=r"no such dialect.*alltick"):
        dialects.get("nonsense")
