# SPDX-License-Identifier: GPL-2.0-only
"""Runs a race scenario: its steps one by one, its blocks in every order that there is."""

from __future__ import annotations

from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Prediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import RaceScenario


def predict_race(
    scenario: RaceScenario, profile: SemanticsProfile, env: Environment
) -> Prediction:
    """The set of outcomes that the profile allows for each step."""
    raise UnpredictableError(0, "parallel blocks are not modelled yet")
