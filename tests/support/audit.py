"""The judge: compares what the venue did with what the topics say, and names every tick that was lost in silence.

Its evidence is what others wrote down: the simulator's record of every tick, the ticks topic, the gaps topic, and the
bridge's last accounts. It asks the bridge nothing.

**Due.** A `Wish` says that the operator desired a symbol from one moment until another. Of its code a tick is due when
it happened within the wish and either

* was *sent*: written to some connection (even if that connection was lost before anybody read it), or
* was *absent*: no working connection had the code in its list, although the venue had accepted it once within this
  wish. So: the bridge was away, and the operator was not.

A tick is not due before the first acceptance unless it was sent, nor after the wish's end, nor when the venue
*withheld* it, which nobody can see. A tick that was sent twice is due once.

**Judged**, for each symbol:

* *missing*: due, and not in the ticks topic. Each must be *covered* by a gap record of the symbol: the moment at which
  it would have been received, which lies in `[at, at + wire_s]`, meets `[from_us, to_us]`. An open gap covers all that
  comes after it. Of several records with one id the last counts. A missing tick without cover is `silent`.
* *duplicate*: in the topic more than once. After a crash that is allowed (at least once); the caller says so.
* *stranger*: in the topic and never sent, or sent outside of every wish by more than `settle_s`.
* *disorder*: within a session, in the order of the topic, first occurrences only, a tick comes that the venue had sent
  before its predecessor on the same connection; or one session has ticks of two connections.
* *excess*: by how much a gap is wider than from the first to the last missing tick in it (all of it if there is none).
* *lost*: the sum that gaps with a count claim is at least the number of missing ticks that only such gaps cover, and at
  most the number that any of them covers.
* *open*: a gap without an end excuses everything after it, so it is a fault itself unless its cause may stay open.

**Accounts**: each instance's terms must add up (guarantee 7); together, `published` must be the number of records in
the topic, and `received` the number of ticks that were sent, wherever no connection ended in a way that loses bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from jsonschema import Draft202012Validator

from bridge import schemas
from bridge.simulator import Record, VenueTick
from tests.support.cluster import Cluster

#: Terms of guarantee 7 that come in, and those that go out.
IN = ("received", "recovered")
OUT = ("published", "duplicate", "filtered", "invalid", "conflated", "dropped", "undeliverable", "in_flight")

#: Ends of a connection by which nothing that was written to it can be lost.
CLEAN_ENDS = (None, "client closed", "fault: close", "accept_then_close", "simulator stopped")


@dataclass(frozen=True, slots=True)
class Wish:
    """The operator desired `symbol`, the venue's `code`, from `since` until `until` (Unix seconds; None: still)."""

    symbol: str
    code: str
    since: float
    until: float | None = None

    def holds(self, at: float, slack_s: float = 0.0) -> bool:
        """Tell whether a moment lies in it, give or take the slack at its end."""
        return self.since <= at and (self.until is None or at <= self.until + slack_s)


@dataclass(frozen=True, slots=True)
class Published:
    """One record of the ticks topic; in the evidence they stand in the order of their partition."""

    symbol: str
    seq: int
    session: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The newest record of one gap."""

    id: str
    symbol: str
    cause: str
    from_us: int
    to_us: int | None = None
    lost: int | None = None

    def covers(self, at: float, wire_s: float) -> bool:
        """Tell whether a tick sent at this moment would have been received within it."""
        return self.from_us <= (at + wire_s) * 1e6 and (self.to_us is None or at * 1e6 <= self.to_us)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the judge looks at. `ticks` and `accepted` (moments at which a list was acknowledged) are by code."""

    ticks: Mapping[str, Sequence[VenueTick]]
    accepted: Mapping[str, Sequence[float]]
    published: Sequence[Published]
    gaps: Sequence[Gap] = ()
    accounts: Sequence[Mapping[str, Any]] = ()
    sent_total: int = 0
    #: Ticks sent as rubbish on demand: the bridge receives them, the simulator's record does not count them.
    bad_ticks: int = 0
    #: No connection ended in a way that loses what was written to it.
    lossless: bool = True


