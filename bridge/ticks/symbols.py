"""Whose tick it is: one route for each code that is desired on a connection.

A route carries everything about its symbol that the hot path needs, so that a tick costs one look-up. A tick whose code
has no route is late: its symbol was removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bridge.ticks import encode
from bridge.ticks.dedupe import Window


class Route:
    """One symbol under one code; ``head`` is the part of its records that never changes within a session.

    ``market`` is empty until somebody has looked it up, and None where there is none.
    """

    __slots__ = ("code", "head", "key", "last_us", "market", "price", "session", "symbol", "window")

    def __init__(self, symbol: str, code: str) -> None:
        self.symbol = symbol
        self.code = code
        self.key = symbol.encode()
        self.market: str | None = ""
        self.window = Window()
        self.head = ""
        self.session = 0
        self.last_us = 0
        self.price = ""


class Symbols:
    """The routes of one connection, by code."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self.routes: dict[str, Route] = {}

    def desire(self, symbols: Mapping[str, str]) -> None:
        """Keep the routes of these codes, and only these; ``symbols`` maps code to symbol."""
        routes: dict[str, Route] = {}
        for code, symbol in symbols.items():
            route = self.routes.get(code)
            routes[code] = route if route is not None and route.symbol == symbol else Route(symbol, code)
        self.routes = routes

    def head(self, route: Route, session: int) -> str:
        """Make the route's record head for a session, the first time it is needed in it."""
        route.session = session
        route.head = encode.head(self._venue, route.symbol, route.code, session)
        return route.head

    def __iter__(self) -> Iterator[Route]:
        return iter(self.routes.values())
