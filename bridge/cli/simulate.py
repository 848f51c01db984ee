"""`tickbridge simulate`: run the simulator in a terminal, and change a running one from another."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bridge.cli.sheet import Sheet
from bridge.cli.tables import console, count
from bridge.simulator import DEFAULT_TOKEN, PLANS, Simulator, SimulatorConfig, Switches
from bridge.simulator.control import ControlError, ControlPort, ask
from bridge.simulator.faults import ACTS
from bridge.simulator.rubbish import catalogue
from bridge.simulator.switches import parse_assignments, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.simulator.config import DialectName, PlanName

PORT, MAX_PORT = 8765, 65535
#: Seconds between two looks at the counters.
LOOK_S = 1.0

HELP = """Run a strict AllTick server on this machine until Ctrl-C or SIGTERM, to try a client against.

Examples:

    tickbridge simulate

    tickbridge simulate --codes 3000 --rate 20000

    tickbridge simulate --plan free --codes 700.HK,AAPL.US
      --set refused=clear --set over_cap=603

    tickbridge simulate --cert server.pem --key server.key

    tickbridge simulate --flood --codes 3000

    tickbridge simulate --dialect action-symbols
      --set answers=true --set time_unit=iso

While it runs, from another terminal:

    tickbridge simulate set mute=true duplicates=0.1

    tickbridge simulate send rubbish:binary

    tickbridge simulate record -o json
