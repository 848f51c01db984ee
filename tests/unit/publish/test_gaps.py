"""The gap book: what opens, what closes, what a successor takes over, and what is written meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Interrupted, Missed, OpenGap, Progress, Resumed
from bridge.publish.gaps import GapBook

T0 = 1_790_000_000_000_000
SECOND = 1_000_000


def interrupted(*symbols: str, at: int = T0, cause: str = "disconnect", partition: int = 0) -> Interrupted:
    return Interrupted(partition, cause, at, 7, {symbol: (f"{symbol}.US", "41") for symbol in symbols})


def resumed(*symbols: str, at: int = T0 + SECOND, partition: int = 0) -> Resumed:
    return Resumed(partition, at, 8, frozenset(symbols))


def written(book: GapBook, most: int = 1_000_000) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in book.take(most)]


def newest(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {record["id"]: record for record in records}


def test_a_gap_is_written_when_it_opens_and_again_under_its_id_when_it_closes() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    (opened,) = written(book)
    book.resumed(resumed("A"))
    (closed,) = written(book)
    assert opened == {
        "v": 1, "id": f"prices-0:{T0}:A", "bridge": "prices", "symbol": "A", "from_us": T0, "cause": "disconnect",
        "code": "A.US", "session_before": 7, "last_seq": "41",
    }  # fmt: skip
    assert closed == {**opened, "to_us": T0 + SECOND, "session_after": 8}
    assert book.counts == {"disconnect": 1}


def test_what_opens_and_closes_before_anybody_takes_it_is_one_record() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    book.resumed(resumed("A"))
    assert [record["to_us"] for record in written(book)] == [T0 + SECOND]


@pytest.mark.parametrize("closes", [False, True])
def test_what_kafka_refused_is_written_again_but_never_that_a_gap_is_open_after_it_has_closed(closes: bool) -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    ((_, opened),) = book.take(1)
    if closes:
        book.resumed(resumed("A"))
        assert len(book.take(1)) == 1
    book.refused(opened)
    assert len(book) == (0 if closes else 1)


def test_that_a_gap_has_closed_is_written_again_where_kafka_refused_it() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    book.take(1)
    book.resumed(resumed("A"))
    ((key, closed),) = book.take(1)
    book.refused(closed)
    assert book.take(2) == [(key, closed)]


def test_a_second_interruption_prolongs_what_is_open() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    book.interrupted(interrupted("A", "B", at=T0 + SECOND, cause="stop"))
    assert {(one["symbol"], one["from_us"], one["cause"]) for one in written(book)} == {
        ("A", T0, "disconnect"),
        ("B", T0 + SECOND, "stop"),
    }


def test_only_the_accepted_symbols_gaps_close() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A", "B"))
    book.resumed(resumed("A", "C"))
    assert [gap.symbols for gap in book.open_in(0)] == [("B",)]


def test_partitions_do_not_mix() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    book.resumed(resumed("A", partition=1))
    assert [gap.symbols for gap in book.open_in(0)] == [("A",)]


def test_a_symbol_that_nobody_wants_any_more_has_no_open_gap() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A", "B"))
    written(book)
    book.keep(0, {"B"}, T0 + 5 * SECOND)
    assert [(one["symbol"], one["to_us"]) for one in written(book)] == [("A", T0 + 5 * SECOND)]


def test_what_was_missed_is_told_at_once_with_its_count() -> None:
    book = GapBook("prices")
    book.missed(Missed("A", "overflow", 312, T0, T0 + SECOND))
    (record,) = written(book)
    assert (record["lost"], record["from_us"], record["to_us"]) == (312, T0, T0 + SECOND)
    assert book.open_in(0) == ()


def test_of_a_partition_that_is_anothers_by_now_only_what_somebody_saw_open_is_closed() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    opened = written(book)
    book.interrupted(interrupted("B", at=T0 + SECOND, cause="lost_ownership"))
    book.disown(0, T0 + 5 * SECOND)
    assert written(book) == [{**opened[0], "to_us": T0 + 5 * SECOND}]


# Successors


def test_without_a_predecessor_nothing_is_missing() -> None:
    book = GapBook("prices")
    book.inherit(0, None, {"A": "A.US"})
    assert written(book) == []
    assert book.knows(0)


@pytest.mark.parametrize(
    ("safe_us", "frame_us", "from_us"), [(T0, T0 + 5, T0), (T0 + 5, T0, T0), (T0, 0, T0)], ids=["safe", "frame", "none"]
)
def test_a_predecessor_that_fell_silent_leaves_a_gap_from_the_older_of_frame_and_safety(
    safe_us: int, frame_us: int, from_us: int
) -> None:
    book = GapBook("prices")
    book.inherit(0, Progress(safe_us, T0 + 9, 7, frame_us), {"A": "A.US"})
    (record,) = written(book)
    assert (record["cause"], record["from_us"], record["session_before"]) == ("crash", from_us, 7)


def test_one_that_ended_in_order_and_could_not_say_so_leaves_a_restart() -> None:
    book = GapBook("prices")
    book.inherit(0, Progress(T0, T0, 7, T0, ended="stop"), {"A": "A.US"})
    assert [record["cause"] for record in written(book)] == ["restart"]


def test_what_a_predecessor_left_open_is_closed_under_its_id_and_not_opened_again() -> None:
    former = GapBook("prices")
    former.interrupted(interrupted("A", "B", cause="stop"))
    records = written(former)
    book = GapBook("prices")
    book.inherit(0, Progress(T0, T0, 7, T0, ended="stop", open=former.open_in(0)), {"A": "A.US", "B": "B.US"})
    assert written(book) == []
    book.resumed(resumed("A", "B"))
    records += written(book)
    assert len(newest(records)) == 2
    assert all(one["to_us"] for one in newest(records).values())
    assert book.counts == {}


def test_a_successor_that_dies_too_leaves_the_same_gap_to_the_next() -> None:
    progress = Progress(T0, T0, 7, T0)
    first, second = GapBook("prices"), GapBook("prices")
    first.inherit(0, progress, {"A": "A.US"})
    second.inherit(0, progress, {"A": "A.US"})
    assert [one["id"] for one in written(first)] == [one["id"] for one in written(second)]
    third = GapBook("prices")
    third.inherit(0, Progress(T0 + 9, T0 + 9, 9, 0, open=second.open_in(0)), {"A": "A.US"})
    assert third.open_in(0) == (OpenGap("crash", T0, 7, ("A",)),)


def test_a_partition_that_is_let_go_is_nobodys_here() -> None:
    book = GapBook("prices")
    book.interrupted(interrupted("A"))
    book.forget(0)
    assert not book.knows(0)
    assert book.open_in(0) == ()


# When nobody takes the records


def test_what_waits_is_bounded_and_what_is_merged_covers_what_it_was() -> None:
    book = GapBook("prices", waiting_max=20)
    book.interrupted(interrupted("A"))
    first = written(book)  # somebody has seen it open
    for step in range(200):
        at = T0 + step * 10 * SECOND
        book.interrupted(interrupted("A", "B", at=at))
        book.resumed(resumed("A", "B", at=at + SECOND))
    assert len(book) <= 40
    records = newest([*first, *written(book)])
    assert all("to_us" in one for one in records.values())
    for step in range(200):
        at = T0 + step * 10 * SECOND
        for symbol in "AB":
            covers = [one for one in records.values() if one["symbol"] == symbol]
            assert any(one["from_us"] <= at and one["to_us"] >= at + SECOND for one in covers)


def test_counts_add_up_when_losses_are_merged() -> None:
    book = GapBook("prices", waiting_max=5)
    for step in range(50):
        book.missed(Missed("A", "overflow", 3, T0 + step, T0 + step + 1))
    assert sum(one["lost"] for one in written(book)) == 150


ACTION = st.one_of(
    st.tuples(st.just("interrupted"), st.sets(st.sampled_from("ABC"), min_size=1)),
    st.tuples(st.just("resumed"), st.sets(st.sampled_from("ABC"), min_size=1)),
    st.tuples(st.just("take"), st.just(set[str]())),
    st.tuples(st.just("successor"), st.just(set[str]())),
)


@given(st.lists(ACTION, max_size=30), st.integers(4, 12))
def test_every_interval_without_ticks_is_covered_and_nothing_stays_open_that_resumed(
    actions: list[tuple[str, set[str]]], waiting_max: int
) -> None:
    book, now, records = GapBook("prices", waiting_max), T0, []
    down: dict[str, int] = {}
    missing: list[tuple[str, int, int]] = []
    for name, symbols in [*actions, ("resumed", set("ABC"))]:
        now += SECOND
        if name == "interrupted":
            book.interrupted(interrupted(*symbols, at=now))
            down = {**dict.fromkeys(symbols, now), **down}
        elif name == "resumed":
            book.resumed(resumed(*symbols, at=now))
            missing += [(one, down.pop(one), now) for one in symbols & down.keys()]
        else:
            records += written(book)
        if name == "successor":
            left = book.open_in(0)
            book = GapBook("prices", waiting_max)
            book.inherit(0, Progress(now, now, 7, now, ended="stop", open=left), {})
    found = newest([*records, *written(book)]).values()
    assert all("to_us" in one for one in found)
    for symbol, since, until in missing:
        assert any(one["symbol"] == symbol and one["from_us"] <= since and one["to_us"] >= until for one in found)
