# SPDX-License-Identifier: GPL-2.0-only
"""The line itself: scenario -> prediction, C, ELF, target -> observation -> verdict.

One batch is one ELF and one session on a target; while a batch runs, the next one is rendered and
built. What diverged in it is then run again, all at once, before anything is said of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import msgspec
from msgspec import Struct

from harness.campaign.workload import Batches, Workload
from harness.compare import Judgement, KnownList, judge
from harness.compare.repeats import Settled, is_repeated, same_divergence, settle
from harness.execute import run_again, run_batch
from harness.store import scenario_digest
from harness.store.database import short_id
from harness.targets import Target
from harness.vocabulary import (
    BatchProgram,
    Finding,
    HarnessError,
    NoModuleError,
    RunStatus,
    ScenarioRun,
    TargetInfo,
    UsageError,
    Verdict,
)
from reference_model import predict
from reference_model.guest_machine import UnpredictableError
from reference_model.outcome import Prediction
from reference_model.profiles import Environment, SemanticsProfile, profile_for_release
from reference_model.scenario import Scenario


class TargetPlan(Struct, frozen=True):
    """A target that is yet to be opened.

    ``label`` names it before it can name itself; ``options`` are the command-line options that
    make this plan again.
    """

    label: str
    open: Callable[[], Target]
    options: tuple[str, ...] = ()
    #: Path of the white-box module built for the target's kernel; NoModuleError says why not.
    module: Callable[[TargetInfo], str] | None = None
    #: Which of several targets of that name it is: from 2 on, part of the name.
    number: int = 1


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

    def on_finding(self, finding: Finding, not_compared: Sequence[str]) -> None:
        """A scenario is judged."""

    def on_note(self, text: str) -> None:
        """Something a reader should know: a replaced guest, a target that did not come up."""


def run_on_target(
    plan: TargetPlan,
    workload: Workload,
    settings: Settings,
    listener: Listener,
    stop: threading.Event,
) -> None:
    """Run every scenario on one target; each gets a verdict unless ``stop`` is set meanwhile.

    A target that does not come up, and a build that fails, make their scenarios INFRA.
    UsageError for what is wrong with the command, not with the machine.
    """
    workload.prepare()
    try:
        target = plan.open()
    except UsageError:
        raise
    except HarnessError as error:
        if stop.is_set():
            return  # its guest was ended on purpose
        listener.on_note(f"{plan.label}: {error}")
        _all_infra(plan, workload, settings, listener, str(error))
        return
    try:
        name = target.info.name if plan.number == 1 else f"{target.info.name} #{plan.number}"
        info = msgspec.structs.replace(target.info, name=name, opened_with=plan.options)
        run_open(target, info, workload, settings, listener, stop, module=plan.module)
    finally:
        target.close()


def run_open(
    target: Target,
    info: TargetInfo,
    workload: Workload,
    settings: Settings,
    listener: Listener,
    stop: threading.Event,
    *,
    module: Callable[[TargetInfo], str] | None = None,
) -> None:
    """Run every scenario on an open target; it stays open."""
    profile, note = _profile(info, settings)
    facts = info.env | dict(settings.env)
    try:
        env = Environment.parse(facts.items())
    except ValueError as error:
        raise UsageError(f"--env: {error}") from None
    listener.on_target(info, profile, note)
    bench = _Bench(info, profile, settings, listener, env)
    coming = _Coming(workload.batches(profile, env), bench, env)
    white_box = _WhiteBox(info, module)
    # To generate and to predict is one core's work while the target is another's.
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as ahead:
        future = ahead.submit(coming.take)
        while (chunk := future.result()) is not None and not stop.is_set():
            future = ahead.submit(coming.take)
            _run_chunk(target, chunk, white_box, bench, stop)


def _is_judged(settings: Settings, target: str, scenario: Scenario) -> bool:
    """True where an earlier part of this run has judged it there."""
    return bool(settings.judged) and (
        (target, scenario.id, scenario_digest(scenario)) in settings.judged
    )


class _Case(Struct, frozen=True):
    """One scenario of a chunk: what is predicted of it, and what it did at first."""

    scenario: Scenario
    prediction: Prediction
    run: ScenarioRun | None


class _Chunk(Struct, frozen=True):
    """Scenarios that are built together, by their place; without those that were judged before."""

    batches: Batches
    index: int
    cases: dict[int, _Case]

    def program(self, wanted: Sequence[int]) -> BatchProgram:
        """The program of the scenarios at these places; waits for it."""
        return self.batches.prepare(self.index, wanted).result()


class _Coming:
    """The chunks of a workload one after another, each predicted, and its build begun."""

    def __init__(self, batches: Batches, bench: _Bench, env: Environment) -> None:
        self._batches = batches
        self._bench = bench
        self._env = env
        self._next = 0

    def take(self) -> _Chunk | None:
        """The next chunk; None: that was all."""
        index = self._next
        self._next += 1
        scenarios = self._batches.chunk(index)
        if not scenarios:
            return None
        settings, name = self._bench.settings, self._bench.info.name
        cases = {
            at: self._case(scenario)
            for at, scenario in enumerate(scenarios)
            if not _is_judged(settings, name, scenario)
        }
        if wanted := [at for at, case in cases.items() if not case.prediction.skip]:
            self._batches.prepare(index, wanted)
        return _Chunk(self._batches, index, cases)

    def _case(self, scenario: Scenario) -> _Case:
        return _Case(scenario, _predict(scenario, self._bench.profile, self._env), None)


class _Bench:
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

    def judge(self, case: _Case, run: ScenarioRun | None) -> Judgement:
        """The verdict on one run."""
        return judge(case.scenario, case.prediction, run, self.profile.name, self.env)

    def report(
        self,
        case: _Case,
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
            not_compared=judgement.not_compared,
            again=tuple(run for run in runs if run is not None),
            known=known,
            env=dict(self.settings.env),
            outcomes=judgement.outcomes,
        )
        self.listener.on_finding(finding, judgement.not_compared)


def _run_chunk(
    target: Target, chunk: _Chunk, white_box: _WhiteBox, bench: _Bench, stop: threading.Event
) -> None:
    """Run a chunk's scenarios; what diverges is held back until it has run again."""
    cases = {at: white_box.case(case) for at, case in chunk.cases.items()}
    for case in cases.values():
        if case.prediction.skip:
            bench.report(case)
    wanted = [at for at, case in cases.items() if not case.prediction.skip]
    if not wanted:
        return
    held: dict[int, _Case] = {}
    again: dict[int, tuple[ScenarioRun, ...]] = {}
    try:
        for at, run in _runs(target, chunk, wanted, white_box, bench, stop):
            case = msgspec.structs.replace(cases[at], run=run)
            first = bench.judge(case, run)
            if bench.settings.repeat and is_repeated(case.scenario, first):
                held[at] = case
            else:
                bench.report(case, first=first)
        if held and not stop.is_set():
            again = _again(target, chunk, wanted, held, white_box, bench, stop)
    finally:
        for at, case in held.items():
            bench.report(case, again.get(at, ()))


