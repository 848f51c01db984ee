"""The groups of settings, one class each.

Every field carries a description: it is the remedy in the error message and the row in ``docs/settings.md``. This is
the only place where ``_`` becomes ``.`` for librdkafka and where secrets are opened.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode

from bridge.model import Limits
from bridge.settings import masks
from bridge.settings.plans import NO_ADDRESS, PLANS
from bridge.settings.reserved import RESERVED

PREFIX = "TICKBRIDGE_"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _no_mask(cls, value: object) -> object:
        masks.refuse(value)
        return value


def _must_be_readable(path: Path) -> Path:
    try:
        readable = path.is_file() and os.access(path, os.R_OK)
    except OSError:  # a path longer than any can be
        readable = False
    if not readable:
        raise ValueError("cannot be read")
    return path


class UpstreamSettings(_Group):
    """The venue: where it is, who we are, and how fast we may talk."""

    url: str | None = Field(
        None, repr=False, description="a ws:// or wss:// address; left out, the market picks the venue's own"
    )
    market: Literal["stock", "other"] = Field(
        "stock", description="stock (US, HK, CN) or other (forex, crypto, commodities): the venue's two endpoints"
    )
    token: SecretStr | None = Field(None, description="the venue's token; or give UPSTREAM__TOKEN_FILE")
    token_file: Path | None = Field(
        None, description="a readable file with the token; re-read at each connect, so rotation needs no restart"
    )
    dialect: str = Field(
        "alltick",
        description="the venue's way of speaking: alltick, action-code, action-symbols, or one of an installed package",
    )
    plan: Literal["free", "basic", "premium", "professional"] = Field(
        "free", description="free, basic, premium or professional: sets the cap on symbols and the pacing"
    )
    max_symbols: int | None = Field(None, ge=1, description="a whole number from 1; left out, the plan's cap")
    request_interval_s: float | None = Field(
        None,
        gt=0,
        le=60,
        description="seconds between two requests, above 0 to 60; left out, the dialect's (alltick: 1)",
    )
    reconnect_min_s: float | None = Field(
        None, ge=0, description="seconds before a new connection is tried; left out, the plan's minimum"
    )
    reconnect_max_s: float = Field(60.0, gt=0, description="the longest back-off in seconds, above 0")
    heartbeat_s: float = Field(10.0, gt=0, description="seconds between heartbeats, above 0; the venue cuts at 30")
    silence_s: float = Field(25.0, gt=0, description="seconds without any frame before reconnecting, above 0")
    ack_timeout_s: float = Field(10.0, gt=0, description="seconds to wait for the answer to a request, above 0")
    connect_timeout_s: float = Field(10.0, gt=0, description="seconds for one connection attempt, above 0")
    max_message_bytes: int = Field(
        1_048_576, ge=1024, description="the largest message read, from 1024 bytes; larger ones are skipped and counted"
    )
    ca_file: Path | None = Field(
        None, description="a readable PEM file of authorities to trust instead of the system's"
    )

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError("is no WebSocket address")
        if "token=" in parts.query:
            raise ValueError("carries a token, which belongs into UPSTREAM__TOKEN or UPSTREAM__TOKEN_FILE")
        return url

    @field_validator("dialect")
    @classmethod
    def _has_an_address(cls, dialect: str, info: ValidationInfo) -> str:
        if dialect in NO_ADDRESS and info.data.get("url", "") is None:
            raise ValueError("has no address of its own: give UPSTREAM__URL")
        return dialect

    @field_validator("heartbeat_s")
    @classmethod
    def _room_for_requests(cls, heartbeat_s: float, info: ValidationInfo) -> float:
        # Nothing is sent in the interval before and after a heartbeat: what is left must be enough for a request.
        usual = 1.0 if info.data.get("dialect") == "alltick" else 0.0
        least_s = round(3 * (info.data.get("request_interval_s") or usual), 6)  # three times 0.8 is 2.4 to people
        if heartbeat_s < least_s:
            raise ValueError("is less than three times UPSTREAM__REQUEST_INTERVAL_S, so no request would ever be sent")
        return heartbeat_s

    @field_validator("silence_s")
    @classmethod
    def _heartbeats_break_it(cls, silence_s: float, info: ValidationInfo) -> float:
        if silence_s <= info.data.get("heartbeat_s", 0.0):
            raise ValueError("is not above UPSTREAM__HEARTBEAT_S, so a quiet market would look like a dead connection")
        return silence_s

    @field_validator("token_file", "ca_file")
    @classmethod
    def _readable(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None:
            return None
        _must_be_readable(path)
        if info.field_name == "token_file" and info.data.get("token") is not None:
            raise ValueError("is given beside UPSTREAM__TOKEN; keep one of them")
        return path

    def limits(self, partitions: int = 1, *, pause_s: float = 1.0) -> Limits:
        """Give what the plan allows, each number overridden by its own setting where that is given.

        ``pause_s`` is what the dialect wants between two requests.
        """
        plan = PLANS[self.plan]
        minimum = plan.reconnect_min_s if self.reconnect_min_s is None else self.reconnect_min_s
        return Limits(
            max_symbols=self.max_symbols or plan.max_symbols,
            request_interval_s=self.request_interval_s or pause_s,
            reconnect_min_s=minimum,
            reconnect_max_s=max(self.reconnect_max_s, minimum),
            heartbeat_s=self.heartbeat_s,
            silence_s=self.silence_s,
            ack_timeout_s=self.ack_timeout_s,
            partitions=partitions,
        )

    def read_token(self) -> str:
        """Read the token, from the file anew if there is one.

        Raises:
            OSError: the file cannot be read.
        """
        if self.token_file is not None:
            return self.token_file.read_text(encoding="utf-8").strip()
        return self.token.get_secret_value().strip() if self.token else ""


class KafkaSettings(_Group):
    """How to reach Kafka."""

    bootstrap_servers: str = Field(min_length=1, description="host:port,host:port of one or more brokers")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    sasl_mechanism: str | None = Field(None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
    sasl_username: str | None = Field(None, description="the SASL user")
    sasl_password: SecretStr | None = Field(None, description="the SASL password")
    ssl_ca_location: Path | None = Field(None, description="a PEM file of authorities for the brokers' certificates")
    ssl_certificate_location: Path | None = Field(None, description="a PEM file with our certificate")
    ssl_key_location: Path | None = Field(None, description="a PEM file with our private key")
    ssl_key_password: SecretStr | None = Field(None, description="the password of the private key")
    extra: Annotated[dict[str, str | int | float | bool], NoDecode] = Field(
        default_factory=dict, repr=False, description='more librdkafka properties as JSON, as in {"linger.ms": 20}'
    )

    @field_validator("extra", mode="before")
    @classmethod
    def _json(cls, extra: object) -> object:
        if not isinstance(extra, str):
            return extra
        try:
            return json.loads(extra)
        except (ValueError, RecursionError):
            raise ValueError("is no JSON object") from None

    @field_validator("extra")
    @classmethod
    def _free_of_reserved(cls, extra: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
        for key in extra:
            if key in RESERVED:
                raise ValueError(f"must not set {key}: {RESERVED[key]}")
        return extra

    def as_librdkafka(self) -> dict[str, str | int | float | bool]:
        """Give the connection's properties under librdkafka's names, secrets opened."""
        given: dict[str, str | int | float | bool] = {}
        for name, value in self:
            if name == "extra" or value is None:
                continue
            secret = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            given[name.replace("_", ".")] = secret
        return {**given, **self.extra}


class TopicSettings(_Group):
    """The names and the shape of the topics."""

    model_config = ConfigDict(validate_default=True)  # a given name may be another's default

    subscriptions: str = Field("market-data.subscriptions", min_length=1, description="name of the control topic")
    ticks: str = Field("market-data.ticks", min_length=1, description="name of the ticks topic")
    status: str = Field("market-data.subscription-status", min_length=1, description="name of the status topic")
    gaps: str = Field("market-data.gaps", min_length=1, description="name of the gaps topic")
    dead_letters: str = Field(
        "market-data.subscriptions.dead-letters", min_length=1, description="name of the topic of unusable records"
    )
    state: str = Field("market-data.bridge-state", min_length=1, description="name of the bridge's own state topic")
    ensure: bool = Field(False, description="true lets `run` create missing topics itself")
    subscriptions_partitions: int = Field(
        1, ge=1, le=100, description="partitions of the control topic, 1 to 100: each is one upstream connection"
    )
    ticks_partitions: int = Field(12, ge=1, le=10_000, description="partitions of the ticks topic, from 1")
    replication: int = Field(
        3, ge=1, le=100, description="replicas of each topic, from 1; fewer brokers, fewer replicas"
    )
    min_insync_replicas: int = Field(2, ge=1, le=100, description="replicas that must have a record, from 1")
    ticks_retention_h: float = Field(168.0, gt=0, description="hours that ticks are kept, above 0")
    gaps_retention_h: float = Field(720.0, gt=0, description="hours that gaps are kept, above 0")
    dead_letters_retention_h: float = Field(720.0, gt=0, description="hours that dead letters are kept, above 0")
    tombstone_retention_h: float = Field(168.0, gt=0, description="hours that tombstones outlive compaction, above 0")

    @field_validator("ticks", "status", "gaps", "dead_letters", "state")
    @classmethod
    def _of_its_own(cls, name: str, info: ValidationInfo) -> str:
        for other, taken in info.data.items():
            if taken == name:
                raise ValueError(f"is the name of {PREFIX}TOPICS__{other.upper()} too: each topic needs one of its own")
        return name


class GroupSettings(_Group):
    """Ownership, as Kafka's consumer group decides it."""

    id: str | None = Field(None, min_length=1, description="the consumer group; left out, NAME")
    session_timeout_s: float = Field(10.0, ge=1, le=300, description="seconds until a dead member loses its partitions")
    lost_hold_s: float | None = Field(
        None,
        ge=0,
        description="seconds to keep the upstream connection while Kafka's coordinator is silent; left out, for ever",
    )


