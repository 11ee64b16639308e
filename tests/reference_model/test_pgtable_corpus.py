# SPDX-License-Identifier: GPL-2.0-only
"""The pinned scenarios of the pgtable suite: all worked examples, and the model agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compare import judge
from harness.vocabulary import RunStatus, ScenarioRun, Verdict
from reference_model.language import load_text
from reference_model.outcome import Prediction
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import PgtableScenario
from reference_model.stage2_machine import predict_pgtable

CORPUS = Path(__file__).resolve().parents[2] / "scenarios" / "pgtable"
SCENARIOS = [
    scenario
    for file in sorted(CORPUS.glob("*.yaml"))
    for scenario in load_text(file.read_text(), file.name)
    if isinstance(scenario, PgtableScenario)
]
EXAMPLES = {f"w{number:02}" for number in range(1, 26)} | {
    "e16", "e22", "e23", "e24", "e26", "e29", "e31", "e32", "e35", "e36", "e37", "e39", "e41",
    "e46", "f01", "f02", "f04", "f14", "f17", "g03",
}  # fmt: skip


def env_for(scenario: PgtableScenario) -> Environment:
    """The default environment, and what the scenario asks of it."""
    facts = Environment().facts()
    for key, value in scenario.env.items():
        facts[key] = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return Environment.parse(facts.items())


def predicted(scenario: PgtableScenario, profile: str) -> Prediction:
    return predict_pgtable(scenario, PROFILES[profile], env_for(scenario))


def test_every_worked_example_is_there() -> None:
    assert EXAMPLES - {scenario.id.partition("-")[0] for scenario in SCENARIOS} == set()
    assert len({scenario.id for scenario in SCENARIOS}) == len(SCENARIOS) >= 95


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_pins_agree_with_the_model(scenario: PgtableScenario) -> None:
    judged = 0
    for profile in PROFILES:
        prediction = predicted(scenario, profile)
        if prediction.skip:
            continue
        run = ScenarioRun(
            id=scenario.id,
            status=RunStatus.DONE,
            steps=tuple(step.allowed[0] for step in prediction.steps),
        )
        judgement = judge(scenario, prediction, run, profile)
        assert judgement.verdict is Verdict.MATCH, (profile, judgement.reason)
        judged += any(pin.applies(profile) for pin in scenario.expect)
    assert judged


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_every_pin_is_of_a_kernel_that_runs_it_and_says_why(scenario: PgtableScenario) -> None:
    assert scenario.expect
    for pin in scenario.expect:
        assert len(pin.steps) == len(scenario.steps)
        assert all("ret" in step for step in pin.steps)
        assert len(pin.why) > 20
        for profile in pin.profiles:
            assert predicted(scenario, profile).skip == ""


def test_a_leaf_in_the_way_of_a_range_tells_the_kernels_apart() -> None:
    [scenario] = [one for one in SCENARIOS if one.id == "w08-leaf-in-the-way"]
    seen = {}
    for profile in PROFILES:
        last = predicted(scenario, profile).steps[-1].allowed[0]
        assert isinstance(last.leaves, tuple)
        seen[profile] = (last.ret, sum(run[7] for run in last.leaves))
    assert seen == {
        "v5.10": (0, 4),
        "v6.1": (-11, 3),
        "seed-2021": (-11, 4),
        "v6.12": (0, 4),
        "v7.2": (-11, 3),
        "v7.3": (-11, 3),
    }
