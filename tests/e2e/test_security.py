"""What must never happen: a secret shown, a stranger trusted, the bridge worn down by requests, data run as code."""

import ast
import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.observe.http import CONNECTION_MAX_S, CONNECTIONS_MAX, REQUEST_MAX_BYTES
from bridge.simulator import Simulator
from bridge.simulator.protocol import text_frame
from scripts.settings_table import settings
from tests.e2e.conftest import World
from tests.support.faults import untrustworthy
from tests.support.kafka import KafkaBroker
from tests.support.process import ROOT, BridgeProcess

MakeBridge = Callable[..., BridgeProcess]
MakeVenue = Callable[..., Simulator]

TOKEN = "tok/En+of &the=desk%41"
WRONG_TOKEN = "yesterdays?token/#7"
PASSWORD = 'kafka\'s "pass\\word" 42'
WRONG_PASSWORD = "not-the-kafka-password"

TOPICS = ("subscriptions", "ticks", "status", "gaps", "dead_letters", "state")
PAGES = ("/metrics", "/status", "/", "/healthz", "/readyz", "/nothing-here", f"/{quote(TOKEN, safe='')}")

#: Seconds that anything here may take.
PATIENCE_S = 20.0


def spellings(secret: str) -> dict[str, bytes]:
    """Give every way in which a secret could be shown by somebody who thought that it was hidden."""
    text = {
        "as it is": secret,
        "percent-encoded": quote(secret, safe=""),
        "percent-encoded but for slashes": quote(secret),
        "encoded twice": quote(quote(secret, safe=""), safe=""),
        "in JSON": json.dumps(secret)[1:-1],
        "in Python": repr(secret)[1:-1],
        "in base64": base64.b64encode(secret.encode()).decode(),
        "its beginning": secret[:8],
    }
    return {how: one.encode() for how, one in text.items()}


def assert_hidden(shown: dict[str, bytes], *secrets: str) -> None:
    found = [
        f"{place} shows {secret[:3]}… {how}: …{data[max(0, data.find(one) - 80) :][:160]!r}…"
        for secret in secrets
        for how, one in spellings(secret).items()
        for place, data in shown.items()
        if one in data
    ]
    assert not found, "\n".join(found)


# Secrets.


@pytest.mark.parametrize("how", spellings(TOKEN))
def test_each_spelling_of_a_secret_is_found(how: str) -> None:
    with pytest.raises(AssertionError, match=f"the log shows tok… {how}"):
        assert_hidden({"the log": b"before " + spellings(TOKEN)[how] + b" after"}, TOKEN)


@pytest.fixture
def guarded(make_kafka: Callable[..., KafkaBroker]) -> KafkaBroker:
    """A broker that asks for a password."""
    quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="us" password="{quoted}"'
    extra = {
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        # The file has backslashes of its own, before those of the value.
        "listener.name.client.plain.sasl.jaas.config": f'{jaas} user_us="{quoted}";'.replace("\\", "\\\\"),
    }
    return make_kafka(extra, client=login(PASSWORD))


def login(password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "us",
        "sasl.password": password,
    }


def sasl(password: str) -> dict[str, str]:
    return {f"KAFKA__{name.upper().replace('.', '_')}": value for name, value in login(password).items()}


def provoke(world: World, venue: Simulator, bridge: BridgeProcess) -> None:
    """Have the venue refuse, break off, and repeat our token in everything that it can say."""
    venue.switches.drop_acks = 100
    before = len(venue.requests(22004))
    world.subscribe("TSLA.US")
    venue.wait_for(lambda record: len(record.requests(22004)) > before, PATIENCE_S, "a request to answer")
    asked = venue.requests(22004)[-1]
    told = f"code not valid for token {TOKEN}, see wss://venue.example/?token={quote(TOKEN, safe='')}"
    disconnects = bridge.count("upstream_disconnected")
    envelopes = ((22005, asked.seq_id, asked.trace, 600), (0, 0, "", 401), (0, 0, "", 402))
    for cmd_id, seq_id, trace, ret in envelopes:
        answer = {"ret": ret, "msg": told, "cmd_id": cmd_id, "seq_id": seq_id, "trace": trace, "data": {}}
        venue.faults.send_raw(text_frame(json.dumps(answer).encode()))
    venue.faults.send_raw(text_frame(told.encode()))
    venue.faults.close(1008, "policy: token")
    venue.switches.drop_acks = 0
    bridge.wait_until("the connection ends", lambda: bridge.count("upstream_disconnected") > disconnects)


