"""The plan that makes the control topic equal to a file."""

import pytest

from bridge.cli.plan import Plan, compare, standing
from bridge.control.desired import Fold
from bridge.model import Subscription

Record = tuple[str, str | None]


def fold(*records: Record, partition: int = 0) -> Fold:
    made = Fold(partition)
    for offset, (key, value) in enumerate(records):
        made.apply(offset, key.encode(), None if value is None else value.encode())
    made.caught_up()
    return made


def plan(records: list[Record], *wanted: Subscription, prune: bool = False) -> Plan:
    return compare(standing([fold(*records)]), {one.symbol: one for one in wanted}, prune=prune)


def test_what_only_the_file_has_is_added_in_the_order_of_symbols() -> None:
    assert [one.symbol for one in plan([], Subscription("B"), Subscription("A")).added] == ["A", "B"]


def test_what_both_have_alike_is_left_as_it_is_however_it_was_written() -> None:
    made = plan([("A", '{"priority":0,"enabled":true,"x":1}'), ("B", '{"priority":5.0}')],
                Subscription("A"), Subscription("B", priority=5))  # fmt: skip
    assert (made.records, made.unchanged, made.differs) == (0, 2, False)


def test_a_change_tells_each_field_old_and_new() -> None:
    (change,) = plan([("A", '{"priority":5,"enabled":false,"note":"x"}')], Subscription("A", stale_after_s=1.5)).changed
    assert change.differences == (
        ("priority", "5", "0"),
        ("stale_after_s", "(none)", "1.5"),
        ("enabled", "false", "true"),
        ("note", "x", "(none)"),
    )


def test_a_record_that_cannot_be_used_is_written_anew_even_where_an_older_one_says_the_same() -> None:
    (change,) = plan([("A", "{}"), ("A", "{")], Subscription("A")).changed
    ((field, old, new),) = change.differences
    assert (field, new) == ("record", "usable")
    assert "not_json" in old


def test_what_only_the_topic_has_is_left_alone_and_is_a_difference() -> None:
    made = plan([("B", "{}"), ("A", "{}"), ("C", None)])
    assert (made.left_alone, made.records, made.differs) == (("A", "B"), 0, True)


def test_with_prune_it_is_removed_after_everything_else_whatever_its_partition() -> None:
    held = standing([fold(("A", "{}")), fold(("B", "{"), partition=2)])
    made = compare(held, {"C": Subscription("C", priority=1)}, prune=True)
    assert (made.removed, made.left_alone) == (("A", "B"), ())
    assert made.writes() == [(b"C", b'{"priority":1}'), (b"A", None), (b"B", None)]


def many(number: int) -> list[Record]:
    return [(f"S{n}", "{}") for n in range(number)]


@pytest.mark.parametrize(("held", "kept", "warned"), [(20, 9, True), (20, 10, False), (19, 0, False), (100, 49, True)])
def test_ending_more_than_half_of_at_least_twenty_is_worth_a_warning(held: int, kept: int, warned: bool) -> None:
    made = plan(many(held), *(Subscription(f"S{n}") for n in range(kept)), prune=True)
    assert bool(made.warnings) is warned


def test_disabling_ends_a_subscription_too_and_leaving_alone_does_not() -> None:
    disabled = [Subscription(f"S{n}", enabled=False) for n in range(15)]
    assert plan(many(20), *disabled).warnings == (
        "this ends 15 of 20 subscriptions, more than half; is it the right file?",
    )
    assert plan(many(20)).warnings == ()
