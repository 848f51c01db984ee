"""Writes ``docs/topics.md``: every topic, its records and who needs which rights, from the code that knows.

``python -m scripts.topics_doc`` writes it; with ``--check`` nothing is written, and the exit code is 1 where the file
says anything else than the code. Formats come from ``schemas/``, shapes from ``bridge/publish/topics.py``, rights, and
with them who writes and who reads, from ``bridge/publish/acls.py``; only the prose stands here.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from bridge import schemas
from bridge.publish import acls, topics
from bridge.publish.acls import Grant, Operation, Who
from bridge.settings import PREFIX, TopicSettings
from scripts.settings_table import ROOT, write_or_check

PAGE = ROOT / "docs" / "topics.md"
SETTINGS = TopicSettings()
GROUP = "tickbridge"

INTRODUCTION = """\
# Topics and records

<!-- Written by `python -m scripts.topics_doc` from schemas/ and bridge/publish; change it there. -->

One deployment has six topics. `tickbridge topics ensure` makes those that are missing and reports, never alters, what
differs; `tickbridge check` compares them too, and names each right that the bridge's user lacks. Names, partitions,
replicas and retention are settings; what stands here are the defaults. On a cluster of fewer brokers than replicas,
`topics ensure` makes as many replicas as there are brokers, lowers `min.insync.replicas` with them, and says so.

