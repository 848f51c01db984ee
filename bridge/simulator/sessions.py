"""Who may connect and how often it may ask: tokens, connections per plan, overlaps and pacing. Pure.

Sources: docs/alltick.md 1.2 (token in the query), 1.3 (connections per token; both endpoints at once count as
one), 1.4 (pacing), 1.5 (HTTP 401 and 429 at upgrade). What breaks a pacing rule is always reported as a
`Violation`, refused or not; two connections of one token on one endpoint are always reported as an `Overlap`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

from bridge.simulator.codes import PATHS

if TYPE_CHECKING:
    from bridge.simulator.codes import Endpoint
    from bridge.simulator.config import Limits
    from bridge.simulator.switches import Switches

Rule = Literal["request_interval", "token_interval", "reconnect_interval", "connections"]


@dataclass(slots=True, eq=False)
class Session:
    """One accepted connection: its lists in force and what pacing needs to remember. Times: Unix seconds."""

    id: int
    token: str
    endpoint: Endpoint
    opened_at: float
    ticks: tuple[str, ...] = ()
    depth: tuple[str, ...] = ()
    #: Removed codes whose ticks go on for a while, and until when.
    late: dict[str, float] = field(default_factory=dict)
    silent_until: float = 0.0
    last_request_at: float = float("-inf")
    last_heartbeat_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Violation:
    """A pacing or plan rule that a client broke. `answered` is the ret or HTTP status it got, 0 = recorded only."""

    rule: Rule
    at: float
    connection: int | None
    too_early_s: float
    detail: str
    answered: int


@dataclass(slots=True)
class Overlap:
    """Two connections of one token on one endpoint open at once; `ended_at` None while they are."""

    endpoint: Endpoint
    first: int
    second: int
    started_at: float
    within_plan: bool
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What an upgrade request gets: a session, or an HTTP status with a body. `ret` is said, then hung up."""

    session: Session | None = None
    status: int = 101
    body: str = ""
    ret: int = 0
    violations: tuple[Violation, ...] = ()
    overlaps: tuple[Overlap, ...] = ()


