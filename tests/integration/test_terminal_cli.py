"""How commands get on with what they are connected to: a pipe that is closed early, a terminal with somebody at it."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pytest

from bridge.cli.apply import EXIT_DIFFERS
from bridge.errors import EXIT_OK, EXIT_SETTINGS
from bridge.model import State
from tests.integration.test_looking_cli import WAIT_S, Place, place

__all__ = ["place"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("ticks tail --from-beginning", EXIT_OK),
        ("ticks tail --from-beginning -o json", EXIT_OK),
        ("status --watch", EXIT_OK),
        ("status -o json", EXIT_OK),
        ("subscriptions list", EXIT_OK),
        ("subscriptions diff --prune -f /dev/null --format csv", EXIT_SETTINGS),
        ("subscriptions diff --prune -f <(echo symbol) --format csv", EXIT_DIFFERS),
        ("config schema -o json", EXIT_OK),
    ],
)
def test_a_reader_that_has_enough_ends_a_command_well_and_spoils_no_exit_code(
    place: Place, words: str, code: int
) -> None:
    place.make(TICKS=1, STATUS=1, SUBSCRIPTIONS=1)
    place.ticks("A", *(str(number) for number in range(1, 5000)))
    symbols = [f"S{number}" for number in range(3000)]
    place.kafka.produce(place.topics["SUBSCRIPTIONS"], [(symbol, "{}") for symbol in symbols])
    value = json.dumps({"v": 1, "symbol": "S", "state": "live", "detail": "x" * 50})
    place.kafka.produce(place.topics["STATUS"], [(symbol, value) for symbol in symbols])
    command = f"set -o pipefail; {sys.executable} -m bridge {words} | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, **place.environment}, capture_output=True, text=True,
        timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_watching_on_a_terminal_answers_keys_and_q_gives_the_terminal_back(place: Place) -> None:
    place.make(STATUS=1)
    place.says("GOOD", State.LIVE)
    place.says("BAD", State.REJECTED, reason="venue_600")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "bridge", "status", "--watch"]
    environment = {**os.environ, **place.environment, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    try:
        await_on(ours, b"1-2 of 2")
        os.write(ours, b"p")
        await_on(ours, b"1-1 of 1")
        place.says("GOOD", State.STALE)
        await_on(ours, b"1-2 of 2")
        os.write(ours, b"q")
        await_on(ours, b"\x1b[?1049l")  # the terminal's own screen is back
        assert process.wait(WAIT_S) == EXIT_OK
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)


def await_on(terminal: int, wanted: bytes) -> None:
    """Read what a terminal is sent until it holds what is wanted."""
    seen, end = b"", time.monotonic() + WAIT_S
    while wanted not in seen:
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], seen[-500:]
        seen += os.read(terminal, 65536)