@dataclass(slots=True)
class SymbolVerdict:
    """What was found of one symbol; `problems` says what of it is wrong."""

    symbol: str
    due: int = 0
    published: int = 0
    missing: list[VenueTick] = field(default_factory=list)
    silent: list[VenueTick] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)
    disorder: list[str] = field(default_factory=list)
    open_gaps: list[Gap] = field(default_factory=list)
    #: Seconds by which each gap, by id, is wider than needed.
    excess: dict[str, float] = field(default_factory=dict)
    lost_claimed: int = 0
    #: The least and the most that gaps with a count may claim.
    lost_bounds: tuple[int, int] = (0, 0)

    def problems(self, *, at_least_once: bool, excess_max_s: float, may_stay_open: Collection[str]) -> list[str]:
        """Say what is wrong, one line each."""
        found = []
        if self.silent:
            found.append(f"{_several(self.silent)} missing without a gap record: {_shown(self.silent)}")
        if self.duplicates and not at_least_once:
            found.append(f"{_several(self.duplicates)} published more than once: {_listed(self.duplicates)}")
        if self.strangers:
            found.append(f"{_several(self.strangers)} never sent, or nobody's wish: {_listed(self.strangers)}")
        found += self.disorder
        least, most = self.lost_bounds
        if not least <= self.lost_claimed <= most:
            found.append(f"gaps claim {self.lost_claimed} lost ticks, from {least} to {most} are missing in them")
        found += [
            f"gap {gap.id} ({gap.cause}) is still open" for gap in self.open_gaps if gap.cause not in may_stay_open
        ]
        found += [
            f"gap {gap} is {excess:.3f} s wider than needed (at most {excess_max_s:g})"
            for gap, excess in self.excess.items()
            if excess > excess_max_s
        ]
        return [f"{self.symbol}: {one}" for one in found]


@dataclass(slots=True)
class Verdict:
    """What was found, by symbol, and of the accounts."""

    symbols: dict[str, SymbolVerdict]
    accounts: list[str]

    @property
    def missing(self) -> int:
        """How many due ticks are not in the topic, covered or not."""
        return sum(len(one.missing) for one in self.symbols.values())

    def problems(
        self,
        *,
        at_least_once: bool = False,
        excess_max_s: float = float("inf"),
        may_stay_open: Collection[str] = ("stop",),
    ) -> list[str]:
        """Say everything that is wrong, one line each.

        `at_least_once` allows duplicates, `excess_max_s` bounds what a gap is wider than needed, `may_stay_open` names
        the causes of gaps that need no end.
        """
        found = [
            problem
            for one in self.symbols.values()
            for problem in one.problems(
                at_least_once=at_least_once, excess_max_s=excess_max_s, may_stay_open=may_stay_open
            )
        ]
        return found + self.accounts

    def check(self, **allowed: Any) -> None:
        """Raise AssertionError with the whole report when anything is wrong; takes what `problems` takes."""
        found = self.problems(**allowed)
        assert not found, "\n".join(["the audit failed:", *(f"  - {one}" for one in found), str(self)])

    def __str__(self) -> str:
        rows = [
            f"  {one.symbol}: {one.due} due, {one.published} published, {len(one.missing)} missing "
            f"({len(one.silent)} in silence), {len(one.duplicates)} twice, {len(one.strangers)} strangers, "
            f"{len(one.excess)} gaps ({len(one.open_gaps)} open)"
            for one in self.symbols.values()
        ]
        return "\n".join(["found:", *rows])


_validator = Draft202012Validator(schemas.load("gap"))


def collect(
    cluster: Cluster, ticks_topic: str, gaps_topic: str, record: Record, codes: Collection[str], *,
    accounts: Sequence[Mapping[str, Any]] = (),
) -> Evidence:  # fmt: skip
    """Gather the evidence from the topics and the simulator's record; every gap record is held to its schema.

    `accounts` are the last words of every instance (the fields of its line `stopped`); leave them out where one was
    killed. The bridge should be stopped, or at rest: nothing is awaited.
    """
    published = [_published(json.loads(one.value or b"")) for one in cluster.read_all(ticks_topic)]
    gaps = [(one.key, one.value) for one in cluster.read_all(gaps_topic)]
    return Evidence(
        ticks={code: record.ticks(code) for code in codes},
        accepted={code: accepted_at(record, code) for code in codes},
        published=published,
        gaps=read_gaps(gaps),
        accounts=accounts,
        sent_total=record.sent_total,
        lossless=all(one.close_reason in CLEAN_ENDS for one in record.connections),
    )


