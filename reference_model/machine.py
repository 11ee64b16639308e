# SPDX-License-Identifier: GPL-2.0-only
"""One door to the model: a scenario of any suite to its prediction."""

from __future__ import annotations

from reference_model.guest_machine import UnpredictableError, predict_guest
from reference_model.outcome import Prediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.race_machine import predict_race
from reference_model.scenario import PgtableScenario, RaceScenario, Scenario
from reference_model.stage2_machine import predict_pgtable

__all__ = ["UnpredictableError", "predict"]


def predict(scenario: Scenario, profile: SemanticsProfile, environment: Environment) -> Prediction:
    """What the profile and the environment allow for each step, or why it is a skip.

    Pure and deterministic. Raises UnpredictableError (a ValueError with ``step``) where the
    scenario does something that no kernel defines.
    """
    if isinstance(scenario, PgtableScenario):
        return predict_pgtable(scenario, profile, environment)
    if isinstance(scenario, RaceScenario):
        return predict_race(scenario, profile, environment)
    return predict_guest(scenario, profile, environment)
