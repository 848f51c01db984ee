"""Files of subscriptions: what they say, and everything that is wrong with them at once."""

import pytest

from bridge.cli.files import MAX_CHARACTERS, Format, parse, sniff
from bridge.errors import SettingsError
from bridge.model import Subscription


def read(text: str, name: str = "f.yaml") -> dict[str, Subscription]:
    return parse(text.encode(), name)


def faults(content: str | bytes, name: str = "f.yaml") -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(content.encode() if isinstance(content, str) else content, name)
    return caught.value.lines


EVERYTHING = Subscription("A", "700.HK", -5, 1.5, False, "desk", "é, b")


def test_yaml_holds_every_field_and_what_it_leaves_out_has_its_default() -> None:
    fields = "{code: 700.HK, priority: -5, stale_after_s: 1.5, enabled: false, owner: desk, note: 'é, b'}"
    text = f"subscriptions:\n  A: {fields}\n  B: {{}}\n  C:\n"
    assert read(text) == {"A": EVERYTHING, "B": Subscription("B"), "C": Subscription("C")}


def test_csv_holds_every_field_and_an_empty_cell_is_the_default() -> None:
    header = "symbol,code,priority,stale_after_s,enabled,owner,note"
    text = f'\ufeff{header}\r\nA,700.HK,-5,1.5,FALSE,desk,"é, b"\r\n\r\nB,,,,,,\r\n'
    assert read(text, "f.csv") == {"A": EVERYTHING, "B": Subscription("B")}


def test_csv_columns_may_be_left_out_and_stand_in_any_order() -> None:
    assert read("priority,symbol\n5,A\n", "f.csv") == {"A": Subscription("A", priority=5)}


@pytest.mark.parametrize("between", [";", "\t"])
def test_csv_is_taken_as_a_spreadsheet_of_any_country_writes_it(between: str) -> None:
    header = ("symbol", "code", "priority", "stale_after_s", "enabled", "owner", "note")
    row = ("A", "700.HK", "-5", "1.5", "FALSE", "desk", '"é, b"')
    text = f"{between.join(header)}\r\n{between.join(row)}\r\n"
    assert read(text, "f.csv") == {"A": EVERYTHING}
    assert sniff("-", text) is Format.CSV


def test_a_note_may_hold_what_stands_between_the_cells_elsewhere() -> None:
    assert read("symbol,note\nA,x; y\n", "f.csv") == {"A": Subscription("A", note="x; y")}
    assert read('symbol;note\nA;"x; y, z"\n', "f.csv") == {"A": Subscription("A", note="x; y, z")}


def test_a_tab_in_yaml_is_named_as_one() -> None:
    assert faults("subscriptions:\n\tA: {}\n") == (
        "f.yaml, line 2: has a tab, which YAML does not take there; write blanks instead",
    )


@pytest.mark.parametrize("symbol", ["ON", "NO", "00700", "1e3", "HKEX:00700", ".DJI.US", "null"])
def test_a_symbol_is_taken_as_it_is_spelled(symbol: str) -> None:
    assert list(read(f"subscriptions: {{{symbol}: {{}}}}")) == [symbol]


def test_the_order_is_the_files() -> None:
    assert list(read("subscriptions: {B: {}, A: {}}")) == ["B", "A"]


def test_yaml_may_share_fields_by_anchors() -> None:
    text = "subscriptions:\n  A: &desk {owner: desk}\n  B: {<<: *desk, priority: 1}\n"
    assert read(text)["B"] == Subscription("B", priority=1, owner="desk")


@pytest.mark.parametrize("text", ["subscriptions: {}", "subscriptions:\n"])
def test_a_file_may_ask_for_nothing_if_it_says_so(text: str) -> None:
    assert read(text) == {}


def test_a_header_alone_asks_for_nothing() -> None:
    assert read("symbol\n", "f.csv") == {}


def test_everything_that_is_wrong_is_told_at_once_with_its_line_symbol_field_and_remedy() -> None:
    found = faults(
        "subscriptions:\n"
        "  AAPL.US: {priority: high, owner: 7}\n"
        "  A B: {prio: 5}\n"
        "  AAPL.US: {}\n"
        "  MSFT.US: {code: '7 HK', stale_after_s: .nan, enabled: 'yes', note: [x]}\n"
    )
    assert [line.partition(";")[0] for line in found] == [
        "f.yaml, line 2: AAPL.US: priority is 'high'",
        "f.yaml, line 2: AAPL.US: owner is 7",
        "f.yaml, line 3: the symbol 'A B' holds white space",
        "f.yaml, line 3: A B: no field is called 'prio', did you mean priority?",
        "f.yaml, line 4: 'AAPL.US' is given twice, first in line 2",
        "f.yaml, line 5: MSFT.US: code '7 HK' holds white space",
        "f.yaml, line 5: MSFT.US: stale_after_s is nan",
        "f.yaml, line 5: MSFT.US: enabled is 'yes'",
        "f.yaml, line 5: MSFT.US: note is a list",
    ]
    assert all(";" in line for line in found), "a remedy is missing"


