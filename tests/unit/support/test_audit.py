"""The judge, judged: on made-up records it acquits what is right, and fails in every way in which a bridge can fail."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bridge.simulator import VenueTick
from bridge.simulator.config import SimulatorConfig
from bridge.simulator.protocol import Request
from bridge.simulator.record import Record
from bridge.simulator.sessions import Session
from bridge.simulator.venue import Outcome
from tests.support.audit import Evidence, Gap, Published, Verdict, Wish, accepted_at, due_ticks, judge, read_gaps

S = "NASDAQ:AAPL"
C = "AAPL.US"
WISH = Wish(S, C, since=100.0)
TERMS = {
    "received": 4, "recovered": 0, "published": 4, "duplicate": 0, "filtered": 0, "invalid": 0, "conflated": 0,
    "dropped": 0, "undeliverable": 0, "in_flight": 0,
}  # fmt: skip


def sent(seq: int, at: float, connection: int = 1) -> VenueTick:
    return VenueTick(seq, at, connection, "sent")


def absent(seq: int, at: float) -> VenueTick:
    return VenueTick(seq, at, 0, "absent")


def published(*seqs: int, session: int = 7) -> list[Published]:
    return [Published(S, seq, session) for seq in seqs]


def gap(from_s: float, to_s: float | None, *, name: str = "g", **more: Any) -> Gap:
    to_us = None if to_s is None else int(to_s * 1e6)
    fields: dict[str, Any] = {"symbol": S, "cause": "disconnect", **more}
    return Gap(id=name, from_us=int(from_s * 1e6), to_us=to_us, **fields)


def evidence(ticks: list[VenueTick], topic: list[Published], *gaps: Gap, **more: Any) -> Evidence:
    return Evidence({C: ticks}, {C: [101.0]}, topic, gaps, **more)


#: Four ticks sent on one connection, all of them in the topic.
GOOD = evidence([sent(1, 102), sent(2, 103), sent(3, 104), sent(4, 105)], published(1, 2, 3, 4))
#: A disconnect: two ticks nobody could get, and a gap about them.
AWAY = evidence(
    [sent(1, 102), absent(2, 103), absent(3, 104), sent(4, 105, 2)],
    [*published(1), *published(4, session=8)],
    gap(102.5, 104.5),
)


def found(given: Evidence, *wishes: Wish, **allowed: Any) -> list[str]:
    return judge(given, wishes or [WISH]).problems(**allowed)


def only(given: Evidence, *wishes: Wish, **allowed: Any) -> str:
    (problem,) = found(given, *wishes, **allowed)
    return problem


# What is right.


def test_everything_sent_and_published_once_in_order_is_right() -> None:
    verdict = judge(GOOD, [WISH])
    assert verdict.problems() == []
    assert (verdict.symbols[S].due, verdict.symbols[S].published, verdict.missing) == (4, 4, 0)
    verdict.check()


def test_missing_ticks_inside_a_gap_are_right() -> None:
    verdict = judge(AWAY, [WISH])
    assert verdict.problems() == []
    assert (verdict.missing, verdict.symbols[S].silent) == (2, [])


def test_a_spilled_session_may_arrive_after_a_newer_one() -> None:
    ticks = [sent(1, 102), sent(2, 103), sent(3, 104, 2), sent(4, 105, 2)]
    assert found(evidence(ticks, [*published(3, 4, session=8), *published(1, 2)])) == []


def test_what_the_venue_sent_out_of_order_stays_as_it_came() -> None:
    assert found(evidence([sent(2, 102), sent(1, 103)], published(2, 1))) == []


def test_what_the_venue_sent_twice_is_due_once() -> None:
    assert found(evidence([sent(1, 102), sent(1, 102.1), sent(2, 103)], published(1, 2))) == []


# When a tick is due.


@pytest.mark.parametrize(
    ("tick", "due"),
    [
        (sent(1, 100.5), True),  # before the first acceptance, but sent
        (absent(1, 100.5), False),  # before the first acceptance
        (absent(1, 101.0), True),  # the bridge was away, the operator was not
        (VenueTick(1, 102.0, 0, "withheld"), False),  # nobody can see it
        (sent(1, 99.9), False),  # before the wish
        (sent(1, 110.0), True),
        (sent(1, 110.1), False),  # after it
        (absent(1, 110.1), False),
    ],
)
def test_a_tick_is_due_within_the_wish_if_it_could_be_seen(tick: VenueTick, due: bool) -> None:
    wish = Wish(S, C, since=100.0, until=110.0)
    assert bool(due_ticks(evidence([tick], []), wish)) is due


def test_a_wish_renewed_waits_for_an_acceptance_of_its_own() -> None:
    given = Evidence({C: [absent(1, 121.0), absent(2, 123.0)]}, {C: [101.0, 122.0]}, [])
    assert [tick.seq for tick in due_ticks(given, Wish(S, C, since=120.0))] == [2]


def test_what_was_never_accepted_is_never_due_unless_it_was_sent() -> None:
    assert due_ticks(Evidence({C: [absent(1, 121.0)]}, {}, []), WISH) == []


def test_one_symbol_under_two_codes_is_refused() -> None:
    with pytest.raises(ValueError, match="two codes"):
        judge(GOOD, [WISH, Wish(S, "OTHER.US", 200.0)])


# Every way to be wrong.


def test_a_missing_tick_without_a_gap_is_silent() -> None:
    problem = only(replace(GOOD, published=published(1, 2, 4)))
    assert problem == f"{S}: 1 tick missing without a gap record: 3 (sent at 104.000)"


def test_a_tick_before_the_gap_is_not_covered_by_it() -> None:
    late = only(replace(AWAY, gaps=[gap(103.3, 104.5)]))
    assert "1 tick missing without a gap record: 2 (absent at 103.000)" in late


def test_a_tick_after_the_gap_is_not_covered_by_it() -> None:
    early = only(replace(AWAY, gaps=[gap(102.5, 103.999)]))
    assert "1 tick missing without a gap record: 3" in early


def test_the_wire_is_allowed_its_time_before_a_gap_and_none_after_it() -> None:
    assert found(replace(AWAY, gaps=[gap(103.2, 104.5)])) == []
    assert judge(replace(AWAY, gaps=[gap(103.2, 104.5)]), [WISH], wire_s=0.1).problems() != []


def test_a_gap_of_another_symbol_covers_nothing() -> None:
    assert "2 ticks missing" in only(replace(AWAY, gaps=[gap(102.5, 104.5, symbol="OTHER")]))


def test_a_tick_published_twice_is_wrong_unless_at_least_once_was_promised() -> None:
    twice = replace(GOOD, published=published(1, 2, 3, 2, 3, 4))
    assert only(twice) == f"{S}: 2 ticks published more than once: 2, 3"
    assert found(twice, at_least_once=True) == []


def test_a_tick_that_was_never_sent_is_a_stranger() -> None:
    assert only(replace(GOOD, published=published(1, 2, 3, 4, 99))) == f"{S}: 1 tick never sent, or nobody's wish: 99"


def test_a_tick_that_was_not_sent_to_anybody_is_a_stranger_too() -> None:
    assert "never sent" in only(replace(AWAY, published=[*published(1, 2), *published(4, session=8)]))


def test_a_ghost_tick_of_a_removed_symbol_is_a_stranger_once_the_removal_has_settled() -> None:
    removed = Wish(S, C, since=100.0, until=102.5)
    assert "nobody's wish: 4" in only(GOOD, removed)
    assert judge(GOOD, [removed], settle_s=3.0).problems() == []


def test_a_symbol_that_nobody_wished_for_is_a_stranger_as_a_whole() -> None:
    given = replace(GOOD, published=[*GOOD.published, Published("X", 1, 7)])
    assert only(given) == "X: 1 tick never sent, or nobody's wish: 1"


def test_a_session_out_of_order_is_named_with_the_pair() -> None:
    assert only(replace(GOOD, published=published(1, 3, 2, 4))) == (
        f"{S}: session 7 has seq 2 after 3, which the venue sent later"
    )


def test_a_venue_s_disorder_put_right_is_disorder_too() -> None:
    assert "session 7 has seq 2 after 1" in only(evidence([sent(2, 102), sent(1, 103)], published(1, 2)))


def test_two_connections_under_one_session_are_told() -> None:
    ticks = [sent(1, 102), sent(2, 103), sent(3, 104, 2)]
    assert only(evidence(ticks, published(1, 2, 3))) == f"{S}: session 7 has ticks of two connections: 3"


def test_a_gap_wider_than_allowed_is_told_with_its_surplus() -> None:
    wide = replace(AWAY, gaps=[gap(90.0, 105.0)])
    assert found(wide) == []
    assert only(wide, excess_max_s=5.0) == f"{S}: gap g is 14.000 s wider than needed (at most 5)"


def test_a_gap_about_nothing_is_wide_as_a_whole() -> None:
    assert "gap g is 2.000 s wider" in only(replace(GOOD, gaps=[gap(102, 104)]), excess_max_s=1.0)


def test_an_open_gap_covers_what_follows_and_is_wrong_unless_its_cause_may_stay_open() -> None:
    open_gap = replace(AWAY, gaps=[gap(102.5, None)])
    assert only(open_gap) == f"{S}: gap g (disconnect) is still open"
    assert found(open_gap, may_stay_open=["disconnect"]) == []
    assert found(replace(AWAY, gaps=[gap(102.5, None, cause="stop")])) == []


@pytest.mark.parametrize(("claimed", "right"), [(1, False), (2, True), (3, False)])
def test_an_overflow_must_count_what_is_missing_in_it(claimed: int, right: bool) -> None:
    given = replace(GOOD, published=published(1, 4), gaps=[gap(102.5, 104.5, cause="overflow", lost=claimed)])
    expected = [] if right else [f"{S}: gaps claim {claimed} lost ticks, from 2 to 2 are missing in them"]
    assert found(given) == expected


@pytest.mark.parametrize(("claimed", "right"), [(0, False), (1, True), (2, True), (3, False)])
def test_where_a_counted_gap_meets_another_either_may_have_the_tick(claimed: int, right: bool) -> None:
    gaps = [gap(102.5, 104.5, cause="overflow", lost=claimed), gap(103.5, 110, name="h")]
    assert bool(found(replace(GOOD, published=published(1, 4), gaps=gaps))) is not right


# Accounts.


def test_accounts_that_agree_with_the_topic_and_the_venue_are_right() -> None:
    assert found(replace(GOOD, accounts=[TERMS], sent_total=4)) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dropped": 1}, "4 came in, 5 are accounted for"),
        ({"published": 3, "dropped": 1}, "accounts: 3 published, 4 in the topic"),
        ({"received": 3, "recovered": 1}, "accounts: 3 received, 4 sent"),
        ({"received": 5, "duplicate": 1}, "accounts: 5 received, 4 sent"),
    ],
)
def test_accounts_that_disagree_are_told(changes: dict[str, int], problem: str) -> None:
    assert problem in only(replace(GOOD, accounts=[TERMS | changes], sent_total=4))


def test_where_bytes_were_lost_less_may_be_received_and_never_more() -> None:
    given = replace(GOOD, accounts=[TERMS], lossless=False)
    assert found(replace(given, sent_total=9)) == []
    assert "4 received, 3 sent" in only(replace(given, sent_total=3))


def test_several_instances_are_added_up() -> None:
    half = TERMS | {"received": 2, "published": 2}
    assert found(replace(GOOD, accounts=[half, half], sent_total=4)) == []
    assert found(replace(GOOD, accounts=[half], sent_total=4)) != []


def test_rubbish_is_received_too() -> None:
    given = replace(GOOD, accounts=[TERMS | {"received": 5, "invalid": 1}], sent_total=4, bad_ticks=1)
    assert found(given) == []


# The report.


def test_a_failed_check_shows_every_problem_and_the_figures() -> None:
    wrong = replace(GOOD, published=published(1, 3, 2, 99))
    with pytest.raises(AssertionError) as caught:
        judge(wrong, [WISH]).check()
    text = str(caught.value)
    for part in (
        "the audit failed",
        "4 (sent at",
        "seq 2 after 3",
        "99",
        "4 due, 4 published, 1 missing (1 in silence)",
    ):
        assert part in text


def test_an_endless_list_is_cut_short() -> None:
    ticks = [sent(seq, 102 + seq / 1000) for seq in range(1, 501)]
    problem = only(evidence(ticks, []))
    assert problem.startswith(f"{S}: 500 ticks missing")
    assert len(problem) < 250


# The evidence.


def record(**more: Any) -> bytes:
    document = {"v": 1, "id": "g", "bridge": "b", "symbol": S, "from_us": 1, "cause": "disconnect", **more}
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def test_of_several_records_with_one_id_the_last_counts() -> None:
    pairs = [
        (S.encode(), record()),
        (S.encode(), record(to_us=5)),
        (S.encode(), record(id="h", cause="overflow", lost=2)),
    ]
    assert read_gaps(pairs) == [
        Gap("g", S, "disconnect", 1, 5),
        Gap("h", S, "overflow", 1, None, 2),
    ]


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (S.encode(), None, "a tombstone"),
        (S.encode(), record(cause="bad luck"), "breaks its schema"),
        (S.encode(), record(from_us=None), "breaks its schema"),
        (S.encode(), record(cause="overflow"), "breaks its schema"),
        (b"OTHER", record(), "has the key b'OTHER'"),
    ],
)
def test_a_bad_gap_record_is_an_error(key: bytes, value: bytes | None, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        read_gaps([(key, value)])


def test_a_gap_that_changes_its_symbol_is_an_error() -> None:
    with pytest.raises(AssertionError, match="is of"):
        read_gaps([(S.encode(), record()), (b"X.US", record(symbol="X.US"))])


def test_acceptance_is_a_list_with_the_code_answered_with_200() -> None:
    session = Session(1, "token", "stock", 10.0)
    kept = Record(SimulatorConfig().sent_seqs_max)
    kept.opened(session)
    for at, ret, codes in (
        (11.0, 600, (C, "BAD")),
        (12.0, 200, ("OTHER",)),
        (13.0, 200, ("OTHER", C)),
        (14.0, 200, (C,)),
    ):
        kept.asked(session, at, Outcome(Request(22004, int(at), "t"), ret, codes))
    assert accepted_at(kept, C) == [13.0, 14.0]


def test_a_verdict_about_nothing_is_right() -> None:
    assert Verdict({}, []).problems() == []
