"""One connection to a venue that adds and takes away: requests that nobody answers, late refusals, pings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from bridge.model import Limits, State
from bridge.upstream.dialects.action_code import ActionCode
from bridge.upstream.dialects.action_symbols import ActionSymbols
from bridge.upstream.increments import Increments
from bridge.upstream.pacing import Pacing
from bridge.upstream.session import Fault, Phase, Received, Session, Tally
from tests.fakes import desired, frame

WALL = 1_790_000_000.0
PONG = 0xA


class Answering(ActionCode):
    """A venue that answers each request, or so it says."""

    answers = True


class Conversation:
    """A session with the test on the other end of it, as the clock and as the venue."""

    def __init__(self, dialect: ActionCode | ActionSymbols | None = None, **limits: Any) -> None:
        self.dialect = dialect or ActionCode()
        self.limits = Limits(**{"max_symbols": 1000, "request_interval_s": self.dialect.pause_s, **limits})
        self.reconciler = Increments(self.dialect, None, self.limits)
        self.tally = Tally()
        self.session = Session(
            7, self.dialect, self.limits, self.reconciler, Pacing(self.limits, 0, 0.0),
            tally=self.tally, max_message=10_000, now=0.0,
        )  # fmt: skip

    def want(self, symbols: Iterable[str], now: float = 0.0) -> Conversation:
        self.reconciler.want(desired(symbols), now)
        return self

    def due(self, now: float) -> list[str | bytes]:
        return self.session.due(now, WALL + now)

    def asks(self, now: float) -> tuple[str, list[str]]:
        """Expect one request now, and give what it asks for."""
        (text,) = self.due(now)
        message = json.loads(text)
        return message["action"], message["code"]

    def run(self, until: float, *, now: float = 0.0, pongs: bool = True) -> list[tuple[float, str | bytes]]:
        """Follow the session's own moments, and give what it sent."""
        sent: list[tuple[float, str | bytes]] = []
        for _ in range(10_000):
            if now >= until or self.fault(now):
                return sent
            for message in self.due(now):
                sent.append((now, message))
                if pongs and isinstance(message, bytes):
                    self.session.receive(frame(message, PONG), now)
            now = max(now, min(until, self.session.next_due(now, WALL + now)))
        pytest.fail("the loop spins")

    def hear(self, now: float, **message: Any) -> Received:
        return self.session.receive(frame(json.dumps(message).encode()), now)

    def fault(self, now: float) -> Fault | None:
        return self.session.fault(now)

    @property
    def states(self) -> dict[str, State]:
        return {symbol: state for symbol, _, state, _ in self.reconciler.states(connected=True)}


def symbols(count: int) -> list[str]:
    return [f"X:{number:03d}" for number in range(count)]


# No answers


def test_a_request_counts_as_accepted_once_it_is_sent() -> None:
    talk = Conversation().want(["X:A", "X:B"])
    assert talk.asks(0.0) == ("subscribe", ["X:A", "X:B"])
    assert talk.states == dict.fromkeys(["X:A", "X:B"], State.WAITING)
    assert talk.session.phase is Phase.OPEN
    assert talk.tally.requests == {("subscribe", "sent"): 1, ("subscribe", "accepted"): 1}
    (note,) = talk.session.receive(frame(b"", PONG), 0.1).notes
    assert (note.event, note.fields) == ("request_accepted", {"kind": "subscribe", "codes": 2, "new": 2})
    assert talk.session.receive(frame(b"", PONG), 0.2).notes == []


def test_chunks_of_twenty_follow_each_other_after_50_to_100_ms() -> None:
    sent = Conversation().want(symbols(100)).run(3.0)
    sizes = [len(json.loads(text)["code"]) for _, text in sent]
    assert sizes == [20] * 5
    assert all(0.05 <= after - before <= 0.1 for (before, _), (after, _) in pairwise(sent))


def test_nothing_ever_waits_for_an_answer_that_does_not_come() -> None:
    talk = Conversation(ack_timeout_s=1.0).want(symbols(3))
    sent = talk.run(60.0)
    assert [text for _, text in sent if isinstance(text, str)] == [sent[0][1]]
    assert talk.fault(60.0) is None
    assert talk.states == dict.fromkeys(symbols(3), State.WAITING)
    assert ("subscribe", "unanswered") not in talk.tally.requests


