"""The bridge as a whole: what is started in which order, and stopped in which.

Start: HTTP first (probes must see the start), then the feed thread, then the control thread, which waits for Kafka.
Stop (contract, guarantee 12): control reads no more; the feed closes upstream, drains and flushes; then the group is
left; HTTP last. A second signal stops at once.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from types import FrameType
from typing import Any

from bridge import __version__
from bridge.app.control import Control
from bridge.app.feed import Feed
from bridge.app.mailbox import Mailbox, Stop
from bridge.app.outlet import Outlet
from bridge.app.venue import Venue
from bridge.errors import EXIT_BUG, EXIT_KAFKA, EXIT_OK, EXIT_SETTINGS, EXIT_UNDELIVERED, KafkaUnusable, SettingsError
from bridge.observe import logs
from bridge.observe.http import HttpServer
from bridge.observe.redact import Redactor
from bridge.observe.site import Site
from bridge.observe.status import Identity
from bridge.settings import Settings, secrets_of
from bridge.ticks import calendar
from bridge.ticks.normalise import Normaliser
from bridge.upstream import dialects

#: Events that can come as fast as the loop turns: one line each in this many seconds.
LIMIT_S = 10.0
LIMITED = ("frame_", "tick_", "answer_without_request", "kafka_trouble", "kafka_out_of_reach")
#: Seconds that the last line may take when we are to stop at once.
LAST_LINE_S = 0.5
#: Seconds after which the main thread looks whether there was a signal.
SIGNAL_S = 0.2
#: Seconds of the budget, or this share of a small one, that are kept for the last words after the ticks.
LAST_WORDS_S = 2.0
LAST_WORDS_SHARE = 0.25
#: Seconds beyond its own end that the feed may take to put on disk what is left, and least seconds to leave the group.
SPILL_S = 2.0
LEAVE_S = 0.5


class Bridge:
    """One instance; ``run`` is all that a process needs, the rest is for those who run it beside other things."""

    def __init__(self, settings: Settings) -> None:
        upstream = settings.upstream
        given = upstream.token is not None or upstream.token_file is not None
        if not given and dialects.get(upstream.dialect).needs_token:
            remedy = "set it to the venue's token, or give TICKBRIDGE_UPSTREAM__TOKEN_FILE"
            raise SettingsError(f"TICKBRIDGE_UPSTREAM__TOKEN is not set; {remedy}")
        self._settings = settings
        self._redactor = Redactor(*secrets_of(settings))
        logs.setup(settings.log, self._redactor)
        self._logger = logs.get_logger("bridge")
        self._limited = logs.Limited(self._logger, LIMIT_S)
        mailbox = Mailbox()
        self.feed = self._make_feed(mailbox)
        instance = f"{socket.gethostname()}-{os.getpid()}"
        self.control = Control(settings, mailbox, self._log, instance=instance, feed=self.feed)
        identity = Identity(settings, instance, __version__)
        site = Site(identity, self.feed.look, self.control.look)
        self.http = HttpServer(settings.http.host, settings.http.port, site.respond, self._logger)
        self._mailbox = mailbox
        self._threads = {
            "feed": Thread(target=self._guard, args=(self.feed.run,), name="feed", daemon=True),
            "control": Thread(target=self._guard, args=(self.control.run,), name="control", daemon=True),
        }
        self.wanted_down = Event()
        self._asked_to_stop = False  # by a signal
        self.verdict = EXIT_OK

    def _make_feed(self, mailbox: Mailbox) -> Feed:
        settings, upstream = self._settings, self._settings.upstream
        dialect = dialects.get(upstream.dialect)
        calendar_file = settings.ticks.calendar_file
        venue = Venue(
            upstream,
            dialect,
            mailbox,
            self._log,
            self._redactor.add,
            removal_hold_s=settings.reconcile.removal_hold_s,
            stale_after_s=settings.ticks.stale_after_s,
            calendar=calendar.load(calendar_file) if calendar_file else calendar.Calendar.built_in(),
        )
        chosen = settings.dedupe.without_seq
        return Feed(
            mailbox,
            venue,
            outlet=Outlet(settings, self._log),
            normaliser=Normaliser(dialect.sides, without_seq=dialect.gives_time if chosen is None else chosen),
            limits_for=partial(upstream.limits, pause_s=dialect.pause_s),
            log=self._log,
            session_timeout_s=settings.group.session_timeout_s,
        )

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until it cannot go on; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        logs.hook_uncaught()
        self.start()
        while not self.wanted_down.wait(SIGNAL_S):
            pass  # a signal that another thread was given is seen only when this one runs
        code = self.stop()
        if self._threads["control"].is_alive():
            # Kafka does not answer our farewell, and the library would wait five seconds for each client.
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)
        return code

    def start(self) -> None:
        """Start every thread."""
        self.http.start()
        settings = self._settings
        self._log(
            "started", version=__version__, name=settings.name, plan=settings.upstream.plan,
            max_symbols=settings.upstream.limits().max_symbols, http_port=self.http.port,
        )  # fmt: skip
        # What exists now lives as long as the process: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        for thread in self._threads.values():
            thread.start()

    def stop(self) -> int:
        """Stop in order within the budget; return the exit code."""
        budget_s = self._settings.shutdown.budget_s
        deadline = time.monotonic() + budget_s
        drained = deadline - min(LAST_WORDS_S, budget_s * LAST_WORDS_SHARE)
        self._log("stopping", budget_s=budget_s)
        self.control.stop()
        self._mailbox.put(Stop(drained))
        self._join("feed", drained - time.monotonic() + SPILL_S)
        self.control.leave(deadline)
        self._join("control", max(LEAVE_S, deadline - time.monotonic()))
        self._join("feed", SPILL_S)  # ended long ago, unless the disk is slow
        self.http.stop()
        return self._close_accounts()

    def _join(self, name: str, seconds: float) -> None:
        """Wait for the end of a thread, and see signals meanwhile."""
        end = time.monotonic() + seconds
        while self._threads[name].is_alive() and (left := end - time.monotonic()) > 0:
            self._threads[name].join(min(left, SIGNAL_S))

    def _close_accounts(self) -> int:
        snapshot = self.feed.snapshot()
        accounts = snapshot.accounts
        terms = {name: getattr(accounts, name) for name in type(accounts).__dataclass_fields__}
        code = self.verdict or (EXIT_UNDELIVERED if accounts.in_flight else EXIT_OK)
        level = "error" if accounts.in_flight else "info"
        left = {"undelivered": accounts.in_flight, "spilled": snapshot.places.get("spill", 0)}
        self._log("stopped", level, exit_code=code, **left, balanced=accounts.balanced, **terms)
        return code

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a thread's work; its failure ends the process, in order, and says why."""
        try:
            work()
        except KafkaUnusable as error:
            self.verdict = EXIT_KAFKA
            self._log("kafka_unusable", "error", what=error.what, remedy=error.remedy)
        except SettingsError as error:
            self.verdict = EXIT_SETTINGS
            self._log("settings_unusable", "error", lines=error.lines)
        except BaseException:
            self.verdict = EXIT_BUG
            self.wanted_down.set()
            raise  # the uncaught-exception hook writes it, traceback and all
        finally:
            if self.verdict:
                self.wanted_down.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  the handler's own signature
        # On threads of their own: this one may be inside the event or a write, and would wait for itself.
        if self._asked_to_stop:
            # Asked twice: stop at once. Whoever asks knows that what is in flight is lost.
            last_line = Thread(target=self._say_at_once, daemon=True)
            last_line.start()
            last_line.join(LAST_LINE_S)
            os._exit(EXIT_UNDELIVERED)
        self._asked_to_stop = True
        Thread(target=self.wanted_down.set, daemon=True).start()

    def _say_at_once(self) -> None:
        undelivered = self.feed.look(LAST_LINE_S / 2).accounts.in_flight
        self._log("stopped_at_once", "error", exit_code=EXIT_UNDELIVERED, undelivered=undelivered)

    def _log(self, event: str, /, level: str = "info", **fields: Any) -> None:
        logger = self._limited if event.startswith(LIMITED) else self._logger
        getattr(logger, level)(event, **fields)
