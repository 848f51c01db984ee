"""What Prometheus reads: every series of the contract, born at 0, computed from one snapshot per scrape.

Nothing here is counted while ticks flow. A scrape takes the feed's newest snapshot once and the control's once, so the
terms of guarantee 7 are those of one instant and add up exactly. Label values that are known are listed here, so that
every series exists before the first event; a value that is not listed still appears once it is counted.

Seconds and bytes; no symbol is ever a label. Series whose cause cannot occur (nothing spills, no removal is held, no
gap is written) stand at 0, so that alerts on them are valid from the first day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from bridge.model import State
from bridge.observe.health import Health
from bridge.observe.status import symbols
from bridge.settings import Settings
from bridge.snapshots import ControlSnapshot, FeedSnapshot, Histogram

OUTCOMES = ("published", "duplicate", "filtered", "invalid", "conflated", "dropped", "undeliverable")
SESSION_OUTCOMES = (
    *("opened", "token", "too_many_connections", "refused"),
    *("dns", "network", "proxy", "timeout", "tls"),
)
DISCONNECT_REASONS = (
    *("closed_by_venue", "network", "write", "protocol", "silence", "heartbeat", "unanswered", "token"),
    *("revoked", "lost", "stop"),
)
REQUEST_KINDS = ("subscribe", "unsubscribe", "cancel", "heartbeat")
REQUEST_RESULTS = ("sent", "accepted", "refused", "unanswered")
REMEDIES = ("bug", "narrow", "shrink", "slow", "token")
FRAME_KINDS = (
    *("tick", "depth", "answer", "heartbeat", "ping", "pong", "close"),
    *("binary", "not_json", "oversized", "protocol_error", "unknown", "wrong_type"),
)
RECORD_RESULTS = ("used", "tombstone", "invalid")
GAP_CAUSES = (
    *("disconnect", "restart", "crash", "stop"),
    *("rebalance", "lost_ownership", "overflow", "undeliverable"),
)

_MICROSECONDS = 1_000_000


class Metrics:
    """The registry of one bridge; ``ready`` is the judgement that ``/readyz`` gives of two snapshots."""

    def __init__(
        self, feed: Callable[[], FeedSnapshot], control: Callable[[], ControlSnapshot], settings: Settings, *,
        version: str, ready: Callable[[FeedSnapshot, ControlSnapshot], Health],
    ) -> None:  # fmt: skip
        self.registry = CollectorRegistry()
        self.registry.register(_Snapshots(feed, control, settings, version, ready))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Write all series in the format that the ``Accept`` header asks for; give them with their content type."""
        try:
            encode, content_type = choose_encoder(" ".join(accept.split()))
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return encode(self.registry), content_type


class _Snapshots(Collector):
    """Turns one pair of snapshots into series at each scrape."""

    def __init__(
        self, feed: Callable[[], FeedSnapshot], control: Callable[[], ControlSnapshot], settings: Settings,
        version: str, ready: Callable[[FeedSnapshot, ControlSnapshot], Health],
    ) -> None:  # fmt: skip
        self._feed = feed
        self._control = control
        self._ready = ready
        self._settings = settings
        self._build = {"bridge": settings.name, "version": version}

    def collect(self) -> Iterable[Metric]:
        feed, control = self._feed(), self._control()
        yield InfoMetricFamily("tickbridge_build", "The deployment's name and the version it runs.", self._build)
        family = GaugeMetricFamily("tickbridge_ready", "1 where this check of /readyz is well.", labels=["check"])
        for name, check in self._ready(feed, control).checks.items():
            family.add_metric([name], check.ok)
        yield family
        yield from _ticks(feed)
        yield from _limits(self._settings)
        gaps = dict.fromkeys(GAP_CAUSES, 0) | dict(control.gaps)
        yield _counters("gaps", "Gap records opened, by cause.", ["cause"], gaps)
        yield from _upstream(feed)
        yield from _subscriptions(feed, control)


