# SPDX-License-Identifier: GPL-2.0-only
"""A batch on a target, to the last scenario, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from threading import Event

import msgspec
from msgspec import Struct

from harness.execute import death
from harness.execute.lanes import Lane, Lanes, SideBySide, ended_badly, shares
from harness.execute.records import Hello, Running
from harness.execute.repeat import repeat
from harness.execute.runner import Runner
from harness.execute.session import End, Session
from harness.execute.suspects import clear_up
from harness.execute.watch import IndexedRun, LogWatch
from harness.targets import Health, Target, find_splats
from harness.vocabulary import BatchProgram, RunStatus, ScenarioRun, TargetError

#: After so many sessions (or replacements) in a row that came to nothing, the rest is INFRA.
MAX_BARREN = 3
#: Deaths of one batch that are repeated to learn the step and whether they come again.
MAX_REPEATS = 5


def run_batch(
    target: Target,
    batch: BatchProgram,
    *,
    scenario_timeout: float = 10.0,
    stop: Event | None = None,
    only: Sequence[int] | None = None,
    lanes: Lanes | None = None,
    one_lane: Collection[int] = (),
    on_hello: Callable[[Hello], None] | None = None,
    on_event: Callable[[str], None] | None = None,
) -> Iterator[ScenarioRun]:
    """Run every scenario of a batch, or ``only`` those of these indices; each is given out once.

    As soon as it is known, and in order, but for those in which the kernel logged a splat and
    lived: they come last, since they may be run again alone. A target that dies is replaced, and
    the batch goes on after the scenario that ran. With ``stop`` set the rest is not given out.
    ``lanes``: how many run at once, in no order then; ``one_lane``: indices of which no two do.
    ``on_hello`` gets what the program said of itself, ``on_event`` a line for everything out of
    the ordinary. Never raises for what a target does; OSError where the ELF cannot be read.
    """
    runner = Runner(
        target,
        batch,
        scenario_timeout=scenario_timeout,
        stop=stop,
        notice=on_event or (lambda text: None),
    )
    every = range(len(batch.ids))
    wanted = sorted(every if only is None else set(only))
    return _Batch(runner, wanted, on_hello, lanes or Lanes(), one_lane).runs()


class _Ran(Struct):
    """What ran in a lane when it ended, and what was to come after it."""

    running: Running
    after: list[int]

    @property
    def index(self) -> int:
        """Of the scenario that ran."""
        return self.running.index


class _Batch:
    """The loop of sessions, with what it must remember between them."""

    def __init__(
        self,
        runner: Runner,
        wanted: list[int],
        on_hello: Callable[[Hello], None] | None,
        lanes: Lanes,
        one_lane: Collection[int],
    ) -> None:
        self._runner = runner
        self._lanes = lanes
        self._one_lane = frozenset(one_lane)
        self._ids = runner.batch.ids
        self._on_hello = on_hello
        self._watch = LogWatch(runner.target)
        #: The scenarios that have no run yet, ascending.
        self._left = wanted
        self._last = -1
        self._repeats = 0

    def runs(self) -> Iterator[ScenarioRun]:
        """See :func:`run_batch`."""
        if self._lanes.count > 1:
            yield from self._side_by_side()
        barren = 0
        why = ""
        while self._left and not self._runner.stopped:
            before = len(self._left)
            try:
                session = self._runner.session(*self._selection())
            except TargetError as error:
                why = str(error)
                self._runner.notice(why)
                self._runner.replace()
            else:
                yield from self._play(session)
                why = session.ended.detail or "the batch program ended early"
                yield from self._after(session)
            barren = 0 if len(self._left) < before else barren + 1
            if barren >= MAX_BARREN:
                yield from self._give_up(why)
        yield from clear_up(self._runner, self._watch)

    # --- several at once ---------------------------------------------------------------------

    def _side_by_side(self) -> Iterator[ScenarioRun]:
        """All of them, as far as it goes well."""
        parts = shares(self._left, self._lanes.count, self._one_lane)
        if len(parts) < 2:
            return
        try:
            together = SideBySide(self._runner, parts)
        except TargetError:
            return  # who runs them alone meets it again, and tells
        for heard in together.runs():
            if heard is None:
                yield from _only_runs(self._watch.idle())
                continue
            lane, index, run = heard
            self._greet(lane.session)
            if index not in self._left:
                self._runner.notice(f"{run.id} was reported twice; the first report stands")
                continue
            self._done(index)
            yield from _only_runs(self._watch.ended(index, run))
        bad = next(filter(ended_badly, together.lanes), None)
        if self._runner.stopped:
            yield from _only_runs(self._watch.settle(wait=False))
        elif bad is None:
            records = [lane.session.records for lane in together.lanes]
            quiet = all(one.quiet for one in records) and not self._watch.suspects
            yield from _only_runs(self._watch.settle(wait=not quiet))
        else:
            yield from self._after_lanes(bad, together.lanes)

    def _after_lanes(self, bad: Lane, lanes: Sequence[Lane]) -> Iterator[ScenarioRun]:
        """Something died while several ran: which of them it was is told by running them alone."""
        self._lanes.give_up()
        condition = self._runner.target.examine()
        free, log = self._watch.death(alive=condition.health is Health.ALIVE)
        found = death.judge(bad.session.ended, condition, find_splats(log))
        ran = [one for lane in lanes if (one := self._running_in(lane)) is not None]
        if not found.doubtful:
            # The kernel lives: it is the scenario of the program that ended.
            own = bad.session.records.running
            ran = [one for one in ran if one.running is own]
        elif not ran:
            ran = [_Ran(self._supposed(free), [])]
        yield from _only_runs(free)
        names = " and ".join(self._ids[one.index] for one in ran) or "no scenario"
        self._runner.notice(
            f"{found.status.value.upper()} while {names} ran side by side with others: "
            f"{found.detail}; from here on one program at a time"
        )
        if len(ran) == 1:
            self._done(ran[0].index)
            yield from self._died(ran[0].running, found, log)
            return
        if not found.replace or self._runner.replace() is not None:
            yield from self._one_of(ran, found, log)

    def _running_in(self, lane: Lane) -> _Ran | None:
        """What ran in a lane, or was to be next."""
        running = lane.session.records.running
        left = [index for index in lane.share if index in self._left]
        if not left:
            return None
        if running is None or running.index not in left:
            running = Running(index=left[0], steps=[], stray=[])
        return _Ran(running, left[left.index(running.index) + 1 :])

    def _one_of(
        self, ran: Sequence[_Ran], found: death.Death, log: tuple[str, ...]
    ) -> Iterator[ScenarioRun]:
        """Repeat what ran, lane by lane, until it happens again; else it was any of them."""
        unproved: dict[int, ScenarioRun] = {}
        for one in ran:
            victim = self._victim(one.running, found, log)
            outcome = repeat(self._runner, one.index, victim, after=one.after)
            if outcome.died:
                self._runner.replace()
            if not outcome.again:
                unproved[one.index] = outcome.runs.pop(one.index)
            for index in outcome.runs:
                self._done(index)
            yield from (outcome.runs[index] for index in sorted(outcome.runs))
            if outcome.again or self._runner.stopped:
                return  # what is unproved has another turn
        for index, run in unproved.items():
            others = ", ".join(self._ids[other] for other in unproved if other != index)
            self._done(index)
            yield msgspec.structs.replace(run, detail=f"{run.detail}; beside it ran {others}")

    # --- one at a time -----------------------------------------------------------------------

    def _selection(self) -> tuple[str, ...]:
        first = self._left[0]
        if self._left != list(range(first, len(self._ids))):
            return ("--only", ",".join(map(str, self._left)))
        return ("--start", str(first)) if first else ()

    def _play(self, session: Session) -> Iterator[ScenarioRun]:
        for ended in session.runs():
            self._greet(session)
            if ended is None:
                yield from _only_runs(self._watch.idle())
                continue
            index, run = ended
            if index not in self._left:
                self._runner.notice(f"{run.id} was reported twice; the first report stands")
                continue
            yield from self._unreported(index)
            self._done(index)
            yield from _only_runs(self._watch.ended(index, run))
        self._greet(session)

    def _after(self, session: Session) -> Iterator[ScenarioRun]:
        """The session is over: well, or with a death to look into."""
        ended, running = session.ended, session.records.running
        if ended.end is End.STOPPED:
            yield from _only_runs(self._watch.settle(wait=False))
            return
        if ended.end is End.EXIT and running is None and not self._left:
            quiet = session.records.quiet and not self._watch.suspects
            yield from _only_runs(self._watch.settle(wait=not quiet))
            return
        condition = self._runner.target.examine()
        free, log = self._watch.death(alive=condition.health is Health.ALIVE)
        found = death.judge(ended, condition, find_splats(log))
        if running is not None and running.index not in self._left:
            running = None
        if running is None and found.doubtful:
            running = self._supposed(free)
        elif running is None:
            if session.records.stray:
                found = death.with_output(found, session.records.stray)
            self._runner.notice(f"{found.detail}; no scenario was running")
            if found.replace:
                self._runner.replace()
        yield from _only_runs(free)
        if running is not None:
            yield from self._unreported(running.index)
            self._done(running.index)
            yield from self._died(running, found, log)

    def _supposed(self, free: list[IndexedRun]) -> Running:
        """What ran when a kernel died and no record tells: the next, or the last after its end."""
        if self._left:
            return Running(index=self._left[0], steps=[], stray=[])
        seen = free.pop()[1] if free else self._watch.suspects.pop(self._last, None)
        if seen is None:
            return Running(index=self._last, steps=[], stray=[])
        return Running(index=self._last, steps=list(seen.steps), stray=list(seen.log))

    def _died(
        self, running: Running, found: death.Death, log: tuple[str, ...]
    ) -> Iterator[ScenarioRun]:
        """What ran when it ended: replace the target, and repeat where that tells more."""
        victim = self._victim(running, found, log)
        self._runner.notice(f"{found.status.value.upper()} in {victim.id}: {found.detail}")
        replaced = not found.replace or self._runner.replace() is not None
        again = found.doubtful and replaced and self._repeats < MAX_REPEATS
        if not again or self._runner.stopped:
            yield victim
            return
        self._repeats += 1
        outcome = repeat(self._runner, running.index, victim, after=self._left)
        if outcome.died:
            self._runner.replace()
        for index in outcome.runs:
            self._done(index)
        yield from (outcome.runs[index] for index in sorted(outcome.runs))

    def _victim(self, running: Running, found: death.Death, log: tuple[str, ...]) -> ScenarioRun:
        return ScenarioRun(
            id=self._ids[running.index],
            status=found.status,
            steps=tuple(running.steps),
            detail=found.detail,
            log=(*running.stray, *log),
            step=len(running.steps),
        )

    def _greet(self, session: Session) -> None:
        if self._on_hello is not None and session.records.hello is not None:
            self._on_hello(session.records.hello)
            self._on_hello = None

    def _unreported(self, index: int) -> Iterator[ScenarioRun]:
        while self._left and self._left[0] < index:
            missed = self._left[0]
            self._done(missed)
            yield self._infra(missed, "the batch program went on without a record of it")

    def _give_up(self, why: str) -> Iterator[ScenarioRun]:
        detail = f"given up after {MAX_BARREN} attempts in a row that came to nothing: {why}"
        for index in self._left:
            yield self._infra(index, detail)
        self._left = []

    def _done(self, index: int) -> None:
        self._last = index
        if index in self._left:
            self._left.remove(index)

    def _infra(self, index: int, detail: str) -> ScenarioRun:
        return ScenarioRun(id=self._ids[index], status=RunStatus.INFRA, detail=detail)


def _only_runs(pairs: list[IndexedRun]) -> Iterator[ScenarioRun]:
    return (run for _, run in pairs)
