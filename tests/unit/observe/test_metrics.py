"""Every series of the contract exists at 0, and what a scrape says is what the snapshots say."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from bridge.model import State, SymbolState
from bridge.observe import health
from bridge.observe.health import Health
from bridge.observe.metrics import Metrics
from bridge.settings import Settings
from bridge.snapshots import Accounts, ControlSnapshot, FeedSnapshot, Histogram, LinkState

Sample = tuple[str, frozenset[tuple[str, str]]]


def scrape(
    feed: FeedSnapshot | None = None, control: ControlSnapshot | None = None, **settings: Any
) -> dict[Sample, float]:
    text, _ = metrics(feed, control, SETTINGS.model_copy(update=settings)).exposition()
    families = parse_text(text.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


SETTINGS = Settings(kafka={"bootstrap_servers": "127.0.0.1:9"})


def judge(feed: FeedSnapshot, control: ControlSnapshot) -> Health:
    return health.ready(feed, control, 0.0, session_timeout_s=10.0, grace_s=60.0)


def metrics(
    feed: FeedSnapshot | None = None, control: ControlSnapshot | None = None, settings: Settings = SETTINGS
) -> Metrics:
    return Metrics(
        lambda: feed or FeedSnapshot(), lambda: control or ControlSnapshot(), settings, version="9.9", ready=judge
    )


def at(name: str, **labels: str) -> Sample:
    return f"tickbridge_{name}", frozenset(labels.items())


@pytest.mark.parametrize(
    "sample",
    [
        at("ticks_received_total"),
        at("ticks_recovered_total"),
        *(
            at("ticks_total", outcome=outcome)
            for outcome in (
                *("published", "duplicate", "filtered", "invalid"),
                *("conflated", "dropped", "undeliverable"),
            )
        ),
        at("ticks_in_flight"),
        at("queue_bytes"),
        at("spill_bytes"),
        at("upstream_connected"),
        at("upstream_sessions_total", outcome="opened"),
        at("upstream_sessions_total", outcome="token"),
        at("upstream_disconnects_total", reason="silence"),
        at("upstream_disconnects_total", reason="closed_by_venue"),
        at("upstream_requests_total", kind="subscribe", result="accepted"),
        at("upstream_requests_total", kind="heartbeat", result="unanswered"),
        at("upstream_frames_total", kind="tick"),
        at("upstream_frames_total", kind="not_json"),
        *(at("subscriptions", state=state.value) for state in State),
        at("subscriptions_running_on_old_record"),
        *(at("control_records_total", result=result) for result in ("used", "tombstone", "invalid")),
        at("control_lag_records"),
        at("owned_partitions"),
        *(
            at("gaps_total", cause=cause)
            for cause in (
                *("disconnect", "restart", "crash", "stop"),
                *("rebalance", "lost_ownership", "overflow", "undeliverable"),
            )
        ),
        at("removals_held"),
        at("last_tick_timestamp_seconds"),
        at("clock_skew_seconds"),
        at("feed_latency_seconds_count"),
        at("feed_latency_seconds_sum"),
        at("feed_latency_seconds_bucket", le="+Inf"),
        at("delivery_latency_seconds_count"),
    ],
)
def test_a_series_of_the_contract_is_born_at_zero(sample: Sample) -> None:
    assert scrape()[sample] == 0


def test_the_build_says_name_and_version() -> None:
    assert scrape()[at("build_info", bridge="tickbridge", version="9.9")] == 1


def test_the_accounts_are_told_term_by_term() -> None:
    accounts = Accounts(*range(1, 11))
    samples = scrape(FeedSnapshot(accounts=accounts))
    assert samples[at("ticks_received_total")] == 1
    assert samples[at("ticks_recovered_total")] == 2
    assert samples[at("ticks_in_flight")] == 10
    for term in ("published", "duplicate", "filtered", "invalid", "conflated", "dropped", "undeliverable"):
        assert samples[at("ticks_total", outcome=term)] == getattr(accounts, term), term


def test_every_term_of_the_accounts_has_a_series() -> None:
    samples = scrape(FeedSnapshot(accounts=Accounts(**{term.name: 7 for term in fields(Accounts)})))
    told = [value for (name, _), value in samples.items() if name.startswith("tickbridge_ticks_")]
    assert told == [7] * len(fields(Accounts))


def test_a_scrape_takes_one_snapshot_of_each() -> None:
    feeds = iter([FeedSnapshot(accounts=Accounts(received=3, published=3))])
    controls = iter([ControlSnapshot(lag=4)])
    once: Callable[[], FeedSnapshot] = lambda: next(feeds)  # noqa: E731
    text, _ = Metrics(once, lambda: next(controls), SETTINGS, version="v", ready=judge).exposition()
    assert b"tickbridge_ticks_received_total 3.0" in text
    assert b"tickbridge_control_lag_records 4.0" in text


def test_labelled_counters_are_told_beside_those_at_zero() -> None:
    feed = FeedSnapshot(
        frames={"tick": 5},
        requests={("subscribe", "accepted"): 2},
        refusals={"slow": 4},
        sessions={"opened": 3},
        disconnects={"silence": 1},
    )
    samples = scrape(feed, ControlSnapshot(records={"used": 9}))
    assert samples[at("upstream_frames_total", kind="tick")] == 5
    assert samples[at("upstream_frames_total", kind="close")] == 0
    assert samples[at("upstream_requests_total", kind="subscribe", result="accepted")] == 2
    assert samples[at("upstream_refusals_total", remedy="slow")] == 4
    assert samples[at("upstream_refusals_total", remedy="bug")] == 0
    assert samples[at("upstream_sessions_total", outcome="opened")] == 3
    assert samples[at("upstream_disconnects_total", reason="silence")] == 1
    assert samples[at("control_records_total", result="used")] == 9


def test_a_label_value_nobody_listed_appears_once_it_is_counted() -> None:
    samples = scrape(FeedSnapshot(frames={"novelty": 1}))
    assert samples[at("upstream_frames_total", kind="novelty")] == 1


def test_symbols_are_counted_by_state_and_never_named() -> None:
    symbols = (
        SymbolState("700.HK", "700.HK", State.LIVE),
        SymbolState("AAPL.US", "AAPL.US", State.LIVE),
        SymbolState("NOPE", "NOPE", State.REJECTED),
    )
    samples = scrape(FeedSnapshot(symbols=symbols), ControlSnapshot(unusable={"TSLA.US": ("bad_json", "")}))
    assert samples[at("subscriptions", state="live")] == 2
    assert samples[at("subscriptions", state="invalid")] == 1
    assert samples[at("subscriptions", state="rejected")] == 1
    assert samples[at("subscriptions", state="stale")] == 0
    assert not [sample for sample in samples if "700.HK" in str(sample)]


def test_open_connections_and_partitions_are_counted() -> None:
    feed = FeedSnapshot(links=(LinkState(0, connected=True), LinkState(1), LinkState(2, connected=True)))
    samples = scrape(feed, ControlSnapshot(owned=(0, 1, 2), old_records=6))
    assert samples[at("upstream_connected")] == 2
    assert samples[at("owned_partitions")] == 3
    assert samples[at("subscriptions_running_on_old_record")] == 6


def test_times_and_sizes_are_in_seconds_and_bytes() -> None:
    samples = scrape(FeedSnapshot(last_tick_us=1_790_000_000_123_456, clock_skew_s=-0.25, queue_bytes=4096))
    assert samples[at("last_tick_timestamp_seconds")] == pytest.approx(1_790_000_000.123456, abs=1e-6)
    assert samples[at("clock_skew_seconds")] == -0.25
    assert samples[at("queue_bytes")] == 4096


def test_histogram_buckets_are_cumulative_and_end_at_infinity() -> None:
    samples = scrape(FeedSnapshot(feed_latency=Histogram((0.05, 1.0), (3, 2, 1), total=4.5)))
    assert samples[at("feed_latency_seconds_bucket", le="0.05")] == 3
    assert samples[at("feed_latency_seconds_bucket", le="1.0")] == 5
    assert samples[at("feed_latency_seconds_bucket", le="+Inf")] == 6
    assert samples[at("feed_latency_seconds_count")] == 6
    assert samples[at("feed_latency_seconds_sum")] == 4.5


def test_each_check_of_readiness_is_told() -> None:
    standby = scrape(control=ControlSnapshot(member=True))
    assert [standby[at("ready", check=check)] for check in ("group", "control", "upstream", "kafka")] == [1, 1, 1, 1]
    behind = scrape(control=ControlSnapshot(member=True, owned=(0,)))
    assert [behind[at("ready", check=check)] for check in ("group", "control", "upstream", "kafka")] == [1, 0, 0, 1]


def test_what_ticks_and_symbols_are_measured_against_is_told() -> None:
    samples = scrape()
    assert samples[at("queue_max_bytes")] == SETTINGS.backpressure.queue_max_bytes
    assert samples[at("max_symbols")] == SETTINGS.upstream.limits().max_symbols


def test_a_spill_that_cannot_be_used_is_told_of() -> None:
    assert scrape()[at("spill_trouble")] == 0
    assert scrape(FeedSnapshot(spill_trouble="No space left on device"))[at("spill_trouble")] == 1


def test_without_a_directory_the_spill_has_no_room() -> None:
    pressure = SETTINGS.backpressure
    there = pressure.model_copy(update={"spill_dir": Path("/spill")})
    assert scrape()[at("spill_max_bytes")] == 0
    assert scrape(backpressure=there)[at("spill_max_bytes")] == pressure.spill_max_bytes > 0


def test_openmetrics_is_written_when_it_is_asked_for() -> None:
    text, content_type = metrics().exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call]
    assert {"tickbridge_ticks", "tickbridge_build", "tickbridge_feed_latency_seconds"} <= names


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "application/openmetrics-text; version=x", "a\r\n b"])
def test_the_plain_format_is_written_otherwise(accept: str) -> None:
    text, content_type = metrics().exposition(accept)
    assert content_type.startswith("text/plain")
    assert text.startswith(b"# HELP")


def test_the_process_tells_its_memory() -> None:
    assert scrape()["process_resident_memory_bytes", frozenset()] > 0
