# SPDX-License-Identifier: GPL-2.0-only
"""The reducer: smaller, the same finding, the same result each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.generate import generate
from harness.shrink import ModelOracle, cost, reduce_scenario, to_scenario
from harness.shrink.edits import DROP, PASSES, apply, to_tree
from harness.shrink.oracles import model_signature
from reference_model import scenario as sc
from reference_model.profiles import PROFILES
from reference_model.scenario import GuestScenario, PgtableScenario, RaceScenario, Scenario
from reference_model.validate import check
from tests.asif import DIRTY, ENV, OVER


class Predicate:
    """An oracle that is a function; keeps what it was asked."""

    greedy = False
    batch = 20

    def __init__(self, holds: Callable[[Scenario], bool], *, greedy: bool = False) -> None:
        self._holds = holds
        self.greedy = greedy
        self.asked: list[Scenario] = []

    def shows(self, candidates: Sequence[Scenario]) -> list[bool]:
        assert len(candidates) <= 20 or not self.greedy
        self.asked += candidates
        return [self._holds(scenario) for scenario in candidates]


def unmaps(count: int) -> PgtableScenario:
    steps = tuple(sc.Unmap(ipa=0x8000_0000 + (at << 21), size=0x5000) for at in range(count))
    return PgtableScenario(schema=1, id="many", title="many", steps=steps)


def addresses(scenario: Scenario) -> set[int]:
    return {step.ipa for step in scenario.steps if isinstance(step, sc.Unmap)}


@pytest.mark.parametrize("wanted", [{0}, {39}, {3, 17}, {0, 20, 39}])
def test_only_the_steps_that_matter_are_left(wanted: set[int]) -> None:
    places = {0x8000_0000 + (at << 21) for at in wanted}
    oracle = Predicate(lambda scenario: places <= addresses(scenario))
    made = reduce_scenario(unmaps(40), oracle)
    assert addresses(made.scenario) == places
    assert len(made.scenario.steps) == len(places)
    assert made.finished
    assert len(oracle.asked) == made.tried < 2_000


def test_the_same_input_gives_the_same_result() -> None:
    def run() -> tuple[Scenario, int]:
        made = reduce_scenario(unmaps(30), Predicate(lambda one: len(one.steps) >= 3))
        return made.scenario, made.tried

    assert run() == run()


def test_no_single_edit_makes_the_result_smaller() -> None:
    def holds(scenario: Scenario) -> bool:
        return sum(step.size > 0x1800 for step in scenario.steps if isinstance(step, sc.Unmap)) > 1

    made = reduce_scenario(unmaps(12), Predicate(holds))
    tree = to_tree(made.scenario)
    for make in PASSES:
        for edit in make(tree):
            smaller = apply(tree, dict(edit))
            candidate = to_scenario(smaller)
            if candidate is not None and cost(smaller) < cost(tree):
                assert not holds(candidate)


def test_tries_are_a_limit_that_is_told() -> None:
    oracle = Predicate(lambda scenario: len(scenario.steps) > 2)
    made = reduce_scenario(unmaps(40), oracle, tries=30)
    assert not made.finished
    assert len(oracle.asked) <= 30
    assert len(made.scenario.steps) > 2


def test_where_each_yes_kills_the_kernel_no_more_is_asked_after_one() -> None:
    yes: list[int] = []

    def holds(scenario: Scenario) -> bool:
        shown = 0x8000_0000 + (7 << 21) in addresses(scenario)
        if shown:
            yes.append(1)
        return shown

    made = reduce_scenario(unmaps(20), Predicate(holds, greedy=True))
    assert len(made.scenario.steps) == 1


def test_flags_vcpus_slots_and_values_go() -> None:
    start = GuestScenario(
        schema=1,
        id="g",
        vm=sc.VmConfig(vcpus=4, manual_protect=True),
        steps=(
            sc.SlotAdd(slot=7, gpa=0x8000_0000, size=0x20_0000, flags=("log_dirty",),
                       backing=sc.Backing(prefill=True)),
            sc.SlotAdd(slot=9, gpa=0xA000_0000, size=0x20_0000),
            sc.Write(vcpu=3, gpa=0x8001_3000, value=0x1234_5678),
            sc.Read(vcpu=2, gpa=0x8001_3000),
        ),
    )  # fmt: skip

    def holds(scenario: Scenario) -> bool:
        names = [step.name for step in scenario.steps]
        return "slot_add" in names and "write" in names

    made = reduce_scenario(start, Predicate(holds)).scenario
    assert isinstance(made, GuestScenario)
    assert made.vm == sc.VmConfig()
    add, write = made.steps
    assert isinstance(add, sc.SlotAdd)
    assert isinstance(write, sc.Write)
    assert (add.slot, add.flags, add.backing) == (0, (), sc.Backing())
    assert (write.vcpu, write.value) == (0, 0)


def test_a_block_that_need_not_be_parallel_is_unrolled() -> None:
    start = RaceScenario(
        schema=1,
        id="r",
        vm=sc.VmConfig(vcpus=2),
        steps=(
            DIRTY.steps[0],
            sc.Parallel(
                parallel=((sc.Write(gpa=0x8000_3000, value=1),),
                          (sc.Write(vcpu=1, gpa=0x8000_3000, value=2),)),
                repeat=50,
            ),
        ),
    )  # fmt: skip

    def holds(scenario: Scenario) -> bool:
        ops = [
            op
            for step in scenario.steps
            for op in ((o for branch in step.parallel for o in branch)
                       if isinstance(step, sc.Parallel) else (step,))
        ]  # fmt: skip
        return any(isinstance(op, sc.Write) for op in ops)

    made = reduce_scenario(start, Predicate(holds)).scenario
    assert [step.name for step in made.steps] == ["write"]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_a_tree_is_its_scenario_and_every_edit_gives_a_scenario_or_none(seed: int) -> None:
    suite = ("pgtable", "guest")[seed % 2]
    (scenario,) = generate(suite, 1, seed, PROFILES["v6.12"], ENV)
    tree = to_tree(scenario)
    again = to_scenario(tree)
    assert again is not None
    assert again.steps == scenario.steps
    for make in PASSES:
        for number, edit in enumerate(make(tree)):
            if number > 20:
                break
            candidate = to_scenario(apply(tree, dict(edit)))
            assert candidate is None or check(candidate) is None


def test_edits_name_places_of_the_original() -> None:
    tree = to_tree(unmaps(4))
    made = apply(tree, {("steps", 0): DROP, ("steps", 2): DROP, ("steps", 3, "size"): 0x1000})
    assert [step["ipa"] for step in made["steps"]] == [0x8020_0000, 0x8060_0000]
    assert made["steps"][1]["size"] == 0x1000
    assert len(tree["steps"]) == 4


def forty(belief: str, truth: str, seed: int) -> PgtableScenario | None:
    """Forty steps and more, in which two profiles differ."""
    drawn = list(generate("pgtable", 3, seed, PROFILES[belief], ENV))
    steps = [step for scenario in drawn for step in scenario.steps if step.name != "destroy"]
    made = PgtableScenario(schema=1, id=f"forty-{seed}", steps=tuple(steps))  # type: ignore[arg-type]
    return made if model_signature(made, PROFILES[belief], PROFILES[truth], ENV) else None


@pytest.mark.parametrize("truth", ["v6.12", "v7.2"])
def test_forty_steps_end_in_four_at_most_and_show_the_same(truth: str) -> None:
    belief = "v6.1"
    done = 0
    for seed in range(40):
        start = forty(belief, truth, seed)
        if start is None or len(start.steps) < 40:
            continue
        wanted = model_signature(start, PROFILES[belief], PROFILES[truth], ENV)
        assert wanted is not None
        made = reduce_scenario(start, ModelOracle(PROFILES[belief], PROFILES[truth], ENV, wanted))
        assert len(made.scenario.steps) <= 4, made.scenario
        shown = model_signature(made.scenario, PROFILES[belief], PROFILES[truth], ENV)
        assert wanted.covers(shown)
        done += 1
        if done == 3:
            break
    assert done == 3


def test_an_address_and_its_output_move_together() -> None:
    far = PgtableScenario(
        schema=1,
        id="far",
        steps=(
            sc.Map(ipa=0, size=0x10_0000, pa=0, prot="rw"),
            sc.Map(ipa=0xB_3000, size=0x1000, pa=0xB_3000, prot="rw"),
        ),
    )
    wanted = model_signature(far, PROFILES["v6.1"], PROFILES["v6.12"], ENV)
    assert wanted is not None
    oracle = ModelOracle(PROFILES["v6.1"], PROFILES["v6.12"], ENV, wanted)
    made = reduce_scenario(far, oracle).scenario
    first, second = made.steps
    assert isinstance(first, sc.Map)
    assert first == second
    assert (first.ipa, first.size, first.pa) == (0, 0x1000, 0)


def test_ranges_stay_made_of_pages() -> None:
    wanted = model_signature(OVER, PROFILES["v6.1"], PROFILES["v6.12"], ENV)
    assert wanted is not None
    made = reduce_scenario(OVER, ModelOracle(PROFILES["v6.1"], PROFILES["v6.12"], ENV, wanted))
    for step in made.scenario.steps:
        assert isinstance(step, sc.Map)
        assert step.size % 0x1000 == 0 < step.size
        assert step.ipa % 0x1000 == 0