@pytest.mark.slow
def test_no_secret_is_shown_anywhere_whatever_goes_wrong(
    guarded: KafkaBroker, make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    world = World(guarded.cluster)
    venue = make_venue(rate=50, switches={"tokens": {TOKEN}, "unknown": {"BAD.US"}, "pacing": "record"})
    file = tmp_path / "token"
    file.write_text(WRONG_TOKEN)
    given = world.settings(venue, LOG__LEVEL="debug", UPSTREAM__TOKEN_FILE=str(file), **sasl(PASSWORD))
    del given["UPSTREAM__TOKEN"]
    world.subscribe("AAPL.US", "BAD.US")
    world.cluster.produce(world.topic("subscriptions"), [("WORSE.US", b"{"), ("has space", b"{}")])
    bridge = make_bridge(given)
    bridge.wait_for("upstream_failed", reason="token")
    file.write_text(TOKEN)
    venue.wait_until_subscribed("AAPL.US", timeout=PATIENCE_S)
    venue.switches.refuse_upgrades = 429
    venue.faults.reset()
    bridge.wait_for("upstream_failed", reason="too_many_connections")
    venue.switches.refuse_upgrades = 0
    venue.wait_until_subscribed("AAPL.US", timeout=PATIENCE_S)
    provoke(world, venue, bridge)
    bridge.wait_until("rejected", lambda: "rejected" in bridge.get("/status")[1].decode())
    shown = {path: bridge.get(path)[1] for path in PAGES}
    shown["the command line"] = Path(f"/proc/{bridge.process.pid}/cmdline").read_bytes()
    assert bridge.stop() == 0
    shown["the log"] = "\n".join(bridge.output).encode()
    for kind in TOPICS:
        records = world.cluster.read_all(world.topic(kind))
        shown[f"the topic {kind}"] = b"\n".join(
            part for one in records for part in (one.key or b"", one.value or b"", repr(one.headers).encode())
        )
    assert shown["the topic dead_letters"]
    assert shown["the topic ticks"]
    for output in ("table", "json", "yaml"):
        shown[f"config show -o {output}"] = ran(given, "config", "show", "-o", output)
    assert b"code not valid" in shown["the log"], "the venue's words were not heard at all"
    assert_hidden(shown, TOKEN, WRONG_TOKEN, PASSWORD)


def test_a_refused_password_ends_the_bridge_with_3_and_is_not_repeated(
    guarded: KafkaBroker, make_venue: MakeVenue, make_bridge: MakeBridge
) -> None:
    world, venue = World(guarded.cluster), make_venue()
    bridge = make_bridge(world.settings(venue, LOG__LEVEL="debug", **sasl(WRONG_PASSWORD)))
    assert bridge.wait(PATIENCE_S * 2) == 3
    bridge.wait_for("kafka_unusable")
    assert_hidden({"the log": "\n".join(bridge.output).encode()}, WRONG_PASSWORD)
    assert not venue.record.connections


def test_a_setting_that_cannot_be_used_is_named_without_the_secret_beside_it() -> None:
    given = {"UPSTREAM__TOKEN": TOKEN, "KAFKA__SASL_PASSWORD": PASSWORD, "HTTP__PORT": "many"}
    shown = ran(given, "run", code=2)
    assert b"TICKBRIDGE_HTTP__PORT" in shown
    assert_hidden({"the complaint": shown}, TOKEN, PASSWORD)


def ran(given: dict[str, str], *arguments: str, code: int = 0) -> bytes:
    """Run a command to its end; give all that it wrote."""
    environment = {"PATH": os.environ["PATH"], **{f"TICKBRIDGE_{name}": value for name, value in given.items()}}
    done = subprocess.run(
        [sys.executable, "-m", "bridge", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


# Trust.


#: What a certificate is refused for, in OpenSSL's words.
REASONS = {
    "expired": "certificate has expired",
    "wrong-host": "IP address mismatch",
    "unknown-ca": "unable to get local issuer certificate",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_venue_that_cannot_be_trusted_gets_no_token_and_is_said_to_be(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path, kind: str
) -> None:
    tls = untrustworthy(tmp_path)[kind]
    venue = make_venue(cert=tls["cert"], key=tls["key"])
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue, UPSTREAM__CA_FILE=str(tls["ca"])))
    line = bridge.wait_for("upstream_failed", reason="tls")
    assert "certificate cannot be trusted" in json.dumps(line)
    assert REASONS[kind] in json.dumps(line)
    assert bridge.get("/readyz")[0] == 503
    assert bridge.stop() == 0
    # A request carries the token, so none may ever have come through.
    assert not venue.record.connections
    assert not venue.record.refused_upgrades


def test_a_certificate_by_an_authority_of_no_system_is_refused_without_a_setting_for_it(
    world: World, make_venue: MakeVenue, make_bridge: MakeBridge, tmp_path: Path
) -> None:
    tls = untrustworthy(tmp_path)["unknown-ca"]
    venue = make_venue(cert=tls["cert"], key=tls["key"])
    world.subscribe("AAPL.US")
    bridge = make_bridge(world.settings(venue))
    bridge.wait_for("upstream_failed", reason="tls")
    assert bridge.stop() == 0
    assert not venue.record.connections


def test_no_setting_of_the_venue_s_turns_verification_off() -> None:
    names = [one.name for one in settings() if one.name.startswith("UPSTREAM__")]
    assert "UPSTREAM__CA_FILE" in names
    assert [name for name in names if re.search("VERIF|INSECURE|TRUST|SKIP|CHECK|SSL|TLS", name)] == []


# The HTTP server of a running bridge.


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a bridge that reaches neither Kafka nor venue: its HTTP server is up all the same."""
    given = {
        "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "UPSTREAM__URL": "ws://127.0.0.1:1/",
        "UPSTREAM__TOKEN": TOKEN,
        "SHUTDOWN__BUDGET_S": "1",
    }
    with BridgeProcess(given) as bridge:
        yield bridge.wait_for("started")["http_port"]


def raw(port: int, data: bytes) -> bytes:
    """Send bytes and give all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(data)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    answer = bytearray()
    while part := client.recv(65536):
        answer += part
    return bytes(answer)


def status(port: int, path: str, method: str = "GET") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/metrics", "/status", "/", "/healthz"])
def test_get_and_head_are_answered_and_nothing_else(port: int, path: str) -> None:
    assert status(port, path) == status(port, path, "HEAD") == 200
    others = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
    assert {method: status(port, path, method) for method in others} == dict.fromkeys(others, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/page/../../settings.py",
        "/..%5c..%5cetc%5cpasswd", "/page/%00", "/app.js/../../__init__.py", "file:///etc/passwd", "/.env", "/%ff",
        "http://venue.example/metrics", "/metrics/../status",
    ],
)  # fmt: skip
def test_a_path_leads_to_a_page_of_ours_or_nowhere(port: int, path: str) -> None:
    answer = raw(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.split(b" ")[1] == b"404"
    for content in (b"root:", b"import ", b"TICKBRIDGE_"):
        assert content not in answer


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"x" * REQUEST_MAX_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * REQUEST_MAX_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\nTransfer-Encoding: chunked\r\nBad Header\r\n\r\n",
    ],
    ids=["long line", "long header", "many headers", "zeros", "smuggling"],
)
def test_a_request_beyond_all_bounds_is_answered_or_dropped_and_harms_nobody(port: int, data: bytes) -> None:
    answer = raw(port, data)
    assert len(answer) < 20_000
    assert b"x" * 100 not in answer, "what was sent is repeated"
    assert status(port, "/healthz") == 200


