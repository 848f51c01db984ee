"""What the bridge says about itself in records: the status of a symbol (contract 1.2, status).

Pure: states in, keys and values out. Unknown fields are left out.
"""

from __future__ import annotations

import msgspec

from bridge.model import SymbolState

_encode = msgspec.json.Encoder().encode


class Status(msgspec.Struct, omit_defaults=True):
    """A status record's value; ``effective`` is the control value in force."""

    v: int
    bridge: str
    symbol: str
    state: str
    since_us: int
    instance: str
    code: str = ""
    reason: str = ""
    detail: str = ""
    last_tick_us: int = 0
    control_partition: int | None = None
    control_offset: int | None = None
    effective: dict[str, object] | None = None
    session: int = 0
    warnings: tuple[str, ...] = ()


def status(
    row: SymbolState, *, bridge: str, instance: str, since_us: int, session: int = 0,
    control: tuple[int, int] | None = None, effective: dict[str, object] | None = None, warnings: tuple[str, ...] = (),
) -> tuple[bytes, bytes]:  # fmt: skip
    """Write a status record; ``control`` is the partition and offset of the record that it speaks of."""
    value = Status(
        v=1,
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
        session=session,
        warnings=warnings,
    )
    return row.symbol.encode(), _encode(value)
