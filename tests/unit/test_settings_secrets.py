"""Which settings' values are kept out of everything that is shown."""

import json

import pytest

from bridge.settings import load, secrets_of


def test_every_secret_is_named_also_those_among_librdkafka_s_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    opens = {
        "sasl.oauthbearer.client.secret": "client-secret",
        "sasl.oauthbearer.config": "principal=desk",
        "ssl.key.pem": "-----BEGIN PRIVATE KEY-----",
        "ssl.keystore.password": "of-the-store",
        "sasl.password": "of-the-user",
    }
    harmless = {"linger.ms": 20, "ssl.ca.location": "/ca.pem", "sasl.oauthbearer.method": "oidc"}
    given = {
        "UPSTREAM__TOKEN": "the-token",
        "UPSTREAM__URL": "wss://user:pass%40word@venue.example/quote",
        "KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
        "KAFKA__SASL_PASSWORD": "of-kafka",
        "KAFKA__SSL_KEY_PASSWORD": "of-the-key",
        "KAFKA__EXTRA": json.dumps(opens | harmless),
    }
    for name, value in given.items():
        monkeypatch.setenv(f"TICKBRIDGE_{name}", value)
    assert set(secrets_of(load())) == {"the-token", "pass@word", "of-kafka", "of-the-key", *opens.values()}


def test_where_there_is_no_secret_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKBRIDGE_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    assert not list(secrets_of(load()))
