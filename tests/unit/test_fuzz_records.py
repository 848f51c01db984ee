"""Whatever stands in a topic or in a settings file: what cannot be used is refused by its own error, and by no other.

The codec's own tests try control records made of likely fields; here good records are bent byte by byte.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.control import records
from bridge.control.murmur2 import partition_of
from bridge.errors import BadRecord, SettingsError
from bridge.publish import notices
from bridge.publish.statuses import StatusBook
from bridge.settings import PREFIX, Settings, load
from tests.support.audit import read_gaps

FUZZ = settings(max_examples=300, deadline=None, database=None)

CONTROL = b'{"code":"700.HK","priority":5,"stale_after_s":1.5,"enabled":true,"owner":"desk","note":"\xc3\xa9","x":[1]}'
STATUS = {
    "v": 1, "bridge": "ours", "symbol": "A", "code": "A", "state": "live", "reason": "", "since_us": 1, "instance": "x",
    "control_partition": 0, "control_offset": 3, "effective": {"priority": 1}, "session": 7, "warnings": ["w"],
}  # fmt: skip
STATE = {
    "v": 1, "bridge": "ours", "partition": 0, "safe_us": 5, "instance": "x", "written_us": 6, "session": 7,
    "last_frame_us": 4, "open": [{"cause": "disconnect", "from_us": 3, "symbols": ["A"]}],
}  # fmt: skip
GAP = {"v": 1, "id": "g", "bridge": "b", "symbol": "A", "from_us": 1, "to_us": 2, "cause": "overflow", "lost": 1}

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def bent(good: bytes) -> st.SearchStrategy[bytes]:
    """Replace a slice of something good with something else."""
    places = st.integers(0, len(good))
    return st.builds(
        lambda start, size, new: good[:start] + new + good[start + size :],
        places,
        st.integers(0, 8),
        st.binary(max_size=6) | st.sampled_from((b'"', b"{", b"}", b"[", b",", b":", b"1e999", b"null", b"\\ud800")),
    )


def with_field(good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Put any value into one field of something good."""
    return st.builds(lambda name, value: json.dumps(good | {name: value}).encode(), st.sampled_from([*good]), values)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


depths = st.integers(0, 5000)
keys = st.none() | st.binary(max_size=12) | st.just(b"700.HK")


@FUZZ
@given(keys, bent(CONTROL) | values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=80))
def test_a_control_record_is_decoded_or_bad(key: bytes | None, value: bytes) -> None:
    with contextlib.suppress(BadRecord):
        subscription = records.decode(key, value)
        assert subscription is None or key == subscription.symbol.encode()


@settings(FUZZ, max_examples=60)
@given(depths)
def test_a_control_record_as_deep_as_it_likes_is_decoded_or_bad(depth: int) -> None:
    for value in (b'{"note":%s}' % nested(depth), b'{"x":%s}' % nested(depth), b'{"a":' * depth + b"1" + b"}" * depth):
        with contextlib.suppress(BadRecord):
            records.decode(b"700.HK", value)


@FUZZ
@given(
    st.lists(
        st.tuples(
            keys | st.just(b"A"),
            st.none() | bent(json.dumps(STATUS).encode()) | with_field(STATUS) | st.binary(max_size=60),
        ),
        max_size=4,
    )
)
def test_no_status_record_confuses_the_book(heard: list[tuple[bytes | None, bytes | None]]) -> None:
    book = StatusBook("ours", "me", partition_of)
    for key, value in heard:
        book.hear(key, value)
    book.remembers("A", 0, 3, 4)
    writes = book.due([], {0: []}, 1)
    assert all(write.value is None for write in writes)
    # What the book has nulled once it does not null again.
    assert book.due([], {0: []}, 2) == []


def test_a_status_record_as_deep_as_it_likes_is_passed_over() -> None:
    deep = json.dumps(STATUS).encode().replace(b'{"priority": 1}', b'{"x":%s}' % nested(5000))
    StatusBook("ours", "me", partition_of).hear(b"A", deep)


