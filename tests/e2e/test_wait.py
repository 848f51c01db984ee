"""`tickbridge subscriptions … --wait`, with a bridge that does what it is asked, or cannot."""

from collections.abc import Callable

from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.cli.settling import EXIT_UNSETTLED
from bridge.errors import EXIT_OK
from bridge.simulator import Simulator
from tests.e2e.conftest import World
from tests.e2e.test_guards import ALL, remembered
from tests.support.process import BridgeProcess


def types(world: World, venue: Simulator, *words: str) -> Result:
    environment = {f"TICKBRIDGE_{name}": value for name, value in world.settings(venue).items()}
    return CliRunner().invoke(app, ["subscriptions", *words], env=environment)


def test_what_is_written_is_in_force_when_the_command_ends_and_what_cannot_be_is_named(
    world: World, make_venue: Callable[..., Simulator], make_bridge: Callable[..., BridgeProcess]
) -> None:
    venue = make_venue(rate=200, codes=("A", "B", "C"))
    bridge = make_bridge(world.settings(venue, UPSTREAM__MAX_SYMBOLS="2"))
    bridge.wait_ready()
    done = types(world, venue, "add", "A", "--wait", "20")
    assert (done.exit_code, "in force: 1 symbol" in done.stderr) == (EXIT_OK, True), done.output
    again = types(world, venue, "add", "A", "--note", "why", "--wait", "20")
    assert again.exit_code == EXIT_OK, again.output
    refused = types(world, venue, "add", "NONE", "--wait", "20")
    assert refused.exit_code == EXIT_UNSETTLED
    assert "venue_600" in refused.stderr
    swapped = types(world, venue, "remove", "NONE", "--wait", "20")
    assert swapped.exit_code == EXIT_OK, swapped.output
    full = types(world, venue, "add", "B", "C", "--wait", "20")
    assert full.exit_code == EXIT_UNSETTLED
    assert "1 of 2 ended badly" in full.stderr
    assert "over_cap" in full.stderr
    off = types(world, venue, "add", "A", "--disabled", "--wait", "20")
    assert (off.exit_code, "1 disabled" in off.stderr) == (EXIT_OK, True), off.output


def test_a_removal_that_is_held_is_not_done_until_it_is_confirmed(
    world: World, venue: Simulator, make_bridge: Callable[..., BridgeProcess]
) -> None:
    remembered(world, venue, make_bridge)
    most = ALL[: len(ALL) * 3 // 4]
    held = types(world, venue, "remove", *most, "--wait", "5")
    assert held.exit_code == EXIT_UNSETTLED
    assert "its removal is held" in held.stderr
    done = types(world, venue, "remove", *most, "--yes", "--wait", "20")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (EXIT_OK, f"in force: {len(most)} removed"), done.output
