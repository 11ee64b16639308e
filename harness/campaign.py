# SPDX-License-Identifier: GPL-2.0-only
"""The line itself: scenario -> prediction, C, ELF, target -> observation -> verdict.

The one place that joins the rooms. One batch is one ELF and one session on a target; while a
batch runs, the next one is rendered, built and predicted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import msgspec
from msgspec import Struct

from harness.compare import Judgement, judge
from harness.execute import run_batch
from harness.generate import generate
from harness.render import render_batch
from harness.store.database import short_id
from harness.targets import Target
from harness.toolchain import build_batch
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

BATCH_SIZE = 250


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


class Settings(Struct, frozen=True, kw_only=True):
    """What holds for every target of a campaign."""

    run_id: str
    profile: SemanticsProfile | None = None
    env: tuple[tuple[str, str], ...] = ()
    scenario_timeout: float = 10.0
    batch_size: int = BATCH_SIZE


class Listener(Protocol):
    """Who is told as the campaign goes on; called from the targets' threads, one at a time."""

    def on_target(self, info: TargetInfo, profile: SemanticsProfile, note: str) -> None:
        """A target is ready to run."""

    def on_finding(self, finding: Finding, not_compared: Sequence[str]) -> None:
        """A scenario is judged."""

    def on_note(self, text: str) -> None:
        """Something a reader should know: a replaced guest, a target that did not come up."""


class Batches:
    """The scenarios in chunks, each built once and shared by all targets."""

    def __init__(self, scenarios: Sequence[Scenario], size: int = BATCH_SIZE) -> None:
        self.chunks = [scenarios[at : at + size] for at in range(0, len(scenarios), size)]
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="build")
        self._built: dict[int, Future[BatchProgram]] = {}

    def prepare(self, index: int) -> Future[BatchProgram]:
        """The build of a chunk, started on first asking; past the end, an idle future."""
        with self._lock:
            if index not in self._built and index < len(self.chunks):
                self._built[index] = self._pool.submit(_build, self.chunks[index])
            return self._built.get(index, Future())

    def close(self) -> None:
        """Drop builds that have not begun and wait for the one that has."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Workload:
    """What a campaign runs: given scenarios, and ones generated for each profile it meets.

    Suite ``pgtable`` is generated for the target's own profile and environment, so that nothing
    is a SKIP there; what does not depend on the target is built while it boots.
    """

    def __init__(
        self,
        fixed: Sequence[Scenario] = (),
        *,
        generated: Generated | None = None,
        size: int = BATCH_SIZE,
    ) -> None:
        self._fixed = tuple(fixed)
        self._generated = generated
        self._size = size
        self._lock = threading.Lock()
        self._made: dict[tuple[str, Environment] | None, Batches] = {}

    @property
    def total(self) -> int:
        """Scenarios a target runs."""
        return len(self._fixed) + (self._generated.count if self._generated else 0)

    def prepare(self) -> None:
        """Start building what does not depend on the target."""
        if self._generated is None or not self._generated.by_profile:
            self.batches(None, None).prepare(0)

    def batches(self, profile: SemanticsProfile | None, env: Environment | None) -> Batches:
        """The scenarios for a target, in chunks; made once for equal targets."""
        wanted = self._generated
        dependent = wanted is not None and wanted.by_profile
        key = (profile.name, env) if dependent and profile is not None and env is not None else None
        with self._lock:
            if key not in self._made:
                scenarios = self._fixed
                if wanted is not None:
                    scenarios += tuple(wanted.scenarios(profile, env))
                self._made[key] = Batches(scenarios, self._size)
            return self._made[key]

    def named(self) -> tuple[Scenario, ...]:
        """Scenarios that can be named without a target, for reports of one that did not open."""
        return tuple(scenario for chunk in self.batches(None, None).chunks for scenario in chunk)

    def close(self) -> None:
        """Stop building."""
        for batches in self._made.values():
            batches.close()


class Generated(Struct, frozen=True, kw_only=True):
    """A suite, a count and a seed: scenarios that are yet to be generated."""

    suite: str
    count: int
    seed: int

    @property
    def by_profile(self) -> bool:
        """True where the scenarios depend on the target's profile."""
        return self.suite == "pgtable"

    def scenarios(
        self, profile: SemanticsProfile | None, env: Environment | None
    ) -> Iterator[Scenario]:
        """The scenarios, for a profile and environment where the suite asks for them."""
        return generate(self.suite, self.count, self.seed, profile, env)