@FUZZ
@given(bent(json.dumps(STATE).encode()) | with_field(STATE) | st.binary(max_size=60))
def test_a_state_record_is_read_or_none(value: bytes) -> None:
    found = notices.read_state(value)
    if found is not None:
        assert isinstance(found.safe_us, int)
        assert all(isinstance(symbol, str) for one in found.open for symbol in one.symbols)


def test_a_state_record_as_deep_as_it_likes_is_none_or_read() -> None:
    notices.read_state(json.dumps(STATE).encode().replace(b'"x"', b'"x", "y": %s' % nested(5000)))


@FUZZ
@given(bent(json.dumps(GAP).encode()) | with_field(GAP) | st.binary(max_size=60))
def test_a_gap_record_is_read_or_refused_by_the_judge(value: bytes) -> None:
    with contextlib.suppress(AssertionError, ValueError, RecursionError):
        (gap,) = read_gaps([(b"A", value)])
        assert gap.symbol == "A"


# Settings.

#: Text that YAML reads as text, lists, mappings or nothing at all.
words = st.text(st.characters(blacklist_categories=("Cs", "Nd"), blacklist_characters="!"), max_size=40)
groups = st.sampled_from([*Settings.model_fields, "nothing"])
settings_files = st.one_of(
    words.map(str.encode),
    values.map(lambda value: yaml.safe_dump(value).encode()),
    st.dictionaries(groups, values, max_size=4).map(lambda value: yaml.safe_dump(value).encode()),
    st.dictionaries(groups, st.dictionaries(st.sampled_from(
        [name for group in Settings.model_fields.values() for name in getattr(group.annotation, "model_fields", ())]
    ), scalars, max_size=3), max_size=3).map(lambda value: yaml.safe_dump(value).encode()),
)  # fmt: skip


@pytest.fixture(scope="module")
def alone() -> Iterator[Path]:
    """A place without `.env`, and an environment without settings of ours, for a whole fuzz run."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        for variable in [one for one in os.environ if one.startswith(PREFIX)]:
            patch.delenv(variable)
        patch.chdir(name)
        yield Path(name)


def load_file(place: Path, content: bytes) -> Settings | None:
    file = place / "settings.yaml"
    file.write_bytes(content)
    try:
        return load(file)
    except SettingsError as error:
        refusal = error
    assert refusal.lines
    assert all(line.strip() for line in refusal.lines)
    return None


@FUZZ
@given(content=settings_files)
def test_rubbish_for_settings_is_a_settings_error(alone: Path, content: bytes) -> None:
    load_file(alone, content)


def test_a_sound_file_is_still_read(alone: Path) -> None:
    found = load_file(alone, b"kafka: {bootstrap_servers: 'broker:9092'}\nname: here\n")
    assert found is not None
    assert found.name == "here"


#: What PyYAML, `pathlib` and `json` raise for these is none of their documented errors.
BEYOND_YAML = {
    "not UTF-8": b"name: \xff",
    "no date": b"name: 2024-99-99",
    "a tag its value does not fit": b"name: !!int foo",
    "a timestamp that is none": b"name: !!timestamp foo",
    "a boolean that is none": b"name: !!bool foo",
    "endless digits": b"http: {port: " + b"1" * 5000 + b"}",
    "endless nesting": b"[" * 3000,
    "an endless path": b"upstream: {token_file: " + b"a" * 5000 + b"}",
    "endless nesting inside a text": b"kafka: {extra: '" + nested(3000) + b"'}",
}


@pytest.mark.parametrize("content", BEYOND_YAML.values(), ids=[*BEYOND_YAML])
def test_a_file_beyond_yaml_is_a_settings_error_too(alone: Path, content: bytes) -> None:
    assert load_file(alone, content) is None
