# SPDX-License-Identifier: GPL-2.0-only
"""Repeats on the same target: all once, and more often what a repeat leaves open."""

from __future__ import annotations

from threading import Event

from harness.execute import run_again
from harness.execute.again import ROUNDS
from harness.vocabulary import BatchProgram, RunStatus, ScenarioRun
from tests.execute import fake


def play(*scripts: fake.Script, settled: object = None) -> dict[int, tuple[ScenarioRun, ...]]:
    target = fake.FakeTarget(*scripts)
    decide = settled if callable(settled) else lambda index, run: True
    runs = run_again(
        target, fake.program("a", "b", "c"), [0, 2], settled=decide, scenario_timeout=0.1
    )
    assert not target.unplayed
    return runs


def script(*indices: int, status: str = "done") -> fake.Script:
    records = [line for at in indices for line in fake.scenario(at, "abc"[at], status=status)]
    return [*fake.hello(), *records, fake.Exit(0)]


def test_once_where_that_settles_it() -> None:
    runs = play(script(0, 2))
    assert {at: [run.id for run in again] for at, again in runs.items()} == {0: ["a"], 2: ["c"]}


def test_more_often_where_it_does_not() -> None:
    runs = play(script(0, 2), script(2), script(2), settled=lambda index, run: index == 0)
    assert [len(runs[0]), len(runs[2])] == [1, ROUNDS]


def test_a_repeat_that_is_no_run_is_not_repeated() -> None:
    runs = play(script(0, 2, status="skip"), settled=lambda index, run: False)
    assert [run.status for run in runs[0]] == [RunStatus.SKIP]


def test_nothing_after_the_end() -> None:
    stop = Event()
    stop.set()
    runs = run_again(
        fake.FakeTarget(),
        BatchProgram(elf="/none", ids=("a",)),
        [0],
        settled=lambda index, run: True,
        scenario_timeout=0.1,
        stop=stop,
    )
    assert runs == {0: ()}
