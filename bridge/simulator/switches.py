"""The switches: everything about the simulated venue that may change while it runs.

One table serves the class, the command line and the control port: a field's annotation holds its type, its
bounds and its help. Where the protocol leaves a behaviour undocumented there is one switch with a value per
plausible behaviour, so that a client can be tried under each. Setting an attribute from any thread checks the
value at once (a `SwitchError` names the switch and what it takes); text is accepted for every type, which is
how the command line speaks. Durations are venue seconds: the simulator multiplies them by its `time_scale`.
"""

from __future__ import annotations

import dataclasses
import difflib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The token accepted unless `tokens` says otherwise.
DEFAULT_TOKEN = "test-token"  # noqa: S105 (a simulator's token guards nothing)


class SwitchError(ValueError):
    """A switch was named that does not exist, or given a value that it does not take."""


@dataclass(eq=False)
class Switches:
    """Hold the switches; assign to an attribute, or use `update` to change several at once."""

    # The venue's behaviour, documented or not.
    rate: Annotated[float, Meta(ge=0, description="ticks per second over all known codes; 0 = none")] = 100.0
    flood_rate: Annotated[float, Meta(ge=0, description="flood mode: ticks/s per connection; 0 = all")] = 0.0
    tokens: Annotated[frozenset[str], Meta(description="tokens accepted; empty = any but the empty one")] = frozenset(
        {DEFAULT_TOKEN}
    )
    unknown: Annotated[frozenset[str], Meta(description="codes answered 600")] = frozenset()
    strange: Annotated[frozenset[str], Meta(description="codes answered 400, as if the request made no sense")] = (
        frozenset()
    )
    unauthorised: Annotated[frozenset[str], Meta(description="codes answered 604")] = frozenset()
    max_codes: Annotated[int, Meta(ge=0, description="codes per connection; 0 = the plan's")] = 0
    max_connections: Annotated[int, Meta(ge=0, description="connections per token; 0 = the plan's")] = 0
    over_cap: Annotated[
        Literal["ignored", "603"], Meta(description="codes above the cap: left out silently, or answered 603")
    ] = "ignored"
    refused: Annotated[
        Literal["keep", "clear", "skip"],
        Meta(description="a refused list: the old one stays, nothing stays, or only bad codes are left out"),
    ] = "keep"
    skip_answer: Annotated[
        Literal["ack", "error"], Meta(description="refused=skip: answer 200 or the first bad code's ret")
    ] = "ack"
    empty_list: Annotated[Literal["clears", "400", "ignored"], Meta(description="what an empty symbol_list does")] = (
        "clears"
    )
    replacement_gap_s: Annotated[
        float, Meta(ge=0, description="no ticks on a connection this long after its list was replaced")
    ] = 0.0
    late_ticks_s: Annotated[float, Meta(ge=0, description="ticks of removed codes go on this long")] = 0.0
    refuse_connections: Annotated[bool, Meta(description="HTTP 429 above the plan's connections")] = True
    pacing: Annotated[
        Literal["605", "606", "record"],
        Meta(description="too early: answer 605, or 606 and hang up, or record only (upgrades: 605 = HTTP 429)"),
    ] = "605"
    pacing_slack_s: Annotated[
        float, Meta(ge=0, description="real seconds a request may be early: jitter, not scaled")
    ] = 0.02
    heartbeats_count: Annotated[
        Literal["record", "yes", "no"],
        Meta(description="heartbeats in the 1 s rule: recorded only, enforced, or exempt"),
    ] = "record"
    uncorrelated_errors: Annotated[
        Literal["no", "envelope", "all"],
        Meta(description="error frames with cmd_id 0, seq_id 0, empty trace: none, for 400 and 402, or all"),
    ] = "no"
    hangup: Annotated[
        Literal["close", "cut", "reset"],
        Meta(description="how the venue hangs up (no heartbeat, 606): close frame, TCP FIN, TCP RST"),
    ] = "close"

    reap_delay_s: Annotated[
        float, Meta(ge=0, description="a connection lost without a close frame counts in the plan this much longer")
    ] = 0.0

    # Faults.
    silent: Annotated[frozenset[str], Meta(description="codes that are accepted and never tick by themselves")] = (
        frozenset()
    )
    mute: Annotated[bool, Meta(description="no ticks are sent; heartbeats are answered")] = False
    heartbeat_mute: Annotated[bool, Meta(description="heartbeats are not answered")] = False
    half_open: Annotated[bool, Meta(description="nothing is sent or read, sockets stay open")] = False
    deaf: Annotated[bool, Meta(description="nothing is read, while ticks go on")] = False
    refuse_upgrades: Annotated[
        Literal[0, 400, 401, 403, 404, 429, 500, 502, 503, 504],
        Meta(description="HTTP status for every upgrade; 0 = off"),
    ] = 0
    accept_then_close: Annotated[bool, Meta(description="upgrades are accepted, then hung up at once")] = False
    duplicates: Annotated[float, Meta(ge=0, le=1, description="share of ticks sent twice")] = 0.0
    reordered: Annotated[
        float, Meta(ge=0, le=1, description="share of ticks held back until the same code's next tick")
    ] = 0.0
    seconds: Annotated[bool, Meta(description="tick_time in seconds")] = False
    integers: Annotated[bool, Meta(description="seq and tick_time as JSON integers")] = False
    numbers: Annotated[bool, Meta(description="price, volume and turnover as JSON numbers")] = False
    time_unit: Annotated[Literal["ms", "s", "us", "iso"], Meta(description="how action-symbols writes its time")] = "ms"
    answers: Annotated[bool, Meta(description="action-code and action-symbols answer requests")] = False
    partly: Annotated[
        Literal["good", "none"],
        Meta(description="their requests with a bad code: the good ones hold and the answer names the bad, or none do"),
    ] = "good"
    ack_delay_s: Annotated[float, Meta(ge=0, description="answers to requests come this late")] = 0.0
    drop_acks: Annotated[int, Meta(ge=0, description="the next N requests are not answered; counts down")] = 0
    wrong_seq_id: Annotated[bool, Meta(description="answers carry seq_id + 1000")] = False
    next_ret: Annotated[int, Meta(ge=0, description="the next request is refused with this ret; then 0 again")] = 0
    next_ret_uncorrelated: Annotated[bool, Meta(description="next_ret comes as an uncorrelated error")] = False

    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __setattr__(self, name: str, value: object) -> None:
        self.update(**{name: value})

    def update(self, **values: object) -> None:
        """Set several switches together, all or none.

        Raises SwitchError when a name is unknown or a value is not taken.
        """
        checked = {name: _convert(name, value) for name, value in values.items()}
        with self._lock:
            for name, value in checked.items():
                object.__setattr__(self, name, value)
        listener = vars(self).get("_listener")
        if listener is not None:
            listener()

    def on_change(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` after every change, in the thread that made it."""
        object.__setattr__(self, "_listener", listener)

    def take(self, name: Literal["drop_acks", "next_ret"]) -> int:
        """Use up one: return the value found; `drop_acks` counts down by one, `next_ret` falls to 0."""
        with self._lock:
            found: int = getattr(self, name)
            object.__setattr__(self, name, max(0, found - 1) if name == "drop_acks" else 0)
            return found

    def as_dict(self) -> dict[str, object]:
        """Return every switch and its value at one moment; sets come as sorted lists."""
        with self._lock:
            values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}

    def copy(self) -> Switches:
        """Return an independent copy without a listener."""
        return Switches(**self.as_dict())  # type: ignore[arg-type]  # checked by __setattr__


@dataclass(frozen=True, slots=True)
class SwitchRow:
    """Describe one switch for a person: its name, what it takes, its default and its help."""

    name: str
    takes: str
    default: str
    help: str


def table() -> list[SwitchRow]:
    """List every switch in the order of the class."""
    defaults = Switches().as_dict()
    return [
        SwitchRow(name, _takes(hint), _shown(defaults[name]), _description(hint))
        for name, hint in _hints().items()
        if name in defaults
    ]


def parse_assignments(texts: list[str]) -> dict[str, object]:
    """Read `switch=value` texts; a set is written with commas.

    Raises SwitchError for a text without `=`, an unknown switch or a value that it does not take.
    """
    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SwitchError(f"{text!r} is not switch=value; write for example mute=true")
        values[name.strip()] = _convert(name.strip(), value.strip())
    return values


def _hints() -> Mapping[str, object]:
    return get_type_hints(Switches, include_extras=True)


_TYPES = _hints()
_NAMES = frozenset(field.name for field in dataclasses.fields(Switches))


def _convert(name: str, value: object) -> object:
    if name not in _NAMES:
        close = "".join(f"; did you mean {one}?" for one in difflib.get_close_matches(name, _NAMES, 1))
        others = f"; the switches are {', '.join(sorted(_NAMES))}"
        raise SwitchError(f"there is no switch {name!r}{close or others}")
    hint = _TYPES[name]
    if isinstance(value, str) and get_origin(get_args(hint)[0]) is frozenset:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, hint, strict=not isinstance(value, str))
    except msgspec.ValidationError as exc:
        raise SwitchError(f"{name} takes {_takes(hint)}, not {value!r}") from exc


def _takes(hint: object) -> str:
    kind, meta = get_args(hint)[:2]
    if get_origin(kind) is Literal:
        return " | ".join(map(str, get_args(kind)))
    if get_origin(kind) is frozenset:
        return "A,B,C"
    bounds = "" if meta.ge is None else f" >= {meta.ge}" if meta.le is None else f" {meta.ge}..{meta.le}"
    return {bool: "true | false", int: "integer", float: "number"}[kind] + bounds


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _description(hint: object) -> str:
    meta: Meta = get_args(hint)[1]
    return meta.description or ""
