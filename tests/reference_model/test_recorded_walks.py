# SPDX-License-Identifier: GPL-2.0-only
"""The model against what each kernel's own page-table code did, recorded."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from reference_model.invariants import violations
from reference_model.language import load_text
from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import PgtableScenario
from reference_model.stage2_machine import predict_pgtable

LINES = (Path(__file__).parent / "data" / "stage2_walkers.jsonl").read_text().splitlines()
EVERY = range(len(LINES))
#: 7.3.4's pgtable.c and kvm_pgtable.h are the same text as those of 7.2.13, which were recorded.
SAME_TEXT = {"v7.3": "v7.2"}


class Record(NamedTuple):
    profile: str
    env: Environment
    scenario: PgtableScenario
    observed: list[Observation]


@cache
def record(number: int) -> Record:
    line = json.loads(LINES[number])
    [scenario] = load_text(json.dumps(line["scenario"]), "recorded")
    assert isinstance(scenario, PgtableScenario)
    observed = msgspec.convert(line["observed"], list[Observation])
    return Record(line["profile"], Environment.parse(line["env"].items()), scenario, observed)


def test_every_profile_is_recorded() -> None:
    assert {record(number).profile for number in EVERY} | set(SAME_TEXT) == set(PROFILES)
    assert all(PROFILES[new].stage2 == PROFILES[old].stage2 for new, old in SAME_TEXT.items())


@pytest.mark.parametrize("number", EVERY, ids=lambda number: record(number).scenario.id)
def test_the_model_predicts_what_the_kernel_did(number: int) -> None:
    profile, env, scenario, observed = record(number)
    prediction = predict_pgtable(scenario, PROFILES[profile], env)
    assert prediction.skip == ""
    # The channel is younger than the records.
    predicted = [
        tuple(replace(one, cmo_pages=UNSET) for one in step.allowed) for step in prediction.steps
    ]
    assert predicted == [(seen,) for seen in observed]


@pytest.mark.parametrize("number", EVERY, ids=lambda number: record(number).scenario.id)
def test_no_kernel_breaks_an_invariant(number: int) -> None:
    _, env, scenario, observed = record(number)
    assert [str(found) for found in violations(scenario, observed, env)] == []


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_a_foreign_profile_is_found_out(profile: SemanticsProfile) -> None:
    """Return values and leaves alone tell each kernel from the others."""
    missed = 0
    for number in EVERY:
        name, env, scenario, observed = record(number)
        if name == SAME_TEXT.get(profile.name, profile.name):
            continue
        steps = predict_pgtable(scenario, profile, env).steps
        missed += any(
            (step.allowed[0].ret, step.allowed[0].leaves) != (seen.ret, seen.leaves)
            for step, seen in zip(steps, observed, strict=False)
        )
    assert missed
