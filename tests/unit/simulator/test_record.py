"""The record: filters, sent seqs and their bound, waiting."""

import threading

import pytest

from bridge.simulator.facts import RefusedUpgrade, Sent
from bridge.simulator.flood import FIRST_CYCLE, FloodStream
from bridge.simulator.protocol import Request
from bridge.simulator.record import Record
from bridge.simulator.sessions import Overlap, Session, Violation
from bridge.simulator.ticklog import IncompleteRecordError
from bridge.simulator.venue import Outcome


def record_with(session: Session, room: int = 100) -> Record:
    record = Record(room)
    record.opened(session)
    return record


def session(number: int = 1) -> Session:
    return Session(number, "secret-token", "stock", 10.0)


def test_a_token_is_recorded_by_its_first_characters_only() -> None:
    record = record_with(session())
    assert record.connections[0].token == "sec…"
    assert "secret-token" not in str(record.as_dict())


def test_requests_are_listed_without_heartbeats_unless_asked_for() -> None:
    one = session()
    record = record_with(one)
    record.asked(one, 11.0, Outcome(Request(22004, 1, "a"), 200, ("700.HK",)))
    record.asked(one, 12.0, Outcome(Request(22000, 2, "b"), 200))
    assert [request.seq_id for request in record.requests()] == [1]
    assert [request.seq_id for request in record.requests(22000)] == [2]
    assert [request.seq_id for request in record.heartbeats()] == [2]
    assert record.requests(connection=2) == []


def test_the_list_in_force_is_shown_until_the_connection_closes() -> None:
    one = session()
    record = record_with(one)
    one.ticks = ("700.HK", "AAPL.US")
    record.asked(one, 11.0, Outcome(Request(22004, 1, "a"), 200))
    assert record.subscribed == {"700.HK", "AAPL.US"}
    record.closed(one, 12.0, "client closed", 1000)
    assert (record.subscribed, record.open_connections) == (frozenset(), [])
    closed = record.connections[0]
    assert (closed.closed_at, closed.close_reason, closed.client_close_code) == (12.0, "client closed", 1000)


def test_facts_of_each_kind_go_to_their_list() -> None:
    record = record_with(session())
    violation = Violation("request_interval", 1.0, 1, 0.5, "early", 605)
    overlap, refused, sent = Overlap("stock", 1, 2, 1.0, True), RefusedUpgrade(1.0, "/", 401), Sent(1.0, 1, "raw")
    record.note(violation, overlap, refused, sent)
    assert (record.violations, record.overlaps) == ([violation], [overlap])
    assert (record.refused_upgrades, record.rubbish) == ([refused], [sent])


def test_sent_seqs_are_listed_per_connection_in_the_order_written() -> None:
    record = record_with(session(1))
    record.opened(session(2))
    record.wrote(2, [("A", 3), ("B", 1)], 1.0)
    record.wrote(1, [("A", 1), ("A", 2)], 1.0)
    assert record.sent("A") == [1, 2, 3]
    assert record.sent("A", connection=2) == [3]
    assert record.sent("C") == []
    assert (record.sent_total, record.sent_count("A")) == (4, 3)


def test_beyond_its_bound_the_record_counts_and_refuses_to_list() -> None:
    record = record_with(session(), room=2)
    record.wrote(1, [("A", 1), ("A", 2)], 1.0)
    assert record.sent("A") == [1, 2]
    record.wrote(1, [("A", 3)], 1.0)
    assert record.sent_count("A") == 3
    with pytest.raises(IncompleteRecordError, match="sent_seqs_max"):
        record.sent("A")


def test_every_tick_is_kept_with_its_moment_and_its_fate() -> None:
    record = record_with(session(7))
    record.wrote(7, [("A", 1), ("B", 1)], 5.0)
    record.unsent([("A", 2)], 6.0, "absent")
    record.unsent([("A", 3)], 7.0, "withheld")
    assert record.ticks("A") == [(1, 5.0, 7, "sent"), (2, 6.0, 0, "absent"), (3, 7.0, 0, "withheld")]
    assert record.sent("A") == [1]
    assert (record.sent_total, record.sent_count("A")) == (2, 1)


def test_unsent_ticks_take_room_too() -> None:
    record = record_with(session(), room=1)
    record.unsent([("A", 1), ("A", 2)], 6.0, "absent")
    with pytest.raises(IncompleteRecordError, match="sent_seqs_max"):
        record.ticks("A")


def test_a_flood_is_counted_by_its_stream() -> None:
    record = record_with(session())
    stream = FloodStream(("A", "B"), 1, FIRST_CYCLE)
    record.flooding(stream)
    _, count = stream.take(3, 0)
    record.flooded(1, count)
    assert (record.sent_total, record.sent_count("A"), record.sent_count("B")) == (3, 2, 1)
    with pytest.raises(IncompleteRecordError):
        record.sent("A")


def test_waiting_ends_with_the_value_when_the_fact_comes() -> None:
    record = Record(10)
    threading.Timer(0.01, record.opened, [session(7)]).start()
    assert record.wait_for(lambda record: [one.id for one in record.connections], timeout=5) == [7]


def test_waiting_in_vain_says_what_was_awaited_and_what_was_seen() -> None:
    record = record_with(session())
    record.wrote(1, [("A", 1)], 1.0)
    with pytest.raises(
        TimeoutError, match=r"a miracle did not come within 0.01 s; seen: 1 connections \(1 open.*1 tick"
    ):
        record.wait_for(lambda _: False, timeout=0.01, what="a miracle")


def test_everything_but_the_seqs_is_json() -> None:
    one = session()
    record = record_with(one)
    record.ponged(one, b"\xff")
    record.asked(one, 11.0, Outcome(Request(22004, 1, "a"), 200, ("700.HK",)))
    facts = record.as_dict()
    assert facts["connections"][0]["pongs"] == ["ff"]  # type: ignore[index]
    assert facts["requests"][0]["codes"] == ("700.HK",)  # type: ignore[index]
