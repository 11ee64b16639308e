// SPDX-License-Identifier: GPL-2.0-only
/*
 * While a program's step runs, its calls of some kernel functions go to the
 * module instead: a probe on the function's first instruction, whose handler
 * changes the program counter. Calls of every other task, and of interrupts, run
 * as ever.
 *
 * - TLB invalidation is counted, and not done: no CPU ever uses the table. (With
 *   VHE. Without, it is a hypercall in the middle of its caller: see hvc.c.)
 * - 5.10: the allocator, so that it hands out as many pages as the program says
 *   and then fails; and the cache cleaning of pages that an unmap takes out of
 *   the table, whose addresses are made up.
 */
#include <linux/kprobes.h>

#include "hx.h"

struct divert {
	struct kprobe probe;
	void *to;
};

static void count_ipa(struct kvm_s2_mmu *mmu, phys_addr_t ipa, int level)
{
	hx.counts.tlbi[HX_TLBI_IPA]++;
}

static void count_ipa_nsh(struct kvm_s2_mmu *mmu, phys_addr_t ipa, int level)
{
	hx.counts.tlbi[HX_TLBI_IPA_NSH]++;
}

static void count_vmid(struct kvm_s2_mmu *mmu)
{
	hx.counts.tlbi[HX_TLBI_VMID]++;
}

static void count_range(struct kvm_s2_mmu *mmu, phys_addr_t start, unsigned long pages)
{
	hx.counts.tlbi[HX_TLBI_RANGE]++;
}

#ifndef HX_HAS_MM_OPS
static void count_clean(void *address, size_t size)
{
	hx.counts.dcache++;
}
#endif

static int divert(struct kprobe *probe, struct pt_regs *regs)
{
	if (READ_ONCE(hx.task) != current || !in_task())
		return 0;
	instruction_pointer_set(regs,
				(unsigned long)container_of(probe, struct divert, probe)->to);
	return 1;
}

#define DIVERT(name, function) \
	{ .probe = { .symbol_name = name, .pre_handler = divert }, .to = function }

/* All that a kernel has of these; one that it lacks it cannot call. */
static struct divert tlbi[] = {
	DIVERT("__kvm_tlb_flush_vmid_ipa", count_ipa),
	DIVERT("__kvm_tlb_flush_vmid_ipa_nsh", count_ipa_nsh),
	DIVERT("__kvm_tlb_flush_vmid", count_vmid),
	DIVERT("__kvm_tlb_flush_vmid_range", count_range),
};

static struct divert needed[] = {
#ifndef HX_HAS_MM_OPS
	DIVERT("kvm_mmu_memory_cache_alloc", hx_cache_alloc),
	DIVERT("__flush_dcache_area", count_clean),
#endif
};

static bool is_placed(const struct divert *divert)
{
	return divert->probe.addr;
}

static void remove(struct divert *diverts, int count)
{
	while (count--) {
		if (is_placed(&diverts[count]))
			unregister_kprobe(&diverts[count].probe);
	}
}

/* 0, or the error of the first that cannot be placed although it exists. */
static int place(struct divert *diverts, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		int error = register_kprobe(&diverts[i].probe);

		if (!error)
			continue;
		diverts[i].probe.addr = NULL;
		if (error == -ENOENT && diverts == tlbi)
			continue;
		pr_err("hx_pgtable: no kprobe on %s: %d\n", diverts[i].probe.symbol_name, error);
		remove(diverts, i);
		return error;
	}
	return 0;
}

int hx_divert_init(void)
{
	int error = place(needed, ARRAY_SIZE(needed));

	if (error)
		return error;
	/* Half of the counts would be worse than none. */
	if (hx.info.host & HX_HOST_VHE)
		error = place(tlbi, ARRAY_SIZE(tlbi));
	else
		error = hx_hvc_init();
	if (!error)
		hx.info.channels |= HX_CHANNEL_TLBI;
	return 0;
}

void hx_divert_exit(void)
{
	if (hx.info.host & HX_HOST_VHE && hx.info.channels & HX_CHANNEL_TLBI)
		remove(tlbi, ARRAY_SIZE(tlbi));
	hx_hvc_exit();
	remove(needed, ARRAY_SIZE(needed));
}