@pytest.mark.slow
def test_slow_clients_hold_no_connection_for_longer_than_its_time_and_others_are_served(port: int) -> None:
    with ExitStack() as stack:
        began = time.monotonic()
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=CONNECTION_MAX_S + 5))
            for _ in range(CONNECTIONS_MAX - 1)
        ]
        for client in slow:
            client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        assert status(port, "/healthz") == 200
        for client in slow:
            assert read_all(client) == b""
        assert CONNECTION_MAX_S - 1 < time.monotonic() - began < CONNECTION_MAX_S + 3
    assert status(port, "/healthz") == 200


# Data is never run as code, and nobody is trusted for lack of a look. Held by looking at the source.

#: Calls, by their whole name.
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.full_load_all",
    "ssl._create_unverified_context", "ssl._create_stdlib_context", "ssl.wrap_socket",
}  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "jsonpickle", "xml", "telnetlib"}
FORBIDDEN_NAMES = {"CERT_NONE", "CERT_OPTIONAL", "UnsafeLoader", "FullLoader"}
FORBIDDEN_FALSE = {"check_hostname", "verify", "verify_ssl"}


def sins(tree: ast.AST) -> Iterator[str]:
    """Name everything forbidden in a piece of source."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func, keywords=keywords):
                if (name := ast.unparse(func)) in FORBIDDEN_CALLS:
                    yield f"{name}() in line {node.lineno}"
                for one in keywords:
                    is_false = isinstance(one.value, ast.Constant) and not one.value.value
                    if (one.arg == "shell" and not is_false) or (one.arg in FORBIDDEN_FALSE and is_false):
                        yield f"{ast.unparse(one)} in line {node.lineno}"
            case ast.Import() | ast.ImportFrom():
                named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
                yield from (f"{one} in line {node.lineno}" for one in named if one.split(".")[0] in FORBIDDEN_MODULES)
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in FORBIDDEN_NAMES:
                yield f"{name} in line {node.lineno}"
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Constant(value=False)):
                if name in FORBIDDEN_FALSE:
                    yield f"{name} = False in line {node.lineno}"


def test_nothing_in_the_bridge_runs_data_as_code_or_looks_away() -> None:
    files = sorted((ROOT / "bridge").rglob("*.py"))
    assert len(files) > 50
    found = [f"{file.relative_to(ROOT)}: {sin}" for file in files for sin in sins(ast.parse(file.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')", "import pickle", "from pickle import loads", "import xml.etree", "yaml.load(text)",
        "os.system('x')", "subprocess.run('x', shell=True)", "context.check_hostname = False", "ssl.CERT_NONE",
        "get(url, verify=False)", "yaml.load(text, Loader=FullLoader)", "ssl._create_unverified_context()",
    ],
)  # fmt: skip
def test_each_sin_is_found(source: str) -> None:
    assert [*sins(ast.parse(source))]
