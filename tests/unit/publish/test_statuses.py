"""Which status records are due: what the topic says on one side, the truth on the other."""

import json
from typing import Any

import pytest

from bridge.model import State, SymbolState, Truth
from bridge.publish.statuses import PAUSE_US, StatusBook

T0 = 1_790_000_000_000_000


def truth(symbol: str = "AAPL.US", state: State = State.LIVE, *, offset: int = 7, **given: Any) -> Truth:
    row = SymbolState(symbol, given.pop("code", symbol), state, given.pop("reason", ""))
    return Truth(row, (given.pop("partition", 0), offset), given.pop("effective", {}), **given)


def due(statuses: StatusBook, truths: list[Truth], now_us: int, **given: Any) -> list[tuple[bytes, bytes | None]]:
    """Ask as the owner of partition 0, in which there is a record of each of these symbols, and of UNJUDGED.US."""
    asked = {truth.row.symbol for truth in truths} | {"UNJUDGED.US"}
    return statuses.due(truths, {0: asked}, now_us, **given)


def book() -> StatusBook:
    return StatusBook("prices", "one")


def values(writes: list[tuple[bytes, bytes | None]]) -> dict[str, dict[str, Any] | None]:
    return {key.decode(): json.loads(value) if value is not None else None for key, value in writes}


def record(symbol: str = "AAPL.US", **fields: Any) -> tuple[bytes, bytes]:
    """A status record as somebody else wrote it."""
    base = {"v": 1, "bridge": "prices", "symbol": symbol, "code": symbol, "state": "live", "since_us": T0 - 5}
    whole = {**base, "instance": "two", "control_partition": 0, "control_offset": 7, "effective": {}, **fields}
    return symbol.encode(), json.dumps(whole).encode()


def test_what_the_topic_does_not_know_is_written() -> None:
    written = values(due(book(), [truth()], T0))
    assert written["AAPL.US"] is not None
    assert written["AAPL.US"]["state"] == "live"
    assert written["AAPL.US"]["since_us"] == T0


def test_what_is_true_already_is_not_written_again_whatever_the_offset() -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    assert due(statuses, [truth(offset=9)], T0 + 10 * PAUSE_US) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": State.OFFLINE},
        {"reason": "venue_600", "state": State.REJECTED},
        {"code": "AAPL"},
        {"effective": {"note": "new"}},
        {"warnings": ("unknown field 'prio'",)},
    ],
)
def test_a_change_of_what_it_says_is_written(change: dict[str, Any]) -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    assert len(due(statuses, [truth(**change)], T0 + PAUSE_US)) == 1


def test_since_stays_while_the_state_does() -> None:
    statuses = book()
    statuses.hear(*record())
    written = values(due(statuses, [truth(effective={"note": "x"})], T0))
    assert written["AAPL.US"] is not None
    assert written["AAPL.US"]["since_us"] == T0 - 5


def test_another_record_that_cannot_be_used_is_news() -> None:
    statuses = book()
    due(statuses, [truth(state=State.INVALID, offset=7)], T0)
    assert len(due(statuses, [truth(state=State.INVALID, offset=8)], T0 + PAUSE_US)) == 1


def test_a_symbol_is_written_at_most_once_a_moment_and_what_waits_is_told() -> None:
    statuses = book()
    due(statuses, [truth(state=State.PENDING)], T0)
    assert due(statuses, [truth()], T0 + PAUSE_US - 1) == []
    assert statuses.held_back
    assert len(due(statuses, [truth()], T0 + PAUSE_US)) == 1
    assert not statuses.held_back


def test_last_words_do_not_wait() -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    assert len(due(statuses, [truth(state=State.OFFLINE)], T0 + 1, hurry=True)) == 1


def test_a_late_word_of_a_former_owner_is_written_over() -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    statuses.hear(*record(state="offline"))
    written = values(due(statuses, [truth()], T0 + PAUSE_US))
    assert written["AAPL.US"] is not None
    assert written["AAPL.US"]["state"] == "live"


def test_our_own_older_words_change_nothing() -> None:
    statuses = book()
    first = due(statuses, [truth(state=State.PENDING)], T0)
    due(statuses, [truth()], T0 + PAUSE_US)
    statuses.hear(*first[0])
    assert due(statuses, [truth()], T0 + 9 * PAUSE_US) == []


def test_a_status_whose_symbol_is_gone_is_nulled_once() -> None:
    statuses = book()
    statuses.hear(*record("GONE.US"))
    assert values(due(statuses, [], T0)) == {"GONE.US": None}
    assert due(statuses, [], T0 + PAUSE_US) == []
    statuses.hear(b"GONE.US", None)
    assert due(statuses, [], T0 + PAUSE_US) == []


def test_a_symbol_that_comes_back_is_not_lost_to_the_echo_of_its_null() -> None:
    statuses = book()
    statuses.hear(*record("BACK.US"))
    due(statuses, [], T0)
    due(statuses, [truth("BACK.US")], T0 + PAUSE_US)
    statuses.hear(b"BACK.US", None)
    assert due(statuses, [truth("BACK.US")], T0 + 9 * PAUSE_US) == []


def test_the_status_of_a_symbol_that_is_asked_for_stays_until_it_is_judged() -> None:
    statuses = book()
    statuses.hear(*record("UNJUDGED.US"))
    assert due(statuses, [], T0) == []


@pytest.mark.parametrize("fields", [{"bridge": "another"}, {"control_partition": 1}])
def test_only_records_of_our_own_deployment_and_partitions_are_nulled(fields: dict[str, Any]) -> None:
    statuses = book()
    statuses.hear(*record("THEIRS.US", **fields))
    assert due(statuses, [], T0) == []


def test_a_record_that_another_deployment_wrote_about_our_symbol_is_taken_over() -> None:
    statuses = book()
    statuses.hear(*record(bridge="another"))
    assert len(due(statuses, [truth()], T0)) == 1


def test_somebody_else_s_null_of_a_symbol_that_is_wanted_is_written_over() -> None:
    statuses = book()
    due(statuses, [truth()], T0)
    statuses.hear(b"AAPL.US", None)
    assert len(due(statuses, [truth()], T0 + PAUSE_US)) == 1


@pytest.mark.parametrize(("key", "value"), [(b"\xff", b"{}"), (b"A", b"{"), (b"A", b"[]"), (None, b"1"), (None, None)])
def test_rubbish_in_the_topic_is_passed_over(key: bytes | None, value: bytes | None) -> None:
    statuses = book()
    statuses.hear(key, value)
    assert due(statuses, [], T0) == []


def test_what_is_known_of_a_control_partition_is_of_our_own_deployment() -> None:
    statuses = book()
    statuses.hear(*record(effective={"priority": 5}))
    statuses.hear(*record("OTHER.US", bridge="another"))
    statuses.hear(*record("ELSEWHERE.US", control_partition=1))
    assert [(one.symbol, one.effective) for one in statuses.of(0)] == [("AAPL.US", {"priority": 5})]


@pytest.mark.parametrize(("partition", "offset", "known"), [(0, 7, True), (0, 6, True), (0, 8, False), (1, 7, False)])
def test_a_control_record_is_remembered_up_to_the_offset_that_the_status_speaks_of(
    partition: int, offset: int, known: bool
) -> None:
    statuses = book()
    statuses.hear(*record())
    assert statuses.remembers("AAPL.US", partition, offset) is known
    assert not statuses.remembers("NEVER.US", partition, offset)
