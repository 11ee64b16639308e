# SPDX-License-Identifier: GPL-2.0-only
"""What a step exercised: the words for what was there, what was asked for and what came of it."""

from __future__ import annotations

import msgspec
import pytest

from reference_model import scenario as sc
from reference_model.profiles import PROFILES, Environment
from reference_model.scenario import PgtableOp, PgtableScenario
from reference_model.transition_kitchen import tables_needed
from reference_model.transition_sight import is_empty
from reference_model.transitions import Transition, Watcher, covered, transitions

PAGE, BLOCK, LARGE = 0x1000, 1 << 21, 1 << 30
ENV = Environment()


def mapping(ipa: int, size: int = PAGE, pa: int | None = None, **more: object) -> sc.Map:
    op = sc.Map(ipa=ipa, size=size, pa=ipa if pa is None else pa, prot="rw")
    return msgspec.structs.replace(op, **more)


def last(*steps: PgtableOp, profile: str = "v6.12", env: Environment = ENV) -> str:
    scenario = PgtableScenario(schema=1, id="t", steps=steps)
    return str(transitions(scenario, PROFILES[profile], env)[-1])


@pytest.mark.parametrize(
    ("before", "op", "profile", "expected"),
    [
        ([], mapping(0), "v6.12", "map of page over hole: 0 alloc"),
        ([mapping(PAGE)], mapping(0), "v6.12", "map of page over hole: 0 changed"),
        ([mapping(0)], mapping(0), "v6.12", "map of page over same: 0 kept"),
        ([mapping(0)], mapping(0), "v6.1", "map of page over same: -EAGAIN kept"),
        ([mapping(0, prot="r")], mapping(0), "v5.10", "map of page over perms: 0 broke"),
        ([mapping(0, sw=1)], mapping(0), "v6.1", "map of page over sw: 0 broke"),
        ([mapping(0, sw=1)], mapping(0), "v7.2", "map of page over sw: 0 changed"),
        ([mapping(0, sw=1, prot="r")], mapping(0), "v7.2", "map of page over sw+perms: 0 broke"),
        ([mapping(0), sc.MkOld(ipa=0, size=PAGE)], mapping(0), "v6.1", "map of page over old: 0 broke"),
        ([mapping(0, prot="rw-nc")], mapping(0), "v7.2", "map of page over type: 0 broke"),
        ([mapping(0, pa=PAGE)], mapping(0), "v7.2", "map of page over output: 0 broke"),
        ([sc.Annotate(ipa=0, size=PAGE, owner=1)], mapping(0), "v6.1", "map of page over owner: 0 changed"),
        ([mapping(0, BLOCK)], mapping(PAGE), "v7.2", "map of page over block: 0 broke"),
        ([mapping(PAGE)], mapping(0, BLOCK), "v7.2", "map of block2 over table: 0 collapsed"),
        ([mapping(PAGE)], mapping(0, LARGE), "v7.2", "map of block1 over table: 0 collapsed"),
        ([mapping(0, memcache=1)], mapping(0, LARGE), "v7.2", "map of block1 over empty-table: 0 collapsed"),
        ([mapping(PAGE)], mapping(0, 2 * PAGE), "v7.2", "map of range over hole+more: -EAGAIN changed"),
        ([], mapping(0, 2 * PAGE), "v7.2", "map of range over hole: 0 changed"),
        ([], mapping(0, flags=("shared", "handle_fault")), "v6.12", "map [handle_fault shared] of page over hole: 0 alloc"),
        ([], mapping(0, memcache=None), "v6.12", "map of page over hole: -ENOMEM null kept"),
        ([], mapping(0, memcache=1), "v6.12", "map of page over hole: -ENOMEM alloc"),
        ([], mapping(0, memcache=0), "v6.12", "map of page over hole: -ENOMEM kept"),
        ([], mapping(0, pa=1 << 48), "v6.12", "map [pa beyond] of page over hole: 0 kept"),
        ([], mapping(0, pa=1 << 48), "v7.2", "map [pa beyond] of page over hole: 0 changed"),
        ([], mapping(0x10, flags=("shared",)), "v7.2", "map of unaligned over hole: 0 changed"),
        ([], mapping(0, 0), "v7.2", "map of empty over -: 0 kept"),
        ([], mapping(1 << 40), "v7.2", "map of beyond over -: -ERANGE kept"),
        ([], mapping(0, prot="x-device"), "v7.2", "map [refused] of - over -: -EINVAL kept"),
        ([mapping(0)], sc.Unmap(ipa=0, size=PAGE), "v7.2", "unmap of aligned over page cached: 0 freed"),
        ([mapping(0, prot="r-device"), mapping(PAGE)], sc.Unmap(ipa=0, size=PAGE), "v7.2", "unmap of aligned over page uncached: 0 changed"),
        ([mapping(0, BLOCK)], sc.Unmap(ipa=0, size=PAGE), "v7.2", "unmap of aligned over part cached: 0 freed"),
        ([mapping(0, BLOCK)], sc.WrProtect(ipa=0, size=BLOCK), "v7.2", "wrprotect of aligned over block2 writable: 0 changed"),
        ([mapping(0, 2 * BLOCK)], sc.WrProtect(ipa=0, size=BLOCK + PAGE), "v7.2", "wrprotect of aligned over block2 writable+more: 0 changed"),
        ([], sc.RelaxPerms(ipa=0, prot="rw"), "v6.1", "relax_perms of aligned over hole: 0 kept"),
        ([], sc.RelaxPerms(ipa=0, prot="rw"), "v6.12", "relax_perms of aligned over hole: -EAGAIN kept"),
        ([mapping(0)], sc.RelaxPerms(ipa=8, prot="rx"), "v6.12", "relax_perms of unaligned over page: 0 changed"),
        ([mapping(0)], sc.RelaxPerms(ipa=0, prot="rx"), "v6.12", "relax_perms of aligned over page lacks x: 0 changed"),
        ([mapping(0)], sc.RelaxPerms(ipa=0, prot="r"), "v6.12", "relax_perms of aligned over page granted: 0 kept"),
        ([mapping(0, prot="")], sc.RelaxPerms(ipa=0, prot="r"), "v6.12", "relax_perms of aligned over page lacks: 0 changed"),
        ([mapping(0)], sc.MkOld(ipa=0, size=LARGE), "v6.1", "mkold of aligned over page young: 1 changed"),
        ([mapping(0)], sc.MkOld(ipa=0, size=LARGE), "v6.12", "mkold of aligned over page young+more: 1 changed"),
        ([mapping(0)], sc.IsYoung(ipa=0, size=0), "v6.12", "is_young of empty over -: 0 kept"),
        ([mapping(0)], sc.Flush(ipa=0, size=PAGE), "v6.12", "flush of aligned over page cached: 0 kept"),
        ([mapping(0, BLOCK)], sc.Split(ipa=0, size=PAGE, memcache=1), "v6.12", "split of aligned over part plain: 0 broke"),
        ([mapping(0, BLOCK, prot="rw-nc")], sc.Split(ipa=0, size=BLOCK, memcache=0), "v6.12", "split of aligned over block2 special: -ENOMEM kept"),
        ([], sc.Annotate(ipa=0, size=PAGE, owner=0), "v6.12", "annotate [clear] of page over hole: 0 alloc"),
        ([], sc.Annotate(ipa=0, size=PAGE, owner=0), "v7.2", "annotate [refused] of - over -: -EINVAL kept"),
        ([sc.Annotate(ipa=0, size=PAGE, owner=2)], sc.Annotate(ipa=0, size=PAGE, owner=2), "v7.2", "annotate [set] of page over same: 0 kept"),
        ([mapping(0)], sc.GetLeaf(ipa=0), "v7.2", "get_leaf of aligned over page: 0 kept"),
        ([mapping(0)], sc.Destroy(), "v7.2", "destroy of - over leaves: 0 freed"),
        ([], sc.Destroy(), "v7.2", "destroy of - over empty: 0 kept"),
    ],
)  # fmt: skip
def test_words(before: list[PgtableOp], op: PgtableOp, profile: str, expected: str) -> None:
    assert last(*before, op, profile=profile) == expected