def _build(chunk: Sequence[Scenario]) -> BatchProgram:
    return build_batch(render_batch(chunk), tuple(scenario.id for scenario in chunk))


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
        listener.on_note(f"{plan.label}: {error}")
        _all_infra(plan, workload, settings, listener, str(error))
        return
    try:
        info = msgspec.structs.replace(target.info, opened_with=plan.options)
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
    batches = workload.batches(profile, env)
    white_box = _WhiteBox(info, module)
    for index, chunk in enumerate(batches.chunks):
        if stop.is_set():
            return
        predictions = [
            white_box.skipped(scenario, _predict(scenario, profile, env)) for scenario in chunk
        ]
        wanted = [i for i, prediction in enumerate(predictions) if not prediction.skip]
        for at, prediction in enumerate(predictions):
            if prediction.skip:
                _report(chunk[at], prediction, None, info, profile, settings, listener)
        if not wanted:
            continue
        for at, run in _runs(target, batches, index, wanted, white_box, settings, listener, stop):
            _report(chunk[at], predictions[at], run, info, profile, settings, listener)


class _WhiteBox:
    """The module of one target, built when the first scenario that needs it comes."""

    def __init__(self, info: TargetInfo, module: Callable[[TargetInfo], str] | None) -> None:
        self._info = info
        self._module = module
        self._reason = ""
        self.files: tuple[str, ...] = ()
        #: What broke the build: INFRA for the scenarios that need the module.
        self.failure: HarnessError | None = None

    def skipped(self, scenario: Scenario, prediction: Prediction) -> Prediction:
        """The prediction, or a skip where its suite needs a module that cannot be had."""
        if scenario.suite != "pgtable" or prediction.skip:
            return prediction
        if not self.files and not self._reason and self.failure is None:
            self._build()
        if not self._reason:
            return prediction
        return Prediction(id=prediction.id, profile=prediction.profile, skip=self._reason)

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
    batches: Batches,
    index: int,
    wanted: list[int],
    white_box: _WhiteBox,
    settings: Settings,
    listener: Listener,
    stop: threading.Event,
) -> Iterator[tuple[int, ScenarioRun]]:
    """The runs of a chunk's wanted scenarios, with their place in the chunk."""
    chunk = batches.chunks[index]
    waiting = {chunk[at].id: at for at in wanted}
    try:
        if white_box.failure is not None and any(s.suite == "pgtable" for s in chunk):
            raise white_box.failure
        if len(wanted) == len(chunk):
            program = batches.prepare(index).result()
        else:
            program = _build([chunk[at] for at in wanted])
        batches.prepare(index + 1)
        for run in run_batch(
            target,
            msgspec.structs.replace(program, files=white_box.files),
            scenario_timeout=settings.scenario_timeout,
            stop=stop,
            on_event=listener.on_note,
        ):
            yield waiting.pop(run.id), run
    except UsageError:
        raise
    except HarnessError as error:
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


def _report(
    scenario: Scenario,
    prediction: Prediction,
    run: ScenarioRun | None,
    info: TargetInfo,
    profile: SemanticsProfile,
    settings: Settings,
    listener: Listener,
) -> None:
    judgement = judge(scenario, prediction, run, profile.name)
    finding = finding_of(scenario, prediction, run, judgement, info, profile, settings)
    listener.on_finding(finding, judgement.not_compared)


def finding_of(
    scenario: Scenario,
    prediction: Prediction | None,
    run: ScenarioRun | None,
    judgement: Judgement,
    info: TargetInfo,
    profile: SemanticsProfile,
    settings: Settings,
) -> Finding:
    """One judged scenario in the form that is stored and reported."""
    return Finding(
        scenario=scenario,
        target=info,
        profile=profile.name,
        verdict=judgement.verdict,
        prediction=prediction,
        run=run,
        differences=judgement.differences,
        reason=judgement.reason,
        compared=judgement.compared,
        short_id=short_id(settings.run_id, scenario.id, info.name),
    )


def _all_infra(
    plan: TargetPlan, workload: Workload, settings: Settings, listener: Listener, reason: str
) -> None:
    info = TargetInfo(name=plan.label, kind="none", release="", opened_with=plan.options)
    for scenario in workload.named():
        listener.on_finding(
            Finding(
                scenario=scenario,
                target=info,
                profile=settings.profile.name if settings.profile else "",
                verdict=Verdict.INFRA,
                reason=reason,
                short_id=short_id(settings.run_id, scenario.id, plan.label),
            ),
            (),
        )
