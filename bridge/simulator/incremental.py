"""The venue's mind in dialects whose requests add codes and take them away. Pure.

Everything about such venues is undocumented but the shape of requests and pushes: by default they answer nothing, and
refuse in silence what they do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.simulator import protocol
from bridge.simulator.codes import Universe
from bridge.simulator.languages import LANGUAGES
from bridge.simulator.venue import Outcome, Venue

if TYPE_CHECKING:
    from bridge.simulator.codes import Endpoint
    from bridge.simulator.config import SimulatorConfig
    from bridge.simulator.sessions import Session
    from bridge.simulator.switches import Switches


class IncrementalVenue(Venue):
    """Hold the universe and the sessions; answer requests."""

    def __init__(self, config: SimulatorConfig, switches: Switches) -> None:
        """Take the fixed and the changeable settings."""
        self._language = LANGUAGES[config.dialect]
        super().__init__(config, switches)
        self._listed = frozenset(self.universe.listed) if config.codes is not None else None

    def _make_universe(self, config: SimulatorConfig) -> Universe:
        return Universe(config.codes, self._language.spell)

    def receive(self, session: Session, text: str, now: float) -> Outcome:
        """Answer one text message of a session and change its list."""
        switches = self._switches
        request = self._language.read(text)
        violation = self.sessions.asked(session, now, heartbeat=False)
        codes: tuple[str, ...] = request.data.get("codes", ())
        ret = (violation.answered if violation else 0) or request.error or switches.take("next_ret")
        refused = dict.fromkeys(codes, ret) if ret else {}
        if not ret and request.cmd_id == protocol.TICKS:
            refused = self._subscribe(session, codes, now)
        elif not ret:
            self._replace(session, tuple(code for code in session.ticks if code not in codes), now)
        ret = ret or next(iter(refused.values()), protocol.OK)
        named = tuple(refused) if refused else codes
        answer = None
        if switches.answers and not switches.take("drop_acks"):
            answer = self._language.answer(request, ret, protocol.words(ret), named)
        hang_up = ret == protocol.TOO_FAST_CLOSING
        return Outcome(request, ret, codes, answer, switches.ack_delay_s * self._scale, hang_up, violation)

    def _subscribe(self, session: Session, codes: tuple[str, ...], now: float) -> dict[str, int]:
        """Add codes; give those refused, each with its ret."""
        switches = self._switches
        room = (switches.max_codes or self._limits.max_codes) - len(session.ticks)
        refused: dict[str, int] = {}
        good: list[str] = []
        for code in codes:
            ret = self._verdict(code, session.endpoint)
            if ret == protocol.OK and code not in session.ticks and len(good) >= room:
                ret = protocol.TOO_MANY_CODES
            if ret == protocol.OK:
                good.append(code)
            else:
                refused[code] = ret
        if refused and switches.partly == "none":
            return dict.fromkeys(codes, next(iter(refused.values())))
        self._replace(session, tuple(dict.fromkeys((*session.ticks, *good))), now)
        return refused

    def _verdict(self, code: str, endpoint: Endpoint) -> int:  # noqa: ARG002  one endpoint for everything
        if code in self._switches.strange:
            return protocol.BAD_REQUEST
        known = self._language.is_code(code) if self._listed is None else code in self._listed
        if code in self._switches.unknown or not known:
            return protocol.INVALID_CODE
        return protocol.UNAUTHORISED_CODE if code in self._switches.unauthorised else protocol.OK