def test_with_fwb_flush_looks_at_nothing() -> None:
    steps = (mapping(0), sc.Flush(ipa=0, size=PAGE))
    assert last(*steps, env=Environment(fwb=True)) == "flush of - over -: 0 kept"


def test_levels_of_blocks_are_the_granules_own() -> None:
    size = 1 << 25
    assert last(mapping(0, size), env=Environment(page_shift=14)).startswith("map of block2")


def test_a_skip_exercises_nothing() -> None:
    scenario = PgtableScenario(schema=1, id="t", steps=(sc.GetLeaf(ipa=0),))
    assert transitions(scenario, PROFILES["v5.10"], ENV) == ()
    assert covered([scenario], PROFILES["v5.10"], ENV) == {}


def test_covered_counts() -> None:
    scenario = PgtableScenario(schema=1, id="t", steps=(mapping(0), mapping(0), mapping(0)))
    counts = covered([scenario, scenario], PROFILES["v6.12"], ENV)
    assert {str(one): count for one, count in counts.items()} == {
        "map of page over hole: 0 alloc": 2,
        "map of page over same: 0 kept": 4,
    }


def test_looking_changes_nothing_and_advance_is_step_without_looking() -> None:
    seen = []
    for name in ("step", "advance"):
        watcher = Watcher(40, 64, PROFILES["v6.12"], ENV)
        for op in (mapping(0, BLOCK), mapping(PAGE), sc.Unmap(ipa=0, size=LARGE)):
            getattr(watcher, name)(op)
        seen.append(watcher.last)
    assert seen[0] == seen[1]


