"""What all links share: how the venue is reached, and where what happens is told.

Making a connection blocks (name, TCP, TLS, upgrade), so each attempt has a short-lived thread of its own, which leaves
its outcome in the mailbox.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from typing import Any, Protocol

from bridge.app.mailbox import Dialled, Mailbox
from bridge.errors import TokenRefused, UpstreamUnavailable
from bridge.model import Event
from bridge.settings import UpstreamSettings
from bridge.ticks.calendar import Calendar
from bridge.upstream.dialects import Dialect
from bridge.upstream.session import Tally
from bridge.upstream.transport import Transport, connect


class Log(Protocol):
    """Where changes of state are written; repeats are the writer's business."""

    def __call__(self, event: str, /, level: str = "info", **fields: Any) -> None:
        """Write one line."""
        ...


def _start(venue: Venue, partition: int, attempt: int) -> None:
    """Make one connection on a thread of its own: it blocks."""
    Thread(target=_dial, args=(venue, partition, attempt), name=f"dial-{partition}", daemon=True).start()


def _dial(venue: Venue, partition: int, attempt: int) -> None:
    """Make one connection and report; the token is read anew each time."""
    settings = venue.settings
    outcome: Transport | UpstreamUnavailable = UpstreamUnavailable("network", "the attempt failed as nobody foresaw")
    try:
        token = settings.read_token()
        venue.learn_secret(token)
        address = venue.dialect.address(settings.url or venue.dialect.default_url(settings.market), token)
        outcome = connect(address, timeout_s=settings.connect_timeout_s, ca_file=settings.ca_file)
    except UpstreamUnavailable as error:
        outcome = error
    except OSError as error:
        outcome = TokenRefused("token", f"the token file {settings.token_file} cannot be read: {error.strerror}")
    except UnicodeError:
        outcome = TokenRefused("token", "the token is no UTF-8 text")
    finally:  # a link that hears of no outcome would wait for ever
        venue.mailbox.put(Dialled(partition, attempt, outcome))


@dataclass(slots=True)
class Venue:
    """What all links share."""

    settings: UpstreamSettings
    dialect: Dialect
    mailbox: Mailbox
    log: Log
    learn_secret: Callable[[str], None]
    removal_hold_s: float = 30.0
    stale_after_s: float = 60.0
    calendar: Calendar = field(default_factory=Calendar.built_in)
    dial: Callable[[Venue, int, int], None] = _start
    wall_us: Callable[[], int] = lambda: time.time_ns() // 1000
    monotonic: Callable[[], float] = time.monotonic
    tally: Tally = field(default_factory=Tally)
    sessions: Counter[str] = field(default_factory=Counter)
    disconnects: Counter[str] = field(default_factory=Counter)
    events: deque[Event] = field(default_factory=deque)  # for the gaps topic; the control thread takes them
    attempts: Iterator[int] = field(default_factory=lambda: count(1))  # no two attempts ever have one number
