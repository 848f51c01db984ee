"""A control partition that is ours, or was ours when the group lost us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.control.desired import Fold
    from bridge.model import Desired


@dataclass(slots=True)
class Share:
    """How far a partition was read, and what the listener knows of it."""

    fold: Fold
    owned: bool = True
    announced: bool = False  # the listener knows that it is ours
    known: bool = False  # the listener was told of it, and not yet that it is gone
    caught_up: bool = False
    next_offset: int = 0
    told: Desired | None = None
