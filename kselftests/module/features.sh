#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What the kernel under KERNEL_SOURCE has, as -D options: read from its headers,
# so that a backport or a vendor's tree is seen as what it is.
#
# usage: features.sh KERNEL_SOURCE
set -eu

include=$1/arch/arm64/include/asm

flatten() {
	tr -s '[:space:]' ' ' <"$include/$1"
}

pgtable=$(flatten kvm_pgtable.h)
asm=$(flatten kvm_asm.h)
host=$(flatten kvm_host.h)
# The body of struct kvm_s2_mmu; its comments hold no "};".
mmu=${host#*struct kvm_s2_mmu \{}
mmu=${mmu%%\};*}

has() {
	case $2 in
	*"$3"*) echo "-D$1" ;;
	esac
}

has HX_HAS_MM_OPS "$pgtable" 'struct kvm_pgtable_mm_ops {'
has HX_HAS_GET_VTCR "$pgtable" 'u64 kvm_get_vtcr('
has HX_HAS_SW "$pgtable" 'KVM_PGTABLE_PROT_SW0 '
has HX_HAS_NC "$pgtable" 'KVM_PGTABLE_PROT_NORMAL_NC '
has HX_HAS_WALK_SHARED "$pgtable" 'KVM_PGTABLE_WALK_SHARED '
has HX_HAS_HANDLE_FAULT "$pgtable" 'KVM_PGTABLE_WALK_HANDLE_FAULT '
has HX_HAS_IGNORE_EAGAIN "$pgtable" 'KVM_PGTABLE_WALK_IGNORE_EAGAIN '
has HX_HAS_FREE_UNLINKED "$pgtable" '(*free_unlinked_table)('
has HX_HAS_SET_OWNER "$pgtable" 'kvm_pgtable_stage2_set_owner('
has HX_HAS_ANNOTATE "$pgtable" 'kvm_pgtable_stage2_annotate('
has HX_HAS_SPLIT "$pgtable" 'kvm_pgtable_stage2_split('
has HX_HAS_GET_LEAF "$pgtable" 'kvm_pgtable_get_leaf('
has HX_LEAF_LEVEL_IS_S8 "$pgtable" 'kvm_pte_t *ptep, s8 *level)'
has HX_HAS_TEST_CLEAR_YOUNG "$pgtable" 'kvm_pgtable_stage2_test_clear_young('
has HX_MKYOUNG_HAS_FLAGS "$pgtable" 'void kvm_pgtable_stage2_mkyoung('
has HX_RELAX_HAS_FLAGS "$pgtable" \
	'kvm_pgtable_stage2_relax_perms(struct kvm_pgtable *pgt, u64 addr, enum kvm_pgtable_prot prot, enum kvm_pgtable_walk_flags flags)'
has HX_MMU_HAS_VTCR "$mmu" 'u64 vtcr;'
has HX_MMU_HAS_ARCH "$mmu" 'struct kvm_arch *arch;'
has HX_HAS_TLBI_NSH "$asm" '__KVM_HOST_SMCCC_FUNC___kvm_tlb_flush_vmid_ipa_nsh'
has HX_HAS_TLBI_RANGE "$asm" '__KVM_HOST_SMCCC_FUNC___kvm_tlb_flush_vmid_range'