# Answers all the same


def test_an_answer_that_agrees_changes_nothing_more() -> None:
    talk = Conversation().want(["X:A"])
    talk.due(0.0)
    received = talk.hear(0.1, action="subscribe", ret=200, code=["X:A"])
    assert [note.event for note in received.notes] == ["request_accepted"]  # as it was sent
    assert talk.tally.requests["subscribe", "accepted"] == 1
    assert talk.tally.frames["answer"] == 1
    assert talk.session.useful
    assert talk.due(1.0) == []


def test_failed_codes_are_taken_back_and_tried_alone_and_then_rejected() -> None:
    talk = Conversation().want(["X:A", "X:B", "X:C"])
    talk.due(0.0)
    received = talk.hear(0.1, action="subscribe", ret=600, msg="no", code=["X:B"])
    assert [note.event for note in received.notes] == ["request_accepted", "request_refused"]
    assert talk.states == {"X:A": State.WAITING, "X:B": State.PENDING, "X:C": State.WAITING}
    assert talk.asks(0.2) == ("subscribe", ["X:B"])
    talk.hear(0.3, action="subscribe", ret=600, code=["X:B"])
    assert talk.states == {"X:A": State.WAITING, "X:B": State.REJECTED, "X:C": State.WAITING}
    assert talk.due(1.0) == []


def test_one_request_may_have_an_answer_for_each_of_its_codes() -> None:
    talk = Conversation().want(["X:A", "X:B", "X:C"])
    talk.due(0.0)
    talk.hear(0.1, action="subscribe", ret=200, code=["X:A"])
    talk.hear(0.1, action="subscribe", ret=600, code=["X:B"])
    talk.hear(0.1, action="subscribe", ret=604, code=["X:C"])
    assert [talk.asks(1.0)[1], talk.asks(2.0)[1]] == [["X:B"], ["X:C"]]


def test_a_refusal_that_names_no_codes_is_of_the_oldest_request() -> None:
    talk = Conversation().want(["X:A", "X:B"])
    talk.due(0.0)
    talk.want(["X:A", "X:B", "X:C"]).due(0.1)
    talk.hear(0.2, ret=600, action="subscribe")
    assert [talk.asks(1.0)[1], talk.asks(2.0)[1]] == [["X:A"], ["X:B"]]
    assert talk.due(3.0) == []


def test_too_fast_asks_again_later_and_slower() -> None:
    talk = Conversation().want(["X:A"])
    talk.due(0.0)
    talk.hear(0.0, action="subscribe", ret=605, code=["X:A"])
    assert talk.states == {"X:A": State.PENDING}
    assert talk.due(0.1) == []
    assert talk.asks(0.2) == ("subscribe", ["X:A"])


@pytest.mark.parametrize("ret", [400, 402, 201, 202])
def test_codes_that_are_not_understood_together_are_tried_one_by_one_and_each_refusal_is_waited_out(ret: int) -> None:
    talk = Conversation(reconnect_max_s=60.0, heartbeat_s=1000.0, silence_s=1000.0).want(["X:A", "X:B", "X:C"])
    talk.due(0.0)
    note = talk.hear(0.0, action="subscribe", ret=ret).notes[-1]
    assert (note.level, note.fields["remedy"], note.fields["among_the_new"]) == ("error", "bug", ["X:A", "X:B", "X:C"])
    assert "X:B" in str(note.fields["request"])
    asked = [(at, json.loads(text)["code"]) for at, text in talk.run(60.05) if isinstance(text, str)]
    assert asked == [(60.0, ["X:A"])]
    talk.hear(60.05, action="subscribe", ret=200, code=["X:A"])
    assert talk.asks(60.5)[1] == ["X:B"]
    talk.hear(60.5, action="subscribe", ret=ret, code=["X:B"])
    asked = [(at, json.loads(text)["code"]) for at, text in talk.run(200.0, now=60.5) if isinstance(text, str)]
    assert asked == [(120.5, ["X:C"])]
    assert talk.states == {"X:A": State.WAITING, "X:B": State.REJECTED, "X:C": State.WAITING}


def test_a_refused_token_ends_the_connection() -> None:
    talk = Conversation().want(["X:A"])
    talk.due(0.0)
    talk.hear(0.1, ret=401, msg="bad token")
    fault = talk.fault(0.1)
    assert fault is not None
    assert fault.token