def accepted_at(record: Record, code: str) -> list[float]:
    """Return the moments at which the venue took a list with the code (22004 answered with 200)."""
    return [one.at for one in record.requests(22004) if one.ret == 200 and code in one.codes]


def read_gaps(records: Iterable[tuple[bytes | None, bytes | None]]) -> list[Gap]:
    """Read (key, value) pairs of the gaps topic: the last record of each id; AssertionError for a bad one."""
    newest: dict[str, Gap] = {}
    for key, value in records:
        assert value is not None, f"a tombstone in the gaps topic, under {key!r}"
        document = json.loads(value)
        problems = [problem.message for problem in _validator.iter_errors(document)]
        assert not problems, f"a gap record breaks its schema: {problems}: {document}"
        assert key == document["symbol"].encode(), f"a gap of {document['symbol']} has the key {key!r}"
        gap = Gap(**{name: document[name] for name in Gap.__slots__ if name in document})
        older = newest.pop(gap.id, gap)
        assert older.symbol == gap.symbol, f"the gap {gap.id} is of {older.symbol} and of {gap.symbol}"
        newest[gap.id] = gap
    return list(newest.values())


def judge(evidence: Evidence, wishes: Iterable[Wish], *, wire_s: float = 0.25, settle_s: float = 2.0) -> Verdict:
    """Judge the evidence by the rules above.

    `wire_s` bounds the time from the venue's write to the bridge's clock, `settle_s` how long after the end of a wish
    ticks may still come. Raises ValueError when wishes of one symbol name two codes: `seq` is the code's.
    """
    by_symbol: dict[str, list[Wish]] = {}
    for wish in wishes:
        by_symbol.setdefault(wish.symbol, []).append(wish)
        if wish.code != by_symbol[wish.symbol][0].code:
            raise ValueError(f"{wish.symbol} is wished for under two codes; judge them apart")
    published: dict[str, list[Published]] = {symbol: [] for symbol in by_symbol}
    for one in evidence.published:
        published.setdefault(one.symbol, []).append(one)
    case = _Case(evidence, wire_s, settle_s)
    symbols = {symbol: case.judge(symbol, by_symbol.get(symbol, []), found) for symbol, found in published.items()}
    return Verdict(symbols, _judge_accounts(evidence))


@dataclass(frozen=True, slots=True)
class _Case:
    evidence: Evidence
    wire_s: float
    settle_s: float

    def judge(self, symbol: str, wishes: list[Wish], published: list[Published]) -> SymbolVerdict:
        ticks = self.evidence.ticks.get(wishes[0].code, ()) if wishes else ()
        sent = [tick for tick in ticks if tick.fate == "sent"]
        due = {tick.seq: tick for wish in wishes for tick in due_ticks(self.evidence, wish)}
        welcome = {tick.seq: tick for tick in sent if any(wish.holds(tick.at, self.settle_s) for wish in wishes)}
        times = Counter(one.seq for one in published)
        verdict = SymbolVerdict(
            symbol,
            due=len(due),
            published=len(published),
            missing=[tick for seq, tick in sorted(due.items()) if seq not in times],
            duplicates=[seq for seq, count in times.items() if count > 1],
            strangers=[seq for seq in times if seq not in welcome],
            disorder=_disorder(published, sent),
        )
        unpublished = [tick for seq, tick in {**welcome, **due}.items() if seq not in times]
        self._judge_gaps(verdict, [gap for gap in self.evidence.gaps if gap.symbol == symbol], unpublished)
        return verdict

    def _judge_gaps(self, verdict: SymbolVerdict, gaps: list[Gap], unpublished: list[VenueTick]) -> None:
        covering = {tick.seq: [gap for gap in gaps if gap.covers(tick.at, self.wire_s)] for tick in unpublished}
        verdict.silent = [tick for tick in verdict.missing if not covering[tick.seq]]
        verdict.open_gaps = [gap for gap in gaps if gap.to_us is None]
        for gap in gaps:
            within = [tick.at for tick in unpublished if gap in covering[tick.seq]]
            needed = max(within) - min(within) if within else 0.0
            if gap.to_us is not None:
                verdict.excess[gap.id] = max(0.0, (gap.to_us - gap.from_us) / 1e6 - needed)
        counted = {tick.seq: [gap.lost is not None for gap in covering[tick.seq]] for tick in unpublished}
        verdict.lost_claimed = sum(gap.lost or 0 for gap in gaps)
        least = sum(bool(counted[tick.seq]) and all(counted[tick.seq]) for tick in verdict.missing)
        verdict.lost_bounds = (least, sum(any(some) for some in counted.values()))


