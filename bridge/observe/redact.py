"""Taking secrets out of log lines.

Known secrets are found wherever they stand, as they are, percent-encoded (also twice, or in part, as libraries differ
in what they encode) or escaped inside a quoted string. What follows ``token=`` in an address is taken for a secret
whether it is known or not.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping

from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"

#: Keys of a line that come first.
_HEAD = ("ts", "level", "event")
#: Shorter secrets are ordinary text: hiding them would hide everything else.
_SECRET_MIN = 4
#: A token in an address, whatever its value; the equals sign may be percent-encoded.
_TOKEN_IN_URL = re.compile(r"""(token(?:=|%3d))[^&\s"'<>\\#]+""", re.IGNORECASE)


class Redactor:
    """Takes the secrets it was told out of any text; ``add`` may be called from any thread at any time."""

    def __init__(self, *secrets: str | None) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """Hide a secret from now on; one that was replaced stays hidden, as it may still be in force."""
        if secret is None or len(secret) < _SECRET_MIN:
            return
        with self._lock:
            self._secrets.add(secret)
            # The longest first: of two that begin alike, the shorter would leave the other's tail.
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join("".join(map(_spellings, one)) for one in longest_first))

    def text(self, text: str) -> str:
        """Give the text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(REDACTED, text)
        return _TOKEN_IN_URL.sub(rf"\1{REDACTED}", text)

    def value(self, value: object) -> object:
        """Give a field's value without secrets, made of nothing but what JSON has."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value if self.text(str(value)) == str(value) else REDACTED
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(value if isinstance(value, str) else repr(value))

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        """Redact a whole line, and put what every line has in front; structlog calls this for each."""
        head = {key: self.value(line.pop(key)) for key in _HEAD if key in line}
        return head | {self.text(key): self.value(item) for key, item in line.items()}


def _spellings(char: str) -> str:
    """Write a pattern for one character of a secret: itself, escaped, or percent-encoded (RFC 3986, section 2.1)."""
    if char.isascii() and char.isalnum():
        return char
    data = char.encode("utf-8", "surrogatepass")
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in data)
    quoted = (json.dumps(char)[1:-1], ascii(char)[1:-1], repr(data)[2:-1])  # as in JSON, in a str, in bytes
    escaped = {re.sub(r"\\+", r"\\\\+", form) for form in quoted if form.startswith("\\")}
    plain = {rf"\\*{re.escape(char)}", *((r"\+",) if char == " " else ())}
    # The encoded form first: a percent sign is also the beginning of its own encoding.
    return f"(?i:{'|'.join([percent, *sorted(escaped | plain)])})"
