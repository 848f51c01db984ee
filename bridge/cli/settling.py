"""``--wait``: what was written is waited for, until the status topic says what became of it.

A status speaks of what was written when its ``control_offset`` is not older, or, as nothing is said again that has not
changed, when its ``effective`` is the same record. It ends well when the venue has accepted the symbol (or it is
disabled, or gone, as asked), badly when it is refused; and a bad end is believed once it has stood for a moment, as
another record written with it may make room. The status topic is opened before anything is written: who may not read
it, or has none, is told while nothing has happened yet.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.text import Text

from bridge.cli import status, statuses
from bridge.cli.sheet import Sheet
from bridge.cli.statuses import Book
from bridge.cli.tables import busy, count, errors, plain, printable, say
from bridge.model import ACCEPTED, State

if TYPE_CHECKING:
    from confluent_kafka import Message

    from bridge.cli.statuses import Row
    from bridge.settings import Settings

#: Everything is written, and some of it is not in force.
EXIT_UNSETTLED = 6

#: Seconds that a bad end must stand: the bridge writes of one symbol at most once a second.
SURE_S = 2.0
#: Symbols that are shown, and named in a command to copy.
ROWS, FEW = 20, 5

Pairs = Sequence[tuple[bytes, bytes | None]]
Places = Sequence[tuple[int, int]]
#: Waits for the keys and values that were written, each at its partition and offset.
Settle = Callable[[Pairs, Places], None]


def _above_zero(seconds: float | None) -> float | None:
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise typer.BadParameter("give a number of seconds above 0")
    return seconds


WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        callback=_above_zero,
        help="Wait so long, at most, for the bridge to do what was written; exit code 6 where it has not.",
    ),
]


class Source(Protocol):
    """What the status topic is followed by, as `bridge.cli.stream.Stream` does."""

    trouble: str

    def take(self) -> Sequence[Message]:
        """Give the records that come within a moment."""
        ...

    def tell_trouble(self) -> None:
        """Say that nothing comes, and that it is over."""
        ...


class Outcome(StrEnum):
    """What became of something that was written."""

    GOOD = "good"
    BAD = "bad"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class Written:
    """A control record that was written; without ``fields`` it is a tombstone."""

    symbol: str
    fields: Mapping[str, Any] | None
    partition: int
    offset: int

    def judge(self, row: Row | None) -> tuple[Outcome, str]:
        """Say what a symbol's status makes of it, and, unless that is good, why."""
        if row is None:
            return (Outcome.GOOD, "") if self.fields is None else (Outcome.NOT_YET, "no status yet")
        if statuses.held(row):
            return Outcome.NOT_YET, "its removal is held"
        told = statuses.moment(row, "control_offset") if row.get("control_partition") == self.partition else -1
        if self.fields is None:
            return (Outcome.BAD, "asked for again") if told > self.offset else (Outcome.NOT_YET, "not removed yet")
        same = row["state"] != State.INVALID and row.get("effective") == self.fields
        if not same and not told >= self.offset >= 0:  # without an acknowledged place, only `effective` can tell
            return Outcome.NOT_YET, "not read by a bridge yet"
        return self._judge_state(row)

    def _judge_state(self, row: Row) -> tuple[Outcome, str]:
        state = row["state"]
        if state in ACCEPTED:
            return Outcome.GOOD, ""
        if state == State.DISABLED and self.fields and self.fields.get("enabled") is False:
            return Outcome.GOOD, ""
        bad = state in (State.REJECTED, State.OVER_CAP, State.INVALID, State.DISABLED)
        return (Outcome.BAD if bad else Outcome.NOT_YET), statuses.reason(row)


@contextmanager
def ready(settings: Settings, seconds: float | None) -> Iterator[Settle]:
    """Open the status topic and give what waits for all that is written; without ``seconds`` it does nothing.

    What is given raises `typer.Exit` with `EXIT_UNSETTLED` where something is not in force in time.

    Raises:
        KafkaUnusable: Kafka refuses us, is out of reach, or the topic does not exist.
    """
    if seconds is None:
        yield lambda _pairs, _places: None
        return
    book = Book()
    with busy(f"Reading {settings.topics.status} …"):
        stream = status.follow(settings)
    with stream:
        for message in stream.to_end():
            book.take(message.key(), message.value())

        def settle(pairs: Pairs, places: Places) -> None:
            everything = written(pairs, places)
            try:
                heard = follow(stream, book, everything, seconds)
            except KeyboardInterrupt:
                say(Text(f"stopped waiting; all is written ({count(len(everything), 'record')})", style="yellow"))
                raise
            _tell(everything, book, seconds, heard=heard)

        yield settle


