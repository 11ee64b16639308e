// SPDX-License-Identifier: GPL-2.0-only
/*
 * TLB invalidation without VHE: a hypercall, inlined into the walkers. The probe
 * sits on the instruction in front of each HVC, since the HVC itself cannot have
 * one. When that instruction has been stepped, x0 says which call it is; the call
 * is counted and, as with VHE, not made.
 */
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/string.h>
#include <asm/kvm_asm.h>

#include "hx.h"

#define HVC_0		0xd4000002U
#define INSTRUCTION	sizeof(u32)
/* pgtable.o is much smaller; what lies around it is told apart by name. */
#define AROUND		(128 << 10)
#define MAX_SITES	32

static struct kprobe sites[MAX_SITES];
static int nr_sites;

static const char * const callers[] = {
	"stage2_",
	"kvm_pgtable_stage2_",
	"kvm_tlb_flush_vmid_range",
};

static bool by_pgtable(unsigned long address)
{
	char name[KSYM_SYMBOL_LEN];
	int i;

	sprint_symbol(name, address);
	for (i = 0; i < ARRAY_SIZE(callers); i++) {
		if (!strncmp(name, callers[i], strlen(callers[i])))
			return true;
	}
	return false;
}

/* Which count a call belongs to; -1: it is no TLB invalidation. */
static int kind_of(u64 function)
{
	switch ((u32)function) {
	case (u32)KVM_HOST_SMCCC_FUNC(__kvm_tlb_flush_vmid_ipa):
		return HX_TLBI_IPA;
	case (u32)KVM_HOST_SMCCC_FUNC(__kvm_tlb_flush_vmid):
		return HX_TLBI_VMID;
#ifdef HX_HAS_TLBI_NSH
	case (u32)KVM_HOST_SMCCC_FUNC(__kvm_tlb_flush_vmid_ipa_nsh):
		return HX_TLBI_IPA_NSH;
#endif
#ifdef HX_HAS_TLBI_RANGE
	case (u32)KVM_HOST_SMCCC_FUNC(__kvm_tlb_flush_vmid_range):
		return HX_TLBI_RANGE;
#endif
	default:
		return -1;
	}
}

static void in_front_of_hvc(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
	int kind = kind_of(regs->regs[0]);

	if (READ_ONCE(hx.task) != current || !in_task() || kind < 0)
		return;
	hx.counts.tlbi[kind]++;
	regs->regs[0] = SMCCC_RET_SUCCESS;
	instruction_pointer_set(regs, instruction_pointer(regs) + INSTRUCTION);
}

void hx_hvc_exit(void)
{
	while (nr_sites)
		unregister_kprobe(&sites[--nr_sites]);
}

/* 0 where every call is counted. */
int hx_hvc_init(void)
{
	unsigned long middle = (unsigned long)hx.kernel.map;
	unsigned long address;

	for (address = middle - AROUND; address < middle + AROUND; address += INSTRUCTION) {
		struct kprobe *site = &sites[nr_sites];
		int error;

		if (*(const u32 *)address != HVC_0 || !by_pgtable(address))
			continue;
		error = nr_sites == MAX_SITES - 1 ? -E2BIG : 0;
		*site = (struct kprobe){
			.addr = (kprobe_opcode_t *)(address - INSTRUCTION),
			.post_handler = in_front_of_hvc,
		};
		if (!error)
			error = register_kprobe(site);
		if (error) {
			pr_info("hx_pgtable: no kprobe in front of the HVC at %pS: %d\n",
				(void *)address, error);
			hx_hvc_exit();
			return error;
		}
		nr_sites++;
	}
	return nr_sites ? 0 : -ENOENT;
}
