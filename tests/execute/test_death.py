# SPDX-License-Identifier: GPL-2.0-only
"""Whose failure it was, from every end, condition and log."""

from __future__ import annotations

import itertools

import pytest

from harness.execute.death import Death, judge, with_output
from harness.execute.session import End, Ended
from harness.targets import Condition, Health, find_splats
from harness.vocabulary import RunStatus
from tests.execute.fake import PANIC, WARN

STALL = ("[ 1.0] rcu: INFO: rcu_sched self-detected stall on CPU",)
BAD_ENDS = (End.EXIT, End.SILENT, End.LOST)


def judged(end: End, health: Health, log: tuple[str, ...] = ()) -> Death:
    return judge(Ended(end, "how it ended", 9), Condition(health, "as found"), find_splats(log))


@pytest.mark.parametrize(("end", "health"), list(itertools.product(BAD_ENDS, Health)))
def test_a_fatal_splat_is_a_crash_whatever_else_is_known(end: End, health: Health) -> None:
    found = judged(end, health, PANIC)
    assert found.status is RunStatus.CRASH
    assert found.detail.startswith("Unable to handle kernel NULL pointer dereference")
    assert found.replace
    assert found.doubtful


@pytest.mark.parametrize(("end", "health"), list(itertools.product(BAD_ENDS, Health)))
def test_a_warning_is_a_crash_too(end: End, health: Health) -> None:
    assert judged(end, health, WARN).status is RunStatus.CRASH


@pytest.mark.parametrize(("end", "health"), list(itertools.product(BAD_ENDS, Health)))
def test_without_a_word_from_the_kernel(end: End, health: Health) -> None:
    found = judged(end, health)
    expected = {
        Health.RESET: RunStatus.CRASH,
        Health.HUNG: RunStatus.HANG,
        Health.GONE: RunStatus.INFRA,
        Health.LOST: RunStatus.INFRA,
        Health.BROKEN: RunStatus.INFRA,
        Health.ALIVE: RunStatus.HANG if end is End.SILENT else RunStatus.INFRA,
    }[health]
    assert found.status is expected
    assert "as found" in found.detail
    assert "\n" not in found.detail


@pytest.mark.parametrize("health", Health)
def test_only_a_live_target_with_an_ended_program_goes_on_as_it_is(health: Health) -> None:
    assert judged(End.EXIT, health).replace is (health is not Health.ALIVE)
    assert judged(End.SILENT, health).replace
    assert judged(End.LOST, health).replace


def test_a_reported_stall_is_the_kernels_word_for_a_hang() -> None:
    assert judged(End.SILENT, Health.HUNG, STALL).status is RunStatus.HANG
    assert judged(End.SILENT, Health.ALIVE, STALL).status is RunStatus.HANG
    assert judged(End.LOST, Health.RESET, STALL).status is RunStatus.CRASH
    assert "self-detected stall" in judged(End.SILENT, Health.HUNG, STALL).detail


def test_what_the_program_said_last() -> None:
    found = with_output(judged(End.EXIT, Health.ALIVE), ["one", "Exec format error"])
    assert found.detail.endswith("; it said: Exec format error")
