"""The fold: what is in force after any order of good records, bad ones, tombstones and readings."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.control.desired import Fold, Result
from bridge.control.murmur2 import partition_of
from bridge.model import Desired, Subscription, Wanted

Pair = tuple[str | None, str | None]
BAD = "{"


def feed(fold: Fold, pairs: Iterable[Pair], start: int = 0) -> list[Result]:
    return [fold.apply(start + step, _bytes(key), _bytes(value)) for step, (key, value) in enumerate(pairs)]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def folded(*pairs: Pair) -> Fold:
    fold = Fold(0)
    feed(fold, pairs)
    fold.caught_up()
    return fold


def symbols(fold: Fold) -> set[str]:
    return set(fold.desired().wanted)


def test_records_become_what_is_desired_with_their_offsets() -> None:
    fold = folded(("A", "{}"), ("B", '{"priority":1}'))
    assert dict(fold.desired().wanted) == {
        "A": Wanted(Subscription("A"), 0),
        "B": Wanted(Subscription("B", priority=1), 1),
    }


def test_each_record_has_a_result() -> None:
    results = feed(Fold(0), [("A", "{}"), ("A", None), ("A", BAD), (None, "{}"), ("two words", "{}")])
    assert results == [Result.USED, Result.TOMBSTONE, Result.INVALID, Result.INVALID, Result.INVALID]


def test_the_newest_record_of_a_symbol_is_in_force() -> None:
    fold = folded(("A", '{"priority":1}'), ("A", '{"priority":2}'))
    assert fold.desired().wanted["A"] == Wanted(Subscription("A", priority=2), 1)


def test_a_tombstone_ends_a_subscription_and_a_later_record_begins_it_anew() -> None:
    assert symbols(folded(("A", "{}"), ("B", "{}"), ("A", None))) == {"B"}
    assert symbols(folded(("A", "{}"), ("A", None), ("A", "{}"))) == {"A"}


def test_a_disabled_record_is_in_force_too() -> None:
    assert folded(("A", '{"enabled":false}')).desired().wanted["A"].subscription.enabled is False


def test_nothing_is_desired_before_the_partition_was_read_to_its_end() -> None:
    fold = Fold(0)
    feed(fold, [("A", "{}")])
    assert (fold.reading, symbols(fold)) == (True, set())
    assert fold.caught_up()
    assert (fold.reading, symbols(fold)) == (False, {"A"})


def test_the_end_of_an_empty_partition_means_that_nothing_is_desired() -> None:
    fold = Fold(3)
    assert fold.caught_up()
    assert fold.desired() == Desired(3)


def test_the_same_object_is_given_until_something_changes() -> None:
    fold = folded(("A", "{}"))
    before = fold.desired()
    assert fold.desired() is before
    feed(fold, [("B", None), ("A", BAD), (None, "{}")], 10)
    assert fold.desired() is before
    feed(fold, [("B", "{}")], 20)
    assert fold.desired() is not before
    assert set(before.wanted) == {"A"}


def test_what_was_given_cannot_be_changed() -> None:
    given_away = folded(("A", "{}")).desired()
    with pytest.raises(TypeError):
        given_away.wanted["B"] = Wanted(Subscription("B"), 1)  # type: ignore[index]  # that is the point


def test_an_unusable_record_leaves_the_last_good_one_in_force_and_is_remembered() -> None:
    fold = folded(("A", '{"priority":4}'), ("A", '{"priority":"x"}'))
    assert fold.desired().wanted["A"] == Wanted(Subscription("A", priority=4), 0)
    assert fold.old_records == 1
    assert (fold.invalid["A"].offset, fold.invalid["A"].reason) == (1, "wrong_type")
    assert "priority" in fold.invalid["A"].detail


def test_an_unusable_record_without_a_good_one_runs_on_nothing() -> None:
    fold = folded(("A", BAD))
    assert symbols(fold) == set()
    assert fold.old_records == 0
    assert fold.invalid["A"].reason == "not_json"


def test_a_tombstone_before_an_unusable_record_leaves_nothing_in_force() -> None:
    fold = folded(("A", "{}"), ("A", None), ("A", BAD))
    assert symbols(fold) == set()
    assert fold.old_records == 0


@pytest.mark.parametrize("newest", ["{}", None])
def test_a_usable_record_or_a_tombstone_ends_running_on_an_old_one(newest: str | None) -> None:
    fold = folded(("A", "{}"), ("A", BAD), ("A", newest))
    assert fold.old_records == 0
    assert not fold.invalid


def test_a_record_under_no_symbol_is_nobodys() -> None:
    fold = Fold(0)
    fold.apply(0, None, b"{}")
    fold.apply(1, b"\xff", b"{}")
    fold.caught_up()
    assert not fold.invalid


def test_a_bad_symbol_is_remembered_until_its_tombstone() -> None:
    fold = folded(("two words", "{}"))
    assert fold.invalid["two words"].reason == "bad_symbol"
    feed(fold, [("two words", None)], 1)
    assert not fold.invalid


def test_a_new_reading_never_shows_less_on_its_way() -> None:
    fold = folded(("A", "{}"), ("B", "{}"))
    before = fold.desired()
    fold.begin_reread()
    for offset, pair in enumerate([("A", "{}"), ("B", "{}"), ("B", None), ("C", "{}")]):
        feed(fold, [pair], offset)
        assert fold.desired() is before
    fold.caught_up()
    assert symbols(fold) == {"A", "C"}


def test_a_new_reading_of_the_same_records_changes_nothing() -> None:
    pairs: list[Pair] = [("A", "{}"), ("B", "{}"), ("A", BAD)]
    fold = folded(*pairs)
    before = fold.desired()
    fold.begin_reread()
    feed(fold, pairs)
    fold.caught_up()
    assert fold.desired() is before
    assert fold.old_records == 1


def test_a_change_not_yet_seen_survives_a_new_reading_that_finds_the_same() -> None:
    fold = folded(("A", "{}"))
    fold.desired()
    feed(fold, [("B", "{}")], 1)
    fold.begin_reread()
    feed(fold, [("A", "{}"), ("B", "{}")])
    fold.caught_up()
    assert symbols(fold) == {"A", "B"}


def test_a_good_record_that_compaction_took_stays_in_force_under_the_bad_one() -> None:
    fold = folded(("A", '{"priority":9}'), ("A", BAD))
    fold.begin_reread()
    feed(fold, [("A", BAD)], 1)
    fold.caught_up()
    assert fold.desired().wanted["A"] == Wanted(Subscription("A", priority=9), 0)
    assert fold.old_records == 1


def test_a_good_record_that_a_tombstone_ended_meanwhile_does_not_come_back() -> None:
    fold = folded(("A", "{}"), ("B", "{}"))
    fold.begin_reread()
    feed(fold, [("B", "{}"), ("A", None), ("A", BAD)], 1)
    fold.caught_up()
    assert symbols(fold) == {"B"}


def test_a_symbol_without_any_record_left_is_not_desired_any_more() -> None:
    fold = folded(("A", "{}"), ("B", "{}"))
    fold.begin_reread()
    feed(fold, [("B", "{}")], 1)
    fold.caught_up()
    assert symbols(fold) == {"B"}


def test_a_topic_made_anew_and_empty_changes_nothing_until_a_record_comes() -> None:
    fold = folded(("A", "{}"))
    fold.begin_reread()
    assert not fold.caught_up(0)
    assert symbols(fold) == {"A"}
    assert fold.desired().orphaned
    feed(fold, [("B", "{}")])
    assert symbols(fold) == {"A"}
    assert fold.caught_up(1)
    assert symbols(fold) == {"B"}
    assert not fold.desired().orphaned


def test_a_partition_emptied_of_its_records_wants_nothing_any_more() -> None:
    fold = folded(("A", "{}"), ("B", "{}"))
    fold.begin_reread()
    assert fold.caught_up(2)
    assert symbols(fold) == set()


MEMORY = {"A": Wanted(Subscription("A", priority=9), 6), "B": Wanted(Subscription("B"), 7)}


def test_before_the_first_record_of_a_topic_made_anew_what_the_statuses_remember_is_in_force() -> None:
    fold = Fold(0, lambda _: MEMORY)
    assert symbols(fold) == set()
    assert not fold.caught_up(0)
    assert dict(fold.desired().wanted) == MEMORY
    assert fold.desired().orphaned
    feed(fold, [("B", "{}")])
    assert fold.caught_up(1)
    assert symbols(fold) == {"B"}


def test_what_the_statuses_remember_yields_to_what_the_topic_says() -> None:
    fold = Fold(0, lambda _: MEMORY)
    feed(fold, [("B", "{}")], 7)
    assert fold.caught_up(8)
    assert symbols(fold) == {"B"}


def test_a_good_record_that_only_the_statuses_remember_stays_in_force_under_the_bad_one() -> None:
    fold = Fold(0, lambda _: MEMORY)
    feed(fold, [("A", BAD)], 8)
    fold.caught_up(9)
    assert fold.desired().wanted["A"] == MEMORY["A"]


def test_a_confirmed_removal_is_told_once() -> None:
    fold = folded(("A", "{}"), ("B", "{}"), ("C", "{}"))
    fold.apply(3, b"A", None, confirmed=True)
    fold.apply(4, b"B", b'{"enabled":false}', confirmed=True)
    fold.apply(5, b"C", b"{}", confirmed=True)
    assert fold.desired().confirmed == {"A", "B"}
    feed(fold, [("D", "{}")], 6)
    assert fold.desired().confirmed == set()


def test_a_removal_confirmed_after_it_was_made_is_told() -> None:
    fold = folded(("A", "{}"))
    feed(fold, [("A", None)], 1)
    fold.desired()
    fold.apply(2, b"A", None, confirmed=True)
    assert fold.desired().confirmed == {"A"}


def test_a_confirmed_removal_that_a_later_record_takes_back_is_not_told() -> None:
    fold = folded(("A", "{}"))
    fold.apply(1, b"A", None, confirmed=True)
    feed(fold, [("A", "{}")], 2)
    assert fold.desired().confirmed == set()


@pytest.mark.parametrize("later", [None, '{"enabled":false}', BAD])
def test_a_confirmed_removal_stays_confirmed_where_nothing_after_it_asks_for_the_symbol(later: str | None) -> None:
    fold = folded(("A", "{}"))
    fold.apply(1, b"A", None, confirmed=True)
    feed(fold, [("A", later)], 2)
    assert fold.desired().confirmed == {"A"}


def test_a_removal_is_not_confirmed_by_the_confirmation_of_an_earlier_one() -> None:
    fold = folded(("A", "{}"))
    fold.apply(1, b"A", None, confirmed=True)
    feed(fold, [("A", "{}"), ("A", None)], 2)
    assert fold.desired().confirmed == set()


def test_confirmed_removals_are_told_again_by_each_reading_in_which_they_stand() -> None:
    fold = Fold(0, lambda _: MEMORY)
    for _ in range(2):
        fold.apply(8, b"A", None, confirmed=True)
        fold.apply(9, b"B", b'{"enabled":false}', confirmed=True)
        fold.caught_up(10)
        assert fold.desired().confirmed == {"A", "B"}
        fold.begin_reread()


def test_a_confirmed_removal_is_a_record_that_ends_the_wait_of_a_topic_made_anew() -> None:
    fold = Fold(0, lambda _: MEMORY)
    fold.caught_up(0)
    assert fold.desired().orphaned
    fold.apply(0, b"A", None, confirmed=True)
    fold.caught_up(1)
    assert fold.desired() == Desired(0, {}, frozenset("A"), orphaned=False)


def test_removals_confirmed_before_anybody_read_are_told_with_the_first_reading() -> None:
    fold = Fold(0)
    fold.apply(0, b"A", None, confirmed=True)
    fold.caught_up(1)
    assert fold.desired().confirmed == {"A"}


def test_a_record_in_the_wrong_partition_is_nobodys() -> None:
    fold = Fold(0, partitions=2)
    results = [fold.apply(offset, key, b"{}") for offset, key in enumerate((b"AAPL.US", b"700.HK", b"BTCUSDT"))]
    fold.caught_up(3)
    here = {key for key in ("AAPL.US", "700.HK", "BTCUSDT") if partition_of(key.encode(), 2) == 0}
    assert symbols(fold) == here
    assert results.count(Result.INVALID) == 3 - len(here) > 0
    assert not fold.invalid
    assert fold.refusal is not None
    assert fold.refusal.reason == "wrong_partition"


def test_an_offset_that_does_not_grow_is_another_topic_and_read_as_a_whole() -> None:
    fold = folded(("A", "{}"), ("B", "{}"))
    feed(fold, [("C", "{}"), ("D", "{}")])
    assert symbols(fold) == {"A", "B"}
    fold.caught_up()
    assert symbols(fold) == {"C", "D"}


def test_a_topic_made_anew_during_a_reading_is_read_alone() -> None:
    fold = Fold(0)
    feed(fold, [("A", "{}"), ("B", "{}")])
    feed(fold, [("C", "{}")])
    fold.caught_up()
    assert symbols(fold) == {"C"}


KEYS = st.sampled_from(["A", "B", "C"])
STREAM = st.lists(st.tuples(KEYS, st.sampled_from(["{}", '{"priority":1}', BAD, None])), max_size=25)


@given(STREAM, st.randoms(use_true_random=False))
def test_a_compacted_topic_gives_the_same_but_for_what_only_its_lost_records_said(
    stream: list[tuple[str, str | None]], chance: random.Random
) -> None:
    whole, compacted = folded(*stream), Fold(0)
    newest = {key: offset for offset, (key, _) in enumerate(stream)}
    for offset, pair in enumerate(stream):
        if newest[pair[0]] == offset or chance.random() < 0.5:
            feed(compacted, [pair], offset)
    compacted.caught_up()
    spoiled = set(whole.invalid)
    for symbol in {"A", "B", "C"} - spoiled:
        assert whole.desired().wanted.get(symbol) == compacted.desired().wanted.get(symbol)
    assert set(compacted.invalid) == spoiled


@given(STREAM, STREAM)
def test_nothing_leaves_during_a_reading_and_afterwards_it_is_as_if_read_for_the_first_time(
    before: list[tuple[str, str | None]], after: list[tuple[str, str | None]]
) -> None:
    fold = folded(*before)
    shown = symbols(fold)
    fold.begin_reread()
    for offset, pair in enumerate(after):
        feed(fold, [pair], offset)
        assert symbols(fold) == shown
    fold.caught_up()
    anew = folded(*after)
    kept = {symbol for symbol in anew.invalid if symbol in shown} if after else shown
    assert symbols(anew) <= symbols(fold) <= symbols(anew) | kept
