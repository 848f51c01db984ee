"""Ticks as the venue sends them become records, a whole read at a time: the hot path.

Each tick is checked (price above zero, a time that can be), freed of repeats and written. Nearly every tick is plain
(digits and points in strings) and takes the fast road in ``batch``; one that is not goes through ``_careful``, which
does the same things slowly. Nothing is ever re-sorted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bridge.model import Record, WireTick
from bridge.ticks import encode, times
from bridge.ticks.symbols import Route, Symbols
from bridge.ticks.times import DIGITS_MAX

_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?").fullmatch
_WITH_EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}").fullmatch


@dataclass(slots=True)
class Batch:
    """The outcome for one read: records to publish, and counts of the ticks that are none.

    ``newest_event_us`` is the venue's time of the last tick that has a usable one; 0 where none has. ``refused`` is the
    last invalid tick: its code, the field that makes it so, and what it says.
    """

    records: list[Record] = field(default_factory=list)
    filtered: int = 0
    duplicate: int = 0
    invalid: int = 0
    newest_event_us: int = 0
    refused: tuple[str, str, str] | None = None


class Normaliser:
    """Makes records of one venue's ticks.

    ``sides`` gives our word for the venue's; ``without_seq`` says whether ticks without a seq that look alike are one.
    """

    def __init__(self, sides: Mapping[int | str | None, str], *, without_seq: bool) -> None:
        self._sides = {None: '","seq":"', **{raw: f'","side":"{side}","seq":"' for raw, side in sides.items()}}
        self._words = dict(sides)
        self._without_seq = without_seq
        self._plain = encode.Plain()

    def batch(self, ticks: Sequence[WireTick], symbols: Symbols, recv_us: int, session: int) -> Batch:
        """Check and write ``ticks``, read at ``recv_us`` on connection ``session``."""
        done = Batch()
        append = done.records.append
        routes, sides, plain, same_digits = symbols.routes, self._sides, self._plain, encode.SAME_DIGITS
        recv_ms, received = recv_us // 1000, f',"ts_recv_us":{recv_us}}}'
        last_time: int | str | None = None
        event_us, end = 0, ""
        for tick in ticks:
            route = routes.get(tick.code)
            if route is None:
                done.filtered += 1
                continue
            price, volume, turnover, seq, time = tick.price, tick.volume, tick.turnover, tick.seq, tick.time
            try:
                usual = plain[f"{price} {volume or ''} {turnover or ''} {seq} {time}".encode().translate(same_digits)]
            except ValueError:  # half of a surrogate pair, or an integer that Python will not write out
                usual = False
            if usual and time != last_time:
                last_time, event_us = time, times.event_us(int(time), recv_us)  # type: ignore[arg-type]  # digits
                end = f'","ts_event_us":{event_us}{received}'
                done.newest_event_us = event_us or done.newest_event_us
            side = sides.get(tick.side)
            if not (usual and event_us and side and tick.open_24h is None) or (price < "1" and not price.strip("0.")):
                self._careful(tick, route, symbols, (recv_us, session), done)
                continue
            number = int(seq)  # type: ignore[arg-type]  # digits
            if route.window.is_repeat(number, hash((number, event_us, price, volume))):
                done.duplicate += 1
                continue
            head = route.head if route.session == session else symbols.head(route, session)
            if volume and turnover:
                value = f'{head}{price}","volume":"{volume}","turnover":"{turnover}{side}{seq}{end}'
            else:
                value = f"{head}{price}{_known_amounts(volume, turnover)}{side}{seq}{end}"
            route.last_us = recv_us
            route.price = price
            append((route.key, value.encode(), recv_ms))
        return done

    def _careful(self, tick: WireTick, route: Route, symbols: Symbols, when: tuple[int, int], done: Batch) -> None:
        """Do for an unusual tick what ``batch`` does for a plain one."""
        recv_us, session = when
        price = _decimal(tick.price)
        event_us = times.event_us(times.whole(tick.time), recv_us)
        if price is None or not _above_zero(price):
            done.invalid += 1
            done.refused = tick.code, "price", tick.price
            return
        if not event_us and tick.time not in (None, ""):
            done.invalid += 1
            done.refused = tick.code, "time", _text(tick.time) or "too long"
            return
        done.newest_event_us = event_us or done.newest_event_us
        seq = _text(tick.seq)
        if self._is_repeat(tick, route, seq, event_us):
            done.duplicate += 1
            return
        open_24h = _decimal(tick.open_24h)
        fields: dict[str, str | int | None] = {
            "volume": _decimal(tick.volume),
            "turnover": _decimal(tick.turnover),
            # Nothing ever opened at zero: the venue does not know it, which is no fault of the price.
            "open_24h": open_24h if open_24h and _above_zero(open_24h) else None,
            "side": self._words.get(tick.side),
            "seq": seq,
            "ts_event_us": event_us or None,
            "ts_recv_us": recv_us,
        }
        known = {name: value for name, value in fields.items() if value is not None}
        head = route.head if route.session == session else symbols.head(route, session)
        route.last_us = recv_us
        route.price = price
        done.records.append((route.key, encode.full(head, price, known), recv_us // 1000))

    def _is_repeat(self, tick: WireTick, route: Route, seq: str | None, event_us: int) -> bool:
        look = (event_us, tick.price, tick.volume)
        if seq is not None:
            number = int(seq) if seq.isascii() and seq.isdigit() else -1
            return route.window.is_repeat(number, hash((seq if number < 0 else number, *look)))
        if not (event_us and self._without_seq):
            return False
        return route.window.is_repeat(-1, hash((tick.seq, *look, tick.turnover, tick.side, tick.open_24h)))


def _known_amounts(volume: str | None, turnover: str | None) -> str:
    """Write what is known of the two; forex has neither, or one of them (docs/alltick.md 5.4)."""
    return (f'","volume":"{volume}' if volume else "") + (f'","turnover":"{turnover}' if turnover else "")


def _above_zero(decimal: str) -> bool:
    return not decimal.startswith("-") and bool(decimal.strip("0."))


def _decimal(text: str | None) -> str | None:
    """Give a decimal as it stands, an exponent written out; None where it is none."""
    if text is None or len(text) > DIGITS_MAX:
        return None
    if _DECIMAL(text):
        return text
    return format(Decimal(text), "f") if _WITH_EXPONENT(text) else None


def _text(value: int | str | None) -> str | None:
    """Give a seq or a time as text; None where there is none, or none that can be written."""
    try:
        text = "" if value is None else str(value)
        text.encode()
    except ValueError:
        return None
    return text if 0 < len(text) <= DIGITS_MAX else None