def written(pairs: Pairs, places: Places) -> list[Written]:
    """Put together what was written, and where."""
    return [
        Written(key.decode(), None if value is None else json.loads(value), *place)
        for (key, value), place in zip(pairs, places, strict=True)
    ]


def outcomes(everything: Iterable[Written], book: Book) -> dict[str, tuple[Outcome, str]]:
    """Judge all that was written, by symbol."""
    return {one.symbol: one.judge(book.rows.get(one.symbol)) for one in everything}


def follow(source: Source, book: Book, everything: Sequence[Written], seconds: float) -> bool:
    """Follow the topic until all have ended, or time is over; tell whether anything is known of it meanwhile."""
    names = count(len(everything), "symbol")
    if not sys.stderr.isatty():
        say(f"waiting for {names}, {seconds:g} s at most")
    begun = changed = time.monotonic()
    found, heard = outcomes(everything, book), False
    with busy(f"Waiting for {names} …") as shown:
        while (now := time.monotonic()) < begun + seconds:
            ends = [outcome for outcome, _ in found.values()]
            if Outcome.NOT_YET not in ends and (Outcome.BAD not in ends or now >= changed + SURE_S):
                break
            left = len(ends) - ends.count(Outcome.GOOD)
            shown.update(f"Waiting for {left:,} of {names}, {begun + seconds - now:.0f} s at most …")
            messages = source.take()
            source.tell_trouble()
            if messages:
                for message in messages:
                    book.take(message.key(), message.value())
                heard, before, found = True, found, outcomes(everything, book)
                changed = time.monotonic() if found != before else changed
    return heard or bool(source.trouble)


def _tell(everything: Sequence[Written], book: Book, seconds: float, *, heard: bool) -> None:
    """Say how it ended; what is not good is drawn, so much of it as one can look at, and decides the exit code."""
    found = outcomes(everything, book)
    amiss = sorted((symbol for symbol, (end, _) in found.items() if end is not Outcome.GOOD), key=_worst(found))
    if not amiss:
        rows = [book.rows[one.symbol] for one in everything if one.symbol in book.rows]
        gone = f", {len(everything) - len(rows):,} removed" if len(rows) < len(everything) else ""
        say(Text.assemble(("in force: ", "green"), statuses.summary(rows) if rows else "", gone if rows else gone[2:]))
        return
    made = Sheet("symbol", "state", "why", gives="why")
    for symbol in amiss[:ROWS]:
        row = book.rows.get(symbol)
        made.add_row(plain(symbol), statuses.state_cell(row["state"] if row else None), plain(found[symbol][1]))
    errors().print(made)
    if len(amiss) > ROWS:
        say(f"and {len(amiss) - ROWS:,} more of them")
    late = sum(end is Outcome.NOT_YET for end, _ in found.values())
    said = [f"{len(amiss) - late:,} of {len(everything):,} ended badly"] if late < len(amiss) else []
    said += [f"{late:,} of {len(everything):,} not in force after {seconds:g} s"] if late else []
    say(Text(f"written, but {', '.join(said)}; {_next_step(amiss, book, heard=heard or not late)}", style="yellow"))
    raise typer.Exit(EXIT_UNSETTLED)


def _worst(found: Mapping[str, tuple[Outcome, str]]) -> Callable[[str], tuple[bool, str]]:
    return lambda symbol: (found[symbol][0] is not Outcome.BAD, symbol)


def _next_step(amiss: Sequence[str], book: Book, *, heard: bool) -> str:
    names = " ".join(map(printable, amiss)) if len(amiss) <= FEW else "--problems"
    if any(statuses.held(row) for symbol in amiss if (row := book.rows.get(symbol))):
        return "what is held ends by itself, or at once by `tickbridge subscriptions remove SYMBOL… --yes`"
    if not heard:
        return f"no bridge has said anything meanwhile: is one running? Later: `tickbridge status {names}`"
    return f"see `tickbridge status {names}`"
