"""The market: deterministic walks, contiguous seq, turns."""

from decimal import Decimal

from bridge.simulator.market import Market, Walk, decimal


def test_the_same_seed_and_code_walk_the_same_way() -> None:
    first, second, other = Walk(1, "700.HK"), Walk(1, "700.HK"), Walk(2, "700.HK")
    prices = [first.tick(0).price for _ in range(50)]
    assert prices == [second.tick(0).price for _ in range(50)]
    assert prices != [other.tick(0).price for _ in range(50)]
    assert len(set(prices)) > 10


def test_seq_is_contiguous_per_code_from_one() -> None:
    market = Market(1, ("A", "B", "C"))
    ticks = market.ticks(7, 0) + market.ticks(2, 0)
    assert [tick.seq for tick in ticks if tick.code == "A"] == [1, 2, 3]
    assert [market.last_seq(code) for code in ("A", "B", "C", "D")] == [3, 3, 3, 0]


def test_codes_take_turns_and_a_learnt_code_joins_them() -> None:
    market = Market(1, ("A", "B"))
    assert [tick.code for tick in market.ticks(3, 0)] == ["A", "B", "A"]
    market.learn("C")
    market.learn("A")
    assert sorted(tick.code for tick in market.ticks(3, 0)) == ["A", "B", "C"]
    assert market.codes == ("A", "B", "C")


def test_nothing_happens_where_no_code_is_known() -> None:
    assert Market(1, ()).ticks(10, 0) == []


def test_prices_stay_positive_and_turnover_is_price_times_volume() -> None:
    walk = Walk(7, "BTCUSDT")
    ticks = [walk.tick(5) for _ in range(5000)]
    assert all(Decimal(tick.price) > 0 for tick in ticks)
    assert all(Decimal(tick.turnover) == Decimal(tick.price) * Decimal(tick.volume) for tick in ticks)
    assert {tick.trade_direction for tick in ticks} == {0, 1, 2}
    assert {tick.tick_time for tick in ticks} == {5}


def test_decimals_keep_six_digits() -> None:
    assert [decimal(512_500_000), decimal(1), decimal(10**6)] == ["512.500000", "0.000001", "1.000000"]
