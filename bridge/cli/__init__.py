"""The command line: one file for each group of commands, and one place that turns errors into exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from bridge import __version__
from bridge.cli import check, config, demo, run, simulate, status, subscriptions, ticks, topics
from bridge.cli.help import Group, tell
from bridge.cli.tables import errors, hang_up
from bridge.errors import EXIT_KAFKA, EXIT_OK, EXIT_SETTINGS, KafkaUnusable, SettingsError
from bridge.settings import use_config

#: Lines of an error that are shown: three thousand of a file would push the first, which tell most, off the screen.
LINES = 20


class _Commands(Group):
    """Runs a command; an error of ours becomes its lines and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        console = errors()
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for line in error.lines[:LINES]:
                console.print(Text.assemble(("error: ", "bold red"), line))
            if (more := len(error.lines) - LINES) > 0:
                console.print(Text.assemble(("error: ", "bold red"), f"and {more:,} more of them"))
            raise typer.Exit(EXIT_SETTINGS) from None
        except KafkaUnusable as error:
            console.print(Text.assemble(("error: ", "bold red"), error.what, ("; what to do: ", "bold"), error.remedy))
            raise typer.Exit(EXIT_KAFKA) from None
        except BrokenPipeError:  # whoever read us has enough
            hang_up()
            raise typer.Exit(EXIT_OK) from None


app = typer.Typer(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Keep one market-data WebSocket subscribed to what a compacted Kafka topic asks for, and publish its ticks.

    Settings come from the environment ([bold]TICKBRIDGE_…[/]), then .env, then [bold]--config FILE[/].
    """,
    epilog="First look: [bold]tickbridge demo[/]. Every setting: docs/settings.md.",
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tickbridge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with settings; the environment wins over it.", metavar="FILE")
    ] = None,
    version: Annotated[  # noqa: ARG001  its callback has done it
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    use_config(config)


app.command()(run.run)
app.command()(demo.demo)
app.add_typer(simulate.app, name="simulate")
app.add_typer(subscriptions.app, name="subscriptions")
app.command()(status.status)
app.add_typer(ticks.app, name="ticks")
app.add_typer(topics.app, name="topics")
app.command()(check.check)
app.add_typer(config.app, name="config")


tell(app)


def main() -> None:
    """Run the command ``tickbridge``."""
    app()
