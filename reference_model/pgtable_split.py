# SPDX-License-Identifier: GPL-2.0-only
"""kvm_pgtable_stage2_split(): blocks to pages, v6.12 and later."""

from __future__ import annotations

import errno

from reference_model import pte
from reference_model.geometry import LAST_LEVEL
from reference_model.pgtable import Leaf, Link, Table
from reference_model.pgtable_state import Stage2

#: What kvm_pgtable_stage2_pte_prot() carries over; the memory type and the access flag are not
#: among it, so the new leaves are Normal and young whatever the block was.
_KEPT = pte.READ | pte.WRITE | pte.XN | pte.SW


def stage2_split(state: Stage2, ipa: int, size: int) -> int:
    """Splits every block that the range meets, while the cache lasts. 0, -ERANGE or -ENOMEM.

    The step's memcache is the split cache; a level-1 block goes all the way down if the cache
    holds enough for that, else to level-2 blocks, which the walk then comes to.
    """
    start, end = state.walk_range(ipa, size)
    ret = state.out_of_range(start, end)
    if ret == 0 and start < end:
        ret = _split_table(state, state.root, start, end)
    return ret


def _split_table(state: Stage2, table: Table, start: int, end: int) -> int:
    if table.level == LAST_LEVEL:
        return 0
    low, high = table.index(start), table.index(end - 1) + 1
    for entry in table.within(low, high):
        if isinstance(entry, Link):
            ret = _split_below(state, table, entry, start, end)
            if ret:
                return ret
        elif isinstance(entry, Leaf):
            for index in range(max(low, entry.first), min(high, entry.stop)):
                link = _split_block(state, table, index, entry)
                if link is None:
                    return -errno.ENOMEM
                ret = _split_below(state, table, link, start, end)
                if ret:
                    return ret
    return 0


def _split_below(state: Stage2, table: Table, link: Link, start: int, end: int) -> int:
    first = max(start, link.table.base)
    return _split_table(state, link.table, first, min(end, table.address(link.stop)))


def _split_block(state: Stage2, table: Table, index: int, block: Leaf) -> Link | None:
    """stage2_split_walker() at one block; None: too few pages, nothing changed."""
    cache = state.cache or 0
    if cache == 0:
        return None
    needed = 1 if table.level == LAST_LEVEL - 1 else state.geometry.entries + 1
    attr = block.attr & _KEPT | pte.AF | state.cacheable
    pa = block.pa + ((index - block.first) << table.shift)
    child = _unlinked(state, table, index, attr, pa, to_pages=cache >= needed)
    if child is None:
        return None
    link = Link(index, index + 1, child)
    table.put(link)
    state.tlbi_ipa += 1
    state.changed(table, index, index + 1)
    return link


def _unlinked(
    state: Stage2, parent: Table, index: int, attr: int, pa: int, *, to_pages: bool
) -> Table | None:
    """kvm_pgtable_stage2_create_unlinked(): a full table for one entry of ``parent``."""
    table = state.new_table(parent, index)
    if table is None:
        return None
    entries = state.geometry.entries
    table.counted = entries
    if table.level == LAST_LEVEL or not to_pages:
        table.put(Leaf(0, entries, attr, pa))
        return table
    for place in range(entries):
        below = _unlinked(state, table, place, attr, pa + (place << table.shift), to_pages=True)
        if below is None:
            return None
        table.put(Link(place, place + 1, below))
    return table
