"""Fixtures and rules for every test.

A test that asks for `kafka`, `own_kafka` or `make_kafka` carries the marker `kafka` of itself. Where no real Kafka can
be had it is skipped, and the end of the report says once, in yellow, what would help; under `CI=true` it fails instead:
a green run must not mean that nothing was tested.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NoReturn

import hypothesis
import pytest
from hypothesis import HealthCheck

from tests.support.kafka import Cluster, KafkaBroker, KafkaUnavailableError, any_kafka

KAFKA_FIXTURES = {"kafka", "make_kafka", "own_kafka"}

#: Seconds for the first test that needs Kafka: its fixture may have to fetch it over a slow line.
FETCH_TIMEOUT_S = 600

#: Lines for the end of the report: which Kafka was used, or why there was none.
KAFKA_NOTES = pytest.StashKey[list[str]]()
KAFKA_MISSING = pytest.StashKey[str]()


def pytest_configure() -> None:
    """Take the clock out of the properties, and let Ctrl-C reach what the tests start, also in a background run."""
    # A busy machine is no counter-example: neither one slow example nor slow drawing says anything of the code.
    hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    hypothesis.settings.load_profile("untimed")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # which every process hands on to its children
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A real Apache Kafka, warmed up, shared by all tests: use `unique` names, and leave the broker in peace."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(any_kafka())
        except KafkaUnavailableError as reason:
            _no_kafka(request.config, reason)
        request.config.stash[KAFKA_NOTES] = [
            f"used: {found.road}",
            *(f"not taken: {reason}" for reason in found.refused),
        ]
        yield found.cluster


@pytest.fixture
def make_kafka(request: pytest.FixtureRequest) -> Iterator[Callable[..., KafkaBroker]]:
    """Start real brokers for this test alone; arguments are those of `KafkaBroker`. Not warmed up."""
    with ExitStack() as stack:

        def make(*args: Any, **kwargs: Any) -> KafkaBroker:
            try:
                return stack.enter_context(KafkaBroker(*args, **kwargs))
            except KafkaUnavailableError as reason:
                _no_kafka(request.config, reason)

        yield make


@pytest.fixture
def own_kafka(make_kafka: Callable[..., KafkaBroker]) -> KafkaBroker:
    """A real broker for this test alone, to stop, kill and freeze; always from the jars, not warmed up."""
    return make_kafka()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in _needing_kafka(items):
        item.add_marker("kafka")


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in _needing_kafka(session.items)[:1]:
        item.add_marker(pytest.mark.timeout(FETCH_TIMEOUT_S))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if missing := config.stash.get(KAFKA_MISSING, None):
        terminalreporter.section("NO REAL KAFKA: these tests were not run", yellow=True, bold=True)
        terminalreporter.line(missing, yellow=True)
    elif notes := config.stash.get(KAFKA_NOTES, None):
        terminalreporter.section("Apache Kafka")
        for note in dict.fromkeys(notes):
            terminalreporter.line(note)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker of a parallel run hand its lines to the process that writes the report."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["kafka_notes"] = session.config.stash.get(KAFKA_NOTES, [])
        output["kafka_missing"] = session.config.stash.get(KAFKA_MISSING, "")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    output: dict[str, Any] = getattr(node, "workeroutput", {})
    if output.get("kafka_notes"):
        node.config.stash.setdefault(KAFKA_NOTES, []).extend(output["kafka_notes"])
    if output.get("kafka_missing"):
        node.config.stash[KAFKA_MISSING] = output["kafka_missing"]


def _needing_kafka(items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if KAFKA_FIXTURES & set(getattr(item, "fixturenames", ()))]


def _no_kafka(config: pytest.Config, reason: KafkaUnavailableError) -> NoReturn:
    config.stash[KAFKA_MISSING] = str(reason)
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(str(reason), pytrace=False)
    pytest.skip("no real Kafka; the end of the report says what would help")
