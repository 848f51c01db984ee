"""Which status records are due: what the topic says on one side, the truth on the other."""

import json
from typing import Any

import pytest

from bridge.control.murmur2 import partition_of
from bridge.model import State, SymbolState, Truth
from bridge.publish.statuses import PAUSE_US, REFUSED_PAUSE_US, StatusBook, Write

T0 = 1_790_000_000_000_000


def truth(symbol: str = "AAPL.US", state: State = State.LIVE, *, offset: int = 7, **given: Any) -> Truth:
    row = SymbolState(symbol, given.pop("code", symbol), state, given.pop("reason", ""))
    return Truth(row, (given.pop("partition", 0), offset), given.pop("effective", {}), **given)


def due(statuses: StatusBook, truths: list[Truth], now_us: int, **given: Any) -> list[Write]:
    """Ask as the owner of partition 0, in which there is a record of each of these symbols, and of UNJUDGED.US."""
    asked = {truth.row.symbol for truth in truths} | {"UNJUDGED.US"}
    return statuses.due(truths, {0: asked}, now_us, **given)


def book() -> StatusBook:
    return StatusBook("prices", "one", partition_of)


def told(statuses: StatusBook, *truths: Truth, at_us: int = T0) -> list[Write]:
    """Write what is due, and hear it as everybody does."""
    writes = due(statuses, list(truths), at_us)
    for key, value, partition in writes:
        statuses.hear(key, value, partition if partition >= 0 else None)
    return writes


def values(writes: list[Write]) -> dict[str, Any]:
    return {key.decode(): json.loads(value) if value is not None else None for key, value, _ in writes}


def record(symbol: str = "AAPL.US", **fields: Any) -> tuple[bytes, bytes]:
    """A status record as somebody else wrote it."""
    base = {"v": 1, "bridge": "prices", "symbol": symbol, "code": symbol, "state": "live", "since_us": T0 - 5}
    whole = {**base, "instance": "two", "control_partition": 0, "control_offset": 7, "effective": {}, **fields}
    return symbol.encode(), json.dumps(whole).encode()


def test_what_the_topic_does_not_know_is_written() -> None:
    written = values(due(book(), [truth()], T0))
    assert written["AAPL.US"]["state"] == "live"
    assert written["AAPL.US"]["since_us"] == T0


def test_what_is_true_already_is_not_written_again_whatever_the_offset() -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    assert due(statuses, [truth(offset=9)], T0 + 10 * PAUSE_US) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": State.OFFLINE},
        {"reason": "venue_600", "state": State.REJECTED},
        {"code": "AAPL"},
        {"effective": {"note": "new"}},
        {"warnings": ("unknown field 'prio'",)},
    ],
)
def test_a_change_of_what_it_says_is_written(change: dict[str, Any]) -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    assert len(due(statuses, [truth(**change)], T0 + PAUSE_US)) == 1


def test_since_stays_while_the_state_does() -> None:
    statuses = book()
    statuses.hear(*record())
    written = values(due(statuses, [truth(effective={"note": "x"})], T0))
    assert written["AAPL.US"]["since_us"] == T0 - 5


def test_another_record_that_cannot_be_used_is_news() -> None:
    statuses = book()
    due(statuses, [truth(state=State.INVALID, offset=7)], T0)
    assert len(due(statuses, [truth(state=State.INVALID, offset=8)], T0 + PAUSE_US)) == 1


def test_a_symbol_is_written_at_most_once_a_moment_and_what_waits_is_told() -> None:
    statuses = book()
    due(statuses, [truth(state=State.PENDING)], T0)
    assert due(statuses, [truth()], T0 + PAUSE_US - 1) == []
    assert statuses.held_back
    assert len(due(statuses, [truth()], T0 + PAUSE_US)) == 1
    assert not statuses.held_back


def test_last_words_do_not_wait() -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    assert len(due(statuses, [truth(state=State.OFFLINE)], T0 + 1, hurry=True)) == 1


@pytest.mark.parametrize("instance", ["two", "one"], ids=["another", "of our own name"])
def test_a_late_word_of_a_former_owner_is_written_over(instance: str) -> None:
    statuses = book()
    told(statuses, truth())
    statuses.hear(*record(state="offline", instance=instance))
    written = values(due(statuses, [truth()], T0 + PAUSE_US))
    assert written["AAPL.US"]["state"] == "live"


