"""A calendar file read: YAML over what is built in, or everything that is wrong with it (``docs/markets.md``).

Rules. A file is used whole or not at all, and all its faults are told at once, each with its line, key and remedy. For
a market that is built in, what the file gives is changed and the rest stays: holidays and early closes are added,
anything else takes the place of what was there; ``replace: true`` starts from nothing. Any other market is a new one.

YAML has traps that this file steps around: every value is taken as it is spelled (``13:00`` is no number of seconds,
``2026-12-25`` no date, ``on`` no boolean), and a key given twice is an error instead of the last one's victory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from bridge.errors import SettingsError
from bridge.ticks import hours
from bridge.ticks.hours import Rules, Session

T = TypeVar("T")

#: What each key of a market may hold, as the remedy for one that cannot be used.
KEYS = {
    "timezone": "the IANA name of a time zone, as in timezone: Europe/London",
    "sessions": "weekdays and their sessions, as in sessions: {mon-fri: [09:30-12:00, 13:00-16:00]}",
    "holidays": "a list of dates, as in holidays: [2026-12-25]",
    "early_closes": "dates and times of the day, as in early_closes: {2026-12-24: 13:00}",
    "known_until": "the last date for which the holidays are known, as in known_until: 2027-12-31",
    "codes": 'a list of codes, * standing for anything, as in codes: [NAS100, "*.L"]',
    "replace": "true, to forget what is built in, or false",
}
_TRUTH = {"true": True, "false": False}
_SHAPE = "write one mapping for each market, as in us: {holidays: [2026-12-25]}"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path, built_in: Mapping[str, Rules]) -> dict[str, Rules]:
    """Give the rules of every market, with the file's say over ``built_in``.

    Raises:
        SettingsError: with one line for everything that is wrong.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), str(path), built_in)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; give a readable YAML file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8; save it as UTF-8") from None


def parse(text: str, name: str, built_in: Mapping[str, Rules]) -> dict[str, Rules]:
    """As `read`, for a file's content; ``name`` is what messages call the file."""
    try:
        # Nodes, not values: they keep the spelling, the line, and what is given twice.
        top = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{name}{at}: is not valid YAML; mend the file") from None
    faults = _Faults(name)
    rules = dict(built_in)
    if top is not None:
        for market, line, body in faults.items(top, "", _SHAPE):
            rules[market] = _Market(market, faults).rules(line, body, built_in.get(market))
    if faults.lines:
        raise SettingsError(*faults.lines)
    return rules


