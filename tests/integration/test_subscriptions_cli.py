"""`tickbridge subscriptions` and `tickbridge topics`, as an operator runs them, on a real broker."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.errors import EXIT_KAFKA, EXIT_OK, EXIT_SETTINGS
from tests.support.kafka import Cluster, unique
from tests.unit.test_schemas import accepts

NOWHERE = Cluster("127.0.0.1:1")


class Operator:
    """Somebody at a terminal with nothing set but where Kafka is and what the topic is called."""

    def __init__(self, kafka: Cluster, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic
        self.environment = {
            "TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "TICKBRIDGE_TOPICS__SUBSCRIPTIONS": topic,
        }

    def types(self, *words: str) -> Result:
        return CliRunner().invoke(app, words, env=self.environment)

    def does(self, *words: str) -> str:
        result = self.types("subscriptions", *words)
        assert result.exit_code == EXIT_OK, result.output
        return result.stdout

    def sees(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.does("list", "-o", "json"))
        return {row["symbol"]: row for row in rows}

    def written(self) -> list[tuple[str, str | None]]:
        records = self.kafka.read_all(self.topic)
        return [((one.key or b"").decode(), None if one.value is None else one.value.decode()) for one in records]


@pytest.fixture
def operator(kafka: Cluster) -> Operator:
    return Operator(kafka, kafka.create_topic(unique("control"), 1, {"cleanup.policy": "compact"}))


@pytest.fixture
def offline() -> Operator:
    return Operator(NOWHERE, "control")


def test_what_is_added_is_listed_and_what_is_removed_is_not(operator: Operator) -> None:
    assert operator.does("add", "AAPL.US", "HKEX:00700") == "added AAPL.US\nadded HKEX:00700\n"
    assert set(operator.sees()) == {"AAPL.US", "HKEX:00700"}
    assert operator.does("remove", "AAPL.US") == "removed AAPL.US\n"
    assert set(operator.sees()) == {"HKEX:00700"}
    assert operator.written() == [("AAPL.US", "{}"), ("HKEX:00700", "{}"), ("AAPL.US", None)]


def test_every_option_reaches_the_record_and_defaults_do_not(operator: Operator) -> None:
    words = ["--code", "700.HK", "--priority", "-5", "--stale-after", "1.5", "--owner", "desk", "--note", "é [b]x[/b]"]
    operator.does("add", "TENCENT", *words, "--disabled")
    value = json.loads(operator.written()[0][1] or "")
    assert value == {
        "code": "700.HK",
        "priority": -5,
        "stale_after_s": 1.5,
        "enabled": False,
        "owner": "desk",
        "note": "é [b]x[/b]",
    }
    assert accepts("control", value)
    row = operator.sees()["TENCENT"]
    assert {name: row[name] for name in value} == value
    assert (row["partition"], row["offset"], row["problem"], row["warnings"]) == (0, 0, None, [])


def test_the_list_shows_what_cannot_be_used_and_cannot_be_made_to_command_a_terminal(operator: Operator) -> None:
    operator.kafka.produce(
        operator.topic,
        [("A", '{"priority":7}'), ("A", "{"), ("two words", "{}"), ("B", '{"prio":1,"owner":"\\u001b[2J[red]x"}')],
    )
    seen = operator.sees()
    assert seen["A"]["priority"] == 7
    assert seen["A"]["offset"] == 1
    assert (seen["A"]["problem"]["reason"], seen["A"]["problem"]["older_record_in_force"]) == ("not_json", True)
    assert (seen["two words"]["problem"]["reason"], seen["two words"]["priority"]) == ("bad_symbol", None)
    assert seen["B"]["warnings"] == ["unknown field 'prio'"]
    table = operator.does("list")
    assert "3 symbols, 2 with an unusable record" in table
    assert "\x1b[2J" not in table
    assert "\\x1b[2J[red]x" in table


def test_a_record_that_cannot_be_used_can_be_removed(operator: Operator) -> None:
    operator.kafka.produce(operator.topic, [("two words", "{}")])
    operator.does("remove", "two words")
    assert operator.sees() == {}


def test_removing_what_is_not_there_writes_nothing_and_helps(operator: Operator) -> None:
    operator.does("add", "AAPL.US", "700.HK")
    result = operator.types("subscriptions", "remove", "700.HK", "AAPL.SU")
    assert result.exit_code == EXIT_SETTINGS
    assert "'AAPL.SU' has no record" in result.stderr
    assert "did you mean 'AAPL.US'?" in result.stderr
    assert set(operator.sees()) == {"AAPL.US", "700.HK"}


def test_records_in_a_partition_where_they_do_not_count_are_told_of_and_not_listed(kafka: Cluster) -> None:
    operator = Operator(kafka, kafka.create_topic(unique("control"), 3, {"cleanup.policy": "compact"}))
    for partition in range(3):
        kafka.produce(operator.topic, [("A", "{}")], partition=partition)
    result = operator.types("subscriptions", "list", "-o", "json")
    assert [row["symbol"] for row in json.loads(result.stdout)] == ["A"]
    assert result.stderr.count("has records that belong to another and do not count") == 2
    operator.does("remove", "A")
    assert operator.sees() == {}


def test_what_is_removed_with_yes_bears_the_operators_word_and_what_is_not_confirmed_does_not(
    operator: Operator,
) -> None:
    operator.does("add", "A", "B", "C", "D")
    operator.does("remove", "A", "B")
    operator.does("remove", "C", "D", "--yes")
    headers = {record.key: record.headers for record in operator.kafka.read_all(operator.topic) if record.value is None}
    confirmed = (("tickbridge-confirm", b"true"),)
    assert headers == {b"A": (), b"B": (), b"C": confirmed, b"D": confirmed}


def test_keys_are_spread_as_java_clients_spread_them(kafka: Cluster) -> None:
    operator = Operator(kafka, kafka.create_topic(unique("control"), 5, {"cleanup.policy": "compact"}))
    symbols = [f"S{number}" for number in range(20)]
    operator.does("add", *symbols)
    twin = kafka.create_topic(unique("twin"), 5)
    expected = dict(zip(symbols, kafka.produce(twin, [(symbol, "{}") for symbol in symbols]), strict=True))
    assert {symbol: row["partition"] for symbol, row in operator.sees().items()} == {
        symbol: partition for symbol, (partition, _) in expected.items()
    }


def test_an_empty_topic_says_how_to_begin(operator: Operator) -> None:
    result = operator.types("subscriptions", "list")
    assert (result.exit_code, result.stdout) == (EXIT_OK, "")
    assert "subscriptions add" in result.stderr
    assert operator.sees() == {}


BAD: list[tuple[Sequence[str], str]] = [
    (["AAPL.US "], "SYMBOL 'AAPL.US ' holds white space; write it without"),
    (["AA PL"], "SYMBOL 'AA PL' holds white space"),
    (["AAPL.US", "A:B:C"], "SYMBOL 'A:B:C' cannot be"),
    ([""], "SYMBOL is empty"),
    (["A" * 65], "has 65 characters; 64 may be"),
    (["A\udcff"], "SYMBOL 'A\\udcff' cannot be"),
    (["AAPL.US", "AAPL.US"], "'AAPL.US' is given twice"),
    (["A", "--code", "7 HK"], "--code '7 HK' holds white space"),
    (["A", "--code", ""], "--code is empty"),
    (["A", "B", "--code", "C"], "--code C is one symbol's"),
    (["A", "--stale-after", "0"], "--stale-after 0: give a number of seconds above 0"),
    (["A", "--stale-after", "nan"], "--stale-after nan"),
    (["A", "--stale-after", "soon"], "'--stale-after'"),
    (["A", "--priority", "2147483648"], "2147483647"),
    (["A", "--priority", "high"], "'--priority'"),
    (["A", "--note", "x" * 70_000], "A: key and value have"),
    (["A", "--note", "\udcff"], "is no text in UTF-8"),
    ([], "SYMBOL"),
]


@pytest.mark.parametrize(("words", "said"), BAD)
def test_bad_input_is_refused_by_name_before_kafka_is_asked(offline: Operator, words: list[str], said: str) -> None:
    result = offline.types("subscriptions", "add", *words)
    assert result.exit_code == EXIT_SETTINGS
    assert said in result.stderr


def test_without_kafkas_address_it_says_which_setting_is_missing() -> None:
    for words in (["subscriptions", "list"], ["topics", "ensure"], ["subscriptions", "add", "A"]):
        result = CliRunner().invoke(app, words, env={"TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS": None})
        assert result.exit_code == EXIT_SETTINGS
        assert "TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS" in result.stderr


@pytest.mark.parametrize("words", [["add", "A"], ["remove", "A"], ["list"]])
def test_a_missing_topic_is_named_with_its_remedy(kafka: Cluster, words: list[str]) -> None:
    operator = Operator(kafka, unique("nowhere"))
    result = operator.types("subscriptions", *words)
    assert result.exit_code == EXIT_KAFKA
    assert operator.topic in result.stderr
    assert "topics ensure" in result.stderr


def test_topics_are_made_and_reported_as_a_table_and_as_json(kafka: Cluster) -> None:
    operator = Operator(kafka, unique("control"))
    kinds = ("SUBSCRIPTIONS", "TICKS", "STATUS", "GAPS", "DEAD_LETTERS", "STATE")
    operator.environment |= {f"TICKBRIDGE_TOPICS__{kind}": unique(kind) for kind in kinds}
    made = operator.types("topics", "ensure", "-o", "json")
    assert made.exit_code == EXIT_OK
    reports = json.loads(made.stdout)
    assert [report["outcome"] for report in reports] == ["created"] * 6
    again = operator.types("topics", "ensure")
    assert again.exit_code == EXIT_OK
    assert again.stdout.count("exists") == 6
    assert all(report["name"] in again.stdout for report in reports)


@pytest.mark.parametrize("words", [["add", "A"], ["remove", "A"], ["list"]])
def test_a_kafka_out_of_reach_is_exit_3_with_a_remedy_and_soon(
    offline: Operator, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("bridge.cli.stream.LOOK_S", 1.0)
    result = offline.types("subscriptions", *words)
    assert result.exit_code == EXIT_KAFKA
    assert "KAFKA__BOOTSTRAP_SERVERS" in result.stderr


@pytest.mark.parametrize(
    "words", [["subscriptions", each] for each in ("add", "remove", "list")] + [["topics", "ensure"]]
)
def test_help_has_examples(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == EXIT_OK
    assert "Examples:" in result.stdout
    assert f"tickbridge {words[0]} {words[1]}" in result.stdout
