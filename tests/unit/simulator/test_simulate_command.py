"""`tickbridge simulate`: what it prints, what it refuses, how it ends, and how a running one is reached."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from websockets.sync.client import connect

from bridge.cli.simulate import app
from bridge.simulator.rubbish import MAKERS
from bridge.simulator.switches import table

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from bridge.cli.simulate import app; app()"]


class Running:
    """A simulator in a process of its own, on free ports."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().split() for _ in range(3)]
        self.stock, self.other, self.control = (line[1] for line in lines)

    @property
    def control_port(self) -> str:
        return self.control.rpartition(":")[2]

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running("--codes", "700.HK,AAPL.US", "--rate", "0", "--token", "mine", "--set", "max_codes=1")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGTERM)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_it_prints_urls_that_work_and_takes_orders_while_it_runs(running: Running) -> None:
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/quote-stock-b-ws-api\?token=mine", running.stock)
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/quote-b-ws-api\?token=mine", running.other)
    to = ("--control-port", running.control_port)
    with connect(running.stock) as ws:
        codes = [{"code": "AAPL.US"}, {"code": "700.HK"}]
        ws.send(json.dumps({"cmd_id": 22004, "seq_id": 1, "trace": "t", "data": {"symbol_list": codes}}))
        assert json.loads(ws.recv(timeout=5))["ret"] == 200
        assert run("set", "integers=true", *to) == (0, "")
        assert run("send", "tick:AAPL.US:price=1.5", *to) == (0, "")
        assert json.loads(ws.recv(timeout=5))["data"]["seq"] == 1
        code, out = run("record", "-o", "json", *to)
        assert (code, json.loads(out)["connections"][0]["codes"]) == (0, ["AAPL.US"])
        assert "1 tick, 1 request, 0 heartbeats" in run("record", *to)[1]
    assert json.loads(run("set", "-o", "json", *to)[1])["max_codes"] == 1


def test_it_speaks_another_dialect_when_told_to() -> None:
    running = Running("--dialect", "action-symbols", "--rate", "0", "--set", "answers=true")
    try:
        with connect(running.stock) as ws:
            ws.send(json.dumps({"action": "subscribe", "symbols": ["AAPL"]}))
            assert json.loads(ws.recv(timeout=5))["status"] == "ok"
            run("send", "tick:AAPL:price=1.5", "--control-port", running.control_port)
            assert json.loads(ws.recv(timeout=5))["price"] == "1.5"
    finally:
        running.end(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_zero_and_a_summary(running: Running, number: signal.Signals) -> None:
    code, out, err = running.end(number)
    assert (code, err) == (0, "")
    assert "0 ticks sent" in out


def test_a_taken_port_is_named_with_the_remedy(running: Running) -> None:
    port = re.findall(r":(\d+)/", running.stock)[0]
    code, out = run("--port", port, "--control-port", "0")
    assert (code, f"127.0.0.1:{port}" in out, "--port" in out) == (2, True, True)
    code, out = run("--port", "0", "--control-port", running.control_port)
    assert (code, "choose another with --control-port" in out) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--plan", "gold"], "there is no plan 'gold'; the plans are free"),
        (["--set", "mutex=1"], "there is no switch 'mutex'"),
        (["--port", "99999"], "--port 99999: give a port up to 65535"),
        (["--port", "65535"], "--control-port 65536: give a port up to 65535"),
        (["record", "--control-port", "99999"], "--control-port 99999: give a port up to 65535"),
        (["--set", "duplicates=2"], "duplicates takes number 0..1, not '2'"),
        (["--rate", "-1"], "rate takes number >= 0"),
        (["--cert", "missing.pem"], "both cert and key"),
        (["--port", "0", "--cert", "missing.pem", "--key", "missing.pem"], "see --port, --cert and --key"),
        (["--flood-total", "5"], "flood mode only"),
        (["set", "mute=true", "--control-port", "1"], "start `tickbridge simulate`"),
    ],
)
def test_a_bad_argument_is_named_with_the_remedy(arguments: list[str], complaint: str) -> None:
    code, out = run(*arguments)
    assert code == 2
    assert out.startswith("error: ")
    assert complaint in out


def test_an_unknown_act_is_refused_by_the_running_one(running: Running) -> None:
    code, out = run("send", "explode", "--control-port", running.control_port)
    assert (code, "there is no act 'explode'; the acts are close" in out) == (2, True)


def test_the_catalogues_name_everything(running: Running) -> None:
    assert all(name in run("send")[1] for name in MAKERS)
    shown = run("set", "--control-port", running.control_port)[1]
    assert all(row.name[:16] in shown for row in table())


def test_help_has_examples() -> None:
    assert "tickbridge simulate set mute=true" in run("--help")[1]


def test_a_flood_is_paced_by_the_rate() -> None:
    flood = Running("--flood", "--codes", "5", "--rate", "50")
    assert json.loads(run("set", "-o", "json", "--control-port", flood.control_port)[1])["flood_rate"] == 50
    assert flood.end(signal.SIGTERM)[0] == 0