def test_transitions_are_values() -> None:
    watcher = Watcher(40, 64, PROFILES["v6.12"], ENV)
    one = watcher.step(mapping(0))[1]
    assert one == Transition("map", "hole", "page", "", "0 alloc")
    assert len({one, Transition("map", "hole", "page", "", "0 alloc")}) == 1
    assert sorted([one, Transition("flush", "-", "-", "", "0 kept")])[0].op == "flush"


def test_the_scenarios_memcache_counts_where_the_step_has_none() -> None:
    op = sc.Annotate(ipa=0, size=PAGE, owner=1)
    watcher = Watcher(40, None, PROFILES["v6.12"], ENV)
    assert watcher.step(op)[1].outcome == "-ENOMEM null kept"
    empty = Watcher(40, 0, PROFILES["v6.12"], ENV)
    assert empty.step(op)[1].outcome == "-ENOMEM kept"
    assert empty.step(mapping(0, memcache=None))[1].outcome == "-ENOMEM null kept"


def test_is_empty() -> None:
    watcher = Watcher(40, 64, PROFILES["v6.12"], ENV)
    assert is_empty(watcher.state, 0, 1 << 40)
    watcher.step(mapping(BLOCK))
    assert is_empty(watcher.state, 0, BLOCK)
    assert not is_empty(watcher.state, 0, BLOCK + PAGE)
    watcher.step(sc.Annotate(ipa=0, size=PAGE, owner=1))
    assert not is_empty(watcher.state, 0, PAGE)


@pytest.mark.parametrize(
    ("bits", "before", "op", "needed"),
    [
        (40, [], mapping(0), 2),
        (48, [], mapping(0), 3),
        (33, [], mapping(0), 1),
        (40, [], mapping(0, BLOCK), 1),
        (40, [], mapping(0, LARGE), 0),
        (48, [], mapping(0, LARGE), 1),
        (40, [], mapping(0, BLOCK, pa=PAGE), 2),
        (40, [], mapping(BLOCK - PAGE, 2 * PAGE), 3),
        (40, [], mapping(0, LARGE, pa=BLOCK), 1),
        (40, [mapping(0)], mapping(PAGE), 0),
        (40, [mapping(0, LARGE)], mapping(PAGE), 2),
        (40, [mapping(0, BLOCK)], mapping(0, BLOCK), 0),
        (40, [], mapping(0, pa=1 << 50), 2),
        (40, [], mapping(0, BLOCK, pa=(1 << 50) + PAGE), 1),
        (40, [], mapping(1 << 40), 0),
        (40, [], mapping(0, 0), 0),
        (40, [], sc.Annotate(ipa=0, size=BLOCK, owner=1), 2),
    ],
)
def test_tables_needed(bits: int, before: list[PgtableOp], op: sc.Map, needed: int) -> None:
    watcher = Watcher(bits, 64, PROFILES["v6.12"], ENV)
    for step in before:
        watcher.step(step)
    assert tables_needed(watcher.state, op) == needed
    assert watcher.step(op)[0].alloc == needed