def _ticks(feed: FeedSnapshot) -> Iterator[Metric]:
    accounts = feed.accounts
    yield _counter("ticks_received", "The venue's tick pushes, usable or not.", accounts.received)
    yield _counter("ticks_recovered", "Ticks found in a spill at start.", accounts.recovered)
    outcomes = {outcome: getattr(accounts, outcome) for outcome in OUTCOMES}
    yield _counters("ticks", "What became of the ticks, by outcome.", ["outcome"], outcomes)
    yield _gauge("ticks_in_flight", "Ticks that are neither delivered nor given up yet.", accounts.in_flight)
    yield _gauge("queue_bytes", "Memory held by ticks that wait for Kafka.", feed.queue_bytes)
    yield _gauge("spill_bytes", "Disk held by ticks that wait for Kafka.", feed.spill_bytes)
    yield _gauge("spill_trouble", "1 while the spill's disk takes nothing.", bool(feed.spill_trouble))
    yield _gauge(
        "last_tick_timestamp_seconds",
        "When the newest tick was received, in seconds since the epoch; 0 before the first.",
        feed.last_tick_us / _MICROSECONDS,
    )
    yield _gauge("clock_skew_seconds", "The venue's clock minus ours, as far as ticks show it.", feed.clock_skew_s)
    yield _histogram("feed_latency_seconds", "From the venue's time of a tick to its receipt.", feed.feed_latency)
    yield _histogram(
        "delivery_latency_seconds", "From the receipt of a tick to Kafka's acknowledgement.", feed.delivery_latency
    )


def _limits(settings: Settings) -> Iterator[Metric]:
    """Tell the settings that other series are measured against."""
    pressure, cap = settings.backpressure, settings.upstream.limits().max_symbols
    spill = pressure.spill_max_bytes if pressure.spill_dir else 0
    yield _gauge("queue_max_bytes", "Memory that ticks may hold that wait for Kafka.", pressure.queue_max_bytes)
    yield _gauge("spill_max_bytes", "Disk that ticks may hold that wait for Kafka; 0 without a spill.", spill)
    yield _gauge("max_symbols", "Symbols that one upstream connection may have.", cap)


def _upstream(feed: FeedSnapshot) -> Iterator[Metric]:
    connected = sum(link.connected for link in feed.links)
    yield _gauge(
        "upstream_connected", "Upstream connections that are open, one per owned control partition.", connected
    )
    sessions = dict.fromkeys(SESSION_OUTCOMES, 0) | dict(feed.sessions)
    yield _counters("upstream_sessions", "Attempts to open an upstream connection, by outcome.", ["outcome"], sessions)
    reasons = dict.fromkeys(DISCONNECT_REASONS, 0) | dict(feed.disconnects)
    yield _counters("upstream_disconnects", "Upstream connections that ended, by reason.", ["reason"], reasons)
    requests = dict.fromkeys(product(REQUEST_KINDS, REQUEST_RESULTS), 0) | dict(feed.requests)
    yield _counters("upstream_requests", "Requests to the venue, by kind and result.", ["kind", "result"], requests)
    refusals = dict.fromkeys(REMEDIES, 0) | dict(feed.refusals)
    text = "Answers that are no consent, by what they ask of us."
    yield _counters("upstream_refusals", text, ["remedy"], refusals)
    frames = dict.fromkeys(FRAME_KINDS, 0) | dict(feed.frames)
    yield _counters("upstream_frames", "Frames from the venue, by kind.", ["kind"], frames)


def _subscriptions(feed: FeedSnapshot, control: ControlSnapshot) -> Iterator[Metric]:
    states = Counter(row.state for row in symbols(feed, control))
    family = GaugeMetricFamily("tickbridge_subscriptions", "Symbols in the control topic, by state.", labels=["state"])
    for state in State:
        family.add_metric([state.value], states[state])
    yield family
    yield _gauge(
        "subscriptions_running_on_old_record",
        "Symbols whose newest control record cannot be used, so that an older one is in force.",
        control.old_records,
    )
    held = sum(link.removals_held for link in feed.links)
    yield _gauge("removals_held", "Symbols whose removal is held back, because too many would disappear.", held)
    records = dict.fromkeys(RECORD_RESULTS, 0) | dict(control.records)
    yield _counters("control_records", "Control records read, by result.", ["result"], records)
    yield _gauge("control_lag_records", "Control records not read yet, over all owned partitions.", control.lag)
    yield _gauge("owned_partitions", "Control partitions this instance owns.", len(control.owned))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tickbridge_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"tickbridge_{name}", text, value=value)


def _counters(
    name: str, text: str, labels: Sequence[str], values: Mapping[str, int] | Mapping[tuple[str, str], int]
) -> Metric:
    family = CounterMetricFamily(f"tickbridge_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric([key] if isinstance(key, str) else key, value)
    return family


def _histogram(name: str, text: str, observed: Histogram) -> Metric:
    bounds = (*map(floatToGoString, observed.bounds), "+Inf")
    buckets = list(zip(bounds, accumulate(observed.counts), strict=True))
    return HistogramMetricFamily(f"tickbridge_{name}", text, buckets=buckets, sum_value=observed.total)
