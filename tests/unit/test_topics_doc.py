"""``docs/topics.md`` says what schemas, topics and rights are, and no one can forget to write it anew."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import schemas
from bridge.control import records
from bridge.errors import BadRecord
from bridge.publish import acls, topics
from bridge.publish.acls import Grant, Kind, Operation, Who
from bridge.settings import TopicSettings
from scripts.settings_table import ROOT, write_or_check
from scripts.topics_doc import PAGE, PAGES, Page, commands, table, text

#: How ``kafka-acls.sh`` spells operations; it knows no underscores.
SPELLED = {
    "Read": Operation.READ,
    "Write": Operation.WRITE,
    "Create": Operation.CREATE,
    "Describe": Operation.DESCRIBE,
    "DescribeConfigs": Operation.DESCRIBE_CONFIGS,
}
NAMES = acls.names(TopicSettings())


def section(title: str) -> str:
    """Give what stands under a heading, up to the next one."""
    return re.split(rf"^#+ {re.escape(title)}$", text(), flags=re.MULTILINE)[1].split("\n#")[0]


def cell(topic: str, name: str) -> str:
    """Give what a topic's section says beside a word in its first column."""
    (found,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", section(topic), re.MULTILINE)
    return str(found)


def granted(who: Who) -> set[tuple[Kind, str, Operation]]:
    """Read the commands as ``kafka-acls.sh`` does: every operation on every resource."""
    found = set()
    for command in commands(who):
        assert f"--allow-principal User:{who} " in command
        operations = re.findall(r"--operation (\S+)", command)
        for kind, name in re.findall(r"--(topic|group) (\S+)", command):
            found |= {(Kind(kind), name, SPELLED[operation]) for operation in operations}
    return found


def test_the_page_is_what_the_code_says() -> None:
    command = [sys.executable, "-m", "scripts.topics_doc", "--check"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0


def test_a_page_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    stale = tmp_path / "topics.md"
    stale.write_text(PAGE.read_text().replace("168 hours", "24 hours"))
    assert write_or_check(stale, text, ["--check"]) == 1


def test_every_topic_and_every_schema_has_its_section() -> None:
    assert {page.schema for page in PAGES} == set(schemas.names())
    assert [page.field for page in PAGES] == ["subscriptions", "ticks", "status", "gaps", "dead_letters", "state"]
    for spec, page in zip(topics.plan(TopicSettings()), PAGES, strict=True):
        assert spec.name == getattr(TopicSettings(), page.field)
        assert cell(spec.name, "Cleanup policy") == f"`{spec.config['cleanup.policy']}`"
        assert cell(spec.name, "Partitions").split(",")[0] == str(spec.partitions)
        assert f"(../schemas/{page.schema}.schema.json)" in cell(spec.name, "Schema")
        assert f"; {spec.config['min.insync.replicas']} of them" in cell(spec.name, "Replicas")


def test_nothing_that_a_topic_is_made_with_is_left_out() -> None:
    told_elsewhere = {"cleanup.policy", "retention.ms", "delete.retention.ms", "min.insync.replicas"}
    for spec in topics.plan(TopicSettings()):
        others = {f"`{key}={value}`" for key, value in spec.config.items() if key not in told_elsewhere}
        found = re.findall(r"^\| Made with \| (.*) \|$", section(spec.name), re.MULTILINE)
        assert set(", ".join(found).split(", ")) - {""} == others


def test_the_settings_that_are_named_exist() -> None:
    named = set(re.findall(r"TICKBRIDGE_TOPICS__(\w+)", text()))
    assert {name.lower() for name in named} <= set(TopicSettings.model_fields)
    assert {page.field for page in PAGES} <= {name.lower() for name in named}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.field)
def test_every_field_has_a_row_with_type_need_and_meaning(page: Page) -> None:
    name = getattr(TopicSettings(), page.field)
    schema = schemas.load(page.schema)
    for key, value in schema["properties"].items():
        kind, required, meaning = cell(name, f"`{key}`").split(" | ", 2)
        assert kind
        assert (required.strip() == "yes") == (key in schema.get("required", []))
        assert meaning == value["description"]


@pytest.mark.parametrize(
    ("topic", "writers", "readers"),
    [
        ("subscriptions", "operators", "the bridge, operators"),
        ("ticks", "the bridge", "operators, downstream readers"),
        ("state", "the bridge", "the bridge"),
    ],
)
def test_who_writes_and_who_reads_follows_from_the_rights(topic: str, writers: str, readers: str) -> None:
    name = getattr(TopicSettings(), topic)
    assert cell(name, "Written by") == writers
    assert cell(name, "Read by") == readers


@pytest.mark.parametrize("who", Who)
def test_the_commands_grant_exactly_what_the_table_says(who: Who) -> None:
    assert granted(who) == {(grant.kind, grant.name, grant.operation) for grant in table() if grant.who is who}


def test_rights_follow_the_names_in_the_settings() -> None:
    mine = TopicSettings(subscriptions="a", ticks="b", status="c", gaps="d", dead_letters="e", state="f")
    found = acls.grants(mine, "crew", "mine")
    assert {grant.name for grant in found if grant.kind is Kind.TOPIC} == set("abcdef")
    assert {grant.name for grant in found if grant.kind is Kind.GROUP} == {"crew", "crew-reader", "mine"}


def test_no_right_stands_there_twice_or_comes_along_with_another() -> None:
    found = [(grant.who, grant.kind, grant.name, grant.operation) for grant in table()]
    assert len(found) == len(set(found))
    for who, kind, name, operation in found:
        if operation in (Operation.READ, Operation.WRITE):
            assert (who, kind, name, Operation.DESCRIBE) not in found


def test_nobody_but_operators_writes_the_control_topic_and_nobody_but_the_bridge_the_others() -> None:
    writers = {grant.name: grant.who for grant in table() if grant.operation is Operation.WRITE}
    assert writers == {NAMES[0]: Who.OPERATOR, **dict.fromkeys(NAMES[1:], Who.BRIDGE)}


def test_what_the_page_says_about_tombstones_is_so() -> None:
    assert "An empty value, the text `null` or `{}`\n  is none" in section("Compaction and tombstones")
    assert records.decode(b"AAPL.US", None) is None
    assert records.decode(b"AAPL.US", b"{}") is not None
    for value in (b"", b"null"):
        with pytest.raises(BadRecord):
            records.decode(b"AAPL.US", value)


def test_a_grant_says_what_it_is_for() -> None:
    assert all(isinstance(grant, Grant) and grant.purpose for grant in table())
