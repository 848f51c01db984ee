"""The verdict of a soak: the judge of the fault lab, and what only a long run shows.

A tick that stands twice in the topic is excused if something was killed, or a bridge stopped without Kafka's answers,
at most `EXCUSED_S` after it was sent: until then it may have been in a spill, or with a broker that could not say so.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from bench.soak.lab import Lab
from bench.soak.watch import Sample
from tests.support import audit
from tests.support.audit import Evidence, Gap, Published, Verdict
from tests.support.kafka import Cluster, unique

#: Seconds before a kill in which a tick may have been sent that comes twice.
EXCUSED_S = 90.0
#: Seconds after the end of a wish in which its ticks may still be published.
SETTLE_S = 5.0
#: Seconds by which a gap may be wider than needed before it is listed.
EXCESS_S = 2.0
#: What one bridge may weigh (MB), what it may gain with age (MB a minute), and the life in minutes that shows it.
RSS_MAX_MB = 250.0
SLOPE_MAX = 1.0
LIFE_MIN = 8.0
#: Seconds between silent losses that are told as two.
SPAN_S = 1.0
#: Seconds that reading the ticks topic may take.
READ_S = 900.0


class _Tick(msgspec.Struct):
    symbol: str
    seq: str
    session: int


@dataclass
class Findings:
    """All that is told about a run."""

    evidence: Evidence
    verdict: Verdict
    problems: list[str]
    excused: int
    excess: dict[Gap, float] = field(default_factory=dict)

    @property
    def due(self) -> int:
        return sum(one.due for one in self.verdict.symbols.values())

    @property
    def silent(self) -> int:
        return sum(len(one.silent) for one in self.verdict.symbols.values())

    @property
    def gaps(self) -> Counter[str]:
        return Counter(gap.cause for gap in self.evidence.gaps)


def gather(lab: Lab) -> Evidence:
    """Read what the venue and the topics say."""
    world, record = lab.world, lab.venue.record
    codes = sorted({wish.code for wish in lab.operator.wishes})
    gaps = [(one.key, one.value) for one in world.cluster.read_all(world.topic("gaps"), 120)]
    return Evidence(
        ticks={code: record.ticks(code) for code in codes},
        accepted={code: audit.accepted_at(record, code) for code in codes},
        published=read_published(world.cluster, world.topic("ticks")),
        gaps=audit.read_gaps(gaps),
        accounts=[] if lab.kills else [words for one in lab.instances for words in one.last_words],
        sent_total=record.sent_total,
        lossless=False,
    )


def read_published(cluster: Cluster, topic: str) -> list[Published]:
    """Read the ticks topic in the order of each partition, and keep of each record only what the judge asks for."""
    consumer = Consumer(cluster.config(group_id=unique("soak"), enable_partition_eof=True, enable_auto_commit=False))
    decode = msgspec.json.Decoder(_Tick).decode
    try:
        left = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        found: dict[int, list[Published]] = {partition: [] for partition in left}
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
        end = time.monotonic() + READ_S
        while left and time.monotonic() < end:
            for message in consumer.consume(10_000, 1.0):
                error, partition = message.error(), message.partition()
                if error is None:
                    tick = decode(message.value() or b"")
                    found[partition or 0].append(Published(tick.symbol, int(tick.seq), tick.session))
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the library's own name for it
                    left.discard(partition or 0)
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()
    if left:
        raise TimeoutError(f"{topic} was not read to its end within {READ_S:.0f} s")
    return [one for partition in sorted(found) for one in found[partition]]


def judge(lab: Lab, samples: Sequence[Sample]) -> Findings:
    """Judge everything; what is wrong comes as `problems`, one line each."""
    evidence = gather(lab)
    verdict = audit.judge(evidence, lab.operator.wishes, settle_s=SETTLE_S)
    excused = excuse(verdict, evidence, [*(at for at, _ in lab.kills), *lab.unsure])
    problems = [*lab.problems, *(problem for one in lab.instances for problem in one.problems)]
    problems += silences(verdict, lab.history)
    problems += alike(told_apart(verdict).problems())
    problems += accounts_problems([words for one in lab.instances for words in one.last_words])
    problems += memory_problems(samples)
    findings = Findings(evidence, verdict, problems, excused)
    by_id = {gap.id: gap for gap in evidence.gaps}
    for one in verdict.symbols.values():
        findings.excess |= {by_id[id_]: seconds for id_, seconds in one.excess.items()}
    return findings


def excuse(verdict: Verdict, evidence: Evidence, kills: Sequence[float]) -> int:
    """Take duplicates out of a verdict that a kill excuses; give how many there were."""
    excused = 0
    for one in verdict.symbols.values():
        sent = {tick.seq: tick.at for tick in evidence.ticks.get(one.symbol, ())} if one.duplicates else {}
        unexcused = [
            seq for seq in one.duplicates if not any(0 <= kill - sent.get(seq, 0.0) <= EXCUSED_S for kill in kills)
        ]
        excused += len(one.duplicates) - len(unexcused)
        one.duplicates = unexcused
    return excused


def told_apart(verdict: Verdict) -> Verdict:
    """Give the verdict without what is told by time instead, and with bounds for what may have been read late.

    A bridge that was frozen reads ticks long after they were sent, so a counted gap need not lie where they do.
    """
    symbols = {}
    for one in verdict.symbols.values():
        least, most = one.lost_bounds
        symbols[one.symbol] = replace(one, silent=[], lost_bounds=(least, max(most, len(one.missing))))
    return replace(verdict, symbols=symbols)


def alike(problems: Sequence[str]) -> list[str]:
    """Put together problems that differ in their numbers only."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(re.sub(r"([0-9.]+(, …?)?)+", "#", problem), []).append(problem)
    return [some[0] + (f" (and {len(some) - 1} like it)" if len(some) > 1 else "") for some in kinds.values()]


