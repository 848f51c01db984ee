"""The venue's mind: a request in, an outcome out. Pure; the connection performs what is decided here.

Lists are replaced whole and acknowledgements name no codes (docs/alltick.md 2.4, 3). What that page calls
unknown is decided by switches: caps (1.5), a bad code in a list, an empty list, the list in force after a
refusal (3), correlation of errors (2.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bridge.simulator import protocol
from bridge.simulator.codes import Universe
from bridge.simulator.sessions import Session, Sessions, Violation

if TYPE_CHECKING:
    from bridge.simulator.codes import Endpoint
    from bridge.simulator.config import SimulatorConfig
    from bridge.simulator.protocol import Request
    from bridge.simulator.switches import Switches


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request leads to. `answer` None = none is sent; `delay_s` real seconds; `hang_up` after it."""

    request: Request
    ret: int
    codes: tuple[str, ...] = ()
    answer: str | None = None
    delay_s: float = 0.0
    hang_up: bool = False
    violation: Violation | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The ret of a list request, and the list in force after it."""

    ret: int
    codes: tuple[str, ...]


class Venue:
    """Hold the universe and the sessions; answer requests."""

    def __init__(self, config: SimulatorConfig, switches: Switches) -> None:
        """Take the fixed and the changeable settings."""
        self._switches = switches
        self._limits = config.limits()
        self._scale = config.time_scale
        self.universe = self._make_universe(config)
        self.sessions = Sessions(self._limits, switches, config.time_scale)

    def _make_universe(self, config: SimulatorConfig) -> Universe:
        return Universe(config.codes)

    def receive(self, session: Session, text: str, now: float) -> Outcome:
        """Answer one text message of a session and change its lists."""
        request = protocol.parse_request(text)
        heartbeat = request.cmd_id == protocol.HEARTBEAT
        violation = self.sessions.asked(session, now, heartbeat=heartbeat)
        codes = () if request.error else protocol.read_codes(request.data) or ()
        ret = (violation.answered if violation else 0) or request.error
        injected = 0 if ret or heartbeat else self._switches.take("next_ret")
        if injected:
            self._refuse(session, request, now)
        ret = ret or injected or self._carry_out(session, request, now)
        outcome = Outcome(request, ret, codes, hang_up=ret == protocol.TOO_FAST_CLOSING, violation=violation)
        return self._answered(outcome, heartbeat=heartbeat, injected=bool(injected))

    def _refuse(self, session: Session, request: Request, now: float) -> None:
        if request.cmd_id == protocol.TICKS and self._switches.refused == "clear":
            self._replace(session, (), now)

    def _carry_out(self, session: Session, request: Request, now: float) -> int:
        if request.cmd_id == protocol.HEARTBEAT:
            return protocol.OK
        if request.cmd_id == protocol.CANCEL:
            return self._cancel(session, request, now)
        codes = protocol.read_codes(request.data)
        if codes is None:
            return protocol.BAD_REQUEST
        in_force = session.ticks if request.cmd_id == protocol.TICKS else session.depth
        decision = self.decide(codes, in_force, session.endpoint)
        if request.cmd_id == protocol.DEPTH:
            session.depth = decision.codes
        elif decision.ret == protocol.OK or decision.codes != session.ticks:
            self._replace(session, decision.codes, now)
        return decision.ret

    def decide(self, codes: tuple[str, ...], in_force: tuple[str, ...], endpoint: Endpoint) -> Decision:
        """Judge a list against cap and universe, under the switches."""
        switches = self._switches
        if not codes:
            refusal = Decision(protocol.BAD_REQUEST, () if switches.refused == "clear" else in_force)
            return {
                "clears": Decision(protocol.OK, ()),
                "400": refusal,
                "ignored": Decision(protocol.OK, in_force),
            }[switches.empty_list]
        cap = switches.max_codes or self._limits.max_codes
        kept, errors = codes[:cap], []
        if len(codes) > cap and switches.over_cap == "603":
            errors.append(protocol.TOO_MANY_CODES)
        verdicts = {code: self._verdict(code, endpoint) for code in kept}
        errors += [ret for ret in verdicts.values() if ret != protocol.OK]
        if not errors:
            return Decision(protocol.OK, kept)
        if switches.refused == "skip":
            accepted = tuple(code for code in kept if verdicts[code] == protocol.OK)
            return Decision(protocol.OK if switches.skip_answer == "ack" else errors[0], accepted)
        return Decision(errors[0], () if switches.refused == "clear" else in_force)

    def _verdict(self, code: str, endpoint: Endpoint) -> int:
        if code in self._switches.strange:
            return protocol.BAD_REQUEST
        if code in self._switches.unknown or not self.universe.holds(code, endpoint):
            return protocol.INVALID_CODE
        return protocol.UNAUTHORISED_CODE if code in self._switches.unauthorised else protocol.OK

    def _cancel(self, session: Session, request: Request, now: float) -> int:
        kind = request.data.get("cancel_type")
        if not protocol.is_uint32(kind) or kind not in {0, 1, 2, 3}:
            return protocol.BAD_REQUEST
        if kind in {0, 1}:
            session.depth = ()
        if kind in {0, 2}:
            self._replace(session, (), now)
        return protocol.OK

    def _replace(self, session: Session, codes: tuple[str, ...], now: float) -> None:
        switches, scale = self._switches, self._scale
        if session.ticks:
            session.silent_until = now + switches.replacement_gap_s * scale
        session.late = {code: until for code, until in session.late.items() if until > now and code not in codes}
        if switches.late_ticks_s:
            removed = set(session.ticks).difference(codes)
            session.late.update(dict.fromkeys(removed, now + switches.late_ticks_s * scale))
        session.ticks = codes

    def _answered(self, outcome: Outcome, *, heartbeat: bool, injected: bool) -> Outcome:
        switches, request, ret = self._switches, outcome.request, outcome.ret
        if switches.heartbeat_mute if heartbeat else switches.take("drop_acks"):
            return outcome
        envelope = ret in {protocol.BAD_REQUEST, protocol.UNKNOWN_REQUEST}
        lost = {"no": False, "envelope": envelope, "all": ret != protocol.OK}[switches.uncorrelated_errors]
        lost = lost or (injected and switches.next_ret_uncorrelated)
        off = 1000 if switches.wrong_seq_id and not heartbeat else 0
        answer = protocol.encode_answer(request, ret, correlated=not lost, seq_id_off=off)
        return replace(outcome, answer=answer, delay_s=0.0 if heartbeat else switches.ack_delay_s * self._scale)
