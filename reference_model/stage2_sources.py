# SPDX-License-Identifier: GPL-2.0-only
"""Where each knob of the stage-2 page-table API comes from: one line per knob and profile.

Functions stand in ``arch/arm64/kvm/hyp/pgtable.c`` of the named version unless another file is
named. v7.3's ``pgtable.c`` and ``kvm_pgtable.h`` are the same text as v7.2's, and so are its lines.
``seed-2021`` is v6.1 with the proposal of July 2021 (the first version of a series that tracks
shared pages at EL2, its patch 03/14), which the second version of the series dropped.
"""

from __future__ import annotations

from msgspec import Struct


class KnobDoc(Struct, frozen=True, kw_only=True):
    """What one knob means, and per profile the line of source that sets it."""

    what: str
    sources: dict[str, str]


#: A profile that changed little → the one before it, whose line holds where it has none of its own.
AS_BEFORE = {"v7.3": "v7.2"}


def with_later(sources: dict[str, str]) -> dict[str, str]:
    """The sources, and of a profile of AS_BEFORE that has none the line of the one before it."""
    out = dict(sources)
    for later, before in AS_BEFORE.items():
        out.setdefault(later, f"as in {before}: {sources[before]}")
    return out


def _doc(what: str, *, v5_10: str, v6_1: str, v6_12: str, v7_2: str, seed: str = "") -> KnobDoc:
    sources = {
        "v5.10": v5_10,
        "seed-2021": seed or f"v6.1 unchanged: {v6_1}",
        "v6.1": v6_1,
        "v6.12": v6_12,
        "v7.2": v7_2,
    }
    return KnobDoc(what=what, sources=with_later(sources))


