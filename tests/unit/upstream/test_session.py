"""One connection from open to close: bytes and moments in, messages and facts out."""

from __future__ import annotations

import ast
import inspect
import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

from bridge.errors import LocalProtocolError
from bridge.model import Limits, State
from bridge.observe.metrics import DISCONNECT_REASONS, SESSION_OUTCOMES
from bridge.upstream.dialects import Remedy
from bridge.upstream.dialects.alltick import AllTick
from bridge.upstream.dialects.remedies import BY_KIND, ERRORS, Wait, wait_after
from bridge.upstream.pacing import Pacing
from bridge.upstream.reconcile import Reconciler
from bridge.upstream.session import TRANSITIONS, Event, Fault, Phase, Received, Session, Tally
from tests.fakes import Refused, ScriptedVenue, answer, close_frame, desired, frame

WALL = 1_790_000_000.0
LIMITS = Limits(max_symbols=1000)
GAP = 1.06
PING, PONG, BINARY = 0x9, 0xA, 0x2
HEARTBEAT, SUBSCRIBE, CANCEL = 22000, 22004, 22006
every_refusal = pytest.mark.parametrize("refused", get_args(Refused))

Message = dict[str, Any]


def tick(code: str = "A", **data: Any) -> Message:
    return {"cmd_id": 22998, "data": {"code": code, "price": "1.0", **data}}


class Conversation:
    """A session with the test on the other end of it, as the clock and as the venue."""

    def __init__(
        self, limits: Limits = LIMITS, *, reconciler: Reconciler | None = None, partition: int = 0, now: float = 0.0
    ) -> None:
        self.reconciler = reconciler or Reconciler(AllTick(), None, limits)
        self.tally = Tally()
        self.session = Session(
            7, AllTick(), limits, self.reconciler, Pacing(limits, partition, now),
            tally=self.tally, max_message=1000, now=now,
        )  # fmt: skip
        self.sent: list[tuple[float, Message]] = []

    # What the loop does

    def want(self, codes: Iterable[str], now: float = 0.0) -> Conversation:
        self.reconciler.want(desired(codes), now)
        return self

    def due(self, now: float) -> list[Message]:
        messages = [json.loads(text) for text in self.session.due(now, WALL + now)]
        self.sent += [(now, message) for message in messages]
        return messages

    def next_due(self, now: float) -> float:
        return self.session.next_due(now, WALL + now)

    def read(self, data: bytes, now: float) -> Received:
        return self.session.receive(data, now)

    def fault(self, now: float) -> Fault | None:
        return self.session.fault(now)

    def run(self, venue: ScriptedVenue, until: float, *, now: float = 0.0, latency: float = 0.05) -> float:
        """Follow the session's own moments and let a venue answer, until it faults or time is up; give the end."""
        on_the_way: list[tuple[float, str]] = []
        for _ in range(20_000):
            while on_the_way and on_the_way[0][0] <= now:
                self.hear(on_the_way.pop(0)[1], now=now)
            if self.fault(now) or now >= until:
                return now
            for message in self.due(now):
                reply = venue.hear(json.dumps(message))
                if reply is not None:
                    on_the_way.append((now + latency, reply))
            arrivals = [on_the_way[0][0]] if on_the_way else []
            now = max(now, min(self.next_due(now), until, *arrivals))
        pytest.fail("the loop spins")

    # What the venue says

    def hear(self, *messages: Message | str, now: float) -> Received:
        texts = [one if isinstance(one, str) else json.dumps(one) for one in messages]
        return self.read(b"".join(frame(text.encode()) for text in texts), now)

    # What the test expects

    def asks(self, now: float) -> Message:
        """Expect one message now, and give it."""
        (message,) = self.due(now)
        return message

    def subscribes(self, now: float, *codes: str) -> Message:
        message = self.asks(now)
        assert message["cmd_id"] == SUBSCRIBE
        assert [one["code"] for one in message["data"]["symbol_list"]] == list(codes)
        return message

    def beats(self, now: float) -> Message:
        message = self.asks(now)
        assert message["cmd_id"] == HEARTBEAT
        return message

    def accepted(self, now: float, *codes: str) -> Conversation:
        """Go through one request that is accepted."""
        self.want(codes, now)
        self.hear(answer(self.subscribes(now, *codes)), now=now)
        return self

    @property
    def states(self) -> dict[str, State]:
        return {symbol: state for symbol, _, state, _ in self.reconciler.states(connected=True)}

    def moments(self, kind: int | None = None) -> list[float]:
        return [at for at, message in self.sent if kind is None or message["cmd_id"] == kind]


