# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of a batch that already ran, once more and together on the same target.

The first round repeats all of them. Those that a round does not settle are run again, to learn how
often they do what they did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from harness.execute.batch import run_batch
from harness.targets import Target
from harness.vocabulary import BatchProgram, RunStatus, ScenarioRun

#: Rounds there are at most.
ROUNDS = 3


def run_again(
    target: Target,
    batch: BatchProgram,
    indices: Sequence[int],
    *,
    settled: Callable[[int, ScenarioRun], bool],
    scenario_timeout: float,
    stop: Event | None = None,
    on_event: Callable[[str], None] | None = None,
) -> dict[int, tuple[ScenarioRun, ...]]:
    """The repeats of each of ``indices``; fewer, or none, where ``stop`` was set meanwhile.

    ``settled`` says whether a repeat leaves nothing to be learnt. Never raises for what a target
    does.
    """
    runs: dict[int, tuple[ScenarioRun, ...]] = dict.fromkeys(indices, ())
    left = list(indices)
    by_id = {batch.ids[index]: index for index in indices}
    for _ in range(ROUNDS):
        if not left or (stop is not None and stop.is_set()):
            break
        unsettled: list[int] = []
        for run in run_batch(
            target,
            batch,
            scenario_timeout=scenario_timeout,
            stop=stop,
            only=left,
            on_event=on_event,
        ):
            index = by_id[run.id]
            runs[index] += (run,)
            if run.status is RunStatus.DONE and not settled(index, run):
                unsettled.append(index)
        left = unsettled
    return runs
