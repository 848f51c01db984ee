"""A file that is written is the file that would be read."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.cli.export import changed_by, written
from bridge.cli.files import Format, parse
from bridge.model import Subscription

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SUBSCRIPTIONS = st.lists(
    st.builds(
        Subscription,
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._=^/-]{0,5}(:[A-Za-z0-9]{1,3})?", fullmatch=True)
        | st.sampled_from(["ON", "NO", "00700", "1e3", "2024-01-01", "null", "=A", "0x1F", "-A", ".DJI.US"]),
        st.none() | st.sampled_from(["700.HK", "123", "true"]),
        st.integers(-(2**31), 2**31 - 1),
        st.none() | st.floats(1e-300, 1e300),
        st.booleans(),
        TEXT,
        TEXT,
    ),
    max_size=5,
    unique_by=lambda one: one.symbol,
)


@given(SUBSCRIPTIONS)
@example([Subscription("A", note="\r0\x85\u2028\x1b: {#"), Subscription("B", owner=" ", note="")])
def test_yaml_gives_back_whatever_a_record_can_hold(subscriptions: list[Subscription]) -> None:
    text = written(subscriptions, Format.YAML)
    assert list(parse(text.encode(), "file", Format.YAML).values()) == subscriptions
    assert changed_by(text, subscriptions, Format.YAML) == []


@given(SUBSCRIPTIONS)
@example([Subscription("A", note="\r0"), Subscription("B", owner='",;\n')])
def test_csv_gives_back_all_but_what_it_names(subscriptions: list[Subscription]) -> None:
    text = written(subscriptions, Format.CSV)
    back, lost = parse(text.encode(), "file", Format.CSV), changed_by(text, subscriptions, Format.CSV)
    assert [one.symbol for one in subscriptions if back[one.symbol] != one] == lost
    for one in subscriptions:
        texts = [text for text in (one.owner, one.note) if text is not None]
        assert one.symbol not in lost or any(not text or text.strip() != text for text in texts)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.YAML, "subscriptions:\n  AAPL.US: {}\n  HKEX:00700: {priority: 5, stale_after_s: 120}\n  'ON': {}"),
        (
            Format.CSV,
            "symbol,code,priority,stale_after_s,enabled,owner,note\nAAPL.US,,,,,,\nHKEX:00700,,5,120,,,\nON,,,,,,",
        ),
    ],
)
def test_a_file_looks_as_somebody_would_write_it(form: Format, text: str) -> None:
    subscriptions = [Subscription("AAPL.US"), Subscription("HKEX:00700", None, 5, 120.0), Subscription("ON")]
    assert written(subscriptions, form) == text


@pytest.mark.parametrize("form", Format)
def test_nothing_is_a_file_too(form: Format) -> None:
    assert parse(written([], form).encode(), "file", form) == {}