def events(received: Received) -> list[str]:
    return [note.event for note in received.notes]


# Requests and their answers


def test_a_request_goes_at_once_and_is_accepted() -> None:
    talk = Conversation().want("AB")
    request = talk.subscribes(0.0, "A", "B")
    received = talk.hear(answer(request), now=0.1)
    assert talk.session.phase is Phase.OPEN
    assert talk.states == dict.fromkeys("AB", State.WAITING)
    (note,) = received.notes
    assert (note.event, note.fields) == ("request_accepted", {"kind": "subscribe", "codes": 2, "new": 2})
    assert talk.tally.requests == {("subscribe", "sent"): 1, ("subscribe", "accepted"): 1}
    assert talk.session.useful


def test_while_a_request_is_under_way_nothing_but_heartbeats_is_sent() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=100.0)).want("A")
    talk.subscribes(0.0, "A")
    talk.want("AB")
    assert talk.due(5.0) == []
    assert talk.beats(10.0)["data"] == {}
    assert talk.due(15.0) == []


def test_when_nothing_is_wanted_any_more_22006_is_sent() -> None:
    talk = Conversation().accepted(0.0, "A").want("")
    message = talk.asks(2.0)
    assert (message["cmd_id"], message["data"]) == (CANCEL, {"cancel_type": 2})
    talk.hear(answer(message), now=2.1)
    assert talk.reconciler.accepted == frozenset()
    assert talk.tally.requests["cancel", "accepted"] == 1


def test_numbers_and_traces_are_never_used_twice() -> None:
    talk = Conversation().want("ABC")
    talk.run(ScriptedVenue(bad={"C"}), 60.0)
    numbers = [message["seq_id"] for _, message in talk.sent]
    assert numbers == list(range(1, len(numbers) + 1))
    traces = {message["trace"] for _, message in talk.sent}
    assert len(traces) == len(numbers)
    assert all(trace.startswith("7-") and len(trace) <= 64 for trace in traces)


def test_an_answer_is_matched_by_its_number() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=100.0)).want("A")
    request = talk.subscribes(0.0, "A")
    beat = talk.beats(10.0)
    talk.hear(answer(beat), now=10.1)
    assert talk.session.phase is Phase.ASKING
    talk.hear(answer(request), now=10.2)
    assert talk.states == {"A": State.WAITING}


def test_an_answer_without_a_number_belongs_to_the_oldest_request_of_its_kind() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=100.0)).want("A")
    request = talk.subscribes(0.0, "A")
    beat = talk.beats(10.0)
    talk.hear({**json.loads(answer(beat)), "seq_id": 0}, now=10.1)
    assert talk.states == {"A": State.PENDING}
    talk.hear({**json.loads(answer(request)), "seq_id": 0}, now=10.2)
    assert talk.states == {"A": State.WAITING}


def test_an_error_that_does_not_say_what_it_answers_belongs_to_the_oldest_message() -> None:
    talk = Conversation().want("AB")
    talk.subscribes(0.0, "A", "B")
    talk.hear(answer({}, 600), now=0.1)
    talk.subscribes(0.1 + GAP, "A")


def test_a_request_keeps_its_distance_from_the_answer_to_the_one_before() -> None:
    talk = Conversation().want("AB")
    talk.hear(answer(talk.subscribes(0.0, "A", "B"), 600), now=0.7)
    assert talk.due(GAP) == []
    talk.subscribes(1.7, "A")