def test_our_own_older_words_change_nothing() -> None:
    statuses = book()
    first = due(statuses, [truth(state=State.PENDING)], T0)
    due(statuses, [truth()], T0 + PAUSE_US)
    statuses.hear(*first[0][:2])
    assert due(statuses, [truth()], T0 + 9 * PAUSE_US) == []


def test_what_is_heard_before_our_own_newest_word_is_superseded_by_it() -> None:
    statuses = book()
    ours = due(statuses, [truth()], T0)
    statuses.hear(*record(state="offline"))
    statuses.hear(*ours[0][:2])
    assert due(statuses, [truth()], T0 + 9 * PAUSE_US) == []


def test_our_own_words_that_compaction_took_are_not_waited_for() -> None:
    statuses = book()
    due(statuses, [truth(state=State.PENDING)], T0)
    (last,) = due(statuses, [truth()], T0 + PAUSE_US)
    statuses.hear(*last[:2])
    statuses.hear(*record(state="offline"))
    assert len(due(statuses, [truth()], T0 + 9 * PAUSE_US)) == 1


def test_a_status_whose_symbol_is_gone_is_nulled_once() -> None:
    statuses = book()
    statuses.hear(*record("GONE.US"))
    assert values(due(statuses, [], T0)) == {"GONE.US": None}
    assert due(statuses, [], T0 + PAUSE_US) == []
    statuses.hear(b"GONE.US", None)
    assert due(statuses, [], T0 + PAUSE_US) == []


def test_a_symbol_that_comes_back_is_not_lost_to_the_echo_of_its_null() -> None:
    statuses = book()
    statuses.hear(*record("BACK.US"))
    due(statuses, [], T0)
    due(statuses, [truth("BACK.US")], T0 + PAUSE_US)
    statuses.hear(b"BACK.US", None)
    assert due(statuses, [truth("BACK.US")], T0 + 9 * PAUSE_US) == []


def test_the_status_of_a_symbol_that_is_asked_for_stays_until_it_is_judged() -> None:
    statuses = book()
    statuses.hear(*record("UNJUDGED.US"))
    assert due(statuses, [], T0) == []


def test_only_records_of_our_own_deployment_are_nulled() -> None:
    statuses = book()
    statuses.hear(*record("THEIRS.US", bridge="another"))
    assert due(statuses, [], T0) == []


@pytest.mark.parametrize("place", [0, 1, 7, None])
def test_a_symbol_that_nobody_asks_for_is_nulled_by_the_owner_of_its_partition_wherever_it_was(
    place: int | None,
) -> None:
    statuses = book()
    mine: list[str] = []
    others: list[str] = []
    for symbol in (f"{number}.HK" for number in range(1, 9)):
        statuses.hear(*record(symbol, control_partition=place))
        (mine if partition_of(symbol.encode(), 2) == 0 else others).append(symbol)
    assert mine and others  # noqa: PT018  both, or there is nothing to tell apart
    assert sorted(key.decode() for key, _, _ in due(statuses, [], T0, partitions=2)) == sorted(mine)
    assert sorted(one.symbol for one in statuses.of(1, 2)) == sorted(others)
    assert sorted(key.decode() for key, _, _ in due(statuses, [], T0, partitions=1)) == sorted(others)


def test_a_record_that_another_deployment_wrote_about_our_symbol_is_taken_over() -> None:
    statuses = book()
    statuses.hear(*record(bridge="another"))
    assert len(due(statuses, [truth()], T0)) == 1


def test_somebody_else_s_null_of_a_symbol_that_is_wanted_is_written_over() -> None:
    statuses = book()
    told(statuses, truth())
    statuses.hear(b"AAPL.US", None)
    assert len(due(statuses, [truth()], T0 + PAUSE_US)) == 1


@pytest.mark.parametrize(("key", "value"), [(b"\xff", b"{}"), (b"A", b"{"), (b"A", b"[]"), (None, b"1"), (None, None)])
def test_rubbish_in_the_topic_is_passed_over(key: bytes | None, value: bytes | None) -> None:
    statuses = book()
    statuses.hear(key, value)
    assert due(statuses, [], T0) == []


