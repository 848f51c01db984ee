"""One pipe for every log line, with a redactor at its end.

Lines come from structlog, from the standard ``logging`` module (librdkafka, websocket-client), from ``warnings`` and
from exceptions that nobody caught. All are written to standard error as JSON, one object per line (``ts``, ``level``,
``event`` and the event's fields), or as text for people. Before that, everything in a line passes the `Redactor`.

An event is a constant word; what varies is in its fields. What may repeat at the pace of a loop goes through `Limited`.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TextIO

import structlog
from structlog.typing import Processor

from bridge.observe.redact import Redactor
from bridge.settings.groups import LogSettings

#: Events that a limiter keeps apart at once.
_LIMITED_MAX = 1000


def setup(settings: LogSettings, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Send every line of this process through the redactor to ``stream``, standard error if there is none given."""
    out = stream or sys.stderr
    pipe = _Pipe(out)
    pipe.setFormatter(_formatter(settings, redactor, colors=out.isatty()))
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler, _Pipe)]:
        root.removeHandler(former)
    root.addHandler(pipe)
    root.setLevel(settings.level.upper())
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def hook_uncaught() -> None:
    """Log exceptions that nobody caught, in any thread: the interpreter would print them as they are."""
    log = get_logger("bridge")

    def main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("unexpected_error", exc_info=(kind, error, trace))

    def thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None:
            return
        name = args.thread.name if args.thread else None
        log.critical("unexpected_error", thread=name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook = main
    threading.excepthook = thread


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Give the logger of a room."""
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return log


class Limiter:
    """Decides which of many equal events is written: the first, and then one in ``per_s`` seconds. Pure."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._seen: dict[object, tuple[float, int]] = {}  # key: moment of the last line, events since

    def admit(self, key: object, now: float) -> int | None:
        """Give the number of events left out since the last line, or None to leave this one out too."""
        since, left_out = self._seen.get(key, (None, 0))
        if since is not None and now - since < self._per_s:
            self._seen[key] = (since, left_out + 1)
            return None
        self._seen.pop(key, None)  # so that the order is that of the last lines
        if len(self._seen) >= _LIMITED_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = (now, 0)
        return left_out


class Log(Protocol):
    """What is used of a structlog logger."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Limited:
    """A logger for events that may repeat: each is written at once, then at most once in ``per_s`` seconds.

    The next line of an event that was left out says how often, in its field ``left_out``. Events are kept apart by
    their word and level. Threads may share it.
    """

    def __init__(self, log: Log, per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._limiter = Limiter(per_s)
        self._lock = threading.Lock()

    def debug(self, event: str, /, **fields: Any) -> None:
        """Write a line of this level, or count it."""
        self._write(self._log.debug, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Write a line of this level, or count it."""
        self._write(self._log.info, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write a line of this level, or count it."""
        self._write(self._log.warning, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write a line of this level, or count it."""
        self._write(self._log.error, event, fields)

    def _write(self, write: Callable[..., Any], event: str, fields: dict[str, Any]) -> None:
        with self._lock:
            left_out = self._limiter.admit((write.__name__, event), self._clock())
        if left_out is not None:
            write(event, **fields, **({"left_out": left_out} if left_out else {}))


class _Pipe(logging.StreamHandler[TextIO]):
    """Writes the lines; one that cannot be written is lost, for nowhere else would it be redacted."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the hook's own name
        """Stay silent: the standard would print the record as it is."""


def _shared() -> list[Processor]:
    """Give what happens to a line wherever it comes from."""
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]


def _formatter(settings: LogSettings, redactor: Redactor, *, colors: bool) -> logging.Formatter:
    renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if settings.format == "console":
        renderer = structlog.dev.ConsoleRenderer(
            colors=colors, timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder(allow=["left_out"])],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redactor,
            renderer,
        ],
    )