def test_csv_is_as_outspoken() -> None:
    found = faults("symbol,priority,enabled\nAAPL.US,1.5,maybe\nAAPL.US,1,true\nMSFT.US,1\n,1,true\n", "f.csv")
    assert [line.partition(";")[0] for line in found] == [
        "f.csv, line 2: AAPL.US: priority is '1.5'",
        "f.csv, line 2: AAPL.US: enabled is 'maybe'",
        "f.csv, line 3: 'AAPL.US' is given twice, first in line 2",
        "f.csv, line 4: has 2 cells, and the header has 3",
        "f.csv, line 5: the symbol is empty",
    ]


BAD = [
    ("", "f.yaml: is empty; if nothing is to be subscribed to, write `subscriptions: {}`"),
    (" \n", "is empty"),
    (b"subscriptions:\n  \xff: {}\n", "f.yaml, line 2: is not UTF-8"),
    ("subscriptions: [A, B]", "line 1: `subscriptions` must be a mapping"),
    ("- A\n", "must be a mapping"),
    ("A: {}\n", "line 1: 'A' is not known at the top"),
    ("subscription: {}\n", "has no `subscriptions`"),
    ("subscriptions: {A: 5}", "'A' must have a mapping, as in {priority: 5}, or {}"),
    ("subscriptions: {A: {priority: 1, priority: 2}}", "'priority' is given twice"),
    ("subscriptions: {? [A] : {}}", "a symbol must be text"),
    ("subscriptions: {A: {}", "line 2: is not valid YAML"),
    ("subscriptions: {A: !!python/object:os.system {}}", "is not valid YAML"),
    ("subscriptions: {A: {note: 2026-01-01}}", "note is datetime.date(2026, 1, 1); give text; in quotes"),
    ('subscriptions: {A: {note: "\\ud800"}}', "line 1: is not valid YAML"),
    ("subscriptions: {A: {priority: 2147483648}}", "priority is 2147483648"),
    ("subscriptions: {A: {stale_after_s: 0}}", "stale_after_s is 0; give a number of seconds above 0"),
    ("subscriptions: {A: {note: " + "x" * 70_000 + "}}", "A: key and value have"),
    ("subscriptions: {A: {note: " + "[" * 5000 + "]" * 5000 + "}}", ""),
    (b"#" * (MAX_CHARACTERS + 1), "bytes;"),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_a_file_that_cannot_be_is_refused_with_a_sentence(content: str | bytes, said: str) -> None:
    assert said in "\n".join(faults(content))


BAD_CSV = [
    ("name,priority\nA,1\n", "the header has no column symbol"),
    ("symbol,prio\nA,1\n", "no column is called 'prio', did you mean priority?"),
    ("symbol,symbol\nA,B\n", "the column symbol is there twice"),
    ("symbol|priority\nA|1\n", "the header has no column symbol"),
    ('symbol,note\nA,"x\n', "is not valid CSV"),
    ("symbol,stale_after_s\nA,inf\n", "stale_after_s is inf"),
]


@pytest.mark.parametrize(("content", "said"), BAD_CSV)
def test_csv_that_cannot_be_is_refused_with_a_sentence(content: str, said: str) -> None:
    assert said in "\n".join(faults(content, "f.csv"))


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.CSV", "subscriptions: {}", Format.CSV),
        ("a.yml", "symbol,code", Format.YAML),
        ("a.json", "symbol,code", Format.YAML),
        ("standard input", "\nsymbol,code\n", Format.CSV),
        ("standard input", "symbol\nA\n", Format.CSV),
        ("standard input", "priority,symbol\n", Format.CSV),
        ("standard input", "# symbol, code\nsubscriptions: {}", Format.YAML),
        ("standard input", '{"subscriptions": {}}', Format.YAML),
    ],
)
def test_the_format_follows_from_the_name_else_from_the_first_line(name: str, text: str, form: Format) -> None:
    assert sniff(name, text) is form


def test_a_format_that_is_given_wins() -> None:
    assert list(parse(b"symbol\nA\n", "list.yaml", Format.CSV)) == ["A"]
