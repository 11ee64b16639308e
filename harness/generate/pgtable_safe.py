# SPDX-License-Identifier: GPL-2.0-only
"""What a generated scenario must not do to a real kernel, although the language can say it.

Each of these ends in a WARN, an oops or a hang that is the caller's fault, and would be counted
as the kernel's. Lines are of ``arch/arm64/kvm/hyp/pgtable.c``.

- ``mkold`` and ``is_young`` beyond the IPA space, where they are one function over a range:
  ``WARN_ON(kvm_pgtable_walk(…))`` in kvm_pgtable_stage2_test_clear_young() (v6.12:1309,
  v7.2:1353).
- ``split`` without a cache: stage2_split_walker() reads ``mc->nobjs`` (v6.12, v7.2). The model
  makes it a skip.
- ``unmap`` of so large a range, on a host that defers its TLB invalidation to the end, that
  kvm_tlb_flush_vmid_range() loops for seconds: one call for 2^21 pages of the size as it was
  passed, also where the walk was refused with -ERANGE (v6.12, v7.2).
- Taking out a GiB that stands as pages (drawn steps only; destroy does it): a quarter of a
  million TLB invalidations, each a probe's hit.
- ``map`` and ``annotate`` of more than a host would: nothing forbids 2^18 blocks of 1 GiB, and
  they take seconds and the machine's memory.

Not excluded, since nothing but the descriptor sees them: physical addresses that do not exist
(the module's callbacks never follow one), and those out of range.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_model import scenario as sc
from reference_model.geometry import LAST_LEVEL, Geometry
from reference_model.outcome import LeafRun
from reference_model.pgtable_state import Stage2
from reference_model.scenario import PgtableOp

#: Calls of __kvm_tlb_flush_vmid_range() that one unmap may take: 2^21 pages each.
_FLUSHES = 2048
_PAGES_A_FLUSH = 1 << 21
#: Leaves that one operation may make: 1 GiB of 4K pages.
_LEAVES = 1 << 18


#: Leaves that a drawn operation may take out: each is a TLB invalidation, and a probe's hit.
_TAKEN_OUT = 1 << 13


def is_cheap(leaves: Sequence[LeafRun], op: PgtableOp) -> bool:
    """True where ``op`` takes out at most some thousands of the table's ``leaves``."""
    if not isinstance(op, (sc.Unmap, sc.Annotate, sc.Map)):
        return True
    start, end = op.ipa, op.ipa + op.size
    taken = 0
    for ipa, size, _pa, _prot, _sw, _young, _attr, count in leaves:
        shared = min(end, ipa + size * count) - max(start, ipa)
        taken += max(shared, 0) // size
    return taken <= _TAKEN_OUT


def harmless(state: Stage2, op: PgtableOp) -> bool:
    """True where ``op`` cannot make a kernel under test warn, die or crawl."""
    start, end = state.walk_range(getattr(op, "ipa", 0), getattr(op, "size", 0))
    beyond = state.out_of_range(start, end) != 0
    geometry = state.geometry
    match op:
        case sc.MkOld() | sc.IsYoung():
            return not (beyond and state.knobs.age_whole_range)
        case sc.Unmap():
            deferred = state.knobs.unmap_defers_tlbi and state.fwb and state.tlb_range
            pages = op.size >> geometry.page_shift
            return not deferred or pages <= _FLUSHES * _PAGES_A_FLUSH
        case sc.Annotate():
            return beyond or op.size >> geometry.page_shift <= _LEAVES
        case sc.Map():
            return beyond or _leaves(geometry, op) <= _LEAVES
    return True


def _leaves(geometry: Geometry, op: sc.Map) -> int:
    """At most how many leaves a map makes: blocks, and smaller ones before and behind them."""
    for level in range(max(geometry.block_level, geometry.start_level), LAST_LEVEL):
        size = geometry.size(level)
        if not (op.ipa ^ op.pa) & (size - 1):
            return op.size // size + 2 * geometry.entries * (LAST_LEVEL - level)
    return op.size >> geometry.page_shift