def test_a_request_keeps_its_distance_from_the_answer_to_a_heartbeat() -> None:
    talk = Conversation().accepted(0.0, "A")
    heartbeat = talk.beats(10.0)
    talk.want("AB")
    talk.hear(answer(heartbeat, 200), now=10.7)
    assert talk.due(10.0 + GAP) == []
    talk.subscribes(11.7, "A", "B")


def test_an_error_about_codes_is_never_taken_for_a_heartbeats() -> None:
    talk = Conversation()
    talk.beats(10.0)
    talk.want("AB").subscribes(12.0, "A", "B")
    talk.hear(answer({}, 600), now=12.1)
    assert talk.session.phase is Phase.OPEN
    talk.subscribes(14.0, "A")


@pytest.mark.parametrize("ret", [200, 600])
@pytest.mark.parametrize("request_", [{}, {"cmd_id": SUBSCRIBE, "seq_id": 99}, {"cmd_id": HEARTBEAT, "seq_id": 1}])
def test_answers_to_nothing_are_harmless(request_: Message, ret: int) -> None:
    talk = Conversation().accepted(0.0, "A")
    received = talk.hear(answer(request_, ret), now=1.0)
    assert events(received) == ["answer_without_request"]
    assert talk.states == {"A": State.WAITING}
    assert (talk.session.phase, talk.fault(1.0)) == (Phase.OPEN, None)
    assert talk.tally.requests["unknown", "late"] == 1


# Missing answers


def test_a_request_without_an_answer_is_sent_once_more_and_then_the_connection_ends() -> None:
    talk = Conversation().want("A")
    talk.subscribes(0.0, "A")
    talk.hear(answer(talk.beats(10.0)), now=10.0)
    assert talk.due(10.5) == []  # the heartbeat's second
    talk.subscribes(11.1, "A")
    assert talk.fault(20.0) is None
    talk.hear(answer(talk.beats(20.0)), now=20.0)
    assert talk.due(21.1) == []
    fault = talk.fault(21.1)
    assert fault is not None
    assert fault.kind == "unanswered"
    assert talk.tally.requests["subscribe", "unanswered"] == 2


def test_the_moment_of_giving_up_is_known_before() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=4.0)).want("A")
    talk.subscribes(0.0, "A")
    assert talk.next_due(1.0) == 4.0
    talk.subscribes(4.0, "A")
    assert talk.next_due(5.0) == 8.0
    assert talk.due(8.0) == []
    assert talk.next_due(8.0) == 8.0  # there is a fault to hear of


def test_an_answer_clears_the_count_of_missing_ones() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=2.0)).want("A")
    talk.subscribes(0.0, "A")
    talk.hear(answer(talk.subscribes(2.0, "A")), now=2.1)
    talk.want("AB").subscribes(4.0, "A", "B")
    talk.subscribes(6.0, "A", "B")
    assert talk.fault(6.0) is None


def test_the_answer_to_a_request_that_was_given_up_is_harmless() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=2.0)).want("A")
    first = talk.subscribes(0.0, "A")
    second = talk.subscribes(2.0, "A")
    assert events(talk.hear(answer(first), now=2.1)) == ["answer_without_request"]
    assert talk.session.phase is Phase.ASKING
    talk.hear(answer(second), now=2.2)
    assert talk.states == {"A": State.WAITING}


def test_after_a_missing_answer_even_what_was_held_before_is_stated_again() -> None:
    talk = Conversation(Limits(1000, ack_timeout_s=2.0)).accepted(0.0, "A")
    talk.want("AB").subscribes(2.0, "A", "B")
    talk.want("A").subscribes(4.0, "A")


def test_a_venue_that_never_answers_lists_is_left_after_two_tries() -> None:
    talk = Conversation().want("A")
    end = talk.run(ScriptedVenue(mute={"list"}), 100.0)
    fault = talk.fault(end)
    assert fault is not None
    assert fault.kind == "unanswered"
    assert len(talk.moments(SUBSCRIBE)) == 2
    assert end <= 22.0


# Heartbeats and silence


