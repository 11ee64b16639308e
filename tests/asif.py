# SPDX-License-Identifier: GPL-2.0-only
"""Findings of kernels that do what a profile says: no kernel is booted."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.compare import judge
from harness.vocabulary import Finding, RunStatus, ScenarioRun, TargetInfo
from reference_model import predict
from reference_model import scenario as sc
from reference_model.outcome import Prediction
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import GuestScenario, PgtableScenario, Scenario

ENV = Environment()
RELEASES = {
    "v5.10": "5.10.0-32-cloud-arm64",
    "v6.1": "6.1.0-39-cloud-arm64",
    "v6.12": "6.12.107+deb13-cloud-arm64",
    "v7.2": "7.2.13+deb14-cloud-arm64",
    "v7.3": "7.3.4+deb13-cloud-arm64",
}


def as_if(scenario: Scenario, belief: str, truth: str, env: Environment = ENV) -> Finding:
    """The finding of a kernel that does what profile ``truth`` says, judged by ``belief``."""
    expected = predict(scenario, PROFILES[belief], env)
    seen = predict(scenario, PROFILES[truth], env)
    run = None
    if not expected.skip and not seen.skip:
        run = ran(seen)
    judgement = judge(scenario, expected, run, belief)
    return Finding(
        scenario=scenario,
        target=TargetInfo(
            name=f"debian:{truth}", kind="qemu", release=RELEASES[truth], env=env.facts()
        ),
        profile=belief,
        verdict=judgement.verdict,
        prediction=expected,
        run=run,
        differences=judgement.differences,
        reason=judgement.reason,
        compared=judgement.compared,
        short_id="abc123",
    )


def ran(prediction: Prediction) -> ScenarioRun:
    """A run that did what was predicted."""
    return ScenarioRun(
        id=prediction.id,
        status=RunStatus.DONE,
        steps=tuple(step.allowed[0] for step in prediction.steps),
    )


class AsIf:
    """A side (:class:`harness.shrink.oracles.Side`) that does what a profile says."""

    def __init__(self, belief: str, truth: str, env: Environment = ENV) -> None:
        self._belief = belief
        self._truth = truth
        self._env = env
        self.asked: list[Scenario] = []

    def findings(self, scenarios: Sequence[Scenario]) -> list[Finding]:
        """What became of each."""
        self.asked += scenarios
        return [as_if(scenario, self._belief, self._truth, self._env) for scenario in scenarios]


#: Sixteen pages over a mapped one: where 6.1 stops and 6.12 goes on.
OVER = PgtableScenario(
    schema=1,
    id="over",
    title="a range over a page that is there",
    steps=(
        sc.Map(ipa=0x8000_2000, size=0x1000, pa=0x4_2000, prot="rw"),
        sc.Map(ipa=0x8000_0000, size=0x4000, pa=0x4_0000, prot="rw"),
    ),
)

DIRTY = GuestScenario(
    schema=1,
    id="dirty",
    steps=(
        sc.SlotAdd(
            slot=1, gpa=0x8000_0000, size=0x20_0000,
            backing=sc.Backing(prefill=True), flags=("log_dirty",),
        ),
        sc.Write(gpa=0x8000_3000, value=0x11),
        sc.DirtyGet(slot=1),
        sc.Read(gpa=0x8000_3000),
    ),
)  # fmt: skip


def seen_otherwise(finding: Finding, step: int, **channels: object) -> Finding:
    """The same, but the kernel showed something else in one step."""
    assert finding.run is not None
    assert finding.prediction is not None
    steps = list(finding.run.steps)
    steps[step] = msgspec.structs.replace(steps[step], **channels)
    run = msgspec.structs.replace(finding.run, steps=tuple(steps))
    judgement = judge(finding.scenario, finding.prediction, run, finding.profile)
    return msgspec.structs.replace(
        finding,
        run=run,
        verdict=judgement.verdict,
        differences=judgement.differences,
        reason=judgement.reason,
    )
