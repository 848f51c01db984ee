"""Messages from other threads to the feed thread, and the pipe that ends its ``select`` at once."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event

from bridge.errors import UpstreamUnavailable
from bridge.model import Desired, Memory, Progress
from bridge.snapshots import FeedSnapshot
from bridge.upstream.transport import Transport


@dataclass(frozen=True, slots=True)
class Assigned:
    """A control partition is ours, out of ``partitions``.

    ``memory`` is what its statuses say, by symbol, ``progress`` what its last owner said; both empty if it never left.
    """

    partition: int
    partitions: int
    memory: Mapping[str, Memory] = field(default_factory=dict)
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """Control partitions are ours no more; ``done`` is set once nothing of theirs is connected.

    ``why`` is ``revoked`` where another owner waits, ``lost`` where the group ceased to hear us.
    """

    partitions: tuple[int, ...]
    why: str = "revoked"
    done: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The group counts us in, as it has said since the feed woke at the monotonic second ``woke``."""

    woke: float


@dataclass(frozen=True, slots=True)
class Bound:
    """Kafka was reached: this is the cluster that a spill must belong to."""

    cluster_id: str


@dataclass(frozen=True, slots=True)
class Dialled:
    """A connection attempt came to its end."""

    partition: int
    attempt: int
    outcome: Transport | UpstreamUnavailable


@dataclass(slots=True)
class Look:
    """Somebody wants to see a snapshot as of now."""

    done: Event = field(default_factory=Event)
    snapshot: FeedSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Close upstream, drain, and end by the monotonic second ``deadline``."""

    deadline: float


Message = Assigned | Desired | Revoked | Confirmed | Bound | Dialled | Look | Stop


class Mailbox:
    """Any thread puts, the feed thread takes."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def put(self, message: Message) -> None:
        """Leave a message and wake the feed thread."""
        self._messages.append(message)
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes it just as well
            os.write(self._write, b"!")

    def take(self) -> list[Message]:
        """Take all messages, oldest first."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        messages: list[Message] = []
        while self._messages:
            messages.append(self._messages.popleft())
        return messages

    def fileno(self) -> int:
        """Give the descriptor that turns readable with a message."""
        return self._read

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._read)
        os.close(self._write)
