"""The two dialects that add and take away: what they write, and what they make of whatever they read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SettingsError
from bridge.upstream import dialects
from bridge.upstream.dialects import Answer, Ask, BadSymbol, Decoded, Dialect, Remedy
from bridge.upstream.dialects.action_code import ActionCode
from bridge.upstream.dialects.action_symbols import ActionSymbols

CODE, SYMBOLS = ActionCode(), ActionSymbols()
both = pytest.mark.parametrize("dialect", [CODE, SYMBOLS], ids=lambda dialect: dialect.name)


def decode(dialect: Dialect, *messages: object) -> Decoded:
    return dialect.decode([one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages])


def fields(decoded: Decoded) -> list[tuple[str, str, int | str | None, str | None]]:
    return [(tick.code, tick.price, tick.time, tick.open_24h) for tick in decoded.ticks]


# Requests


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
def test_a_request_is_written_as_each_venue_wants_it(kind: Any) -> None:
    ask = Ask(kind, ("NASDAQ:AAPL", "HKEX:00700"))
    assert json.loads(CODE.encode(ask, 1, "t")) == {
        "cmd_id": 22004,
        "action": kind,
        "code": ["NASDAQ:AAPL", "HKEX:00700"],
    }
    ask = Ask(kind, ("AAPL", "00700.HK"))
    assert json.loads(SYMBOLS.encode(ask, 1, "t")) == {"action": kind, "symbols": ["AAPL", "00700.HK"]}


@both
def test_only_differences_are_asked_for_and_what_goes_goes_first(dialect: Dialect) -> None:
    assert dialect.asks({"A", "B", "C"}, ["B", "D", "E"]) == (
        Ask("unsubscribe", ("A", "C")),
        Ask("subscribe", ("D", "E")),
    )
    assert dialect.asks({"A"}, ["A"]) == ()
    assert dialect.asks({"A"}, []) == (Ask("unsubscribe", ("A",)),)


@both
@given(held=st.sets(st.integers(0, 99)), wanted=st.lists(st.integers(0, 99), unique=True))
def test_requests_have_at_most_twenty_codes_and_together_lead_to_the_target(
    dialect: Dialect, held: set[int], wanted: list[int]
) -> None:
    before, target = {f"C{number}" for number in held}, [f"C{number}" for number in wanted]
    asks = dialect.asks(before, target)
    gone = [code for ask in asks if ask.kind == "unsubscribe" for code in ask.codes]
    come = [code for ask in asks if ask.kind == "subscribe" for code in ask.codes]
    assert set(gone) == before - set(target)
    assert come == [code for code in target if code not in before]
    assert len(asks) == -(-len(gone) // 20) + -(-len(come) // 20)
    assert all(1 <= len(ask.codes) <= 20 for ask in asks)


@both
def test_a_heartbeat_is_a_ping_that_carries_its_trace(dialect: Dialect) -> None:
    assert dialect.heartbeat(3, "7-3") == b"7-3"


@both
def test_the_token_goes_into_the_query_where_there_is_one(dialect: Dialect) -> None:
    assert dialect.address("wss://a.example/ws", "") == "wss://a.example/ws"
    assert dialect.address("wss://a.example/ws?x=1", "a&b") == "wss://a.example/ws?x=1&token=a%26b"


@both
def test_without_an_address_of_its_own_it_says_which_setting_lacks(dialect: Dialect) -> None:
    with pytest.raises(SettingsError, match="UPSTREAM__URL"):
        dialect.default_url("stock")


# Symbols


def test_action_code_takes_symbols_as_they_stand() -> None:
    assert CODE.code("NASDAQ:AAPL") == "NASDAQ:AAPL"
    assert CODE.code("HKEX:00700") == "HKEX:00700"


@pytest.mark.parametrize("symbol", ["AAPL", "700.HK", ":AAPL", "NASDAQ:", "A:B:C", "NASDAQ: AAPL"])
def test_action_code_names_the_form_that_it_needs(symbol: str) -> None:
    with pytest.raises(BadSymbol, match="EXCHANGE:TICKER"):
        CODE.code(symbol)


@pytest.mark.parametrize(
    ("symbol", "code"),
    [
        ("HKEX:00700", "00700.HK"),
        ("HKEX:700", "00700.HK"),
        ("HKEX:80700", "80700.HK"),
        ("HKEX:HSI", "HSI.HK"),
        ("NASDAQ:AAPL", "AAPL"),
        ("NYSE:BRK.B", "BRK.B"),
        ("SSE:600519", "600519.SH"),
        ("SZSE:000001", "000001.SZ"),
        ("AAPL", "AAPL"),
        ("00700.HK", "00700.HK"),
    ],
)
def test_action_symbols_translates(symbol: str, code: str) -> None:
    assert SYMBOLS.code(symbol) == code


@pytest.mark.parametrize("symbol", ["LSE:VOD", "HKEX:000", "NASDAQ:"])
def test_action_symbols_says_what_it_cannot_translate(symbol: str) -> None:
    with pytest.raises(BadSymbol):
        SYMBOLS.code(symbol)


ALLTICK = dialects.get("alltick")
_american = st.from_regex(r"[A-Z]{1,5}(\.[AB])?", fullmatch=True)
_listings = st.one_of(
    st.tuples(st.sampled_from(["NASDAQ", "NYSE", "AMEX"]), _american),
    st.tuples(st.just("HKEX"), st.integers(1, 99_999).map("{:05d}".format)),
    st.tuples(st.sampled_from(["SSE", "SZSE"]), st.from_regex(r"[0-9]{6}", fullmatch=True)),
)


def read_back(code: str) -> tuple[str, str]:
    """Read market and ticker from a code of any of the three venues, as a person would."""
    if ":" in code:
        exchange, ticker = code.split(":")
        return {"HKEX": "HK", "SSE": "SH", "SZSE": "SZ"}.get(exchange, "US"), ticker
    ticker, _, market = code.rpartition(".")
    if market == "HK":
        return market, ticker.zfill(5)
    return (market, ticker) if market in ("US", "SH", "SZ") else ("US", code)


@given(_listings)
def test_a_symbol_can_be_read_back_from_the_code_of_every_dialect(listing: tuple[str, str]) -> None:
    exchange, ticker = listing
    market = {"HKEX": "HK", "SSE": "SH", "SZSE": "SZ"}.get(exchange, "US")
    for dialect in (ALLTICK, CODE, SYMBOLS):
        assert read_back(dialect.code(f"{exchange}:{ticker}")) == (market, ticker)


@given(_listings)
def test_a_code_is_its_own_spelling(listing: tuple[str, str]) -> None:
    for dialect in (ALLTICK, CODE, SYMBOLS):
        code = dialect.code(":".join(listing))
        assert dialect.code(code) == code


# Pushes


def test_a_push_has_the_digits_that_the_venue_wrote_in_numbers_and_in_strings() -> None:
    texts = b'{"code":"N:A","price":%s,"open_24h":%s,"more":[1]}'
    decoded = CODE.decode([texts % (b'"1.500"', b'"1.0"'), texts % (b"1.500", b"1e0"), texts % (b"0.10", b"null")])
    assert fields(decoded) == [
        ("N:A", "1.500", None, "1.0"),
        ("N:A", "1.500", None, "1e0"),
        ("N:A", "0.10", None, None),
    ]
    decoded = SYMBOLS.decode([b'{"symbol":"AAPL","price":1.500,"time":1790000000123}'])
    assert fields(decoded) == [("AAPL", "1.500", "1790000000123", None)]


@pytest.mark.parametrize(
    ("time", "read"),
    [
        (1_790_000_000, "1790000000"),
        ("1790000000123", "1790000000123"),
        ("2026-09-21T14:13:20Z", "2026-09-21T14:13:20Z"),
        (None, None),
        ([1], "?"),
        (True, "?"),
    ],
)
def test_a_time_is_handed_on_as_it_stands_and_one_of_another_type_is_no_time(time: object, read: str | None) -> None:
    assert fields(decode(SYMBOLS, {"symbol": "A", "price": "1", "time": time})) == [("A", "1", read, None)]


@both
@pytest.mark.parametrize("code", [None, 5, ["A"]])
@pytest.mark.parametrize("price", [None, True, {}, [], ""])
def test_a_push_that_is_no_use_is_counted_as_one(dialect: Dialect, code: object, price: object) -> None:
    name = "code" if dialect is CODE else "symbol"
    decoded = decode(dialect, {name: "A", "price": price}, {name: code, "price": "1"}, {"price": "1"})
    assert (decoded.bad_ticks, decoded.others, list(decoded.ticks)) == (3, {}, [])


# Answers


def test_answers_of_action_code_are_read() -> None:
    decoded = decode(
        CODE,
        {"cmd_id": 22005, "action": "subscribe", "ret": 200, "msg": "ok", "code": ["N:A", "N:B"]},
        {"cmd_id": 22005, "action": "unsubscribe", "ret": 600, "msg": "no", "code": "N:X"},
        {"ret": 401, "msg": None},
    )
    assert decoded.answers == [
        Answer("subscribe", 0, 200, "ok", ("N:A", "N:B")),
        Answer("unsubscribe", 0, 600, "no", ("N:X",)),
        Answer("error", 0, 401, ""),
    ]


def test_answers_of_action_symbols_are_read_and_have_the_official_numbers() -> None:
    decoded = decode(
        SYMBOLS,
        {"action": "subscribe", "status": "ok", "symbols": ["A"]},
        {"action": "subscribe", "status": "error", "message": "unknown symbol", "symbols": ["X"]},
        {"action": "subscribe", "status": "error", "message": "try later"},
    )
    assert decoded.answers == [
        Answer("subscribe", 0, 200, "", ("A",)),
        Answer("subscribe", 0, 600, "unknown symbol", ("X",)),
        Answer("subscribe", 0, 605, "try later"),
    ]
    assert [SYMBOLS.remedy(answer.ret) for answer in decoded.answers[1:]] == [Remedy.NARROW, Remedy.SLOW]


# Rubbish


@both
def test_whatever_is_neither_is_counted_by_kind(dialect: Dialect) -> None:
    decoded = decode(
        dialect, b"nonsense", b"\xff", b"[" * 100_000, {}, {"hello": 1}, [], 5, {"price": "1", "action": 5}
    )
    assert (decoded.others, decoded.bad_ticks, decoded.answers) == (
        {"not_json": 3, "unknown": 2, "wrong_type": 3},
        0,
        [],
    )


_names = st.sampled_from(["code", "symbol", "price", "time", "open_24h", "action", "ret", "status", "symbols", "msg"])
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
_texts = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(_names, _values, max_size=6).map(lambda message: json.dumps(message).encode()),
)


@both
@given(texts=st.lists(_texts, max_size=6))
def test_no_text_makes_a_dialect_raise_and_each_is_counted_once(dialect: Dialect, texts: list[bytes]) -> None:
    decoded = dialect.decode(texts)
    counted = len(decoded.ticks) + decoded.bad_ticks + len(decoded.answers) + sum(decoded.others.values())
    assert counted == len(texts)
