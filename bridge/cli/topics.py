"""``tickbridge topics``: the topics as the settings want them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.publish import topics
from bridge.publish.topics import Outcome
from bridge.settings import load

if TYPE_CHECKING:
    from bridge.publish.topics import TopicReport

#: Columns of a table that goes into a file or a pipe.
WIDTH = 160

_STYLES = {Outcome.CREATED: "green", Outcome.EXISTS: "", Outcome.DIFFERS: "bold yellow"}

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


@app.callback()
def _topics() -> None:
    """Make the bridge's topics, or see how they differ from the settings."""


@app.command()
def ensure(
    output: Annotated[Output, typer.Option("-o", "--output", help="How the result is printed.")] = Output.TABLE,
) -> None:
    """Create the topics that are missing; report, never alter, what differs.

    Names, partitions, replication and retention are settings (TICKBRIDGE_TOPICS__…). A cluster of fewer brokers than
    TICKBRIDGE_TOPICS__REPLICATION gets as many replicas as it can hold, and you are told. It is safe to repeat.

    Examples:

        tickbridge topics ensure

        TICKBRIDGE_TOPICS__TICKS_PARTITIONS=48 tickbridge topics ensure -o json
    """
    settings = load()
    with Console(stderr=True).status(f"Looking at the topics on {settings.kafka.bootstrap_servers} …"):
        reports = topics.ensure(settings.kafka.as_librdkafka(), topics.plan(settings.topics))
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(_table(reports))


def _table(reports: list[TopicReport]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("topic", "result", "details"):
        table.add_column(heading, overflow="fold")
    for report in reports:
        result = Text(report.outcome, style=_STYLES[report.outcome])
        table.add_row(Text(report.name), result, Text("\n".join(report.details)))
    return table