def test_a_quiet_session_beats_every_ten_seconds_and_lives() -> None:
    talk = Conversation().want("A")
    assert talk.run(ScriptedVenue(), 300.0) == 300.0
    assert talk.moments(HEARTBEAT) == [pytest.approx(10.0 * beat, abs=0.01) for beat in range(1, 30)]
    assert len(talk.moments(SUBSCRIBE)) == 1


def test_two_heartbeats_without_an_answer_end_the_connection_when_the_third_is_due() -> None:
    talk = Conversation(Limits(1000, silence_s=1000.0))
    talk.beats(10.0)
    talk.beats(20.0)
    assert talk.fault(29.9) is None
    assert talk.next_due(29.9) == 30.0
    fault = talk.fault(30.0)
    assert fault is not None
    assert (fault.kind, fault.code) == ("heartbeat", None)


def test_ticks_do_not_stand_in_for_a_heartbeats_answer() -> None:
    talk = Conversation(Limits(1000, silence_s=5.0))
    for now in (2.0, 6.0, 10.0, 14.0, 18.0, 20.0, 24.0, 28.0, 30.0):
        talk.hear(tick(), now=now)
        assert (talk.fault(now) is None) == (now < 30.0)
        talk.due(now)


def test_one_answered_heartbeat_makes_up_for_those_before_it() -> None:
    talk = Conversation(Limits(1000, silence_s=1000.0))
    talk.beats(10.0)
    talk.hear(answer(talk.beats(20.0)), now=20.1)
    talk.beats(30.0)
    assert talk.fault(40.0) is None
    talk.beats(40.0)
    assert talk.fault(50.0) is not None


def test_a_late_answer_to_a_heartbeat_counts() -> None:
    talk = Conversation(Limits(1000, silence_s=1000.0))
    first = talk.beats(10.0)
    talk.beats(20.0)
    talk.hear(answer(first), now=29.0)
    assert talk.fault(30.0) is None
    talk.beats(30.0)
    assert talk.fault(40.0) is not None


def test_without_any_frame_the_connection_ends() -> None:
    talk = Conversation(now=100.0)
    assert talk.next_due(115.5) == 115.5  # a heartbeat is overdue
    talk.due(115.5)
    assert talk.next_due(115.5) == 125.0
    assert talk.fault(124.9) is None
    fault = talk.fault(125.0)
    assert fault is not None
    assert (fault.kind, fault.detail) == ("silence", "no frame for 25 s")


@pytest.mark.parametrize(
    "data",
    [
        frame(b"rubbish"),
        frame(b"", PING),
        frame(b"", PONG),
        frame(b"x", BINARY),
        frame(b"x" * 2000),
    ],
    ids=["text", "ping", "pong", "binary", "oversized"],
)
def test_any_frame_is_a_sign_of_life(data: bytes) -> None:
    talk = Conversation()
    talk.read(data, 24.0)
    assert talk.fault(48.9) is None
    assert talk.fault(49.0) is not None


def test_a_torn_frame_is_none() -> None:
    talk = Conversation()
    talk.read(frame(b"rubbish")[:-1], 24.0)
    assert talk.fault(25.0) is not None


# Errors by kind


def test_a_refused_token_ends_the_connection_and_a_close_frame_after_it_does_not_hide_why() -> None:
    talk = Conversation().want("A")
    refusal = answer(talk.subscribes(0.0, "A"), 401)
    talk.read(frame(refusal.encode()) + close_frame(1008, "bye"), 0.1)
    fault = talk.fault(0.1)
    assert fault is not None
    assert (fault.kind, fault.token, fault.code) == ("token", True, 1000)
    assert talk.due(30.0) == []
    assert not talk.session.useful


@pytest.mark.parametrize("ret", [401, 403])
def test_a_token_refused_before_anything_was_asked_is_refused(ret: int) -> None:
    talk = Conversation()
    talk.hear(answer({}, ret), now=0.1)
    fault = talk.fault(0.1)
    assert fault is not None
    assert (fault.kind, fault.token, fault.code) == ("token", True, 1000)