def silences(verdict: Verdict, history: Sequence[tuple[float, str]]) -> list[str]:
    """Put together what was lost in silence at about the same time, each with the fault that came last before it."""
    ticks = sorted((tick.at, tick.fate, one.symbol) for one in verdict.symbols.values() for tick in one.silent)
    spans: list[list[tuple[float, str, str]]] = []
    for tick in ticks:
        if not spans or tick[0] - spans[-1][-1][0] > SPAN_S:
            spans.append([])
        spans[-1].append(tick)
    found = []
    for span in spans:
        first, last = span[0][0], span[-1][0]
        fault = max(((at, name) for at, name in history if at <= first), default=(first, "none"))
        fates = ", ".join(f"{count} {fate}" for fate, count in Counter(fate for _, fate, _ in span).items())
        found.append(
            f"missing without a gap record: {fates}, of {len({symbol for _, _, symbol in span})} symbols, "
            f"from {first:.3f} to {last:.3f}, {first - fault[0]:.1f} s after the begin of: {fault[1]}"
        )
    return found


def accounts_problems(last_words: Sequence[Mapping[str, int]]) -> list[str]:
    """Say whose accounts do not add up."""
    found = []
    for words in last_words:
        came, went = (sum(int(words[name]) for name in names) for names in (audit.IN, audit.OUT))
        if came != went:
            found.append(f"accounts: {came} came in, {went} are accounted for: {dict(words)}")
    return found


def slope(samples: Sequence[Sample]) -> tuple[float, float] | None:
    """Give what a bridge gains with age (MB a minute), and the longest age in minutes.

    Looks at what is older than a quarter of the longest life; None where nothing can be said.
    """
    longest = max((sample.age for sample in samples), default=0.0)
    old = [sample for sample in samples if sample.age >= longest / 4]
    if len({sample.age for sample in old}) < 3:
        return None
    gained = statistics.linear_regression([one.age / 60 for one in old], [one.rss_mb for one in old]).slope
    return gained, longest / 60


def memory_problems(samples: Sequence[Sample]) -> list[str]:
    """Say whether a bridge grew too heavy; lives that are too short show no slope."""
    found = []
    heaviest = max((sample.rss_mb for sample in samples), default=0.0)
    if heaviest > RSS_MAX_MB:
        found.append(f"memory: a bridge weighed {heaviest:.0f} MB (at most {RSS_MAX_MB:.0f})")
    gained = slope(samples)
    if gained is not None and gained[1] >= LIFE_MIN and gained[0] > SLOPE_MAX:
        found.append(f"memory: a bridge gains {gained[0]:.2f} MB a minute (at most {SLOPE_MAX:g})")
    return found
