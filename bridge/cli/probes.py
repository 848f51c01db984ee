"""What ``tickbridge check`` looks at, one function each: settings in, findings out.

Nothing here changes anything: topics are looked at, brokers are asked what our user may do, no group is joined, no
record is written. The venue's host is reached up to the TLS handshake, and asked for nothing but what time it has: an
upgrade with the token would take the connection of a bridge that runs.
"""

from __future__ import annotations

import http.client
import platform
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from bridge import __version__
from bridge.cli.tables import count
from bridge.kafka import opened, silent_logger
from bridge.publish import acls, topics
from bridge.publish.acls import Kind, Who
from bridge.publish.admin import Admin
from bridge.publish.topics import Outcome
from bridge.upstream import dialects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.publish.acls import Grant
    from bridge.settings import Settings

#: Seconds that one probe may wait for Kafka, and for each step towards the venue.
KAFKA_S, VENUE_S = 10.0, 5.0


#: Seconds between our clock and the venue's that are told of; it says whole seconds only, and takes its time.
CLOCK_S = 3.0


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the check: what was looked at, the verdict, what was seen, and what to do about it."""

    check: str
    verdict: Verdict
    said: str
    hint: str = ""


def versions() -> Iterator[Finding]:
    """Say what runs here; Kafka's protocol does not tell the brokers' version."""
    library, ours = confluent_kafka.libversion()[0], confluent_kafka.version()
    said = f"tickbridge {__version__}, Python {platform.python_version()}, librdkafka {library}"
    yield Finding("versions", Verdict.OK, f"{said} (confluent-kafka {ours})")


def kafka(settings: Settings) -> Iterator[Finding]:
    """Count the brokers."""
    with Admin(settings.kafka.as_librdkafka(), KAFKA_S) as admin:
        brokers = admin.brokers(settings.topics.subscriptions)
    said, wanted = f"{count(brokers, 'broker')} at {settings.kafka.bootstrap_servers}", settings.topics.replication
    if brokers < wanted:
        hint = f"good for a trial; TICKBRIDGE_TOPICS__REPLICATION wants {wanted} replicas of each topic"
        yield Finding("kafka", Verdict.WARN, said, hint)
    else:
        yield Finding("kafka", Verdict.OK, said)


def policies(settings: Settings) -> Iterator[Finding]:
    """Compare each topic with what the settings want; only those that exist are handed on, so none is made."""
    properties, specs = settings.kafka.as_librdkafka(), topics.plan(settings.topics)
    missing = set(topics.missing(properties, [spec.name for spec in specs], KAFKA_S))
    reports = topics.ensure(properties, [spec for spec in specs if spec.name not in missing], KAFKA_S)
    for name in (spec.name for spec in specs if spec.name in missing):
        yield Finding(f"topic {name}", Verdict.FAIL, "does not exist", "run `tickbridge topics ensure`")
    for report in reports:
        details = "; ".join(report.details)
        if report.outcome is Outcome.DIFFERS:
            hint = "alter the topic, or set TICKBRIDGE_TOPICS__… to what it is meant to be"
            yield Finding(f"topic {report.name}", Verdict.WARN, details, hint)
        elif details:  # it is there, and its settings were not told
            yield Finding(f"topic {report.name}", Verdict.SKIP, details)
        else:
            yield Finding(f"topic {report.name}", Verdict.OK, "as the settings want it")


def access(settings: Settings) -> Iterator[Finding]:
    """Ask the brokers whether our user may do what a running bridge does with its topics and its group."""
    admin = opened(AdminClient, {**settings.kafka.as_librdkafka(), "logger": silent_logger()})
    needed = [one for one in acls.grants(settings.topics, settings.group_id) if one.who is Who.BRIDGE]
    options: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": KAFKA_S}
    topic_names = {one.name: None for one in needed if one.kind is Kind.TOPIC}
    group_names = {one.name: None for one in needed if one.kind is Kind.GROUP}
    answers = admin.describe_topics(TopicCollection(list(topic_names)), **options)
    for name in topic_names:
        yield from _granted("topic", name, needed, answers[name])
    answers = admin.describe_consumer_groups(list(group_names), **options)
    for name in group_names:
        yield from _granted("group", name, needed, answers[name])


def clock(settings: Settings) -> Iterator[Finding]:
    """Compare our clock with the venue's, by the date that every web server tells; Kafka's protocol tells none."""
    host, port, secure = _address(settings)
    hint = "keep NTP running here; a bridge that runs shows tickbridge_clock_skew_seconds"
    if _proxied(host, secure):
        yield Finding("clock", Verdict.SKIP, "the venue is reached by way of a proxy", hint)
        return
    context = _context(settings) if secure else None
    try:
        told = _date(_connected(host, port, context))
    except (OSError, http.client.HTTPException) as error:
        yield Finding("clock", Verdict.SKIP, f"{host}:{port} does not say what time it has ({_why(error)})", hint)
        return
    ahead = (datetime.now(UTC) - told).total_seconds()
    if abs(ahead) > CLOCK_S:
        said = f"ours is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the one of {host}"
        yield Finding("clock", Verdict.WARN, said, "set this machine's clock, and keep NTP running")
    else:
        yield Finding("clock", Verdict.OK, f"within {CLOCK_S:g} s of the one of {host}")


def token(settings: Settings) -> Iterator[Finding]:
    """Read the token, and see who else can."""
    upstream = settings.upstream
    place = f"{upstream.token_file}" if upstream.token_file else "TICKBRIDGE_UPSTREAM__TOKEN"
    hint = "set TICKBRIDGE_UPSTREAM__TOKEN_FILE to a file with the venue's token"
    try:
        found = upstream.read_token()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        yield Finding("token", Verdict.FAIL, f"{place} cannot be read: {why}", hint)
        return
    if not (found or upstream.token_file or dialects.get(upstream.dialect).needs_token):
        yield Finding("token", Verdict.OK, "none, and the venue needs none")
    elif not found:
        said = f"{place} is empty" if upstream.token_file else "there is none"
        yield Finding("token", Verdict.FAIL, said, hint)
    elif any(char.isspace() or not char.isprintable() for char in found):
        yield Finding("token", Verdict.FAIL, f"{place} holds more than a token", "write the token and nothing else")
    elif upstream.token_file and upstream.token_file.stat().st_mode & stat.S_IROTH:
        said = f"from {place}, which everybody on this machine can read"
        yield Finding("token", Verdict.WARN, said, f"chmod o-r {place}")
    elif upstream.token_file:
        yield Finding("token", Verdict.OK, f"from {place}")
    else:
        yield Finding("token", Verdict.OK, f"from {place}; TICKBRIDGE_UPSTREAM__TOKEN_FILE rotates without a restart")


def endpoint(settings: Settings) -> Iterator[Finding]:
    """Go towards the venue: name, connection, TLS."""
    host, port, secure = _address(settings)
    where = f"{host}:{port}"
    if _proxied(host, secure):
        yield Finding("endpoint", Verdict.SKIP, f"{where} is reached by way of a proxy", "try `tickbridge run`")
        return
    try:
        met = f"{where}: {count(_resolve(host, port), 'address', 'addresses')}, connected"
        with socket.create_connection((host, port), VENUE_S) as connection:
            yield _shake(connection, host, met, settings) if secure else _unsecured(host, met)
    except OSError as error:
        yield Finding("endpoint", Verdict.FAIL, f"{where}: {_why(error)}", _remedy(error))


def _granted(kind: str, name: str, grants: Sequence[Grant], answer: Future[Any]) -> Iterator[Finding]:
    """Compare what is needed of one topic or group with what the brokers say that our user may do."""
    about = f"access to {kind} {name}"
    needed = [one for one in grants if (one.kind, one.name) == (Kind(kind), name)]
    try:
        allowed = {one.name for one in answer.result(KAFKA_S + 1).authorized_operations or ()}
    except KafkaException as error:
        yield from _undescribed(about, needed, error.args[0])
        return
    lacking = [one for one in needed if one.operation not in allowed]
    if not allowed:
        yield Finding(about, Verdict.SKIP, "the brokers do not say what our user may do")
    for one in lacking if allowed else ():
        hint = f"grant our user {one.operation} on the {kind} {name}"
        yield Finding(about, Verdict.FAIL, f"our user may not {one.operation}: to {one.purpose}", hint)
    if allowed and not lacking:
        yield Finding(about, Verdict.OK, f"our user may {' and '.join(one.operation for one in needed)}")


def _undescribed(about: str, needed: Sequence[Grant], error: KafkaError) -> Iterator[Finding]:
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return  # told by the topic's own line
    if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
        yield Finding(about, Verdict.SKIP, "the group does not exist before the first `tickbridge run`")
    elif error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        rights = " and ".join(one.operation for one in needed)  # either brings DESCRIBE along
        hint = f"grant our user {rights} on the {needed[0].kind} {needed[0].name}"
        yield Finding(about, Verdict.FAIL, f"our user may not even DESCRIBE it, and needs {rights}", hint)
    else:
        yield Finding(about, Verdict.SKIP, f"the brokers do not say: {error.str()}")


def _resolve(host: str, port: int) -> int:
    """Count a host's addresses, in bounded time: the system's resolver has none of its own.

    Raises:
        OSError: the name is not known, or nobody answers in time.
    """
    answer: Future[int] = Future()

    def ask() -> None:
        try:
            answer.set_result(len({one[4][0] for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}))
        except (OSError, UnicodeError) as error:
            answer.set_exception(error if isinstance(error, OSError) else socket.gaierror(0, "is no host name"))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    if not wait([answer], VENUE_S).done:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers in time")
    return answer.result()


def _address(settings: Settings) -> tuple[str, int, bool]:
    """Give the venue's host and port, and whether it speaks TLS."""
    upstream = settings.upstream
    parts = urlsplit(upstream.url or dialects.get(upstream.dialect).default_url(upstream.market))
    secure = parts.scheme == "wss"
    return parts.hostname or "", parts.port or (443 if secure else 80), secure


