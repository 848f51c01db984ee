"""A secret never leaves in any spelling, and nothing else is touched."""

import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.observe.redact import REDACTED, Redactor

SECRETS = ["s3cr3t-token", "a b+c/d=e&f%g", 'quo"te\\slash', "grüße-日本-😀", "trailing.dot."]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda s: quote(s, safe=""),
        quote,
        quote_plus,
        lambda s: re.sub("%..", lambda hit: hit[0].lower(), quote(s, safe="")),
        lambda s: quote(quote(s, safe=""), safe=""),
        lambda s: json.dumps(s)[1:-1],
        lambda s: json.dumps(json.dumps(s))[3:-3],
        lambda s: repr(s)[1:-1],
        lambda s: ascii(s)[1:-1],
        lambda s: repr(s.encode())[2:-1],
    ],
    ids=["plain", "percent", "path", "form", "lower", "twice", "json", "json in json", "repr", "ascii", "bytes"],
)
def test_a_known_secret_is_found_in_every_spelling(secret: str, spell: Any) -> None:
    assert Redactor(secret).text(f"before {spell(secret)} after") == f"before {REDACTED} after"


@given(st.text(min_size=4, max_size=40).filter(lambda text: text.isprintable()))
def test_any_printable_secret_is_found_plain_and_encoded(secret: str) -> None:
    redactor = Redactor(secret)
    assert redactor.text(secret) == REDACTED
    assert redactor.text(quote(secret, safe="")) == REDACTED


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("wss://v/x?token=abc", "wss://v/x?token=[redacted]"),
        ("GET /x?token=a%2Fb&y=1 HTTP/1.1", "GET /x?token=[redacted]&y=1 HTTP/1.1"),
        ('{"url": "wss://v/x?TOKEN=abc"}', '{"url": "wss://v/x?TOKEN=[redacted]"}'),
        ("to=wss%3A%2F%2Fv%2Fx%3Ftoken%3Dabc", "to=wss%3A%2F%2Fv%2Fx%3Ftoken%3D[redacted]"),
        ("the token is refused", "the token is refused"),
    ],
)
def test_a_token_in_an_address_is_taken_out_though_nobody_knows_it(text: str, clean: str) -> None:
    assert Redactor().text(text) == clean


def test_a_secret_that_was_replaced_stays_hidden() -> None:
    redactor = Redactor("first-one")
    redactor.add("second-one")
    assert redactor.text("first-one second-one third-one") == f"{REDACTED} {REDACTED} third-one"


def test_of_two_secrets_that_begin_alike_the_longer_leaves_no_tail() -> None:
    assert Redactor("abcdef", "abcdefghi").text("abcdefghi") == REDACTED


@pytest.mark.parametrize("secret", [None, "", "abc"])
def test_what_is_no_secret_hides_nothing(secret: str | None) -> None:
    assert Redactor(secret).text("abc and abcd") == "abc and abcd"


def test_values_are_cleaned_however_deep_they_lie() -> None:
    redactor = Redactor("s3cr3t", "123456")

    class Thing:
        def __repr__(self) -> str:
            return "<Thing s3cr3t>"

    assert redactor.value(
        {
            "s3cr3t": ["x s3cr3t", ("s3cr3t",), {"deep": b"s3cr3t"}],
            "thing": Thing(),
            "number": 123456,
            "other": 1234,
            "half": 0.5,
            "odd": float("nan"),
            "no": None,
            "yes": True,
        }
    ) == {
        REDACTED: [f"x {REDACTED}", [REDACTED], {"deep": f"b'{REDACTED}'"}],
        "thing": f"<Thing {REDACTED}>",
        "number": REDACTED,
        "other": 1234,
        "half": 0.5,
        "odd": "nan",
        "no": None,
        "yes": True,
    }


def test_a_line_keeps_its_own_keys_and_has_them_in_front() -> None:
    line = Redactor("event", "level")(None, "info", {"x": "an event", "level": "info", "event": "start", "ts": "T"})
    assert list(line.items()) == [("ts", "T"), ("level", "info"), ("event", "start"), ("x", f"an {REDACTED}")]
