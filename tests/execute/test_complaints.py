# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel complains of and survives is said of the scenario that made it do so."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.execute import watch
from harness.targets import Command
from harness.vocabulary import RunStatus
from tests.execute.fake import (
    PANIC,
    WARN,
    Exit,
    FakeTarget,
    Log,
    Script,
    play,
    scenario,
    start_of,
    statuses,
)

pytestmark = pytest.mark.usefixtures("no_delays")


def test_a_warning_is_a_crash_of_the_scenario_in_which_it_came() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), *scenario(1, "b")[:-2], Log(WARN), *scenario(1, "b")[-2:],
         *scenario(2, "c"), *scenario(3, "d"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*start_of(1, "b"), Log(WARN), *scenario(1, "b")[-2:], Exit(0)],
        [*scenario(2, "c"), Exit(0)],
    )  # fmt: skip
    runs = play(target, "a", "b", "c", "d")
    assert statuses(runs) == "a:done b:crash c:done d:done"
    assert runs["b"].detail.startswith("WARNING at arch/arm64/kvm/mmu.c:312 in user_mem_abort")
    assert set(WARN) <= set(runs["b"].log)
    assert target.replaced == 0
    assert any("clear_warn_once" in argv[-1] for argv in target.shell)


def test_two_warnings_of_a_scenario_are_both_named() -> None:
    other = tuple(
        line.replace("mmu.c:312 user_mem_abort", "pgtable.c:9 stage2_unmap") for line in WARN
    )
    assert other != WARN
    target = FakeTarget([*start_of(0, "a"), Log(WARN), Log(other), *scenario(0, "a")[-2:], Exit(0)])
    detail = play(target, "a")["a"].detail
    assert detail == (
        "WARNING at arch/arm64/kvm/mmu.c:312 in user_mem_abort; "
        "WARNING at arch/arm64/kvm/pgtable.c:9 in stage2_unmap"
    )


def test_a_warning_after_the_last_record_is_seen() -> None:
    target = FakeTarget([*scenario(0, "a"), Log(WARN), Exit(0)])
    runs = play(target, "a")
    assert statuses(runs) == "a:crash"


def test_a_warning_that_comes_for_none_alone_names_all_it_may_be() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), Log(WARN), *scenario(1, "b"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*scenario(1, "b"), Exit(0)],
    )
    runs = play(target, "a", "b")
    assert statuses(runs) == "a:crash b:crash"
    assert "belongs to b" in runs["a"].detail


def test_lockdep_gets_a_fresh_kernel_for_each_repeat() -> None:
    report = ("[ 5.000000] WARNING: possible circular locking dependency detected",)
    target = FakeTarget(
        [*scenario(0, "a"), Log(report), *scenario(1, "b"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*start_of(1, "b"), Log(report), *scenario(1, "b")[-2:], Exit(0)],
    )
    assert statuses(play(target, "a", "b")) == "a:done b:crash"
    assert target.replaced == 2


def test_an_oops_that_the_kernel_survives_is_cleared_up_like_a_warning() -> None:
    oops = PANIC[:-1]
    target = FakeTarget(
        [*scenario(0, "a"), *start_of(1, "b"), Log(oops), *scenario(1, "b")[-2:],
         *scenario(2, "c"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*start_of(1, "b"), Log(oops), *scenario(1, "b")[-2:], Exit(0)],
        [*scenario(2, "c"), Exit(0)],
    )  # fmt: skip
    assert statuses(play(target, "a", "b", "c")) == "a:done b:crash c:done"


def test_only_what_ended_soon_after_an_oops_is_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_DYING", -1.0)
    target = FakeTarget(
        [*start_of(0, "a"), Log(PANIC[:-1]), *scenario(0, "a")[-2:], *scenario(1, "b"),
         *scenario(2, "c"), *scenario(3, "d"), Exit(0)],
        [*start_of(0, "a"), Log(PANIC[:-1]), *scenario(0, "a")[-2:], Exit(0)],
        [*scenario(1, "b"), Exit(0)],
    )  # fmt: skip
    assert statuses(play(target, "a", "b", "c", "d")) == "a:crash b:done c:done d:done"


def test_a_lockup_that_the_kernel_survives_is_a_crash() -> None:
    stall = Log(("[  30.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [batch:200]",))
    target = FakeTarget([*start_of(0, "a"), stall, *scenario(0, "a")[-2:], Exit(0)])
    assert statuses(play(target, "a")) == "a:crash"


def test_a_warning_that_comes_before_the_records_of_its_scenario(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sshd was slow, so the splat of c is read when the records of a are."""
    monkeypatch.setattr(watch, "_ON_THEIR_WAY", 60.0)
    target = FakeTarget(
        [Log(WARN), *scenario(0, "a"), *scenario(1, "b"), *scenario(2, "c"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*scenario(1, "b"), Exit(0)],
        [*start_of(2, "c"), Log(WARN), *scenario(2, "c")[-2:], Exit(0)],
    )
    assert statuses(play(target, "a", "b", "c")) == "a:done b:done c:crash"


def test_a_warning_that_comes_after_the_records_of_later_scenarios(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel prints in a thread, so the splat of a is read when the records of c are."""
    monkeypatch.setattr(watch, "_BEHIND", 60.0)
    target = FakeTarget(
        [*scenario(0, "a"), *scenario(1, "b"), Log(WARN), *scenario(2, "c"), Exit(0)],
        [*start_of(0, "a"), Log(WARN), *scenario(0, "a")[-2:], Exit(0)],
        [*scenario(1, "b"), Exit(0)],
        [*scenario(2, "c"), Exit(0)],
    )
    assert statuses(play(target, "a", "b", "c")) == "a:crash b:done c:done"


class Warning16(FakeTarget):
    """Sixteen scenarios, some of which warn; every session is played as it is asked for."""

    def __init__(self, *guilty: int) -> None:
        super().__init__()
        self.guilty = guilty

    def start(self, argv: Sequence[str]) -> Command:
        if argv[0] != "sh":
            only = argv[argv.index("--only") + 1] if "--only" in argv else None
            wanted = range(16) if only is None else map(int, only.split(","))
            script: Script = []
            for index in wanted:
                warns = index in self.guilty
                script += [*([Log(WARN)] if warns else []), *scenario(index, f"s{index:02}")]
            self._scripts.append([*script, Exit(0)])
        return super().start(argv)


@pytest.mark.parametrize("guilty", [(0,), (15,), (6,), (3, 4), (0, 7, 15)])
def test_among_many_suspects_the_guilty_are_found(
    monkeypatch: pytest.MonkeyPatch, guilty: tuple[int, ...]
) -> None:
    monkeypatch.setattr(watch, "_BEHIND", 60.0)
    monkeypatch.setattr(watch, "_ON_THEIR_WAY", 60.0)
    target = Warning16(*guilty)
    runs = play(target, *(f"s{index:02}" for index in range(16)))
    crashed = {name for name, run in runs.items() if run.status is RunStatus.CRASH}
    assert crashed == {f"s{index:02}" for index in guilty}
    assert len(target.started) < 2 + 9 * len(guilty)