def test_too_fast_takes_back_that_the_connection_was_useful_until_the_venue_grants_something() -> None:
    talk = Conversation().accepted(0.0, "A").want("AB")
    useful = [talk.session.useful]
    talk.hear(answer(talk.subscribes(2.0, "A", "B"), 606), now=2.1)
    useful.append(talk.session.useful)
    talk.hear(answer(talk.beats(10.0)), now=10.1)
    useful.append(talk.session.useful)
    assert useful == [True, False, True]


@pytest.mark.parametrize("ret", [429, 605, 606, 999])
def test_too_fast_makes_it_slower_each_time_until_it_is_accepted(ret: int) -> None:
    talk = Conversation().want("A")
    venue = ScriptedVenue(next_rets=[ret] * 4)
    talk.run(venue, 40.0)
    asked = talk.moments(SUBSCRIBE)
    assert len(asked) == 5
    for (one, two), least in zip(pairwise(asked), (2, 4, 8, 16), strict=True):
        assert least * GAP <= two - one <= (least + 3) * GAP
    assert talk.states == {"A": State.WAITING}


def test_after_an_accepted_request_too_fast_is_the_first_time_again() -> None:
    talk = Conversation().want("A")
    venue = ScriptedVenue(next_rets=[605, 605, 605])
    end = talk.run(venue, 30.0)
    venue.next_rets = [605]
    talk.want("AB").run(venue, end + 10.0, now=end)
    one, two = talk.moments(SUBSCRIBE)[-2:]
    assert two - one <= 4 * GAP


not_understood = pytest.mark.parametrize("ret", [400, 402, 201, 202])


@not_understood
def test_accepted_codes_that_the_venue_does_not_understand_are_logged_with_the_request_and_wait_a_minute(
    ret: int,
) -> None:
    talk = Conversation().accepted(0.0, "A", "B").want("A", 1.0)
    request = talk.subscribes(2.0, "A")
    (note,) = talk.hear(answer(request, ret), now=2.1).notes
    assert (note.event, note.level) == ("request_refused", "error")
    assert json.loads(str(note.fields["request"])) == request
    assert note.fields == {
        "ret": ret, "says": "no", "remedy": "bug", "codes": 1, "new": 0, "among_the_new": [],
        "request": note.fields["request"],
    }  # fmt: skip
    talk.run(ScriptedVenue(), 100.0, now=2.1)
    assert talk.moments(SUBSCRIBE)[2] >= 62.1
    assert talk.states == {"A": State.WAITING}


@not_understood
def test_each_request_with_new_codes_that_is_not_understood_is_an_error_with_what_was_asked(ret: int) -> None:
    talk = Conversation().want([f"{number:05d}.HK" for number in range(100)])
    request = talk.asks(0.0)
    (note,) = talk.hear(answer(request, ret), now=0.1).notes
    assert (note.event, note.level, note.fields["remedy"], note.fields["new"]) == (
        "request_refused", "error", "narrow", 100
    )  # fmt: skip
    assert json.dumps(request, separators=(",", ":")).startswith(str(note.fields["request"]))
    assert note.fields["among_the_new"] == [f"{number:05d}.HK" for number in range(10)]


@every_refusal
def test_one_code_that_is_not_understood_among_fifty_new_is_found_within_forty_seconds_and_the_others_held(
    refused: Refused,
) -> None:
    live, new = [f"C{number}" for number in range(100)], [f"N{number}" for number in range(50)]
    talk = Conversation().want(live)
    venue = ScriptedVenue(bad={"N17"}, bad_ret=400, refused=refused)
    begin = talk.run(venue, 10.0)
    talk.want([*live, *new], begin).run(venue, begin + 120.0, now=begin)
    assert venue.held == {*live, *new} - {"N17"}
    assert all(set(live) <= set(request) for request in venue.requests)
    reasons = {symbol: verdict.reason for symbol, _, _, verdict in talk.reconciler.states(connected=True) if verdict}
    assert reasons == {"N17": "venue_400"}
    assert talk.moments(SUBSCRIBE)[-1] - begin <= 40.0
    assert talk.session.useful