def test_what_is_known_of_a_control_partition_is_of_our_own_deployment() -> None:
    statuses = book()
    statuses.hear(*record(effective={"priority": 5}))
    statuses.hear(*record("OTHER.US", bridge="another"))
    assert [(one.symbol, one.effective) for one in statuses.of(0, 1)] == [("AAPL.US", {"priority": 5})]


@pytest.mark.parametrize(
    ("partition", "offset", "end", "known"),
    [(0, 7, 9, True), (0, 6, 9, True), (0, 8, 9, False), (1, 7, 9, False), (0, 5, 7, False), (0, 5, 8, True)],
)
def test_a_control_record_is_remembered_up_to_the_offset_that_the_status_speaks_of_if_that_is_in_the_topic(
    partition: int, offset: int, end: int, known: bool
) -> None:
    statuses = book()
    statuses.hear(*record())
    assert statuses.remembers("AAPL.US", partition, offset, end) is known
    assert not statuses.remembers("NEVER.US", partition, offset, end)


# What stands over our records


RUBBISH = [
    b"rubbish",
    b"[]",
    record(since_us=2**53)[1],
    record(since_us=-1)[1],
    record(since_us=10**30)[1],
    record(control_offset=2**63)[1],
    record(last_tick_us=-1)[1],
    record("OTHER.US")[1],
    record(bridge="another")[1],
]


@pytest.mark.parametrize("value", RUBBISH)
def test_what_stands_over_our_record_is_written_over_and_left_alone_where_nobody_wants_the_symbol(
    value: bytes,
) -> None:
    statuses = book()
    statuses.hear(*record())
    statuses.hear(*record("GONE.US"))
    statuses.hear(b"AAPL.US", value)
    statuses.hear(b"GONE.US", value)
    assert [one.symbol for one in statuses.of(0, 1)] == ["AAPL.US", "GONE.US"]
    written = values(due(statuses, [truth()], T0))
    assert set(written) == {"AAPL.US"}
    assert written["AAPL.US"]["since_us"] == T0 - 5
    assert due(statuses, [truth()], T0 + PAUSE_US) == []


def test_a_record_of_a_newer_format_is_written_over_and_what_it_tells_is_believed() -> None:
    statuses = book()
    statuses.hear(*record(v=2, effective={"priority": 5}))
    assert [one.effective for one in statuses.of(0, 1)] == [{"priority": 5}]
    assert values(due(statuses, [truth(effective={"priority": 5})], T0))["AAPL.US"]["v"] == 1


def test_a_state_that_began_in_the_future_began_now() -> None:
    statuses = book()
    statuses.hear(*record(since_us=T0 + 10, last_tick_us=T0 + 10))
    written = values(due(statuses, [truth(effective={"note": "x"})], T0))["AAPL.US"]
    assert (written["since_us"], written["last_tick_us"]) == (T0, T0)


@pytest.mark.parametrize(("code", "known"), [("AAPL.US", T0 - 9), ("AAPL", None)])
def test_the_last_tick_that_another_owner_saw_is_still_the_last_of_the_same_code(code: str, known: int | None) -> None:
    statuses = book()
    statuses.hear(*record(state="offline", last_tick_us=T0 - 9))
    assert values(due(statuses, [truth(code=code)], T0))["AAPL.US"].get("last_tick_us") == known


def test_a_topic_made_anew_is_told_everything_again() -> None:
    statuses = book()
    told(statuses, truth())
    version = statuses.version
    statuses.clear()
    assert statuses.version > version
    assert len(due(statuses, [truth()], T0 + 1)) == 1


# What Kafka does not take


@pytest.mark.parametrize("wanted", [True, False])
def test_what_kafka_refuses_is_due_again_after_a_longer_while(wanted: bool) -> None:
    statuses = book()
    statuses.hear(*record(state="offline"))
    truths = [truth()] if wanted else []
    (lost,) = due(statuses, truths, T0)
    version = statuses.version
    statuses.refused(*lost[:2])
    assert statuses.version > version
    assert due(statuses, truths, T0 + REFUSED_PAUSE_US - 1) == []
    assert statuses.held_back
    assert [one.value is None for one in due(statuses, truths, T0 + REFUSED_PAUSE_US)] == [not wanted]
    assert due(statuses, truths, T0 + 9 * REFUSED_PAUSE_US) == []
    assert not statuses.held_back


