# SPDX-License-Identifier: GPL-2.0-only
"""A batch on a target, to the last scenario, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

from harness.execute import death
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
    on_hello: Callable[[Hello], None] | None = None,
    on_event: Callable[[str], None] | None = None,
) -> Iterator[ScenarioRun]:
    """Run every scenario of a batch, or ``only`` those of these indices; each is given out once.

    As soon as it is known, and in order, but for those in which the kernel logged a splat and
    lived: they come last, since they may be run again alone. A target that dies is replaced, and
    the batch goes on after the scenario that ran. With ``stop`` set the rest is not given out.
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
    return _Batch(runner, sorted(every if only is None else set(only)), on_hello).runs()


class _Batch:
    """The loop of sessions, with what it must remember between them."""

    def __init__(
        self, runner: Runner, wanted: list[int], on_hello: Callable[[Hello], None] | None
    ) -> None:
        self._runner = runner
        self._ids = runner.batch.ids
        self._on_hello = on_hello
        self._watch = LogWatch(runner.target)
        #: The scenarios that have no run yet, ascending.
        self._left = wanted
        self._last = -1
        self._repeats = 0

    def runs(self) -> Iterator[ScenarioRun]:
        """See :func:`run_batch`."""
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
        victim = ScenarioRun(
            id=self._ids[running.index],
            status=found.status,
            steps=tuple(running.steps),
            detail=found.detail,
            log=(*running.stray, *log),
            step=len(running.steps),
        )
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
