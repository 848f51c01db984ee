"""What ``/status`` says, and the page shows: the two snapshots as one JSON document.

Pure: everything is an argument. Times ``…_us`` are microseconds since the epoch, ``now_us`` among them, so that a
reader judges ages by the bridge's clock and not by its own. What is not known is null, and no key ever goes missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import msgspec

from bridge.model import State, SymbolState
from bridge.observe.health import Health
from bridge.settings import Settings
from bridge.snapshots import Accounts, ControlSnapshot, FeedSnapshot, LinkState

_TERMS = tuple(term.name for term in fields(Accounts))
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers: the process, and what it was told; the settings' secrets are not shown."""

    settings: Settings
    instance: str
    version: str


def status(
    identity: Identity, feed: FeedSnapshot, control: ControlSnapshot, *, alive: Health, ready: Health, now_us: int
) -> bytes:
    """Write the document; ``alive`` and ``ready`` are what the probes say at the same moment."""
    settings = identity.settings
    return _encode(
        {
            "name": settings.name,
            "instance": identity.instance,
            "version": identity.version,
            "now_us": now_us,
            "healthy": alive.ok,
            "ready": ready.ok,
            "checks": {**alive.checks, **ready.checks},
            "upstream": {
                "market": settings.upstream.market,
                "dialect": settings.upstream.dialect,
                "plan": settings.upstream.plan,
                "max_symbols": settings.upstream.limits().max_symbols,
            },
            "partitions": _partitions(feed, control),
            "accounts": {term: getattr(feed.accounts, term) for term in _TERMS},
            "balanced": feed.accounts.balanced,
            "last_tick_us": feed.last_tick_us or None,
            "clock_skew_s": feed.clock_skew_s,
            "backpressure": _backpressure(settings, feed),
            "control": _control(control),
            "symbols": [_symbol(row) for row in symbols(feed, control)],
        }
    )


def symbols(feed: FeedSnapshot, control: ControlSnapshot) -> Iterator[SymbolState]:
    """Give each symbol's row as the status topic has it: one whose newest record is unusable is `invalid`."""
    unusable = dict(control.unusable)
    for row in feed.symbols:
        bad = unusable.pop(row.symbol, None)
        yield row if bad is None else replace(row, state=State.INVALID, reason=bad[0], detail=bad[1])
    for symbol, (reason, detail) in unusable.items():
        yield SymbolState(symbol, "", State.INVALID, reason, detail)


def _partitions(feed: FeedSnapshot, control: ControlSnapshot) -> list[dict[str, object]]:
    """Describe every partition that is owned or still has a connection."""
    links = {partition: LinkState(partition) for partition in control.owned}
    links |= {link.partition: link for link in feed.links}
    return [_partition(links[number], control) for number in sorted(links)]


def _partition(link: LinkState, control: ControlSnapshot) -> dict[str, object]:
    return {
        "partition": link.partition,
        "owned": link.partition in control.owned,
        "caught_up": link.partition in control.caught_up,
        "session": link.session or None,
        "connected": link.connected,
        "since_us": link.since_us or None,
        "settled": link.settled,
        "accepted": link.accepted,
        "removals_held": link.removals_held,
        "reason": link.reason,
        "detail": link.detail,
    }


def _backpressure(settings: Settings, feed: FeedSnapshot) -> dict[str, object]:
    return {
        "policy": settings.backpressure.policy,
        "in_flight": feed.accounts.in_flight,
        "places": dict(feed.places),
        "handed_over_max": settings.backpressure.handed_over_max,
        "queue_bytes": feed.queue_bytes,
        "queue_max_bytes": settings.backpressure.queue_max_bytes,
        "spill_bytes": feed.spill_bytes,
        "trouble": feed.kafka_trouble,
    }


def _control(control: ControlSnapshot) -> dict[str, object]:
    return {
        "member": control.member,
        "owned": sorted(control.owned),
        "caught_up": control.member and set(control.owned) <= set(control.caught_up),
        "lag": control.lag,
        "records": dict(control.records),
        "running_on_old_record": control.old_records,
        "trouble": control.trouble,
    }


def _symbol(row: SymbolState) -> dict[str, object]:
    return {
        "symbol": row.symbol,
        "code": row.code,
        "state": row.state,
        "reason": row.reason,
        "detail": row.detail,
        "last_tick_us": row.last_tick_us or None,
        "price": row.price or None,
        "priority": row.priority,
    }
