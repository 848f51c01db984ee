"""``tickbridge topics``: the topics as the settings want them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from bridge.cli.sheet import Sheet
from bridge.cli.stream import LOOK_S
from bridge.cli.tables import Output, OutputOption, busy, emit, plain
from bridge.publish import topics
from bridge.publish.topics import Outcome
from bridge.settings import load

if TYPE_CHECKING:
    from bridge.publish.topics import TopicReport

_STYLES = {Outcome.CREATED: "green", Outcome.EXISTS: "", Outcome.DIFFERS: "bold yellow"}

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", epilog="Example: [bold]tickbridge topics ensure[/]")


@app.callback()
def _topics() -> None:
    """Make the bridge's topics, or see how they differ from the settings."""


@app.command()
def ensure(output: OutputOption = Output.TABLE) -> None:
    """Create the topics that are missing; report, never alter, what differs.

    Names, partitions, replication and retention are settings (TICKBRIDGE_TOPICS__…). A cluster of fewer brokers than
    TICKBRIDGE_TOPICS__REPLICATION gets as many replicas as it can hold, and you are told. It is safe to repeat.

    Examples:

        tickbridge topics ensure

        TICKBRIDGE_TOPICS__TICKS_PARTITIONS=48 tickbridge topics ensure -o json
    """
    settings = load()
    with busy(f"Looking at the topics on {settings.kafka.bootstrap_servers} …"):
        properties, specs = settings.kafka.as_librdkafka(), topics.plan(settings.topics)
        topics.missing(properties, [specs[0].name], LOOK_S)  # who is out of reach is told of soon
        reports = topics.ensure(properties, specs)
    emit(output, [asdict(report) for report in reports], lambda: _table(reports))


def _table(reports: list[TopicReport]) -> Sheet:
    made = Sheet("topic", "result", "details", gives="details")
    for report in reports:
        result = plain(report.outcome, _STYLES[report.outcome])
        made.add_row(plain(report.name), result, Text("\n").join(map(plain, report.details)))
    return made