def _again(
    target: Target,
    chunk: _Chunk,
    wanted: Sequence[int],
    held: Mapping[int, _Case],
    white_box: _WhiteBox,
    bench: _Bench,
    stop: threading.Event,
) -> dict[int, tuple[ScenarioRun, ...]]:
    """The repeats of what diverged, by place in the chunk."""
    place = {number: at for number, at in enumerate(wanted) if at in held}

    def settled(number: int, run: ScenarioRun) -> bool:
        case = held[place[number]]
        return same_divergence(bench.judge(case, case.run), bench.judge(case, run))

    runs = run_again(
        target,
        msgspec.structs.replace(chunk.program(wanted), files=white_box.files),
        list(place),
        settled=settled,
        scenario_timeout=bench.settings.scenario_timeout,
        stop=stop,
        on_event=bench.listener.on_note,
    )
    return {place[number]: again for number, again in runs.items()}


#: Suites that the module has channels for; True: nothing runs without it.
_WHITE_BOX = {"pgtable": True, "guest": False, "race": False}


class _WhiteBox:
    """The module of one target, built when the first scenario that needs it comes."""

    def __init__(self, info: TargetInfo, module: Callable[[TargetInfo], str] | None) -> None:
        self._info = info
        self._module = module
        self._reason = ""
        self.files: tuple[str, ...] = ()
        #: What broke the build: INFRA for the scenarios that need the module.
        self.failure: HarnessError | None = None

    def case(self, case: _Case) -> _Case:
        """The case, or a skip where its suite needs a module that cannot be had."""
        prediction = case.prediction
        if case.scenario.suite not in _WHITE_BOX or prediction.skip:
            return case
        if not self.files and not self._reason and self.failure is None:
            self._build()
        if not self._reason or not _WHITE_BOX[case.scenario.suite]:
            return case
        skip = Prediction(id=prediction.id, profile=prediction.profile, skip=self._reason)
        return msgspec.structs.replace(case, prediction=skip)

    def _build(self) -> None:
        if self._module is None:
            self._reason = "no white-box module: no kernel headers are known for this target"
            return
        try:
            self.files = (self._module(self._info),)
        except NoModuleError as error:
            self._reason = f"no white-box module: {error}"
        except HarnessError as error:
            self.failure = error


