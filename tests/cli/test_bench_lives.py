# SPDX-License-Identifier: GPL-2.0-only
"""Rates of scenarios beside those of bare loops, one as small as can be, one as a scenario is."""

from __future__ import annotations

import shutil

import pytest

from harness.campaign import TargetPlan
from harness.cli.bench_lives import Ceiling
from harness.vocabulary import TargetError
from reference_model import scenario as sc
from tests.execute.fake import Exit, FakeTarget

pytestmark = pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is None, reason="aarch64-linux-gnu-gcc is not installed"
)


def _scenario(slots: int, stores: int) -> sc.GuestScenario:
    steps = [sc.SlotAdd(slot=n, gpa=n << 30, size=0x1000) for n in range(slots)]
    return sc.GuestScenario(
        schema=1,
        id="one",
        steps=(*steps, *[sc.Write(gpa=0, value=1), sc.DirtyGet(slot=0)] * stores),
    )


def _loops(target: FakeTarget) -> list[list[str]]:
    return [argv[1:] for argv in target.started]


def test_a_life_is_as_small_as_can_be_and_as_large_as_a_scenario() -> None:
    """Means are rounded down; what was measured before the campaign counts as much as after it."""
    seconds = (1, 2, 1, 4)
    target = FakeTarget(*[[f"lifecycle 200 {n}000000"] for n in seconds])
    ceiling = Ceiling([target], [_scenario(2, 7), _scenario(3, 8)])
    small, large = ceiling.figures(TargetPlan(label="k", open=lambda: target), 75.0)
    assert _loops(target) == [["200", "1", "1", "16"], ["200", "3", "7", "1"]] * 2
    assert (small.value, small.goal[:12]) == (75 / 200, "at least 0.5")
    assert (large.value, large.goal) == (1.0, "")
    assert large.name == "k: guest, scenarios/s / bare lives of 3 slots and 7 entries/s, warm"
    assert large.detail == "75 scenarios/s / 75 VMs/s on 1 guest(s)"


def test_with_lanes_the_loops_run_side_by_side_too() -> None:
    target = FakeTarget(*[["lifecycle 200 1000000"]] * 8)
    plan = TargetPlan(label="k", open=lambda: target, lanes=2)
    figures = Ceiling([target], [_scenario(1, 1)]).figures(plan, 100.0)
    assert target.unplayed == 0
    assert [argv[-1] for argv in target.started].count("beside") == 4
    assert [figure.value for figure in figures] == [0.5, 0.5]
    assert figures[0].detail.endswith("2 loops at once make 400 VMs/s, a ratio of 0.25")


def test_a_loop_that_fails_says_so() -> None:
    target = FakeTarget(["lifecycle: KVM_RUN: Bad address", Exit(1)])
    with pytest.raises(TargetError, match="ended with 1: lifecycle: KVM_RUN: Bad address"):
        Ceiling([target], [_scenario(1, 1)])
