# SPDX-License-Identifier: GPL-2.0-only
"""After the kernel died: the same again, alone, to learn which scenario and step it was.

The last records before a death can be lost with the kernel (the program wrote them, sshd had not
sent them), so the scenario that seemed to run may be some before the one that ran. The
repeat starts there, with ``--sync``, and where the target has a console it writes its records to
that: a character that is written there is seen, whatever the next instruction does.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from harness.execute import death
from harness.execute.runner import Runner
from harness.execute.session import End, Session
from harness.targets import find_splats
from harness.vocabulary import RunStatus, ScenarioRun, TargetError

#: Scenarios in a repeat: the one that seemed to run and those that may have run after it. What
#: ends well in the repeat need not run again, so a wide reach costs nothing.
REACH = 64


class Repeat(Struct, frozen=True):
    """What the repeat gave: runs by index, the victim among them; whether the target died.

    ``again``: it happened again, in one of them.
    """

    runs: dict[int, ScenarioRun]
    died: bool
    again: bool = False


def repeat(runner: Runner, index: int, victim: ScenarioRun, *, after: Sequence[int]) -> Repeat:
    """Run the victim, and those ``after`` it that may be meant instead, on a fresh target."""
    window = [index, *after[: REACH - 1]]
    runs: dict[int, ScenarioRun] = {}
    try:
        session = runner.session("--only", ",".join(map(str, window)), "--sync", console=True)
    except TargetError as error:
        return Repeat({index: _noted(victim, f"not repeated: {error}")}, True)
    for ended in session.runs():
        if ended is None:
            continue
        at, run = ended
        if run.status is RunStatus.INFRA:
            break  # its record was cut; it has its turn later
        runs[at] = run
    running = session.records.running
    if session.ended.end is End.STOPPED and not runner.stopped:
        return _not_again(runs, index, victim)
    if session.ended.end is End.EXIT and running is None:
        return _not_again(runs, index, victim)
    return _again(runner, session, runs, index, victim)


def _again(
    runner: Runner, session: Session, runs: dict[int, ScenarioRun], index: int, victim: ScenarioRun
) -> Repeat:
    """The repeat did not end well either."""
    running = session.records.running
    condition = runner.target.examine()
    log = (*session.log, *runner.target.kernel_log())
    found = death.judge(session.ended, condition, find_splats(log))
    if running is None or (found.status is RunStatus.INFRA and not found.doubtful):
        runs[index] = _noted(victim, f"the repeat failed: {found.detail}")
        return Repeat(runs, found.replace)
    # INFRA and doubtful: it was ended without a word, and now again. That is no accident.
    status = RunStatus.CRASH if found.status is RunStatus.INFRA else found.status
    step = len(running.steps)
    sure = "" if runner.target.console else " or later"
    note = f"happened again when run alone, in step {step}{sure}"
    if running.index != index:
        note = f"{note}; at first it seemed to be {victim.id}, whose last record was lost"
    runs[running.index] = ScenarioRun(
        id=runner.batch.ids[running.index],
        status=status,
        steps=tuple(running.steps),
        detail=f"{found.detail} ({note})",
        log=(*victim.log, "--- repeated alone ---", *log),
        step=step,
    )
    return Repeat(runs, found.replace, again=True)


def _not_again(runs: dict[int, ScenarioRun], index: int, victim: ScenarioRun) -> Repeat:
    runs[index] = _noted(victim, "did not happen again when run alone")
    return Repeat(runs, False)


def _noted(victim: ScenarioRun, note: str) -> ScenarioRun:
    return msgspec.structs.replace(victim, detail=f"{victim.detail} ({note})")
