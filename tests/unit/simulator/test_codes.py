"""Codes: spelling, endpoints, generated lists, open and closed universes."""

import pytest

from bridge.simulator.codes import Universe, endpoint_of, generate


@pytest.mark.parametrize(
    "code",
    ["700.HK", "9988.HK", "5.HK", "HSI.HK", "AAPL.US", "BRK.B.US", ".DJI.US", "600519.SH", "000001.SZ", "399001.SZ"],
)
def test_stocks_and_indices_belong_to_the_stock_endpoint(code: str) -> None:
    assert endpoint_of(code) == "stock"


@pytest.mark.parametrize("code", ["BTCUSDT", "EURUSD", "GOLD", "Silver", "SILVER", "Nickel", "NAS100", "USOIL"])
def test_everything_else_belongs_to_the_other_endpoint(code: str) -> None:
    assert endpoint_of(code) == "other"


@pytest.mark.parametrize(
    "code",
    ["00700.HK", "0.HK", "700.hk", "aapl.US", "60051.SH", "600519.XX", "NICKEL", "gold", "HK-1288", "A.B", "", "GOLD "],
)
def test_malformed_codes_belong_nowhere(code: str) -> None:
    assert endpoint_of(code) is None


def test_generated_codes_are_distinct_wellformed_and_stable() -> None:
    codes = generate(3000)
    assert len(set(codes)) == 3000
    assert {endpoint_of(code) for code in codes} == {"stock"}
    assert codes[:40] == generate(40)


def test_an_open_universe_holds_every_wellformed_code_on_its_own_endpoint() -> None:
    universe = Universe(None)
    assert universe.holds("700.HK", "stock")
    assert not universe.holds("700.HK", "other")
    assert not universe.holds("00700.HK", "stock")
    assert universe.listed == ()


def test_a_closed_universe_holds_what_it_was_given() -> None:
    universe = Universe(("700.HK", "BTCUSDT", "odd code"))
    assert universe.holds("700.HK", "stock")
    assert not universe.holds("700.HK", "other")
    assert not universe.holds("AAPL.US", "stock")
    assert universe.holds("odd code", "stock")
    assert universe.holds("odd code", "other")


def test_a_number_makes_a_universe_of_that_size() -> None:
    assert Universe(7).listed == generate(7)
