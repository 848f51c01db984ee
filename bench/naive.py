"""What blog posts show: WebSocketApp, json, produce per message. The yardstick."""

import json
import os
import sys

import websocket
from confluent_kafka import Producer

TOPIC = os.environ["TOPIC"]
CODES = os.environ["CODES"].split(",")
SIDES = ["none", "buy", "sell"]

producer = Producer({"bootstrap.servers": os.environ["KAFKA"], "acks": "all", "enable.idempotence": True})


def on_open(app: websocket.WebSocketApp) -> None:
    """Subscribe."""
    symbols = [{"code": code} for code in CODES]
    app.send(json.dumps({"cmd_id": 22004, "seq_id": 1, "trace": "naive", "data": {"symbol_list": symbols}}))


def on_message(_: websocket.WebSocketApp, message: str) -> None:
    """Publish one tick."""
    push = json.loads(message)
    if push.get("cmd_id") != 22998:
        return
    data = push["data"]
    tick = {
        "symbol": data["code"],
        "seq": data["seq"],
        "time": int(data["tick_time"]),
        "price": data["price"],
        "volume": data["volume"],
        "turnover": data["turnover"],
        "side": SIDES[data["trade_direction"]],
    }
    while True:
        try:
            producer.produce(TOPIC, key=data["code"], value=json.dumps(tick))
            break
        except BufferError:
            producer.poll(0.1)
    producer.poll(0)


def main() -> None:
    """Run until the connection ends."""
    options = {"ca_certs": os.environ["CA"]} if "CA" in os.environ else {}
    websocket.WebSocketApp(os.environ["URL"], on_open=on_open, on_message=on_message).run_forever(sslopt=options)
    producer.flush()
    sys.exit(0)


if __name__ == "__main__":
    main()
