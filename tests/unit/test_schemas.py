"""The schemas are valid, accept what is good and refuse each kind of what is not."""

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bridge import schemas

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
    "session": 1789999876543210,
    "instance": "tickbridge-0",
    "warnings": ["unknown field 'prio'"],
}
CONTROL = {"code": "700.HK", "priority": 5, "stale_after_s": 0.5, "enabled": True, "owner": "desk", "note": "why"}
WHOLE = {"control": CONTROL, "tick": TICK, "status": STATUS}

REQUIRED = [("tick", name) for name in ("v", "venue", "symbol", "code", "price", "ts_recv_us", "session")] + [
    ("status", name) for name in ("v", "bridge", "symbol", "state", "since_us")
]

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
    ("status", "session", "1"),
    ("status", "instance", 0),
    ("status", "warnings", "one"),
    ("status", "warnings", [1]),
]


def validator(name: str) -> Draft202012Validator:
    documents = [schemas.load(each) for each in schemas.names()]
    registry: Registry[Any] = Registry().with_resources(
        (document["$id"], Resource.from_contents(document)) for document in documents
    )
    return Draft202012Validator(schemas.load(name), registry=registry)


def accepts(name: str, value: object) -> bool:
    return bool(validator(name).is_valid(value))


def test_there_is_a_schema_for_each_format_that_is_written() -> None:
    assert {"control", "tick", "status"} <= set(schemas.names())


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
        needed = {field for schema, field in REQUIRED if schema == name}
        assert accepts(name, {field: whole[field] for field in needed})


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
