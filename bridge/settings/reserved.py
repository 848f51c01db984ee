"""What `KAFKA__EXTRA` must leave alone, and why."""

#: librdkafka properties that guarantees rest on, and why; KAFKA__EXTRA must leave them alone.
RESERVED = {
    "acks": "a tick counts as published only when every in-sync replica has it",
    "request.required.acks": "a tick counts as published only when every in-sync replica has it",
    "enable.idempotence": "retries must neither repeat nor reorder ticks",
    "enable.gapless.guarantee": "nothing newer may overtake a tick that failed",
    "message.timeout.ms": "a Kafka outage of any length must not lose ticks",
    "delivery.timeout.ms": "a Kafka outage of any length must not lose ticks",
    "partitioner": "consumers in other languages find a symbol by its murmur2 hash",
    "partition.assignment.strategy": "ownership moves one partition at a time",
    "group.protocol": "ownership is decided by the classic protocol",
    "group.instance.id": "members are dynamic: a static one would block its successor",
    "enable.ssl.certificate.verification": "a broker that cannot prove who it is must not get our credentials",
    "transactional.id": "a tick goes on its way when it comes, not when a transaction ends",
    "metadata.broker.list": "it is bootstrap.servers, and has a setting of its own, KAFKA__BOOTSTRAP_SERVERS",
    "bootstrap.servers": "it has a setting of its own, KAFKA__BOOTSTRAP_SERVERS",
    "enable.auto.commit": "the control topic is read from its beginning at every start",
    "group.id": "it has a setting of its own, GROUP__ID",
    "auto.offset.reset": "the control topic is read from its beginning at every start",
    "enable.partition.eof": "nothing is sent upstream before the control topic was read to its end",
    "isolation.level": "control records of an aborted transaction were never asked for",
    "max.poll.interval.ms": "a hand-over may take as long as SHUTDOWN__BUDGET_S",
    "delivery.report.only.error": "a tick counts as published only when Kafka says so",
    "session.timeout.ms": "it has a setting of its own, GROUP__SESSION_TIMEOUT_S",
}
