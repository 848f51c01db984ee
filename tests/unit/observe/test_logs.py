"""Whatever writes a line, it leaves in one shape, without secrets, and not too often."""

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from bridge.observe.logs import Limited, Limiter, get_logger, setup
from bridge.observe.redact import Redactor
from bridge.settings.groups import LogSettings

SECRET = "s3cr3t/token"


class Lines(io.StringIO):
    """What was written, line by line."""

    def read_all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def only(self) -> dict[str, Any]:
        (line,) = self.read_all()
        return line


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def lines() -> Lines:
    written = Lines()
    setup(LogSettings(), Redactor(SECRET), written)
    return written


def test_a_line_is_json_with_time_level_event_and_fields(lines: Lines) -> None:
    get_logger("bridge.feed").info("connected", session=17, codes=["700.HK"])
    line = lines.only()
    assert list(line)[:3] == ["ts", "level", "event"]
    age = datetime.now(UTC) - datetime.fromisoformat(line.pop("ts"))
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert line == {
        "level": "info",
        "event": "connected",
        "logger": "bridge.feed",
        "session": 17,
        "codes": ["700.HK"],
    }


def test_a_line_below_the_level_is_not_written() -> None:
    written = Lines()
    setup(LogSettings(level="WARNING"), Redactor(), written)
    get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    get_logger("a").warning("loud")
    assert written.only()["event"] == "loud"


def test_a_line_of_the_standard_module_takes_the_same_road(lines: Lines) -> None:
    logging.getLogger("websocket").warning("cannot open %s", f"wss://venue/x?token={SECRET}")
    line = lines.only()
    assert (line["level"], line["logger"]) == ("warning", "websocket")
    assert line["event"] == "cannot open wss://venue/x?token=[redacted]"


def test_a_warning_takes_the_same_road(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"beware of {SECRET}", stacklevel=1)
        logging.captureWarnings(capture=False)
    assert "beware of [redacted]" in lines.only()["event"]


def test_a_secret_is_in_no_event_field_or_traceback(lines: Lines) -> None:
    try:
        fail(f"refused {SECRET}")
    except ValueError:
        get_logger("a").exception(f"failed {SECRET}", url=f"x?token={SECRET}", deep={"list": [SECRET]})
    assert SECRET not in lines.getvalue()
    line = lines.only()
    assert line["event"] == "failed [redacted]"
    assert line["deep"] == {"list": ["[redacted]"]}
    assert line["exception"].endswith("ValueError: refused [redacted]")


def test_a_secret_in_a_traceback_of_the_standard_module_is_hidden(lines: Lines) -> None:
    try:
        fail(SECRET)
    except ValueError:
        logging.getLogger("b").exception("failed")
    assert lines.only()["exception"].endswith("ValueError: [redacted]")


def test_a_secret_that_is_added_later_is_hidden_from_then_on() -> None:
    written, redactor = Lines(), Redactor()
    setup(LogSettings(), redactor, written)
    redactor.add("rotated-token")
    get_logger("a").info("read", token="rotated-token")
    assert written.only()["token"] == "[redacted]"


def test_the_console_format_is_for_people_and_redacted_too() -> None:
    written = Lines()
    setup(LogSettings(format="console"), Redactor(SECRET), written)
    try:
        fail(SECRET)
    except ValueError:
        get_logger("a").exception("failed", url=SECRET)
    text = written.getvalue()
    assert SECRET not in text
    assert "failed" in text
    assert "ValueError: [redacted]" in text
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        json.loads(text.splitlines()[0])


def test_setting_up_again_replaces_the_former_pipe(lines: Lines) -> None:
    second = Lines()
    setup(LogSettings(), Redactor(), second)
    get_logger("a").info("once")
    assert lines.getvalue() == ""
    assert len(second.read_all()) == 1


def test_a_line_that_cannot_be_written_is_lost_in_silence(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    lines.close()
    get_logger("a").info("nobody reads this", token=SECRET)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["raise ValueError('s3cr3t-token')", "threading.Thread(target=boom).start()"])
def test_an_exception_nobody_caught_is_a_redacted_line(where: str) -> None:
    program = f"""
import threading
from bridge.observe import Redactor, hook_uncaught, setup
from bridge.settings.groups import LogSettings
def boom(): raise ValueError("s3cr3t-token")
setup(LogSettings(), Redactor("s3cr3t-token"))
hook_uncaught()
{where}
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    line = json.loads(run.stderr)
    assert (line["level"], line["event"]) == ("critical", "unexpected_error")
    assert line["exception"].endswith("ValueError: [redacted]")


def test_the_first_of_many_equal_events_is_admitted_at_once() -> None:
    limiter = Limiter(10.0)
    assert limiter.admit("refused", 0.0) == 0
    assert limiter.admit("refused", 0.1) is None


def test_the_next_line_tells_how_many_were_left_out() -> None:
    limiter = Limiter(10.0)
    answers = [limiter.admit("refused", now) for now in (0.0, 1.0, 2.0, 9.9, 10.0, 11.0, 25.0, 40.0)]
    assert answers == [0, None, None, None, 3, None, 1, 0]


def test_different_events_do_not_hide_each_other() -> None:
    limiter = Limiter(10.0)
    assert limiter.admit("refused", 0.0) == 0
    assert limiter.admit("dropped", 0.0) == 0


def test_a_limiter_forgets_the_oldest_of_too_many_events() -> None:
    limiter = Limiter(10.0)
    for number in range(5000):
        assert limiter.admit(number, 0.0) == 0
    assert limiter.admit(4999, 1.0) is None
    assert limiter.admit(0, 1.0) == 0


def test_a_limited_logger_writes_the_first_and_then_the_count(lines: Lines) -> None:
    moments = iter([0.0, 1.0, 2.0, 61.0])
    log = Limited(get_logger("bridge.feed"), per_s=60.0, clock=lambda: next(moments))
    for try_ in range(4):
        log.warning("dropped", try_=try_)
    first, second = lines.read_all()
    assert (first["try_"], "left_out" in first) == (0, False)
    assert (second["try_"], second["left_out"]) == (3, 2)


def test_a_limited_logger_keeps_levels_apart(lines: Lines) -> None:
    log = Limited(get_logger("a"), per_s=60.0, clock=lambda: 0.0)
    log.debug("x")
    log.info("x")
    log.warning("x")
    log.error("x")
    log.error("x")
    assert [line["level"] for line in lines.read_all()] == ["info", "warning", "error"]
