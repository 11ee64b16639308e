# SPDX-License-Identifier: GPL-2.0-only
"""kvm_pgtable_stage2_unmap() and …_destroy()."""

from __future__ import annotations

from reference_model import pte
from reference_model.pgtable import Leaf, Link, Table
from reference_model.pgtable_state import Stage2


def stage2_unmap(state: Stage2, ipa: int, size: int) -> int:
    """Empties every entry that the range meets, whole blocks too, and frees empty tables on the
    way. 0 or -ERANGE.

    v6.12 and later invalidate the TLB once for the range, as it was passed, where the host has
    FWB and range TLBI: also when nothing was mapped and when the range was refused.
    """
    deferred = state.knobs.unmap_defers_tlbi and state.fwb and state.tlb_range
    start, end = state.walk_range(ipa, size)
    ret = state.out_of_range(start, end)
    if ret == 0 and start < end:
        _unmap_table(state, state.root, start, end, per_leaf=0 if deferred else 1)
    if deferred:
        state.invalidate_range(size)
    return ret


def _unmap_table(state: Stage2, table: Table, start: int, end: int, *, per_leaf: int) -> None:
    """stage2_unmap_walker(); ``per_leaf``: TLB invalidations for each leaf."""
    low, high = table.index(start), table.index(end - 1) + 1
    for entry in table.within(low, high):
        if isinstance(entry, Link):
            below = entry.table
            first = max(start, below.base)
            last = min(end, table.address(entry.stop))
            _unmap_table(state, below, first, last, per_leaf=per_leaf)
            if below.counted == 0:
                table.clear(entry.first, entry.stop)
                table.counted -= 1
                state.tables -= 1
                state.tlbi_ipa += 1
            continue
        index, stop = max(low, entry.first), min(high, entry.stop)
        count = stop - index
        if isinstance(entry, Leaf):
            state.tlbi_ipa += per_leaf * count
            if not state.fwb and entry.attr & pte.MEMATTR == state.cacheable:
                state.clean_dcache(count, table.shift)
        table.clear(index, stop)
        table.counted -= count
        state.changed(table, index, stop)


def stage2_destroy(state: Stage2) -> int:
    """Frees every table and the root: no TLB or cache maintenance, in any version. 0."""
    old = state.root
    state.root = Table(old.level, old.shift, old.base)
    state.tables = 0
    state.changed(state.root, 0, state.geometry.pgd_pages * state.geometry.entries)
    return 0
