"""The switch table: types, bounds, text, and all-or-nothing updates."""

import pytest

from bridge.simulator import SwitchError, Switches
from bridge.simulator.switches import parse_assignments, table


def test_every_switch_has_help_and_says_what_it_takes() -> None:
    rows = table()
    assert {row.name for row in rows} == set(Switches().as_dict())
    assert all(row.help and row.takes for row in rows)


def test_every_default_can_be_given_as_the_text_it_is_shown_as() -> None:
    assignments = parse_assignments([f"{row.name}={row.default}" for row in table()])
    switches = Switches()
    switches.update(**assignments)
    assert switches.as_dict() == Switches().as_dict()


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("mute=true", "mute", True),
        ("mute = 1", "mute", True),
        ("duplicates=0.25", "duplicates", 0.25),
        ("rate=5", "rate", 5.0),
        ("drop_acks=2", "drop_acks", 2),
        ("refused=clear", "refused", "clear"),
        ("refuse_upgrades=503", "refuse_upgrades", 503),
        ("tokens=a, b,", "tokens", frozenset({"a", "b"})),
        ("tokens=", "tokens", frozenset()),
    ],
)
def test_text_becomes_the_switch_s_own_type(text: str, name: str, value: object) -> None:
    assert parse_assignments([text]) == {name: value}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mute", "is not switch=value"),
        ("mutex=true", "there is no switch 'mutex'; did you mean mute"),
        ("rat=1", "there is no switch 'rat'; did you mean rate"),
        ("zzz=1", "there is no switch 'zzz'; the switches are "),
        ("mute=perhaps", "mute takes true | false, not 'perhaps'"),
        ("duplicates=1.5", r"duplicates takes number 0..1, not '1.5'"),
        ("rate=-1", "rate takes number >= 0, not '-1'"),
        ("refused=maybe", "refused takes keep | clear | skip, not 'maybe'"),
    ],
)
def test_text_that_a_switch_does_not_take_is_named_with_what_it_takes(text: str, complaint: str) -> None:
    with pytest.raises(SwitchError, match=complaint.replace("|", r"\|").replace("..", r"\.\.")):
        parse_assignments([text])


def test_a_value_is_checked_when_it_is_assigned() -> None:
    switches = Switches()
    with pytest.raises(SwitchError, match="duplicates"):
        switches.duplicates = 2.0
    with pytest.raises(SwitchError, match="mute"):
        switches.mute = 1  # type: ignore[assignment]
    assert switches.duplicates == 0.0


def test_an_update_with_one_bad_value_changes_nothing() -> None:
    switches = Switches()
    with pytest.raises(SwitchError):
        switches.update(mute=True, duplicates=7)
    assert switches.mute is False


def test_a_listener_hears_of_every_change_once() -> None:
    switches, heard = Switches(), list[bool]()
    switches.on_change(lambda: heard.append(switches.mute))
    switches.mute = True
    switches.update(mute=False, rate=1)
    switches.on_change(None)
    switches.mute = True
    assert heard == [True, False]


def test_drop_acks_counts_down_and_next_ret_is_used_once() -> None:
    switches = Switches(drop_acks=2, next_ret=603)
    assert [switches.take("drop_acks") for _ in range(3)] == [2, 1, 0]
    assert [switches.take("next_ret") for _ in range(2)] == [603, 0]


def test_a_copy_is_independent_and_hears_nobody() -> None:
    switches = Switches(tokens=frozenset({"x"}), mute=True)
    switches.on_change(lambda: pytest.fail("the copy reached the original's listener"))
    copy = switches.copy()
    copy.mute = False
    assert (switches.mute, copy.tokens) == (True, frozenset({"x"}))
