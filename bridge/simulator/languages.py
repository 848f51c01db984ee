"""How the venue speaks in the two dialects that no vendor documents (docs/alltick.md 9). Pure.

Requests add codes and take them away. Whether they are answered, and what an answer to a partly failed one says, is
decided by switches, as is the way numbers and times are written.
"""

from __future__ import annotations

import re
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bridge.simulator.protocol import BAD_REQUEST, CANCEL, OK, TICKS, Request, Style, encode_tick

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.simulator.protocol import Tick
    from bridge.simulator.switches import Switches

#: A request is recorded under the official number of what it does.
ACTIONS = {"subscribe": TICKS, "unsubscribe": CANCEL}
_NAMES = {number: name for name, number in ACTIONS.items()}


class Language(Protocol):
    """What the simulated venue needs of a dialect."""

    def read(self, text: str) -> Request:
        """Read a request; its codes stand in ``data`` as ``codes``."""
        ...

    def answer(self, request: Request, ret: int, words: str, codes: tuple[str, ...]) -> str:
        """Write an answer that names codes."""
        ...

    def push(self, tick: Tick, switches: Switches) -> bytes:
        """Write a tick."""
        ...

    def is_code(self, text: str) -> bool:
        """Say whether a code is well-formed."""
        ...

    def spell(self, code: str) -> str:
        """Spell a stock code of the official list."""
        ...


class ActionCode:
    """``action`` and ``code``: symbols as EXCHANGE:TICKER, pushes without a time."""

    def read(self, text: str) -> Request:
        """Read a request: 22004, an action, a list of codes."""
        return _read(text, "code", {"cmd_id": TICKS})

    def answer(self, request: Request, ret: int, words: str, codes: tuple[str, ...]) -> str:
        """Write an answer with a ``ret``."""
        action = _NAMES.get(request.cmd_id)
        return _text({"cmd_id": TICKS + 1, "action": action, "ret": ret, "msg": words, "code": codes})

    def push(self, tick: Tick, switches: Switches) -> bytes:
        """Write code, price and the price of a day ago."""
        quote = "" if switches.numbers else '"'
        open_24h = f"{10 + zlib.crc32(tick.code.encode()) % 490}.000000"
        return (
            f'{{"code":"{tick.code}","price":{quote}{tick.price}{quote},"open_24h":{quote}{open_24h}{quote},'
            f'"volume":{quote}{tick.volume}{quote}}}'
        ).encode()

    def is_code(self, text: str) -> bool:
        """Say whether it is EXCHANGE:TICKER."""
        return re.fullmatch(r"[A-Z]+:[A-Z0-9.]+", text) is not None

    def spell(self, code: str) -> str:
        """Put the exchange before."""
        ticker, _, market = code.rpartition(".")
        exchange = {"HK": "HKEX", "SH": "SSE", "SZ": "SZSE"}.get(market, "NASDAQ")
        return f"{exchange}:{ticker.zfill(5) if market == 'HK' else ticker}"


class ActionSymbols:
    """``action`` and ``symbols``: AAPL and 00700.HK, pushes with a time in any unit."""

    def read(self, text: str) -> Request:
        """Read a request: an action, a list of symbols."""
        return _read(text, "symbols", {})

    def answer(self, request: Request, ret: int, words: str, codes: tuple[str, ...]) -> str:
        """Write an answer with a status."""
        status = "ok" if ret == OK else "error"
        return _text({"action": _NAMES.get(request.cmd_id), "status": status, "message": words, "symbols": codes})

    def push(self, tick: Tick, switches: Switches) -> bytes:
        """Write symbol, price and time."""
        quote = "" if switches.numbers else '"'
        written = _time(tick.tick_time, switches)
        return f'{{"symbol":"{tick.code}","price":{quote}{tick.price}{quote},"time":{written}}}'.encode()

    def is_code(self, text: str) -> bool:
        """Say whether it is a ticker, a number of five digits in Hong Kong, or a Chinese share."""
        return re.fullmatch(r"[A-Z]+(?:[.-][A-Z])?|\d{5}\.HK|\d{6}\.S[HZ]", text) is not None

    def spell(self, code: str) -> str:
        """Pad a number of Hong Kong, and leave the ending of an American share."""
        ticker, _, market = code.rpartition(".")
        return ticker if market == "US" else f"{ticker.zfill(5) if market == 'HK' else ticker}.{market}"


LANGUAGES: dict[str, Language] = {"action-code": ActionCode(), "action-symbols": ActionSymbols()}


def speech(dialect: str) -> Callable[[Switches], Callable[[Tick], bytes]]:
    """Give what makes a writer of ticks out of the switches of the moment."""
    language = LANGUAGES.get(dialect)
    if language is None:
        return lambda switches: partial(encode_tick, style=Style.of(switches))
    return lambda switches: lambda tick: language.push(tick, switches)


def _read(text: str, field: str, fixed: dict[str, Any]) -> Request:
    try:
        message = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return Request(error=BAD_REQUEST)
    if not isinstance(message, dict) or message.keys() != {"action", field, *fixed}:
        return Request(error=BAD_REQUEST)
    codes, number = message[field], ACTIONS.get(str(message["action"]), 0)
    strings = isinstance(codes, list) and all(isinstance(code, str) for code in codes)
    sound = number and strings and codes and all(message[name] == value for name, value in fixed.items())
    data = {"codes": tuple(dict.fromkeys(codes)) if strings else ()}
    return Request(number, data=data, error=0 if sound else BAD_REQUEST)


def _text(message: dict[str, object]) -> str:
    return msgspec.json.encode(message).decode()


def _time(milliseconds: int, switches: Switches) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    if switches.time_unit == "iso":
        return time.strftime(f'"%Y-%m-%dT%H:%M:%S.{rest:03d}Z"', time.gmtime(seconds))
    number = {"s": seconds, "ms": milliseconds, "us": milliseconds * 1000}[switches.time_unit]
    return str(number) if switches.integers else f'"{number}"'
