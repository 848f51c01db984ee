"""tickbridge: one market-data WebSocket kept subscribed to what a compacted Kafka topic asks for.

The rooms follow the flow of data: ``control`` (what should be subscribed), ``upstream`` (the connection to the
venue), ``ticks`` (bytes become records), ``publish`` (records reach Kafka), ``observe`` (what people see).
``app`` wires them; ``cli`` is the door.
"""

__version__ = "0.1.0"