"""

app = typer.Typer(rich_markup_mode="rich", invoke_without_command=True, no_args_is_help=False)

ControlPortOption = Annotated[
    int,
    typer.Option("--control-port", help="The control port that the simulator printed.", metavar="PORT"),
]
_RECORD_TABLES = {
    "connections": ("id", "endpoint", "codes", "ticks_sent", "close_reason", "client_close_code"),
    "violations": ("connection", "rule", "too_early_s", "answered", "detail"),
}
OutputOption = Annotated[str, typer.Option("-o", "--output", help="table or json.", metavar="FORMAT")]


@app.callback(help=HELP)
def simulate(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", metavar="PORT")] = PORT,
    codes: Annotated[str, typer.Option(help="open, a number of generated codes, or A,B,C.", metavar="CODES")] = "open",
    rate: Annotated[float | None, typer.Option(help="Ticks a second over all codes; default 100.", metavar="N")] = None,
    plan: Annotated[str, typer.Option(help=f"One of {', '.join(PLANS)}.", metavar="PLAN")] = "professional",
    dialect: Annotated[str, typer.Option(help="alltick, action-code or action-symbols.", metavar="NAME")] = "alltick",
    seed: Annotated[int, typer.Option(help="Prices are a function of seed, code and seq.", metavar="N")] = 1,
    token: Annotated[str, typer.Option(help="The token accepted; '' accepts any.", metavar="TOKEN")] = DEFAULT_TOKEN,
    time_scale: Annotated[float, typer.Option(help="Multiplies durations: 0.1 = ten times faster.", metavar="N")] = 1.0,
    cert: Annotated[Path | None, typer.Option(help="Certificate (PEM): speak wss.", metavar="FILE")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).", metavar="FILE")] = None,
    flood: Annotated[bool, typer.Option("--flood", help="As many ticks as the client reads (or --rate).")] = False,
    flood_total: Annotated[int | None, typer.Option(help="End the flood after this many ticks.", metavar="N")] = None,
    control_port: Annotated[int | None, typer.Option(help="Control port; left out, port + 1.", metavar="PORT")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="switch=value, again and again.", metavar="SWITCH=VALUE")
    ] = None,
) -> None:
    """Run the simulator until Ctrl-C or SIGTERM."""
    if ctx.invoked_subcommand is not None:
        return
    try:
        config = SimulatorConfig(
            host=host,
            port=port,
            codes=_codes(codes),
            plan=cast("PlanName", plan),
            dialect=cast("DialectName", dialect),
            seed=seed,
            time_scale=time_scale,
            cert=cert,
            key=key,
            flood=flood,
            flood_total=flood_total,
            switches=_switches(token, {} if rate is None else {"flood_rate" if flood else "rate": rate}, set_ or []),
        )
    except ValueError as exc:
        _fail(str(exc))
    _run(config, _control_port(port, control_port), token or "ANY")


@app.command("set")
def set_switches(
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="SWITCH=VALUE", help="None lists the switches.")
    ] = None,
    control_port: ControlPortOption = PORT + 1,
    output: OutputOption = "table",
) -> None:
    """Change switches of a running simulator, or list them all with what they take.

    Examples:

        tickbridge simulate set

        tickbridge simulate set mute=true duplicates=0.1
    """
    values = _ask(control_port, "/switches", assignments or None)
    if output == "json":
        typer.echo(json.dumps(values))
    elif not assignments:
        rows = (
            (row.name, _now(_shown(values[row.name]), row.default), f"{row.takes}; default {row.default}\n{row.help}")
            for row in table()
        )
        _print_table(("switch", "now", "what it takes, and means"), rows)


@app.command("send")
def send(
    acts: Annotated[
        list[str] | None, typer.Argument(metavar="ACT", help="What to do; none lists what there is.")
    ] = None,
    control_port: ControlPortOption = PORT + 1,
) -> None:
    """Do something once to every open connection, or list what can be done.

    Examples:

        tickbridge simulate send reset

        tickbridge simulate send close:1001:bye

        tickbridge simulate send rubbish:binary

        tickbridge simulate send tick:700.HK:price=1.5
    """
    if acts:
        _ask(control_port, "/acts", acts)
        return
    _print_table(("act", "what happens"), ACTS.items())
    _print_table(("rubbish", "what is sent"), catalogue().items())


@app.command("record")
def record(control_port: ControlPortOption = PORT + 1, output: OutputOption = "table") -> None:
    """Show what a running simulator saw and did; -o json gives all of it.

    Example:

        tickbridge simulate record -o json | jq .violations
    """
    facts = _ask(control_port, "/record")
    if output == "json":
        typer.echo(json.dumps(facts))
        return
    for name, columns in _RECORD_TABLES.items():
        if rows := [[_shown(one[column]) for column in columns] for one in facts[name]]:
            _print_table([column.replace("_", " ") for column in columns], rows)
            typer.echo()
    things = ("request", "heartbeat", "violation", "overlap", "refused upgrade")
    counts = [count(len(facts[f"{thing.replace(' ', '_')}s"]), thing) for thing in things]
    typer.echo(", ".join([count(facts["sent_total"], "tick"), *counts]))


def _run(config: SimulatorConfig, control_port: int, token: str) -> None:
    simulator = Simulator(config)
    try:
        control = ControlPort(simulator, control_port)
    except OSError as exc:
        _fail(f"control port {control_port} cannot be had ({exc.strerror}): choose another with --control-port")
    with control, ExitStack() as stack:
        stopping = stack.enter_context(_stopped_by_signals())
        try:
            stack.enter_context(simulator)
        except OSError as exc:
            why = (exc.strerror or str(exc)).partition(" (while")[0]
            _fail(f"{config.host}:{config.port} or its certificate cannot be had ({why}): see --port, --cert and --key")
        typer.echo(f"stock    {simulator.url('stock')}?token={token}")
        typer.echo(f"other    {simulator.url('other')}?token={token}")
        typer.echo(f"control  http://127.0.0.1:{control.port}  (tickbridge simulate set, send, record)")
        _watch(simulator, stopping)
    typer.echo(simulator.record.summary())


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    stopping = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stopping.set()) for number in numbers]
    try:
        yield stopping
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _watch(simulator: Simulator, stopping: threading.Event) -> None:
    """Show connections, codes and ticks per second: one live line in a terminal, else a line when they change."""
    terminal = Console(highlight=False)
    sent, shown = simulator.sent_total, ""
    with Live(console=terminal, auto_refresh=False) as live:
        while not stopping.wait(LOOK_S):
            before, sent = sent, simulator.sent_total
            record = simulator.record
            facts = f"{count(len(record.open_connections), 'connection')}, {count(len(record.subscribed), 'code')}"
            if terminal.is_terminal:
                rate = f"{(sent - before) / LOOK_S:,.0f} ticks/s, {count(len(record.violations), 'violation')}"
                live.update(Text(f"{facts}, {rate}"), refresh=True)
            elif facts != shown:
                typer.echo(facts)
            shown = facts


def _control_port(port: int, given: int | None) -> int:
    chosen = (port and port + 1) if given is None else given
    for name, number in (("--port", port), ("--control-port", chosen)):
        if not 0 <= number <= MAX_PORT:
            _fail(f"{name} {number}: give a port up to {MAX_PORT}, or 0 for a free one")
    return chosen


def _switches(token: str, rate: dict[str, float], assignments: list[str]) -> Switches:
    """Set the switches, those of ``--set`` last.

    Raises:
        ValueError: there is no such switch, or it does not take the value.
    """
    switches = Switches(tokens=frozenset({token} if token else ()))
    switches.update(**rate)
    switches.update(**parse_assignments(assignments))
    return switches


def _codes(text: str) -> tuple[str, ...] | int | None:
    if text == "open":
        return None
    return int(text) if text.isdigit() else tuple(code.strip() for code in text.split(",") if code.strip())


def _ask(port: int, path: str, texts: list[str] | None = None) -> dict[str, Any]:
    try:
        return ask(_control_port(0, port), path, texts)
    except ControlError as exc:
        _fail(str(exc))


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[Text | str]]) -> None:
    names = list(columns)
    shown = Sheet(*names, gives=names[-1])
    for row in rows:
        shown.add_row(*row)
    console().print(shown)


def _now(value: str, default: str) -> Text:
    """Draw a switch's value: bold where somebody has set it."""
    return Text(value, style="" if value == default else "bold")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) if len(value) <= 5 else f"{len(value)} codes"
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _fail(text: str) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(2)