class BackpressureSettings(_Group):
    """The bounded path between the venue and Kafka: what waits, where, and what gives way."""

    policy: Literal["drop_oldest", "drop_newest", "conflate", "block"] = Field(
        "drop_oldest",
        description="what gives way when neither memory nor spill has room: drop_oldest, drop_newest, conflate (the "
        "newest tick of each symbol waits) or block (the venue is not read for a while, then drop_oldest)",
    )
    handed_over_max: int = Field(
        25_000, ge=100, le=5_000_000, description="records with the producer at once, 100 to 5000000"
    )
    queue_max_bytes: int = Field(
        64 * 1024 * 1024, ge=65_536, description="bytes of memory for ticks that wait for Kafka, from 65536"
    )
    block_max_s: float = Field(
        8.0, ge=0, le=20, description="seconds in one overflow for which the policy block stops reading, 0 to 20"
    )
    spill_dir: Path | None = Field(
        None, description="a directory of this instance alone, made if missing, to spill to; left out, there is none"
    )
    spill_max_bytes: int = Field(
        1024**3, ge=16 * 1024**2, description="bytes of ticks in the spill, from 16777216; files take up to 16 MiB more"
    )
    spill_max_age_s: float = Field(
        259_200.0, gt=0, description="seconds, above 0: a spill without a newer tick is set aside at start, unpublished"
    )


