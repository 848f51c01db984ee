"""What the commands share when they show something."""

import json

import pytest
import yaml

from bridge.cli.tables import Output, age, count, printable, written
from bridge.model import State


def test_json_and_yaml_say_the_same() -> None:
    result = {"b": ("é", State.LIVE), "a": None, "c": {"x": 1.5}}
    expected = {"b": ["é", "live"], "a": None, "c": {"x": 1.5}}
    assert json.loads(written(Output.JSON, result)) == expected
    text = written(Output.YAML, result)
    assert yaml.safe_load(text) == expected
    assert text.startswith("b:\n- é\n")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (172_800, "2 d")],
)
def test_an_age_is_told_by_its_largest_unit(seconds: float, said: str) -> None:
    assert age(seconds) == said


def test_things_are_counted_in_words() -> None:
    assert (count(1, "row"), count(3000, "row"), count(0, "address", "addresses")) == (
        "1 row",
        "3,000 rows",
        "0 addresses",
    )


def test_what_could_command_a_terminal_is_spelled_out() -> None:
    assert printable("a\x1b[2J\u202eé") == "a\\x1b[2J\\u202eé"
