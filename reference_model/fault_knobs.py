# SPDX-License-Identifier: GPL-2.0-only
"""Knobs of the fault path and the memslot ioctls: what differs by kernel, with its source."""

from __future__ import annotations

from msgspec import Struct


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
    prot: ProtBits


class KnobSource(Struct, frozen=True, kw_only=True):
    """What a knob means, and per profile the kernel function its value was read in."""

    what: str
    sources: dict[str, str]


_X1 = ProtBits(x=1, w=2, r=4)
_X3 = ProtBits(x=3, w=4, r=8)

FAULT_KNOBS: dict[str, FaultKnobs] = {
    "v5.10": FaultKnobs(
        protected_ipa_is_limit=False,
        protected_calls_hyp=False,
        oob_injects=False,
        change_pte_maps=True,
        maps_at_page=False,
        prot=_X1,
    ),
    "seed-2021": FaultKnobs(
        protected_ipa_is_limit=False,
        protected_calls_hyp=False,
        oob_injects=False,
        change_pte_maps=True,
        maps_at_page=False,
        prot=_X1,
    ),
    "v6.1": FaultKnobs(
        protected_ipa_is_limit=False,
        protected_calls_hyp=False,
        oob_injects=True,
        change_pte_maps=True,
        maps_at_page=False,
        prot=_X1,
    ),
    "v6.12": FaultKnobs(
        protected_ipa_is_limit=True,
        protected_calls_hyp=False,
        oob_injects=True,
        change_pte_maps=False,
        maps_at_page=False,
        prot=_X1,
    ),
    "v7.2": FaultKnobs(
        protected_ipa_is_limit=True,
        protected_calls_hyp=True,
        oob_injects=True,
        change_pte_maps=False,
        maps_at_page=True,
        prot=_X3,
    ),
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
