"""A status record says what its schema says, and leaves out what is not known."""

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bridge import schemas
from bridge.model import OpenGap, Progress, State, SymbolState
from bridge.publish import notices

SINCE_US = 1_790_000_000_298_114
ROW = SymbolState("HKEX:00700", "700.HK", State.PENDING)


@cache
def validator(name: str = "status") -> Draft202012Validator:
    documents = [schemas.load(name) for name in schemas.names()]
    resources = [(document["$id"], Resource[Any].from_contents(document)) for document in documents]
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft202012Validator(schemas.load(name), registry=registry)


def status(row: SymbolState = ROW, **given: Any) -> dict[str, Any]:
    _, value = notices.status(row, bridge="tickbridge", instance="tickbridge-0", since_us=SINCE_US, **given)
    document: dict[str, Any] = json.loads(value)
    validator().validate(document)
    return document


def test_the_key_is_the_symbol() -> None:
    row = SymbolState("Ä", "A", State.INVALID)
    key, _ = notices.status(row, bridge="tickbridge", instance="tickbridge-0", since_us=SINCE_US)
    assert key == "Ä".encode()


def test_a_status_with_nothing_more_to_say_has_only_what_is_known() -> None:
    assert status() == {
        "v": 1,
        "bridge": "tickbridge",
        "symbol": "HKEX:00700",
        "state": "pending",
        "since_us": SINCE_US,
        "instance": "tickbridge-0",
        "code": "700.HK",
    }


def test_a_status_says_all_it_knows() -> None:
    row = SymbolState(
        "HKEX:00700", "700.HK", State.REJECTED, "venue_600", "the venue refuses it", 1_790_000_000_000_000
    )
    assert status(row, session=7, control=(0, 17), effective={"priority": 5}, warnings=("unknown field 'prio'",)) == {
        "v": 1,
        "bridge": "tickbridge",
        "symbol": "HKEX:00700",
        "state": "rejected",
        "since_us": SINCE_US,
        "instance": "tickbridge-0",
        "code": "700.HK",
        "reason": "venue_600",
        "detail": "the venue refuses it",
        "last_tick_us": 1_790_000_000_000_000,
        "control_partition": 0,
        "control_offset": 17,
        "effective": {"priority": 5},
        "session": 7,
        "warnings": ["unknown field 'prio'"],
    }


def test_an_empty_control_record_in_force_is_told_from_none() -> None:
    assert status(effective={})["effective"] == {}
    assert "effective" not in status(effective=None)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_its_word(state: State) -> None:
    assert status(SymbolState("A", "A", state))["state"] == state.value


def test_a_symbol_without_a_code_has_none() -> None:
    assert "code" not in status(SymbolState("no symbol", "", State.INVALID))


def test_a_state_record_says_what_its_schema_says_and_can_be_read_again() -> None:
    left = OpenGap("stop", SINCE_US, 17, ("A", "B")), OpenGap("disconnect", SINCE_US - 1, 0, ("C",))
    for progress in (
        Progress(SINCE_US, SINCE_US + 1, instance="one"),
        Progress(SINCE_US, SINCE_US + 1, 17, SINCE_US - 5, "one", "stop", left, 9, 12),
    ):
        key, value = notices.state(progress, bridge="prices", partition=3)
        assert key == b"prices/3"
        validator("state").validate(json.loads(value))
        assert notices.read_state(value) == progress


BEYOND = notices.state(Progress(5, 6, 2**60), bridge="prices", partition=0)[1]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"v":1}', b"\xff", b'{"v":1,"open":[{}]}', BEYOND])
def test_what_is_no_state_record_is_none(value: bytes) -> None:
    assert notices.read_state(value) is None


def test_a_state_record_of_a_later_version_s_making_is_read_without_what_it_has_more() -> None:
    _, value = notices.state(Progress(5, 6, 7), bridge="prices", partition=0)
    assert notices.read_state(value[:-1] + b',"more":{"x":[1]}}') == Progress(5, 6, 7)


def test_a_gap_record_says_what_its_schema_says() -> None:
    bare = notices.Gap(1, "id", "prices", "A", SINCE_US, "crash")
    whole = notices.Gap(1, "id", "prices", "A", SINCE_US, "overflow", SINCE_US + 1, "A.US", 7, 8, 312, "41")
    for gap in (bare, whole):
        key, value = notices.gap(gap)
        assert key == b"A"
        validator("gap").validate(json.loads(value))
    assert set(json.loads(notices.gap(bare)[1])) == {"v", "id", "bridge", "symbol", "from_us", "cause"}
