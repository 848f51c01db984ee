"""What /status says."""

import json
from typing import Any

import pytest

from bridge.model import State, SymbolState
from bridge.observe.health import Check, Health
from bridge.observe.status import Identity, status
from bridge.settings import Settings
from bridge.snapshots import Accounts, ControlSnapshot, FeedSnapshot, LinkState

WELL = Health({"kafka": Check(ok=True, detail="reachable")})


@pytest.fixture
def identity() -> Identity:
    settings = Settings(
        name="prices",
        kafka={"bootstrap_servers": "127.0.0.1:9", "sasl_password": "kafka-secret"},
        upstream={"token": "venue-secret", "plan": "basic"},
    )
    return Identity(settings, "pod-7", "9.9")


def document(
    identity: Identity,
    feed: FeedSnapshot | None = None,
    control: ControlSnapshot | None = None,
    alive: Health = WELL,
    ready: Health = WELL,
) -> dict[str, Any]:
    text = status(
        identity, feed or FeedSnapshot(), control or ControlSnapshot(), alive=alive, ready=ready, now_us=1_790_000_000
    )
    found: dict[str, Any] = json.loads(text)
    return found


def test_it_says_who_answers(identity: Identity) -> None:
    found = document(identity)
    assert (found["name"], found["instance"], found["version"]) == ("prices", "pod-7", "9.9")
    assert found["now_us"] == 1_790_000_000
    assert found["upstream"] == {"market": "stock", "dialect": "alltick", "plan": "basic", "max_symbols": 100}


def test_it_holds_no_secret(identity: Identity) -> None:
    assert "secret" not in json.dumps(document(identity))


def test_it_says_what_the_probes_say(identity: Identity) -> None:
    stuck = Health({"feed_loop": Check(ok=False, detail="has not turned for 31 s")})
    found = document(identity, alive=stuck)
    assert (found["healthy"], found["ready"]) == (False, True)
    assert found["checks"] == {
        "feed_loop": {"ok": False, "detail": "has not turned for 31 s"},
        "kafka": {"ok": True, "detail": "reachable"},
    }


def test_the_accounts_have_the_terms_of_the_contract_and_nothing_else(identity: Identity) -> None:
    found = document(identity, FeedSnapshot(accounts=Accounts(received=5, published=3, in_flight=2)))
    assert found["accounts"] == {
        **dict.fromkeys(
            (
                *("received", "recovered", "published", "duplicate", "filtered"),
                *("invalid", "conflated", "dropped", "undeliverable", "in_flight"),
            ),
            0,
        ),
        "received": 5,
        "published": 3,
        "in_flight": 2,
    }
    assert found["balanced"] is True


def test_accounts_that_do_not_add_up_are_not_hidden(identity: Identity) -> None:
    assert document(identity, FeedSnapshot(accounts=Accounts(received=5)))["balanced"] is False


def test_a_partition_shows_its_connection(identity: Identity) -> None:
    link = LinkState(0, session=17, connected=True, since_us=1_789, settled=True, accepted=4, removals_held=2)
    found = document(identity, FeedSnapshot(links=(link,)), ControlSnapshot(owned=(0,), caught_up=(0,)))
    assert found["partitions"] == [
        {
            "partition": 0,
            "owned": True,
            "caught_up": True,
            "session": 17,
            "connected": True,
            "since_us": 1_789,
            "settled": True,
            "accepted": 4,
            "removals_held": 2,
            "reason": "",
            "detail": "",
        }
    ]


def test_partitions_are_those_owned_and_those_still_connected_in_order(identity: Identity) -> None:
    leaving = FeedSnapshot(links=(LinkState(2, connected=True),))
    found = document(identity, leaving, ControlSnapshot(owned=(3, 1)))["partitions"]
    assert [(row["partition"], row["owned"], row["connected"]) for row in found] == [
        (1, True, False),
        (2, False, True),
        (3, True, False),
    ]
    assert found[0]["session"] is None
    assert found[0]["since_us"] is None


def test_a_symbol_shows_its_state_and_price_as_it_was_sent(identity: Identity) -> None:
    row = SymbolState("HKEX:00700", "700.HK", State.LIVE, last_tick_us=1_789, price="512.500000", priority=3)
    assert document(identity, FeedSnapshot(symbols=(row,)))["symbols"] == [
        {
            "symbol": "HKEX:00700",
            "code": "700.HK",
            "state": "live",
            "reason": "",
            "detail": "",
            "last_tick_us": 1_789,
            "price": "512.500000",
            "priority": 3,
        }
    ]


def test_what_is_not_known_of_a_symbol_is_null(identity: Identity) -> None:
    row = SymbolState("NOPE", "NOPE", State.REJECTED, "venue_600", "the venue does not know it")
    (found,) = document(identity, FeedSnapshot(symbols=(row,)))["symbols"]
    assert (found["last_tick_us"], found["price"]) == (None, None)
    assert (found["reason"], found["detail"]) == ("venue_600", "the venue does not know it")


def test_backpressure_shows_what_waits_and_its_bounds(identity: Identity) -> None:
    feed = FeedSnapshot(
        accounts=Accounts(in_flight=9),
        places={"handed_over": 5, "queue": 4},
        queue_bytes=800,
        spill_bytes=70,
        kafka_trouble="no broker",
    )
    assert document(identity, feed)["backpressure"] == {
        "policy": "drop_oldest",
        "in_flight": 9,
        "places": {"handed_over": 5, "queue": 4},
        "handed_over_max": 25_000,
        "queue_bytes": 800,
        "queue_max_bytes": 64 * 1024 * 1024,
        "spill_bytes": 70,
        "trouble": "no broker",
    }


@pytest.mark.parametrize(
    ("control", "caught_up"),
    [
        (ControlSnapshot(), False),
        (ControlSnapshot(member=True), True),
        (ControlSnapshot(member=True, owned=(0, 1), caught_up=(0,)), False),
        (ControlSnapshot(member=True, owned=(0, 1), caught_up=(0, 1)), True),
    ],
)
def test_control_is_caught_up_when_all_that_is_owned_was_read(
    identity: Identity, control: ControlSnapshot, caught_up: bool
) -> None:
    assert document(identity, control=control)["control"]["caught_up"] is caught_up


def test_control_shows_how_far_it_read(identity: Identity) -> None:
    control = ControlSnapshot(member=True, owned=(0,), records={"used": 8}, lag=2, old_records=1, trouble="slow")
    assert document(identity, control=control)["control"] == {
        "member": True,
        "owned": [0],
        "caught_up": False,
        "lag": 2,
        "records": {"used": 8},
        "running_on_old_record": 1,
        "trouble": "slow",
    }


def test_a_symbol_whose_newest_record_is_unusable_is_invalid_whether_or_not_an_older_one_is_in_force(
    identity: Identity,
) -> None:
    feed = FeedSnapshot(
        symbols=(
            SymbolState("AAPL.US", "AAPL.US", State.LIVE, last_tick_us=7),
            SymbolState("TSLA.US", "TSLA.US", State.LIVE, last_tick_us=8),
        )
    )
    control = ControlSnapshot(unusable={"AAPL.US": ("bad_json", "at byte 3"), "700.HK": ("bad_type", "priority")})
    found = {row["symbol"]: row for row in document(identity, feed, control)["symbols"]}
    assert {symbol: (row["state"], row["reason"]) for symbol, row in found.items()} == {
        "AAPL.US": ("invalid", "bad_json"),
        "TSLA.US": ("live", ""),
        "700.HK": ("invalid", "bad_type"),
    }
    assert found["AAPL.US"]["last_tick_us"] == 7
