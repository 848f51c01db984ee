"""The house rules that a reader relies on, held by looking at the source.

Rooms meet only in the wiring; the pure files get time, bytes and random numbers as arguments; each library has its
doors; nothing grows past what one can hold in the head without a reason that is written down here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROOMS = ("control", "upstream", "ticks", "publish", "observe", "simulator")
#: Where the rooms meet; everything else in a room is its own business.
WIRING = ("bridge.app", "bridge.cli", "bridge.__main__")
#: What any room may import beside itself; the last is librdkafka in our words, for the rooms with a door to it.
COMMON = ("bridge.model", "bridge.snapshots", "bridge.errors", "bridge.settings", "bridge.kafka")

PURE = (
    "bridge.upstream.frames",
    "bridge.upstream.session",
    "bridge.upstream.waiting",
    "bridge.upstream.reconcile",
    "bridge.upstream.increments",
    "bridge.upstream.removals",
    "bridge.upstream.admission",
    "bridge.upstream.pacing",
    "bridge.upstream.dialects",
    "bridge.control.records",
    "bridge.control.desired",
    "bridge.control.murmur2",
    "bridge.control.division",
    "bridge.ticks",
    "bridge.publish.backpressure",
    "bridge.publish.ledger",
    "bridge.publish.notices",
    "bridge.publish.statuses",
    "bridge.publish.gaps",
    "bridge.model",
    "bridge.snapshots",
    "bridge.errors",
)
IMPURE = ("time", "datetime", "random", "socket", "select", "asyncio", "threading", "confluent_kafka", "websocket")
#: Who may reckon with dates and time zones; it gets every moment as an argument all the same.
DATES = ("bridge.ticks.hours",)
#: How one asks `datetime` what time it is.
CLOCKS = ("now", "utcnow", "today")

#: Who may know a library: its types and exceptions stop there.
DOORS = {
    "confluent_kafka": (
        "bridge.kafka",  # what every client of it needs
        "bridge.control.kafka",  # the control topic's clients and their errors in our words
        "bridge.control.reader",  # reads a topic to its end
        "bridge.control.topic",  # the consumer group
        "bridge.control.writer",  # writes control records for the command line
        "bridge.publish.publisher",
        "bridge.publish.admin",
        "bridge.publish.reporter",
        "bridge.publish.topics",
        "bridge.cli",
        "bridge.simulator",  # the embedded broker is librdkafka's own
    ),
    "websocket": ("bridge.upstream.transport",),
    "websockets": ("bridge.simulator",),
}

LONGEST_FILE = 350
LONGEST_FUNCTION = 45
#: Files and functions (module.function) that are longer, each with its reason.
LONGER: dict[str, str] = {}


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def within(module: str, *places: str) -> bool:
    """Tell whether a module is one of the places or inside one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def imports(name: str) -> set[str]:
    """Name every module that a module imports, wherever in it, and whatever it takes from it."""
    found: set[str] = set()
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {one if one in modules() else str(node.module) for one in whole}
    return found


def functions(name: str) -> Iterator[tuple[str, int]]:
    """Give every function's name and how many lines it has; words that explain it do not count."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name}.{node.name}", lines(node) - (lines(node.body[0]) if ast.get_docstring(node) else 0)


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_every_room_and_every_listed_file_is_there() -> None:
    for name in (*(f"bridge.{room}" for room in ROOMS), *COMMON, *WIRING, *PURE):
        assert name in modules(), name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_other_room(room: str) -> None:
    own = f"bridge.{room}"
    strangers = {
        f"{name} imports {one}"
        for name in modules()
        if within(name, own)
        for one in imports(name)
        if within(one, "bridge") and one != "bridge" and not within(one, own, *COMMON)
    }
    assert strangers == set()


def test_only_the_wiring_sees_rooms() -> None:
    rooms = tuple(f"bridge.{room}" for room in ROOMS)
    curious = {
        f"{name} imports {one}"
        for name in modules()
        if not within(name, *rooms, *WIRING)
        for one in imports(name)
        if within(one, *rooms, *WIRING)
    }
    assert curious == set()


def test_pure_files_know_no_clock_no_socket_no_thread_no_library_of_the_wire() -> None:
    impure = {
        f"{name} imports {one}"
        for name in modules()
        if within(name, *PURE)
        for one in imports(name)
        if within(one, *IMPURE) and not (one == "datetime" and name in DATES)
    }
    assert impure == set()


@pytest.mark.parametrize("name", DATES)
def test_who_reckons_with_dates_never_asks_for_the_time(name: str) -> None:
    asked = {node.attr for node in ast.walk(modules()[name]) if isinstance(node, ast.Attribute)}
    assert asked.isdisjoint(CLOCKS)


def test_pure_files_of_the_house_import_only_pure_ones() -> None:
    impure = {
        f"{name} imports {one}"
        for name in modules()
        if within(name, *PURE)
        for one in imports(name)
        if within(one, "bridge") and not within(one, *PURE)
    }
    assert impure == set()


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_known_only_at_its_doors(library: str) -> None:
    knowing = {name for name in modules() if any(within(one, library) for one in imports(name))}
    assert {name for name in knowing if not within(name, *DOORS[library])} == set()
    assert knowing, f"{library} has a door and nobody uses it"


def test_nothing_is_longer_than_one_can_hold_in_the_head() -> None:
    files = {name: (tree.body[-1].end_lineno or 0) if tree.body else 0 for name, tree in modules().items()}
    long = {name for name, length in files.items() if length > LONGEST_FILE}
    long |= {name for module in modules() for name, length in functions(module) if length > LONGEST_FUNCTION}
    assert long == set(LONGER), "a reason is missing, or no longer needed"
    assert all(LONGER.values())
