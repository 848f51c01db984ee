"""How we stand with Kafka: are we a member of the group, and is there trouble (pure).

The library reports troubles as they happen and says nothing when they are over. Its statistics do: once a second they
show the state of the group and of the brokers. So an event begins a trouble, and only healthy statistics end it.
"""

from __future__ import annotations

from collections import deque

import msgspec

_UP, _COORDINATOR = "UP", "GroupCoordinator"


class _Broker(msgspec.Struct):
    nodeid: int
    state: str
    rx: int = 0


class _Partition(msgspec.Struct):
    leader: int
    fetch_state: str


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Group(msgspec.Struct, frozen=True):
    state: str
    join_state: str


class _Statistics(msgspec.Struct):
    """What we read of librdkafka's STATISTICS.md."""

    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}
    cgrp: _Group = _Group("init", "init")


_decoder = msgspec.json.Decoder(_Statistics)


class Standing:
    """One consumer's membership and troubles; every call says the monotonic second at which it happens."""

    def __init__(self, session_timeout_s: float) -> None:
        self.member = False  # the group answered our join, and has not lost us since
        self.trouble = ""  # why Kafka cannot be reached; empty while all is well
        self.trouble_since = 0.0  # the monotonic second at which it began
        self._session_timeout_s = session_timeout_s
        self._settled_at: float | None = None  # when the group last counted us in
        self._remark = ""
        self._heard: deque[float] = deque(maxlen=2)  # the last statistics in a row that show the group's answers
        self._answers = 0  # of the coordinator, as of the last statistics
        self.seen_at = 0.0  # the monotonic second of the last statistics
        self.answered_at = 0.0  # … that show another answer of the coordinator
        self.steady = False  # the group is divided, as of the last statistics

    def confirmed_since(self, moment: float) -> bool:
        """Tell whether the group has counted us in since then; never in less than two statistics.

        An answer that throws us out is counted like any other; the next statistics show what it has led to.
        """
        return len(self._heard) == 2 and self._heard[0] > moment

    @property
    def ever_joined(self) -> bool:
        """Tell whether the group has answered a join of ours at least once."""
        return self._settled_at is not None

    def remark(self, text: str) -> None:
        """Remember what one broker's failure says, to explain a trouble with; by itself it is none."""
        self._remark = text

    def failed(self, text: str, now: float) -> None:
        """Begin a trouble; one that lasts keeps its first text and its beginning."""
        if not self.trouble:
            self.trouble, self.trouble_since = text, now

    def joined(self, now: float) -> None:
        """Note that the group has answered, with partitions or without."""
        self.member, self._settled_at = True, now

    def lost(self, now: float) -> None:
        """Note that the group no longer counts us in."""
        self.member = False
        self.failed(self._remark or "the group's coordinator did not answer within the session timeout", now)

    def statistics(self, raw: str | bytes, now: float) -> None:
        """Judge by librdkafka's statistics."""
        seen = _decoder.decode(raw)
        reachable = _reachable(seen)
        self.seen_at, self.steady = now, seen.cgrp.join_state == "steady"
        answers = seen.brokers[_COORDINATOR].rx if _COORDINATOR in seen.brokers else 0
        if answers > self._answers:
            self.answered_at = now
        if reachable and self.steady and answers > self._answers:
            self._heard.append(now)
        else:
            self._heard.clear()
        self._answers = answers
        if reachable and self.steady:
            self.joined(now)
            self.trouble = self._remark = ""
            self.trouble_since = 0.0
        elif self.ever_joined and not reachable:
            self.failed(self._remark or "the group's coordinator or a partition's leader is out of reach", now)
        # A standby has nothing to lose: no callback tells it that its session is over.
        if self.trouble and self._settled_at is not None and now - self._settled_at > self._session_timeout_s:
            self.member = False


def _reachable(seen: _Statistics) -> bool:
    coordinator = seen.brokers.get(_COORDINATOR)
    if seen.cgrp.state != "up" or coordinator is None or coordinator.state != _UP:
        return False
    up = {one.nodeid for name, one in seen.brokers.items() if one.state == _UP and name != _COORDINATOR}
    read = (one for topic in seen.topics.values() for one in topic.partitions.values() if one.fetch_state == "active")
    return all(partition.leader in up for partition in read)
