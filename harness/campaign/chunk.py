# SPDX-License-Identifier: GPL-2.0-only
"""One chunk on one target: one session, and what diverged in it once more.

What diverged is run again, all at once, before anything is said of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from harness.campaign.coming import Chunk
from harness.campaign.judging import Bench, Case
from harness.compare.repeats import is_repeated, same_divergence
from harness.execute import Lanes, run_again, run_batch
from harness.targets import Target
from harness.vocabulary import (
    HarnessError,
    NoModuleError,
    RunStatus,
    ScenarioRun,
    TargetInfo,
    UsageError,
)
from reference_model.outcome import Prediction
from reference_model.scenario import Scenario, SlotAdd


def run_chunk(
    target: Target,
    chunk: Chunk,
    white_box: WhiteBox,
    bench: Bench,
    stop: threading.Event,
    lanes: Lanes,
) -> None:
    """Run a chunk's scenarios; what diverges is held back until it has run again, alone."""
    cases = {at: white_box.case(case) for at, case in chunk.cases.items()}
    for case in cases.values():
        if case.prediction.skip:
            bench.report(case)
    wanted = [at for at, case in cases.items() if not case.prediction.skip]
    if not wanted:
        return
    held: dict[int, Case] = {}
    again: dict[int, tuple[ScenarioRun, ...]] = {}
    try:
        for at, run in _runs(target, chunk, wanted, white_box, bench, stop, lanes):
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


def _runs(
    target: Target,
    chunk: Chunk,
    wanted: Sequence[int],
    white_box: WhiteBox,
    bench: Bench,
    stop: threading.Event,
    lanes: Lanes,
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
            lanes=lanes if all(one.suite in _SIDE_BY_SIDE for one in scenarios.values()) else None,
            one_lane=[n for n, at in enumerate(wanted) if _needs_the_pool(scenarios[at])],
            on_hello=bench.greet,
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


#: Suites whose scenarios leave each other alone. The module of pgtable has one table, and the
#: vCPUs of a race take all CPUs.
_SIDE_BY_SIDE = frozenset({"guest"})
#: Backings that a machine has little of: two scenarios that want some would find less.
_SCARCE = frozenset({"hugetlb", "device"})


def _needs_the_pool(scenario: Scenario) -> bool:
    return any(
        isinstance(step, SlotAdd) and step.backing.kind in _SCARCE for step in scenario.steps
    )


def _again(
    target: Target,
    chunk: Chunk,
    wanted: Sequence[int],
    held: Mapping[int, Case],
    white_box: WhiteBox,
    bench: Bench,
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


class WhiteBox:
    """The module of one target, built when the first scenario that needs it comes."""

    def __init__(self, info: TargetInfo, module: Callable[[TargetInfo], str] | None) -> None:
        self._info = info
        self._module = module
        self._reason = ""
        self.files: tuple[str, ...] = ()
        #: What broke the build: INFRA for the scenarios that need the module.
        self.failure: HarnessError | None = None

    def case(self, case: Case) -> Case:
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
