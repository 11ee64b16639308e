# SPDX-License-Identifier: GPL-2.0-only
"""The model against what each kernel's own page-table code did, recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reference_model.invariants import violations
from reference_model.language import load_text
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import PgtableScenario
from reference_model.stage2_machine import predict_pgtable

LINES = (Path(__file__).parent / "data" / "stage2_walkers.jsonl").read_text().splitlines()
RECORDS = [json.loads(line) for line in LINES]


def _parts(
    record: dict[str, Any],
) -> tuple[PgtableScenario, Environment, list[Observation]]:
    [scenario] = load_text(json.dumps(record["scenario"]), "recorded")
    assert isinstance(scenario, PgtableScenario)
    observed = msgspec.convert(record["observed"], list[Observation])
    return scenario, Environment.parse(record["env"].items()), observed


def test_every_profile_is_recorded() -> None:
    assert {record["profile"] for record in RECORDS} == set(PROFILES)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["scenario"]["id"])
def test_the_model_predicts_what_the_kernel_did(record: dict[str, Any]) -> None:
    scenario, env, observed = _parts(record)
    prediction = predict_pgtable(scenario, PROFILES[record["profile"]], env)
    assert prediction.skip == ""
    assert [step.allowed for step in prediction.steps] == [(seen,) for seen in observed]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["scenario"]["id"])
def test_no_kernel_breaks_an_invariant(record: dict[str, Any]) -> None:
    scenario, env, observed = _parts(record)
    assert [str(found) for found in violations(scenario, observed, env)] == []


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_a_foreign_profile_is_found_out(profile: SemanticsProfile) -> None:
    """Return values and leaves alone tell each kernel from the others."""
    missed = 0
    for record in RECORDS:
        if record["profile"] == profile.name:
            continue
        scenario, env, observed = _parts(record)
        steps = predict_pgtable(scenario, profile, env).steps
        missed += any(
            (step.allowed[0].ret, step.allowed[0].leaves) != (seen.ret, seen.leaves)
            for step, seen in zip(steps, observed, strict=False)
        )
    assert missed
