# SPDX-License-Identifier: GPL-2.0-only
"""Whom a splat belongs to where the selftest itself reads the kernel's log (no search is needed)."""

from __future__ import annotations

from harness.execute import run_batch
from harness.vocabulary import ScenarioRun
from tests.execute.fake import WARN, Exit, FakeTarget, Log, Script, program, scenario, statuses

#: When WARN was logged, in microseconds.
OF_WARN = (5_000_000, 5_000_002)
LATER = tuple(line.replace("5.00000", "6.00000").replace("mmu.c", "vgic.c") for line in WARN)
OF_LATER = (6_000_000, 6_000_002)


def play(script: Script) -> tuple[FakeTarget, dict[str, ScenarioRun]]:
    """A batch of a, b, c, d, played once: a second session would have no script."""
    target = FakeTarget(script)
    runs = {run.id: run for run in run_batch(target, program(*"abcd"), scenario_timeout=30)}
    return target, runs


def test_a_splat_belongs_to_the_scenario_that_saw_it_logged_however_late_it_comes() -> None:
    target, runs = play(
        [*scenario(0, "a"), *scenario(1, "b", warned=OF_WARN), *scenario(2, "c"),
         *scenario(3, "d"), Log(WARN), Exit(0)],
    )  # fmt: skip
    assert statuses(runs) == "a:done b:crash c:done d:done"
    assert runs["b"].detail == "WARNING at arch/arm64/kvm/mmu.c:312 in user_mem_abort"
    assert runs["b"].log == WARN
    assert len(target.started) == 1


def test_and_however_early_it_comes() -> None:
    _, runs = play(
        [Log(WARN), *scenario(0, "a"), *scenario(1, "b"), *scenario(2, "c", warned=OF_WARN),
         *scenario(3, "d"), Exit(0)],
    )  # fmt: skip
    assert statuses(runs) == "a:done b:done c:crash d:done"


def test_each_has_its_own_of_two_splats() -> None:
    _, runs = play(
        [*scenario(0, "a", warned=OF_WARN), *scenario(1, "b"), Log(WARN + LATER),
         *scenario(2, "c", warned=OF_LATER), *scenario(3, "d"), Exit(0)],
    )  # fmt: skip
    assert statuses(runs) == "a:crash b:done c:crash d:done"
    assert (runs["a"].log, runs["c"].log) == (WARN, LATER)


def test_a_warning_that_is_no_splat_accuses_nobody() -> None:
    noise = ("[    5.000001] kvm [99]: Unsupported guest access at: 40001000",)
    _, runs = play(
        [*scenario(0, "a", warned=OF_WARN), *scenario(1, "b"), Log(noise), *scenario(2, "c"),
         *scenario(3, "d"), Exit(0)],
    )  # fmt: skip
    assert statuses(runs) == "a:done b:done c:done d:done"


def test_a_splat_of_no_scenario_that_says_so_is_looked_for_as_ever() -> None:
    target = FakeTarget(
        [*scenario(0, "a", warned=OF_WARN), Log(WARN + LATER), *scenario(1, "b"), Exit(0)],
    )
    runs = {run.id: run for run in run_batch(target, program("a", "b"), scenario_timeout=30)}
    assert statuses(runs) == "a:crash b:crash"
    assert runs["b"].detail == "WARNING at arch/arm64/kvm/vgic.c:312 in user_mem_abort"


def test_the_log_is_waited_for_unless_the_selftest_says_that_nothing_is_in_it() -> None:
    for bye, waits in [
        ([], 1),
        (["# bye {}"], 0),
        (['# bye {"warned":[5,6]}'], 1),
        (["# bye ["], 1),
    ]:
        target, runs = play(
            [*scenario(0, "a"), *scenario(1, "b"), *scenario(2, "c"), *scenario(3, "d"), *bye,
             Exit(0)],
        )  # fmt: skip
        assert statuses(runs) == "a:done b:done c:done d:done"
        assert target.settled == waits