@dataclass(slots=True)
class _Account:
    """What is known of one token."""

    open: list[Session] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    #: Closing times, by endpoint, of connections that no later one has replaced yet.
    closed_at: dict[Endpoint, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: The last request (heartbeats exempt) and the connection that made it, newest last.
    asked: dict[int, float] = field(default_factory=dict)
    #: Connections that are gone and not noticed yet: their endpoints, and until when each counts.
    ghosts: list[tuple[Endpoint, float]] = field(default_factory=list)

    def connections(self, joining: Endpoint, *, ghosts: bool) -> int:
        """Count as the plan does with one more on an endpoint: each endpoint apart, the larger number."""
        endpoints = [session.endpoint for session in self.open] + [joining]
        if ghosts:
            endpoints += [endpoint for endpoint, _ in self.ghosts]
        return max(endpoints.count(endpoint) for endpoint in set(endpoints))

    def reap(self, now: float) -> None:
        """Notice what is gone."""
        self.ghosts = [(endpoint, until) for endpoint, until in self.ghosts if until > now]


class Sessions:
    """The open sessions of every token, and the rules between them."""

    def __init__(self, limits: Limits, switches: Switches, time_scale: float = 1.0) -> None:
        """Take the plan's limits in real seconds, and the switches with what their venue seconds are multiplied by."""
        self._limits = limits
        self._switches = switches
        self._scale = time_scale
        self._ids = itertools.count(1)
        self._accounts: dict[str, _Account] = defaultdict(_Account)

    def admit(self, path: str, now: float) -> Admission:
        """Judge an upgrade request by its path with query."""
        parts = urlsplit(path)
        endpoint = PATHS.get(parts.path)
        if endpoint is None:
            return Admission(status=404, body=f"no such endpoint; there are {' and '.join(PATHS)}")
        if self._switches.refuse_upgrades:
            return Admission(status=self._switches.refuse_upgrades, body="refused by the switch refuse_upgrades")
        token = parse_qs(parts.query).get("token", [""])[0]
        if not token:
            return Admission(status=401, body='{"ret":401,"msg":"token is required"}')
        if self._switches.tokens and token not in self._switches.tokens:
            return Admission(status=401, body='{"ret":401,"msg":"token invalid"}')
        return self._admit_token(token, endpoint, now)

    def _admit_token(self, token: str, endpoint: Endpoint, now: float) -> Admission:
        account = self._accounts[token]
        plan = self._switches.max_connections or self._limits.max_connections
        violations = self._reconnect_violations(account, endpoint, plan, now)
        if any(one.answered == 429 for one in violations):
            return Admission(status=429, body='{"ret":429,"msg":"reconnecting too fast"}', violations=violations)
        account.reap(now)
        within = account.connections(endpoint, ghosts=False) <= plan
        if within and self._switches.refuse_connections and account.connections(endpoint, ghosts=True) > plan:
            # Nobody broke a rule: the client cannot know that the venue still holds what it lost.
            return Admission(status=429, body='{"ret":429,"msg":"too many connections"}', violations=violations)
        if not within:
            answered = 429 if self._switches.refuse_connections else 0
            surplus = Violation("connections", now, None, 0.0, f"more than {plan} connections", answered)
            violations = (*violations, surplus)
            if answered:
                return Admission(status=429, body='{"ret":429,"msg":"too many connections"}', violations=violations)
        session = Session(next(self._ids), token, endpoint, now)
        overlaps = tuple(
            Overlap(endpoint, other.id, session.id, now, within) for other in account.open if other.endpoint == endpoint
        )
        account.open.append(session)
        account.overlaps.extend(overlaps)
        # A close is replaced once, by the first connection after it; the oldest first, since with several
        # connections per token each of them rests for itself.
        if account.closed_at[endpoint]:
            account.closed_at[endpoint].pop(0)
        ret = 606 if any(one.answered == 606 for one in violations) else 0
        return Admission(session, ret=ret, violations=violations, overlaps=overlaps)

    def _reconnect_violations(
        self, account: _Account, endpoint: Endpoint, plan: int, now: float
    ) -> tuple[Violation, ...]:
        closed = account.closed_at[endpoint]
        if plan == 1:
            del closed[:-1]
        found = self._early(now, closed[0], self._limits.reconnect_s) if closed else None
        if not found:
            return ()
        answered = {"605": 429, "606": 606, "record": 0}[self._switches.pacing]
        return (Violation("reconnect_interval", now, None, *found, answered),)

    def close(self, session: Session, now: float, *, unnoticed: bool = False) -> tuple[Overlap, ...]:
        """Forget a session that ended, an `unnoticed` one after a while; return the overlaps that ended with it."""
        account = self._accounts[session.token]
        account.open.remove(session)
        if unnoticed and self._switches.reap_delay_s:
            account.ghosts.append((session.endpoint, now + self._switches.reap_delay_s * self._scale))
        account.closed_at[session.endpoint].append(now)
        ended = tuple(one for one in account.overlaps if session.id in {one.first, one.second})
        for overlap in ended:
            overlap.ended_at = now
            account.overlaps.remove(overlap)
        return ended

    def asked(self, session: Session, now: float, *, heartbeat: bool) -> Violation | None:
        """Note a request and return the pacing rule it broke, if any."""
        violation = self._request_violation(session, now, heartbeat=heartbeat)
        if heartbeat:
            session.last_heartbeat_at = now
        else:
            session.last_request_at = now
            account = self._accounts[session.token]
            account.asked.pop(session.id, None)
            account.asked[session.id] = now
        return violation

    def _request_violation(self, session: Session, now: float, *, heartbeat: bool) -> Violation | None:
        """Judge by the rule that is enforced first; a heartbeat only ever breaks the rule within a connection."""
        enforced = {"605": 605, "606": 606, "record": 0}[self._switches.pacing]
        interval, count = self._limits.request_interval_s, self._switches.heartbeats_count
        if not heartbeat:
            if found := self._early(now, session.last_request_at, interval):
                return Violation("request_interval", now, session.id, *found, enforced)
            if found := self._early(now, self._asked_elsewhere(session, now), self._limits.token_interval_s):
                return Violation("token_interval", now, session.id, *found, enforced)
        last = max(session.last_heartbeat_at, session.last_request_at) if heartbeat else session.last_heartbeat_at
        found = None if count == "no" else self._early(now, last, interval)
        return found and Violation("request_interval", now, session.id, *found, enforced if count == "yes" else 0)

    def _asked_elsewhere(self, session: Session, now: float) -> float:
        """Return when another connection of the token last asked, closed ones included."""
        asked = self._accounts[session.token].asked
        for other, at in list(asked.items()):
            if now - at >= self._limits.token_interval_s:
                del asked[other]
        return max((at for other, at in asked.items() if other != session.id), default=float("-inf"))

    def _early(self, now: float, last: float, interval: float) -> tuple[float, str] | None:
        too_early = interval - (now - last)
        if too_early <= self._switches.pacing_slack_s:
            return None
        return round(too_early, 6), f"{now - last:.3f} s after the last, at least {interval:g} s"
