"""Scripted stand-ins with the shapes of the real ones; the clock is a float."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bridge.model import Desired, Subscription, Wanted

TEXT, CLOSE = 0x1, 0x8

#: What a venue does to the list in force when it refuses a new one, which nobody documents (docs/alltick.md 3).
Refused = Literal["keep", "clear", "skip"]


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """Write one WebSocket frame as a server does (RFC 6455 section 5.2)."""
    head, size = (0x80 if final else 0) | opcode, len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 65_536:
        return bytes((head, 126)) + size.to_bytes(2) + payload
    return bytes((head, 127)) + size.to_bytes(8) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Write a close frame."""
    return frame(code.to_bytes(2) + reason.encode(), CLOSE)


def desired(
    codes: Iterable[str], *, priorities: Mapping[str, int] | None = None, disabled: Collection[str] = ()
) -> Desired:
    """Ask for codes, each under itself as the symbol, in this order of their records."""
    priorities = priorities or {}
    wanted = {
        code: Wanted(Subscription(code, priority=priorities.get(code, 0), enabled=code not in disabled), offset)
        for offset, code in enumerate(codes)
    }
    return Desired(0, wanted)


@dataclass
class ScriptedVenue:
    """One connection's tick list at an AllTick venue, with a choice for each thing its documents leave open.

    ``bad`` codes are refused with ``bad_ret``, more than ``cap`` of them with 603. ``correlated`` errors name their
    request, others carry no number. ``mute`` holds the kinds of message that get no answer.
    """

    bad: frozenset[str] | set[str] = frozenset()
    bad_ret: int = 600
    cap: int = 10_000
    refused: Refused = "keep"
    correlated: bool = True
    mute: Collection[Literal["heartbeat", "list"]] = ()
    next_rets: list[int] = field(default_factory=list)  # answered to the next list requests, whatever they say
    held: frozenset[str] = frozenset()
    requests: list[tuple[str, ...]] = field(default_factory=list)
    rets: list[int] = field(default_factory=list)  # what was answered to them

    def reconnect(self) -> None:
        """Forget the list, as every new connection starts without one."""
        self.held = frozenset()

    def ask(self, codes: Iterable[str]) -> int:
        """Take a whole list (empty: a cancel request) and give the ``ret`` of the answer."""
        asked = tuple(codes)
        self.requests.append(asked)
        ret = self.next_rets.pop(0) if self.next_rets else self._verdict(asked)
        self.rets.append(ret)
        if ret == 200:
            self.held = frozenset(asked)
        elif self.refused == "clear":
            self.held = frozenset()
        elif self.refused == "skip" and ret == self.bad_ret:
            self.held = frozenset(asked).difference(self.bad)
        return ret

    def hear(self, text: str) -> str | None:
        """Take a message as it is on the wire and give the answer, if there is one."""
        message = json.loads(text)
        kind = message["cmd_id"]
        if kind == 22000:
            return None if "heartbeat" in self.mute else answer(message)
        ret = self.ask([one["code"] for one in message["data"].get("symbol_list", ())])
        if "list" in self.mute:
            return None
        return answer(message, ret) if ret == 200 or self.correlated else answer({}, ret)

    def _verdict(self, codes: Collection[str]) -> int:
        if len(codes) > self.cap:
            return 603
        return self.bad_ret if any(code in self.bad for code in codes) else 200


def answer(request: Mapping[str, object], ret: int = 200) -> str:
    """Write the venue's answer to a request; to an empty one, the kind that says of nothing what it answers."""
    number = request.get("cmd_id")
    return json.dumps(
        {
            "ret": ret,
            "msg": "ok" if ret == 200 else "no",
            "cmd_id": number + 1 if isinstance(number, int) else 0,
            "seq_id": request.get("seq_id", 0),
            "trace": request.get("trace", ""),
            "data": {},
        }
    )
