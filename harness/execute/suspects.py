# SPDX-License-Identifier: GPL-2.0-only
"""A splat came while several scenarios may have been meant: they run again, down to one alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from harness.execute.runner import Runner
from harness.execute.session import End
from harness.execute.watch import LogWatch
from harness.targets import Splat, SplatKind, find_splats, logged_at, run, worst
from harness.vocabulary import AND_COMPLAINT, RunStatus, ScenarioRun, TargetError

#: So few suspects are run one by one; of more, groups are run, and halved where the splat comes.
_FEW = 4
#: Sessions in all that the search may take.
MAX_SESSIONS = 60
#: Suspects that are blamed where the splat comes in none of them: those nearest to it.
MAX_BLAMED = 4
#: Resets WARN_ONCE (debugfs, since 4.15); a target without it just warns no more.
_CLEAR = "echo 1 >/sys/kernel/debug/clear_warn_once"

#: What one session of some suspects showed: splats and the log they stand in.
_Seen = tuple[tuple[Splat, ...], tuple[str, ...]]


def clear_up(runner: Runner, watch: LogWatch) -> Iterator[ScenarioRun]:
    """The runs of all suspects: CRASH for those that a splat belongs to, else as they were."""
    suspects = dict(sorted(watch.suspects.items()))
    told = _told(suspects, watch.log)
    watch.cleared()
    found = {whose[0]: (seen, "") for whose, seen in told.items() if len(whose) == 1}
    for whose, seen in told.items():
        if len(whose) != 1:
            among = whose or [index for index in suspects if index not in found]
            found |= _blamed(runner, {index: suspects[index] for index in among}, seen)
    for index, ended in suspects.items():
        if index in found:
            (splats, log), note = found[index]
            yield _crash(ended, splats, log, note)
        else:
            yield ended


def _told(suspects: Mapping[int, ScenarioRun], log: Sequence[str]) -> dict[tuple[int, ...], _Seen]:
    """The splats by those that know themselves that the kernel complained meanwhile.

    One, or some that ran side by side; of what stands under () nobody knows.
    """
    lines: dict[tuple[int, ...], list[str]] = {}
    knowing = [(*run.warned, index) for index, run in suspects.items() if run.warned]
    whose: tuple[int, ...] = ()
    for line in log:
        at = logged_at(line)
        # A line without a time goes on with the one before.
        if at is not None:
            whose = tuple(index for first, last, index in knowing if first <= at <= last)
        lines.setdefault(whose, []).append(line)
    return {
        whose: (splats, tuple(own)) for whose, own in lines.items() if (splats := find_splats(own))
    }


def _blamed(
    runner: Runner, among: Mapping[int, ScenarioRun], seen: _Seen
) -> dict[int, tuple[_Seen, str]]:
    """Of those that a splat may belong to: those in which it comes again, else the first few."""
    search = _Search(runner, seen[0]).guilty(list(among)) if len(among) > 1 else {}
    if search:
        return {index: (again, "again when run alone") for index, again in search.items()}
    blamed = list(among)[:MAX_BLAMED]
    more = ", or to others" if len(among) > len(blamed) else ""
    out: dict[int, tuple[_Seen, str]] = {}
    for index in blamed:
        others = [among[other].id for other in blamed if other != index]
        note = f"or it belongs to {', '.join(others)}{more}; it came while these ran"
        out[index] = (seen, note if others else "")
    return out


class _Search:
    """Runs suspects again until each splat is put down to one of them."""

    def __init__(self, runner: Runner, splats: Sequence[Splat]) -> None:
        self._runner = runner
        self._sessions = 0
        # lockdep is off after its first report, so only a fresh kernel can report again.
        self._fresh = _once(splats)

    def guilty(self, suspects: list[int]) -> dict[int, _Seen]:
        """Those in which the kernel complains again when they run alone, and how."""
        found: dict[int, _Seen] = {}
        groups = [[index] for index in suspects] if len(suspects) <= _FEW else [suspects]
        while groups and self._sessions < MAX_SESSIONS and not self._runner.stopped:
            group = groups.pop(0)
            seen = self._run(group)
            if seen is None:
                break
            if not seen[0]:
                continue
            if len(group) == 1:
                found[group[0]] = seen
            else:
                half = len(group) // 2
                groups += [group[:half], group[half:]]
        return found

    def _run(self, group: list[int]) -> _Seen | None:
        """Run some suspects in a session of their own; None if there is no target to do it."""
        runner = self._runner
        self._sessions += 1
        if self._fresh and runner.replace() is None:
            return None
        with contextlib.suppress(TargetError):
            run(runner.target, ["sh", "-c", _CLEAR], timeout=10, on_line=lambda _: None)
        runner.target.kernel_log(settle=True)
        try:
            session = runner.session("--only", ",".join(map(str, group)))
        except TargetError as error:
            runner.notice(f"suspects of a splat were not run again: {error}")
            return None
        for _ in session.runs():
            pass
        died = session.ended.end is not End.EXIT
        log = runner.target.kernel_log(settle=not died)
        splats = find_splats(log)
        self._fresh = self._fresh or _once(splats)
        if died and not self._fresh and runner.replace() is None:
            return None
        return splats, log


def _once(splats: Sequence[Splat]) -> bool:
    return any(splat.kind in (SplatKind.LOCKDEP, SplatKind.RCU) for splat in splats)


def _crash(
    seen: ScenarioRun, splats: Sequence[Splat], log: tuple[str, ...], note: str
) -> ScenarioRun:
    first = worst(splats)
    # All of them, so that one that is known hides no other.
    titles = dict.fromkeys(splat.title for splat in ([first] if first else []) + list(splats))
    title = AND_COMPLAINT.join(titles) or "the kernel complained"
    return msgspec.structs.replace(
        seen,
        status=RunStatus.CRASH,
        detail=f"{title} ({note})" if note else title,
        log=(*seen.log, *log),
    )
