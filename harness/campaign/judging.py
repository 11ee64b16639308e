# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a scenario: judged, settled with its repeats, and told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from harness.compare import Judgement, KnownList, judge
from harness.compare.repeats import Settled, settle
from harness.execute import Hello
from harness.store import scenario_digest
from harness.store.database import short_id
from harness.vocabulary import Finding, ScenarioRun, TargetInfo
from reference_model.outcome import CHANNELS, Prediction
from reference_model.profiles import Environment, SemanticsProfile
from reference_model.scenario import Scenario


class Settings(Struct, frozen=True, kw_only=True):
    """What holds for every target of a campaign."""

    run_id: str
    profile: SemanticsProfile | None = None
    env: tuple[tuple[str, str], ...] = ()
    scenario_timeout: float = 10.0
    #: A DIVERGE is run again on its target before it is reported.
    repeat: bool = True
    known: KnownList = KnownList()
    #: (target, scenario id, digest) of what an earlier part of the run judged.
    judged: frozenset[tuple[str, str, str]] = frozenset()


class Listener(Protocol):
    """Who is told as the campaign goes on; called from the targets' threads, one at a time."""

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """A target is ready to run."""

    def on_finding(self, finding: Finding) -> None:
        """A scenario is judged."""

    def on_note(self, text: str) -> None:
        """Something a reader should know: a replaced guest, a target that did not come up."""


class Case(Struct, frozen=True):
    """One scenario of a chunk: what is predicted of it, and what it did at first."""

    scenario: Scenario
    prediction: Prediction
    run: ScenarioRun | None


class Bench:
    """Judges what one target did and tells the listener."""

    def __init__(
        self,
        info: TargetInfo,
        profile: SemanticsProfile,
        settings: Settings,
        listener: Listener,
        env: Environment,
    ) -> None:
        self.env = env
        self.info = info
        self.profile = profile
        self.settings = settings
        self.listener = listener
        self._missing: dict[str, str] = {}

    def greet(self, hello: Hello) -> None:
        """Note what the program says that it cannot read on this target, and why."""
        self._missing = hello.missing
        known = self.info.missing | hello.missing
        if known != self.info.missing:
            self.info = msgspec.structs.replace(self.info, missing=known)

    def judge(self, case: Case, run: ScenarioRun | None) -> Judgement:
        """The verdict on one run."""
        return judge(case.scenario, case.prediction, run, self.profile.name, self.env)

    def report(
        self,
        case: Case,
        again: Sequence[ScenarioRun] | None = None,
        first: Judgement | None = None,
    ) -> None:
        """Tell what is said of a case and its repeats; None: it is none that is repeated.

        ``first`` is the judgement on its first run, where that is known already.
        """
        settled = Settled(first or self.judge(case, case.run), 0)
        if again is not None:
            settled = settle(settled.judgement, [self.judge(case, run) for run in again])
        runs = [case.run, *(again or ())]
        judgement, known = self.settings.known.apply(
            settled.judgement, case.scenario, self.info.release
        )
        absent = dict.fromkeys((*judgement.not_compared, *self._missing))
        finding = Finding(
            scenario=case.scenario,
            target=self.info,
            profile=self.profile.name,
            verdict=judgement.verdict,
            prediction=case.prediction,
            run=runs.pop(settled.run),
            differences=judgement.differences,
            reason=judgement.reason,
            compared=judgement.compared,
            short_id=short_id(self.settings.run_id, case.scenario.id, self.info.name),
            not_compared=tuple(
                name for name in CHANNELS if name in absent and name not in judgement.compared
            ),
            again=tuple(run for run in runs if run is not None),
            known=known,
            outcomes=judgement.outcomes,
            env=dict(self.settings.env),
        )
        self.listener.on_finding(finding)


def is_judged(settings: Settings, target: str, scenario: Scenario) -> bool:
    """True where an earlier part of this run has judged it there."""
    return bool(settings.judged) and (
        (target, scenario.id, scenario_digest(scenario)) in settings.judged
    )
