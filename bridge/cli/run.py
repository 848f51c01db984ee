"""``tickbridge run``: the bridge itself, until a signal ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.app.bridge import Bridge
from bridge.settings import load


def run(
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with settings; the environment wins over it.", metavar="FILE")
    ] = None,
) -> None:
    """Run the bridge until SIGTERM or SIGINT; a second signal stops at once.

    Exit codes: 0 stopped and all delivered; 2 settings or arguments; 3 Kafka unusable (authentication, authorisation, a
    missing topic); 4 stopped, but some ticks could not be delivered, or a second signal cut it short; 1 a bug.

    Example:

        TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS=localhost:9092
          TICKBRIDGE_UPSTREAM__TOKEN_FILE=token tickbridge run
    """
    raise typer.Exit(Bridge(load(config)).run())
