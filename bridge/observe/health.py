"""What the probes ask: is the process alive, and should the world count on it.

Both answers are lists of named checks, decided from the snapshots at a given moment; ``now`` and all beats are
monotonic seconds.

Alive means that both loops turn. It never looks at Kafka or the venue: a restart would help neither, and would lose the
connection and the queue. Ready means that the bridge does what it is there for. It never looks at single symbols: what
one operator got wrong must not take the service away from the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.snapshots import ControlSnapshot, FeedSnapshot, LinkState

#: A loop that has not turned for so many seconds is stuck; above every wait that a turn may contain.
BEAT_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was seen."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """All that was looked at; it is well when every check is."""

    checks: Mapping[str, Check]

    @property
    def ok(self) -> bool:
        """Tell whether every check is well."""
        return all(check.ok for check in self.checks.values())


def alive(feed: FeedSnapshot, control: ControlSnapshot, now: float, *, started: float) -> Health:
    """Tell whether both loops turn; one that has not begun counts from ``started``."""
    beats = {"feed_loop": feed.beat, "control_loop": control.beat}
    return Health({name: _beat(now - max(beat, started)) for name, beat in beats.items()})


def ready(
    feed: FeedSnapshot, control: ControlSnapshot, now: float, *, session_timeout_s: float, grace_s: float
) -> Health:
    """Tell whether the bridge does its work, as the owner of control partitions or as a warm standby.

    Kafka may be out of reach for ``session_timeout_s`` seconds and the venue for ``grace_s`` before it shows.
    """
    return Health(
        {
            "group": _group(control),
            "control": _control(control),
            "upstream": _upstream(feed, control, now, grace_s),
            "kafka": _kafka(feed, control, now, session_timeout_s),
        }
    )


def _beat(age: float) -> Check:
    """Judge a loop by the seconds since its last turn; a healthy answer is the same at every call."""
    if age <= BEAT_MAX_S:
        return Check(ok=True, detail="turns")
    return Check(ok=False, detail=f"has not turned for {age:.0f} s")


def _group(control: ControlSnapshot) -> Check:
    if not control.member:
        return Check(ok=False, detail="not a member of the consumer group")
    if not control.owned:
        return Check(ok=True, detail="standby: a member with nothing assigned")
    return Check(ok=True, detail=f"owns {_partitions(control.owned)}")


def _control(control: ControlSnapshot) -> Check:
    unread = sorted(set(control.owned) - set(control.caught_up))
    if unread:
        return Check(ok=False, detail=f"{_partitions(unread)} not read to the end yet")
    return Check(ok=True, detail="read to the end" if control.owned else "nothing to read")


def _upstream(feed: FeedSnapshot, control: ControlSnapshot, now: float, grace_s: float) -> Check:
    links = {link.partition: link for link in feed.links}
    faults = [
        f"partition {partition}: {fault}"
        for partition in sorted(control.owned)
        if (fault := _link_fault(links.get(partition), now, grace_s))
    ]
    if faults:
        return Check(ok=False, detail="; ".join(faults))
    return Check(ok=True, detail="serves what is asked for" if control.owned else "not needed")


def _link_fault(link: LinkState | None, now: float, grace_s: float) -> str:
    """Say what keeps a link from being counted on; empty if nothing does.

    A link that is settled, was never connected and knows no reason for that had nothing to ask for.
    """
    if link is None:
        return "no connection yet"
    because = f" ({link.reason})" if link.reason else ""
    if link.reason == "token":  # no grace: waiting will not mend it
        return "the venue does not accept the token"
    if not link.settled:
        return f"the first request is not answered yet{because}"
    if link.down_since is None and link.reason:
        return f"never connected{because}"
    if link.connected or link.down_since is None or now - link.down_since < grace_s:
        return ""
    return f"down for more than {grace_s:g} s{because}"


def _kafka(feed: FeedSnapshot, control: ControlSnapshot, now: float, patience_s: float) -> Check:
    troubles = (
        ("reading", control.trouble, control.trouble_since),
        ("writing", feed.kafka_trouble, feed.kafka_trouble_since),
    )
    faults = [f"{what}: {trouble}" for what, trouble, since in troubles if trouble and now - since > patience_s]
    if faults:
        return Check(ok=False, detail="; ".join(faults))
    return Check(ok=True, detail="reachable")


def _partitions(numbers: tuple[int, ...] | list[int]) -> str:
    word = "partition" if len(numbers) == 1 else "partitions"
    return f"{word} {', '.join(map(str, sorted(numbers)))}"
