# SPDX-License-Identifier: GPL-2.0-only
"""Findings to store and to report, made by the model."""

from __future__ import annotations

import msgspec

from harness.compare import judge
from harness.generate import generate
from harness.runs import RunInfo
from harness.store.database import short_id
from harness.vocabulary import Finding, RunStatus, ScenarioRun, TargetInfo, Verdict
from reference_model import predict
from reference_model.outcome import Prediction
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import Scenario

RUN = RunInfo(id="2026-01-01-1", started="t", command=("harness",), seed=1, version="0")
TARGET = TargetInfo(
    name="debian:trixie", kind="qemu", release="6.12.1", missing={"tlbi": "no probe point"}
)
P612, P61 = PROFILES["v6.12"], PROFILES["v6.1"]


def scenarios(
    suite: str, count: int, seed: int = 1, profile: SemanticsProfile = P612
) -> list[Scenario]:
    return list(generate(suite, count, seed, profile, Environment()))


def run_of(scenario: Scenario, prediction: Prediction) -> ScenarioRun:
    """What a kernel that is as the prediction says would do."""
    steps = tuple(step.allowed[0] for step in prediction.steps)
    return ScenarioRun(id=scenario.id, status=RunStatus.DONE, steps=steps, micros=1000)


def judged(
    scenario: Scenario,
    *,
    kernel: SemanticsProfile = P612,
    model: SemanticsProfile = P612,
    run: str = RUN.id,
    target: TargetInfo = TARGET,
) -> Finding:
    """A finding on a kernel that behaves as one profile, judged by another."""
    prediction = predict(scenario, model, Environment())
    ran = run_of(scenario, predict(scenario, kernel, Environment()))
    judgement = judge(scenario, prediction, ran, model.name)
    return Finding(
        scenario=scenario,
        target=target,
        profile=model.name,
        verdict=judgement.verdict,
        prediction=prediction,
        run=None if judgement.verdict is Verdict.SKIP else ran,
        differences=judgement.differences,
        reason=judgement.reason,
        compared=judgement.compared,
        not_compared=judgement.not_compared,
        short_id=short_id(run, scenario.id, target.name),
    )


def crashed(scenario: Scenario, *log: str) -> Finding:
    """A finding of a kernel that died in step 1."""
    finding = judged(scenario)
    assert finding.run is not None
    return msgspec.structs.replace(
        finding,
        verdict=Verdict.CRASH,
        reason="kernel BUG",
        compared=(),
        run=msgspec.structs.replace(
            finding.run,
            status=RunStatus.CRASH,
            steps=finding.run.steps[:1],
            detail="kernel BUG",
            log=log,
            step=1,
        ),
    )
