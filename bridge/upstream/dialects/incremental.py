"""What dialects have in common whose requests add codes and take them away; such a dialect may inherit it.

It says nothing of a language: who inherits it writes ``default_url``, ``code``, ``encode`` and ``decode``, and changes
what its venue does otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from bridge.upstream.dialects import Ask, Remedy, remedies, wire


class Incremental:
    """Differences in small requests, no answer that one could count on, pings of the WebSocket protocol."""

    needs_token = False
    replaces = False
    answers = False
    #: Seconds between two requests: with what pacing adds, between 50 and 100 ms.
    pause_s = 0.07
    #: Codes in one request at most.
    most = 20
    sides: Mapping[int | str | None, str] = {}

    def address(self, url: str, token: str) -> str:
        """Add the token as a query parameter where there is one."""
        return wire.with_token(url, token) if token else url

    def market(self, code: str) -> str | None:  # noqa: ARG002  a venue with one endpoint for everything
        """Say that any code belongs to any endpoint."""
        return None

    def asks(self, accepted: Iterable[str], target: Sequence[str]) -> tuple[Ask, ...]:
        """Give the differences: first what goes, which makes room, then what comes, in the order of the target."""
        held, wanted = frozenset(accepted), frozenset(target)
        gone = sorted(held - wanted)
        new = [code for code in target if code not in held]
        return (*self._requests("unsubscribe", gone), *self._requests("subscribe", new))

    def _requests(self, kind: Literal["subscribe", "unsubscribe"], codes: list[str]) -> Iterator[Ask]:
        for start in range(0, len(codes), self.most):
            yield Ask(kind, tuple(codes[start : start + self.most]))

    def heartbeat(self, seq_id: int, trace: str) -> bytes:  # noqa: ARG002  the pong gives it back
        """Ping."""
        return trace.encode()

    def remedy(self, ret: int) -> Remedy:
        """Take the official table of errors for this venue's."""
        return remedies.of_ret(ret)
