"""For each alert of the chart, series under which it fires and series under which it must not.

Every case is a change to `HEALTHY`: an owner ``a`` and a standby ``b``, both alive for a day, scraped for an hour.
Values are in promtool's notation, one each half minute; a case is looked at in its minute 50, which is the 101st value.
In a series that changes, ``0x80 1x40`` has the new value for the last ten minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

MINUTE = 50
RELEASE = 'namespace="default",job="bridge-tickbridge"'

#: A series of an instance, as in ``a ticks_total{outcome="dropped"}``, and its values; None takes it away.
Change: TypeAlias = Mapping[str, str | None]

_MIB = 1024 * 1024
_OLD = "-86400+0x120"  # a day before the first value

_EITHER: dict[str, str] = {
    "build_info": "1x120",
    **{f'ready{{check="{check}"}}': "1x120" for check in ("group", "control", "upstream", "kafka")},
    **{f'ticks_total{{outcome="{one}"}}': "0x120" for one in ("conflated", "dropped", "invalid", "undeliverable")},
    "ticks_recovered_total": "0x120",
    "queue_bytes": "0x120",
    "queue_max_bytes": f"{64 * _MIB}x120",
    "spill_bytes": "0x120",
    "spill_max_bytes": f"{1024 * _MIB}x120",
    **{f'upstream_sessions_total{{outcome="{one}"}}': "0x120" for one in ("token", "too_many_connections")},
    **{f'upstream_disconnects_total{{reason="{one}"}}': "0x120" for one in ("silence", "revoked", "token")},
    **{f'upstream_refusals_total{{remedy="{one}"}}': "0x120" for one in ("bug", "narrow", "slow")},
    "spill_trouble": "0x120",
    **{f'subscriptions{{state="{one}"}}': "0x120" for one in ("over_cap", "pending", "rejected", "stale", "waiting")},
    "subscriptions_running_on_old_record": "0x120",
    "removals_held": "0x120",
    'control_records_total{result="invalid"}': "0x120",
    "control_lag_records": "0x120",
    **{f'gaps_total{{cause="{cause}"}}': "0x120" for cause in ("crash", "disconnect", "stop")},
    "process_start_time_seconds": _OLD,
}
_OWNER = {
    "owned_partitions": "1x120",
    "upstream_connected": "1x120",
    "ticks_received_total": "5+3000x120",
    'ticks_total{outcome="published"}': "0+2990x120",
    'ticks_total{outcome="duplicate"}': "0+10x120",
    "ticks_in_flight": "5x120",
    "clock_skew_seconds": "0.1x120",
    **{f'feed_latency_seconds_bucket{{le="{le}"}}': "0+3000x120" for le in ("1.0", "10.0", "+Inf")},
    **{f'delivery_latency_seconds_bucket{{le="{le}"}}': "0+3000x120" for le in ("1.0", "10.0", "+Inf")},
    'subscriptions{state="live"}': "100x120",
}
_STANDBY = {
    "owned_partitions": "0x120",
    "upstream_connected": "0x120",
    "ticks_received_total": "0x120",
    'ticks_total{outcome="published"}': "0x120",
    'ticks_total{outcome="duplicate"}': "0x120",
    "ticks_in_flight": "0x120",
    "clock_skew_seconds": "0x120",
    **{f'feed_latency_seconds_bucket{{le="{le}"}}': "0x120" for le in ("1.0", "10.0", "+Inf")},
    **{f'delivery_latency_seconds_bucket{{le="{le}"}}': "0x120" for le in ("1.0", "10.0", "+Inf")},
    'subscriptions{state="live"}': "0x120",
}
HEALTHY: dict[str, str] = {
    **{f"a {name}": values for name, values in {**_EITHER, **_OWNER}.items()},
    **{f"b {name}": values for name, values in {**_EITHER, **_STANDBY}.items()},
}


def series(change: Change) -> dict[str, str]:
    """Give the series of both instances after a change, by their full names."""
    return {_full(name): values for name, values in {**HEALTHY, **change}.items() if values is not None}


def _full(short: str) -> str:
    instance, metric = short.split(" ", 1)
    name, _, labels = metric.removesuffix("}").partition("{")
    prefix = "" if name.startswith("process_") else "tickbridge_"
    return f'{prefix}{name}{{{RELEASE},instance="{instance}"{"," + labels if labels else ""}}}'


@dataclass(frozen=True)
class Case:
    """Changes under each of which an alert fires, and changes under none of which it does."""

    fires: tuple[Change, ...]
    quiet: tuple[Change, ...]


def _stale(stale: int) -> Change:
    return {
        'a subscriptions{state="stale"}': f"0x80 {stale}x40",
        'a subscriptions{state="live"}': f"100x80 {100 - stale}x40",
    }


CASES: dict[str, Case] = {
    # ownership
    "BridgeAbsent": Case(
        fires=(dict.fromkeys(("a build_info", "b build_info"), "1x60 _x60"),),
        quiet=({"b build_info": "1x60 _x60"}, dict.fromkeys(("a build_info", "b build_info"), "1x84 _x40")),
    ),
    "NoOwner": Case(
        fires=({"a owned_partitions": "1x80 0x40", "a upstream_connected": "1x80 0x40"},),
        quiet=(
            {"a owned_partitions": "1x98 0x20"},
            # A Kafka outage: nobody can own anything, and the connection is kept.
            {"a owned_partitions": "1x80 0x40", 'a ready{check="kafka"}': "1x80 0x40"},
        ),
    ),
    "TwoConnections": Case(
        fires=({"b upstream_connected": "0x80 1x40"},),
        quiet=({"b upstream_connected": "0x98 1x20"}, {"a owned_partitions": "1x80 0x40"}),
    ),
    # feed
    "FeedDown": Case(
        fires=({"a upstream_connected": "1x80 0x40"},),
        quiet=({"a upstream_connected": "1x97 0x20"},),
    ),
    "FeedFlapping": Case(
        fires=({'a upstream_disconnects_total{reason="silence"}': "0x20 1+1x7 8x90"},),
        quiet=(
            {'a upstream_disconnects_total{reason="silence"}': "0x20 1+1x2 3x95"},
            {'a upstream_disconnects_total{reason="revoked"}': "0x20 1+1x7 8x90"},
        ),
    ),
    "FeedStaleInMarketHours": Case(fires=(_stale(60), _stale(100)), quiet=(_stale(40),)),
    "FeedSlow": Case(
        fires=({'a feed_latency_seconds_bucket{le="1.0"}': "0x120"},),
        quiet=({'a feed_latency_seconds_bucket{le="1.0"}': "0+1600x120"},),
    ),
    "ClockSkew": Case(
        fires=({"a clock_skew_seconds": "0.1x80 3x40"},),
        # What a standby has seen as an owner, long ago, says nothing.
        quiet=({"a clock_skew_seconds": "0.1x95 3x40"}, {"b clock_skew_seconds": "3x120"}),
    ),
    "InvalidTicks": Case(
        fires=({'a ticks_total{outcome="invalid"}': "0+100x120", 'a ticks_total{outcome="published"}': "0+2890x120"},),
        quiet=({'a ticks_total{outcome="invalid"}': "0+10x120", 'a ticks_total{outcome="published"}': "0+2980x120"},),
    ),
    "TokenRejected": Case(
        fires=(
            {'a upstream_sessions_total{outcome="token"}': "0x90 1x30"},
            {'a upstream_disconnects_total{reason="token"}': "0x90 1x30"},
        ),
        quiet=({'a upstream_sessions_total{outcome="token"}': "0x60 1x60"},),
    ),
    "RateLimited": Case(
        fires=(
            {'a upstream_sessions_total{outcome="too_many_connections"}': "0x90 1x30"},
            {'a upstream_refusals_total{remedy="slow"}': "0x90 1x30"},
        ),
        quiet=(
            {'a upstream_sessions_total{outcome="too_many_connections"}': "0x60 1x60"},
            {'a upstream_refusals_total{remedy="narrow"}': "0x90 1+1x30"},
        ),
    ),
    "RequestsNotUnderstood": Case(
        fires=({'a upstream_refusals_total{remedy="bug"}': "0x90 1x30"},),
        quiet=({'a upstream_refusals_total{remedy="bug"}': "0x60 1x60"},),
    ),
    # subscriptions
    "SubscriptionDriftFor5m": Case(
        fires=({'a subscriptions{state="pending"}': "0x80 3x40"},),
        quiet=({'a subscriptions{state="pending"}': "0x93 3x30"},),
    ),
    "SubscriptionsOverCap": Case(
        fires=({'a subscriptions{state="over_cap"}': "0x80 3x40"},),
        quiet=({'a subscriptions{state="over_cap"}': "0x93 3x30"},),
    ),
    "SubscriptionsRejected": Case(
        fires=({'a subscriptions{state="rejected"}': "0x70 1x50"},),
        quiet=({'a subscriptions{state="rejected"}': "0x85 1x40"},),
    ),
    "RemovalsHeld": Case(
        # Seen in one scrape only: the hold is as short as that.
        fires=({"a removals_held": "0x95 80 0x30"},),
        quiet=({"a removals_held": "0x60 80 0x60"},),
    ),
    "ControlLag": Case(
        fires=({"a control_lag_records": "0x80 500x40"}, {'a ready{check="control"}': "1x80 0x40"}),
        quiet=({"a control_lag_records": "0x80 50x40"}, {'a ready{check="control"}': "1x97 0x20"}),
    ),
    "ControlPoison": Case(
        fires=(
            {"a subscriptions_running_on_old_record": "0x98 1x20"},
            {'a control_records_total{result="invalid"}': "0x90 1x30"},
        ),
        quiet=({'a control_records_total{result="invalid"}': "0x60 1x60"},),
    ),
    # delivery
    "KafkaUnreachable": Case(
        fires=({'a ready{check="kafka"}': "1x80 0x40"}, {'b ready{check="group"}': "1x80 0x40"}),
        quiet=({'a ready{check="kafka"}': "1x98 0x20"}, {'a ready{check="upstream"}': "1x80 0x40"}),
    ),
    "DeliveryStalled": Case(
        fires=(
            {'a ticks_total{outcome="published"}': "0+2990x80 239200x40", "a ticks_in_flight": "5x80 3000+3000x40"},
        ),
        # The market is closed.
        quiet=({'a ticks_total{outcome="published"}': "0+2990x80 239200x40", "a ticks_in_flight": "5x80 0x40"},),
    ),
    "DeliverySlow": Case(
        fires=({'a delivery_latency_seconds_bucket{le="1.0"}': "0+2900x120"},),
        quiet=({'a delivery_latency_seconds_bucket{le="1.0"}': "0+2990x120"},),
    ),
    "DeliveryErrors": Case(
        fires=({'a ticks_total{outcome="undeliverable"}': "0x90 2x30"},),
        quiet=({'a ticks_total{outcome="undeliverable"}': "0x60 2x60"},),
    ),
    "QueueNearlyFull": Case(
        fires=(
            {"a queue_bytes": f"0x80 {60 * _MIB}x40"},
            {"a queue_bytes": f"0x80 {60 * _MIB}x40", "a spill_bytes": f"0x80 {1000 * _MIB}x40"},
        ),
        quiet=(
            # Memory is full because the disk takes the rest, as it should.
            {"a queue_bytes": f"0x80 {64 * _MIB}x40", "a spill_bytes": f"0x80 {100 * _MIB}x40"},
            {"a queue_bytes": f"0x80 {40 * _MIB}x40"},
        ),
    ),
    "SpillFilling": Case(
        fires=({"a spill_bytes": "0x70 20000000+20000000x45"},),
        quiet=({"a spill_bytes": "0x70 1000000+1000000x45"}, {"a spill_bytes": "900000000-8000000x110"}),
    ),
    "SpillUnusable": Case(
        fires=({"a spill_trouble": "0x80 1x40"},),
        quiet=({"a spill_trouble": "0x99 1x20"},),
    ),
    "DroppingTicks": Case(
        fires=(
            {'a ticks_total{outcome="dropped"}': "0x90 50x30"},
            {'a ticks_total{outcome="conflated"}': "0x90 50x30"},
        ),
        quiet=({'a ticks_total{outcome="dropped"}': "0x60 50x60"},),
    ),
    "GapsOpened": Case(
        fires=(
            {'a gaps_total{cause="disconnect"}': "0x90 100x30"},
            # A new process has told of its predecessor's crash before it was scraped for the first time.
            {'a gaps_total{cause="crash"}': "_x95 100x30", "a process_start_time_seconds": "_x95 2870x30"},
        ),
        quiet=(
            {'a gaps_total{cause="stop"}': "0x90 100x30"},
            # Prometheus was away, and now sees what was counted days ago.
            {'a gaps_total{cause="crash"}': "_x95 100x30"},
        ),
    ),
    "TicksUnaccounted": Case(
        fires=({"a ticks_received_total": "6+3000x120"},),
        quiet=({"a ticks_received_total": "9+3000x120", "a ticks_in_flight": "9x120"},),
    ),
}
