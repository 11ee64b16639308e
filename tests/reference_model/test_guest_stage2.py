# SPDX-License-Identifier: GPL-2.0-only
"""Stage 2 as guests see it: leaves of any size, and the tables that a page needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference_model.guest_stage2 import Leaf, Stage2
from reference_model.profiles import Environment

BLOCK = 512
BASE = 0x8_0000  # guest frame of 0x80000000


def table(ipa_bits: int = 40, page_shift: int = 12) -> Stage2:
    return Stage2(Environment(page_shift=page_shift), ipa_bits)


def test_sizes_are_those_of_the_granule_and_the_start_level() -> None:
    assert table().sizes == (1, 512, 512 * 512)
    assert table(ipa_bits=32).sizes == (1, 512)
    assert table(page_shift=14).sizes == (1, 2048)


def test_a_page_in_a_block_takes_the_block() -> None:
    stage2 = table()
    stage2.map(BASE, BLOCK, w=True, x=False)
    assert stage2.find(BASE + 7) == (BASE, Leaf(BLOCK, True, False))
    stage2.map(BASE + 7, 1, w=True, x=False)
    assert stage2.find(BASE + 6) is None
    assert stage2.find(BASE + 7) == (BASE + 7, Leaf(1, True, False))


def test_a_block_takes_the_table_under_it() -> None:
    stage2 = table()
    stage2.map(BASE + 3, 1, w=False, x=False)
    assert stage2.has_table(BASE)
    stage2.map(BASE, BLOCK, w=True, x=True)
    assert not stage2.has_table(BASE)
    assert stage2.runs() == ((BASE << 12, BLOCK << 12, 0, "rwx", 0, True, "normal", 1),)


def test_a_part_of_a_block_unmaps_and_protects_all_of_it() -> None:
    stage2 = table()
    stage2.map(BASE, BLOCK, w=True, x=False)
    stage2.wrprotect(BASE + 9, 1)
    assert stage2.find(BASE) == (BASE, Leaf(BLOCK, False, False))
    stage2.unmap(BASE + 500, 1)
    assert stage2.runs() == ()


def test_split_of_a_small_chunk_leaves_blocks_of_level_2() -> None:
    large = 512 * 512
    stage2 = table()
    stage2.map(BASE, large, w=False, x=False)
    stage2.split(BASE + 3, 1, chunk=BLOCK)
    found = stage2.find(BASE), stage2.find(BASE + BLOCK)
    assert found == ((BASE, Leaf(1, False, False)), (BASE + BLOCK, Leaf(BLOCK, False, False)))
    stage2.map(BASE, large, w=False, x=False)
    stage2.split(BASE, 1, chunk=large)
    assert stage2.find(BASE + large - 1) == (BASE + large - 1, Leaf(1, False, False))


def test_runs_fold_equal_neighbours() -> None:
    stage2 = table()
    for page in (0, 1, 2, 5):
        stage2.map(BASE + page, 1, w=True, x=False)
    stage2.set_young(BASE + 2, young=False)
    gpa = BASE << 12
    assert stage2.runs() == (
        (gpa, 4096, 0, "rw", 0, True, "normal", 2),
        (gpa + 0x2000, 4096, 0, "rw", 0, False, "normal", 1),
        (gpa + 0x5000, 4096, 0, "rw", 0, True, "normal", 1),
    )


@given(
    st.lists(st.tuples(st.sampled_from(["map", "block", "unmap", "split"]), st.integers(0, 1600)))
)
def test_tables_are_there_for_pages_and_for_nothing_else(steps: list[tuple[str, int]]) -> None:
    stage2 = table()
    for what, page in steps:
        if what == "map":
            stage2.map(BASE + page, 1, w=True, x=False)
        elif what == "block":
            stage2.map(BASE + page // BLOCK * BLOCK, BLOCK, w=True, x=False)
        elif what == "unmap":
            stage2.unmap(BASE + page, 3)
        else:
            stage2.split(BASE + page, 1, chunk=BLOCK)
    for number in range(4):
        start = BASE + number * BLOCK
        pages = [found for gfn in range(start, start + BLOCK) if (found := stage2.find(gfn))]
        assert stage2.has_table(start) == any(leaf.pages == 1 for _, leaf in pages)


def test_a_copy_goes_its_own_way() -> None:
    stage2 = table()
    stage2.map(BASE, 1, w=True, x=False)
    other = stage2.copied()
    other.unmap(BASE, 1)
    assert stage2.find(BASE) is not None
    assert stage2.has_table(BASE)
