"""Rubbish: every name makes something, and frames break the rule they are said to break."""

import json

import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from bridge.simulator.protocol import Tick, encode_tick
from bridge.simulator.rubbish import MAKERS, SOUND, catalogue, make

TICK = Tick("700.HK", 1001, 1790000000123, "512.500000", "300", "153750.000000", 1)
UNSOUND_FRAMES = {
    "masked": "incorrect masking",
    "reserved-bits": "reserved bits must be 0",
    "reserved-opcode": "invalid opcode",
    "oversized-control": "control frame too long",
    "fragmented-control": "fragmented control frame",
    "stray-continuation": "unexpected continuation frame",
}
VALID_JSON = sorted(set(MAKERS) - set(UNSOUND_FRAMES) - {"not-json", "empty-text", "deep-json", "invalid-utf8", "ping"})


def receive(writes: list[bytes]) -> tuple[list[Frame], Exception | None]:
    """Feed writes to a strict client and return its frames and what it choked on."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    for data in writes:
        client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)], client.parser_exc


@pytest.mark.parametrize("name", sorted(UNSOUND_FRAMES))
def test_an_unsound_frame_breaks_the_rule_it_names(name: str) -> None:
    _, error = receive(make(name, TICK))
    assert isinstance(error, ProtocolError)
    assert str(error) == UNSOUND_FRAMES[name]


@pytest.mark.parametrize("name", sorted(set(MAKERS) - set(UNSOUND_FRAMES)))
def test_everything_else_is_sound_as_frames(name: str) -> None:
    frames, error = receive(make(name, TICK))
    assert error is None
    assert frames


@pytest.mark.parametrize("name", VALID_JSON)
def test_what_claims_to_be_json_is_json(name: str) -> None:
    frames, _ = receive(make(name, TICK))
    json.loads(b"".join(bytes(frame.data) for frame in frames if frame.opcode is not Opcode.PING))


@pytest.mark.parametrize("name", sorted(SOUND))
def test_sound_rubbish_delivers_the_tick_intact(name: str) -> None:
    frames, _ = receive(make(name, TICK))
    payload = b"".join(bytes(frame.data) for frame in frames if frame.opcode is not Opcode.PING)
    assert payload == encode_tick(TICK)


def test_fragments_have_control_frames_in_between() -> None:
    frames, _ = receive(make("fragments", TICK))
    assert [frame.opcode.name for frame in frames] == ["TEXT", "PING", "CONT", "PING", "CONT"]


def test_text_that_is_not_json_or_not_utf8_is_neither() -> None:
    for name in ("not-json", "empty-text", "invalid-utf8"):
        frames, _ = receive(make(name, TICK))
        with pytest.raises(ValueError, match=r"Expecting|utf-8"):
            json.loads(bytes(frames[0].data))


def test_unusable_ticks_are_unusable_as_they_say() -> None:
    def data(name: str) -> dict[str, object]:
        frames, _ = receive(make(name, TICK))
        found: dict[str, object] = json.loads(bytes(frames[0].data))["data"]
        return found

    assert float(str(data("price-zero")["price"])) == 0
    assert float(str(data("price-negative")["price"])) < 0
    assert data("price-nan")["price"] == "NaN"
    assert data("missing-fields") == {"code": "700.HK"}
    assert data("time-1970")["tick_time"] == "1"
    assert data("time-far-future")["tick_time"] == "4102444800000"


def test_huge_text_is_larger_than_two_mebibytes() -> None:
    assert len(make("huge-text", TICK)[0]) > 2 * 2**20


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no rubbish 'dirt'; there is not-json"):
        make("dirt", TICK)


def test_every_name_has_help() -> None:
    assert all(catalogue().values())
