"""The operator: writes control records, and remembers what was desired when."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.e2e.conftest import World
from tests.support.audit import Wish

#: A code that the venue does not know.
UNKNOWN = "90001.HK"
#: Values of control records that nobody can use.
RUBBISH = ("{", "null", "[]", '{"priority": "high"}', '{"enabled": 1}', '{"stale_after_s": -1}', "\x00", '"x" * 7')


class Operator:
    """Keeps the wishes; `codes` are those desired now, spares the ones to add."""

    def __init__(self, world: World, codes: Sequence[str]) -> None:
        self._world = world
        self._codes = tuple(codes)
        self._open: dict[str, Wish] = {}
        self._past: list[Wish] = []
        self._notes = 0

    @property
    def codes(self) -> frozenset[str]:
        """What is desired now."""
        return frozenset(self._open)

    @property
    def spares(self) -> list[str]:
        """What is not."""
        return [code for code in self._codes if code not in self._open]

    @property
    def wishes(self) -> list[Wish]:
        """Everything ever desired."""
        return [*self._past, *self._open.values()]

    def add(self, codes: Iterable[str]) -> None:
        """Desire codes."""
        added = list(codes)
        self._open |= {code: Wish(code, code, time.time()) for code in added}
        self._world.subscribe(*added, owner="soak")

    def grow(self, dice: random.Random, count: int) -> None:
        """Desire so many codes more; where too few are left, others make room first."""
        if len(self.spares) <= count:
            self.remove(dice.sample(sorted(self._open), count + 4))
        self.add(dice.sample(self.spares, count))

    def shrink(self, dice: random.Random, count: int) -> None:
        """Desire so many codes less."""
        self.remove(dice.sample(sorted(self._open), count))

    def remove(self, codes: Iterable[str]) -> None:
        """Desire codes no more."""
        removed = list(codes)
        self._forget(removed)
        self._world.unsubscribe(*removed)

    def rewrite(self) -> None:
        """Write every record again with another note: nothing changes for the venue."""
        self._notes += 1
        self._world.subscribe(*sorted(self._open), note=f"rewritten {self._notes}")

    def rubbish(self, dice: random.Random, count: int) -> None:
        """Write records that nobody can use, some of them under symbols in force."""
        keys: list[str | bytes] = [*dice.sample(sorted(self._open), count // 2), "no symbol", b"\xff\xfe", UNKNOWN]
        pairs = [(dice.choice(keys), dice.choice(RUBBISH)) for _ in range(count)]
        self._world.cluster.produce(self._world.topic("subscriptions"), pairs)

    def burst(self, dice: random.Random, count: int) -> None:
        """Change minds many times at once; some symbols go and come back, and all end as they began."""
        flickering = dice.sample(sorted(self._open), 8)
        steady = sorted(self._open.keys() - set(flickering))
        pairs: list[tuple[str | bytes | None, str | bytes | None]] = []
        for number in range(count):
            pairs.append((dice.choice(steady), json.dumps({"note": f"burst {number}"})))
            pairs.append((dice.choice(flickering), dice.choice((None, "{}"))))
        self._forget(flickering)
        back = time.time()
        self._world.cluster.produce(
            self._world.topic("subscriptions"), [*pairs, *((code, "{}") for code in flickering)]
        )
        self._open |= {code: Wish(code, code, back) for code in flickering}

    def strange(self, *, wanted: bool) -> None:
        """Desire a code that the venue refuses, or no more."""
        (self._world.subscribe if wanted else self._world.unsubscribe)(UNKNOWN)

    def _forget(self, codes: Iterable[str]) -> None:
        now = time.time()
        self._past += [replace(self._open.pop(code), until=now) for code in codes]
