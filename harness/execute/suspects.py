# SPDX-License-Identifier: GPL-2.0-only
"""A splat came while several scenarios may have been meant: each runs again, alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import msgspec

from harness.execute.runner import Runner
from harness.execute.session import End
from harness.execute.watch import LogWatch
from harness.targets import Splat, SplatKind, find_splats, run, worst
from harness.vocabulary import RunStatus, ScenarioRun, TargetError

#: Suspects that are run again; beyond that all are named.
MAX_ALONE = 8
#: Resets WARN_ONCE (debugfs, since 4.15); a target without it just warns no more.
_CLEAR = "echo 1 >/sys/kernel/debug/clear_warn_once"


def clear_up(runner: Runner, watch: LogWatch) -> Iterator[ScenarioRun]:
    """The runs of all suspects: CRASH for those that a splat belongs to, else as they were."""
    suspects = sorted(watch.suspects.items())
    splats = watch.splats
    log = tuple(watch.log)
    watch.cleared()
    if not suspects:
        return
    guilty: dict[int, ScenarioRun] = {}
    if 1 < len(suspects) <= MAX_ALONE:
        guilty = _alone(runner, suspects, splats)
    blamed = [index for index, _ in suspects if index in guilty] or [i for i, _ in suspects]
    for index, seen in suspects:
        if index in guilty:
            yield guilty[index]
        elif index in blamed:
            yield _crash(seen, splats, log, _others(suspects, index))
        else:
            yield seen


def _alone(
    runner: Runner, suspects: Sequence[tuple[int, ScenarioRun]], splats: Sequence[Splat]
) -> dict[int, ScenarioRun]:
    """Run each alone; those in which the kernel complains again."""
    guilty: dict[int, ScenarioRun] = {}
    # lockdep is off after its first report, so only a fresh kernel can report again.
    fresh = any(splat.kind in (SplatKind.LOCKDEP, SplatKind.RCU) for splat in splats)
    for index, seen in suspects:
        if runner.stopped:
            break
        if fresh and runner.replace() is None:
            break
        with contextlib.suppress(TargetError):
            run(runner.target, ["sh", "-c", _CLEAR], timeout=10, on_line=lambda _: None)
        runner.target.kernel_log(settle=True)
        try:
            session = runner.session("--only", str(index))
        except TargetError as error:
            runner.notice(f"{seen.id} was not run again alone: {error}")
            break
        for _ in session.runs():
            pass
        died = session.ended.end is not End.EXIT
        log = runner.target.kernel_log(settle=not died)
        found = find_splats(log)
        if found:
            guilty[index] = _crash(seen, found, log, "again when run alone")
            fresh = fresh or any(s.kind in (SplatKind.LOCKDEP, SplatKind.RCU) for s in found)
        if died and runner.replace() is None:
            break
    return guilty


def _crash(
    seen: ScenarioRun, splats: Sequence[Splat], log: tuple[str, ...], note: str
) -> ScenarioRun:
    splat = worst(splats)
    title = splat.title if splat else "the kernel complained"
    return msgspec.structs.replace(
        seen,
        status=RunStatus.CRASH,
        detail=f"{title} ({note})" if note else title,
        log=(*seen.log, *log),
    )


def _others(suspects: Sequence[tuple[int, ScenarioRun]], index: int) -> str:
    names = [seen.id for other, seen in suspects if other != index]
    if not names:
        return ""
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"or it belongs to {shown}; it came while these ran"