def test_a_venue_that_understands_nothing_is_asked_ever_more_slowly() -> None:
    talk = Conversation().want([f"C{number}" for number in range(64)])
    talk.run(ScriptedVenue(next_rets=[400] * 1000), 600.0)
    asked = talk.moments(SUBSCRIBE)
    waits = [after - before for before, after in pairwise(asked)]
    assert all(wait >= least * GAP for wait, least in zip(waits, (2, 4, 8, 16, *(32,) * 100), strict=False))
    assert 10 <= len(asked) <= 25


@pytest.mark.parametrize("ret", [600, 601, 604])
def test_a_bad_code_is_a_warning_and_its_neighbours_go_on(ret: int) -> None:
    talk = Conversation().want("AB")
    (note,) = talk.hear(answer(talk.subscribes(0.0, "A", "B"), ret), now=0.1).notes
    assert (note.event, note.level, note.fields["remedy"]) == ("request_refused", "warning", "narrow")
    assert "request" not in note.fields


def test_too_many_codes_are_asked_for_by_halves_at_the_usual_pace() -> None:
    talk = Conversation().want("ABCDEFGH")
    (note,) = talk.hear(answer(talk.subscribes(0.0, *"ABCDEFGH"), 603), now=0.1).notes
    assert (note.level, note.fields["remedy"]) == ("warning", "shrink")
    talk.hear(answer(talk.subscribes(0.1 + GAP, *"ABCD")), now=2.0)
    assert {symbol for symbol, state in talk.states.items() if state is State.WAITING} == set("ABCD")


def test_too_many_for_even_one_code_is_slowed_down_not_hammered() -> None:
    talk = Conversation().want("A")
    talk.run(ScriptedVenue(cap=0), 120.0)
    assert len(talk.moments(SUBSCRIBE)) <= 8


@pytest.mark.parametrize(
    ("ret", "kind"), [(401, "token"), (429, None), (600, None), (603, None), (400, None)]
)  # fmt: skip
def test_a_refused_heartbeat_has_its_remedy_too(ret: int, kind: str | None) -> None:
    talk = Conversation().accepted(0.0, "A")
    received = talk.hear(answer(talk.beats(10.0), ret), now=10.1)
    assert events(received) == ["request_refused"]
    fault = talk.fault(10.1)
    assert (fault.kind if fault else None) == kind
    assert talk.tally.requests["heartbeat", "refused"] == 1
    assert talk.tally.refusals.total() == 1
    talk.want("AB")
    assert (talk.due(10.1 + GAP) == []) == (ret in (401, 429, 400))


# Frames


def test_ticks_come_out_in_order_and_unusable_ones_are_counted() -> None:
    talk = Conversation()
    received = talk.hear(tick("A"), tick("B"), {"cmd_id": 22998}, tick("C"), now=1.0)
    assert [one.code for one in received.ticks] == ["A", "B", "C"]
    assert received.bad_ticks == 1
    (note,) = received.notes
    assert (note.event, note.fields) == ("tick_unreadable", {"count": 1, "newest": '{"cmd_id": 22998}'})
    assert talk.tally.frames == {"tick": 4}


def test_pings_are_to_be_answered_with_what_they_carry() -> None:
    talk = Conversation()
    assert talk.read(frame(b"one", PING) + frame(b"two", PING) + frame(b"", PONG), 1.0).pongs == [b"one", b"two"]
    assert talk.tally.frames == {"ping": 2, "pong": 1}


def test_frames_are_counted_by_kind_and_odd_ones_are_told() -> None:
    talk = Conversation()
    talk.accepted(0.0, "A")
    talk.hear(answer(talk.beats(10.0)), now=10.1)
    data = frame(b"rubbish") + frame(b"[]") + frame(b'{"cmd_id":22999,"data":{}}') + frame(b'{"cmd_id":1}')
    received = talk.read(data + frame(b"x", BINARY) + frame(b"x" * 2000) * 2, 11.0)
    assert talk.tally.frames == Counter(
        answer=1, heartbeat=1, not_json=1, wrong_type=1, depth=1, unknown=1, binary=1, oversized=2
    )
    assert sorted((note.event, note.level, note.fields["count"]) for note in received.notes) == [
        ("frame_binary", "warning", 1),
        ("frame_not_json", "warning", 1),
        ("frame_oversized", "warning", 2),
        ("frame_unknown", "warning", 1),
        ("frame_wrong_type", "warning", 1),
    ]


