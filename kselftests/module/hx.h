/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the module share. One program runs at a time. */
#ifndef HX_H
#define HX_H

#include <linux/kvm_host.h>
#include <linux/mutex.h>
#include <asm/kvm_pgtable.h>

#include "hx_pgtable.h"

/* Addresses of kernel functions that are not exported, with their own types. */
struct hx_symbols {
#ifdef HX_HAS_MM_OPS
	typeof(&__kvm_pgtable_stage2_init) init;
#else
	typeof(&kvm_pgtable_stage2_init) init;
#endif
	typeof(&kvm_pgtable_stage2_destroy) destroy;
	typeof(&kvm_pgtable_stage2_map) map;
	typeof(&kvm_pgtable_stage2_unmap) unmap;
	typeof(&kvm_pgtable_stage2_wrprotect) wrprotect;
	typeof(&kvm_pgtable_stage2_relax_perms) relax_perms;
	typeof(&kvm_pgtable_stage2_mkyoung) mkyoung;
#ifdef HX_HAS_TEST_CLEAR_YOUNG
	typeof(&kvm_pgtable_stage2_test_clear_young) test_clear_young;
#else
	typeof(&kvm_pgtable_stage2_mkold) mkold;
	typeof(&kvm_pgtable_stage2_is_young) is_young;
#endif
	typeof(&kvm_pgtable_stage2_flush) flush;
#ifdef HX_HAS_SET_OWNER
	typeof(&kvm_pgtable_stage2_set_owner) set_owner;
#endif
#ifdef HX_HAS_ANNOTATE
	typeof(&kvm_pgtable_stage2_annotate) annotate;
#endif
#ifdef HX_HAS_SPLIT
	typeof(&kvm_pgtable_stage2_split) split;
#endif
#ifdef HX_HAS_GET_LEAF
	typeof(&kvm_pgtable_get_leaf) get_leaf;
#endif
#ifdef HX_HAS_FREE_UNLINKED
	typeof(&kvm_pgtable_stage2_free_unlinked) free_unlinked;
#endif
#ifdef HX_HAS_GET_VTCR
	typeof(&kvm_get_vtcr) get_vtcr;
#endif
	u32 (*get_kvm_ipa_limit)(void);
	int (*create_hyp_mappings)(void *from, void *to, enum kvm_pgtable_prot prot);
};

/* What one step did, beside its return value. */
struct hx_counts {
	u32 alloc;
	u32 dcache;
	u32 icache;
	u64 dcache_pages;
	u64 icache_pages;
	u32 tlbi[HX_NR_TLBI];
};

/* The private table, and the program that runs on it. */
struct hx {
	struct hx_symbols kernel;
	struct hx_info info;

	/* A VM that KVM never hears of: only its mmu is used. */
	struct kvm *vm;
	struct kvm_pgtable pgt;
	u64 max_phys_shift;

	/* Whose calls are counted; NULL between steps. */
	struct task_struct *task;
	struct hx_counts counts;
	struct hx_run *run;		/* the call that is being served */
	u32 verdict;			/* of the program so far */
	char why[HX_MESSAGE];		/* its first */
	bool out_of_memory;
};

extern struct hx hx;

static inline struct kvm_s2_mmu *hx_mmu(void)
{
	return &hx.vm->arch.mmu;
}

/* Sets hx.run->message and returns error. */
int hx_fail(int error, const char *fmt, ...) __printf(2, 3);

/* Notes a verdict on the kernel; the first message stays. */
void hx_verdict(u32 verdict, const char *fmt, ...) __printf(2, 3);

/* host.c: the kernel and machine that the module is loaded on. */
int hx_host_init(void);
void hx_host_exit(void);
bool hx_el2_answers(void);
int hx_table_create(u32 ipa_bits);

/* divert.c: this task's calls of some kernel functions go to the module. */
int hx_divert_init(void);
void hx_divert_exit(void);

/* hvc.c: the same without VHE, in the middle of functions. */
int hx_hvc_init(void);
void hx_hvc_exit(void);

/* ops.c: one operation, as the kernel's API takes it. */
int hx_op_supported(const struct hx_op *op);
s64 hx_op_run(const struct hx_op *op, struct kvm_mmu_memory_cache *cache);

/* program.c: from the user's memory, checked. Free with kvfree(). */
struct hx_program *hx_program_load(u64 address, u64 size);

/* run.c: begins or goes on with a program; what is left of one can be ended. */
int hx_session_run(struct hx_run *run);
void hx_session_end(void);
bool hx_session_stands(void);

/* live.c: tables and memory of VMs that run. */
void hx_live_init(unsigned long (*lookup)(const char *name));
long hx_live_leaves(void __user *arg);
long hx_live_age(void __user *arg);

/* tables.c, tables_v5.c: the pages that tables are made of. */
int hx_tables_init(void);
void hx_tables_exit(void);
/*
 * Before a step, with the tables that there are: a cache of memcache pages. Where
 * the walk may not sleep, at_hand pages are at hand; else it is 0.
 */
struct kvm_mmu_memory_cache *hx_tables_fill(s64 memcache, u32 at_hand, u32 tables);
/* The reference count of a table page, as the walkers see it. */
int hx_tables_refs(const void *table);
/* After destroy: takes back what is left, returns how many pages that was. */
u32 hx_tables_reclaim(void);
/*
 * Tables that are allocated and that a scan does not meet: begin, mark each that
 * is met; then fn is called for each other. (5.10: cannot be known, and is not.)
 */
u32 hx_tables_live(void);
void hx_tables_mark_begin(void);
void hx_tables_mark(const void *table);
void hx_tables_unmarked(void (*fn)(int refs, void *arg), void *arg);
#ifdef HX_HAS_MM_OPS
extern struct kvm_pgtable_mm_ops hx_mm_ops;
#else
void *hx_cache_alloc(struct kvm_mmu_memory_cache *cache);
#endif

#endif /* HX_H */
