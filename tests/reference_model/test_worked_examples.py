# SPDX-License-Identifier: GPL-2.0-only
"""Every worked example of the semantics, in every column of its table."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from reference_model.outcome import Observation
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import (
    Annotate,
    IsYoung,
    Map,
    MkOld,
    PgtableOp,
    PgtableScenario,
    RelaxPerms,
    Split,
    Unmap,
    WrProtect,
)
from reference_model.stage2_machine import predict_pgtable
from tests.reference_model.worked_examples import (
    BASE,
    COLUMNS,
    EXAMPLES,
    PAGE,
    Example,
    Outcome,
    build,
    check,
    expanded,
    leaves,
    pages,
    program,
)

ENV = Environment(fwb=True, tlb_range=True)
EVERY = tuple(PROFILES)
LATE = ("v6.12", "v7.2", "v7.3")
EARLY = ("v5.10", "seed-2021", "v6.1")
CASES = [
    pytest.param(example, column, id=f"{example.name}-{column}")
    for example in EXAMPLES
    for column in COLUMNS
]


def run(steps: list[PgtableOp], profile: str, env: Environment = ENV) -> list[Observation]:
    scenario = PgtableScenario(schema=1, id="worked", steps=tuple(steps), memcache=600)
    prediction = predict_pgtable(scenario, PROFILES[profile], env)
    assert prediction.skip == ""
    assert all(len(step.allowed) == 1 for step in prediction.steps)
    return [step.allowed[0] for step in prediction.steps]


def leaf_list(observation: Observation) -> list[tuple[int, int, int, str, int]]:
    assert isinstance(observation.leaves, tuple)
    return expanded(observation.leaves)


def tlbi(observation: Observation) -> dict[str, int]:
    assert isinstance(observation.tlbi, dict)
    return {kind: count for kind, count in observation.tlbi.items() if count}


@pytest.mark.parametrize(("example", "column"), CASES)
def test_row(example: Example, column: str) -> None:
    observations = run(program(example, column), COLUMNS[column][0])
    assert [seen.ret for seen in observations[:-1]] == [1 if step else 0 for step in _aged(example)]
    check(observations[-1], example.outcomes[column])


def _aged(example: Example) -> list[bool]:
    """Which steps before the last are the mkold (it returns 1, all others 0)."""
    return [False] * len(build(example.prior)) + [True] * example.aged


@pytest.mark.parametrize("column", COLUMNS)
def test_w22_physical_address_out_of_range(column: str) -> None:
    profile, flags = COLUMNS[column]
    op = Map(ipa=0, size=PAGE, pa=1 << 50, prot="rw", flags=flags)  # type: ignore[arg-type]
    [seen] = run([op], profile)
    assert seen.ret == 0
    cut = () if profile in ("v6.1", "seed-2021", "v6.12") else ((0, PAGE, 0, "rw", 0),)
    assert leaf_list(seen) == list(cut)
    assert seen.tables == 2


@pytest.mark.parametrize("column", COLUMNS)
def test_w24_repeat_after_w09(column: str) -> None:
    w09 = next(example for example in EXAMPLES if example.name == "W09")
    steps = program(w09, column)
    first, second = run([*steps, steps[-1]], COLUMNS[column][0])[-2:]
    again = w09.outcomes[column]
    check(second, Outcome(again.ret, again.leaves))
    assert second.leaves == first.leaves


@pytest.mark.parametrize("profile", EVERY)
def test_e22_unmap_one_page_of_a_block(profile: str) -> None:
    seen = run([*build("B2@0w"), Unmap(ipa=3 * PAGE, size=PAGE)], profile)[-1]
    assert (seen.ret, seen.leaves, seen.tables) == (0, (), 0)
    assert tlbi(seen) == ({"ipa": 1, "range": 1} if profile in LATE else {"ipa": 2})


@pytest.mark.parametrize("profile", LATE)
@pytest.mark.parametrize("missing", ["fwb", "tlb_range"])
def test_e22_without_fwb_or_range(profile: str, missing: str) -> None:
    env = Environment(fwb=missing != "fwb", tlb_range=missing != "tlb_range")
    seen = run([*build("B2@0w"), Unmap(ipa=3 * PAGE, size=PAGE)], profile, env)[-1]
    assert tlbi(seen) == {"ipa": 2}


@pytest.mark.parametrize("profile", EVERY)
def test_e23_unmap_page_after_page(profile: str) -> None:
    steps = [*build("0w 1w"), Unmap(ipa=0, size=PAGE), Unmap(ipa=PAGE, size=PAGE)]
    first, second = run(steps, profile)[-2:]
    assert leaf_list(first) == leaves("1w")
    assert (first.tables, second.tables, second.leaves) == (2, 0, ())
    if profile in LATE:
        assert (tlbi(first), tlbi(second)) == ({"range": 1}, {"ipa": 2, "range": 1})
    else:
        assert (tlbi(first), tlbi(second)) == ({"ipa": 1}, {"ipa": 3})


@pytest.mark.parametrize("profile", EVERY)
def test_f04_unmap_across_two_blocks(profile: str) -> None:
    seen = run([*build("B2@0w B2@200w"), Unmap(ipa=0x1FF000, size=2 * PAGE)], profile)[-1]
    assert (seen.leaves, seen.tables) == ((), 0)
    assert tlbi(seen) == ({"ipa": 1, "range": 1} if profile in LATE else {"ipa": 3})


@pytest.mark.parametrize("profile", EVERY)
def test_e24_wrprotect_crosses_holes(profile: str) -> None:
    seen = run([*build("0w 2wx"), WrProtect(ipa=0, size=4 * PAGE)], profile)[-1]
    assert (seen.ret, tlbi(seen)) == (0, {})
    assert leaf_list(seen) == leaves("0r 2rx")


@pytest.mark.parametrize("profile", EVERY)
def test_e26_relax_a_leaf_and_a_hole(profile: str) -> None:
    steps = [*build("0r"), RelaxPerms(ipa=0, prot="rw"), RelaxPerms(ipa=PAGE, prot="rw")]
    leaf, hole = run(steps, profile)[-2:]
    kind = "ipa_nsh" if profile in LATE else "ipa"
    assert (leaf.ret, tlbi(leaf)) == (0, {kind: 1})
    assert leaf_list(leaf) == leaf_list(hole) == leaves("0w")
    assert (hole.ret, tlbi(hole)) == (-11 if profile in LATE else 0, {kind: 1})


@pytest.mark.parametrize("profile", EVERY)
def test_f14_relax_one_page_of_a_block(profile: str) -> None:
    seen = run([*build("B2@0r"), RelaxPerms(ipa=7 * PAGE, prot="rw")], profile)[-1]
    assert seen.ret == 0
    assert leaf_list(seen) == leaves("B2@0w")


@pytest.mark.parametrize("profile", EVERY)
def test_e29_ageing_a_range(profile: str) -> None:
    steps = [
        *build("0w 1w"),
        MkOld(ipa=0, size=2 * PAGE),
        IsYoung(ipa=PAGE, size=PAGE),
        MkOld(ipa=0, size=2 * PAGE),
    ]
    aged, second_page, again = run(steps, profile)[-3:]
    whole = profile in LATE
    assert aged.leaves == (
        ((0, PAGE, BASE, "rw", 0, False, "normal", 2),)
        if whole
        else (
            (0, PAGE, BASE, "rw", 0, False, "normal", 1),
            (PAGE, PAGE, BASE + PAGE, "rw", 0, True, "normal", 1),
        )
    )
    assert (aged.ret, second_page.ret, again.ret) == (1, 0 if whole else 1, 0)


@pytest.mark.parametrize("profile", ["seed-2021", "v6.1", "v6.12"])
def test_e32_owner_then_map_then_unmap(profile: str) -> None:
    steps = [
        Annotate(ipa=0, size=2 * PAGE, owner=1),
        *build("0w"),
        Unmap(ipa=0, size=2 * PAGE),
    ]
    owned, mapped, gone = run(steps, profile)
    assert (owned.ret, owned.leaves, owned.annotations) == (0, (), ((0, PAGE, 0x4, 2),))
    assert leaf_list(mapped) == leaves("0w")
    assert (mapped.annotations, tlbi(mapped)) == (((PAGE, PAGE, 0x4, 1),), {})
    assert (gone.leaves, gone.annotations, gone.tables) == ((), (), 0)


def test_e32_type_1_is_refused_by_v7_2() -> None:
    [seen] = run([Annotate(ipa=0, size=2 * PAGE, owner=1)], "v7.2")
    assert (seen.ret, seen.annotations, seen.tables) == (-22, (), 0)


def test_types_2_and_3_with_annotation_bits_on_v7_2() -> None:
    steps: list[PgtableOp] = [
        Annotate(ipa=0, size=2 * PAGE, owner=2),
        Annotate(ipa=PAGE, size=PAGE, owner=0x1233),
        Annotate(ipa=0, size=PAGE, owner=0),
        Annotate(ipa=0, size=PAGE, owner=1 << 60 | 2),
    ]
    seen = run(steps, "v7.2")
    assert [step.ret for step in seen] == [0, 0, -22, -22]
    assert seen[0].annotations == ((0, PAGE, 2 << 60, 2),)
    assert seen[3].annotations == ((0, PAGE, 2 << 60, 1), (PAGE, PAGE, 3 << 60 | 0x1230, 1))


@pytest.mark.parametrize("profile", LATE)
def test_e35_split_one_block(profile: str) -> None:
    seen = run([*build("B2@0rx"), Split(ipa=0, size=1 << 21, memcache=1)], profile)[-1]
    assert (seen.ret, seen.alloc, tlbi(seen)) == (0, 1, {"ipa": 1})
    assert leaf_list(seen) == leaves("0-1ffrx")


@pytest.mark.parametrize("profile", LATE)
def test_e37_split_a_gigabyte_to_pages(profile: str) -> None:
    seen = run([*build("B1@0w"), Split(ipa=0, size=1 << 30, memcache=513)], profile)[-1]
    assert (seen.ret, seen.alloc, seen.tables, tlbi(seen)) == (0, 513, 513, {"ipa": 1})
    assert seen.leaves == ((0, PAGE, BASE, "rw", 0, True, "normal", 262144),)


@pytest.mark.parametrize("profile", LATE)
def test_e36_split_a_gigabyte_with_one_page(profile: str) -> None:
    seen = run([*build("B1@0w"), Split(ipa=0, size=1 << 30, memcache=1)], profile)[-1]
    assert (seen.ret, seen.tables) == (-12, 1)
    assert seen.leaves == ((0, 1 << 21, BASE, "rw", 0, True, "normal", 512),)


@pytest.mark.parametrize("profile", LATE)
def test_e39_split_runs_out_at_the_second_block(profile: str) -> None:
    steps = [*build("B2@0w B2@200w"), Split(ipa=0, size=1 << 22, memcache=1)]
    seen = run(steps, profile)[-1]
    assert (seen.ret, seen.alloc) == (-12, 1)
    assert leaf_list(seen) == leaves("0-1ffw B2@200w")


@pytest.mark.parametrize("profile", LATE)
def test_f01_split_forgets_memory_type_and_age(profile: str) -> None:
    block = Map(ipa=0, size=1 << 21, pa=0, prot="rw-device", sw=3)
    steps: list[PgtableOp] = [
        block,
        MkOld(ipa=0, size=PAGE),
        Split(ipa=0, size=PAGE),
    ]
    before, after = run(steps, profile)[-2:]
    assert before.leaves == ((0, 1 << 21, 0, "rw", 3, False, "device", 1),)
    assert after.leaves == ((0, PAGE, 0, "rw", 3, True, "normal", 512),)


@pytest.mark.parametrize("profile", EVERY)
def test_e46_remap_into_a_second_block(profile: str) -> None:
    steps = [*build("B2@0w B2@200w"), pages("0-200", "rw", pa=0x8000_0000)]
    seen = run(steps, profile)[-1]
    assert (seen.ret, tlbi(seen)) == (0, {"ipa": 2})
    assert seen.leaves == (
        (0, 1 << 21, 0x8000_0000, "rw", 0, True, "normal", 1),
        (1 << 21, PAGE, 0x8020_0000, "rw", 0, True, "normal", 1),
    )


@pytest.mark.parametrize("profile", EVERY)
def test_f17_collapse_over_identical_pages_is_no_eagain(profile: str) -> None:
    steps = [*build("0-1ffw"), pages("0-1ff", "rw")]
    seen = run(steps, profile)[-1]
    assert seen.ret == 0
    assert leaf_list(seen) == leaves("B2@0w")
    assert seen.tables == 1


@pytest.mark.parametrize("profile", LATE)
def test_g01_unmap_of_less_than_a_page_invalidates_nothing(profile: str) -> None:
    seen = run([*build("0w 1w"), Unmap(ipa=0, size=1)], profile)[-1]
    assert leaf_list(seen) == leaves("1w")
    assert tlbi(seen) == {}


@pytest.mark.parametrize("profile", LATE)
def test_g03_unmap_of_nothing_invalidates_the_range(profile: str) -> None:
    assert tlbi(run([Unmap(ipa=0, size=PAGE)], profile)[0]) == {"range": 1}
    # MAX_TLBI_RANGE_PAGES is 2^21 pages: 8 GiB a call.
    assert tlbi(run([Unmap(ipa=0, size=1 << 34)], profile)[0]) == {"range": 2}


@pytest.mark.parametrize("profile", EARLY)
def test_unmap_of_nothing_is_silent_before(profile: str) -> None:
    assert tlbi(run([Unmap(ipa=0, size=PAGE)], profile)[0]) == {}


@pytest.mark.parametrize("profile", ["seed-2021", "v6.1"])
def test_icache_callback_for_owners_is_a_v6_1_quirk(profile: str) -> None:
    [seen] = run([Annotate(ipa=0, size=3 * PAGE, owner=1)], profile)
    assert seen.cmo == {"dcache": 0, "icache": 3}


@pytest.mark.parametrize("profile", ["v6.12"])
def test_no_icache_callback_for_owners_since(profile: str) -> None:
    [seen] = run([Annotate(ipa=0, size=3 * PAGE, owner=1)], profile)
    assert seen.cmo == {"dcache": 0, "icache": 0}


@pytest.mark.parametrize("profile", EVERY)
def test_cmo_of_map(profile: str) -> None:
    seen = run([pages("0-3", "rwx")], profile)[0]
    expected = UNSET if profile == "v5.10" else {"dcache": 4, "icache": 4}
    assert seen.cmo == expected