class DedupeSettings(_Group):
    """Which repeats are dropped."""

    without_seq: bool | None = Field(
        None,
        description="true or false: are ticks without seq that look alike one? left out, where the venue gives a time",
    )


class HttpSettings(_Group):
    """The bridge's own HTTP server."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  probes come from outside the pod
    port: int = Field(8080, ge=0, le=65_535, description="a free port, 0 to 65535 (0 picks one)")
    ready_grace_s: float = Field(60.0, ge=0, description="seconds without upstream before it is unready, from 0")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class LogSettings(_Group):
    """What is written to standard error."""

    format: Literal["json", "console"] = Field("json", description="json or console")
    level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = Field(
        "info", description="debug, info, warning, error or critical, in any case"
    )


class ShutdownSettings(_Group):
    """How long stopping may take."""

    budget_s: float = Field(25.0, gt=0, le=3600, description="seconds to drain and flush after SIGTERM, above 0")


class ReconcileSettings(_Group):
    """How carefully the live set follows the desired one."""

    removal_hold_s: float = Field(30.0, ge=0, description="seconds that a mass removal is held, from 0")


class TicksSettings(_Group):
    """When a silent symbol counts as stale."""

    stale_after_s: float = Field(60.0, gt=0, description="seconds without a tick in market hours, above 0")
    calendar_file: Annotated[Path, AfterValidator(_must_be_readable)] | None = Field(
        None, description="a YAML file of market hours and holidays that replaces or adds to those built in"
    )
