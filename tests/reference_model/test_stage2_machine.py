# SPDX-License-Identifier: GPL-2.0-only
"""Single behaviours of the pgtable suite: what is skipped, memory, ranges, granules, counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reference_model.outcome import LeafRun, Observation
from reference_model.pgtable import Leaf, Link
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import (
    Annotate,
    Destroy,
    Flush,
    GetLeaf,
    IsYoung,
    Map,
    MkOld,
    MkYoung,
    PgtableOp,
    PgtableScenario,
    RelaxPerms,
    Split,
    Unmap,
    WrProtect,
)
from reference_model.stage2_machine import Stage2Machine, predict_pgtable

PAGE = 0x1000
BLOCK = 1 << 21
EVERY = tuple(PROFILES)
LATE = ("v6.12", "v7.2", "v7.3")


def scenario(*steps: PgtableOp, **keys: Any) -> PgtableScenario:
    return PgtableScenario(schema=1, id="case", steps=steps, **keys)


def run(
    profile: str, *steps: PgtableOp, env: Environment | None = None, **keys: Any
) -> list[Observation]:
    prediction = predict_pgtable(scenario(*steps, **keys), PROFILES[profile], env or Environment())
    assert prediction.skip == ""
    return [step.allowed[0] for step in prediction.steps]


def skip(profile: str, *steps: PgtableOp, env: Environment | None = None, **keys: Any) -> str:
    prediction = predict_pgtable(scenario(*steps, **keys), PROFILES[profile], env or Environment())
    assert bool(prediction.skip) is not bool(prediction.steps)
    return prediction.skip


def page(ipa: int = 0, count: int = 1, prot: str = "rw", **keys: Any) -> Map:
    return Map(ipa=ipa, size=count * PAGE, pa=ipa, prot=prot, **keys)


# --- skips -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "lacking", "word"),
    [
        (Annotate(ipa=0, size=PAGE, owner=1), ("v5.10",), "annotations"),
        (Annotate(ipa=0, size=PAGE, owner=256), ("v5.10", "seed-2021", "v6.1", "v6.12"), ""),
        (Split(ipa=0, size=PAGE), ("v5.10", "seed-2021", "v6.1"), "stage2_split"),
        (Split(ipa=0, size=PAGE, memcache=None), EVERY, ""),
        (GetLeaf(ipa=0), ("v5.10",), "get_leaf"),
        (page(sw=1), ("v5.10",), "software bits"),
        (page(prot="rw-nc"), ("v5.10", "seed-2021", "v6.1"), "non-cacheable"),
        (page(flags=("shared",)), ("v5.10", "seed-2021", "v6.1"), "'shared'"),
        (
            page(flags=("handle_fault",)),
            ("v5.10", "seed-2021", "v6.1", "v7.2", "v7.3"),
            "'handle_fault'",
        ),
        (
            page(flags=("ignore_eagain",)),
            ("v5.10", "seed-2021", "v6.1", "v6.12"),
            "'ignore_eagain'",
        ),
        (
            RelaxPerms(ipa=0, prot="r", flags=("shared",)),
            ("v5.10", "seed-2021", "v6.1"),
            "'shared'",
        ),
        (RelaxPerms(ipa=0, prot="r-nc"), ("v5.10", "seed-2021", "v6.1"), "non-cacheable"),
        (page(prot="rw-device"), (), ""),
    ],
)
def test_what_a_kernel_lacks_is_a_skip(op: PgtableOp, lacking: tuple[str, ...], word: str) -> None:
    for profile in EVERY:
        reason = skip(profile, page(), op)
        assert bool(reason) is (profile in lacking)
        if reason:
            assert reason.startswith(f"step 1 ({op.name}): ")
            assert word in reason
            assert profile in reason


def test_the_environment_can_forbid_a_scenario() -> None:
    assert "needs 16K pages, the target has 4K" in skip("v6.12", page(), granule="16K")
    assert skip("v6.12", page(), granule="4K") == ""
    assert "limit of 44" in skip("v6.12", page(), ipa_bits=48, env=Environment(ipa_limit=44))
    needy = PgtableScenario(schema=1, id="case", steps=(page(),), env={"fwb": True})
    prediction = predict_pgtable(needy, PROFILES["v6.12"], Environment())
    assert prediction.skip == "needs fwb=on, the target has off"


@pytest.mark.parametrize("profile", EVERY)
def test_52_bits_with_4k_pages_need_lpa2(profile: str) -> None:
    wide = Environment(ipa_limit=52, lpa2=True)
    assert bool(skip(profile, page(), ipa_bits=52, env=wide)) is (profile not in LATE)
    assert "LPA2" in skip(profile, page(), ipa_bits=52, env=Environment(ipa_limit=52))


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", EVERY)
@pytest.mark.parametrize("memcache", [0, None])
def test_no_memory_changes_nothing(profile: str, memcache: int | None) -> None:
    [seen] = run(profile, page(), memcache=memcache)
    assert (seen.ret, seen.leaves, seen.tables, seen.alloc) == (-12, (), 0, 0)


@pytest.mark.parametrize("profile", EVERY)
def test_tables_of_a_failed_map_stay_until_an_unmap_comes_by(profile: str) -> None:
    failed, gone = run(profile, page(memcache=1), Unmap(ipa=0, size=PAGE))
    assert (failed.ret, failed.tables, failed.alloc) == (-12, 1, 1)
    assert (gone.ret, gone.tables) == (0, 0)


@pytest.mark.parametrize("profile", EVERY)
def test_the_cache_holds_exactly_what_the_step_says(profile: str) -> None:
    first, second = run(profile, page(memcache=9), page(1 << 30, memcache=1), memcache=0)
    assert (first.ret, first.alloc) == (0, 2)
    assert (second.ret, second.alloc) == (-12, 1)


def test_the_stock_allocator_of_v5_10_never_fails() -> None:
    knobs = msgspec.structs.replace(PROFILES["v5.10"].stage2, empty_cache="atomic_page")
    seen = Stage2Machine(40, 1, knobs, Environment()).step(page())
    assert (seen.ret, seen.tables, seen.alloc) == (0, 2, 1)
    assert Stage2Machine(40, None, knobs, Environment()).step(page()).ret == -12


@pytest.mark.parametrize("profile", EVERY)
def test_destroy_leaves_nothing_and_invalidates_nothing(profile: str) -> None:
    seen = run(profile, page(), page(1 << 30, 600), Destroy())[-1]
    assert (seen.ret, seen.leaves, seen.annotations) == (0, (), ())
    assert (seen.tables, seen.alloc, seen.refcounts) == (0, 0, "ok")
    assert seen.tlbi == {"ipa": 0, "ipa_nsh": 0, "vmid": 0, "range": 0}


# --- ranges ------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", EVERY)
def test_the_size_counts_from_the_page_of_the_address(profile: str) -> None:
    [seen] = run(profile, Map(ipa=0x800, size=PAGE, pa=0x800, prot="r"))
    assert seen.leaves == ((0, PAGE, 0, "r", 0, True, "normal", 1),)


@pytest.mark.parametrize("profile", EVERY)
def test_refusals(profile: str) -> None:
    end = 1 << 40
    seen = run(
        profile,
        page(end),
        page(end - PAGE, 2),
        Map(ipa=end, size=0, pa=0, prot="r"),
        page(prot="rwx-device"),
        Unmap(ipa=end, size=PAGE),
        WrProtect(ipa=end, size=PAGE),
        RelaxPerms(ipa=end, prot="r"),
        MkYoung(ipa=end),
        MkOld(ipa=end, size=PAGE),
        IsYoung(ipa=end, size=PAGE),
        Flush(ipa=end, size=PAGE),
    )
    assert [step.ret for step in seen] == [-34, -34, 0, -22, -34, -34, -34, 0, 0, 0, -34]
    assert {step.tables for step in seen} == {0}
    assert all(sum(step.tlbi.values()) == 0 for step in seen if isinstance(step.tlbi, dict))


@pytest.mark.parametrize("profile", LATE)
def test_a_refused_unmap_still_invalidates_its_range(profile: str) -> None:
    env = Environment(fwb=True, tlb_range=True)
    [seen] = run(profile, Unmap(ipa=1 << 40, size=PAGE), env=env)
    assert seen.ret == -34
    assert isinstance(seen.tlbi, dict)
    assert seen.tlbi["range"] == 1


@pytest.mark.parametrize("profile", EVERY)
def test_an_end_that_wraps_is_an_empty_walk(profile: str) -> None:
    [seen] = run(profile, Map(ipa=0, size=(1 << 64) - 1, pa=0, prot="r"))
    assert (seen.ret, seen.tables) == (0, 0)


@pytest.mark.parametrize("profile", EVERY)
def test_greedy_tiling(profile: str) -> None:
    """L2, L2, L3: the largest leaf that fits, at every point."""
    start = 0x3FE0_0000
    [seen] = run(profile, Map(ipa=start, size=2 * BLOCK + PAGE, pa=start, prot="rw"))
    assert seen.leaves == (
        (start, BLOCK, start, "rw", 0, True, "normal", 2),
        (start + 2 * BLOCK, PAGE, start + 2 * BLOCK, "rw", 0, True, "normal", 1),
    )
    assert seen.tables == 3


@pytest.mark.parametrize("profile", EVERY)
def test_a_range_crosses_pages_of_the_root(profile: str) -> None:
    edge = 1 << 39
    [seen] = run(profile, Map(ipa=edge - PAGE, size=2 * PAGE, pa=0, prot="rw"))
    assert seen.leaves == ((edge - PAGE, PAGE, 0, "rw", 0, True, "normal", 2),)
    assert seen.tables == 4


# --- physical addresses ------------------------------------------------------------------------


@pytest.mark.parametrize("profile", EVERY)
def test_a_range_that_leaves_the_physical_addresses(profile: str) -> None:
    last = (1 << 48) - PAGE
    seen = run(profile, page(0, 2), Map(ipa=0, size=2 * PAGE, pa=last, prot="r"))[-1]
    kept: tuple[LeafRun, ...] = ((0, PAGE, last, "r", 0, True, "normal", 1),)
    if profile in ("v5.10", "v7.2", "v7.3"):
        kept += ((PAGE, PAGE, 0, "r", 0, True, "normal", 1),)
    assert (seen.ret, seen.leaves) == (0, kept)


@pytest.mark.parametrize("profile", ["v6.1", "v6.12"])
def test_an_impossible_output_needs_no_alignment_to_clear_a_block(profile: str) -> None:
    seen = run(profile, page(0, 5), Map(ipa=0, size=BLOCK, pa=(1 << 48) + PAGE, prot="rw"))[-1]
    assert (seen.ret, seen.leaves, seen.tables) == (0, (), 1)


def test_64k_pages_and_lpa2_have_52_bits() -> None:
    high = (1 << 52) - (1 << 16)
    top = Map(ipa=0, size=1 << 16, pa=high, prot="r")
    [seen] = run("v6.12", top, env=Environment(page_shift=16))
    assert seen.leaves == ((0, 1 << 16, high, "r", 0, True, "normal", 1),)
    far = Map(ipa=0, size=PAGE, pa=1 << 50, prot="r")
    assert run("v6.12", far, env=Environment(lpa2=True))[0].leaves == (
        (0, PAGE, 1 << 50, "r", 0, True, "normal", 1),
    )


def test_without_52_bits_only_a_kernel_that_checks_clears() -> None:
    """kvm_get_parange_max asks for CONFIG_ARM64_PA_BITS_52, kvm_phys_to_pte for 64K pages alone."""
    high = (1 << 52) - (1 << 16)
    top = Map(ipa=0, size=1 << 16, pa=high, prot="r")
    env = Environment(page_shift=16, pa_52=False)
    for profile in EVERY:
        [seen] = run(profile, top, env=env)
        leaf = (0, 1 << 16, high, "r", 0, True, "normal", 1)
        checks = PROFILES[profile].stage2.pa_beyond_clears
        assert seen.leaves == (() if checks else (leaf,)), profile


# --- granules ----------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", EVERY)
@pytest.mark.parametrize(("shift", "block"), [(14, 1 << 25), (16, 1 << 29)])
def test_one_block_size_with_16k_and_64k_pages(profile: str, shift: int, block: int) -> None:
    env = Environment(page_shift=shift)
    size = 1 << shift
    made, broken = run(
        profile,
        Map(ipa=0, size=2 * block, pa=0, prot="rw"),
        Map(ipa=size, size=size, pa=size, prot="r", memcache=9),
        env=env,
        ipa_bits=40,
    )
    assert made.leaves == ((0, block, 0, "rw", 0, True, "normal", 2),)
    assert made.tables == 0
    assert broken.leaves == (
        (size, size, size, "r", 0, True, "normal", 1),
        (block, block, block, "rw", 0, True, "normal", 1),
    )
    assert broken.tables == 1


# --- counts of cache maintenance ---------------------------------------------------------------


@pytest.mark.parametrize("profile", [name for name in EVERY if name != "v5.10"])
def test_flush_cleans_whole_leaves_of_normal_memory(profile: str) -> None:
    steps = (
        page(0, 512),
        page(1 << 30, 3),
        page(2 << 30, prot="rw-device"),
        Flush(ipa=PAGE, size=3 << 30),
    )
    assert run(profile, *steps)[-1].cmo == {"dcache": 4, "icache": 0}
    fwb = Environment(fwb=True)
    assert run(profile, *steps, env=fwb)[-1].cmo == {"dcache": 0, "icache": 0}


@pytest.mark.parametrize("profile", [name for name in EVERY if name != "v5.10"])
def test_unmap_cleans_unless_fwb(profile: str) -> None:
    steps = (page(0, 3), page(1 << 30, prot="rw-device"), Unmap(ipa=0, size=2 << 30))
    assert run(profile, *steps)[-1].cmo == {"dcache": 3, "icache": 0}
    fwb = Environment(fwb=True)
    assert run(profile, *steps, env=fwb)[-1].cmo == {"dcache": 0, "icache": 0}


@pytest.mark.parametrize("profile", [name for name in EVERY if name != "v5.10"])
def test_relax_to_executable_maintains_once(profile: str) -> None:
    relax = RelaxPerms(ipa=0, prot="rx")
    first, second = run(profile, page(), relax, relax)[-2:]
    assert (first.cmo, second.cmo) == (
        {"dcache": 0, "icache": 1},
        {"dcache": 0, "icache": 0},
    )


@pytest.mark.parametrize("profile", LATE)
def test_a_change_of_software_bits_is_silent(profile: str) -> None:
    plain, shared = run(profile, page(), page(sw=1), page(sw=2, flags=("shared",)))[-2:]
    assert (plain.cmo, plain.tlbi) == (
        {"dcache": 0, "icache": 0},
        {"ipa": 0, "ipa_nsh": 0, "vmid": 0, "range": 0},
    )
    assert (shared.cmo, shared.tlbi) == (
        {"dcache": 1, "icache": 0},
        {"ipa": 1, "ipa_nsh": 0, "vmid": 0, "range": 0},
    )


def test_v5_10_has_no_callbacks_to_count() -> None:
    seen = run("v5.10", page())[0]
    assert (seen.cmo, seen.cmo_pages) == (msgspec.UNSET, msgspec.UNSET)


@pytest.mark.parametrize("profile", [name for name in EVERY if name != "v5.10"])
def test_maintenance_of_a_block_is_of_all_of_it(profile: str) -> None:
    block = Map(ipa=0, size=2 << 20, pa=0, prot="rx")
    seen = run(profile, block, page(2 << 30, 3, prot="rw"), Unmap(ipa=0, size=3 << 30))
    assert [step.cmo_pages for step in seen] == [
        {"dcache": 512, "icache": 512},
        {"dcache": 3, "icache": 0},
        {"dcache": 515, "icache": 0},
    ]
    relaxed = run(profile, Map(ipa=0, size=2 << 20, pa=0, prot="r"), RelaxPerms(ipa=0, prot="x"))
    assert relaxed[-1].cmo_pages == {"dcache": 0, "icache": 512}


def test_v7_2_relax_on_a_hole_obeys_its_flags() -> None:
    steps = (RelaxPerms(ipa=0, prot="r"), RelaxPerms(ipa=0, prot="r", flags=("ignore_eagain",)))
    assert [step.ret for step in run("v7.2", *steps)] == [-11, 0]


# --- the state from outside --------------------------------------------------------------------


def test_steps_that_change_nothing_share_their_leaves() -> None:
    first, second = run("v6.12", page(), GetLeaf(ipa=0))
    assert first.leaves is second.leaves


def test_lookup_ends_at_the_lowest_table() -> None:
    machine = Stage2Machine(40, 64, PROFILES["v6.12"].stage2, Environment())
    machine.step(page(3 * PAGE))
    table, index, entry = machine.state.lookup(3 * PAGE)
    assert (table.level, index) == (3, 3)
    assert isinstance(entry, Leaf)
    table, index, entry = machine.state.lookup(4 * PAGE)
    assert (table.level, index, entry) == (3, 4, None)
    table, _, entry = machine.state.lookup(1 << 30)
    assert (table.level, entry) == (1, None)
    assert isinstance(machine.state.root.entries[0], Link)
