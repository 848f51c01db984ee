"""Which codes exist: their spelling, the endpoint they belong to, and the universe of one simulator.

Spelling follows docs/alltick.md 7: HK numbers carry no leading zeros (00700.HK is invalid),
A-share codes are six digits, case must match the list, and a code belongs to exactly one endpoint.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Endpoint = Literal["stock", "other"]

PATHS: dict[str, Endpoint] = {"/quote-stock-b-ws-api": "stock", "/quote-b-ws-api": "other"}

_STOCK = re.compile(
    r"""[1-9]\d{0,4}\.HK            # HK stock
      | [A-Z]{2,}[A-Z0-9]*\.HK      # HK index
      | [A-Z][A-Z0-9]*(?:[.-][A-Z]+)?\.US
      | \.[A-Z][A-Z0-9]*\.US        # US index
      | \d{6}\.(?:SH|SZ)""",
    re.VERBOSE,
)
_OTHER = re.compile(r"[A-Z][A-Z0-9]{1,19}")
#: The official list writes these in mixed case. `SILVER` appears in one official page too, so both exist.
_MIXED_CASE = frozenset({"Silver", "Aluminum", "Platinum", "Palladium", "Nickel"})
_WRONG_CASE = frozenset(name.upper() for name in _MIXED_CASE - {"Silver"})

_WELL_KNOWN = ("700.HK", "AAPL.US", "600519.SH", "TSLA.US", "9988.HK", "000001.SZ", "MSFT.US", "5.HK", ".DJI.US")


def endpoint_of(code: str) -> Endpoint | None:
    """Say which endpoint a code belongs to; None when it is malformed."""
    if _STOCK.fullmatch(code):
        return "stock"
    if code in _MIXED_CASE or (_OTHER.fullmatch(code) and code not in _WRONG_CASE):
        return "other"
    return None


def generate(count: int) -> tuple[str, ...]:
    """Make `count` well-formed codes of the stock endpoint; a longer list starts with the shorter one."""
    return tuple(itertools.islice(_all_codes(), count))


def _all_codes() -> Iterator[str]:
    yield from _WELL_KNOWN
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    us = ("".join(four) + ".US" for four in itertools.product(letters, repeat=4))
    hong_kong = (f"{number}.HK" for number in range(1, 100_000))
    for pair in zip(hong_kong, us, strict=False):
        yield from (code for code in pair if code not in _WELL_KNOWN)


class Universe:
    """Know which codes exist: an open universe holds every well-formed one, a closed one those it was given."""

    def __init__(self, codes: tuple[str, ...] | int | None, spell: Callable[[str], str] = str) -> None:
        """Take None (open), a number of codes to generate, or the codes; `spell` spells the generated ones."""
        listed = tuple(map(spell, generate(codes))) if isinstance(codes, int) else codes
        self.listed: tuple[str, ...] = listed or ()
        self._closed = None if listed is None else frozenset(listed)

    def holds(self, code: str, endpoint: Endpoint) -> bool:
        """Say whether a code exists on an endpoint; a listed code of no known shape exists on both."""
        if self._closed is None:
            return endpoint_of(code) == endpoint
        return code in self._closed and endpoint_of(code) in {endpoint, None}
