# SPDX-License-Identifier: GPL-2.0-only
"""All transitions there are: each is reached as it says, and random walks meet no others."""

from __future__ import annotations

import pytest

from harness.generate import generate
from reference_model.profiles import PROFILES, Environment, SemanticsProfile
from reference_model.scenario import PgtableScenario
from reference_model.transition_reasons import NO_SCENARIO, why_not
from reference_model.transition_universe import Aim, reached, universe
from reference_model.transitions import Transition, covered

ENV = Environment()
GRANULE_16K = Environment(page_shift=14)


def known(profile: str, env: Environment = ENV) -> dict[Transition, Aim]:
    return universe(PROFILES[profile], env)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_campaign_meets_no_transition_that_no_case_reaches(profile: str) -> None:
    scenarios = [
        scenario
        for scenario in generate("pgtable", 250, 17, PROFILES[profile], ENV)
        if isinstance(scenario, PgtableScenario)
    ]
    met = covered(scenarios, PROFILES[profile], ENV)
    assert len(met) > len(known(profile)) // 2
    assert {str(one) for one in met if one not in known(profile)} == set()


def test_reached_counts_known_transitions_only() -> None:
    profile = PROFILES["v5.10"]
    some = list(known("v5.10"))[:3]
    counts = dict.fromkeys(some, 1) | {Transition("map", "nonsense", "", "", "0"): 9}
    assert reached(counts, profile, ENV) == (3, len(known("v5.10")))
    assert reached({}, profile, ENV)[0] == 0


def test_the_order_is_the_same_every_time() -> None:
    universe.cache_clear()
    once = list(known("v6.1"))
    universe.cache_clear()
    assert list(known("v6.1")) == once


def everything() -> set[Transition]:
    return {one for profile in PROFILES for one in known(profile)}


@pytest.mark.parametrize("profile", PROFILES)
def test_what_another_kernel_shows_and_this_one_not_has_a_reason(profile: str) -> None:
    unexplained = [
        str(one)
        for one in everything() - set(known(profile))
        if not why_not(one, PROFILES[profile].stage2)
    ]
    assert unexplained == []


def test_a_reason_names_a_knob() -> None:
    knobs = set(PROFILES["v6.12"].stage2.__struct_fields__)
    for profile in PROFILES.values():
        for one in everything() - set(known(profile.name)):
            names, _, text = why_not(one, profile.stage2).partition(": ")
            assert set(names.split(", ")) <= knobs
            assert text
    assert all(what and why for what, why in NO_SCENARIO)


def has(profile: SemanticsProfile, op: str, env: Environment = ENV, **words: str) -> bool:
    return any(
        one.op == op and all(word in getattr(one, key) for key, word in words.items())
        for one in universe(profile, env)
    )


def test_kernels_show_what_their_knobs_say() -> None:
    v5_10, v6_1, v6_12, v7_2 = (PROFILES[name] for name in ("v5.10", "v6.1", "v6.12", "v7.2"))
    assert not has(v5_10, "map", outcome="-EAGAIN")
    assert has(v6_1, "map", found="same", outcome="-EAGAIN")
    assert not has(v6_1, "split")
    assert has(v6_12, "map", found="same", outcome="0 kept")
    assert has(v6_12, "map", asked="handle_fault", outcome="-EAGAIN")
    assert not has(v6_12, "map", asked="ignore_eagain")
    assert has(v7_2, "map", asked="ignore_eagain", found="same", outcome="0 kept")
    assert has(v7_2, "annotate", asked="refused")
    assert not has(v5_10, "annotate")
    for profile in (v5_10, v6_1, v6_12, v7_2):
        assert has(profile, "map", found="table", outcome="collapsed")
        assert has(profile, "map", shape="block1", outcome="-ENOMEM")
        assert not has(profile, "map", GRANULE_16K, shape="block1")
        assert has(profile, "map", GRANULE_16K, shape="block2")
