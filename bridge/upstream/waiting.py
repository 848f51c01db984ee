"""What was sent on one connection and waits for its answer, and how an answer finds what it answers.

By its number, if it has one; by the codes that it names; else by order: it belongs to the oldest message that can be
meant (docs/alltick.md 2.1: an error may come back without saying to which request it belongs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bridge.upstream.dialects import Answer
from bridge.upstream.reconcile import Plan


@dataclass(slots=True)
class Sent:
    """A message on its way; a heartbeat has no plan, and if it is bytes it is a ping."""

    seq_id: int
    at: float
    plan: Plan | None
    message: str | bytes
    answered: bool = False  # by one of several answers, where each speaks of some codes

    @property
    def kind(self) -> str:
        """Name it as metrics do."""
        return "heartbeat" if self.plan is None else self.plan.ask.kind


class Waiting:
    """The messages without an answer, oldest first."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []

    @property
    def heartbeats(self) -> int:
        """How many heartbeats in a row are unanswered."""
        return sum(sent.plan is None for sent in self._sent)

    def requests(self) -> Iterator[Sent]:
        """Give those that are no heartbeats."""
        return (sent for sent in self._sent if sent.plan is not None)

    def add(self, sent: Sent) -> None:
        """Wait for one more answer."""
        self._sent.append(sent)

    def remove(self, sent: Sent) -> None:
        """Wait no longer."""
        self._sent.remove(sent)

    def postpone(self, seconds: float) -> None:
        """Take all of them for sent later."""
        self._sent = [replace(sent, at=sent.at + seconds) for sent in self._sent]

    def beat(self, sent: Sent) -> None:
        """Forget heartbeats before one that was answered: only a row without an answer counts."""
        self._sent = [other for other in self._sent if other.plan or other.seq_id > sent.seq_id]

    def pong(self) -> bool:
        """Take a pong for the answer to every ping before it (RFC 6455 section 5.5.3); tell whether there was one."""
        before = len(self._sent)
        self._sent = [sent for sent in self._sent if not isinstance(sent.message, bytes)]
        return len(self._sent) < before

    def match(self, answer: Answer, *, about_codes: bool) -> Sent | None:
        """Find what is answered; what is ``about_codes`` answers no heartbeat, for that has none."""
        if answer.seq_id:
            return next((sent for sent in self._sent if sent.seq_id == answer.seq_id), None)
        fitting = [sent for sent in self._sent if answer.kind in ("error", sent.kind)]
        if answer.codes:
            named = frozenset(answer.codes)
            return next((sent for sent in reversed(fitting) if sent.plan and named <= {*sent.plan.ask.codes}), None)
        return next((sent for sent in fitting if sent.plan or not about_codes), None)