def test_a_breach_of_the_protocol_ends_the_connection_and_keeps_the_ticks_before_it() -> None:
    talk = Conversation()
    received = talk.read(frame(json.dumps(tick()).encode()) + b"\xff\xff", 1.0)
    assert len(received.ticks) == 1
    fault = talk.fault(1.0)
    assert fault is not None
    assert (fault.kind, fault.code) == ("protocol", 1002)
    assert talk.tally.frames["protocol_error"] == 1
    assert talk.due(10.0) == []


@pytest.mark.parametrize(
    ("data", "detail"),
    [(close_frame(1001, "maintenance"), "close code 1001 maintenance"), (frame(b"", 0x8), "close code 1005")],
)
def test_a_close_frame_ends_the_connection_and_is_answered(data: bytes, detail: str) -> None:
    talk = Conversation()
    talk.read(data, 1.0)
    assert talk.fault(1.0) == Fault("closed_by_venue", detail, 1000)
    assert talk.tally.frames == {"close": 1}
    assert talk.next_due(1.0) == 1.0


def test_no_message_of_the_venue_can_flood_the_log() -> None:
    talk = Conversation().want("A")
    refusal = {**json.loads(answer(talk.subscribes(0.0, "A"), 400)), "msg": "x" * 900}
    (note,) = talk.hear(refusal, now=0.1).notes
    assert all(len(str(value)) <= 500 for value in note.fields.values())


# The table of errors


def test_every_kind_of_error_has_its_label_from_the_first_scrape() -> None:
    ends = {error.kind for error in ERRORS if error.remedy in (None, Remedy.TOKEN)}
    ours = {"opened", "revoked", "lost", "stop"}
    assert {*SESSION_OUTCOMES, *DISCONNECT_REASONS} - ours == ends


