"""What is said of records that were there already."""

from bridge.cli.plan import Standing
from bridge.cli.replacing import left_out, told
from bridge.model import Subscription

FORMER = {
    "A": Standing(Subscription("A", code="AAPL.US", priority=5, owner="desk")),
    "B": Standing(Subscription("B")),
    "BAD": Standing(None, "not_json: the value is no JSON\x1b[2J"),
}


def test_a_record_is_added_changed_or_as_it_was() -> None:
    assert told(Subscription("NEW"), FORMER) == "added NEW"
    assert told(Subscription("A"), FORMER) == 'changed A, was {"code":"AAPL.US","priority":5,"owner":"desk"}'
    assert told(Subscription("B"), FORMER) == "unchanged B"


def test_one_that_was_unusable_says_why_and_cannot_command_a_terminal() -> None:
    assert told(Subscription("BAD"), FORMER) == r"changed BAD, was unusable (not_json: the value is no JSON\x1b[2J)"


def test_where_nobody_may_look_a_record_is_just_written() -> None:
    assert told(Subscription("A"), None) == "written A"


def test_what_the_new_record_leaves_out_is_warned_of_and_what_it_changes_is_not() -> None:
    new = Subscription("A", priority=7)
    assert list(left_out([new, Subscription("B"), Subscription("NEW")], FORMER)) == [
        "A: left out code, owner, which the former record had; nothing of it is kept"
    ]


def test_many_symbols_make_one_warning() -> None:
    former = {f"S{number}": Standing(Subscription(f"S{number}", owner="desk")) for number in range(3000)}
    (warning,) = left_out([Subscription(symbol) for symbol in former], former)
    assert warning.startswith("S0, S1, S2, S3, S4 and 2,995 more: left out owner,")
