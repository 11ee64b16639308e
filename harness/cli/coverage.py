# SPDX-License-Identifier: GPL-2.0-only
"""How much of the page-table model a run exercised, counted as its results are written."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from harness.runs import RunTarget
from harness.vocabulary import Finding
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import PgtableScenario
from reference_model.transition_universe import reached
from reference_model.transitions import Transition, covered


class Coverage:
    """Transitions by target, of scenarios that ran and were compared."""

    def __init__(self, targets: Mapping[str, RunTarget]) -> None:
        self._targets = targets
        self._counts: dict[str, dict[Transition, int]] = {}

    def look(self, finding: Finding) -> None:
        """Count what one finding exercised."""
        scenario = finding.scenario
        target = self._targets.get(finding.target.name)
        if not isinstance(scenario, PgtableScenario) or not finding.compared or target is None:
            return
        if target.profile not in PROFILES:
            return
        env = Environment.parse(target.env.items())
        counts = self._counts.setdefault(finding.target.name, {})
        for transition, count in covered([scenario], PROFILES[target.profile], env).items():
            counts[transition] = counts.get(transition, 0) + count

    def targets(self) -> list[RunTarget]:
        """The targets that page-table scenarios ran on, with their share filled in."""
        out = []
        for name, counts in self._counts.items():
            target = self._targets[name]
            env = Environment.parse(target.env.items())
            share = reached(counts, PROFILES[target.profile], env)
            out.append(msgspec.structs.replace(target, transitions=share))
        return out
