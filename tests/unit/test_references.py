"""What code and pages point to is there: numbered sections, guarantees, files, headings, the simulator's switches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
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
