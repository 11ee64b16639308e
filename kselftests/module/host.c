// SPDX-License-Identifier: GPL-2.0-only
/* The kernel and the machine: addresses of functions, facts, a table to work on. */
#include <linux/arm-smccc.h>
#include <linux/kprobes.h>
#include <asm/cpufeature.h>
#include <asm/kvm_arm.h>
#include <asm/kvm_asm.h>
#include <asm/kvm_mmu.h>
#include <asm/stage2_pgtable.h>
#include <asm/virt.h>

#include "hx.h"

/* The most pages a concatenated root has. */
#define ROOT_ORDER	4

/*
 * TLB invalidation loads a root address. It is not that of the table under test,
 * which is full of made-up addresses, but of zeroed pages.
 */
static unsigned long empty_root;

static const struct {
	const char *name;
	size_t offset;
} wanted[] = {
#define WANTED(name, member) { name, offsetof(struct hx_symbols, member) }
#ifdef HX_HAS_MM_OPS
	WANTED("__kvm_pgtable_stage2_init", init),
#else
	WANTED("kvm_pgtable_stage2_init", init),
#endif
	WANTED("kvm_pgtable_stage2_destroy", destroy),
	WANTED("kvm_pgtable_stage2_map", map),
	WANTED("kvm_pgtable_stage2_unmap", unmap),
	WANTED("kvm_pgtable_stage2_wrprotect", wrprotect),
	WANTED("kvm_pgtable_stage2_relax_perms", relax_perms),
	WANTED("kvm_pgtable_stage2_mkyoung", mkyoung),
#ifdef HX_HAS_TEST_CLEAR_YOUNG
	WANTED("kvm_pgtable_stage2_test_clear_young", test_clear_young),
#else
	WANTED("kvm_pgtable_stage2_mkold", mkold),
	WANTED("kvm_pgtable_stage2_is_young", is_young),
#endif
	WANTED("kvm_pgtable_stage2_flush", flush),
#ifdef HX_HAS_SET_OWNER
	WANTED("kvm_pgtable_stage2_set_owner", set_owner),
#endif
#ifdef HX_HAS_ANNOTATE
	WANTED("kvm_pgtable_stage2_annotate", annotate),
#endif
#ifdef HX_HAS_SPLIT
	WANTED("kvm_pgtable_stage2_split", split),
#endif
#ifdef HX_HAS_GET_LEAF
	WANTED("kvm_pgtable_get_leaf", get_leaf),
#endif
#ifdef HX_HAS_FREE_UNLINKED
	WANTED("kvm_pgtable_stage2_free_unlinked", free_unlinked),
#endif
#ifdef HX_HAS_GET_VTCR
	WANTED("kvm_get_vtcr", get_vtcr),
#endif
	WANTED("get_kvm_ipa_limit", get_kvm_ipa_limit),
	WANTED("create_hyp_mappings", create_hyp_mappings),
};

/* Not exported since 5.7; a probe on it tells where it is. */
static unsigned long (*find_lookup(void))(const char *name)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	void *address;

	if (register_kprobe(&probe))
		return NULL;
	address = probe.addr;
	unregister_kprobe(&probe);
	return address;
}

static u64 features(void)
{
	u64 features = 0;

	if (IS_ENABLED(HX_HAS_WALK_SHARED))
		features |= HX_FEATURE_SHARED;
	if (IS_ENABLED(HX_HAS_HANDLE_FAULT))
		features |= HX_FEATURE_HANDLE_FAULT;
	if (IS_ENABLED(HX_HAS_IGNORE_EAGAIN))
		features |= HX_FEATURE_IGNORE_EAGAIN;
	if (IS_ENABLED(HX_HAS_SW))
		features |= HX_FEATURE_SW;
	if (IS_ENABLED(HX_HAS_NC))
		features |= HX_FEATURE_NC;
	if (IS_ENABLED(HX_HAS_SET_OWNER))
		features |= HX_FEATURE_SET_OWNER;
	if (IS_ENABLED(HX_HAS_ANNOTATE))
		features |= HX_FEATURE_ANNOTATE;
	if (IS_ENABLED(HX_HAS_SPLIT))
		features |= HX_FEATURE_SPLIT;
	if (IS_ENABLED(HX_HAS_GET_LEAF))
		features |= HX_FEATURE_GET_LEAF;
	return features;
}

static int resolve(void)
{
	unsigned long (*lookup)(const char *name) = find_lookup();
	int i;

	if (!lookup) {
		pr_err("hx_pgtable: no kprobe on kallsyms_lookup_name\n");
		return -ENOENT;
	}
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		unsigned long address = lookup(wanted[i].name);

		if (!address) {
			pr_err("hx_pgtable: this kernel has no %s\n", wanted[i].name);
			return -ENOENT;
		}
		*(unsigned long *)((void *)&hx.kernel + wanted[i].offset) = address;
	}
	hx.info.features = features();
	hx_live_init(lookup);
	return 0;
}

