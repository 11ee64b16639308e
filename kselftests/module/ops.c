// SPDX-License-Identifier: GPL-2.0-only
/* One operation of a program, as this kernel's page-table API takes it. */
#include <linux/bits.h>

#include "hx.h"

#define DESC_AF		BIT(10)
/* annotate(): the type stands in the four lowest bits of the owner. */
#define OWNER_TYPE	GENMASK_ULL(3, 0)

static const struct {
	u8 flag;
	u64 feature;
	const char *name;
} walk_flags[] = {
	{ HX_WALK_SHARED, HX_FEATURE_SHARED, "shared" },
	{ HX_WALK_HANDLE_FAULT, HX_FEATURE_HANDLE_FAULT, "handle_fault" },
	{ HX_WALK_IGNORE_EAGAIN, HX_FEATURE_IGNORE_EAGAIN, "ignore_eagain" },
};

static int lacks(const char *what)
{
	return hx_fail(-EOPNOTSUPP, "this kernel has no %s", what);
}

int hx_op_supported(const struct hx_op *op)
{
	u64 has = hx.info.features;
	int i;

	for (i = 0; i < ARRAY_SIZE(walk_flags); i++) {
		if ((op->flags & walk_flags[i].flag) && !(has & walk_flags[i].feature))
			return hx_fail(-EOPNOTSUPP, "this kernel has no walk flag %s",
				       walk_flags[i].name);
	}
	if (op->sw && !(has & HX_FEATURE_SW))
		return lacks("software bits");
	if ((op->prot & HX_PROT_NC) && !(has & HX_FEATURE_NC))
		return lacks("Normal non-cacheable memory type");
	switch (op->code) {
	case HX_OP_ANNOTATE:
		if (!(has & (HX_FEATURE_SET_OWNER | HX_FEATURE_ANNOTATE)))
			return lacks("annotate");
		if ((has & HX_FEATURE_SET_OWNER) && op->owner > U8_MAX)
			return lacks("owner above 255");
		return 0;
	case HX_OP_SPLIT:
		return has & HX_FEATURE_SPLIT ? 0 : lacks("split");
	case HX_OP_GET_LEAF:
		return has & HX_FEATURE_GET_LEAF ? 0 : lacks("get_leaf");
	default:
		return 0;
	}
}

static enum kvm_pgtable_prot prot_of(const struct hx_op *op)
{
	u64 prot = 0;

	if (op->prot & HX_PROT_R)
		prot |= KVM_PGTABLE_PROT_R;
	if (op->prot & HX_PROT_W)
		prot |= KVM_PGTABLE_PROT_W;
	if (op->prot & HX_PROT_X)
		prot |= KVM_PGTABLE_PROT_X;
	if (op->prot & HX_PROT_DEVICE)
		prot |= KVM_PGTABLE_PROT_DEVICE;
#ifdef HX_HAS_NC
	if (op->prot & HX_PROT_NC)
		prot |= KVM_PGTABLE_PROT_NORMAL_NC;
#endif
#ifdef HX_HAS_SW
	prot |= (u64)op->sw * KVM_PGTABLE_PROT_SW0;
#endif
	return prot;
}

static enum kvm_pgtable_walk_flags __maybe_unused walk_flags_of(const struct hx_op *op)
{
	u64 flags = 0;

#ifdef HX_HAS_WALK_SHARED
	if (op->flags & HX_WALK_SHARED)
		flags |= KVM_PGTABLE_WALK_SHARED;
#endif
#ifdef HX_HAS_HANDLE_FAULT
	if (op->flags & HX_WALK_HANDLE_FAULT)
		flags |= KVM_PGTABLE_WALK_HANDLE_FAULT;
#endif
#ifdef HX_HAS_IGNORE_EAGAIN
	if (op->flags & HX_WALK_IGNORE_EAGAIN)
		flags |= KVM_PGTABLE_WALK_IGNORE_EAGAIN;
#endif
	return flags;
}

