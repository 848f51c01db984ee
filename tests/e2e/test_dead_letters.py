"""Every kind of control record that cannot be used, each set aside and survived: one bridge, then a second, for all.

Each kind has a symbol of its own with a good record before the bad one, unless it is the key that is bad. What happened
to all of them is read once (`aftermath`); each test looks at one kind.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from bridge.simulator import DEFAULT_TOKEN, Simulator, SimulatorConfig, Switches
from tests.e2e.conftest import SCALE, World
from tests.support.formats import check_letters, check_statuses
from tests.support.kafka import Cluster, Record
from tests.support.process import BridgeProcess

#: Unusable values by kind, and the reason that must be given.
VALUES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not_json"),
    "white space": (b" \n", "not_json"),
    "words": (b"rubbish", "not_json"),
    "a cut object": (b'{"priority":5', "not_json"),
    "two objects": (b"{}{}", "not_json"),
    "a trailing comma": (b'{"priority":5,}', "not_json"),
    "single quotes": (b"{'priority':5}", "not_json"),
    "no UTF-8": (b'{"note":"\xff"}', "not_json"),
    "UTF-16": ('{"priority":5}'.encode("utf-16"), "not_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "not_json"),
    "half a surrogate pair": (b'{"note":"\\ud800"}', "not_json"),
    "NaN": (b'{"stale_after_s":NaN}', "not_json"),
    "deep nesting": (b"[" * 60_000, "not_json"),
    "zero bytes": (b"\x00" * 16, "not_json"),
    "the word null": (b"null", "not_an_object"),
    "a list": (b"[]", "not_an_object"),
    "a number": (b"7", "not_an_object"),
    "a string": (b'"AAPL.US"', "not_an_object"),
    "a field given twice": (b'{"priority":1,"priority":2}', "duplicate_field"),
    "a word for a number": (b'{"priority":"high"}', "wrong_type"),
    "true for a number": (b'{"priority":true}', "wrong_type"),
    "a fraction of a priority": (b'{"priority":1.5}', "wrong_type"),
    "a number for true": (b'{"enabled":1}', "wrong_type"),
    "null for a text": (b'{"code":null}', "wrong_type"),
    "a list for a text": (b'{"owner":["desk"]}', "wrong_type"),
    "a code with a blank": (b'{"code":"7 HK"}', "bad_code"),
    "an empty code": (b'{"code":""}', "bad_code"),
    "no seconds": (b'{"stale_after_s":0}', "out_of_range"),
    "a priority beyond 32 bits": (b'{"priority":2147483648}', "out_of_range"),
    "a good field beside a bad one": (b'{"priority":9,"enabled":"no"}', "wrong_type"),
    "64 KiB": (b'{"note":"' + b"x" * 65_536 + b'"}', "too_large"),
    "nearly all that Kafka takes": (b'{"note":"' + b"x" * 1_040_000 + b'"}', "too_large"),
}
#: Unusable keys by kind, with the symbol that a status can be written for.
KEYS: dict[str, tuple[bytes, str, str | None]] = {
    "no text": (b"\xff\xfe", "key_not_utf8", None),
    "empty": (b"", "bad_symbol", ""),
    "with a blank": (b"two words", "bad_symbol", "two words"),
    "with a line break": (b"AAPL.US\n", "bad_symbol", "AAPL.US\n"),
    "with three parts": (b"A:B:C", "bad_symbol", "A:B:C"),
    "too long": (b"x" * 65, "bad_symbol", "x" * 65),
    "beyond ASCII": ("腾讯".encode(), "bad_symbol", "腾讯"),
}
SYMBOLS = {kind: f"{number}.HK" for number, kind in enumerate(VALUES, 1)}
GOOD = {"priority": 3, "owner": "desk-3"}
#: The bad record that ends each run: when its letter is there, so is every earlier one.
FENCE = b"not JSON, said by "


@dataclass
class Aftermath:
    """What two bridges, one after the other, made of it all."""

    world: World
    offsets: dict[tuple[bytes, bytes], int]  # of each bad record
    letters: list[Record]
    again: list[Record]  # the letters after the second bridge
    statuses: dict[str, dict[str, Any]]
    metrics: str
    ticked: frozenset[str]  # symbols whose ticks came after their bad record


@pytest.fixture(scope="module")
def aftermath(kafka: Cluster) -> Aftermath:
    """Let a bridge meet every kind while it runs, and a second one find them all."""
    world = World(kafka)
    switches = Switches(rate=0, pacing_slack_s=0, heartbeats_count="yes")
    with Simulator(SimulatorConfig(switches=switches, time_scale=SCALE)) as venue:
        settings = world.settings(venue, UPSTREAM__TOKEN=DEFAULT_TOKEN)
        world.subscribe(*SYMBOLS.values(), **GOOD)
        with BridgeProcess(settings) as first:
            venue.wait_until_subscribed(*SYMBOLS.values(), timeout=20)
            pairs = [(SYMBOLS[kind].encode(), value) for kind, (value, _) in VALUES.items()]
            pairs += [(key, b"{}") for key, _, _ in KEYS.values()]
            generous = Cluster(kafka.bootstrap, {**kafka.client, "message.max.bytes": "2000000"})
            places = generous.produce(world.topic("subscriptions"), pairs)
            letters = fenced(world, b"the first")
            statuses = wait_for_invalid(world)
            for symbol in SYMBOLS.values():
                venue.tick_now(symbol)
            ticks = world.cluster.wait_for_records(world.topic("ticks"), lambda found: len(found) >= len(SYMBOLS), 20)
            metrics = first.get("/metrics")[1].decode()
            assert first.stop() == 0
        with BridgeProcess(settings) as second:
            venue.wait_for(lambda record: len(record.connections) == 2, timeout=20)
            venue.wait_until_subscribed(*SYMBOLS.values(), timeout=20)
            again = fenced(world, b"the second")
            assert second.stop() == 0
    offsets = {pair: offset for pair, (_, offset) in zip(pairs, places, strict=True)}
    ticked = frozenset((record.key or b"").decode() for record in ticks)
    return Aftermath(world, offsets, letters, again, statuses, metrics, ticked)


def fenced(world: World, who: bytes) -> list[Record]:
    """Write a last bad record, and give the dead letters that came before its own."""
    world.cluster.produce(world.topic("subscriptions"), [("FENCE.US", FENCE + who)])

    def reached(found: list[Record]) -> bool:
        return any(record.value == FENCE + who for record in found)

    found = world.cluster.wait_for_records(world.topic("dead_letters"), reached, 30)
    return [record for record in found if not (record.value or b"").startswith(FENCE)]


def wait_for_invalid(world: World) -> dict[str, dict[str, Any]]:
    """Wait until every symbol of a bad record is told to be so; give the newest statuses."""
    expected = {*SYMBOLS.values(), *(symbol for _, _, symbol in KEYS.values() if symbol is not None)}

    def newest(found: list[Record]) -> dict[str, dict[str, Any]]:
        return {(one.key or b"").decode(): json.loads(one.value) for one in found if one.value is not None}

    def told(found: list[Record]) -> bool:
        return expected <= {symbol for symbol, status in newest(found).items() if status["state"] == "invalid"}

    return newest(world.cluster.wait_for_records(world.topic("status"), told, 30))


def check_letter(aftermath: Aftermath, key: bytes, value: bytes, reason: str) -> None:
    """See that just one letter holds the record byte for byte, and says why and where it stood."""
    (letter,) = [one for one in aftermath.letters if (one.key, one.value) == (key, value)]
    assert dict(letter.headers) == {
        "tickbridge-reason": reason.encode(),
        "tickbridge-topic": aftermath.world.topic("subscriptions").encode(),
        "tickbridge-partition": b"0",
        "tickbridge-offset": str(aftermath.offsets[key, value]).encode(),
    }


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_cannot_be_used_is_set_aside_and_the_last_good_one_stays_in_force(
    aftermath: Aftermath, kind: str
) -> None:
    (value, reason), symbol = VALUES[kind], SYMBOLS[kind]
    check_letter(aftermath, symbol.encode(), value, reason)
    status = aftermath.statuses[symbol]
    assert (status["state"], status["reason"], status["effective"]) == ("invalid", reason, GOOD)
    assert status["control_offset"] == aftermath.offsets[symbol.encode(), value]
    assert status["detail"]
    assert symbol in aftermath.ticked


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_is_no_symbol_is_set_aside_and_told_of_where_it_is_text(aftermath: Aftermath, kind: str) -> None:
    key, reason, symbol = KEYS[kind]
    check_letter(aftermath, key, b"{}", reason)
    if symbol is not None:
        status = aftermath.statuses[symbol]
        assert (status["state"], status["reason"], "effective" in status) == ("invalid", reason, False)


@pytest.mark.parametrize("kind", [*VALUES, *KEYS])
def test_a_restart_sets_nothing_aside_a_second_time(aftermath: Aftermath, kind: str) -> None:
    pair = (SYMBOLS[kind].encode(), VALUES[kind][0]) if kind in VALUES else (KEYS[kind][0], b"{}")
    assert len([one for one in aftermath.again if (one.key, one.value) == pair]) == 1


def test_the_metrics_count_them_and_the_symbols_that_run_on_an_older_record(aftermath: Aftermath) -> None:
    assert metric(aftermath, "tickbridge_subscriptions_running_on_old_record") == len(VALUES)
    assert metric(aftermath, 'tickbridge_control_records_total{result="invalid"}') == len(VALUES) + len(KEYS) + 1


def test_every_status_and_every_letter_is_what_its_schema_says(aftermath: Aftermath) -> None:
    check_letters(aftermath.world.cluster.read_all(aftermath.world.topic("dead_letters")))
    check_statuses(aftermath.world.cluster.read_all(aftermath.world.topic("status")))


def metric(aftermath: Aftermath, name: str) -> float:
    """Read one value of the metrics as they were when the first bridge had met them all."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", aftermath.metrics, re.MULTILINE)
    assert found is not None, name
    return float(found.group(1))