def test_a_refusal_of_what_nobody_remembers_is_no_news() -> None:
    statuses = book()
    statuses.refused(b"AAPL.US", b"{}")
    told(statuses, truth())
    statuses.refused(b"AAPL.US", b"{}")
    assert due(statuses, [truth()], T0 + 9 * PAUSE_US) == []


def test_a_clock_that_was_set_back_does_not_keep_anything_waiting() -> None:
    statuses = book()
    due(statuses, [truth(state=State.PENDING)], T0)
    assert len(due(statuses, [truth()], T0 - 3600 * PAUSE_US)) == 1


# Records that cannot be used


def test_a_bad_record_is_not_told_of_while_its_dead_letter_is_under_way() -> None:
    statuses = book()
    told(statuses, truth())
    bad = truth(state=State.INVALID, offset=8)
    assert due(statuses, [bad], T0 + PAUSE_US, unsaid={(0, 8)}, hurry=True) == []
    assert statuses.held_back
    assert len(due(statuses, [bad], T0 + PAUSE_US, unsaid={(0, 9)})) == 1


def test_what_becomes_of_the_record_in_force_is_told_beneath_a_bad_one() -> None:
    statuses = book()
    written = values(due(statuses, [truth(state=State.INVALID, beneath=("rejected", "venue_600"))], T0))["AAPL.US"]
    assert (written["effective_state"], written["effective_reason"]) == ("rejected", "venue_600")
    same = truth(state=State.INVALID, beneath=("rejected", "venue_600"))
    assert due(statuses, [same], T0 + PAUSE_US) == []
    written = values(due(statuses, [truth(state=State.INVALID, beneath=("live", ""))], T0 + PAUSE_US))["AAPL.US"]
    assert written["effective_state"] == "live"
    assert "effective_reason" not in written


# Records outside their home


def test_a_record_that_is_not_at_home_serves_until_there_is_one_and_is_nulled_then() -> None:
    statuses = book()
    statuses.hear(*record(effective={"priority": 4}), stray=3)
    statuses.hear(*record(effective={"priority": 5}), stray=3)
    assert [one.effective for one in statuses.of(0, 1)] == [{"priority": 5}]
    first, second = told(statuses, truth(effective={"priority": 5}))
    assert (first.key, first.partition, first.value is None) == (b"AAPL.US", -1, False)
    assert second == Write(b"AAPL.US", None, 3)
    assert due(statuses, [truth(effective={"priority": 5})], T0 + PAUSE_US) == []


@pytest.mark.parametrize("stray_first", [True, False])
def test_beside_a_record_at_home_a_stray_says_nothing_and_is_nulled(stray_first: bool) -> None:
    statuses = book()
    heard = [(record(state="offline"), 3), (record(), None)]
    for (key, value), stray in heard if stray_first else heard[::-1]:
        statuses.hear(key, value, stray)
    assert due(statuses, [truth()], T0) == [Write(b"AAPL.US", None, 3)]
    assert due(statuses, [truth()], T0 + PAUSE_US) == []


def test_the_strays_of_a_symbol_that_is_gone_are_nulled_and_those_of_others_are_not() -> None:
    statuses = book()
    statuses.hear(*record("GONE.US"), stray=3)
    statuses.hear(*record("BOTH.US"))
    statuses.hear(*record("BOTH.US"), stray=1)
    statuses.hear(*record("PASSED.US"), stray=1)
    statuses.hear(b"PASSED.US", None, stray=1)
    statuses.hear(*record("THEIRS.US", bridge="another"), stray=1)
    statuses.hear(b"NEVER.US", None, stray=1)
    assert sorted(told(statuses)) == [
        (b"BOTH.US", None, -1), (b"BOTH.US", None, 1), (b"GONE.US", None, 3),
    ]  # fmt: skip
    assert due(statuses, [], T0 + PAUSE_US) == []
