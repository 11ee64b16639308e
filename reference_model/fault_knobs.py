# SPDX-License-Identifier: GPL-2.0-only
"""Knobs of the fault path and the memslot ioctls: what differs by kernel.

Where each value was read stands in :mod:`reference_model.fault_sources`.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace


class ProtBits(Struct, frozen=True, kw_only=True):
    """``enum kvm_pgtable_prot`` as the kernel passes it; seen raw by the ``maps`` channel."""

    r: int
    w: int
    x: int
    device: int


class FaultKnobs(Struct, frozen=True, kw_only=True):
    """How one kernel generation turns a guest abort into its effect."""

    #: A translation fault at or above the VM's IPA size injects an external abort without a
    #: kvm_guest_fault event; else it goes through the memslot lookup like any hole.
    oob_injects: bool
    #: The change_pte MMU notifier: breaking copy-on-write of a mapped page maps the new page
    #: read-only at once, if no table page is needed (its memcache is NULL).
    change_pte_maps: bool
    #: In protected mode every VM's IPA size is the host's limit, whatever it asked for.
    protected_ipa_is_limit: bool
    #: In protected mode the fault path calls the hypervisor and not the page-table API.
    protected_calls_hyp: bool
    #: The fault path calls the page-table API at the start of the page. Else at the faulting IPA
    #: as HPFAR_EL2 gives it, in 4K steps whatever the page size; the walker rounds it down.
    maps_at_page: bool
    #: A permission fault on a block keeps its size and is relaxed at the faulting IPA; else the
    #: size is found anew and the call made at the block's start. hugetlb has its size either way.
    keeps_block: bool
    #: What is marked dirty is the first page of what was mapped, not the page of the fault.
    marks_mapping: bool
    #: KVM_CAP_DIRTY_LOG_RING_ACQ_REL, with and without the backup bitmap.
    dirty_ring: bool
    #: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE.
    eager_split: bool
    #: A write to the huge zero page makes a huge page; else the zero page is split and one page
    #: of it copied.
    huge_zero_becomes_huge: bool
    #: Whether host memory is huge is told by the page's own map count, which a child that split
    #: its mapping has changed for good; else by this process's page table.
    huge_by_mapcount: bool
    #: madvise(MADV_DONTNEED) takes hugetlb memory.
    hugetlb_dontneed: bool
    #: Whether a write to a read-only anonymous page of this process alone reuses it depends on a
    #: reference that a per-CPU list of pages may still hold; else that is so after a fork only.
    reuse_is_luck: bool
    #: Entries of a huge page that is split are dirty, whatever the huge entry was.
    split_dirties: bool
    #: MADV_FREE and MADV_PAGEOUT split whole huge pages too where small entries map them.
    splits_mapped_parts: bool
    #: Parts of a split huge page that hold zeroes become the shared zero page.
    split_frees_zeroes: bool
    #: Small entries of a huge page are joined, CONT_PTES of them (CONFIG_ARM64_CONTPTE, from 6.9
    #: on). Where some are and some not, MADV_FREE and MADV_PAGEOUT take it for a huge page of
    #: which they see a part, and split it.
    joins_entries: bool
    #: mprotect writes a row of such entries at once, and so does reclaim that puts them back;
    #: else one by one.
    writes_rows: bool
    #: A huge page that is split is taken from all of where it was; else from the VMAs, in their
    #: order, that still map some of it.
    split_takes_block: bool
    #: A small entry of a huge page can be reused too after a fork; else it is copied for sure.
    reuses_parts: bool
    #: MADV_DONTNEED frees the page tables that it empties, so that huge pages can come back.
    dontneed_frees_tables: bool
    #: madvise(MADV_REMOVE) needs a mapping that is writable now; else one that could be.
    remove_needs_write: bool
    #: A read that brings a page back from swap maps it writable.
    swap_in_writable: bool
    #: Reclaim drops a huge page that MADV_FREE took as one, and leaves no table of pages.
    drops_blocks: bool
    #: What comes back from swap goes through the swap cache, where a child's page may be found.
    swap_in_cached: bool
    #: Where the host has no page for a guest's load, KVM asks for one to write to.
    asks_again: bool
    #: A VMA that has an anon_vma merges with one beside it that has none; else only into one.
    merges_into_bare: bool
    #: mprotect(PROT_READ) takes VM_ACCOUNT from memory that has no anon_vma: VMAs stay apart.
    mprotect_unaccounts: bool
    #: mprotect(PROT_WRITE) makes entries of exclusive anonymous pages writable at once; and so
    #: with huge pages.
    mprotect_writable: bool
    #: Only those that are dirty: not after MADV_FREE, a swap-in by a load, or the split of a PMD.
    mprotect_needs_dirty: bool
    #: MADV_FREE leaves a huge page alone whose first part is gone, and what lies behind it.
    free_asks_first_part: bool
    mprotect_huge_writable: bool
    #: madvise(MADV_COLLAPSE), and whether it refuses a range that has no edge of a block in it.
    madv_collapse: bool
    collapse_needs_edge: bool
    #: userfaultfd write protection, and minor faults on shared memory.
    uffd_wp: bool
    uffd_minor: bool
    #: A registration that begins inside a VMA and ends with it is merged with what follows.
    uffd_merges_next: bool
    #: UFFDIO_COPY and its like give the VMA an anon_vma before they look whether it is registered.
    uffd_anon_first: bool
    #: A range that is registered for write protection cannot be registered again without it.
    uffd_keeps_wp: bool
    #: An abort that is injected for a stage-1 walk says the level (FSC 0x14 to 0x17).
    walk_abort_has_level: bool
    #: Device memory is mapped, all of it, when its slot is made or moved; else at faults.
    device_at_creation: bool
    #: Device memory gets blocks where its physical addresses allow them; else pages alone.
    device_blocks: bool
    #: Write-protecting a slot asks for a flush of all of the VM's TLB entries; else of the slot's
    #: addresses, which no counter tells.
    slot_flushes_all: bool
    #: A range that is aged at once is aged as a whole; else by its first page.
    ages_ranges: bool
    prot: ProtBits


_X1 = ProtBits(x=1, w=2, r=4, device=8)
_X3 = ProtBits(x=3, w=4, r=8, device=16)

_V5_10 = FaultKnobs(
    oob_injects=False,
    change_pte_maps=True,
    protected_ipa_is_limit=False,
    protected_calls_hyp=False,
    maps_at_page=False,
    keeps_block=False,
    marks_mapping=False,
    dirty_ring=False,
    eager_split=False,
    huge_zero_becomes_huge=False,
    huge_by_mapcount=True,
    hugetlb_dontneed=False,
    reuse_is_luck=True,
    split_dirties=True,
    splits_mapped_parts=True,
    split_frees_zeroes=False,
    joins_entries=False,
    writes_rows=False,
    split_takes_block=True,
    reuses_parts=False,
    dontneed_frees_tables=False,
    remove_needs_write=True,
    swap_in_writable=False,
    drops_blocks=False,
    swap_in_cached=False,
    mprotect_writable=False,
    asks_again=True,
    merges_into_bare=False,
    mprotect_unaccounts=False,
    mprotect_needs_dirty=False,
    free_asks_first_part=False,
    mprotect_huge_writable=False,
    madv_collapse=False,
    collapse_needs_edge=False,
    uffd_wp=False,
    uffd_minor=False,
    uffd_merges_next=False,
    uffd_anon_first=False,
    uffd_keeps_wp=False,
    walk_abort_has_level=False,
    device_at_creation=True,
    device_blocks=False,
    slot_flushes_all=True,
    ages_ranges=False,
    prot=_X1,
)
_SEED = replace(_V5_10, device_at_creation=False, device_blocks=True)
_V6_1 = replace(
    _V5_10,
    oob_injects=True,
    keeps_block=True,
    huge_by_mapcount=False,
    hugetlb_dontneed=True,
    reuse_is_luck=False,
    split_dirties=False,
    remove_needs_write=False,
    mprotect_writable=True,
    mprotect_needs_dirty=True,
    free_asks_first_part=True,
    madv_collapse=True,
    collapse_needs_edge=True,
    uffd_minor=True,
    device_at_creation=False,
)
_V6_12 = replace(
    _V6_1,
    mprotect_unaccounts=True,
    change_pte_maps=False,
    protected_ipa_is_limit=True,
    dirty_ring=True,
    eager_split=True,
    slot_flushes_all=False,
    ages_ranges=True,
    split_frees_zeroes=True,
    joins_entries=True,
    splits_mapped_parts=False,
    mprotect_needs_dirty=False,
    free_asks_first_part=False,
    swap_in_writable=True,
    mprotect_huge_writable=True,
    uffd_wp=True,
    uffd_merges_next=True,
    uffd_anon_first=True,
)
_V7_2 = replace(
    _V6_12,
    asks_again=False,
    merges_into_bare=True,
    protected_calls_hyp=True,
    maps_at_page=True,
    marks_mapping=True,
    huge_zero_becomes_huge=True,
    writes_rows=True,
    split_takes_block=False,
    reuses_parts=True,
    dontneed_frees_tables=True,
    drops_blocks=True,
    swap_in_cached=True,
    collapse_needs_edge=False,
    walk_abort_has_level=True,
    prot=_X3,
)
_V7_3 = replace(_V7_2, drops_blocks=False, uffd_keeps_wp=True)

FAULT_KNOBS: dict[str, FaultKnobs] = {
    "v5.10": _V5_10,
    "seed-2021": _SEED,
    "v6.1": _V6_1,
    "v6.12": _V6_12,
    "v7.2": _V7_2,
    "v7.3": _V7_3,
}
