"""What the bridge says about itself in records (contract 1.2): statuses, gaps, and how far everything is safe.

Pure: facts in, keys and values out, and back. Unknown fields are left out.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from bridge.model import OpenGap, Progress, SymbolState

_encode = msgspec.json.Encoder().encode


#: The format of all these records.
V = 1

#: Moments and sessions, in microseconds; what is beyond would spoil the sessions to come for ever.
_Us = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
#: A partition or an offset in Kafka.
_Place = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Status(msgspec.Struct, omit_defaults=True):
    """A status record's value; ``effective`` is the control value in force.

    Where that is older than the newest control record, which cannot be used, ``effective_state`` and
    ``effective_reason`` say what becomes of it.
    """

    v: int
    bridge: str
    symbol: str
    state: str
    since_us: _Us
    instance: str
    code: str = ""
    reason: str = ""
    detail: str = ""
    last_tick_us: _Us = 0
    control_partition: _Place | None = None
    control_offset: _Place | None = None
    effective: dict[str, object] | None = None
    effective_state: str = ""
    effective_reason: str = ""
    session: _Us = 0
    warnings: tuple[str, ...] = ()


_decode_status = msgspec.json.Decoder(Status).decode


def status(
    row: SymbolState, *, bridge: str, instance: str, since_us: int, session: int = 0,
    control: tuple[int, int] | None = None, effective: dict[str, object] | None = None,
    beneath: tuple[str, str] = ("", ""), warnings: tuple[str, ...] = (),
) -> tuple[bytes, bytes]:  # fmt: skip
    """Write a status record; ``control`` is the partition and offset of the record that it speaks of.

    ``beneath`` has state and reason of what is in force where that record cannot be used.
    """
    value = Status(
        v=V,
        bridge=bridge,
        symbol=row.symbol,
        state=row.state.value,
        since_us=since_us,
        instance=instance,
        code=row.code,
        reason=row.reason,
        detail=row.detail,
        last_tick_us=row.last_tick_us,
        control_partition=control[0] if control else None,
        control_offset=control[1] if control else None,
        effective=effective,
        effective_state=beneath[0],
        effective_reason=beneath[1],
        session=session,
        warnings=warnings,
    )
    return row.symbol.encode(), _encode(value)


def read_status(value: bytes) -> Status | None:
    """Read a status record, anybody's; None where it is none."""
    try:
        return _decode_status(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Gap(msgspec.Struct, omit_defaults=True, frozen=True):
    """A gap record's value; without ``to_us`` it is open."""

    v: int
    id: str
    bridge: str
    symbol: str
    from_us: int
    cause: str
    to_us: int = 0
    code: str = ""
    session_before: int = 0
    session_after: int = 0
    lost: int = 0
    last_seq: str = ""


def gap(value: Gap) -> tuple[bytes, bytes]:
    """Write a gap record."""
    return value.symbol.encode(), _encode(value)


#: Reads a gap record that we have written.
read_gap = msgspec.json.Decoder(Gap).decode


class _Open(msgspec.Struct, omit_defaults=True):
    cause: str
    from_us: _Us
    symbols: tuple[str, ...]
    session_before: _Us = 0


class _State(msgspec.Struct, omit_defaults=True):
    v: int
    bridge: str
    partition: int
    safe_us: _Us
    instance: str
    written_us: _Us
    session: _Us = 0
    last_frame_us: _Us = 0
    ended: str = ""
    open: tuple[_Open, ...] = ()
    set_aside: _Us = 0
    set_aside_symbols: _Us = 0


_decode_state = msgspec.json.Decoder(_State).decode


def state_key(bridge: str, partition: int) -> bytes:
    """Name the state record of a control partition."""
    return f"{bridge}/{partition}".encode()


def state(progress: Progress, *, bridge: str, partition: int) -> tuple[bytes, bytes]:
    """Write a state record."""
    value = _State(
        v=V,
        bridge=bridge,
        partition=partition,
        safe_us=progress.safe_us,
        instance=progress.instance,
        written_us=progress.written_us,
        session=progress.session,
        last_frame_us=progress.last_frame_us,
        ended=progress.ended,
        open=tuple(_Open(one.cause, one.from_us, one.symbols, one.session) for one in progress.open),
        set_aside=progress.set_aside,
        set_aside_symbols=progress.set_aside_symbols,
    )
    return state_key(bridge, partition), _encode(value)


def read_state(value: bytes) -> Progress | None:
    """Read a state record; None where it is none."""
    try:
        found = _decode_state(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    gaps = tuple(OpenGap(one.cause, one.from_us, one.session_before, one.symbols) for one in found.open)
    return Progress(
        found.safe_us,
        found.written_us,
        found.session,
        found.last_frame_us,
        found.instance,
        found.ended,
        gaps,
        found.set_aside,
        found.set_aside_symbols,
    )
