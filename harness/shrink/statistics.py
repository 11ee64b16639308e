# SPDX-License-Identifier: GPL-2.0-only
"""Decisions about what happens only sometimes: how often to run a candidate, and what to say.

The original is measured first. A candidate is kept if it shows the finding at least ``needed``
times in ``runs`` runs; both are chosen so that one that shows it as often as the original (at the
lower end of what was measured) is kept with at least :data:`CONFIDENCE`, and one that shows it
:data:`RARER` times less often with at most the rest. ``needed`` is never 1: one lucky run decides
nothing. Each decision has that confidence by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from harness.shrink.reduce import Oracle
from reference_model.scenario import Scenario

CONFIDENCE = 0.95
RARER = 5
MOST_RUNS = 400
_PRECISION = 1e-6


class Plan(Struct, frozen=True):
    """Run a candidate so often; keep it if it shows the finding at least so many times."""

    runs: int
    needed: int

    def words(self) -> str:
        """The rule in words, with its confidence."""
        return (
            f"kept where seen {self.needed} times or more in {self.runs} runs "
            f"({CONFIDENCE:.0%} confidence each way: as often as the original, "
            f"or {RARER} times less)"
        )


def interval(seen: int, runs: int) -> tuple[float, float]:
    """The rate's exact two-sided confidence interval (Clopper and Pearson)."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if seen == 0 else _solve(lambda p: at_least(seen, runs, p) - tail)
    high = 1.0 if seen == runs else _solve(lambda p: at_least(seen + 1, runs, p) - (1 - tail))
    return low, high


def at_least(needed: int, runs: int, rate: float) -> float:
    """The probability of ``needed`` sightings or more in ``runs`` runs."""
    missing = sum(
        math.comb(runs, seen) * rate**seen * (1 - rate) ** (runs - seen) for seen in range(needed)
    )
    return max(0.0, 1 - missing)


def plan_for(rate: float) -> Plan | None:
    """The cheapest plan for a rate in (0, 1]; None where it takes more than MOST_RUNS runs."""
    needed = 2
    for runs in range(2, MOST_RUNS + 1):
        while at_least(needed, runs, rate / RARER) > 1 - CONFIDENCE:
            needed += 1
        if needed <= runs and at_least(needed, runs, rate) >= CONFIDENCE:
            return Plan(runs, needed)
    return None


def _solve(rising: object) -> float:
    """Where a function of the rate that rises from below 0 meets it."""
    assert callable(rising)
    low, high = 0.0, 1.0
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class StatisticalOracle:
    """Another oracle, asked about each candidate as often as the plan says."""

    greedy = False

    def __init__(self, inner: Oracle, plan: Plan) -> None:
        self._inner = inner
        self.plan = plan
        self.batch = max(1, inner.batch // plan.runs)

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        """Kept or not, by the plan."""
        return [seen >= self.plan.needed for seen in self.count(candidates, self.plan.runs)]

    def count(self, candidates: Sequence[Scenario], runs: int) -> list[int]:
        """How often each showed it in ``runs`` runs."""
        copies = [
            msgspec.structs.replace(scenario, id=f"{scenario.id}.{number}")
            for scenario in candidates
            for number in range(runs)
        ]
        answers: list[bool] = []
        for at in range(0, len(copies), self._inner.batch):
            answers += self._inner.shows(copies[at : at + self._inner.batch])
        return [sum(answers[at : at + runs]) for at in range(0, len(answers), runs)]
