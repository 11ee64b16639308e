# SPDX-License-Identifier: GPL-2.0-only
"""Runs a pgtable scenario's steps over the stage-2 table model."""

from __future__ import annotations

from reference_model.outcome import Prediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import PgtableScenario


def predict_pgtable(
    scenario: PgtableScenario, profile: SemanticsProfile, env: Environment
) -> Prediction:
    """What ``profile`` allows on a host ``env``, step by step, or the reason it cannot run."""
    reason = env.unmet(scenario.env) or "the page-table model is not in this version yet"
    return Prediction(id=scenario.id, profile=profile.name, skip=reason)
