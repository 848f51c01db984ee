"""What the soak decides without any process: which faults come, what it excuses, and what it calls a loss or a leak."""

import random

import pytest

from bench.soak.faults import FAULTS, Fault, draw
from bench.soak.verdict import EXCUSED_S, LIFE_MIN, accounts_problems, alike, excuse, memory_problems, silences, slope
from bench.soak.watch import Sample
from bridge.simulator import VenueTick
from tests.support.audit import IN, OUT, Evidence, Published, SymbolVerdict, Verdict


def verdict(**found: object) -> Verdict:
    return Verdict({"700.HK": SymbolVerdict("700.HK", **found)}, [])  # type: ignore[arg-type]


def evidence(sent_at: float) -> Evidence:
    ticks = {"700.HK": [VenueTick(7, sent_at, 1, "sent")]}
    return Evidence(ticks=ticks, accepted={}, published=[Published("700.HK", 7, 1)] * 2)


def life(minutes: float, mb_per_minute: float, begun_mb: float = 70.0) -> list[Sample]:
    return [Sample(10 * n, "a", 10.0 * n, begun_mb + mb_per_minute * n / 6) for n in range(int(minutes * 6) + 1)]


def test_the_same_seed_draws_the_same_faults() -> None:
    drawn = [[draw(dice, FAULTS).name for _ in range(50)] for dice in (random.Random(7), random.Random(7))]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 10


def test_faults_come_as_often_as_their_weights_say() -> None:
    rare, common = Fault("rare", 1, lambda _: None), Fault("common", 9, lambda _: None)
    dice = random.Random(1)
    drawn = [draw(dice, (rare, common)).name for _ in range(1000)]
    assert 50 < drawn.count("rare") < 150


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(("killed_after_s", "excused"), [(1.0, 1), (EXCUSED_S - 1, 1), (EXCUSED_S + 1, 0), (-1.0, 0)])
def test_a_kill_excuses_only_what_was_under_way(killed_after_s: float, excused: int) -> None:
    found = verdict(duplicates=[7])
    assert excuse(found, evidence(1000.0), [1000.0 + killed_after_s]) == excused
    assert bool(found.problems()) is not bool(excused)


def test_without_a_kill_nothing_may_come_twice() -> None:
    found = verdict(duplicates=[7])
    assert excuse(found, evidence(1000.0), []) == 0
    assert found.problems()


def test_losses_at_about_the_same_time_are_one_line_that_names_the_fault() -> None:
    lost = [VenueTick(n, at, 0, "absent") for n, at in enumerate((100.0, 100.5, 101.0, 200.0))]
    first, second = silences(verdict(silent=lost), [(90.0, "cut"), (150.0, "reset"), (300.0, "close")])
    assert "3 absent" in first
    assert first.endswith("10.0 s after the begin of: cut")
    assert second.endswith("50.0 s after the begin of: reset")


def test_no_loss_is_no_line() -> None:
    assert silences(verdict(), [(90.0, "cut")]) == []


def test_problems_that_differ_in_numbers_only_are_one_line() -> None:
    still_open = ["700.HK: gap 1 is open", "5.HK: gap 22 is open"]
    twice = ["7.HK: 2 published more than once: 1, 2", "5.HK: 1 published more than once: 7"]
    assert alike([*still_open, *twice]) == [f"{still_open[0]} (and 1 like it)", f"{twice[0]} (and 1 like it)"]


def test_accounts_that_do_not_add_up_are_a_problem() -> None:
    balanced = dict.fromkeys((*IN, *OUT), 0) | {"received": 5, "published": 5}
    assert accounts_problems([balanced]) == []
    assert len(accounts_problems([balanced, balanced | {"received": 6}])) == 1


def test_the_slope_is_what_a_bridge_gains_with_age_after_its_youth() -> None:
    youth = [Sample(0, "a", age, 20.0) for age in (0.0, 1.0, 2.0)]
    gained = slope([*youth, *life(20, 2.0)])
    assert gained is not None
    assert gained[0] == pytest.approx(2.0)
    assert gained[1] == pytest.approx(20.0)


def test_nothing_is_said_of_a_slope_without_samples() -> None:
    assert slope([]) is None


def test_a_leak_is_a_problem_once_a_life_was_long_enough_to_show_it() -> None:
    assert memory_problems(life(LIFE_MIN - 1, 3.0)) == []
    assert len(memory_problems(life(LIFE_MIN + 1, 3.0))) == 1
    assert memory_problems(life(LIFE_MIN + 1, 0.1)) == []


def test_too_much_memory_is_a_problem_at_any_age() -> None:
    assert len(memory_problems([Sample(1, "a", 1, 400.0)])) == 1
