# SPDX-License-Identifier: GPL-2.0-only
"""What happens only sometimes is decided with the confidence that is stated."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from harness.shrink.statistics import (
    CONFIDENCE,
    MOST_RUNS,
    RARER,
    Plan,
    StatisticalOracle,
    at_least,
    interval,
    plan_for,
)
from reference_model.scenario import Scenario
from tests.asif import DIRTY, OVER


@pytest.mark.parametrize("rate", [1.0, 0.9, 0.5, 0.2, 0.1, 0.05])
def test_a_plan_keeps_its_word_both_ways(rate: float) -> None:
    plan = plan_for(rate)
    assert plan is not None
    assert plan.needed >= 2
    assert at_least(plan.needed, plan.runs, rate) >= CONFIDENCE
    assert at_least(plan.needed, plan.runs, rate / RARER) <= 1 - CONFIDENCE


def test_what_is_too_rare_has_no_plan() -> None:
    assert plan_for(1 / MOST_RUNS / 10) is None


@pytest.mark.parametrize(
    ("seen", "runs", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (1, 60, 0.0004, 0.0894)],
)
def test_the_exact_interval(seen: int, runs: int, low: float, high: float) -> None:
    """Against published tables of the Clopper-Pearson interval."""
    assert list(interval(seen, runs)) == pytest.approx([low, high], abs=2e-4)


class Sometimes:
    """Shows a scenario at a rate of its own, reproducibly."""

    greedy = False
    batch = 50

    def __init__(self, rates: dict[int, float]) -> None:
        self._rates = rates
        self._random = random.Random(7)
        self.largest = 0

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        self.largest = max(self.largest, len(candidates))
        return [self._random.random() < self._rates[len(one.steps)] for one in candidates]


def test_the_frequent_are_kept_and_the_rare_are_not() -> None:
    plan = plan_for(0.3)
    assert plan is not None
    inner = Sometimes({len(OVER.steps): 0.3, len(DIRTY.steps): 0.3 / RARER})
    oracle = StatisticalOracle(inner, plan)
    frequent = sum(oracle.shows([OVER])[0] for _ in range(200))
    rare = sum(oracle.shows([DIRTY])[0] for _ in range(200))
    assert frequent >= 180
    assert rare <= 20
    assert inner.largest <= inner.batch


def test_runs_of_one_scenario_have_ids_of_their_own() -> None:
    names: list[str] = []

    class Names:
        greedy = False
        batch = 100

        def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
            names.extend(one.id for one in candidates)
            return [True] * len(candidates)

    assert StatisticalOracle(Names(), Plan(5, 2)).count([OVER, DIRTY], 5) == [5, 5]
    assert len(set(names)) == 10