KNOB_SOURCES: dict[str, KnobDoc] = {
    "walk_flags": _doc(
        "Which walk flags kvm_pgtable_stage2_map() takes",
        v5_10="kvm_pgtable_stage2_map() has no flags argument, v5.10",
        v6_1="kvm_pgtable_stage2_map() has no flags argument, v6.1",
        v6_12="enum kvm_pgtable_walk_flags: SHARED bit 3, HANDLE_FAULT bit 4, kvm_pgtable.h v6.12",
        v7_2="enum kvm_pgtable_walk_flags: SHARED bit 3, IGNORE_EAGAIN bit 4, kvm_pgtable.h v7.2",
    ),
    "sw_bits": _doc(
        "Leaves keep software bits 58:55",
        v5_10="stage2_map_set_prot_attr() copies no software bits, v5.10",
        v6_1="stage2_set_prot_attr(): attr |= prot & KVM_PTE_LEAF_ATTR_HI_SW, v6.1",
        v6_12="stage2_set_prot_attr(): attr |= prot & KVM_PTE_LEAF_ATTR_HI_SW, v6.12",
        v7_2="stage2_set_prot_attr(): attr |= prot & KVM_PTE_LEAF_ATTR_HI_SW, v7.2",
    ),
    "normal_nc": _doc(
        "Normal non-cacheable leaves exist",
        v5_10="enum kvm_pgtable_prot has no NORMAL_NC, kvm_pgtable.h v5.10",
        v6_1="enum kvm_pgtable_prot has no NORMAL_NC, kvm_pgtable.h v6.1",
        v6_12="stage2_set_prot_attr(): case KVM_PGTABLE_PROT_NORMAL_NC, v6.12",
        v7_2="stage2_set_prot_attr(): case KVM_PGTABLE_PROT_NORMAL_NC, v7.2",
    ),
    "lpa2": _doc(
        "52-bit addresses with 4K and 16K pages",
        v5_10="kvm_set_ipa_limit() caps at 48 bits unless 64K pages, reset.c v5.10",
        v6_1="kvm_phys_to_pte(): KVM_PTE_ADDR_MASK is 47:PAGE_SHIFT, v6.1",
        v6_12="kvm_phys_to_pte(): kvm_lpa2_is_enabled(), kvm_pgtable.h v6.12",
        v7_2="kvm_phys_to_pte(): kvm_lpa2_is_enabled(), kvm_pgtable.h v7.2",
    ),
    "annotate": _doc(
        "How an invalid entry is given an owner",
        v5_10="no function does, v5.10",
        v6_1="kvm_pgtable_stage2_set_owner(): owner_id > KVM_MAX_OWNER_ID (1) is -EINVAL, v6.1",
        v6_12="kvm_pgtable_stage2_set_owner(): owner_id > KVM_MAX_OWNER_ID (1) is -EINVAL, v6.12",
        v7_2="kvm_pgtable_stage2_annotate(): type 0, LOCKED or stray bits are -EINVAL, v7.2",
    ),
    "split": _doc(
        "Blocks can be split eagerly",
        v5_10="no kvm_pgtable_stage2_split(), v5.10",
        v6_1="no kvm_pgtable_stage2_split(), v6.1",
        v6_12="kvm_pgtable_stage2_split(), v6.12",
        v7_2="kvm_pgtable_stage2_split(), v7.2",
    ),
    "get_leaf": _doc(
        "One leaf can be looked up",
        v5_10="no kvm_pgtable_get_leaf(), v5.10",
        v6_1="kvm_pgtable_get_leaf(), v6.1",
        v6_12="kvm_pgtable_get_leaf(), v6.12",
        v7_2="kvm_pgtable_get_leaf(), v7.2",
    ),
    "cmo_callbacks": _doc(
        "Cache maintenance goes through mm_ops, where it can be counted",
        v5_10="no mm_ops; user_mem_abort() maintains the caches, mmu.c v5.10",
        v6_1="stage2_map_walker_try_leaf() calls dcache_clean_inval_poc, icache_inval_pou, v6.1",
        v6_12="stage2_map_walker_try_leaf() calls dcache_clean_inval_poc, icache_inval_pou, v6.12",
        v7_2="stage2_map_walker_try_leaf() calls dcache_clean_inval_poc, icache_inval_pou, v7.2",
    ),
    "perm_only": _doc(
        "map over a leaf of the same output: replaced, or left with -EAGAIN",
        v5_10="kvm_set_valid_leaf_pte() keeps an equal leaf, try_leaf breaks any other, v5.10",
        v6_1="stage2_map_walker_try_leaf(): !stage2_pte_needs_update() is -EAGAIN, v6.1",
        v6_12="stage2_map_walker_try_leaf(): !stage2_pte_needs_update() is -EAGAIN, v6.12",
        v7_2="stage2_map_walker_try_leaf(): !stage2_pte_needs_update() is -EAGAIN, v7.2",
    ),
    "on_eagain": _doc(
        "What -EAGAIN from one entry does to the rest of a map walk without flags",
        v5_10="__kvm_pgtable_walk() stops at any error; map makes no -EAGAIN, v5.10",
        v6_1="__kvm_pgtable_walk() stops at any error, v6.1",
        v6_12="kvm_pgtable_walk_continue(): goes on unless HANDLE_FAULT, v6.12",
        v7_2="kvm_pgtable_walk_continue(): stops unless IGNORE_EAGAIN, v7.2",
        seed="the proposal: try_leaf stores -EAGAIN in map_data, map returns it after the walk",
    ),
    "sw_in_place": _doc(
        "A change of software bits alone needs no break-before-make",
        v5_10="no software bits, v5.10",
        v6_1="stage2_pte_needs_update(): software bits count as a change, v6.1",
        v6_12="stage2_map_walker_try_leaf(): 'only changing software bits', not SHARED, v6.12",
        v7_2="stage2_map_walker_try_leaf(): 'only changing software bits', not SHARED, v7.2",
    ),
    "pa_beyond_clears": _doc(
        "A physical address beyond the largest clears the entry",
        v5_10="kvm_phys_to_pte() masks the address, nothing checks it, v5.10",
        v6_1="stage2_map_walker_try_leaf(): !kvm_phys_is_valid() makes an owner-0 entry, v6.1",
        v6_12="stage2_map_walker_try_leaf(): !kvm_phys_is_valid() makes an owner-0 entry, v6.12",
        v7_2="kvm_phys_to_pte() masks the address, nothing checks it, v7.2",
    ),
    "collapse_by_range": _doc(
        "A table that a block replaces is invalidated by range",
        v5_10="stage2_map_walk_table_pre(): __kvm_tlb_flush_vmid, v5.10",
        v6_1="stage2_map_walk_table_pre(): __kvm_tlb_flush_vmid, v6.1",
        v6_12="stage2_try_break_pte(): kvm_tlb_flush_vmid_range(), v6.12",
        v7_2="stage2_try_break_pte(): kvm_tlb_flush_vmid_range(), v7.2",
    ),
    "icache_on_invalid": _doc(
        "The instruction-cache callback runs for invalid entries that map stores",
        v5_10="no callbacks, v5.10",
        v6_1="stage2_pte_executable() does not ask whether the entry is valid, v6.1",
        v6_12="stage2_pte_executable(): kvm_pte_valid() first, v6.12",
        v7_2="stage2_pte_executable(): an invalid entry grants nothing, v7.2",
    ),
    "empty_cache": _doc(
        "An allocation from an empty memcache fails, with -ENOMEM from map",
        v5_10="stage2_map_walk_leaf(): !childp is -ENOMEM, v5.10. Its own allocator never returns"
        " NULL: kvm_mmu_memory_cache_alloc() holds 40 pages at most, then WARNs and takes an"
        " atomic one (virt/kvm/kvm_main.c); the module supplies the pages in its place, so that"
        " 'memcache' means the same on every kernel",
        v6_1="stage2_map_walk_leaf(): !childp is -ENOMEM; zalloc_page of mm_ops decides, v6.1",
        v6_12="stage2_map_walk_leaf(): !childp is -ENOMEM; zalloc_page of mm_ops decides, v6.12",
        v7_2="stage2_map_walk_leaf(): !childp is -ENOMEM; zalloc_page of mm_ops decides, v7.2",
    ),
    "unmap_defers_tlbi": _doc(
        "unmap invalidates its leaves once, by range, with FWB and range TLBI",
        v5_10="stage2_unmap_walker(): __kvm_tlb_flush_vmid_ipa per entry, v5.10",
        v6_1="stage2_put_pte(): __kvm_tlb_flush_vmid_ipa per entry, v6.1",
        v6_12="stage2_unmap_defer_tlb_flush() and kvm_pgtable_stage2_unmap(), v6.12",
        v7_2="stage2_unmap_defer_tlb_flush() and kvm_pgtable_stage2_unmap(), v7.2",
    ),
    "hole_is_eagain": _doc(
        "An attribute walk that meets a hole gets -EAGAIN",
        v5_10="stage2_attr_walker(): !kvm_pte_valid() is 0, v5.10",
        v6_1="stage2_attr_walker(): !kvm_pte_valid() is 0, v6.1",
        v6_12="stage2_attr_walker(): !kvm_pte_valid() is -EAGAIN, v6.12",
        v7_2="stage2_attr_walker(): !kvm_pte_valid() is -EAGAIN, v7.2",
    ),
    "relax_local_tlbi": _doc(
        "relax_perms invalidates for this CPU only",
        v5_10="kvm_pgtable_stage2_relax_perms(): __kvm_tlb_flush_vmid_ipa, v5.10",
        v6_1="kvm_pgtable_stage2_relax_perms(): __kvm_tlb_flush_vmid_ipa, v6.1",
        v6_12="kvm_pgtable_stage2_relax_perms(): __kvm_tlb_flush_vmid_ipa_nsh, v6.12",
        v7_2="kvm_pgtable_stage2_relax_perms(): __kvm_tlb_flush_vmid_ipa_nsh, v7.2",
    ),
    "relax_takes_flags": _doc(
        "relax_perms takes its walk flags from the caller",
        v5_10="kvm_pgtable_stage2_relax_perms() has no flags argument, v5.10",
        v6_1="kvm_pgtable_stage2_relax_perms() has no flags argument, v6.1",
        v6_12="kvm_pgtable_stage2_relax_perms() always passes HANDLE_FAULT | SHARED, v6.12",
        v7_2="kvm_pgtable_stage2_relax_perms(): flags argument, v7.2",
    ),
    "age_whole_range": _doc(
        "mkold and is_young look at every leaf of a range",
        v5_10="kvm_pgtable_stage2_mkold() and …_is_young() walk one byte, v5.10",
        v6_1="kvm_pgtable_stage2_mkold() and …_is_young() walk one byte, v6.1",
        v6_12="kvm_pgtable_stage2_test_clear_young() walks [addr, addr + size), v6.12",
        v7_2="kvm_pgtable_stage2_test_clear_young() walks [addr, addr + size), v7.2",
    ),
}
