# SPDX-License-Identifier: GPL-2.0-only
"""Generated pgtable scenarios: their own kernel has all they ask for, and stays unharmed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.generate import generate
from harness.generate.pgtable import generate_pgtable
from harness.generate.pgtable_safe import harmless
from reference_model import scenario as sc
from reference_model.invariants import violations
from reference_model.language import dump_yaml, load_text
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import PgtableOp, PgtableScenario
from reference_model.stage2_machine import Stage2Machine, predict_pgtable
from reference_model.transition_universe import universe
from reference_model.transitions import covered
from reference_model.validate import check

ENVS = (
    Environment(),
    Environment(fwb=True, tlb_range=True),
    Environment(page_shift=14),
    Environment(page_shift=16, ipa_limit=44),
    Environment(ipa_limit=36),
    Environment(lpa2=True, ipa_limit=52),
)
#: Each profile and each environment comes up; all pairs would take minutes.
PAIRS = (
    ("v5.10", ENVS[0]),
    ("v5.10", ENVS[3]),
    ("seed-2021", ENVS[4]),
    ("v6.1", ENVS[5]),
    ("v6.12", ENVS[1]),
    ("v7.2", ENVS[2]),
    ("v7.3", ENVS[0]),
)
ALL_OPS = {
    "map", "unmap", "wrprotect", "relax_perms", "mkyoung", "mkold", "is_young", "flush",
    "annotate", "split", "get_leaf", "destroy",
}  # fmt: skip
LACKING = {"v5.10": {"annotate", "split", "get_leaf"}, "v6.1": {"split"}, "seed-2021": {"split"}}


def some(profile: str, count: int, env: Environment = ENVS[0]) -> list[PgtableScenario]:
    return [generate_pgtable(3, index, PROFILES[profile], env) for index in range(count)]


def machine_for(scenario: PgtableScenario, profile: str, env: Environment) -> Stage2Machine:
    return Stage2Machine(scenario.ipa_bits, scenario.memcache, PROFILES[profile].stage2, env)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    index=st.integers(0, 100_000),
    pair=st.sampled_from(PAIRS),
)
def test_any_scenario_is_valid_runs_and_keeps_the_invariants(
    seed: int, index: int, pair: tuple[str, Environment]
) -> None:
    profile, env = PROFILES[pair[0]], pair[1]
    scenario = generate_pgtable(seed, index, profile, env)
    assert check(scenario) is None
    assert load_text(dump_yaml(scenario), "generated") == [scenario]
    assert generate_pgtable(seed, index, profile, env) == scenario
    prediction = predict_pgtable(scenario, profile, env)
    assert prediction.skip == ""
    observations = [step.allowed[0] for step in prediction.steps]
    assert violations(scenario, observations, env) == []


@pytest.mark.parametrize(("profile", "env"), PAIRS)
def test_every_step_is_harmless_where_it_stands(profile: str, env: Environment) -> None:
    for scenario in some(profile, 60, env):
        machine = machine_for(scenario, profile, env)
        for op in scenario.steps:
            assert harmless(machine.state, op), (scenario.id, op)
            machine.step(op)


def test_number_i_depends_on_nothing_but_its_arguments() -> None:
    profile, env = PROFILES["v7.2"], ENVS[0]
    forward = list(generate("pgtable", 30, 5, profile, env))
    assert [generate_pgtable(5, index, profile, env) for index in reversed(range(30))] == list(
        reversed(forward)
    )
    assert forward != list(generate("pgtable", 30, 6, profile, env))
    assert forward[0].steps != generate_pgtable(5, 0, PROFILES["v6.12"], env).steps
    assert forward[0].steps != generate_pgtable(5, 0, profile, ENVS[1]).steps


def test_the_scenarios_of_a_seed_do_not_change_unnoticed() -> None:
    first = next(generate("pgtable", 1, 1, PROFILES["v6.12"], Environment()))
    assert first.id == "pgtable-v6.12-4k-s1-00000"
    assert isinstance(first, PgtableScenario)
    assert first.granule == "4K"
    assert [op.name for op in first.steps][:4] == ["map", "annotate", "annotate", "map"]


def test_without_profile_and_environment_there_are_defaults() -> None:
    assert list(generate("pgtable", 2, 1)) == list(
        generate("pgtable", 2, 1, PROFILES["v6.12"], Environment())
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_every_operation_of_the_kernel_comes_up(profile: str) -> None:
    seen = {op.name for scenario in some(profile, 150) for op in scenario.steps}
    assert seen == ALL_OPS - LACKING.get(profile, set())


@pytest.mark.parametrize("profile", ["v6.12", "v7.2"])
def test_the_corners_that_a_generator_must_find(profile: str) -> None:
    env = Environment()
    corners = set()
    for scenario in some(profile, 150):
        machine = machine_for(scenario, profile, env)
        for op in scenario.steps:
            leaves = machine.state
            corners |= set(_corners(op, leaves.geometry.page_size, 1 << scenario.ipa_bits))
            machine.step(op)
        corners.add(f"root of {machine.state.geometry.pgd_pages}")
    assert corners >= {
        "no cache", "empty cache", "one page", "unaligned ipa", "unaligned size", "unaligned pa",
        "size 0", "reaches the limit", "passes the limit", "2M block", "1G block", "pa beyond",
        "device", "nc", "no access", "refused", "sw", "root of 1", "root of 2", "root of 16",
    }  # fmt: skip


def _corners(op: PgtableOp, page: int, limit: int) -> list[str]:
    found = []
    ipa, size = getattr(op, "ipa", 0), getattr(op, "size", page)
    if ipa % page:
        found.append("unaligned ipa")
    if size % page:
        found.append("unaligned size")
    if size == 0:
        found.append("size 0")
    if ipa + size == limit:
        found.append("reaches the limit")
    if ipa < limit < ipa + size:
        found.append("passes the limit")
    if isinstance(op, sc.Map):
        caches = {0: "empty cache", 1: "one page", None: "no cache"}
        if op.memcache is None or isinstance(op.memcache, int):
            found.append(caches.get(op.memcache, "cache"))
        if op.pa % page:
            found.append("unaligned pa")
        if op.pa + op.size > 1 << 48:
            found.append("pa beyond")
        for size_of, name in ((1 << 21, "2M block"), (1 << 30, "1G block")):
            if op.size == size_of and not (op.ipa | op.pa) % size_of:
                found.append(name)
        letters, _, kind = op.prot.partition("-")
        found += [kind] if kind else []
        found += ["no access"] if not letters else []
        found += ["refused"] if kind and "x" in letters else []
        found += ["sw"] if op.sw else []
    return found


def test_leaves_stay_few_enough_to_be_read_back_after_every_step() -> None:
    env, profile = Environment(), PROFILES["v6.12"]
    most = []
    for scenario in some("v6.12", 200):
        steps = predict_pgtable(scenario, profile, env).steps
        seen = [one.leaves for step in steps for one in step.allowed]
        most.append(max(sum(run[7] for run in runs) for runs in seen if runs or runs == ()))
    most.sort()
    assert most[len(most) * 9 // 10] <= 5_000
    assert most[-1] <= 4 << 18


@pytest.mark.parametrize("profile", ["v5.10", "v6.1"])
def test_a_campaign_reaches_every_transition(profile: str) -> None:
    env = Environment()
    known = universe(PROFILES[profile], env)
    counts = covered(some(profile, 300), PROFILES[profile], env)
    missing = [str(one) for one in known if one not in counts]
    assert len(missing) <= 2, missing


def harm(profile: str, env: Environment, op: PgtableOp) -> bool:
    return not harmless(Stage2Machine(48, 64, PROFILES[profile].stage2, env).state, op)


def test_what_would_warn_or_hang_is_not_harmless() -> None:
    plain, deferring = ENVS[0], ENVS[1]
    beyond = sc.MkOld(ipa=1 << 48, size=0x1000)
    assert harm("v6.12", plain, beyond)
    assert harm("v7.2", plain, sc.IsYoung(ipa=(1 << 48) - 0x1000, size=0x2000))
    assert not harm("v6.1", plain, beyond)
    everything = sc.Unmap(ipa=0, size=1 << 48)
    assert harm("v6.12", deferring, everything)
    assert harm("v7.2", deferring, sc.Unmap(ipa=0, size=1 << 63))
    assert not harm("v6.12", plain, everything)
    assert not harm("v6.1", deferring, everything)
    assert harm("v6.12", plain, sc.Map(ipa=0, size=1 << 40, pa=0x1000, prot="rw"))
    assert harm("v6.12", plain, sc.Annotate(ipa=0, size=1 << 40, owner=1))
    assert not harm("v6.12", plain, sc.Map(ipa=0, size=1 << 49, pa=0, prot="rw"))
