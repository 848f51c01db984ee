"""librdkafka's errors and log lines in our words."""

import logging
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError

from bridge.control.kafka import Watch, refusal
from bridge.errors import KafkaUnusable, SettingsError
from bridge.kafka import QUIET_S, library_logger, opened


class Lines:
    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, /, **fields: Any) -> None:
        self.said.append((event, fields))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (KafkaError._AUTHENTICATION, "KAFKA__SASL_"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "KAFKA__SASL_"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "READ and DESCRIBE"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "consumer group"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "topics ensure"),
        (KafkaError.INVALID_SESSION_TIMEOUT, "GROUP__SESSION_TIMEOUT_S"),
        (KafkaError.INCONSISTENT_GROUP_PROTOCOL, "GROUP__ID"),
    ],
)
def test_what_an_operator_must_mend_is_a_refusal_with_its_remedy(code: int, remedy: str) -> None:
    found = refusal(KafkaError(code, "as the library says"), "the topic t")
    assert found is not None
    assert found.what == "Kafka refuses the topic t: as the library says"
    assert remedy in found.remedy


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.LEADER_NOT_AVAILABLE,
    ],
)
def test_what_passes_is_no_refusal(code: int) -> None:
    assert refusal(KafkaError(code), "the topic t") is None


def test_a_certificate_that_nobody_vouches_for_is_a_refusal_and_a_broken_handshake_is_none() -> None:
    bad = KafkaError(KafkaError._SSL, "SSL handshake failed: certificate verify failed")
    assert refusal(bad, "the topic t") is not None
    assert refusal(KafkaError(KafkaError._SSL, "SSL handshake failed: Disconnected"), "the topic t") is None


def test_a_property_that_the_library_does_not_take_is_a_settings_error_naming_it() -> None:
    with pytest.raises(SettingsError, match=r"no\.such\.thing"):
        opened(Consumer, {"group.id": "g", "no.such.thing": 1})


@pytest.mark.parametrize("name", ["error_cb", "throttle_cb", "default.topic.config", "on_commit"])
def test_a_property_that_is_python_s_alone_is_a_settings_error_too(name: str) -> None:
    with pytest.raises(SettingsError, match=r"TICKBRIDGE_KAFKA__EXTRA"):
        opened(Consumer, {"group.id": "g", name: "text"})


def test_a_mechanism_that_the_library_was_not_built_with_is_blamed_on_its_setting() -> None:
    properties = {"group.id": "g", "security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}
    with pytest.raises(SettingsError, match=r"^TICKBRIDGE_KAFKA__SASL_MECHANISM: .*GSSAPI.*; set it to PLAIN,"):
        opened(Consumer, properties)


def test_a_watch_raises_the_first_refusal() -> None:
    watch = Watch("the topic t")
    watch.check()
    watch(KafkaError(KafkaError._TRANSPORT, "connection refused"))
    watch.check()
    watch(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not yours"))
    watch(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "gone"))
    with pytest.raises(KafkaUnusable, match="not yours"):
        watch.check()


def test_what_comes_too_late_is_explained_by_the_last_error() -> None:
    watch = Watch("the topic t")
    watch(KafkaError(KafkaError._TRANSPORT, "connection refused"))
    late = watch.late("nothing was written")
    assert late.what == "nothing was written (connection refused)"
    assert "KAFKA__BOOTSTRAP_SERVERS" in late.remedy


def test_the_librarys_log_goes_to_ours_and_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    library_logger(lines).error("FAIL [thrd:main]: %s", "connection refused")
    assert lines.said == [("librdkafka", {"level": "error", "message": "FAIL [thrd:main]: connection refused"})]
    assert capfd.readouterr() == ("", "")


def test_a_kind_of_line_is_not_repeated_for_a_while() -> None:
    lines, now = Lines(), [50.0]
    logger = library_logger(lines, clock=lambda: now[0])
    logger.error("FAIL one")
    logger.error("FAIL two")
    logger.warning("SESSTMOUT three")
    now[0] += QUIET_S
    logger.error("FAIL four")
    assert [fields["message"] for _, fields in lines.said] == ["FAIL one", "SESSTMOUT three", "FAIL four"]


def test_debug_lines_are_all_kept_for_who_asked_for_them() -> None:
    lines = Lines()
    logger = library_logger(lines)
    logger.setLevel(logging.DEBUG)
    logger.debug("FETCH one")
    logger.debug("FETCH two")
    assert len(lines.said) == 2
