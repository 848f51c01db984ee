"""What can go wrong, by what to do about it.

::

    BridgeError
    ├── SettingsError        the operator's input is wrong: say so, exit 2
    ├── KafkaUnusable        Kafka answers and refuses us (or a topic is missing): say so, exit 3
    │   └── KafkaOutOfReach  no broker answers: who has time tries again
    ├── UpstreamUnavailable  the venue cannot be reached or dropped us: reconnect, with back-off
    │   └── TokenRefused     the venue knows us and does not want us: wait long, or for a new token
    ├── ProtocolError        the WebSocket or venue protocol was broken
    │   ├── LocalProtocolError   by us: a bug, with a traceback
    │   └── RemoteProtocolError  by the venue: close with the right code, reconnect
    └── BadRecord            a control record nobody can use: count it, keep the last good one

An exception carries its data and builds its text from it. Nothing here is ever raised with a secret inside.
"""

from __future__ import annotations

#: Exit codes of the command, as the contract names them.
EXIT_OK = 0
EXIT_BUG = 1
EXIT_SETTINGS = 2
EXIT_KAFKA = 3
EXIT_UNDELIVERED = 4


class BridgeError(Exception):
    """Every error that the bridge itself raises."""


class SettingsError(BridgeError):
    """One or more settings or arguments cannot be used; ``lines`` has one sentence for each."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("; ".join(lines))


class KafkaUnusable(BridgeError):
    """Kafka refuses what the bridge needs; ``remedy`` says what the operator does about it."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}")


class KafkaOutOfReach(KafkaUnusable):
    """No broker answered in time; trying again later may help."""


class UpstreamUnavailable(BridgeError):
    """The venue cannot be reached, or the connection is gone; ``kind`` is a metric label."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(f"{kind}: {detail}")


class TokenRefused(UpstreamUnavailable):
    """The venue does not accept the token: trying again soon only annoys it."""


class ProtocolError(BridgeError):
    """Somebody broke the protocol; the class says who."""


class LocalProtocolError(ProtocolError):
    """We broke the protocol: a bug in the bridge. Do not retry."""


class RemoteProtocolError(ProtocolError):
    """The venue broke the WebSocket protocol; close with ``code`` (RFC 6455 section 7.4.1) and reconnect."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{reason} (close code {code})")


class BadRecord(BridgeError):
    """A control record that cannot be used; ``reason`` is a short stable word, ``detail`` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")