static int do_map(const struct hx_op *op, struct kvm_mmu_memory_cache *cache)
{
#ifdef HX_HAS_WALK_SHARED
	return hx.kernel.map(&hx.pgt, op->ipa, op->size, op->pa, prot_of(op), cache,
			     walk_flags_of(op));
#else
	return hx.kernel.map(&hx.pgt, op->ipa, op->size, op->pa, prot_of(op), cache);
#endif
}

static int do_relax_perms(const struct hx_op *op)
{
#ifdef HX_RELAX_HAS_FLAGS
	return hx.kernel.relax_perms(&hx.pgt, op->ipa, prot_of(op), walk_flags_of(op));
#else
	return hx.kernel.relax_perms(&hx.pgt, op->ipa, prot_of(op));
#endif
}

/* What it returns, where it returns something, is the entry before: no errno. */
static int do_mkyoung(const struct hx_op *op)
{
#ifdef HX_MKYOUNG_HAS_FLAGS
	hx.kernel.mkyoung(&hx.pgt, op->ipa, 0);
#else
	hx.kernel.mkyoung(&hx.pgt, op->ipa);
#endif
	return 0;
}

static int do_age(const struct hx_op *op, bool clear)
{
#ifdef HX_HAS_TEST_CLEAR_YOUNG
	return hx.kernel.test_clear_young(&hx.pgt, op->ipa, op->size, clear);
#else
	if (clear)
		return !!(hx.kernel.mkold(&hx.pgt, op->ipa) & DESC_AF);
	return hx.kernel.is_young(&hx.pgt, op->ipa);
#endif
}

static int do_annotate(const struct hx_op *op, struct kvm_mmu_memory_cache *cache)
{
#ifdef HX_HAS_ANNOTATE
	return hx.kernel.annotate(&hx.pgt, op->ipa, op->size, cache, op->owner & OWNER_TYPE,
				  op->owner & ~OWNER_TYPE);
#elif defined(HX_HAS_SET_OWNER)
	return hx.kernel.set_owner(&hx.pgt, op->ipa, op->size, cache, op->owner);
#else
	return -EOPNOTSUPP;
#endif
}

static int do_split(const struct hx_op *op, struct kvm_mmu_memory_cache *cache)
{
#ifdef HX_HAS_SPLIT
	return hx.kernel.split(&hx.pgt, op->ipa, op->size, cache);
#else
	return -EOPNOTSUPP;
#endif
}

static int do_get_leaf(const struct hx_op *op)
{
#ifdef HX_HAS_GET_LEAF
	kvm_pte_t pte;
#ifdef HX_LEAF_LEVEL_IS_S8
	s8 level;
#else
	u32 level;
#endif

	return hx.kernel.get_leaf(&hx.pgt, op->ipa, &pte, &level);
#else
	return -EOPNOTSUPP;
#endif
}

/* hx_op_supported() said yes; the cache is that of hx_tables_fill(). */
s64 hx_op_run(const struct hx_op *op, struct kvm_mmu_memory_cache *cache)
{
	switch (op->code) {
	case HX_OP_MAP:
		return do_map(op, cache);
	case HX_OP_UNMAP:
		return hx.kernel.unmap(&hx.pgt, op->ipa, op->size);
	case HX_OP_WRPROTECT:
		return hx.kernel.wrprotect(&hx.pgt, op->ipa, op->size);
	case HX_OP_RELAX_PERMS:
		return do_relax_perms(op);
	case HX_OP_MKYOUNG:
		return do_mkyoung(op);
	case HX_OP_MKOLD:
		return do_age(op, true);
	case HX_OP_IS_YOUNG:
		return do_age(op, false);
	case HX_OP_FLUSH:
		return hx.kernel.flush(&hx.pgt, op->ipa, op->size);
	case HX_OP_ANNOTATE:
		return do_annotate(op, cache);
	case HX_OP_SPLIT:
		return do_split(op, cache);
	case HX_OP_GET_LEAF:
		return do_get_leaf(op);
	case HX_OP_DESTROY:
		hx.kernel.destroy(&hx.pgt);
		return 0;
	}
	return -EINVAL;
}