def _runs(
    target: Target,
    chunk: _Chunk,
    wanted: Sequence[int],
    white_box: _WhiteBox,
    bench: _Bench,
    stop: threading.Event,
) -> Iterator[tuple[int, ScenarioRun]]:
    """The runs of a chunk's wanted scenarios, with their place in the chunk."""
    scenarios = {at: chunk.cases[at].scenario for at in wanted}
    waiting = {scenario.id: at for at, scenario in scenarios.items()}
    try:
        if white_box.failure is not None and any(s.suite == "pgtable" for s in scenarios.values()):
            raise white_box.failure
        program = chunk.program(wanted)
        for run in run_batch(
            target,
            msgspec.structs.replace(program, files=white_box.files),
            scenario_timeout=bench.settings.scenario_timeout,
            stop=stop,
            on_event=lambda text: None if stop.is_set() else bench.listener.on_note(text),
        ):
            yield waiting.pop(run.id), run
    except UsageError:
        raise
    except HarnessError as error:
        if stop.is_set():
            return
        for ident, at in waiting.items():
            yield at, ScenarioRun(id=ident, status=RunStatus.INFRA, detail=str(error))


def _profile(info: TargetInfo, settings: Settings) -> tuple[SemanticsProfile, str]:
    if settings.profile is not None:
        return settings.profile, f"profile {settings.profile.name} is forced by --profile"
    try:
        choice = profile_for_release(info.release)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return choice.profile, choice.note


def _predict(scenario: Scenario, profile: SemanticsProfile, env: Environment) -> Prediction:
    try:
        return predict(scenario, profile, env)
    except UnpredictableError as error:
        # Scenarios of files were checked before; a generated one may meet a host that its
        # generator did not think of. It is named, and not run.
        reason = f"step {error.step} is not predictable here: {error}"
        return Prediction(id=scenario.id, profile=profile.name, skip=reason)


def _all_infra(
    plan: TargetPlan, workload: Workload, settings: Settings, listener: Listener, reason: str
) -> None:
    name = plan.label if plan.number == 1 else f"{plan.label} #{plan.number}"
    info = TargetInfo(name=name, kind="none", release="", opened_with=plan.options)
    for scenario in workload.named():
        if _is_judged(settings, name, scenario):
            continue
        listener.on_finding(
            Finding(
                scenario=scenario,
                target=info,
                profile=settings.profile.name if settings.profile else "",
                verdict=Verdict.INFRA,
                reason=reason,
                short_id=short_id(settings.run_id, scenario.id, info.name),
            ),
            (),
        )
