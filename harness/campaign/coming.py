# SPDX-License-Identifier: GPL-2.0-only
"""What comes next: chunks that are made, predicted and built while others run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from harness.campaign.judging import Bench, Case, is_judged
from harness.campaign.workload import Batches
from harness.vocabulary import BatchProgram
from reference_model import predict
from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Prediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Scenario


class Chunk(Struct, frozen=True):
    """Scenarios that are built together, by their place; without those that were judged before."""

    batches: Batches
    index: int
    cases: dict[int, Case]

    def program(self, wanted: Sequence[int]) -> BatchProgram:
        """The program of the scenarios at these places; waits for it."""
        return self.batches.prepare(self.index, wanted).result()


class Coming:
    """The chunks of a workload one after another, each predicted, and its build begun."""

    def __init__(self, batches: Batches, bench: Bench) -> None:
        self._batches = batches
        self._bench = bench
        self._numbers = count()

    def take(self) -> Chunk | None:
        """The next chunk; None: that was all. From any thread."""
        index = next(self._numbers)
        scenarios = self._batches.chunk(index)
        if not scenarios:
            return None
        settings, name = self._bench.settings, self._bench.info.name
        cases = {
            at: self._case(scenario)
            for at, scenario in enumerate(scenarios)
            if not is_judged(settings, name, scenario)
        }
        if wanted := [at for at, case in cases.items() if not case.prediction.skip]:
            self._batches.prepare(index, wanted)
        return Chunk(self._batches, index, cases)

    def _case(self, scenario: Scenario) -> Case:
        return Case(scenario, _predict(scenario, self._bench.profile, self._bench.env), None)


def _predict(scenario: Scenario, profile: SemanticsProfile, env: Environment) -> Prediction:
    try:
        return predict(scenario, profile, env)
    except UnpredictableError as error:
        # Scenarios of files were checked before; a generated one may meet a host that its
        # generator did not think of. It is named, and not run.
        reason = f"step {error.step} is not predictable here: {error}"
        return Prediction(id=scenario.id, profile=profile.name, skip=reason)