def test_only_the_kinds_of_the_table_end_a_connection() -> None:
    source = ast.parse(Path(inspect.getfile(Session)).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Fault"]
    kinds = {ast.literal_eval(call.args[0]) for call in calls}
    assert kinds == {"silence", "heartbeat", "unanswered", "token", "protocol", "closed_by_venue"}
    assert kinds <= BY_KIND.keys()


def test_no_status_and_no_ret_is_of_two_kinds() -> None:
    for numbers in ([n for one in ERRORS for n in one.upgrade], [n for one in ERRORS for n in one.ret]):
        assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("remedy", Remedy)
def test_every_remedy_has_its_wait(remedy: Remedy) -> None:
    assert wait_after(remedy) is (
        {Remedy.NARROW: Wait.PACE, Remedy.SHRINK: Wait.PACE, Remedy.SLOW: Wait.SLOWER}.get(remedy, Wait.LONGEST)
    )


# The phases


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("phase", Phase)
def test_what_is_not_in_the_table_raises_and_changes_nothing(phase: Phase, event: Event) -> None:
    session = Conversation().session
    session._phase = phase
    if (phase, event) in TRANSITIONS:
        session._move(event)
        assert session.phase is TRANSITIONS[phase, event]
    else:
        with pytest.raises(LocalProtocolError, match=f"{event.name} cannot happen in phase {phase.name}"):
            session._move(event)
        assert session.phase is phase


def test_the_table_is_this() -> None:
    assert {(phase.name, event.name, then.name) for (phase, event), then in TRANSITIONS.items()} == {
        ("OPEN", "ASKED", "ASKING"),
        ("ASKING", "ACCEPTED", "OPEN"),
        ("ASKING", "REFUSED", "OPEN"),
        ("ASKING", "UNANSWERED", "OPEN"),
        ("OPEN", "ENDED", "CLOSED"),
        ("ASKING", "ENDED", "CLOSED"),
    }


def test_an_ended_session_says_nothing_more_and_cannot_end_twice() -> None:
    talk = Conversation().want("A")
    talk.subscribes(0.0, "A")
    talk.session.ended()
    assert talk.due(50.0) == []
    with pytest.raises(LocalProtocolError):
        talk.session.ended()


# Asleep


def test_a_settled_session_sleeps_until_its_heartbeat() -> None:
    assert Conversation().accepted(0.0, "A").next_due(3.0) == 10.0


def test_a_session_with_something_to_say_sleeps_until_it_may() -> None:
    talk = Conversation().accepted(0.0, "A").want("AB")
    assert talk.next_due(0.5) == pytest.approx(GAP)
    assert talk.due(talk.next_due(0.5)) != []


def test_a_session_wakes_to_try_a_refused_code_again() -> None:
    talk = Conversation(Limits(1000, heartbeat_s=1e6, silence_s=1e6)).want("AB")
    talk.run(ScriptedVenue(bad={"B"}), 30.0)
    assert talk.next_due(30.0) == talk.reconciler.retry_at < 3700


def test_in_time_slots_it_wakes_for_the_heartbeat_that_comes_early() -> None:
    limits = Limits(1000, partitions=2)
    wall_of_turn = -WALL % 7.0  # a moment at which the first partition's slot opens
    talk = Conversation(limits, partition=1, now=wall_of_turn).accepted(wall_of_turn + 3.5, "A")
    talk.want("AB")
    assert talk.next_due(wall_of_turn + 5.0) == pytest.approx(wall_of_turn + 10.5 - GAP)
    assert talk.beats(wall_of_turn + 10.5 - GAP)
    assert talk.next_due(wall_of_turn + 10.0) == pytest.approx(wall_of_turn + 10.5)


# Whole conversations


@every_refusal
@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize("bad", [1, 5, 50])
def test_bad_codes_among_three_hundred_are_found_by_the_venues_rules(
    refused: Refused, correlated: bool, bad: int
) -> None:
    everything = [f"C{number}" for number in range(300)]
    wrong = {everything[number * 300 // bad] for number in range(bad)}
    venue = ScriptedVenue(bad=wrong, refused=refused, correlated=correlated)
    talk = Conversation().want(everything)
    assert talk.run(venue, 900.0) == 900.0
    assert venue.held == set(everything) - wrong
    assert {code for code, state in talk.states.items() if state is State.REJECTED} == wrong
    assert all(two - one >= 1.0 for one, two in pairwise(talk.moments()))
    assert all(two - one <= 10.01 for one, two in pairwise(talk.moments(HEARTBEAT)))


def test_a_burst_of_changes_costs_as_few_requests_as_pacing_allows() -> None:
    talk, venue = Conversation(), ScriptedVenue()
    for number in range(500):
        talk.want([f"C{one}" for one in range(number % 17 + 1)], now=number * 0.01)
        talk.run(venue, number * 0.01 + 0.01, now=number * 0.01, latency=0.0)
    talk.run(venue, 20.0, now=5.0)
    assert venue.held == {f"C{one}" for one in range(499 % 17 + 1)}
    assert len(talk.moments(SUBSCRIBE)) <= 6


def test_after_a_reconnect_everything_is_sent_again_once() -> None:
    talk, venue = Conversation(), ScriptedVenue()
    talk.want("ABC").run(venue, 30.0)
    talk.session.ended()
    venue.reconnect()
    again = Conversation(reconciler=talk.reconciler, now=40.0)
    assert again.states == dict.fromkeys("ABC", State.PENDING)
    again.run(venue, 80.0, now=40.0)
    assert venue.held == set("ABC")
    assert venue.requests == [tuple("ABC")] * 2


@pytest.mark.parametrize("correlated", [True, False])
def test_a_venue_that_is_slow_to_answer_is_still_understood(correlated: bool) -> None:
    venue = ScriptedVenue(bad={"C3", "C4"}, correlated=correlated, refused="clear")
    talk = Conversation().want([f"C{number}" for number in range(20)])
    assert talk.run(venue, 300.0, latency=4.0) == 300.0
    assert venue.held == {f"C{number}" for number in range(20)} - venue.bad
