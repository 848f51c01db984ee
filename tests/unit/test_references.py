"""What code and pages point to is there: numbered sections, guarantees, files, headings, the simulator's switches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bridge.simulator.switches import SwitchError, parse_assignments

ROOT = Path(__file__).parents[2]

CONTRACT, ALLTICK = ROOT / "docs/contract.md", ROOT / "docs/alltick.md"
PAGES = sorted([ROOT / "README.md", ROOT / "helm/tickbridge/README.md", *ROOT.glob("docs/*.md")])
SOURCES = sorted(path for room in ("bridge", "tests", "bench") for path in (ROOT / room).rglob("*.py"))

_NUMBER = r"\d+(?:\.\d+)?"
#: One number, or several with an aside after each: "1.3 (plans), 1.4 and 4", "2.3 to 2.7".
_NUMBERS = rf"{_NUMBER}(?:(?: \([^)]*\))?(?:,| and| to) {_NUMBER}\b)*"
_SECTION_OF_CONTRACT = re.compile(rf"\bcontract ({_NUMBER})")
_GUARANTEES = re.compile(r"\b[Gg]uarantees? (\d+(?:(?:,| and| to) \d+)*)")
_SECTIONS_OF_ALLTICK = re.compile(rf"\bdocs/alltick\.md ({_NUMBERS})")

_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_OUR_FILE = re.compile(r"(?<![\w/-])(?:bench|bridge|docs|schemas|scripts|tests)/[\w./-]+\.\w+")
_NAME = re.compile(r"(?<![\w.])[A-Za-z][A-Za-z0-9]*(?:__?[A-Za-z0-9]+)+")
_SWITCH = re.compile(r"[a-z_]+=[\w./]+")


def spans(text: str) -> list[str]:
    """List what stands as code within the lines of a page."""
    return _CODE.findall(_FENCE.sub("", text))


def sections(page: Path) -> set[str]:
    """List the numbers that headings begin with."""
    return set(re.findall(rf"^#+ ({_NUMBER}) ", page.read_text(), re.MULTILINE))


def guarantees(page: Path) -> set[str]:
    """List the numbers of the guarantees."""
    return set(re.findall(r"^(\d+)\. \*\*", page.read_text(), re.MULTILINE))


def dangling(text: str) -> list[str]:
    """List the references in a text to sections or guarantees that there are not."""
    flat = re.sub(r"\s*\n\s*(?:#:? ?)?", " ", text)
    known = (
        (_SECTION_OF_CONTRACT, sections(CONTRACT)),
        (_GUARANTEES, guarantees(CONTRACT)),
        (_SECTIONS_OF_ALLTICK, sections(ALLTICK)),
    )
    return [
        found[0]
        for pattern, there in known
        for found in pattern.finditer(flat)
        if not there.issuperset(re.findall(_NUMBER, re.sub(r"\([^)]*\)", "", found[1])))
    ]


def is_there(name: str) -> bool:
    """Tell whether a file is ours, or that of an example, of which pages speak from within."""
    return any((place / name).exists() for place in (ROOT, *ROOT.glob("examples/*")))


def anchors(text: str) -> set[str]:
    """Spell the headings of a page as GitHub does in addresses; of equal ones each later one bears its number."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Give the relative links of a page that lead nowhere."""
    for parts in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        link = "".join(parts)
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = page.parent / path if path else page
        there = target.exists()
        if there and anchor:
            there = target.suffix == ".md" and anchor in anchors(text if target == page else target.read_text())
        if not there:
            yield link


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_section_and_guarantee_that_the_code_names_is_there(source: Path) -> None:
    if source != Path(__file__):  # it has examples of what is not
        assert dangling(source.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_section_file_and_heading_that_a_page_points_to_is_there(page: Path) -> None:
    text = page.read_text()
    assert dangling(text) == []
    assert list(broken_links(page, text)) == []
    assert [name for code in spans(text) for name in _OUR_FILE.findall(code) if not is_there(name)] == []


@cache
def words_of_ours() -> str:
    """Give everything that may bear a name that a page speaks of: code, schemas, the chart, the benchmarks."""
    kinds = {".py", ".json", ".yaml", ".yml", ".tpl", ".html"}
    rooms = ("bridge", "bench", "deploy", "examples", "helm", "schemas", "scripts", "tests/support")
    files = [path for room in rooms for path in sorted((ROOT / room).rglob("*")) if path.suffix in kinds]
    return "\n".join(f"{path.stem} {path.read_text(encoding='utf-8')}" for path in files)


def unknown_names(text: str) -> list[str]:
    """List what a page writes as code, looks like a name in the code (two words or more), and is none."""
    found = []
    for name in _NAME.findall(" ".join(code for code in spans(text) if "::" not in code and ".py" not in code)):
        bare = re.sub(r"^(?:TICKBRIDGE_|tickbridge_)|(?:_total|_seconds)$", "", name)
        parts = bare.lower().split("__")[-1] if "__" in bare else bare
        if parts not in words_of_ours():
            found.append(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_events_settings_metrics_and_words_that_a_page_names_are_there(page: Path) -> None:
    foreign = {"websocket_interface", "python_info"}  # a folder of AllTick's, a metric of Prometheus' library
    assert set(unknown_names(page.read_text())) <= foreign


def test_a_name_that_nobody_has_is_found() -> None:
    text = "`upstream_connected`, `TICKBRIDGE_HTTP__PORT`, `kafka_tired`, `tickbridge_gaps_total`, `HTTP__HARBOUR`"
    assert unknown_names(text) == ["kafka_tired", "HTTP__HARBOUR"]


def rooms() -> dict[str, set[str]]:
    """Read the table of rooms on the page of the design: what each row names, directories included."""
    section = (ROOT / "docs/design.md").read_text().split("## The rooms")[1].split("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {room.strip(" `"): set(_CODE.findall(files[-1])) for room, *files in rows}


def test_every_file_of_the_bridge_stands_in_its_room_on_the_page_of_the_design() -> None:
    named, missing = rooms(), []
    for path in sorted((ROOT / "bridge").rglob("*.py")):
        room = f"{path.parent.relative_to(ROOT / 'bridge')}/"
        if path.stem.startswith("__"):
            continue
        row = named.get(room, named["what all share"])
        missing += [] if path.stem in row else [str(path.relative_to(ROOT))]
    assert missing == []


def test_every_file_that_the_page_of_the_design_names_in_a_room_is_there() -> None:
    there = {path.name for path in (ROOT / "bridge").rglob("*")} | {
        path.stem for path in (ROOT / "bridge").rglob("*.py")
    }
    named = {name.rstrip("/") for files in rooms().values() for name in files}
    assert len(named) > 90
    assert named <= there


def test_the_contract_has_its_seven_sections_and_twelve_guarantees() -> None:
    assert sections(CONTRACT) == {f"1.{number}" for number in range(1, 8)}
    assert guarantees(CONTRACT) == {str(number) for number in range(1, 13)}


def test_each_guarantee_names_a_test_that_holds_it() -> None:
    _, *each = re.split(r"^\d+\. \*\*", CONTRACT.read_text(), flags=re.MULTILINE)
    assert all("`tests/" in one.split("Held by")[1] for one in each)


def test_every_switch_that_the_page_of_the_protocol_names_takes_what_it_says() -> None:
    written = [code for code in spans(ALLTICK.read_text()) if _SWITCH.fullmatch(code)]
    assert len(written) > 30
    for assignment in written:
        parse_assignments([assignment])
    with pytest.raises(SwitchError):
        parse_assignments(["over_cap=606"])


@pytest.mark.parametrize(
    "text",
    [
        "(contract 1.8)",
        "guarantee 13",
        "guarantees 7 and 13",
        "(docs/alltick.md 2.8)",
        "docs/alltick.md 2.4 (lists), 9.1 (none)",
        "docs/alltick.md\n    #: 10",
    ],
)
def test_a_reference_to_nothing_is_found(text: str) -> None:
    assert len(dangling(text)) == 1


@pytest.mark.parametrize(
    "text", ["contract 1.5, guarantee 7", "docs/alltick.md 1.5 (HTTP 401) and 6; 99", "guarantees 6 to 8"]
)
def test_a_reference_to_something_is_not(text: str) -> None:
    assert dangling(text) == []


@pytest.mark.parametrize(
    "link", ["missing.md", "topics.md#missing", "#missing", "../schemas#rights", "../docs/missing/"]
)
def test_a_link_to_nothing_is_found(link: str) -> None:
    assert list(broken_links(CONTRACT, f"# Here\n\n[words\nmore]({link}) and `[code](nowhere)`")) == [link]


@pytest.mark.parametrize(
    "link", ["topics.md", "topics.md#rights", "#here-there", "#here-there-1", "https://nowhere", "../schemas"]
)
def test_a_link_to_something_is_not(link: str) -> None:
    assert list(broken_links(CONTRACT, f"# `Here`, there\n\n[words]({link})\n\n## Here there\n")) == []
