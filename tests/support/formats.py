"""Every status and dead letter that bridges wrote, held to its schema and to what the contract says beyond it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bridge import schemas
from tests.support.cluster import Record

#: How a bridge names itself; what tests write in its place has other names, or none.
INSTANCE = re.compile(r".+-[0-9]+")
#: A change of one of these is why a status is written.
SAID = ("state", "reason", "code", "effective", "warnings", "effective_state", "effective_reason")
#: States that speak for themselves.
PLAIN = {"pending", "waiting", "live", "offline"}


@cache
def validator(name: str) -> Draft202012Validator:
    """Give the validator of one of our schemas."""
    documents = [schemas.load(each) for each in schemas.names()]
    resources = [(document["$id"], Resource[Any].from_contents(document)) for document in documents]
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft202012Validator(schemas.load(name), registry=registry)


def check_statuses(records: Sequence[Record]) -> None:
    """See that each status is what its schema says, agrees with itself, and was worth writing."""
    before: dict[bytes | None, dict[str, Any]] = {}
    for record in sorted(records, key=lambda one: (one.partition, one.offset)):
        status = _status(record)
        if status is None:
            before.pop(record.key, None)
            continue
        validator("status").validate(status)
        assert (record.key or b"").decode() == status["symbol"], status
        assert status["since_us"] <= (record.timestamp_ms + 1) * 1000, (record.timestamp_ms, status)
        assert status.get("last_tick_us", 0) <= (record.timestamp_ms + 1) * 1000, (record.timestamp_ms, status)
        assert status["state"] in PLAIN or status.get("reason"), status
        _check_effective(status)
        former = before.get(record.key)
        if former is not None and former["instance"] == status["instance"]:
            offsets = former["control_offset"], status["control_offset"]
            news = [name for name in SAID if former.get(name) != status.get(name)]
            assert news or (status["state"] == "invalid" and offsets[0] != offsets[1]), (former, status)
        before[record.key] = status


def check_letters(records: Sequence[Record]) -> None:
    """See that each dead letter's headers are what their schema says, and that no record has two."""
    places = []
    for record in records:
        headers = {name: (value or b"").decode() for name, value in record.headers}
        assert len(headers) == len(record.headers) == 4, record.headers
        validator("dead-letter-headers").validate(headers)
        places.append((headers["tickbridge-partition"], headers["tickbridge-offset"], record.key, record.value))
    assert len(places) == len(set(places)), places


def _status(record: Record) -> dict[str, Any] | None:
    """Read a status that a bridge wrote; None for what somebody else did."""
    try:
        status = json.loads(record.value or b"null")
    except ValueError:
        return None
    if not isinstance(status, dict) or not INSTANCE.fullmatch(str(status.get("instance"))):
        return None
    return status


def _check_effective(status: dict[str, Any]) -> None:
    """See that what is said to be in force goes with the state."""
    effective = status.get("effective")
    if status["state"] == "invalid":
        assert (effective is None) <= ("effective_state" not in status), status
        return
    assert effective is not None, status
    assert (effective.get("enabled", True) is False) == (status["state"] == "disabled"), status
    assert not {"effective_state", "effective_reason"} & status.keys(), status
