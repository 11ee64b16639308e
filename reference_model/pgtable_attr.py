# SPDX-License-Identifier: GPL-2.0-only
"""Operations that leave the shape of the table alone: permissions, ageing, cache flush, lookup.

In the kernel: stage2_attr_walker(), stage2_age_walker(), stage2_flush_walker(), leaf_walker().
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from reference_model import pte
from reference_model.pgtable import Leaf, Link, Table
from reference_model.pgtable_state import Stage2

#: Takes attributes, how many leaves have them and log2 of a leaf's bytes; what they become.
_Change = Callable[[int, int, int], int]


def stage2_wrprotect(state: Stage2, ipa: int, size: int) -> int:
    """Takes write permission from every leaf that the range meets, whole blocks too. 0, -ERANGE."""
    start, end = state.walk_range(ipa, size)
    ret = state.out_of_range(start, end)
    if ret == 0:
        _visit(state, start, end, lambda attr, _count, _shift: attr & ~pte.WRITE)
    return ret


def stage2_relax_perms(state: Stage2, ipa: int, prot: str, flags: tuple[str, ...]) -> int:
    """Adds permissions to the leaf at ``ipa``, and invalidates the TLB even if none was missing.

    On a hole: 0 or -EAGAIN, by ``hole_is_eagain``; the TLB is invalidated then as well.
    """
    start, end = state.walk_range(ipa, 1)
    ret = state.out_of_range(start, end)
    if ret:
        return ret
    letters, _ = pte.permissions(prot)
    add = pte.READ * ("r" in letters) | pte.WRITE * ("w" in letters)
    remove = pte.XN * ("x" in letters)

    def relax(attr: int, count: int, shift: int) -> int:
        if attr & remove:
            state.invalidate_icache(count, shift)
        return (attr | add) & ~remove

    if not _visit(state, start, end, relax):
        ignores = state.knobs.relax_takes_flags and "ignore_eagain" in flags
        if state.knobs.hole_is_eagain and not ignores:
            ret = -errno.EAGAIN
    if state.knobs.relax_local_tlbi:
        state.tlbi_ipa_nsh += 1
    else:
        state.tlbi_ipa += 1
    return ret


def stage2_mkyoung(state: Stage2, ipa: int) -> int:
    """Sets the access flag of the leaf at ``ipa``; what it returns is not looked at: 0."""
    start, end = state.walk_range(ipa, 1)
    if state.out_of_range(start, end) == 0:
        _visit(state, start, end, lambda attr, _count, _shift: attr | pte.AF)
    return 0


def stage2_age(state: Stage2, ipa: int, size: int, *, mkold: bool) -> int:
    """1 if a leaf was young among those that the kernel looks at, else 0.

    ``mkold`` also clears their access flags. Out of range: 0 (v6.12 and later WARN).
    """
    start, end = state.walk_range(ipa, size if state.knobs.age_whole_range else 1)
    if state.out_of_range(start, end):
        return 0
    young = 0

    def age(attr: int, _count: int, _shift: int) -> int:
        nonlocal young
        if attr & pte.AF:
            young = 1
        return attr & ~pte.AF if mkold else attr

    _visit(state, start, end, age)
    return young


def stage2_flush(state: Stage2, ipa: int, size: int) -> int:
    """Cleans the data cache for every cacheable leaf that the range meets; nothing with FWB."""
    if state.fwb:
        return 0
    start, end = state.walk_range(ipa, size)
    ret = state.out_of_range(start, end)
    if ret:
        return ret

    def clean(attr: int, count: int, shift: int) -> int:
        if attr & pte.MEMATTR == state.cacheable:
            state.clean_dcache(count, shift)
        return attr

    _visit(state, start, end, clean)
    return 0


def get_leaf(state: Stage2, ipa: int) -> int:
    """kvm_pgtable_get_leaf(): 0 on a hole too, or -ERANGE."""
    size = state.geometry.page_size
    return state.out_of_range(*state.walk_range(ipa & ~(size - 1), size))


def _visit(state: Stage2, start: int, end: int, change: _Change) -> bool:
    """Applies ``change`` to every leaf that meets [start, end); True if there was one."""
    if start >= end:
        return False
    return _visit_table(state, state.root, start, end, change)


def _visit_table(state: Stage2, table: Table, start: int, end: int, change: _Change) -> bool:
    found = False
    low, high = table.index(start), table.index(end - 1) + 1
    for entry in table.within(low, high):
        if isinstance(entry, Link):
            below = entry.table
            first = max(start, below.base)
            last = min(end, table.address(entry.stop))
            found |= _visit_table(state, below, first, last, change)
        elif isinstance(entry, Leaf):
            found = True
            first, stop = max(low, entry.first), min(high, entry.stop)
            attr = change(entry.attr, stop - first, table.shift)
            if attr != entry.attr:
                pa = entry.pa + ((first - entry.first) << table.shift)
                table.put(Leaf(first, stop, attr, pa))
                state.changed(table, first, stop)
    return found
