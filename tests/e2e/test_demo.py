"""The demo, as a stranger runs it: with nothing set, and with a real Kafka and a token."""

import json
import re
from collections.abc import Callable

from bridge.simulator import DEFAULT_TOKEN, Simulator
from tests.support.kafka import KafkaBroker
from tests.support.process import BridgeProcess

MakeBridge = Callable[..., BridgeProcess]


def ticks_shown(demo: BridgeProcess) -> int:
    found = re.match(r"(\d+) ticks of \d+ symbols", demo.output[-1])
    assert found, demo.output[-5:]
    return int(found.group(1))


def test_with_nothing_set_it_shows_records_in_and_ticks_out_and_ends_by_itself(make_bridge: MakeBridge) -> None:
    demo = make_bridge({}, "demo", "--for", "3")
    assert demo.wait(60) == 0
    assert any(re.match(r"→ \S+subscriptions: .*AAPL.US=\{\}", line) for line in demo.output)
    assert any(re.match(r"symbol=AAPL.US +price=\d", line) for line in demo.output)
    assert ticks_shown(demo) > 20


def test_with_a_kafka_and_a_token_it_uses_these_on_topics_of_its_own_and_tidies_up(
    own_kafka: KafkaBroker, make_venue: Callable[..., Simulator], make_bridge: MakeBridge
) -> None:
    venue = make_venue(rate=50, time_scale=1.0, plan="free")
    demo = make_bridge(
        {
            "KAFKA__BOOTSTRAP_SERVERS": own_kafka.bootstrap,
            "UPSTREAM__TOKEN": DEFAULT_TOKEN,
            "UPSTREAM__URL": venue.url(),
        },
        "demo",
        "--for",
        "4",
    )
    assert demo.wait(60) == 0
    assert ticks_shown(demo) > 20
    records = own_kafka.cluster.read_all("tickbridge-demo.ticks")
    assert {json.loads(record.value or b"")["symbol"] for record in records} >= {"AAPL.US", "TSLA.US", "HKEX:00700"}
    newest = {record.key: record.value for record in own_kafka.cluster.read_all("tickbridge-demo.subscriptions")}
    assert newest
    assert set(newest.values()) == {None}
    assert not venue.record.violations
