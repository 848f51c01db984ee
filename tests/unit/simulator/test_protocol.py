"""The messages: strict requests in, answers and ticks out."""

import json
from typing import Any

import pytest

from bridge.simulator.protocol import (
    Request,
    Style,
    Tick,
    encode_answer,
    encode_tick,
    frame,
    parse_request,
    read_codes,
    text_frame,
)

GOOD: dict[str, Any] = {"cmd_id": 22004, "seq_id": 2, "trace": "t-2", "data": {"symbol_list": []}}
TICK = Tick("700.HK", 1001, 1790000000123, "512.500000", "300", "153750.000000", 1)


def test_a_wellformed_envelope_is_read() -> None:
    assert parse_request(json.dumps(GOOD)) == Request(22004, 2, "t-2", {"symbol_list": []})


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"x"', '{"cmd_id":NaN}'])
def test_what_is_no_json_object_is_answered_400(text: str) -> None:
    assert parse_request(text) == Request(error=400)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("cmd_id", ["22004", -1, 2**32, 22004.5, True, None]),
        ("seq_id", ["1", -1, 2**32, 1.5, False, None]),
        ("trace", ["", "x" * 65, 7, None]),
        ("data", [[], "x", None]),
    ],
)
def test_each_envelope_field_is_checked(field: str, bad: list[object]) -> None:
    for value in bad:
        assert parse_request(json.dumps({**GOOD, field: value})).error == 400, value
    assert parse_request(json.dumps({name: value for name, value in GOOD.items() if name != field})).error == 400


def test_the_bounds_of_the_envelope_are_inside() -> None:
    request = parse_request(json.dumps({**GOOD, "seq_id": 2**32 - 1, "trace": "x" * 64}))
    assert (request.error, request.seq_id) == (0, 2**32 - 1)


def test_an_unknown_cmd_id_is_answered_402_with_what_was_readable() -> None:
    assert parse_request(json.dumps({**GOOD, "cmd_id": 22099})) == Request(22099, 2, "t-2", GOOD["data"], 402)


def test_what_is_readable_of_a_bad_envelope_is_kept_for_the_answer() -> None:
    request = parse_request(json.dumps({**GOOD, "trace": ""}))
    assert request == Request(22004, 2, "", GOOD["data"], 400)


def test_codes_are_read_in_order_and_duplicates_tolerated() -> None:
    codes = [{"code": "B"}, {"code": "A", "depth_level": 5}, {"code": "B"}]
    assert read_codes({"symbol_list": codes}) == ("B", "A")


@pytest.mark.parametrize(
    "data",
    [{}, {"symbol_list": {}}, {"symbol_list": ["A"]}, {"symbol_list": [{}]}, {"symbol_list": [{"code": 7}]}]
    + [{"symbol_list": [{"code": "A", "depth_level": level}]} for level in ("5", -1, None)],
)
def test_a_malformed_symbol_list_is_refused(data: dict[str, Any]) -> None:
    assert read_codes(data) is None


def test_an_answer_carries_the_next_id_and_the_request_s_own() -> None:
    assert json.loads(encode_answer(Request(22004, 2, "t-2"), 200)) == {
        "ret": 200,
        "msg": "ok",
        "cmd_id": 22005,
        "seq_id": 2,
        "trace": "t-2",
        "data": {},
    }


def test_an_uncorrelated_answer_names_nothing() -> None:
    answer = json.loads(encode_answer(Request(22004, 2, "t-2"), 600, correlated=False))
    assert (answer["ret"], answer["cmd_id"], answer["seq_id"], answer["trace"]) == (600, 0, 0, "")


def test_a_tick_is_spelt_as_in_the_sheet() -> None:
    assert encode_tick(TICK) == (
        b'{"cmd_id":22998,"data":{"code":"700.HK","seq":"1001","tick_time":"1790000000123","price":"512.500000",'
        b'"volume":"300","turnover":"153750.000000","trade_direction":1}}'
    )


def test_a_tick_can_carry_integers_numbers_and_seconds() -> None:
    data = json.loads(encode_tick(TICK, Style("", "", 1000)))["data"]
    assert (data["seq"], data["tick_time"], data["price"], data["volume"]) == (1001, 1790000000, 512.5, 300)


@pytest.mark.parametrize(("size", "head"), [(125, "817d"), (126, "817e007e"), (65536, "817f0000000000010000")])
def test_frames_take_the_shortest_length_field(size: int, head: str) -> None:
    assert text_frame(b"x" * size) == bytes.fromhex(head) + b"x" * size
    assert frame(0x81, b"x" * size) == text_frame(b"x" * size)
