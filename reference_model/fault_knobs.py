# SPDX-License-Identifier: GPL-2.0-only
"""Knobs of the fault path and the memslot ioctls: what differs by kernel, with its source."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace


class ProtBits(Struct, frozen=True, kw_only=True):
    """``enum kvm_pgtable_prot`` as the kernel passes it; seen raw by the ``maps`` channel."""

    r: int
    w: int
    x: int


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
    #: madvise(MADV_DONTNEED) takes hugetlb memory.
    hugetlb_dontneed: bool
    prot: ProtBits


class KnobSource(Struct, frozen=True, kw_only=True):
    """What a knob means, and per profile the kernel function its value was read in."""

    what: str
    sources: dict[str, str]


_X1 = ProtBits(x=1, w=2, r=4)
_X3 = ProtBits(x=3, w=4, r=8)

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
    hugetlb_dontneed=False,
    prot=_X1,
)
_V6_1 = replace(_V5_10, oob_injects=True, keeps_block=True, hugetlb_dontneed=True)
_V6_12 = replace(
    _V6_1,
    change_pte_maps=False,
    protected_ipa_is_limit=True,
    dirty_ring=True,
    eager_split=True,
)
_V7_2 = replace(
    _V6_12,
    protected_calls_hyp=True,
    maps_at_page=True,
    marks_mapping=True,
    huge_zero_becomes_huge=True,
    prot=_X3,
)

FAULT_KNOBS: dict[str, FaultKnobs] = {
    "v5.10": _V5_10,
    "seed-2021": _V5_10,
    "v6.1": _V6_1,
    "v6.12": _V6_12,
    "v7.2": _V7_2,
}

FAULT_KNOB_SOURCES: dict[str, KnobSource] = {
    "oob_injects": KnobSource(
        what="an access at or above the VM's IPA size is answered with an injected abort",
        sources={
            "v5.10": "kvm_handle_guest_abort (5.10): no IPA check before the memslot lookup",
            "seed-2021": "kvm_handle_guest_abort (5.13): no IPA check before the memslot lookup",
            "v6.1": "kvm_handle_guest_abort (6.1): fault_ipa >= BIT_ULL(vcpu ia_bits)",
            "v6.12": "kvm_handle_guest_abort (6.12): fault_ipa >= BIT_ULL(hw_mmu ia_bits)",
            "v7.2": "kvm_handle_guest_abort (7.2): fault_ipa >= BIT_ULL(hw_mmu ia_bits)",
        },
    ),
    "change_pte_maps": KnobSource(
        what="breaking copy-on-write maps the new page read-only through change_pte",
        sources={
            "v5.10": "kvm_set_spte_hva, kvm_set_spte_handler (5.10): map R with memcache NULL",
            "seed-2021": "kvm_set_spte_gfn (5.13): map R with memcache NULL",
            "v6.1": "kvm_set_spte_gfn (6.1): map R with memcache NULL",
            "v6.12": "virt/kvm/kvm_main.c (6.12): no change_pte in kvm_mmu_notifier_ops",
            "v7.2": "virt/kvm/kvm_main.c (7.2): no change_pte in kvm_mmu_notifier_ops",
        },
    ),
    "protected_ipa_is_limit": KnobSource(
        what="in protected mode a VM's IPA size is the host's limit",
        sources={
            "v5.10": "kvm_arm_setup_stage2 (5.10): no protected mode",
            "seed-2021": "kvm_arm_setup_stage2 (5.13): as asked for",
            "v6.1": "kvm_arm_setup_stage2 (6.1): as asked for",
            "v6.12": "kvm_init_ipa_range (6.12): phys_shift = kvm_ipa_limit; seen on 6.12.117",
            "v7.2": "kvm_init_ipa_range (7.2): phys_shift = kvm_ipa_limit",
        },
    ),
    "protected_calls_hyp": KnobSource(
        what="in protected mode the fault path calls pkvm_pgtable_stage2_*",
        sources={
            "v5.10": "user_mem_abort (5.10): no protected mode",
            "seed-2021": "user_mem_abort (5.13): kvm_pgtable_stage2_map",
            "v6.1": "user_mem_abort (6.1): kvm_pgtable_stage2_map",
            "v6.12": "user_mem_abort (6.12): kvm_pgtable_stage2_map",
            "v7.2": "KVM_PGT_FN, kvm_s2_fault_map (7.2)",
        },
    ),
    "maps_at_page": KnobSource(
        what="the fault path maps at the page's IPA, not at the 4K-aligned faulting IPA",
        sources={
            "v5.10": "user_mem_abort (5.10): kvm_pgtable_stage2_map(pgt, fault_ipa, ...)",
            "seed-2021": "user_mem_abort (5.13): kvm_pgtable_stage2_map(pgt, fault_ipa, ...)",
            "v6.1": "user_mem_abort (6.1): kvm_pgtable_stage2_map(pgt, fault_ipa, ...)",
            "v6.12": "user_mem_abort (6.12): fault_ipa; seen on a 16K kernel",
            "v7.2": "kvm_s2_fault_map (7.2): gfn_to_gpa(gfn)",
        },
    ),
    "keeps_block": KnobSource(
        what="a permission fault on a block keeps the block, at the faulting IPA",
        sources={
            "v5.10": "user_mem_abort (5.10): transparent_hugepage_adjust, *ipap &= PMD_MASK",
            "seed-2021": "user_mem_abort (5.13): transparent_hugepage_adjust",
            "v6.1": "user_mem_abort (6.1): vma_pagesize = fault_granule",
            "v6.12": "user_mem_abort (6.12): vma_pagesize = fault_granule",
            "v7.2": "kvm_s2_fault_map (7.2): mapping_size = perm_fault_granule",
        },
    ),
    "marks_mapping": KnobSource(
        what="the first page of the mapping is marked dirty, not the page of the fault",
        sources={
            "v5.10": "user_mem_abort (5.10): mark_page_dirty(kvm, gfn) before the THP adjustment",
            "seed-2021": "user_mem_abort (5.13): gfn of before the THP adjustment",
            "v6.1": "user_mem_abort (6.1): gfn of before the THP adjustment",
            "v6.12": "user_mem_abort (6.12): gfn of before the THP adjustment",
            "v7.2": "kvm_s2_fault_map (7.2): ipa &= ~(mapping_size - 1)",
        },
    ),
    "dirty_ring": KnobSource(
        what="the VM can have dirty rings",
        sources={
            "v5.10": "arch/arm64/kvm/Kconfig (5.10): no dirty ring",
            "seed-2021": "arch/arm64/kvm/Kconfig (5.13): no dirty ring",
            "v6.1": "arch/arm64/kvm/Kconfig (6.1): HAVE_KVM_DIRTY_RING is not selected",
            "v6.12": "arch/arm64/kvm/Kconfig (6.12): HAVE_KVM_DIRTY_RING_ACQ_REL",
            "v7.2": "arch/arm64/kvm/Kconfig (7.2): HAVE_KVM_DIRTY_RING_ACQ_REL",
        },
    ),
    "eager_split": KnobSource(
        what="blocks can be split when logging starts",
        sources={
            "v5.10": "kvm_vm_ioctl_enable_cap (5.10): no such capability",
            "seed-2021": "kvm_vm_ioctl_enable_cap (5.13): no such capability",
            "v6.1": "kvm_vm_ioctl_enable_cap (6.1): no such capability",
            "v6.12": "kvm_mmu_split_huge_pages (6.12)",
            "v7.2": "kvm_mmu_split_huge_pages (7.2)",
        },
    ),
    "huge_zero_becomes_huge": KnobSource(
        what="a write to the huge zero page allocates a huge page",
        sources={
            "v5.10": "do_huge_pmd_wp_page (5.10): is_huge_zero_pmd falls back to a split",
            "seed-2021": "do_huge_pmd_wp_page (5.13): is_huge_zero_pmd falls back to a split",
            "v6.1": "do_huge_pmd_wp_page (6.1): is_huge_zero_pmd falls back to a split",
            "v6.12": "do_huge_pmd_wp_page (6.12): is_huge_zero_pmd falls back to a split",
            "v7.2": "do_huge_zero_wp_pmd (7.2)",
        },
    ),
    "hugetlb_dontneed": KnobSource(
        what="MADV_DONTNEED takes hugetlb memory",
        sources={
            "v5.10": "madvise_dontneed_free (5.10): can_madv_lru_vma refuses VM_HUGETLB",
            "seed-2021": "madvise_dontneed_free (5.13): can_madv_lru_vma refuses VM_HUGETLB",
            "v6.1": "madvise_dontneed_free_valid_vma (6.1): whole huge pages",
            "v6.12": "madvise_dontneed_free_valid_vma (6.12): whole huge pages",
            "v7.2": "madvise_dontneed_free_valid_vma (7.2): whole huge pages",
        },
    ),
    "prot": KnobSource(
        what="the numbers of enum kvm_pgtable_prot",
        sources={
            "v5.10": "enum kvm_pgtable_prot, asm/kvm_pgtable.h (5.10)",
            "seed-2021": "enum kvm_pgtable_prot, asm/kvm_pgtable.h (5.13)",
            "v6.1": "enum kvm_pgtable_prot, asm/kvm_pgtable.h (6.1)",
            "v6.12": "enum kvm_pgtable_prot, asm/kvm_pgtable.h (6.12)",
            "v7.2": "enum kvm_pgtable_prot, asm/kvm_pgtable.h (7.2): PX=1 UX=2 X=3 W=4 R=8",
        },
    ),
}
