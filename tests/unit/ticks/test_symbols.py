"""Routes follow what is desired; what a route knows lasts as long as its symbol is desired."""

import json

from bridge.ticks.symbols import Symbols


def symbols(**desired: str) -> Symbols:
    found = Symbols("alltick")
    found.desire(desired)
    return found


def test_a_desired_code_has_a_route_to_its_symbol() -> None:
    route = symbols(AAPL="NASDAQ:AAPL").routes["AAPL"]
    assert (route.symbol, route.code, route.key) == ("NASDAQ:AAPL", "AAPL", b"NASDAQ:AAPL")


def test_a_route_begins_without_a_tick() -> None:
    route = symbols(AAPL="AAPL").routes["AAPL"]
    assert (route.last_us, route.price) == (0, "")


def test_a_code_that_is_desired_no_more_has_no_route() -> None:
    found = symbols(A="A", B="B")
    found.desire({"B": "B"})
    assert list(found.routes) == ["B"]


def test_a_route_stays_what_it_is_while_its_symbol_is_desired() -> None:
    found = symbols(A="A", B="B")
    before = found.routes["A"]
    found.desire({"A": "A", "C": "C"})
    assert found.routes["A"] is before


def test_a_symbol_that_comes_back_begins_anew() -> None:
    found = symbols(A="A")
    before = found.routes["A"]
    found.desire({})
    found.desire({"A": "A"})
    assert found.routes["A"] is not before
    assert found.routes["A"].window is not before.window


def test_a_code_that_goes_to_another_symbol_begins_anew() -> None:
    found = symbols(A="A")
    before = found.routes["A"]
    found.desire({"A": "NASDAQ:A"})
    assert found.routes["A"] is not before
    assert found.routes["A"].key == b"NASDAQ:A"


def test_the_head_is_made_for_one_session_and_says_which() -> None:
    found = symbols(A="NASDAQ:A")
    route = found.routes["A"]
    head = found.head(route, 7)
    assert (route.head, route.session) == (head, 7)
    assert json.loads(head + '1"}') == {
        "v": 1,
        "venue": "alltick",
        "symbol": "NASDAQ:A",
        "code": "A",
        "session": 7,
        "price": "1",
    }
    assert '"session":8' in found.head(route, 8)


def test_keys_are_utf8() -> None:
    assert symbols(A="Ä").routes["A"].key == "Ä".encode()


def test_iterating_gives_every_route() -> None:
    assert [route.symbol for route in symbols(A="X", B="Y")] == ["X", "Y"]
