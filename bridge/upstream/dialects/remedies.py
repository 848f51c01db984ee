"""Errors by kind (contract, guarantee 9): what the venue or the way to it says, what we do, and how long we wait.

``ERRORS`` is the whole of it: transport looks up the HTTP status of an upgrade, the dialect the ``ret`` of an answer,
the session what a remedy costs. Kinds are the words of logs, metrics and ``/status``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from bridge.upstream.dialects import Remedy


class Wait(Enum):
    """How long until we ask, or connect, again."""

    PACE = auto()  # until pacing allows the next request
    SLOWER = auto()  # the interval, doubled with each such answer, up to 32 times; an accepted request eases it
    BACK_OFF = auto()  # RECONNECT_MIN_S, doubled with each failure in a row, up to RECONNECT_MAX_S
    LONGEST = auto()  # RECONNECT_MAX_S at once; where the token is refused, no longer than until its file changes


@dataclass(frozen=True, slots=True)
class Error:
    """One kind of error. Without a remedy the connection is at fault, and another one is tried.

    ``upgrade`` are the HTTP statuses and ``ret`` the answers that are of this kind (docs/alltick.md 1.5 and 6).
    """

    kind: str
    remedy: Remedy | None
    wait: Wait
    upgrade: tuple[int, ...] = ()
    ret: tuple[int, ...] = ()


# fmt: off
ERRORS = (
    #      kind                    what we do     how long we wait  upgrade's status  answer's ret
    Error("token",                Remedy.TOKEN,  Wait.LONGEST,     (401, 403),       (401, 403)),
    # New codes in a whole list may be why: then they are narrowed down, SLOWER.
    Error("bug",                  Remedy.BUG,    Wait.LONGEST,     (),               (201, 202, 400, 402)),
    Error("narrow",               Remedy.NARROW, Wait.PACE,        (),               (600, 601, 604)),
    Error("shrink",               Remedy.SHRINK, Wait.PACE,        (),               (603,)),
    Error("slow",                 Remedy.SLOW,   Wait.SLOWER,      (),               (429, 605, 606)),  # any other, too
    # What ends an attempt to connect.
    Error("too_many_connections", None,          Wait.BACK_OFF,    (429,)),
    Error("refused",              None,          Wait.BACK_OFF),  # any other status
    Error("dns",                  None,          Wait.BACK_OFF),
    Error("proxy",                None,          Wait.BACK_OFF),
    Error("tls",                  None,          Wait.BACK_OFF),
    Error("timeout",              None,          Wait.BACK_OFF),
    # What ends a connection.
    Error("network",              None,          Wait.BACK_OFF),  # an attempt, too
    Error("write",                None,          Wait.BACK_OFF),  # the venue does not take what we send
    Error("protocol",             None,          Wait.BACK_OFF),  # it breaks RFC 6455
    Error("closed_by_venue",      None,          Wait.BACK_OFF),  # whatever its close code: none is documented
    Error("silence",              None,          Wait.BACK_OFF),  # no frame for SILENCE_S
    Error("heartbeat",            None,          Wait.BACK_OFF),  # two unanswered
    Error("unanswered",           None,          Wait.BACK_OFF),  # a subscribe request, twice
)
# fmt: on

BY_KIND = {error.kind: error for error in ERRORS}
_BY_STATUS = {status: error for error in ERRORS for status in error.upgrade}
_BY_RET = {ret: error.remedy for error in ERRORS if error.remedy for ret in error.ret}
_WAITS = {error.remedy: error.wait for error in ERRORS if error.remedy}


def of_upgrade(status: int | None) -> Error:
    """Name what the HTTP status of an upgrade means."""
    return _BY_STATUS.get(status or 0, BY_KIND["refused"])


def of_ret(ret: int) -> Remedy:
    """Tell what to do about an answer that is no consent."""
    return _BY_RET.get(ret, Remedy.SLOW)


def wait_after(remedy: Remedy) -> Wait:
    """Tell how long a remedy lets us wait."""
    return _WAITS[remedy]