def _proxied(host: str, secure: bool) -> bool:
    return ("https" if secure else "http") in getproxies() and not proxy_bypass(host)


def _context(settings: Settings) -> ssl.SSLContext:
    ca_file = settings.upstream.ca_file
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _connected(host: str, port: int, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    _resolve(host, port)
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=VENUE_S)
    return http.client.HTTPSConnection(host, port, timeout=VENUE_S, context=context)


def _date(server: http.client.HTTPConnection) -> datetime:
    """Ask a web server for nothing, and take the date of its answer.

    Raises:
        OSError: it cannot be reached, or does not answer in time.
        HTTPException: it answers something else.
    """
    with closing(server):
        server.request("GET", "/")
        date = server.getresponse().getheader("Date")
    try:
        return parsedate_to_datetime(date or "").astimezone(UTC)
    except ValueError:
        raise http.client.HTTPException("its answer has no date") from None


def _shake(connection: socket.socket, host: str, met: str, settings: Settings) -> Finding:
    with _context(settings).wrap_socket(connection, server_hostname=host) as secured:
        return Finding("endpoint", Verdict.OK, f"{met}, {secured.version()}, certificate trusted; not logged in")


def _unsecured(host: str, met: str) -> Finding:
    said = f"{met}, without TLS"
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return Finding("endpoint", Verdict.OK, said)
    return Finding("endpoint", Verdict.WARN, f"{said}: the token goes in the clear", "use a wss:// address")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted ({error.verify_message})"
    if isinstance(error, socket.gaierror):
        return f"the name is not found ({error.strerror})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _remedy(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "set TICKBRIDGE_UPSTREAM__CA_FILE to the authority of this certificate, and see that the clock is right"
    if isinstance(error, ssl.SSLError):
        return "see whether the address speaks TLS, or should begin with ws://"
    if isinstance(error, socket.gaierror):
        return "check TICKBRIDGE_UPSTREAM__URL and the name servers of this machine"
    return "check TICKBRIDGE_UPSTREAM__URL, the firewall and the way out of this network"