@pytest.mark.parametrize("ret", [200, 600])
def test_an_answer_about_codes_that_nobody_asked_for_is_harmless(ret: int) -> None:
    talk = Conversation().want(["X:A"])
    talk.due(0.0)
    received = talk.hear(0.1, action="subscribe", ret=ret, code=["X:Z"])
    assert received.notes[-1].event == "answer_without_request"
    assert talk.states == {"X:A": State.WAITING}


def test_a_refusal_is_no_reason_to_doubt_the_other_streams() -> None:
    talk = Conversation().want(["X:A", "X:B"])
    talk.due(0.0)
    talk.hear(0.1, action="subscribe", ret=600, code=["X:B"])
    assert talk.session.refusal is None


def test_an_error_in_words_is_understood_as_well() -> None:
    talk = Conversation(ActionSymbols()).want(["A", "B"])
    talk.due(0.0)
    talk.hear(0.1, action="subscribe", status="error", message="unknown symbol", symbols=["B"])
    (text,) = talk.due(0.2)
    assert json.loads(text) == {"action": "subscribe", "symbols": ["B"]}


# Where answers can be counted on


def test_an_answer_is_waited_for_and_a_partly_failed_request_holds_in_part() -> None:
    talk = Conversation(Answering()).want(symbols(30))
    assert len(talk.asks(0.0)[1]) == 20
    assert talk.states[symbols(1)[0]] is State.PENDING
    assert talk.due(1.0) == []
    talk.hear(1.0, action="subscribe", ret=600, code=["X:003"])
    assert talk.states["X:000"] is State.WAITING
    assert talk.asks(1.1) == ("subscribe", ["X:003"])
    talk.hear(1.2, action="subscribe", ret=600, code=["X:003"])
    assert talk.states["X:003"] is State.REJECTED
    assert talk.asks(1.3) == ("subscribe", symbols(30)[20:])


def test_a_missing_answer_is_asked_for_once_more_and_then_the_connection_ends() -> None:
    talk = Conversation(Answering(), ack_timeout_s=2.0).want(["X:A"])
    assert talk.asks(0.0) == talk.asks(2.0) == ("subscribe", ["X:A"])
    assert talk.due(4.0) == []
    fault = talk.fault(4.0)
    assert fault is not None
    assert fault.kind == "unanswered"


# Pings


def test_a_heartbeat_is_a_ping_every_ten_seconds_and_a_pong_answers_it() -> None:
    talk = Conversation().want([])
    sent = talk.run(45.0)
    assert sent == [(10.0, b"7-1"), (20.0, b"7-2"), (30.0, b"7-3"), (40.0, b"7-4")]
    assert talk.tally.requests == {("heartbeat", "sent"): 4, ("heartbeat", "accepted"): 4}
    assert talk.session.useful


def test_two_pings_without_a_pong_end_the_connection_although_ticks_come() -> None:
    talk = Conversation().want(["X:A"])
    talk.due(0.0)
    sent: list[str | bytes] = []
    for second in range(1, 60):
        talk.hear(float(second), code="X:A", price="1")
        if fault := talk.fault(float(second)):
            break
        sent += talk.due(float(second))
    assert sent == [b"7-2", b"7-3"]
    assert fault is not None
    assert (fault.kind, second) == ("heartbeat", 30)


def test_one_pong_answers_all_pings_before_it() -> None:
    talk = Conversation().want([])
    talk.run(25.0, pongs=False)
    talk.session.receive(frame(b"7-2", PONG), 25.0)
    assert talk.fault(30.0) is None
    assert talk.run(45.0, now=30.0) == [(30.0, b"7-3"), (40.0, b"7-4")]


def test_no_frame_at_all_is_silence() -> None:
    talk = Conversation(silence_s=15.0).want([])
    talk.run(100.0, pongs=False)
    fault = talk.fault(15.0)
    assert fault is not None
    assert fault.kind == "silence"


def test_a_tick_shows_that_a_connection_is_of_use() -> None:
    talk = Conversation().want(["X:A"])
    talk.due(0.0)
    assert not talk.session.useful
    talk.hear(0.1, code="X:A", price="1")
    assert talk.session.useful
