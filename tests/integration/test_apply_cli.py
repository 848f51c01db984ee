"""`tickbridge subscriptions diff` and `apply`, as an operator and as a pipeline run them, on a real broker."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.cli.apply import EXIT_DIFFERS
from bridge.errors import EXIT_KAFKA, EXIT_OK, EXIT_SETTINGS
from tests.integration.test_subscriptions_cli import NOWHERE, Operator, operator
from tests.support.kafka import Cluster, unique

__all__ = ["operator"]

CONFIRMED = (("tickbridge-confirm", b"true"),)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "symbols.yaml"
    path.write_text("subscriptions:\n  AAPL.US: {priority: 5}\n  HKEX:00700: {}\n  ON:\n")
    return path


def types(operator: Operator, *words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["subscriptions", *words], env=operator.environment, input=stdin)


def plan(result: Result) -> dict[str, object]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_a_file_is_applied_shown_confirmed_and_then_there_is_nothing_to_do(operator: Operator, file: Path) -> None:
    operator.does("add", "AAPL.US", "MSFT.US")
    done = types(operator, "apply", "-f", str(file), "--yes")
    assert done.exit_code == EXIT_OK, done.output
    assert "priority: 0 -> 5" in done.stdout
    assert "MSFT.US: not in the file" in done.stdout
    assert "3 records written" in done.stderr
    assert operator.written()[2:] == [("HKEX:00700", "{}"), ("ON", "{}"), ("AAPL.US", '{"priority":5}')]
    records = operator.kafka.read_all(operator.topic)
    assert [record.headers for record in records] == [(), (), CONFIRMED, CONFIRMED, CONFIRMED]
    again = types(operator, "apply", "-f", str(file))
    assert (again.exit_code, again.stdout) == (EXIT_OK, "")
    assert "3 unchanged" in again.stderr
    assert len(operator.written()) == 5


def test_prune_makes_the_topic_equal_and_diff_agrees(operator: Operator, file: Path) -> None:
    operator.does("add", "MSFT.US")
    assert types(operator, "diff", "-f", str(file)).exit_code == EXIT_DIFFERS
    assert types(operator, "apply", "-f", str(file), "--prune", "--yes").exit_code == EXIT_OK
    assert operator.written()[-1] == ("MSFT.US", None)
    assert set(operator.sees()) == {"AAPL.US", "HKEX:00700", "ON"}
    assert types(operator, "diff", "-f", str(file), "--prune").exit_code == EXIT_OK


def test_a_dry_run_and_a_diff_write_nothing_and_say_that_they_differ(operator: Operator, file: Path) -> None:
    for words in (["apply", "--dry-run"], ["apply", "--dry-run", "--yes"], ["diff"]):
        result = types(operator, *words, "-f", str(file), "-o", "json")
        assert result.exit_code == EXIT_DIFFERS
        assert plan(result)["added"] == ["AAPL.US", "HKEX:00700", "ON"]
    assert operator.written() == []


def test_without_a_terminal_and_without_yes_nothing_is_written(operator: Operator, file: Path) -> None:
    result = types(operator, "apply", "-f", str(file))
    assert result.exit_code == EXIT_SETTINGS
    assert "--yes" in result.stderr
    assert operator.written() == []


def test_standard_input_is_a_file_too(operator: Operator) -> None:
    result = types(operator, "apply", "-f", "-", "--yes", stdin="symbol,priority\nA,1\nB,\n")
    assert result.exit_code == EXIT_OK, result.output
    assert operator.written() == [("A", '{"priority":1}'), ("B", "{}")]
    refused = types(operator, "apply", "-f", "-", "--format", "yaml", stdin="symbol,priority\nA,1\n")
    assert refused.exit_code == EXIT_SETTINGS
    assert "standard input" in refused.stderr


def test_removing_most_of_many_is_warned_of_before_it_is_done(operator: Operator) -> None:
    operator.does("add", *(f"S{number}" for number in range(20)))
    result = types(operator, "apply", "-f", "-", "--prune", "--dry-run", stdin="symbol\nS0\n")
    assert result.exit_code == EXIT_DIFFERS
    assert "this ends 19 of 20 subscriptions" in result.stderr


def test_thousands_are_written_in_batches_and_land_where_java_would_put_them(kafka: Cluster) -> None:
    operator = Operator(kafka, kafka.create_topic(unique("control"), 3, {"cleanup.policy": "compact"}))
    symbols = [f"S{number}" for number in range(2500)]
    result = types(operator, "apply", "-f", "-", "--yes", "-o", "yaml", stdin="\n".join(["symbol", *symbols]))
    assert result.exit_code == EXIT_OK, result.output
    assert "2,500 records written" in result.stderr
    twin = kafka.create_topic(unique("twin"), 3)
    expected = dict(zip(symbols, kafka.produce(twin, [(one, "{}") for one in symbols]), strict=True))
    assert {one: row["partition"] for one, row in operator.sees().items()} == {
        one: partition for one, (partition, _) in expected.items()
    }


def test_every_fault_of_a_file_is_told_before_kafka_is_asked(tmp_path: Path) -> None:
    offline = Operator(NOWHERE, "control")
    bad = tmp_path / "bad.yaml"
    bad.write_text("subscriptions:\n  A B: {}\n  C: {priority: x}\n")
    result = types(offline, "apply", "-f", str(bad), "--yes")
    assert result.exit_code == EXIT_SETTINGS
    assert result.stderr.count("error: ") == 2
    missing = types(offline, "diff", "-f", str(tmp_path / "none.yaml"))
    assert missing.exit_code == EXIT_SETTINGS
    assert "No such file" in missing.stderr


def test_a_missing_topic_is_named_with_its_remedy(kafka: Cluster, file: Path) -> None:
    result = types(Operator(kafka, unique("nowhere")), "apply", "-f", str(file), "--yes")
    assert result.exit_code == EXIT_KAFKA
    assert "topics ensure" in result.stderr


def at_a_terminal(operator: Operator, words: Sequence[str], answer: bytes) -> int:
    """Run the command on a terminal of its own, answer its question, and give its exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bridge", "subscriptions", *words]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **operator.environment},
        start_new_session=True, close_fds=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, answer)
        while True:
            shown += os.read(ours, 4096)
    except OSError:  # the terminal's other side is closed: the command has ended
        return process.wait(20)
    finally:
        process.kill()
        os.close(ours)


@pytest.mark.parametrize(
    ("answer", "code", "records"),
    [(b"y\n", EXIT_OK, 3), (b"n\n", EXIT_DIFFERS, 0), (b"\n", EXIT_DIFFERS, 0), (b"\x04", EXIT_DIFFERS, 0)],
)
def test_on_a_terminal_apply_asks_and_only_yes_writes(
    operator: Operator, file: Path, answer: bytes, code: int, records: int
) -> None:
    assert at_a_terminal(operator, ["apply", "-f", str(file)], answer) == code
    assert len(operator.written()) == records


@pytest.mark.parametrize(
    ("answer", "code", "removed"), [(b"y\n", EXIT_OK, 2), (b"n\n", EXIT_DIFFERS, 0), (b"\x04", EXIT_DIFFERS, 0)]
)
def test_on_a_terminal_removing_several_asks_and_yes_is_the_operators_word(
    operator: Operator, answer: bytes, code: int, removed: int
) -> None:
    operator.does("add", "A", "B", "C")
    assert at_a_terminal(operator, ["remove", "A", "B"], answer) == code
    tombstones = [record for record in operator.kafka.read_all(operator.topic) if record.value is None]
    assert [record.headers for record in tombstones] == [CONFIRMED] * removed
