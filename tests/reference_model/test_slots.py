# SPDX-License-Identifier: GPL-2.0-only
"""Dirty rings, words of the bitmap, and which blocks a slot allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference_model import scenario as sc
from reference_model.choice import Chooser
from reference_model.fault_knobs import FAULT_KNOBS
from reference_model.memory import HostMemory
from reference_model.slots import WORD, Ring, Slot, ring_batches, word_spans


def test_a_word_is_protected_from_its_lowest_to_its_highest_page() -> None:
    assert list(word_spans([3, 9, 64, 200])) == [(3, 7), (64, 1), (200, 1)]
    assert list(word_spans([])) == []


def test_a_ring_is_full_before_its_end() -> None:
    ring = Ring(256)
    for page in range(191):
        ring.push(1, page)
    assert not ring.full
    ring.push(1, 191)
    assert ring.full
    assert ring.harvest(1) == [(1, 0)]
    assert ring.full
    assert ring.reset() == [(1, 0)]
    assert not ring.full
    assert ring.harvest(None)[0] == (1, 1)


def test_neighbours_in_the_ring_are_one_mask() -> None:
    assert list(ring_batches([(1, 5), (1, 9), (1, 7)])) == [(1, 5, 5)]
    assert list(ring_batches([(1, 9), (1, 5)])) == [(1, 5, 5)]
    assert list(ring_batches([(1, 5), (2, 6), (1, 7)])) == [(1, 5, 1), (2, 6, 1), (1, 7, 1)]
    assert list(ring_batches([(1, 0), (1, 64)])) == [(1, 0, 1), (1, 64, 1)]
    # Backwards only as far as the mask keeps its bits.
    assert list(ring_batches([(1, 60), (1, 123), (1, 59)])) == [(1, 60, 64), (1, 59, 1)]


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 300))))
def test_every_entry_is_protected_and_no_batch_is_wider_than_a_word(
    entries: list[tuple[int, int]],
) -> None:
    batches = list(ring_batches(entries))
    for slot, page in entries:
        assert any(slot == s and first <= page < first + count for s, first, count in batches)
    assert all(count <= WORD for _, _, count in batches)


def slot(gfn: int, pages: int, offset: int = 0) -> Slot:
    host = HostMemory(pages << 12, 12, sc.Backing(offset=offset), FAULT_KNOBS["v6.12"], Chooser())
    return Slot(1, gfn, host, readonly=False)


def test_a_block_must_agree_and_fit() -> None:
    whole = slot(0x8_0000, 1024)
    assert whole.block(0x8_0000, 512)
    assert whole.block(0x8_03FF, 512)
    assert not slot(0x8_0000, 1024, offset=0x1_0000).block(0x8_0200, 512)
    inside = slot(0x8_0010, 1024, offset=0x1_0000)
    assert [inside.block(gfn, 512) for gfn in (0x8_0010, 0x8_0200, 0x8_0400)] == [
        False,
        True,
        False,
    ]
    assert inside.block(0x8_0010, 1)


def test_a_ring_alone_does_not_count_as_logging() -> None:
    one = slot(0x8_0000, 16)
    one.log = True
    assert not one.logging
    one.dirty = set()
    assert one.logging
    one.readonly = True
    assert not one.logging