static u64 host_facts(void)
{
	u64 host = 0;

	if (is_kernel_in_hyp_mode())
		host |= HX_HOST_VHE;
	if (cpus_have_cap(ARM64_HAS_STAGE2_FWB))
		host |= HX_HOST_FWB;
	if (cpus_have_cap(ARM64_HAS_CACHE_DIC))
		host |= HX_HOST_DIC;
#ifdef ARM64_HAS_TLB_RANGE
	if (cpus_have_cap(ARM64_HAS_TLB_RANGE))
		host |= HX_HOST_TLB_RANGE;
#endif
#ifdef ARM64_HAS_XNX
	if (cpus_have_cap(ARM64_HAS_XNX))
		host |= HX_HOST_XNX;
#endif
#ifdef ARM64_HAS_LPA2
	if (system_supports_lpa2())
		host |= HX_HOST_LPA2;
#endif
	return host;
}

/* What EL2 reads when it invalidates: the VM with its mmu, and nothing else. */
static int make_vm(void)
{
	int error;

	empty_root = __get_free_pages(GFP_KERNEL | __GFP_ZERO, ROOT_ORDER);
	hx.vm = alloc_pages_exact(sizeof(*hx.vm), GFP_KERNEL | __GFP_ZERO);
	if (!empty_root || !hx.vm)
		return -ENOMEM;
	error = hx.kernel.create_hyp_mappings(hx.vm, hx.vm + 1, PAGE_HYP);
	if (error)
		pr_err("hx_pgtable: create_hyp_mappings failed: %d\n", error);
	return error;
}

int hx_host_init(void)
{
	int error;

#ifdef ARM64_KVM_PROTECTED_MODE
	if (cpus_have_cap(ARM64_KVM_PROTECTED_MODE)) {
		pr_err("hx_pgtable: not in protected mode: EL2 would not see the table\n");
		return -EOPNOTSUPP;
	}
#endif
	error = resolve();
	if (error)
		return error;
	hx.info.abi = HX_ABI;
	hx.info.page_shift = PAGE_SHIFT;
	hx.info.ipa_limit = hx.kernel.get_kvm_ipa_limit();
	hx.info.host = host_facts();
	if (!hx.info.ipa_limit) {
		pr_err("hx_pgtable: KVM is not initialised on this machine\n");
		return -EOPNOTSUPP;
	}
	return make_vm();
}

void hx_host_exit(void)
{
	if (hx.vm)
		free_pages_exact(hx.vm, sizeof(*hx.vm));
	free_pages(empty_root, ROOT_ORDER);
	hx.vm = NULL;
	empty_root = 0;
}

/*
 * Without VHE, TLB invalidation that is not diverted is a call to EL2, and kernels
 * before 6.12 leave EL2 to the boot stub while there is no VM. A call that KVM
 * does not know tells who answers.
 */
bool hx_el2_answers(void)
{
	struct arm_smccc_res res;

	if (hx.info.host & HX_HOST_VHE || hx.info.channels & HX_CHANNEL_TLBI)
		return true;
	arm_smccc_1_1_hvc(KVM_HOST_SMCCC_ID(0x7fff), &res);
	return res.a0 != HVC_STUB_ERR;
}

static u64 vtcr_for(u32 ipa_bits)
{
	u64 mmfr0 = read_sanitised_ftr_reg(SYS_ID_AA64MMFR0_EL1);

#ifdef HX_HAS_GET_VTCR
	return hx.kernel.get_vtcr(mmfr0, read_sanitised_ftr_reg(SYS_ID_AA64MMFR1_EL1), ipa_bits);
#else
	/* kvm_arm_setup_stage2() of 5.10, which wants a whole VM */
	u64 parange = cpuid_feature_extract_unsigned_field(mmfr0, ID_AA64MMFR0_PARANGE_SHIFT);
	u8 levels = max_t(u8, stage2_pgtable_levels(ipa_bits), 2);

	parange = min_t(u64, parange, ID_AA64MMFR0_PARANGE_MAX);
	return VTCR_EL2_FLAGS | (parange << VTCR_EL2_PS_SHIFT) | VTCR_EL2_T0SZ(ipa_bits) |
	       VTCR_EL2_LVLS_TO_SL0(levels) | VTCR_EL2_HA | VTCR_EL2_VS_8BIT;
#endif
}

/* VMID 0 stays: invalidation of the host's own, which costs and harms nothing. */
int hx_table_create(u32 ipa_bits)
{
	struct kvm_s2_mmu *mmu = hx_mmu();
	u64 vtcr = vtcr_for(ipa_bits);

	memset(&hx.pgt, 0, sizeof(hx.pgt));
	mmu->pgd_phys = __pa(empty_root);
	mmu->pgt = &hx.pgt;
#ifdef HX_MMU_HAS_ARCH
	mmu->arch = &hx.vm->arch;
#else
	mmu->kvm = hx.vm;
#endif
#ifdef HX_MMU_HAS_VTCR
	mmu->vtcr = vtcr;
#else
	hx.vm->arch.vtcr = vtcr;
#endif
#ifdef HX_HAS_MM_OPS
	return hx.kernel.init(&hx.pgt, mmu, &hx_mm_ops, 0, NULL);
#else
	return hx.kernel.init(&hx.pgt, hx.vm);
#endif
}
