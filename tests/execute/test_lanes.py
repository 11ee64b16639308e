# SPDX-License-Identifier: GPL-2.0-only
"""Several programs at once: every scenario is run once, and a death is put down to one of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execute import Lanes, run_batch
from harness.execute.lanes import shares
from harness.targets import Condition, Health
from harness.vocabulary import RunStatus, ScenarioRun
from tests.execute.fake import (
    PANIC,
    RESET,
    WARN,
    Exit,
    FakeTarget,
    Log,
    Lost,
    Script,
    Silence,
    hello,
    program,
    scenario,
    start_of,
    statuses,
)

pytestmark = pytest.mark.usefixtures("no_delays")

#: When WARN was logged, in microseconds.
OF_WARN = (5_000_000, 5_000_002)


def play(
    target: FakeTarget, ids: str, lanes: Lanes | None = None, one_lane: Sequence[int] = ()
) -> tuple[dict[str, ScenarioRun], list[str]]:
    """A batch of scenarios with names of one letter, in two lanes; and what was noticed."""
    notices: list[str] = []
    runs = list(
        run_batch(
            target,
            program(*ids),
            scenario_timeout=0.1,
            lanes=lanes or Lanes(2),
            one_lane=one_lane,
            on_event=notices.append,
        )
    )
    assert len({run.id for run in runs}) == len(runs), "a scenario was given out twice"
    assert not target.unplayed
    assert all(command.closed for command in target.commands)
    return {run.id: run for run in runs}, notices


def lanes_of(target: FakeTarget) -> list[list[str]]:
    """What the first two programs were started with: threads may start them in any order."""
    return sorted(target.arguments()[:2])


@given(
    st.lists(st.integers(0, 500), unique=True).map(sorted),
    st.integers(1, 9),
    st.sets(st.integers(0, 500)),
)
def test_shares_are_the_whole_each_once_and_what_is_scarce_is_in_one(
    indices: list[int], lanes: int, first: set[int]
) -> None:
    parts = shares(indices, lanes, first)
    assert sorted(index for part in parts for index in part) == indices
    assert all(part == sorted(part) and part for part in parts)
    assert sum(1 for part in parts if first.intersection(part)) <= 1
    sizes = [len(part) for part in parts]
    scarce = len(first.intersection(indices))
    assert not sizes or max(sizes) <= max(scarce, -(-len(indices) // lanes))


def test_two_programs_share_the_scenarios() -> None:
    target = FakeTarget(
        [*hello(), *scenario(0, "a"), *scenario(2, "c", status="skip"), Exit(0)],
        [*hello(), *scenario(1, "b"), *scenario(3, "d"), Exit(0)],
        lanes=2,
    )
    runs, notices = play(target, "abcd")
    assert statuses(runs) == "a:done b:done c:skip d:done"
    assert lanes_of(target) == [["--lane", "0", "--only", "0,2"], ["--lane", "1", "--only", "1,3"]]
    assert (target.puts, target.replaced, notices) == (1, 0, [])


def test_what_is_scarce_runs_in_one_lane() -> None:
    target = FakeTarget(
        [*scenario(1, "b"), *scenario(3, "d"), Exit(0)],
        [*scenario(0, "a"), *scenario(2, "c"), Exit(0)],
        lanes=2,
    )
    play(target, "abcd", one_lane=[1, 3])
    assert lanes_of(target) == [["--lane", "0", "--only", "1,3"], ["--lane", "1", "--only", "0,2"]]


def test_one_scenario_needs_no_second_lane() -> None:
    target = FakeTarget([*scenario(0, "a"), Exit(0)])
    runs, _ = play(target, "a")
    assert statuses(runs) == "a:done"
    assert target.arguments() == [[]]


def test_what_a_program_leaves_is_run_alone() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), Exit(0)],
        [*scenario(1, "b"), Exit(0)],
        [*scenario(2, "c"), *scenario(3, "d"), Exit(0)],
        lanes=2,
    )
    runs, _ = play(target, "abcd")
    assert statuses(runs) == "a:done b:done c:done d:done"
    assert target.arguments()[2] == ["--start", "2"]


def test_a_panic_is_repeated_lane_by_lane_until_it_comes_again() -> None:
    """Both lanes are at a scenario when the kernel dies; the second one is guilty."""
    dies: Script = [*start_of(1, "b"), Log(PANIC), RESET]
    target = FakeTarget(
        [*start_of(0, "a"), Silence(Condition(Health.RESET, "the guest reset"))],
        dies,
        [*scenario(0, "a"), *scenario(2, "c"), Exit(0)],
        [*start_of(1, "b", steps=3), Log(PANIC), RESET],
        [*scenario(0, "a"), Exit(0)],
        [*scenario(3, "d"), Exit(0)],
        lanes=2,
    )
    lanes = Lanes(2)
    runs, notices = play(target, "abcd", lanes)
    assert statuses(runs) == "a:done b:crash c:done d:done"
    assert "happened again when run alone, in step 3" in runs["b"].detail
    assert lanes.count == 1, "and from then on one at a time"
    assert any("one program at a time" in text for text in notices)


def test_a_panic_that_comes_no_more_is_said_of_all_that_ran() -> None:
    target = FakeTarget(
        [*start_of(0, "a"), Silence(Condition(Health.RESET, "the guest reset"))],
        [*start_of(1, "b"), Log(PANIC), RESET],
        [*scenario(0, "a"), *scenario(2, "c"), Exit(0)],
        [*scenario(1, "b"), *scenario(3, "d"), Exit(0)],
        lanes=2,
    )
    runs, _ = play(target, "abcd")
    assert statuses(runs) == "a:crash b:crash c:done d:done"
    assert "did not happen again when run alone" in runs["a"].detail
    assert runs["a"].detail.endswith("; beside it ran b")
    assert runs["b"].detail.endswith("; beside it ran a")


def test_a_program_that_hangs_under_a_living_kernel_is_its_own_doing() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), *scenario(2, "c"), Exit(0)],
        [*start_of(1, "b"), Silence()],
        [*scenario(3, "d"), Exit(0)],
        lanes=2,
    )
    runs, _ = play(target, "abcd")
    assert statuses(runs) == "a:done b:hang c:done d:done"


def test_a_lost_link_costs_what_ran_there_alone() -> None:
    target = FakeTarget(
        [*scenario(0, "a"), *scenario(2, "c"), Exit(0)],
        [*start_of(1, "b"), Lost(Condition(Health.ALIVE))],
        [*scenario(3, "d"), Exit(0)],
        lanes=2,
    )
    runs, _ = play(target, "abcd")
    assert statuses(runs) == "a:done b:infra c:done d:done"
    assert runs["a"].status is RunStatus.DONE


def test_a_splat_that_two_saw_is_looked_for_in_each_alone() -> None:
    target = FakeTarget(
        [*scenario(0, "a", warned=OF_WARN), *scenario(2, "c"), Log(WARN), Exit(0)],
        [*scenario(1, "b", warned=OF_WARN), *scenario(3, "d"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*scenario(1, "b"), Log(WARN), Exit(0)],
        lanes=2,
    )
    runs, _ = play(target, "abcd")
    assert statuses(runs) == "a:done b:crash c:done d:done"
    assert "again when run alone" in runs["b"].detail
    assert target.arguments()[2:] == [["--only", "0"], ["--only", "1"]]


def test_a_splat_that_two_saw_and_that_comes_no_more_is_said_of_both() -> None:
    target = FakeTarget(
        [*scenario(0, "a", warned=OF_WARN), *scenario(2, "c"), Log(WARN), Exit(0)],
        [*scenario(1, "b", warned=OF_WARN), *scenario(3, "d"), Exit(0)],
        [*scenario(0, "a"), Exit(0)],
        [*scenario(1, "b"), Exit(0)],
        lanes=2,
    )
    runs, _ = play(target, "abcd")
    assert statuses(runs) == "a:crash b:crash c:done d:done"
    assert "or it belongs to b" in runs["a"].detail
