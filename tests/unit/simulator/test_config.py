"""The configuration: plan limits, scaling, contradictions."""

from pathlib import Path
from typing import Any

import pytest

from bridge.simulator import PLANS, SimulatorConfig


def test_plans_are_those_of_the_protocol_sheet() -> None:
    caps = {name: (plan.max_codes, plan.max_connections, plan.reconnect_s) for name, plan in PLANS.items()}
    assert caps == {
        "free": (5, 1, 10.0),
        "basic": (100, 1, 3.0),
        "premium": (200, 3, 3.0),
        "professional": (3000, 10, 3.0),
    }


def test_time_scale_multiplies_every_duration_and_nothing_else() -> None:
    limits = SimulatorConfig(plan="free", time_scale=0.5).limits()
    assert (limits.reconnect_s, limits.request_interval_s, limits.token_interval_s) == (5.0, 0.5, 1.5)
    assert (limits.heartbeat_cut_s, limits.max_codes) == (15.0, 5)


def test_the_reconnect_interval_can_be_overridden() -> None:
    assert SimulatorConfig(reconnect_s=0.0).limits().reconnect_s == 0.0


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"plan": "gold"}, "there is no plan 'gold'"),
        ({"time_scale": 0.0}, "must be above 0"),
        ({"cert": Path("cert.pem")}, "both cert and key"),
        ({"flood_total": 5}, "flood mode only"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SimulatorConfig(**fields)
