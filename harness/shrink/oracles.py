# SPDX-License-Identifier: GPL-2.0-only
"""Who is asked about candidates: the model, a kernel, or two kernels.

The model is asked in no time, and is only asked what it knows: where one profile's prediction
would be a finding under another. Where that is a true guess about the kernel, it saves the kernel
most of the work; the kernel decides all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from harness.campaign import Settings, Workload, run_open
from harness.compare import judge, pair
from harness.shrink.signature import Signature, of_differences, signature_of
from harness.targets import Target
from harness.vocabulary import (
    Finding,
    RunStatus,
    ScenarioRun,
    StepDifference,
    TargetInfo,
    Verdict,
)
from reference_model import predict
from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Prediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Scenario

Module = Callable[[TargetInfo], str]

#: Scenarios in one ELF: enough for a pass over a small scenario, few enough to compile quickly.
BATCH = 150
#: Where each yes kills the kernel.
_CRASH_BATCH = 4


class Side(Protocol):
    """A kernel that scenarios can be run on: findings in the scenarios' order."""

    def findings(self, scenarios: Sequence[Scenario]) -> list[Finding]:
        """What became of each."""


class ModelOracle:
    """Two profiles: does what ``truth`` predicts differ from ``belief`` in the wanted way?"""

    batch = 1_000
    greedy = False

    def __init__(
        self,
        belief: SemanticsProfile,
        truth: SemanticsProfile,
        env: Environment,
        wanted: Signature,
    ) -> None:
        self._belief = belief
        self._truth = truth
        self._env = env
        self._wanted = wanted

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        """Compared as a kernel's observations would be."""
        return [
            self._wanted.covers(
                model_signature(scenario, self._belief, self._truth, self._env)
            )
            for scenario in candidates
        ]  # fmt: skip


def model_differences(
    scenario: Scenario, belief: SemanticsProfile, truth: SemanticsProfile, env: Environment
) -> tuple[StepDifference, ...]:
    """Where ``belief`` differs from a kernel that does what ``truth`` says; () where none does."""
    expected, seen = _predicted(scenario, belief, env), _predicted(scenario, truth, env)
    if expected.skip or seen.skip:
        return ()
    run = ScenarioRun(
        id=scenario.id,
        status=RunStatus.DONE,
        steps=tuple(step.allowed[0] for step in seen.steps),
    )
    return judge(msgspec.structs.replace(scenario, expect=()), expected, run, "").differences


def model_signature(
    scenario: Scenario, belief: SemanticsProfile, truth: SemanticsProfile, env: Environment
) -> Signature | None:
    """How the two first differ; None where they do not."""
    differences = model_differences(scenario, belief, truth, env)
    return of_differences(scenario, differences) if differences else None


def _predicted(scenario: Scenario, profile: SemanticsProfile, env: Environment) -> Prediction:
    try:
        return predict(scenario, profile, env)
    except UnpredictableError as error:
        return Prediction(id=scenario.id, profile=profile.name, skip=str(error))


class OpenTarget:
    """An open target as a side; every batch is one compile and one session.

    The module is built once, whatever the number of batches.
    """

    def __init__(
        self, target: Target, info: TargetInfo, settings: Settings, module: Module | None
    ) -> None:
        self._target = target
        self._info = info
        self._settings = settings
        self._module = _once(module)
        #: What the campaign had to say, each line once.
        self.notes: dict[str, None] = {}

    def findings(self, scenarios: Sequence[Scenario]) -> list[Finding]:
        """What became of each, in their order; UsageError for what is wrong with the command."""
        renamed = [
            msgspec.structs.replace(scenario, id=f"c{number}", expect=())
            for number, scenario in enumerate(scenarios)
        ]
        listener = _Listener(self.notes)
        workload = Workload(renamed, size=max(len(renamed), 1))
        try:
            run_open(
                self._target,
                self._info,
                workload,
                self._settings,
                listener,
                threading.Event(),
                module=self._module,
            )
        finally:
            workload.close()
        return [
            _under_its_name(listener.findings[mine.id], scenario)
            for mine, scenario in zip(renamed, scenarios, strict=True)
        ]


def _under_its_name(finding: Finding, scenario: Scenario) -> Finding:
    """The finding of a candidate as the scenario's own."""
    changed: dict[str, Any] = {"scenario": scenario}
    for part in ("prediction", "run"):
        if getattr(finding, part) is not None:
            changed[part] = msgspec.structs.replace(getattr(finding, part), id=scenario.id)
    return msgspec.structs.replace(finding, **changed)


class _Listener:
    def __init__(self, notes: dict[str, None]) -> None:
        self.findings: dict[str, Finding] = {}
        self._notes = notes

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """Known already."""

    def on_finding(self, finding: Finding) -> None:
        """One candidate's."""
        self.findings[finding.scenario.id] = finding

    def on_note(self, text: str) -> None:
        """A replaced guest, for one."""
        self._notes[text] = None


def _once(module: Module | None) -> Module | None:
    if module is None:
        return None
    built: list[str] = []

    def build(info: TargetInfo) -> str:
        if not built:
            built.append(module(info))
        return built[0]

    return build


class KernelOracle:
    """A kernel against its prediction; where ``likely`` is given, candidates of which it says no
    are not sent."""

    def __init__(
        self, side: Side, wanted: Signature, likely: ModelOracle | None = None
    ) -> None:  # fmt: skip
        self._side = side
        self._wanted = wanted
        self._likely = likely
        self.greedy = wanted.verdict in (Verdict.CRASH.value, Verdict.HANG.value)
        self.batch = _CRASH_BATCH if self.greedy else BATCH

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        """As the kernel says; a candidate that could not be run does not show it."""
        return _sent(
            candidates,
            self._likely,
            lambda some: [
                self._wanted.covers(signature_of(finding)) for finding in self._side.findings(some)
            ],
        )


class PairOracle:
    """Two kernels: do they differ in the wanted way?"""

    batch = BATCH
    greedy = False

    def __init__(
        self, base: Side, other: Side, wanted: Signature, likely: ModelOracle | None = None
    ) -> None:
        self._base = base
        self._other = other
        self._wanted = wanted
        self._likely = likely

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        """As the kernels say."""

        def ask(some: Sequence[Scenario]) -> list[bool]:
            sides = zip(self._base.findings(some), self._other.findings(some), strict=True)
            return [self._wanted.covers(pair_signature(base, other)) for base, other in sides]

        return _sent(candidates, self._likely, ask)


def pair_signature(base: Finding, other: Finding) -> Signature | None:
    """How two kernels first differ; None where they do not, or where one has no result."""
    made = pair(base, other)
    return of_differences(base.scenario, made.differences) if made.differences else None


def _sent(
    candidates: Sequence[Scenario],
    likely: ModelOracle | None,
    ask: Callable[[Sequence[Scenario]], list[bool]],
) -> list[bool]:
    """The answers of ``ask`` for what is ``likely``; no for the rest."""
    wanted = [True] * len(candidates) if likely is None else likely.shows(candidates)
    some = [scenario for scenario, yes in zip(candidates, wanted, strict=True) if yes]
    answers = iter(ask(some) if some else ())
    return [yes and next(answers) for yes in wanted]