Values are JSON objects (UTF-8). Within a `v` fields are only ever added: **ignore fields that you do not know**. A
field whose value is unknown is absent. Integers named `…_us` are microseconds since the Unix epoch, UTC; prices and
sizes are decimal strings, exactly as the venue wrote them. The [schemas](../schemas) (JSON Schema, draft 2020-12) are
the only statement of the formats; the tables below are made from them. How to read them so that nothing is missed:
[reliability.md](reliability.md#what-a-reader-of-ticks-can-rely-on).
"""

COMPACTION = """\
## Compaction and tombstones

What an operator should know about the control topic, and a reader about the status topic:

- **The newest record of a key counts.** Kafka removes older ones some time later, and never from the segment that is
  being written, so a small topic may keep them for days. No harm: the bridge reads to the end before it acts.
- **A subscription ends with a tombstone**: the same key with a *null* value. An empty value, the text `null` or `{}`
  is none: the first two are dead letters, and `{}` asks for the symbol. To pause one, write `{"enabled": false}`.
- **A removal of most of at least 20 symbols is held**; the header `tickbridge-confirm: true` on a record lets its own
  symbol go at once. `tickbridge subscriptions remove` and `apply` write it for what was agreed to.
- **A tombstone vanishes too**, @TOMBSTONES@ or more after it was
  written. A reader that keeps a copy of its own and was away for longer must read the topic from its beginning, and
  take for removed what it does not find.
- **Keep the policy at `compact`.** With `delete`, or `compact,delete`, subscriptions would expire unnoticed.
- **A record that cannot be used ends nothing.** The last good one stays in force; the status is `invalid` and carries
  it as `effective`, so it survives even when compaction has taken it from the control topic.
- **Keys go where Java clients put them** (murmur2; librdkafka needs `partitioner=murmur2_random`). With more than one
  control partition this matters. **Adding partitions later moves keys**: the bridge sees it, connects anew, and every
  record that now stands in the wrong partition is a dead letter. Its symbol stays subscribed until its new partition
  gets a first record, so write all records anew at once; or make a new topic, with its records, while no bridge runs.
- **A topic made anew ends nothing** until a record comes; then what it lacks is removed. **A topic whose records were
  deleted** ends nothing while the bridge reads on, but at the next restart or change of owner its symbols are gone.
  Either way a removal of most of at least 20 symbols is held for `TICKBRIDGE_RECONCILE__REMOVAL_HOLD_S` first.
- **Records of an aborted transaction** are never seen.
- **Records without a key** are refused by Kafka itself where the topic is compacted.

Gaps are not compacted, since a symbol has many: of the records with one `id` the last one counts. The line of time of
one symbol's ticks is (`session`, offset).
"""

RIGHTS = """\
## Rights

The least that each user needs on a cluster with authorisation on; on a real broker a test holds that this is enough,
and that without any one of them something fails and says so. Names are literal: with topics or a group of other names
the rights go by these. READ and WRITE bring DESCRIBE along. Before Kafka 2.8 whoever writes needs IDEMPOTENT_WRITE on
the cluster, too. A broker that logs refusals may name the groups `tickbridge-topics` and `tickbridge-status`: they are
never joined, and nothing is missing. The commands below are for `kafka-acls.sh` without a password; where it needs one,
add `--command-config FILE`.
"""

WHO = {
    Who.BRIDGE: (
        "The bridge",
        """\
`tickbridge run`, and `tickbridge check` as the same user. With `TICKBRIDGE_TOPICS__ENSURE=true` it needs the rights of
`topics ensure` as well; with DESCRIBE_CONFIGS on the topics alone, `check` also compares their settings.""",
    ),
    Who.ADMIN: ("Whoever makes the topics", "`tickbridge topics ensure`; CREATE on the cluster does for all topics."),
    Who.OPERATOR: (
        "Operators",
        """\
`tickbridge subscriptions`, `status`, `ticks tail`, completion of symbols. The group is never joined. Whoever only looks
leaves WRITE out; a job that compares a file (`subscriptions diff`) needs the first two rights.""",
    ),
    Who.READER: ("Downstream readers", f"Each has a group of its own; `{acls.READER_GROUP}` stands for it."),
}


@dataclass(frozen=True, slots=True)
class Page:
    """What is known of a topic beyond its shape; ``field`` is its name in `TopicSettings`."""

    field: str
    schema: str
    key: str
    value: str
    partitions: str = ""
    retention: str = ""
    headers: str = "none"


PAGES = (
    Page(
        "subscriptions", "control", "symbol", "what to subscribe to; null = no more",
        "SUBSCRIPTIONS_PARTITIONS", "TOMBSTONE_RETENTION_H",
        "`tickbridge-confirm: true` lets a removal of this symbol pass at once, however many others are held",
    ),
    Page("ticks", "tick", "symbol", "one trade", "TICKS_PARTITIONS", "TICKS_RETENTION_H"),
    Page(
        "status", "status", "symbol", "what really happens with it; null once it is removed",
        "SUBSCRIPTIONS_PARTITIONS", "TOMBSTONE_RETENTION_H",
    ),
    Page(
        "gaps", "gap", "symbol", "an interval in which ticks may be missing, and why",
        "SUBSCRIPTIONS_PARTITIONS", "GAPS_RETENTION_H",
    ),
    Page(
        "dead_letters", "dead-letter-headers", "as received",
        "the control record that could not be used, as received",
        retention="DEAD_LETTERS_RETENTION_H", headers="why it could not be used, and where it stands: see the fields",
    ),
    Page("state", "state", "`NAME/partition`", "how far everything is safe", retention="TOMBSTONE_RETENTION_H"),
)  # fmt: skip


def text() -> str:
    """Give the whole text of ``docs/topics.md``."""
    specs = topics.plan(SETTINGS)
    parts = [INTRODUCTION, _overview(specs)]
    parts += [_topic(page, spec) for page, spec in zip(PAGES, specs, strict=True)]
    tombstones = f"{SETTINGS.tombstone_retention_h:g} hours (`{PREFIX}TOPICS__TOMBSTONE_RETENTION_H`)"
    parts += [COMPACTION.replace("@TOMBSTONES@", tombstones), RIGHTS]
    parts += [_rights(who) for who in Who]
    return "\n".join(parts)


def table() -> tuple[Grant, ...]:
    """Give the rights under the default names."""
    return acls.grants(SETTINGS, GROUP)


def commands(who: Who) -> list[str]:
    """Give the ``kafka-acls.sh`` calls that grant a user everything."""
    operations: dict[tuple[str, str], list[Operation]] = {}
    for grant in table():
        if grant.who is who:
            operations.setdefault((grant.kind, grant.name), []).append(grant.operation)
    resources: dict[tuple[Operation, ...], list[str]] = {}
    for (kind, name), several in operations.items():
        resources.setdefault(tuple(several), []).append(f"--{kind} {name}")
    head = f"kafka-acls.sh --bootstrap-server localhost:9092 --add --allow-principal User:{who}"
    return [
        " \\\n  ".join([head, " ".join(f"--operation {_spelled(one)}" for one in several), *named])
        for several, named in resources.items()
    ]


def _spelled(operation: Operation) -> str:
    """Spell an operation as ``kafka-acls.sh`` wants it: it takes DescribeConfigs, and not DESCRIBE_CONFIGS."""
    return operation.title().replace("_", "")


def _overview(specs: tuple[topics.TopicSpec, ...]) -> str:
    rows = ["| topic | cleanup | key | value |", "| --- | --- | --- | --- |"]
    for page, spec in zip(PAGES, specs, strict=True):
        anchor = spec.name.replace(".", "")
        rows.append(f"| [`{spec.name}`](#{anchor}) | {spec.config['cleanup.policy']} | {page.key} | {page.value} |")
    return "\n".join([*rows, ""])


def _topic(page: Page, spec: topics.TopicSpec) -> str:
    schema = schemas.load(page.schema)
    compacted = spec.config["cleanup.policy"] == "compact"
    hours = f"{int(spec.config['delete.retention.ms' if compacted else 'retention.ms']) / topics.HOUR_MS:g} hours"
    kept = f"for ever, but for overwritten records; tombstones {hours} longer" if compacted else hours
    shared = f", from `{PREFIX}TOPICS__{page.partitions}`" if page.partitions else ""
    facts = {
        "Setting of its name": f"`{PREFIX}TOPICS__{page.field.upper()}`",
        "Cleanup policy": f"`{spec.config['cleanup.policy']}`",
        "Partitions": f"{spec.partitions}{shared}",
        "Replicas": f"{spec.replication}, from `{PREFIX}TOPICS__REPLICATION`; {spec.config[topics.MIN_ISR]} of them "
        f"must have a record, from `{PREFIX}TOPICS__MIN_INSYNC_REPLICAS`",
        "Kept": f"{kept}, from `{PREFIX}TOPICS__{page.retention}`",
        **_others(spec),
        "Key": page.key,
        "Value": page.value,
        "Headers": page.headers,
        "Written by": _users(spec.name, Operation.WRITE),
        "Read by": _users(spec.name, Operation.READ),
        "Schema": f"[{page.schema}](../schemas/{page.schema}.schema.json)",
    }
    example = json.dumps(next(filter(None, schema["examples"])), indent=2, ensure_ascii=False)
    rows = ["| | |", "| --- | --- |", *(f"| {name} | {fact} |" for name, fact in facts.items())]
    return "\n".join(
        [
            f"## {spec.name}",
            "",
            schema["description"],
            "",
            *rows,
            "",
            *_fields(schema),
            "",
            f"```json\n{example}\n```",
            "",
        ]
    )


def _others(spec: topics.TopicSpec) -> dict[str, str]:
    """List what a topic is made with and no setting changes."""
    shown = ("cleanup.policy", "retention.ms", "delete.retention.ms", topics.MIN_ISR)
    fixed = [f"`{key}={value}`" for key, value in spec.config.items() if key not in shown]
    return {"Made with": ", ".join(fixed)} if fixed else {}


def _users(name: str, operation: Operation) -> str:
    """Say who may do something with a topic."""
    found = dict.fromkeys(WHO[grant.who][0] for grant in table() if (grant.name, grant.operation) == (name, operation))
    return ", ".join(found).lower() or "whoever mends control records, by any client"


def _fields(schema: dict[str, Any]) -> list[str]:
    rows = ["| Field | Type | Required | Meaning |", "| --- | --- | --- | --- |"]
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        must = "yes" if name in required else ""
        rows.append(f"| `{name}` | {_type(field)} | {must} | {_cell(field['description'])} |")
    return rows


def _type(field: dict[str, Any]) -> str:
    """Say what a field holds: its JSON type, and its words or bounds where the reader can use them."""
    if reference := field.get("$ref"):
        return f"object, a {reference.rpartition(':')[2]} record"
    kind = str(field["type"])
    if kind == "array":
        return f"array of {field['items']['type']}"
    if "const" in field:
        return f"{kind}, `{json.dumps(field['const'])}`"
    if "enum" in field:
        return f"{kind}: " + ", ".join(f"`{word}`" for word in field["enum"])
    default = f", default `{json.dumps(field['default'])}`" if "default" in field else ""
    return f"{kind}{default}"


def _rights(who: Who) -> str:
    title, remark = WHO[who]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for grant in table():
        if grant.who is who:
            alike.setdefault((grant.operation, grant.kind, grant.purpose), []).append(f"`{grant.name}`")
    rows = ["| Operation | On | What for |", "| --- | --- | --- |"]
    rows += [f"| {what} | {kind} {', '.join(named)} | {why} |" for (what, kind, why), named in alike.items()]
    return "\n".join([f"### {title}", "", remark, "", *rows, "", "```sh", *commands(who), "```", ""])


def _cell(words: str) -> str:
    return words.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, text, sys.argv[1:]))
