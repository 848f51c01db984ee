"""The dialect by itself, and in conversation with the fake."""

from __future__ import annotations

import json

import pytest
from tickbridge_binance import Binance
from tickbridge_binance.fake import Fake
from websockets.sync.client import connect

from bridge.upstream import dialects
from bridge.upstream.dialects import Answer, Ask, BadSymbol

BINANCE = Binance()
TRADE = b'{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"97000.01000000","q":"0.5","T":1790000000123,"m":true,"M":true}'


def test_it_is_found_by_its_name() -> None:
    assert isinstance(dialects.get("binance"), Binance)


def test_a_request_names_streams_and_carries_its_number() -> None:
    request = json.loads(BINANCE.encode(Ask("subscribe", ("BTCUSDT", "ETHUSDT")), 3, "7-3"))
    assert request == {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "ethusdt@trade"], "id": 3}


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BINANCE:BTCUSDT"])
def test_a_pair_may_name_its_exchange(symbol: str) -> None:
    assert BINANCE.code(symbol) == "BTCUSDT"


@pytest.mark.parametrize("symbol", ["btcusdt", "NASDAQ:AAPL", "BTC-USDT", ""])
def test_what_is_no_pair_is_told_what_one_looks_like(symbol: str) -> None:
    with pytest.raises(BadSymbol, match="BTCUSDT"):
        BINANCE.code(symbol)


def test_a_trade_is_a_tick_with_the_digits_of_the_venue() -> None:
    (tick,) = BINANCE.decode([TRADE]).ticks
    assert (tick.code, tick.price, tick.volume, tick.seq, tick.time) == (
        "BTCUSDT", "97000.01000000", "0.5", 7, 1_790_000_000_123,
    )  # fmt: skip
    assert BINANCE.sides[tick.side] == "sell"


def test_answers_and_everything_else_are_told_apart() -> None:
    decoded = BINANCE.decode(
        [
            b'{"result":null,"id":1}',
            b'{"error":{"code":2,"msg":"Invalid request"},"id":2}',
            b'{"code":0,"msg":"Unknown property"}',
            b'{"e":"kline","s":"BTCUSDT"}',
            b'{"e":"trade","s":"BTCUSDT"}',
            b"nonsense",
        ]
    )
    assert decoded.answers == [
        Answer("error", 1, 200, ""),
        Answer("error", 2, 2, "Invalid request"),
        Answer("error", 0, 0, ""),
    ]
    assert (decoded.others, decoded.bad_ticks) == ({"kline": 1, "not_json": 1}, 1)


def test_the_fake_understands_what_the_dialect_writes() -> None:
    with Fake() as fake, connect(fake.url) as connection:
        connection.send(BINANCE.encode(Ask("subscribe", ("BTCUSDT",)), 1, "t"))
        assert BINANCE.decode([connection.recv(5, decode=False)]).answers == [Answer("error", 1, 200, "")]
        fake.trade("BTCUSDT", "97000.01")
        assert [tick.price for tick in BINANCE.decode([connection.recv(5, decode=False)]).ticks] == ["97000.01"]
        connection.send(BINANCE.encode(Ask("unsubscribe", ("BTCUSDT",)), 2, "t"))
        assert BINANCE.decode([connection.recv(5, decode=False)]).answers == [Answer("error", 2, 200, "")]
        assert fake.pairs == set()
