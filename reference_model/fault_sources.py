# SPDX-License-Identifier: GPL-2.0-only
"""Where each knob of the fault path and the memslot ioctls was read: one line per profile.

The functions that 7.2's lines name were compared with those of 7.3. ``arch/arm64/kvm/mmu.c`` has
one condition more in user_mem_abort, that no knob is about (when table pages are set aside), and
``inject_fault.c`` none. 7.3 has a line of its own where ``mm/`` changed in what the line says.
"""

from __future__ import annotations

from msgspec.structs import replace

from reference_model.stage2_sources import KnobDoc, with_later

_READ: dict[str, KnobDoc] = {
    "oob_injects": KnobDoc(
        what="an access at or above the VM's IPA size is answered with an injected abort",
        sources={
            "v5.10": "kvm_handle_guest_abort (5.10): no IPA check before the memslot lookup",
            "seed-2021": "kvm_handle_guest_abort (5.13): no IPA check before the memslot lookup",
            "v6.1": "kvm_handle_guest_abort (6.1): fault_ipa >= BIT_ULL(vcpu ia_bits)",
            "v6.12": "kvm_handle_guest_abort (6.12): fault_ipa >= BIT_ULL(hw_mmu ia_bits)",
            "v7.2": "kvm_handle_guest_abort (7.2): fault_ipa >= BIT_ULL(hw_mmu ia_bits)",
        },
    ),
    "change_pte_maps": KnobDoc(
        what="breaking copy-on-write maps the new page read-only through change_pte",
        sources={
            "v5.10": "kvm_set_spte_hva, kvm_set_spte_handler (5.10): map R with memcache NULL",
            "seed-2021": "kvm_set_spte_gfn (5.13): map R with memcache NULL",
            "v6.1": "kvm_set_spte_gfn (6.1): map R with memcache NULL",
            "v6.12": "virt/kvm/kvm_main.c (6.12): no change_pte in kvm_mmu_notifier_ops",
            "v7.2": "virt/kvm/kvm_main.c (7.2): no change_pte in kvm_mmu_notifier_ops",
        },
    ),
    "protected_ipa_is_limit": KnobDoc(
        what="in protected mode a VM's IPA size is the host's limit",
        sources={
            "v5.10": "kvm_arm_setup_stage2 (5.10): no protected mode",
            "seed-2021": "kvm_arm_setup_stage2 (5.13): as asked for",
            "v6.1": "kvm_arm_setup_stage2 (6.1): as asked for",
            "v6.12": "kvm_init_ipa_range (6.12): phys_shift = kvm_ipa_limit; seen on 6.12.117",
            "v7.2": "kvm_init_ipa_range (7.2): phys_shift = kvm_ipa_limit",
        },
    ),
    "protected_calls_hyp": KnobDoc(
        what="in protected mode the fault path calls pkvm_pgtable_stage2_*",
        sources={
            "v5.10": "user_mem_abort (5.10): no protected mode",
            "seed-2021": "user_mem_abort (5.13): kvm_pgtable_stage2_map",
            "v6.1": "user_mem_abort (6.1): kvm_pgtable_stage2_map",
            "v6.12": "user_mem_abort (6.12): kvm_pgtable_stage2_map",
            "v7.2": "KVM_PGT_FN, kvm_s2_fault_map (7.2)",
        },
    ),
    "maps_at_page": KnobDoc(
        what="the fault path maps at the page's IPA, not at the 4K-aligned faulting IPA",
        sources={
            "v5.10": "user_mem_abort (5.10): kvm_pgtable_stage2_map(pgt, fault_ipa, ...)",
            "seed-2021": "user_mem_abort (5.13): kvm_pgtable_stage2_map(pgt, fault_ipa, ...)",
            "v6.1": "user_mem_abort (6.1): kvm_pgtable_stage2_map(pgt, fault_ipa, ...)",
            "v6.12": "user_mem_abort (6.12): fault_ipa; seen on a 16K kernel",
            "v7.2": "kvm_s2_fault_map (7.2): gfn_to_gpa(gfn)",
        },
    ),
    "keeps_block": KnobDoc(
        what="a permission fault on a block keeps the block, at the faulting IPA",
        sources={
            "v5.10": "user_mem_abort (5.10): transparent_hugepage_adjust, *ipap &= PMD_MASK",
            "seed-2021": "user_mem_abort (5.13): transparent_hugepage_adjust",
            "v6.1": "user_mem_abort (6.1): vma_pagesize = fault_granule",
            "v6.12": "user_mem_abort (6.12): vma_pagesize = fault_granule",
            "v7.2": "kvm_s2_fault_map (7.2): mapping_size = perm_fault_granule",
        },
    ),
    "marks_mapping": KnobDoc(
        what="the first page of the mapping is marked dirty, not the page of the fault",
        sources={
            "v5.10": "user_mem_abort (5.10): mark_page_dirty(kvm, gfn) before the THP adjustment",
            "seed-2021": "user_mem_abort (5.13): gfn of before the THP adjustment",
            "v6.1": "user_mem_abort (6.1): gfn of before the THP adjustment",
            "v6.12": "user_mem_abort (6.12): gfn of before the THP adjustment",
            "v7.2": "kvm_s2_fault_map (7.2): ipa &= ~(mapping_size - 1)",
        },
    ),
    "dirty_ring": KnobDoc(
        what="the VM can have dirty rings",
        sources={
            "v5.10": "arch/arm64/kvm/Kconfig (5.10): no dirty ring",
            "seed-2021": "arch/arm64/kvm/Kconfig (5.13): no dirty ring",
            "v6.1": "arch/arm64/kvm/Kconfig (6.1): HAVE_KVM_DIRTY_RING is not selected",
            "v6.12": "arch/arm64/kvm/Kconfig (6.12): HAVE_KVM_DIRTY_RING_ACQ_REL",
            "v7.2": "arch/arm64/kvm/Kconfig (7.2): HAVE_KVM_DIRTY_RING_ACQ_REL",
        },
    ),
    "eager_split": KnobDoc(
        what="blocks can be split when logging starts",
        sources={
            "v5.10": "kvm_vm_ioctl_enable_cap (5.10): no such capability",
            "seed-2021": "kvm_vm_ioctl_enable_cap (5.13): no such capability",
            "v6.1": "kvm_vm_ioctl_enable_cap (6.1): no such capability",
            "v6.12": "kvm_mmu_split_huge_pages (6.12)",
            "v7.2": "kvm_mmu_split_huge_pages (7.2)",
        },
    ),
    "huge_zero_becomes_huge": KnobDoc(
        what="a write to the huge zero page allocates a huge page",
        sources={
            "v5.10": "do_huge_pmd_wp_page (5.10): is_huge_zero_pmd falls back to a split",
            "seed-2021": "do_huge_pmd_wp_page (5.13): is_huge_zero_pmd falls back to a split",
            "v6.1": "do_huge_pmd_wp_page (6.1): is_huge_zero_pmd falls back to a split",
            "v6.12": "do_huge_pmd_wp_page (6.12): is_huge_zero_pmd falls back to a split",
            "v7.2": "do_huge_zero_wp_pmd (7.2)",
        },
    ),
    "huge_by_mapcount": KnobDoc(
        what="a huge page that a child mapped page by page is no block any more",
        sources={
            "v5.10": "PageTransCompoundMap (5.10): page->_mapcount < 0; seen after fork",
            "seed-2021": "PageTransCompoundMap (5.13): page->_mapcount < 0",
            "v6.1": "get_user_mapping_size (6.1): the user page table",
            "v6.12": "get_user_mapping_size (6.12): the user page table",
            "v7.2": "get_user_mapping_size (7.2): the user page table",
        },
    ),
    "hugetlb_dontneed": KnobDoc(
        what="MADV_DONTNEED takes hugetlb memory",
        sources={
            "v5.10": "madvise_dontneed_free (5.10): can_madv_lru_vma refuses VM_HUGETLB",
            "seed-2021": "madvise_dontneed_free (5.13): can_madv_lru_vma refuses VM_HUGETLB",
            "v6.1": "madvise_dontneed_free_valid_vma (6.1): whole huge pages",
            "v6.12": "madvise_dontneed_free_valid_vma (6.12): whole huge pages",
            "v7.2": "madvise_dontneed_free_valid_vma (7.2): whole huge pages",
        },
    ),
    "reuse_is_luck": KnobDoc(
        what="a write to a read-only page of one's own may copy it",
        sources={
            "v5.10": "do_wp_page (5.10): page_count(page) != 1 copies",
            "seed-2021": "do_wp_page (5.13): page_count(page) != 1 copies",
            "v6.1": "do_wp_page (6.1): PageAnonExclusive, lru_add_drain",
            "v6.12": "do_wp_page (6.12): PageAnonExclusive, lru_add_drain",
            "v7.2": "do_wp_page (7.2): PageAnonExclusive, lru_add_drain",
        },
    ),
    "split_dirties": KnobDoc(
        what="the entries that a huge page is split into are dirty",
        sources={
            "v5.10": "pte_mkwrite (5.10, arm64): clears PTE_RDONLY; seen on 5.10.0-32",
            "seed-2021": "pte_mkwrite (5.13, arm64): clears PTE_RDONLY",
            "v6.1": "pte_mkwrite (6.1, arm64): PTE_RDONLY stays unless pte_sw_dirty",
            "v6.12": "pte_mkwrite_novma (6.12, arm64): PTE_RDONLY stays unless pte_sw_dirty",
            "v7.2": "pte_mkwrite_novma (7.2, arm64): PTE_RDONLY stays unless pte_sw_dirty",
        },
    ),
    "splits_mapped_parts": KnobDoc(
        what="MADV_FREE and MADV_PAGEOUT split every huge page that small entries map",
        sources={
            "v5.10": "madvise_free_pte_range (5.10): PageTransCompound; seen on 5.10.0-32",
            "seed-2021": "madvise_free_pte_range (5.13): PageTransCompound",
            "v6.1": "madvise_free_pte_range (6.1): PageTransCompound",
            "v6.12": "madvise_free_pte_range (6.12): madvise_folio_pte_batch",
            "v7.2": "madvise_free_pte_range (7.2): madvise_folio_pte_batch",
        },
    ),
    "split_frees_zeroes": KnobDoc(
        what="zero-filled parts of a split huge page become the zero page",
        sources={
            "v5.10": "remap_page (5.10): every part stays",
            "seed-2021": "remap_page (5.13): every part stays",
            "v6.1": "remap_page (6.1): every part stays",
            "v6.12": "try_to_map_unused_to_zeropage (6.12)",
            "v7.2": "try_to_map_unused_to_zeropage (7.2)",
        },
    ),
    "joins_entries": KnobDoc(
        what="small entries of a huge page are joined, and seen as a part where not all are",
        sources={
            "v5.10": "set_pte_at (5.10, arm64): entries stand alone",
            "seed-2021": "set_pte_at (5.13, arm64): entries stand alone",
            "v6.1": "set_pte_at (6.1, arm64): entries stand alone",
            "v6.12": "__contpte_try_fold, contpte_ptep_get, folio_pte_batch (6.12): PTE_CONT "
            "is compared; seen on 6.12.117",
            "v7.2": "__contpte_try_fold, contpte_ptep_get, folio_pte_batch_flags (7.2): PTE_CONT "
            "is compared; seen on 7.2.13",
        },
    ),
    "writes_rows": KnobDoc(
        what="mprotect, and reclaim that puts entries back, write rows of them",
        sources={
            "v5.10": "change_pte_range (5.10): one by one",
            "seed-2021": "change_pte_range (5.13): one by one",
            "v6.1": "change_pte_range (6.1): one by one",
            "v6.12": "change_pte_range, try_to_unmap_one (6.12): one by one",
            "v7.2": "mprotect_folio_pte_batch, folio_unmap_pte_batch (7.2): set_ptes of a row",
        },
    ),
    "split_takes_block": KnobDoc(
        what="splitting a huge page invalidates all of where it was, not VMA by VMA",
        sources={
            "v5.10": "try_to_unmap_one (5.10): split_huge_pmd_address, of the whole PMD's range",
            "seed-2021": "try_to_migrate_one (5.13): split_huge_pmd_address",
            "v6.1": "try_to_migrate_one (6.1): split_huge_pmd_address",
            "v6.12": "try_to_migrate_one (6.12): split_huge_pmd_address",
            "v7.2": "try_to_migrate_one (7.2): splits within its VMA's range; rmap_walk_anon ends "
            "where folio_not_mapped",
        },
    ),
    "reuses_parts": KnobDoc(
        what="a part of a huge page may be reused after a fork",
        sources={
            "v5.10": "do_wp_page (5.10): page_count of a part is the huge page's",
            "seed-2021": "do_wp_page (5.13): page_count of a part is the huge page's",
            "v6.1": "do_wp_page (6.1): folio_ref_count above 3 copies",
            "v6.12": "wp_can_reuse_anon_folio (6.12): not where folio_test_large",
            "v7.2": "__wp_can_reuse_large_anon_folio (7.2)",
        },
    ),
    "dontneed_frees_tables": KnobDoc(
        what="MADV_DONTNEED frees the page tables that it empties",
        sources={
            "v5.10": "zap_pte_range (5.10): tables stay until munmap",
            "seed-2021": "zap_pte_range (5.13): tables stay until munmap",
            "v6.1": "zap_pte_range (6.1): tables stay until munmap",
            "v6.12": "zap_pte_range (6.12): tables stay until munmap",
            "v7.2": "pte_table_reclaim_possible, zap_pte_range (7.2); seen on 7.2.13",
        },
    ),
    "remove_needs_write": KnobDoc(
        what="MADV_REMOVE needs VM_WRITE",
        sources={
            "v5.10": "madvise_remove (5.10): VM_SHARED|VM_WRITE, else -EACCES",
            "seed-2021": "madvise_remove (5.13): VM_SHARED|VM_WRITE, else -EACCES",
            "v6.1": "madvise_remove (6.1): vma_is_shared_maywrite",
            "v6.12": "madvise_remove (6.12): vma_is_shared_maywrite",
            "v7.2": "madvise_remove (7.2): vma_is_shared_maywrite",
        },
    ),
    "swap_in_writable": KnobDoc(
        what="a read that swaps in maps writable",
        sources={
            "v5.10": "do_swap_page (5.10): maybe_mkwrite for FAULT_FLAG_WRITE",
            "seed-2021": "do_swap_page (5.13): maybe_mkwrite for FAULT_FLAG_WRITE",
            "v6.1": "do_swap_page (6.1): maybe_mkwrite for FAULT_FLAG_WRITE",
            "v6.12": "do_swap_page (6.12): pte_mkwrite where VM_WRITE",
            "v7.2": "do_swap_page (7.2): pte_mkwrite where VM_WRITE",
            "v7.3": "do_swap_page (7.3): pte_mkwrite where exclusive and VM_WRITE",
        },
    ),
    "drops_blocks": KnobDoc(
        what="a huge page that MADV_FREE took is dropped as one",
        sources={
            "v5.10": "shrink_page_list (5.10): split_huge_page_to_list",
            "seed-2021": "shrink_page_list (5.13): split_huge_page_to_list",
            "v6.1": "try_to_unmap_one (6.1): TTU_SPLIT_HUGE_PMD",
            "v6.12": "try_to_unmap_one (6.12): split_huge_pmd_locked; seen on 6.12.117",
            "v7.2": "try_to_unmap_one (7.2): unmap_huge_pmd_locked; seen on 7.2.13",
            "v7.3": "try_to_unmap_one (7.3): no unmap_huge_pmd_locked; seen on 7.3.4",
        },
    ),
    "swap_in_cached": KnobDoc(
        what="a page that is swapped in goes through the swap cache",
        sources={
            "v5.10": "do_swap_page (5.10): skip swapcache where __swap_count is 1",
            "seed-2021": "do_swap_page (5.13): skip swapcache where __swap_count is 1",
            "v6.1": "do_swap_page (6.1): skip swapcache where __swap_count is 1",
            "v6.12": "do_swap_page (6.12): skip swapcache where __swap_count is 1",
            "v7.2": "do_swap_page (7.2): swapin_sync",
        },
    ),
    "asks_again": KnobDoc(
        what="a load that finds no page asks for one to write to: the VMA gets an anon_vma",
        sources={
            "v5.10": "hva_to_pfn (5.10): check_user_page_hwpoison, FOLL_WRITE",
            "seed-2021": "hva_to_pfn (5.13): check_user_page_hwpoison, FOLL_WRITE",
            "v6.1": "hva_to_pfn (6.1): check_user_page_hwpoison, FOLL_WRITE",
            "v6.12": "hva_to_pfn (6.12): check_user_page_hwpoison, FOLL_WRITE",
            "v7.2": "hva_to_pfn (7.2): takes -EHWPOISON of its own request",
        },
    ),
    "merges_into_bare": KnobDoc(
        what="a VMA with an anon_vma merges with one beside it that has none",
        sources={
            "v5.10": "is_mergeable_anon_vma (5.10): list_is_singular of the other's chain",
            "seed-2021": "is_mergeable_anon_vma (5.13): list_is_singular of the other's chain",
            "v6.1": "is_mergeable_anon_vma (6.1): list_is_singular of the other's chain",
            "v6.12": "is_mergeable_anon_vma (6.12): list_is_singular of the other's chain",
            "v7.2": "is_mergeable_anon_vma (7.2): case 1, dup_anon_vma()",
        },
    ),
    "mprotect_unaccounts": KnobDoc(
        what="mprotect(PROT_READ) of memory without an anon_vma clears VM_ACCOUNT",
        sources={
            "v5.10": "mprotect_fixup (5.10): VM_ACCOUNT is never cleared",
            "seed-2021": "mprotect_fixup (5.13): VM_ACCOUNT is never cleared",
            "v6.1": "mprotect_fixup (6.1): VM_ACCOUNT is never cleared",
            "v6.12": "mprotect_fixup (6.12): newflags &= ~VM_ACCOUNT",
            "v7.2": "mprotect_fixup (7.2): vma_flags_clear(VMA_ACCOUNT_BIT)",
        },
    ),
    "mprotect_writable": KnobDoc(
        what="mprotect makes exclusive pages writable at once",
        sources={
            "v5.10": "change_pte_range (5.10): only with dirty_accountable",
            "seed-2021": "change_pte_range (5.13): only with dirty_accountable",
            "v6.1": "can_change_pte_writable (6.1)",
            "v6.12": "can_change_pte_writable (6.12)",
            "v7.2": "can_change_private_pte_writable (7.2)",
        },
    ),
    "mprotect_needs_dirty": KnobDoc(
        what="of private pages only those with a dirty entry",
        sources={
            "v5.10": "change_pte_range (5.10): none",
            "seed-2021": "change_pte_range (5.13): none",
            "v6.1": "can_change_pte_writable (6.1): pte_dirty; seen on 6.1.0-56",
            "v6.12": "can_change_pte_writable (6.12): PageAnonExclusive alone",
            "v7.2": "can_change_private_pte_writable (7.2): PageAnonExclusive alone",
        },
    ),
    "free_asks_first_part": KnobDoc(
        what="MADV_FREE stops at a huge page whose first part is not mapped",
        sources={
            "v5.10": "madvise_free_pte_range (5.10): page_mapcount of the part itself",
            "seed-2021": "madvise_free_pte_range (5.13): page_mapcount of the part itself",
            "v6.1": "madvise_free_pte_range (6.1): folio_estimated_sharers; seen on 6.1.0-56",
            "v6.12": "madvise_free_pte_range (6.12): folio_likely_mapped_shared",
            "v7.2": "madvise_free_pte_range (7.2): folio_maybe_mapped_shared",
        },
    ),
    "mprotect_huge_writable": KnobDoc(
        what="and so with huge pages",
        sources={
            "v5.10": "change_huge_pmd (5.10): leaves them read-only",
            "seed-2021": "change_huge_pmd (5.13): leaves them read-only",
            "v6.1": "change_huge_pmd (6.1): leaves them read-only",
            "v6.12": "can_change_pmd_writable (6.12)",
            "v7.2": "can_change_pmd_writable (7.2)",
        },
    ),
    "madv_collapse": KnobDoc(
        what="MADV_COLLAPSE is known",
        sources={
            "v5.10": "madvise_behavior_valid (5.10): -EINVAL",
            "seed-2021": "madvise_behavior_valid (5.13): -EINVAL",
            "v6.1": "madvise_collapse (6.1)",
            "v6.12": "madvise_collapse (6.12)",
            "v7.2": "madvise_collapse (7.2)",
        },
    ),
    "collapse_needs_edge": KnobDoc(
        what="MADV_COLLAPSE of a range inside a block is -EINVAL, not 0",
        sources={
            "v5.10": "madvise_behavior_valid (5.10): -EINVAL whatever the range",
            "seed-2021": "madvise_behavior_valid (5.13): -EINVAL whatever the range",
            "v6.1": "madvise_collapse (6.1): thps == (hend - hstart) >> HPAGE_PMD_SHIFT",
            "v6.12": "madvise_collapse (6.12): thps == (hend - hstart) >> HPAGE_PMD_SHIFT",
            "v7.2": "madvise_collapse (7.2): hstart >= hend is 0",
        },
    ),
    "uffd_wp": KnobDoc(
        what="userfaultfd write protection on arm64",
        sources={
            "v5.10": "arch/arm64/Kconfig (5.10): no HAVE_ARCH_USERFAULTFD_WP",
            "seed-2021": "arch/arm64/Kconfig (5.13): no HAVE_ARCH_USERFAULTFD_WP",
            "v6.1": "arch/arm64/Kconfig (6.1): no HAVE_ARCH_USERFAULTFD_WP",
            "v6.12": "arch/arm64/Kconfig (6.12): HAVE_ARCH_USERFAULTFD_WP",
            "v7.2": "arch/arm64/Kconfig (7.2): HAVE_ARCH_USERFAULTFD_WP",
        },
    ),
    "uffd_minor": KnobDoc(
        what="userfaultfd minor faults on shared memory",
        sources={
            "v5.10": "userfaultfd.h (5.10): no UFFDIO_CONTINUE",
            "seed-2021": "userfaultfd.h (5.13): for hugetlb memory only",
            "v6.1": "shmem_get_folio_gfp (6.1): userfaultfd_minor",
            "v6.12": "shmem_get_folio_gfp (6.12): userfaultfd_minor",
            "v7.2": "shmem_get_folio_gfp (7.2): userfaultfd_minor",
        },
    ),
    "uffd_merges_next": KnobDoc(
        what="a registration inside a VMA is merged with an equal one behind it",
        sources={
            "v5.10": "userfaultfd_register (5.10): vma_merge gets the VMA's vm_pgoff, not start's",
            "seed-2021": "userfaultfd_register (5.13): vma_merge gets the VMA's vm_pgoff",
            "v6.1": "userfaultfd_register (6.1): vma_merge gets the VMA's vm_pgoff; 6.1.0-56 too",
            "v6.12": "userfaultfd_register_range (6.12): vma_modify_flags_uffd",
            "v7.2": "userfaultfd_register_range (7.2): vma_modify_flags_uffd",
            "v7.3": "userfaultfd_register_range (7.3): vma_modify_flags_uffd",
        },
    ),
    "uffd_anon_first": KnobDoc(
        what="UFFDIO_COPY of what is not registered leaves an anon_vma",
        sources={
            "v5.10": "__mcopy_atomic (5.10): anon_vma_prepare behind the check",
            "seed-2021": "__mcopy_atomic (5.13): anon_vma_prepare behind the check",
            "v6.1": "__mcopy_atomic (6.1): anon_vma_prepare behind the check",
            "v6.12": "uffd_mfill_lock (6.12): find_vma_and_prepare_anon before validate_dst_vma",
            "v7.2": "uffd_mfill_lock (7.2): find_vma_and_prepare_anon before validate_dst_vma",
            "v7.3": "find_vma_and_prepare_anon (7.3) before the check",
        },
    ),
    "uffd_keeps_wp": KnobDoc(
        what="registering again without write protection is -EBUSY",
        sources={
            "v5.10": "userfaultfd.h (5.10): no write protection of arm64",
            "seed-2021": "userfaultfd.h (5.13): no write protection of arm64",
            "v6.1": "userfaultfd.h (6.1): no write protection of arm64",
            "v6.12": "userfaultfd_register (6.12): the new modes stand for the old",
            "v7.2": "userfaultfd_register (7.2): the new modes stand for the old; seen on 7.2.13",
            "v7.3": "userfaultfd_register (7.3): VM_UFFD_WP & ~vm_flags; seen on 7.3.4",
        },
    ),
    "walk_abort_has_level": KnobDoc(
        what="an abort injected for a stage-1 walk says the level",
        sources={
            "v5.10": "inject_abt64 (5.10): ESR_ELx_FSC_EXTABT",
            "seed-2021": "inject_abt64 (5.13): ESR_ELx_FSC_EXTABT",
            "v6.1": "inject_abt64 (6.1): ESR_ELx_FSC_EXTABT",
            "v6.12": "inject_abt64 (6.12): ESR_ELx_FSC_EXTABT",
            "v7.2": "inject_abt64 (7.2): ESR_ELx_FSC_SEA_TTW(level)",
        },
    ),
    "device_at_creation": KnobDoc(
        what="device memory is mapped, all of it, when its slot is made or moved",
        sources={
            "v5.10": "kvm_arch_prepare_memory_region (5.10): kvm_phys_addr_ioremap",
            "seed-2021": "kvm_arch_prepare_memory_region (5.13): no mapping of VM_PFNMAP",
            "v6.1": "kvm_arch_prepare_memory_region (6.1): looks at the flags alone",
            "v6.12": "kvm_arch_prepare_memory_region (6.12): looks at the flags alone",
            "v7.2": "kvm_arch_prepare_memory_region (7.2): looks at the flags alone",
        },
    ),
    "device_blocks": KnobDoc(
        what="device memory gets blocks where its physical address allows them",
        sources={
            "v5.10": "user_mem_abort (5.10): force_pte where VM_PFNMAP",
            "seed-2021": "get_vma_page_shift (5.13): hva and pa modulo the block",
            "v6.1": "get_vma_page_shift (6.1): PAGE_SHIFT where VM_PFNMAP",
            "v6.12": "get_vma_page_shift (6.12): hugetlb alone; a BAR's user mapping is of pages",
            "v7.2": "get_vma_page_shift (7.2): hugetlb alone; a BAR's user mapping is of pages",
        },
    ),
    "slot_flushes_all": KnobDoc(
        what="write-protecting a slot asks for a flush of the whole VM (kvm_flush_remote_tlbs)",
        sources={
            "v5.10": "kvm_arch_flush_remote_tlbs_memslot (5.10): kvm_flush_remote_tlbs",
            "seed-2021": "kvm_arch_flush_remote_tlbs_memslot (5.13): kvm_flush_remote_tlbs",
            "v6.1": "kvm_arch_flush_remote_tlbs_memslot, kvm_mmu_wp_memory_region (6.1)",
            "v6.12": "kvm_flush_remote_tlbs_memslot (6.12): kvm_arch_flush_remote_tlbs_range",
            "v7.2": "kvm_flush_remote_tlbs_memslot (7.2): kvm_arch_flush_remote_tlbs_range",
        },
    ),
    "ages_ranges": KnobDoc(
        what="ageing of a range ages all of its pages, else those that its first page's leaf maps",
        sources={
            "v5.10": "kvm_age_hva_handler (5.10): kvm_pgtable_stage2_mkold of the first address",
            "seed-2021": "kvm_age_gfn (5.13): kvm_pgtable_stage2_mkold of the first address",
            "v6.1": "kvm_age_gfn (6.1): kvm_pgtable_stage2_mkold of the first address",
            "v6.12": "kvm_age_gfn (6.12): kvm_pgtable_stage2_test_clear_young",
            "v7.2": "kvm_age_gfn (7.2): kvm_pgtable_stage2_test_clear_young",
        },
    ),
    "prot": KnobDoc(
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

#: Knob → what it means, and where its value was read for each profile.
FAULT_KNOB_SOURCES: dict[str, KnobDoc] = {
    knob: replace(doc, sources=with_later(doc.sources)) for knob, doc in _READ.items()
}
