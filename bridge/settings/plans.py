"""What is known of venues before one speaks to them."""

from __future__ import annotations

from pydantic import BaseModel


class Plan(BaseModel):
    """What a plan of the venue allows (docs/alltick.md 1.3 and 1.4)."""

    max_symbols: int
    reconnect_min_s: float


PLANS = {
    "free": Plan(max_symbols=5, reconnect_min_s=10.0),
    "basic": Plan(max_symbols=100, reconnect_min_s=3.0),
    "premium": Plan(max_symbols=200, reconnect_min_s=3.0),
    "professional": Plan(max_symbols=3000, reconnect_min_s=3.0),
}

#: Dialects whose venue nobody has found: the operator must say where it is.
NO_ADDRESS = ("action-code", "action-symbols")
