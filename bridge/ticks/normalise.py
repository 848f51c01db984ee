"""Ticks as the venue sends them become records, a whole read at a time: the hot path.

Each tick is checked (price above zero, a time that can be), freed of repeats and written. Nearly every tick is plain
(digits and points in strings) and takes the fast road in ``batch``; one that is not goes through ``_careful``, which
does the same things slowly. Nothing is ever re-sorted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from bridge.model import Record, WireTick
from bridge.ticks import encode
from bridge.ticks.symbols import Route, Symbols

#: 2000-01-01 in microseconds: no trade of ours is older.
EARLIEST_US = 946_684_800_000_000
DAY_US = 86_400_000_000

#: Times below are seconds, the others milliseconds (protocol sheet 5.2).
SECONDS_BELOW = 100_000_000_000

#: A decimal longer than this is rubbish, whatever it says.
DIGITS_MAX = 64

_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?").fullmatch
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?").fullmatch


@dataclass(slots=True)
class Batch:
    """The outcome for one read: records to publish, and counts of the ticks that are none.

    ``newest_event_us`` is the venue's time of the newest tick, 0 where none has one.
    """

    records: list[Record] = field(default_factory=list)
    filtered: int = 0
    duplicate: int = 0
    invalid: int = 0
    newest_event_us: int = 0


class Normaliser:
    """Makes records of one venue's ticks.

    ``sides`` gives our word for the venue's; ``without_seq`` says whether ticks without a seq that look alike are one.
    """

    def __init__(self, sides: Mapping[int | str | None, str], *, without_seq: bool) -> None:
        self._sides = {raw: f'","side":"{side}","seq":"' for raw, side in sides.items()}
        self._words = dict(sides)
        self._without_seq = without_seq

    def batch(self, ticks: Sequence[WireTick], symbols: Symbols, recv_us: int, session: int) -> Batch:
        """Check and write ``ticks``, read at ``recv_us`` on connection ``session``."""
        done = Batch()
        append = done.records.append
        routes, sides, plain = symbols.routes, self._sides, encode.PLAIN
        recv_ms = recv_us // 1000
        latest_us = recv_us + DAY_US
        end = f',"ts_recv_us":{recv_us}}}'
        last_time: int | str | None = None
        event_us = 0
        for tick in ticks:
            route = routes.get(tick.code)
            if route is None:
                done.filtered += 1
                continue
            price, volume, seq, time = tick.price, tick.volume, tick.seq, tick.time
            if time != last_time or time is None:
                last_time = time
                event_us = _event_us(time)
            if not (EARLIEST_US <= event_us <= latest_us):
                last_time = None
                self._careful(tick, route, symbols, (recv_us, session), done)
                continue
            side = sides.get(tick.side)
            if side is None or not plain(f"{price} {volume} {tick.turnover} {seq}") or not price.strip("0."):
                self._careful(tick, route, symbols, (recv_us, session), done)
                continue
            number = int(seq)  # type: ignore[arg-type]  # PLAIN holds it to digits
            if route.window.is_repeat(number, hash((number, event_us, price, volume))):
                done.duplicate += 1
                continue
            head = route.head if route.session == session else symbols.head(route, session)
            value = (
                f'{head},"price":"{price}","volume":"{volume}","turnover":"{tick.turnover}'
                f'{side}{seq}","ts_event_us":{event_us}{end}'
            )
            route.last_us = recv_us
            route.price = price
            append((route.key, value.encode(), recv_ms))
        done.newest_event_us = event_us if done.records else 0
        return done

    def _careful(self, tick: WireTick, route: Route, symbols: Symbols, when: tuple[int, int], done: Batch) -> None:
        """Do for an unusual tick what ``batch`` does for a plain one."""
        recv_us, session = when
        price = _decimal(tick.price)
        event_us = _event_us(tick.time)
        timely = tick.time is None or EARLIEST_US <= event_us <= recv_us + DAY_US
        if price is None or price.startswith("-") or not price.strip("0.") or not timely:
            done.invalid += 1
            return
        volume, seq = _decimal(tick.volume), _seq(tick.seq)
        if self._is_repeat(route, seq, tick.time is not None, (event_us, price, volume)):
            done.duplicate += 1
            return
        fields: dict[str, str | int | None] = {
            "price": price,
            "volume": volume,
            "turnover": _decimal(tick.turnover),
            "open_24h": _decimal(tick.open_24h),
            "side": self._words.get(tick.side),
            "seq": seq,
            "ts_event_us": event_us if tick.time is not None else None,
            "ts_recv_us": recv_us,
        }
        known = {name: value for name, value in fields.items() if value is not None}
        head = route.head if route.session == session else symbols.head(route, session)
        route.last_us = recv_us
        route.price = price
        done.records.append((route.key, encode.full(head, known), recv_us // 1000))

    def _is_repeat(self, route: Route, seq: str | None, timed: bool, look: tuple[int, str, str | None]) -> bool:
        if seq is None and not (timed and self._without_seq):
            return False
        number = int(seq) if seq is not None and seq.isdecimal() else -1
        event_us, price, volume = look
        return route.window.is_repeat(number, hash((seq if number < 0 else number, event_us, price, volume)))


def _event_us(time: int | str | None) -> int:
    """Give the venue's time in microseconds, told from seconds or milliseconds by its size; 0 where it is no time."""
    try:
        value = int(time)  # type: ignore[arg-type]  # None is caught like any other rubbish
    except (TypeError, ValueError):
        return 0
    return value * 1_000_000 if value < SECONDS_BELOW else value * 1000


def _decimal(text: str | None) -> str | None:
    """Give a decimal string as it stands, an exponent written out; None where it is no number."""
    if text is None or len(text) > DIGITS_MAX:
        return None
    if _DECIMAL(text):
        return text
    if not _NUMBER(text):
        return None
    try:
        return format(Decimal(text), "f")
    except InvalidOperation:
        return None


def _seq(seq: int | str | None) -> str | None:
    text = "" if seq is None else str(seq)
    return text if 0 < len(text) <= DIGITS_MAX else None
