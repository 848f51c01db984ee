"""The schemas are valid, accept what is good and refuse each kind of what is not."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bridge import schemas
from bridge.control import records
from bridge.control.murmur2 import partition_of
from bridge.errors import BadRecord
from bridge.model import Interrupted, Missed, Resumed, State, SymbolState, Truth
from bridge.publish import notices
from bridge.publish.gaps import GapBook
from bridge.publish.statuses import StatusBook
from bridge.ticks.normalise import Normaliser
from bridge.ticks.symbols import Symbols

TICK = {
    "v": 1,
    "venue": "alltick",
    "symbol": "HKEX:00700",
    "code": "700.HK",
    "price": "512.500000",
    "volume": "300",
    "turnover": "153750.000000",
    "side": "buy",
    "seq": "1001",
    "ts_event_us": 1790000000123000,
    "ts_recv_us": 1790000000298114,
    "session": 1789999876543210,
}
STATUS = {
    "v": 1,
    "bridge": "tickbridge",
    "symbol": "HKEX:00700",
    "code": "700.HK",
    "state": "live",
    "reason": "",
    "detail": "",
    "since_us": 1790000000298114,
    "last_tick_us": 1790000000298114,
    "control_partition": 0,
    "control_offset": 17,
    "effective": {"priority": 5},
    "effective_state": "rejected",
    "effective_reason": "venue_600",
    "session": 1789999876543210,
    "instance": "tickbridge-0",
    "warnings": ["unknown field 'prio'"],
}
CONTROL = {"code": "700.HK", "priority": 5, "stale_after_s": 0.5, "enabled": True, "owner": "desk", "note": "why"}
GAP = {
    "v": 1,
    "id": "tickbridge-0:1789999876543210:HKEX:00700",
    "bridge": "tickbridge",
    "symbol": "HKEX:00700",
    "code": "700.HK",
    "from_us": 1790000000298114,
    "to_us": 1790000003871902,
    "cause": "disconnect",
    "session_before": 1789999876543210,
    "session_after": 1790000003412077,
    "lost": 17,
    "last_seq": "1001",
    "first_seq": "1019",
}
STATE = {
    "v": 1,
    "bridge": "tickbridge",
    "partition": 0,
    "session": 1789999876543210,
    "safe_us": 1790000000298114,
    "last_frame_us": 1790000000301557,
    "instance": "tickbridge-0",
    "written_us": 1790000000500000,
    "ended": "stop",
    "set_aside": 7,
    "set_aside_symbols": 9,
    "open": [{"cause": "stop", "from_us": 1790000000301557, "session_before": 17, "symbols": ["AAPL.US"]}],
}
HEADERS = {
    "tickbridge-reason": "wrong_type",
    "tickbridge-topic": "market-data.subscriptions",
    "tickbridge-partition": "0",
    "tickbridge-offset": "18",
}
WHOLE: dict[str, dict[str, Any]] = {
    "control": CONTROL,
    "tick": TICK,
    "status": STATUS,
    "gap": GAP,
    "state": STATE,
    "dead-letter-headers": HEADERS,
}

NEEDED = {
    "tick": ("v", "venue", "symbol", "code", "price", "ts_recv_us", "session"),
    "status": ("v", "bridge", "symbol", "state", "since_us"),
    "gap": ("v", "id", "bridge", "symbol", "from_us", "cause"),
    "state": ("v", "bridge", "partition", "safe_us", "instance", "written_us"),
    "dead-letter-headers": tuple(HEADERS),
}
REQUIRED = [(name, field) for name, fields in NEEDED.items() for field in fields]

BAD: list[tuple[str, str, Any]] = [
    ("control", "code", ""),
    ("control", "code", None),
    ("control", "code", "AAPL US"),
    ("control", "code", "AAPL.US\n"),
    ("control", "code", "A" * 65),
    ("control", "code", "A:B:C"),
    ("control", "code", "..."),
    ("control", "priority", "5"),
    ("control", "priority", 5.5),
    ("control", "priority", True),
    ("control", "priority", 2**31),
    ("control", "stale_after_s", 0),
    ("control", "stale_after_s", -1),
    ("control", "stale_after_s", "60"),
    ("control", "stale_after_s", False),
    ("control", "enabled", 1),
    ("control", "owner", 7),
    ("control", "note", ["why"]),
    ("tick", "v", 2),
    ("tick", "v", "1"),
    ("tick", "venue", ""),
    ("tick", "symbol", "00700 HK"),
    ("tick", "code", 700),
    ("tick", "price", 512.5),
    ("tick", "price", "0.00"),
    ("tick", "price", "-1"),
    ("tick", "price", "5,1"),
    ("tick", "price", "1e3"),
    ("tick", "price", "1.5\n"),
    ("tick", "volume", 300),
    ("tick", "volume", "a lot"),
    ("tick", "turnover", ""),
    ("tick", "open_24h", "NaN"),
    ("tick", "side", 1),
    ("tick", "side", "long"),
    ("tick", "seq", 1001),
    ("tick", "ts_event_us", 1790000000123),
    ("tick", "ts_event_us", 1790000000123000.5),
    ("tick", "ts_recv_us", "1790000000298114"),
    ("tick", "ts_recv_us", 2**53),
    ("tick", "session", 0),
    ("status", "v", 0),
    ("status", "bridge", "two words"),
    ("status", "symbol", 700),
    ("status", "code", None),
    ("status", "state", "subscribed"),
    ("status", "reason", None),
    ("status", "since_us", -1),
    ("status", "last_tick_us", 1.5),
    ("status", "control_partition", -1),
    ("status", "control_offset", "17"),
    ("status", "effective", {"priority": "high"}),
    ("status", "effective", []),
    ("status", "effective_state", "invalid"),
    ("status", "effective_reason", ""),
    ("status", "session", "1"),
    ("status", "instance", 0),
    ("status", "warnings", "one"),
    ("status", "warnings", [1]),
    ("gap", "v", 2),
    ("gap", "id", ""),
    ("gap", "id", 7),
    ("gap", "bridge", ""),
    ("gap", "symbol", "00700 HK"),
    ("gap", "code", ""),
    ("gap", "from_us", "1790000000298114"),
    ("gap", "from_us", -1),
    ("gap", "to_us", None),
    ("gap", "to_us", 1.5),
    ("gap", "cause", "maintenance"),
    ("gap", "cause", ""),
    ("gap", "session_before", 0),
    ("gap", "session_after", "1"),
    ("gap", "lost", 0),
    ("gap", "lost", 1.5),
    ("gap", "last_seq", 1001),
    ("gap", "first_seq", ""),
    ("state", "v", 0),
    ("state", "bridge", "two words"),
    ("state", "partition", -1),
    ("state", "partition", "0"),
    ("state", "session", 0),
    ("state", "safe_us", None),
    ("state", "safe_us", -1),
    ("state", "ended", "tired"),
    ("state", "open", [{"cause": "stop"}]),
    ("state", "last_frame_us", 2**53),
    ("state", "instance", ""),
    ("state", "written_us", 1.5),
    ("dead-letter-headers", "tickbridge-reason", ""),
    ("dead-letter-headers", "tickbridge-reason", "Not JSON"),
    ("dead-letter-headers", "tickbridge-topic", "two words"),
    ("dead-letter-headers", "tickbridge-partition", 0),
    ("dead-letter-headers", "tickbridge-partition", "-1"),
    ("dead-letter-headers", "tickbridge-offset", "018"),
    ("dead-letter-headers", "tickbridge-offset", "18\n"),
]


@cache
def validator(name: str) -> Draft202012Validator:
    documents = [schemas.load(each) for each in schemas.names()]
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Resource.from_contents(document)) for document in documents
    )
    return Draft202012Validator(schemas.load(name), registry=registry)


def accepts(name: str, value: object) -> bool:
    return bool(validator(name).is_valid(value))


def problems(name: str, value: object) -> list[str]:
    """Say what keeps a value from fitting a schema."""
    return [f"{name} {value}: {problem.message}" for problem in validator(name).iter_errors(value)]


def test_there_is_a_schema_for_each_format_that_is_written() -> None:
    assert set(schemas.names()) == set(WHOLE)


def test_a_schema_that_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        schemas.load("candle")


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_valid_draft_2020_12_with_a_title_and_a_description_of_every_field(name: str) -> None:
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    assert all(field["description"] for field in schema["properties"].values())


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_accepts_its_own_examples(name: str) -> None:
    examples = schemas.load(name)["examples"]
    assert examples
    assert all(accepts(name, example) for example in examples)


@pytest.mark.parametrize("name", schemas.names())
def test_a_record_with_every_field_is_accepted_and_so_is_a_field_of_the_future(name: str) -> None:
    assert set(WHOLE[name]) | {"open_24h"} >= set(schemas.load(name)["properties"])
    assert accepts(name, WHOLE[name])
    assert accepts(name, {**WHOLE[name], "field_of_the_future": {"any": "thing"}})


@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_a_record_without_a_required_field_is_refused(name: str, field: str) -> None:
    record = copy.copy(WHOLE[name])
    del record[field]
    assert not accepts(name, record)


def test_only_the_required_fields_are_required() -> None:
    for name, whole in WHOLE.items():
        assert accepts(name, {field: whole[field] for field in NEEDED.get(name, ())})


@pytest.mark.parametrize(("name", "field", "value"), BAD)
def test_a_field_that_cannot_be_is_refused(name: str, field: str, value: object) -> None:
    assert not accepts(name, {**WHOLE[name], field: value})


@pytest.mark.parametrize("value", [None, [], "", 1])
@pytest.mark.parametrize("name", schemas.names())
def test_only_an_object_is_a_record(name: str, value: object) -> None:
    assert not accepts(name, value)


@pytest.mark.parametrize("price", ["1", "0.000001", "512.500000", "00700", "12345678901234567890.5"])
def test_a_price_is_any_decimal_above_zero_in_the_venues_own_digits(price: str) -> None:
    assert accepts("tick", {**TICK, "price": price})


@pytest.mark.parametrize("cause", ["overflow", "undeliverable"])
def test_a_gap_whose_ticks_were_counted_says_how_many_are_lost(cause: str) -> None:
    assert accepts("gap", {**GAP, "cause": cause})
    assert not accepts("gap", {**{field: GAP[field] for field in NEEDED["gap"]}, "cause": cause})


def test_a_gap_is_open_until_it_has_an_end() -> None:
    assert accepts("gap", {field: value for field, value in GAP.items() if field not in ("to_us", "session_after")})


def test_a_state_before_the_first_connection_has_no_session_and_no_frame() -> None:
    assert accepts("state", {field: STATE[field] for field in NEEDED["state"]})


def test_every_state_and_cause_in_the_schemas_is_explained_in_its_description() -> None:
    for name, field in (("status", "state"), ("gap", "cause")):
        found = schemas.load(name)["properties"][field]
        assert found["enum"]
        assert all(f"{word}: " in found["description"] for word in found["enum"])


def test_the_states_of_the_schema_are_those_of_the_bridge() -> None:
    assert set(schemas.load("status")["properties"]["state"]["enum"]) == {str(state) for state in State}


def test_the_reasons_of_dead_letters_are_those_that_the_codec_gives() -> None:
    described = schemas.load("dead-letter-headers")["properties"]["tickbridge-reason"]["description"]
    given = re.findall(r'BadRecord\("(\w+)"', Path(records.__file__).read_text(encoding="utf-8"))
    assert given
    assert [reason for reason in given if reason not in re.findall(r"\w+", described)] == []


# The examples are what the code reads and writes, not what somebody thought that it does


def examples(name: str) -> list[dict[str, Any]]:
    return list(schemas.load(name)["examples"])


@pytest.mark.parametrize("example", examples("control"), ids=str)
def test_an_example_of_a_control_record_is_read_and_written_as_it_stands(example: dict[str, Any]) -> None:
    found = records.decode(b"AAPL.US", json.dumps(example).encode())
    assert found is not None
    assert not found.warnings
    assert json.loads(records.encode(found)[1]) == example


@dataclass(frozen=True)
class Pushed:
    """A tick as a dialect hands it on; what is left out the venue did not send."""

    code: str
    price: str
    volume: str | None = None
    turnover: str | None = None
    open_24h: str | None = None
    side: int | None = None
    seq: str | None = None
    time: str | None = None


@pytest.mark.parametrize("example", examples("tick"), ids=lambda one: str(one["symbol"]))
def test_an_example_of_a_tick_is_what_becomes_of_such_a_push(example: dict[str, Any]) -> None:
    sides: dict[int | str | None, str] = {1: "buy"}
    symbols = Symbols(example["venue"])
    symbols.desire({example["code"]: example["symbol"]})
    push = Pushed(
        **{name: example[name] for name in ("code", "price", "volume", "turnover", "seq") if name in example},
        side=1 if example.get("side") == "buy" else None,
        time=str(example["ts_event_us"] // 1000) if "ts_event_us" in example else None,
    )
    batch = Normaliser(sides, without_seq=True).batch([push], symbols, example["ts_recv_us"], example["session"])
    assert [json.loads(value) for _, value, _ in batch.records] == [example]


@pytest.mark.parametrize("example", examples("status"), ids=lambda one: str(one["state"]))
def test_an_example_of_a_status_is_what_is_written_of_such_a_symbol(example: dict[str, Any]) -> None:
    told = [example.get(name, "") for name in ("symbol", "code", "reason", "detail")]
    symbol, code, reason, detail = told
    row = SymbolState(symbol, code, State(example["state"]), reason, detail, example.get("last_tick_us", 0))
    place = example["control_partition"], example["control_offset"]
    beneath = example.get("effective_state", ""), example.get("effective_reason", "")
    session = example.get("session", 0)
    truth = Truth(row, place, effective=example["effective"], session=session, beneath=beneath)
    book = StatusBook(example["bridge"], example["instance"], partition_of)
    (write,) = book.due([truth], {place[0]: {symbol}}, example["since_us"])
    assert (write[0], json.loads(write[1] or b"")) == (symbol.encode(), example)


def test_the_example_of_an_unusable_record_says_what_the_codec_says() -> None:
    (example,) = [one for one in examples("status") if one["state"] == "invalid"]
    with pytest.raises(BadRecord) as found:
        records.decode(example["symbol"].encode(), b'{"priority":"high"}')
    assert (found.value.reason, found.value.detail) == (example["reason"], example["detail"])
    assert found.value.reason == examples("dead-letter-headers")[0]["tickbridge-reason"]


def test_the_examples_of_gaps_are_what_the_book_of_gaps_writes() -> None:
    broken, overflow = examples("gap")
    book = GapBook(broken["bridge"])
    symbols = {broken["symbol"]: (broken["code"], broken["last_seq"])}
    book.interrupted(Interrupted(0, broken["cause"], broken["from_us"], broken["session_before"], symbols))
    book.resumed(Resumed(0, broken["to_us"], broken["session_after"], frozenset(symbols)))
    book.missed(Missed(overflow["symbol"], "overflow", overflow["lost"], overflow["from_us"], overflow["to_us"]))
    assert [json.loads(value) for _, value in book.take(9)] == [broken, overflow]


@pytest.mark.parametrize("example", examples("state"), ids=str)
def test_an_example_of_a_state_is_read_and_written_as_it_stands(example: dict[str, Any]) -> None:
    found = notices.read_state(json.dumps(example).encode())
    assert found is not None
    _, value = notices.state(found, bridge=example["bridge"], partition=example["partition"])
    assert json.loads(value) == example


@pytest.mark.parametrize("name", ["status", "gap", "state"])
def test_what_the_bridge_reads_of_its_own_records_it_reads_beside_fields_of_the_future(name: str) -> None:
    future = {**WHOLE[name], "field_of_the_future": {"any": ["thing"]}}
    value = json.dumps(future).encode()
    if name == "state":
        assert notices.read_state(value) == notices.read_state(json.dumps(WHOLE[name]).encode())
    else:
        kind = {"status": notices.Status, "gap": notices.Gap}[name]
        assert msgspec.json.decode(value, type=kind) == msgspec.json.decode(json.dumps(WHOLE[name]), type=kind)


def examples_in_readme() -> Iterator[tuple[str, object]]:
    """Give each JSON block of the README with the schema that was linked last before it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    linked = ""
    for schema, block in re.findall(r"\(schemas/([\w-]+)\.schema\.json\)|```json\n(.*?)```", readme, re.DOTALL):
        linked = schema or linked
        if block:
            yield linked, json.loads(block)


def test_the_records_in_the_readme_are_examples_of_the_schemas() -> None:
    shown = list(examples_in_readme())
    assert [name for name, _ in shown] == ["control", "tick", "status", "gap"]
    for name, example in shown:
        assert example in schemas.load(name)["examples"]
