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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.cli.apply import BATCH, EXIT_DIFFERS
from bridge.cli.status import EXIT_ABSENT
from bridge.errors import EXIT_OK, EXIT_SETTINGS
from bridge.model import State
from tests.integration.test_looking_cli import WAIT_S, Place, place
from tests.support.kafka import KafkaBroker

__all__ = ["place"]

#: A command whose standard input is the terminal that Ctrl-C comes from.
AT_ITS_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("bridge", run_name="__main__", alter_sys=True)
"""

#: What a shell makes of Ctrl-C.
EXIT_INTERRUPTED = 130


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


@pytest.mark.parametrize(
    ("words", "code"),
    [("status NOT-THERE", EXIT_ABSENT), ("subscriptions diff -f <(seq 3)", EXIT_SETTINGS), ("topics ensure", EXIT_OK)],
)
def test_a_reader_that_wants_nothing_at_all_spoils_no_exit_code(place: Place, words: str, code: int) -> None:
    place.make(STATUS=1)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m bridge {words} 2>&1 | true"],
        env={**os.environ, **place.environment}, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == code


def test_nobody_to_hear_what_a_command_says_of_itself_costs_none_of_the_result(place: Place) -> None:
    place.make(TICKS=1)
    place.ticks("A", "1.5")
    command = f"{sys.executable} -m bridge ticks tail --from-beginning --count 1 -o json 2> >(true)"
    environment = {**os.environ, **place.environment}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, timeout=WAIT_S, check=False)
    assert (done.returncode, b'"1.5"' in done.stdout) == (EXIT_OK, True)


#: The tests' own terminal is none of a command's, nor is its size.
OURS = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


class Seat:
    """A terminal of its own with a command at it, and somebody who types and reads."""

    def __init__(self, place: Place, *words: str, columns: int = 80, rows: int = 24) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(columns, rows)
        self._before = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", AT_ITS_TERMINAL, *words],
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, start_new_session=True,
            env={**OURS, **place.environment, "TERM": "xterm-256color"},
        )  # fmt: skip

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def types(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def sees(self, wanted: bytes) -> bytes:
        """Read what the terminal is sent until it holds what is wanted."""
        seen, end = b"", time.monotonic() + WAIT_S
        while wanted not in seen:
            assert select.select([self._ours], [], [], max(0.0, end - time.monotonic()))[0], seen[-500:]
            seen += os.read(self._ours, 65536)
        return seen

    def ends(self) -> int:
        """Wait for the command's end, and see that the terminal is as it was; give the exit code."""
        code = self.process.wait(WAIT_S)
        assert termios.tcgetattr(self._theirs) == self._before
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def seat(place: Place, *words: str) -> Iterator[Seat]:
    taken = Seat(place, *words)
    try:
        yield taken
    finally:
        taken.close()


def test_watching_on_a_terminal_answers_keys_and_q_gives_the_terminal_back(place: Place) -> None:
    place.make(STATUS=1)
    place.says("GOOD", State.LIVE)
    place.says("BAD", State.REJECTED, reason="venue_600")
    with seat(place, "status", "--watch") as at:
        at.sees(b"1-2 of 2")
        at.types(b"p")
        at.sees(b"1-1 of 1")
        place.says("GOOD", State.STALE)
        at.sees(b"1-2 of 2")
        at.types(b"q")
        at.sees(b"\x1b[2J\x1b[H\x1b[?25h\x1b[?1049l")  # it is emptied, and the terminal's own screen is back
        assert at.ends() == EXIT_OK


def test_a_screen_that_changes_its_size_is_drawn_anew_and_ctrl_c_gives_the_terminal_back(place: Place) -> None:
    place.make(STATUS=1)
    for number in range(60):
        place.says(f"S{number:02}", State.LIVE)
    with seat(place, "status", "--watch") as at:
        at.sees(b"1-17 of 60")
        at.resize(120, 40)
        assert b"code" in at.sees(b"1-33 of 60")
        at.resize(40, 12)
        assert b"since" not in at.sees(b"1-5 of 60").rpartition(b"60 symbols")[2]
        at.types(b"\x03")
        at.sees(b"\x1b[?1049l")
        assert at.ends() == EXIT_OK


def test_a_file_that_is_typed_says_how_to_end_it(place: Place) -> None:
    place.make(SUBSCRIPTIONS=1)
    with seat(place, "subscriptions", "apply", "-f", "-") as at:
        at.sees(b"Ctrl-D")
        at.types(b"symbol,priority\nA,5\n\x04")
        assert b"added, priority: 5" in at.sees(b"[y/N]")
        at.types(b"n\n")
        at.sees(b"nothing was written")
        assert at.ends() == EXIT_DIFFERS


def test_ctrl_c_while_records_are_written_says_how_many_are(
    make_kafka: Callable[[], KafkaBroker], tmp_path: Path
) -> None:
    broker = make_kafka()
    place = Place(broker.cluster)
    place.make(SUBSCRIPTIONS=1)
    file = tmp_path / "symbols.csv"
    file.write_text("symbol\n" + "".join(f"S{number}\n" for number in range(3 * BATCH)))
    with seat(place, "subscriptions", "apply", "-f", str(file)) as at:
        at.sees(b"[y/N]")
        broker.suspend()
        at.types(b"y\n")
        at.sees(b"Writing")
        at.types(b"\x03")
        said = b" ".join(at.sees(b"what is missing").split())
        assert f"interrupted: 0 of {3 * BATCH:,} are written, and up to {BATCH:,} more may be".encode() in said
        broker.resume()
        assert at.process.wait(WAIT_S) == EXIT_INTERRUPTED


def test_a_tail_says_that_kafka_is_away_and_that_it_is_back(make_kafka: Callable[[], KafkaBroker]) -> None:
    broker = make_kafka()
    place = Place(broker.cluster)
    place.make(TICKS=1)
    with seat(place, "ticks", "tail") as at:
        at.sees(b"Ctrl-C ends it")
        place.ticks("A", "1.5")
        assert b"\x1b[1m" in at.sees(b"1.5")  # the headings stand out
        broker.stop()
        at.sees(b"Kafka is out of reach")
        broker.start()
        at.sees(b"Kafka is back")
        place.ticks("A", "2.5")
        assert b"\x1b[32m" in at.sees(b"2.5")  # it rose
        at.types(b"\x03")
        assert at.ends() == EXIT_OK


def test_in_a_pipe_no_row_is_folded(place: Place) -> None:
    place.make(STATUS=1)
    place.says("BAD", State.REJECTED, reason="venue_600", detail="the venue refuses this code " * 20)
    result = place.types("status")
    assert len(result.stdout.splitlines()) == 4  # the counts, the headings, their rule, the row