class _Faults:
    """What is wrong with a file, sentence by sentence, and the ways of reading a node that find it out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []

    def add(self, line: int, key: str, what: str) -> None:
        """Note one fault; ``key`` is the way to it, dotted."""
        self.lines.append(f"{self.name}, line {line}: {key + ': ' if key else ''}{what}")

    def items(self, node: Any, key: str, remedy: str) -> Iterator[tuple[str, int, Any]]:
        """Give the keys of a mapping, each with its line and value."""
        if not isinstance(node, yaml.MappingNode):
            self.add(_line(node), key, f"is no mapping; {remedy}")
            return
        seen: dict[str, int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                self.add(_line(name), key, f"has a key that is no text; {remedy}")
            elif name.value in seen:
                way = f"{key}.{name.value}" if key else name.value
                self.add(_line(name), way, f"is given twice, first in line {seen[name.value]}; give it once")
            else:
                seen[name.value] = _line(name)
                yield name.value, _line(name), value

    def entries(self, node: Any, key: str, remedy: str) -> Iterator[tuple[str, int]]:
        """Give the entries of a list, each with its line; a single text is a list of one."""
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for entry in entries:
            if isinstance(entry, yaml.ScalarNode) and entry.value:
                yield entry.value, _line(entry)
            else:
                self.add(_line(entry), key, f"is no list of texts; give {remedy}")

    def value(self, made: Callable[[str], T], text: str, line: int, key: str, remedy: str) -> T | None:
        """Make something of a text, or note that it cannot be."""
        try:
            return made(text)
        except (ValueError, KeyError):
            self.add(line, key, f"{text!a} cannot be used; give {remedy}")
            return None


class _Market:
    """Reads one market's mapping."""

    def __init__(self, name: str, faults: _Faults) -> None:
        self._name = name
        self._faults = faults

    def rules(self, line: int, body: Any, built_in: Rules | None) -> Rules:
        """Give the market's rules; what is wrong is noted."""
        given = self._given(body)
        base = None if given.get("replace") else built_in
        if base is None and not {"timezone", "sessions"} <= given.keys():
            why = "is no market that is built in" if built_in is None else "replaces what is built in"
            self._faults.add(line, self._name, f"{why}; give it timezone and sessions")
        base = base or Rules("UTC", {})
        return Rules(
            timezone=given.get("timezone") or base.timezone,
            sessions=given.get("sessions") or base.sessions,
            holidays=base.holidays | given.get("holidays", frozenset()),
            early_closes={**base.early_closes, **given.get("early_closes", {})},
            known_until=given.get("known_until", base.known_until),
            codes=given.get("codes", base.codes),
        )

    def _given(self, body: Any) -> dict[str, Any]:
        """Read every key that is given, each by its own reader."""
        readers: dict[str, Callable[[Any, str, str], Any]] = {
            "timezone": self._timezone,
            "sessions": self._sessions,
            "holidays": self._holidays,
            "early_closes": self._early_closes,
            "known_until": self._known_until,
            "codes": self._codes,
            "replace": self._replace,
        }
        given = {}
        known = ", ".join(KEYS)
        for key, line, node in self._faults.items(body, self._name, f"give any of {known}"):
            way = f"{self._name}.{key}"
            if key in readers:
                given[key] = readers[key](node, way, KEYS[key])
            else:
                self._faults.add(line, way, f"no key is called so; there are {known}")
        return given

    def _one(self, made: Callable[[str], T], node: Any, key: str, remedy: str) -> T | None:
        if not isinstance(node, yaml.ScalarNode):
            self._faults.add(_line(node), key, f"is no single value; give {remedy}")
            return None
        return self._faults.value(made, node.value, _line(node), key, remedy)

    def _timezone(self, node: Any, key: str, remedy: str) -> str | None:
        zone = self._one(hours.zone, node, key, remedy)
        return zone.key if zone else None

    def _known_until(self, node: Any, key: str, remedy: str) -> str | None:
        return self._one(hours.iso_day, node, key, remedy)

    def _replace(self, node: Any, key: str, remedy: str) -> bool | None:
        return self._one(_TRUTH.__getitem__, node, key, remedy)

    def _sessions(self, node: Any, key: str, remedy: str) -> dict[int, tuple[Session, ...]]:
        before = len(self._faults.lines)
        week: dict[int, tuple[Session, ...]] = {}
        for days, at, node_of_day in self._faults.items(node, key, f"give {remedy}"):
            way = f"{key}.{days}"
            texts = list(self._faults.entries(node_of_day, way, remedy))
            sessions = [self._faults.value(hours.session, text, line, way, remedy) for text, line in texts]
            for day in self._faults.value(hours.weekdays, days, at, way, remedy) or ():
                if day in week:
                    self._faults.add(at, way, f"{hours.DAYS[day]} has sessions already; give each day once")
                week[day] = tuple(session for session in sessions if session)
        if not any(week.values()) and len(self._faults.lines) == before:
            self._faults.add(_line(node), key, f"a market without sessions is never open; give {remedy}")
        return week

    def _holidays(self, node: Any, key: str, remedy: str) -> frozenset[str]:
        entries = self._faults.entries(node, key, remedy)
        days = [self._faults.value(hours.iso_day, text, line, key, remedy) for text, line in entries]
        return frozenset(day for day in days if day)

    def _early_closes(self, node: Any, key: str, remedy: str) -> dict[str, int]:
        closes = {}
        for text, at, node_of_day in self._faults.items(node, key, f"give {remedy}"):
            day = self._faults.value(hours.iso_day, text, at, key, remedy)
            close = self._one(hours.minutes, node_of_day, f"{key}.{text}", remedy)
            if day and close is not None:
                closes[day] = close
        return closes

    def _codes(self, node: Any, key: str, remedy: str) -> tuple[str, ...]:
        return tuple(text for text, _ in self._faults.entries(node, key, remedy))


def _line(node: Any) -> int:
    line: int = node.start_mark.line + 1
    return line
