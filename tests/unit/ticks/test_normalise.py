"""Every tick becomes one record or one count, whatever its fields hold, on whichever of the two roads it takes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bridge import schemas
from bridge.ticks import times
from bridge.ticks.normalise import Batch, Normaliser
from bridge.ticks.symbols import Symbols
from bridge.ticks.times import DAY_US, EARLIEST_US

SIDES: dict[int | str | None, str] = {0: "none", 1: "buy", 2: "sell", "0": "none", "1": "buy", "2": "sell"}
RECV_US = 1_790_000_000_298_114
TIME_MS = 1_790_000_000_123
SESSION = 1_789_999_876_543_210


@dataclass(frozen=True)
class Tick:
    """A tick as a dialect gives it, usual in every field."""

    code: str = "700.HK"
    price: str = "512.500000"
    volume: str | None = "300"
    turnover: str | None = "153750.000000"
    open_24h: str | None = None
    side: int | str | None = 1
    seq: int | str | None = "1001"
    time: int | str | None = str(TIME_MS)


#: The record of a usual tick, and fields that send the tick down the careful road without changing that record.
RECORD = {
    "v": 1,
    "venue": "alltick",
    "symbol": "HKEX:00700",
    "code": "700.HK",
    "session": SESSION,
    "price": "512.500000",
    "volume": "300",
    "turnover": "153750.000000",
    "side": "buy",
    "seq": "1001",
    "ts_event_us": TIME_MS * 1000,
    "ts_recv_us": RECV_US,
}
LOOKS_ODD: dict[str, Any] = {"open_24h": "NaN"}


def symbols() -> Symbols:
    found = Symbols("alltick")
    found.desire({"700.HK": "HKEX:00700", "AAPL.US": "AAPL.US"})
    return found


class Hall:
    """A normaliser with its symbols, through which ticks go batch by batch."""

    def __init__(self, *, without_seq: bool = True) -> None:
        self.normaliser = Normaliser(SIDES, without_seq=without_seq)
        self.symbols = symbols()

    def batch(self, *ticks: Tick, recv_us: int = RECV_US, session: int = SESSION) -> Batch:
        return self.normaliser.batch(ticks, self.symbols, recv_us, session)

    def carefully(self, *ticks: Tick) -> Batch:
        """Send ticks that have a route down the careful road, all of them."""
        done = Batch()
        for tick in ticks:
            route = self.symbols.routes[tick.code]
            self.normaliser._careful(tick, route, self.symbols, (RECV_US, SESSION), done)
        return done


def values(batch: Batch) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value, _ in batch.records]


def record(**fields: Any) -> dict[str, Any]:
    """Give the one record that a tick with these fields becomes."""
    (value,) = values(Hall().batch(Tick(**fields)))
    return value


def prices(batch: Batch) -> list[str]:
    return [value["price"] for value in values(batch)]


def counts(batch: Batch) -> tuple[int, int, int, int]:
    return len(batch.records), batch.filtered, batch.duplicate, batch.invalid


def label(value: object) -> str:
    """Name a test after a value, shortly."""
    return "huge" if value == HUGE else ascii(value)[:24]


#: More digits than Python will read or write.
HUGE = 10**5000

ONE, FILTERED, DUPLICATE, INVALID = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(schemas.load("tick"))


# What a record is


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_a_usual_tick_becomes_a_record_with_all_it_says(odd: dict[str, Any]) -> None:
    assert record(**odd) == RECORD


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_a_record_has_the_symbol_as_key_and_the_receive_time_as_timestamp(odd: dict[str, Any]) -> None:
    ((key, _, timestamp_ms),) = Hall().batch(Tick(**odd)).records
    assert (key, timestamp_ms) == (b"HKEX:00700", 1_790_000_000_298)


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_the_newest_tick_and_price_of_a_symbol_are_remembered(odd: dict[str, Any]) -> None:
    hall = Hall()
    hall.batch(Tick(**odd))
    route = hall.symbols.routes["700.HK"]
    assert (route.last_us, route.price) == (RECV_US, "512.500000")


@pytest.mark.parametrize("field", ["volume", "turnover"])
def test_what_the_venue_does_not_give_is_left_out(field: str) -> None:
    for unknown in (None, ""):
        assert record(**{field: unknown}) == {name: value for name, value in RECORD.items() if name != field}


def test_forex_without_volume_and_turnover_is_a_record_without_them() -> None:
    left = {name: value for name, value in RECORD.items() if name not in ("volume", "turnover")}
    assert record(volume=None, turnover=None) == left


@pytest.mark.parametrize("side", [None, 3, -1, "buy", ""])
def test_a_side_that_the_venue_does_not_have_is_left_out(side: int | str | None) -> None:
    assert record(side=side) == {name: value for name, value in RECORD.items() if name != "side"}


@pytest.mark.parametrize(("side", "word"), [(0, "none"), (1, "buy"), (2, "sell"), ("2", "sell")])
def test_sides_are_in_our_words(side: int | str, word: str) -> None:
    assert record(side=side)["side"] == word


def test_the_price_of_24_hours_ago_is_kept_where_the_venue_gives_it() -> None:
    assert record(open_24h="500.0") == {**RECORD, "open_24h": "500.0"}


def test_integers_become_text_where_the_format_has_text() -> None:
    assert record(seq=1001, time=TIME_MS) == RECORD


@pytest.mark.parametrize(("sent", "written"), [("5.125e2", "512.5"), ("1E3", "1000"), ("25e-4", "0.0025")])
def test_an_exponent_is_written_out(sent: str, written: str) -> None:
    assert record(price=sent, volume=sent)["price"] == written
    assert record(price=sent, volume=sent)["volume"] == written


def test_digits_stand_as_they_were_sent() -> None:
    sent = "0000512.50000000000000000000000000"
    assert record(price=sent, volume=sent, turnover=sent)["price"] == sent


@pytest.mark.parametrize("seq", ["-5", "12a", 'a"b\\c\n', "é😀", "１２", "²", "9" * 64, " 1", "+1", "1_0"])  # noqa: RUF001
def test_a_seq_that_is_no_number_stands_as_it_was_sent(seq: str) -> None:
    assert record(seq=seq)["seq"] == seq


@pytest.mark.parametrize("seq", [-5, 0, 2**64 + 1, 10**40])
def test_an_integer_seq_of_any_size_stands_digit_by_digit(seq: int) -> None:
    assert record(seq=seq)["seq"] == str(seq)


@pytest.mark.parametrize("seq", [None, "", "9" * 65, "9" * 5000, HUGE, "\ud800"], ids=label)
def test_a_seq_that_nobody_could_use_is_left_out(seq: int | str | None) -> None:
    assert record(seq=seq) == {name: value for name, value in RECORD.items() if name != "seq"}


@pytest.mark.parametrize(
    "amount", ["abc", "1.2.3", ".5", "5.", "1e999", "NaN", "inf", "9" * 65, "9" * 5000, "\ud800", " 1"]
)
def test_an_amount_that_is_no_decimal_is_left_out_and_the_tick_is_used(amount: str) -> None:
    assert record(volume=amount, turnover=amount, open_24h=amount) == {
        name: value for name, value in RECORD.items() if name not in ("volume", "turnover")
    }


# Prices


@pytest.mark.parametrize("price", ["0.0000001", "0.5", "00.5", "1", "9" * 32, "9" * 64, "1e-99"])
@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_any_price_above_zero_is_good(price: str, odd: dict[str, Any]) -> None:
    assert counts(Hall().batch(Tick(price=price, **odd))) == ONE


@pytest.mark.parametrize("price", ["0", "0.0", "000.000", "0e5", "0.0E-7", "-0", "-1", "-0.5", "-1e5"])
@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_a_price_not_above_zero_is_invalid(price: str, odd: dict[str, Any]) -> None:
    assert counts(Hall().batch(Tick(price=price, **odd))) == INVALID


RUBBISH = ["", " ", "abc", "NaN", "inf", "-inf", "Infinity", "1_0", "+1", " 1", "1 ", "1\n", ".5", "5.", "1.2.3", "0x1"]
ODD_DIGITS = [
    "\u0661\u0662",
    "\uff15",
    "\u00b2",
    "1e999",
    "1e",
    "e5",
    "9" * 65,
    "9" * 5000,
    "\ud800",
    "1\x00",
    '1"',
    "None",
]


@pytest.mark.parametrize("price", [*RUBBISH, *ODD_DIGITS])
def test_a_price_that_is_no_decimal_is_invalid(price: str) -> None:
    assert counts(Hall().batch(Tick(price=price))) == INVALID


def test_an_invalid_tick_changes_nothing_for_its_symbol() -> None:
    hall = Hall()
    hall.batch(Tick(price="0"))
    route = hall.symbols.routes["700.HK"]
    assert (route.last_us, route.price) == (0, "")
    assert counts(hall.batch(Tick())) == ONE


@pytest.mark.parametrize("open_24h", ["0", "0.000", "-1", "-0.5", "0e5", "NaN", ""])
def test_an_opening_price_that_cannot_be_is_left_out_and_the_tick_stays(open_24h: str) -> None:
    assert record(open_24h=open_24h) == RECORD


# Times


@pytest.mark.parametrize(
    ("time", "event_us"),
    [
        ("1790000000123", 1_790_000_000_123_000),
        (1_790_000_000_123, 1_790_000_000_123_000),
        ("1605509068", 1_605_509_068_000_000),
        (1_605_509_068, 1_605_509_068_000_000),
        ("0001605509068", 1_605_509_068_000_000),
    ],
)
def test_seconds_and_milliseconds_are_told_apart_by_their_size(time: int | str, event_us: int) -> None:
    assert record(time=time)["ts_event_us"] == event_us


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
@pytest.mark.parametrize(
    ("time", "outcome"),
    [
        (946_684_799, INVALID),
        (946_684_800, ONE),
        ((RECV_US + DAY_US) // 1000, ONE),
        ((RECV_US + DAY_US) // 1000 + 1, INVALID),
        (946_684_799_999, INVALID),
        (946_684_800_000, ONE),
        (99_999_999_999, INVALID),  # seconds: the year 5138
        (100_000_000_000, INVALID),  # milliseconds: the year 1973
        (0, INVALID),
        (-1, INVALID),
        (HUGE, INVALID),
    ],
    ids=label,
)
def test_a_time_is_between_the_year_2000_and_tomorrow(
    time: int, outcome: tuple[int, int, int, int], odd: dict[str, Any]
) -> None:
    assert counts(Hall().batch(Tick(time=time, **odd))) == outcome


def test_the_bounds_themselves_are_times() -> None:
    recv_us = EARLIEST_US
    batch = Hall().batch(Tick(time=946_684_800_000), Tick(time=946_771_200_000), recv_us=recv_us)
    assert [value["ts_event_us"] for value in values(batch)] == [EARLIEST_US, recv_us + DAY_US]


@pytest.mark.parametrize(
    "time", [*RUBBISH[1:], "9" * 65, "9" * 5000, "1790000000123.5", "1.79e12", "+1790000000123", "\ud800"]
)
def test_a_time_that_is_no_whole_number_is_invalid(time: str) -> None:
    assert counts(Hall().batch(Tick(time=time))) == INVALID


@pytest.mark.parametrize("time", ["1_790_000_000_123", " 1790000000123", "\u0661790000000123", "1790000000123\n"])
def test_a_time_in_anything_but_ascii_digits_is_invalid(time: str) -> None:
    assert counts(Hall().batch(Tick(time=time))) == INVALID


@pytest.mark.parametrize("none", [None, ""])
def test_a_tick_without_a_time_has_none(none: str | None) -> None:
    (value,) = values(Hall().batch(Tick(time=none)))
    assert "ts_event_us" not in value


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (Tick(price="0.00"), ("price", "0.00")),
        (Tick(time="yesterday"), ("time", "yesterday")),
        (Tick(time=10**5000), ("time", "too long")),
    ],
)
def test_of_the_last_invalid_tick_it_is_told_what_is_wrong_with_it(odd: Tick, told: tuple[str, str]) -> None:
    batch = Hall().batch(Tick(), odd)
    assert batch.refused == (odd.code, *told)


@pytest.mark.parametrize("second", [Tick(seq="1001"), Tick(seq="1001", price="1e2")])
def test_a_seq_is_the_same_as_a_number_and_as_text(second: Tick) -> None:
    first = Tick(seq=1001, price=second.price)
    assert counts(Hall().batch(first, second)) == (1, 0, 1, 0)


def test_a_time_in_microseconds_or_written_out_is_read_too() -> None:
    for time in ("1790000000123456", 1_790_000_000_123_456, "2026-09-21T14:13:20.123456Z"):
        assert record(time=time)["ts_event_us"] == 1_790_000_000_123_456


def test_a_tick_without_time_is_a_record_without_ts_event_us() -> None:
    assert record(time=None) == {name: value for name, value in RECORD.items() if name != "ts_event_us"}


def test_each_tick_of_a_batch_has_its_own_time() -> None:
    times = [TIME_MS, TIME_MS + 1, None, TIME_MS + 1, TIME_MS, "rubbish", TIME_MS]
    batch = Hall().batch(*(Tick(time=time, seq=seq) for seq, time in enumerate(times)))
    assert [value.get("ts_event_us", 0) // 1000 for value in values(batch)] == [
        TIME_MS, TIME_MS + 1, 0, TIME_MS + 1, TIME_MS, TIME_MS,
    ]  # fmt: skip


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_the_newest_usable_time_of_a_batch_is_told(odd: dict[str, Any]) -> None:
    batch = Hall().batch(*(Tick(time=time, **odd) for time in (TIME_MS, TIME_MS + 5, 7, None)))
    assert batch.newest_event_us == (TIME_MS + 5) * 1000


@pytest.mark.parametrize("time", [None, 7, "rubbish"])
def test_a_batch_without_a_usable_time_tells_none(time: int | str | None) -> None:
    assert Hall().batch(Tick(time=time)).newest_event_us == 0


# Late ticks


def test_a_tick_whose_code_is_not_desired_is_filtered_whatever_else_it_holds() -> None:
    assert counts(Hall().batch(Tick(code="MSFT.US", price="rubbish"))) == FILTERED


def test_late_ticks_of_a_removed_symbol_are_filtered_and_the_others_go_on() -> None:
    hall = Hall()
    hall.batch(Tick())
    hall.symbols.desire({"AAPL.US": "AAPL.US"})
    batch = hall.batch(Tick(seq="1002"), Tick(code="AAPL.US"))
    assert counts(batch) == (1, 1, 0, 0)
    assert batch.records[0][0] == b"AAPL.US"


# Repeats


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_the_same_tick_again_is_a_duplicate(odd: dict[str, Any]) -> None:
    assert counts(Hall().batch(Tick(**odd), Tick(**odd))) == (1, 0, 1, 0)


@pytest.mark.parametrize("first", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
@pytest.mark.parametrize("again", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
def test_a_duplicate_is_one_on_whichever_road_it_comes(first: dict[str, Any], again: dict[str, Any]) -> None:
    assert counts(Hall().batch(Tick(**first), Tick(seq="1002"), Tick(**again))) == (2, 0, 1, 0)


@pytest.mark.parametrize("odd", [{}, LOOKS_ODD], ids=["fast road", "careful road"])
@pytest.mark.parametrize(
    "other",
    [
        {"code": "AAPL.US"},
        {"seq": "1002"},
        {"seq": "1000"},
        {"time": TIME_MS + 1},
        {"price": "512.6"},
        {"volume": "301"},
        {"volume": None},
        {"seq": "x"},
    ],
    ids=str,
)
def test_a_tick_that_differs_in_code_seq_time_price_or_volume_is_another(
    other: dict[str, Any], odd: dict[str, Any]
) -> None:
    assert counts(Hall().batch(Tick(**odd), replace(Tick(**odd), **other))) == (2, 0, 0, 0)


@pytest.mark.parametrize("other", [{"turnover": "1"}, {"side": 2}, {"open_24h": "7"}], ids=str)
def test_turnover_and_side_do_not_make_another_tick_of_one_with_a_seq(other: dict[str, Any]) -> None:
    assert counts(Hall().batch(Tick(), replace(Tick(), **other))) == (1, 0, 1, 0)


def test_two_trades_with_one_timestamp_are_two_trades() -> None:
    batch = Hall().batch(Tick(seq="1", volume="100"), Tick(seq="2", volume="100"), Tick(seq="2", volume="200"))
    assert [(value["seq"], value["volume"]) for value in values(batch)] == [("1", "100"), ("2", "100"), ("2", "200")]


def test_a_tick_is_forgotten_after_64_newer_ones_of_its_code() -> None:
    hall = Hall()
    hall.batch(*(Tick(seq=str(seq)) for seq in range(65)))
    assert counts(hall.batch(Tick(seq="0"), Tick(seq="64"))) == (1, 0, 1, 0)


def test_ticks_are_never_sorted() -> None:
    seqs = ["5", "3", "9", "1", "7", "10", "2"]
    batch = Hall().batch(*(Tick(seq=seq, time=TIME_MS - int(seq)) for seq in seqs))
    assert [value["seq"] for value in values(batch)] == seqs


def test_the_usual_and_the_unusual_stay_in_order() -> None:
    batch = Hall().batch(Tick(price="1", seq="1"), Tick(price="2e0", seq="2"), Tick(price="3", seq="3"))
    assert prices(batch) == ["1", "2", "3"]


def test_a_reconnect_gives_another_session_and_keeps_the_windows() -> None:
    hall = Hall()
    hall.batch(Tick(seq="1"), Tick(seq="2"))
    batch = hall.batch(Tick(seq="1"), Tick(seq="2"), Tick(seq="3"), session=SESSION + 5)
    assert batch.duplicate == 2
    assert [(value["seq"], value["session"]) for value in values(batch)] == [("3", SESSION + 5)]


def test_the_careful_road_writes_the_new_session_too() -> None:
    hall = Hall()
    hall.batch(Tick())
    (value,) = values(hall.batch(Tick(seq="2", **LOOKS_ODD), session=SESSION + 5))
    assert value["session"] == SESSION + 5


def test_a_removed_symbol_that_comes_back_knows_no_repeats() -> None:
    hall = Hall()
    hall.batch(Tick())
    hall.symbols.desire({})
    hall.symbols.desire({"700.HK": "HKEX:00700"})
    assert counts(hall.batch(Tick())) == ONE


def test_a_removal_of_another_symbol_forgets_nothing() -> None:
    hall = Hall()
    hall.batch(Tick())
    hall.symbols.desire({"700.HK": "HKEX:00700"})
    assert counts(hall.batch(Tick())) == DUPLICATE


def test_ticks_without_seq_that_cannot_be_told_apart_are_one() -> None:
    assert counts(Hall().batch(Tick(seq=None), Tick(seq=None))) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    "other",
    [{"time": TIME_MS + 1}, {"price": "1"}, {"volume": "1"}, {"turnover": "1"}, {"side": 2}, {"seq": "1"}],
    ids=str,
)
def test_ticks_without_seq_that_differ_in_anything_are_two(other: dict[str, Any]) -> None:
    assert counts(Hall().batch(Tick(seq=None), replace(Tick(seq=None), **other))) == (2, 0, 0, 0)


def test_ticks_without_seq_are_all_kept_when_the_setting_says_so() -> None:
    assert counts(Hall(without_seq=False).batch(Tick(seq=None), Tick(seq=None))) == (2, 0, 0, 0)


@pytest.mark.parametrize("without_seq", [True, False])
def test_without_seq_and_time_nothing_is_dropped_as_a_duplicate(without_seq: bool) -> None:
    tick = Tick(seq=None, time=None)
    assert counts(Hall(without_seq=without_seq).batch(tick, tick, tick)) == (3, 0, 0, 0)


def test_a_tick_with_a_seq_and_no_time_can_be_a_duplicate() -> None:
    assert counts(Hall().batch(Tick(time=None), Tick(time=None), Tick(time=None, seq="1002"))) == (2, 0, 1, 0)


def test_an_empty_batch_is_empty() -> None:
    assert Hall().batch() == Batch()


# Whatever the fields hold

CODES = st.sampled_from(["700.HK", "AAPL.US", "GONE.US", "\ud800"])
TEXTS = st.one_of(
    st.sampled_from([*RUBBISH, *ODD_DIGITS, "0", "-1", "1e5", "9" * 32, "1." + "9" * 31, "-0.0"]),
    st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})?", fullmatch=True),
    st.text(max_size=5),
    st.text(st.characters(categories=["Cs", "Nd", "No", "Zs", "Cc"]), max_size=5),
)
PRICES = st.one_of(st.sampled_from(["512.5", "512.6", "0.07", "0"]), TEXTS)
AMOUNTS = st.one_of(st.none(), st.sampled_from(["300", "0.5", ""]), TEXTS)
NUMBERS = st.one_of(st.none(), st.integers(), st.booleans(), st.sampled_from([HUGE, -HUGE, 2**64 + 1, -1]), TEXTS)
SEQS = st.one_of(st.integers(0, 5), st.integers(0, 5).map(str), NUMBERS)
TIMES = st.one_of(st.integers(TIME_MS, TIME_MS + 2).map(str), st.sampled_from([TIME_MS, TIME_MS // 1000]), NUMBERS)
TICKS = st.builds(
    Tick,
    code=CODES,
    price=PRICES,
    volume=AMOUNTS,
    turnover=AMOUNTS,
    open_24h=st.one_of(st.none(), st.none(), AMOUNTS),
    side=st.one_of(st.sampled_from([0, 1, 2, "1", None]), NUMBERS),
    seq=SEQS,
    time=TIMES,
)
#: The same ticks again and again, so that repeats come about.
FLOWS: Callable[..., st.SearchStrategy[list[Tick]]] = st.lists
REPEATING = st.lists(TICKS, min_size=1, max_size=4).flatmap(lambda few: FLOWS(st.sampled_from(few), max_size=12))


def meaning(batch: Batch) -> tuple[Any, ...]:
    records = [(key, json.loads(value), timestamp) for key, value, timestamp in batch.records]
    return records, batch.filtered, batch.duplicate, batch.invalid


@given(REPEATING, st.booleans())
def test_every_tick_is_one_record_or_one_count_and_every_record_fits_the_schema(
    ticks: Sequence[Tick], without_seq: bool
) -> None:
    batch = Hall(without_seq=without_seq).batch(*ticks)
    assert sum(counts(batch)) == len(ticks)
    for key, value, timestamp_ms in batch.records:
        document = json.loads(value)
        validator().validate(document)
        assert (key.decode(), timestamp_ms) == (document["symbol"], document["ts_recv_us"] // 1000)


@given(REPEATING, st.booleans())
def test_both_roads_lead_to_the_same_records_and_counts(ticks: Sequence[Tick], without_seq: bool) -> None:
    ticks = [tick for tick in ticks if tick.code in symbols().routes]
    fast, careful = Hall(without_seq=without_seq), Hall(without_seq=without_seq)
    assert meaning(fast.batch(*ticks)) == meaning(careful.carefully(*ticks))


@given(REPEATING, st.lists(st.integers(0, 12), max_size=3))
def test_it_makes_no_difference_how_ticks_are_cut_into_batches(ticks: Sequence[Tick], cuts: list[int]) -> None:
    whole, cut = Hall(), Hall()
    edges = [0, *sorted(cuts), len(ticks)]
    parts = [cut.batch(*ticks[start:stop]) for start, stop in pairwise(edges)]
    together = Batch(
        [record for part in parts for record in part.records],
        sum(part.filtered for part in parts),
        sum(part.duplicate for part in parts),
        sum(part.invalid for part in parts),
    )
    assert meaning(whole.batch(*ticks)) == meaning(together)


def test_the_digits_of_a_number_are_bounded() -> None:
    assert times.DIGITS_MAX == 64