def due_ticks(evidence: Evidence, wish: Wish) -> list[VenueTick]:
    """Return the ticks of one wish that should be in the topic, or in a gap."""
    accepted = min((at for at in evidence.accepted.get(wish.code, ()) if wish.holds(at)), default=float("inf"))
    return [
        tick
        for tick in evidence.ticks.get(wish.code, ())
        if wish.holds(tick.at) and (tick.fate == "sent" or (tick.fate == "absent" and tick.at >= accepted))
    ]


def _disorder(published: list[Published], sent: list[VenueTick]) -> list[str]:
    """Compare each session with the connection that most of its ticks came by."""
    place: dict[int, dict[int, int]] = {}
    for index, tick in enumerate(sent):
        place.setdefault(tick.connection, {}).setdefault(tick.seq, index)
    sessions: dict[int, list[int]] = {}
    seen: set[int] = set()
    for one in published:
        if one.seq not in seen:
            sessions.setdefault(one.session, []).append(one.seq)
            seen.add(one.seq)
    found = []
    for session, seqs in sessions.items():
        order = max(place.values(), key=lambda order: sum(seq in order for seq in seqs), default={})
        known = [seq for seq in seqs if seq in order]
        if other := [seq for seq in seqs if seq not in order and any(seq in one for one in place.values())]:
            found.append(f"session {session} has ticks of two connections: {_listed(other)}")
        late = [(a, b) for a, b in pairwise(known) if order[a] > order[b]]
        found += [f"session {session} has seq {b} after {a}, which the venue sent later" for a, b in late[:5]]
    return found


def _judge_accounts(evidence: Evidence) -> list[str]:
    found = []
    for number, terms in enumerate(evidence.accounts):
        came, went = (sum(int(terms[name]) for name in names) for names in (IN, OUT))
        if came != went:
            found.append(f"accounts {number}: {came} came in, {went} are accounted for: {_terms(terms)}")
    if not evidence.accounts:
        return found
    published, received = (sum(int(terms[name]) for terms in evidence.accounts) for name in ("published", "received"))
    if published != len(evidence.published):
        found.append(f"accounts: {published} published, {len(evidence.published)} in the topic")
    sent = evidence.sent_total + evidence.bad_ticks
    if received > sent or (evidence.lossless and received != sent):
        found.append(f"accounts: {received} received, {sent} sent")
    return found


def _published(tick: Mapping[str, Any]) -> Published:
    return Published(tick["symbol"], int(tick["seq"]), tick["session"])


def _several(some: Sequence[object]) -> str:
    return "1 tick" if len(some) == 1 else f"{len(some)} ticks"


def _listed(seqs: Sequence[int]) -> str:
    return ", ".join(map(str, seqs[:8])) + (", …" if len(seqs) > 8 else "")


def _shown(ticks: Sequence[VenueTick]) -> str:
    shown = ", ".join(f"{tick.seq} ({tick.fate} at {tick.at:.3f})" for tick in ticks[:5])
    return shown + (", …" if len(ticks) > 5 else "")


def _terms(terms: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={terms[name]}" for name in (*IN, *OUT))
