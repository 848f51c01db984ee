"""The ledger shows each count under its own name, and the sum proves itself."""

from dataclasses import fields, replace

import pytest

from bridge.publish.ledger import Ledger, Loss, Losses
from bridge.snapshots import Accounts

TERMS = [term.name for term in fields(Ledger)]
OUT = [name for name in TERMS if name not in ("received", "recovered")]


def test_a_new_ledger_has_nothing_and_is_balanced() -> None:
    accounts = Ledger().snapshot(0)
    assert accounts == Accounts()
    assert accounts.balanced


def test_a_snapshot_has_every_term_of_the_ledger_under_its_own_name() -> None:
    ledger = Ledger(**{name: 2**index for index, name in enumerate(TERMS)})
    accounts = ledger.snapshot(1_000_000)
    assert {name: getattr(accounts, name) for name in TERMS} == {name: 2**index for index, name in enumerate(TERMS)}
    assert accounts.in_flight == 1_000_000


def test_a_snapshot_does_not_follow_the_ledger() -> None:
    ledger = Ledger()
    accounts = ledger.snapshot(0)
    ledger.received += 1
    assert accounts.received == 0


@pytest.mark.parametrize("way_in", ["received", "recovered"])
@pytest.mark.parametrize("way_out", [*OUT, "in_flight"])
def test_a_tick_that_came_in_is_accounted_for_by_any_way_out(way_in: str, way_out: str) -> None:
    came_in = replace(Accounts(), **{way_in: 1})
    assert not came_in.balanced
    assert replace(came_in, **{way_out: 1}).balanced


def test_losses_are_summed_up_by_cause_and_symbol_and_enclose_when_the_ticks_were_received() -> None:
    losses = Losses()
    losses.note("overflow", [(b"A", b"", 1005), (b"B", b"", 1006), (b"A", b"", 1009)])
    losses.note("undeliverable", [(b"A", b"", 1007)])
    assert losses.take() == [
        Loss(b"A", "overflow", 2, 1_005_000, 1_009_999),
        Loss(b"B", "overflow", 1, 1_006_000, 1_006_999),
        Loss(b"A", "undeliverable", 1, 1_007_000, 1_007_999),
    ]
    assert losses.take() == []
