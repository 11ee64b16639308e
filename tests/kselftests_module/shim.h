/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of the kernel as the module's reading of tables needs, for user space:
 * every kernel header that it includes is this one.
 */
#ifndef SHIM_H
#define SHIM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
typedef u8 __u8;
typedef u32 __u32;
typedef int32_t __s32;
typedef u64 __u64;
typedef s64 __s64;
typedef int8_t s8;
typedef u64 kvm_pte_t;

#define _IOR(a, b, c)		0
#define _IOWR(a, b, c)		0
#define __printf(a, b)
#define __user
#define GFP_KERNEL		0
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define U64_MAX			UINT64_MAX

#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK_ULL(h, l)	((~0ULL >> (63 - (h))) & (~0ULL << (l)))
#define FIELD_GET(mask, value)	(((value) & (mask)) >> __builtin_ctzll(mask))
#define IS_ENABLED(x)		ENABLED_(x)
#define ENABLED_(x)		ENABLED_##x
#define ENABLED_1		1
#define ENABLED_HX_HAS_MM_OPS	0
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define DIV_ROUND_UP(a, b)	(((a) + (b) - 1) / (b))

#define MIN(a, b)		((a) < (b) ? (a) : (b))
#define min(a, b)		MIN(a, b)
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min_t(type, a, b)	MIN((type)(a), (type)(b))
#define max_t(type, a, b)	max((type)(a), (type)(b))
#define swap(a, b)		\
	do { __typeof__(a) tmp_ = (a); (a) = (b); (b) = tmp_; } while (0)

#define kvmalloc_array(n, size, gfp)	malloc((n) * (size))
#define kvcalloc(n, size, gfp)		calloc(n, size)
#define kvfree(p)			free((void *)(p))
#define cond_resched()			do { } while (0)
#define phys_to_virt(phys)		((void *)(uintptr_t)(phys))

struct kvm_mmu_memory_cache;
struct task_struct;
struct kvm_pgtable_mm_ops;
struct kvm_s2_mmu { int unused; };
struct kvm { struct { struct kvm_s2_mmu mmu; } arch; };
enum kvm_pgtable_prot { NO_PROT };

struct kvm_pgtable {
	u32 ia_bits;
	int start_level;
	u64 *pgd;
};

/* Declared for their types only. */
int __kvm_pgtable_stage2_init(void);
int kvm_pgtable_stage2_init(void);
void kvm_pgtable_stage2_destroy(void);
int kvm_pgtable_stage2_map(void);
int kvm_pgtable_stage2_unmap(void);
int kvm_pgtable_stage2_wrprotect(void);
int kvm_pgtable_stage2_relax_perms(void);
u64 kvm_pgtable_stage2_mkyoung(void);
u64 kvm_pgtable_stage2_mkold(void);
bool kvm_pgtable_stage2_is_young(void);
int kvm_pgtable_stage2_flush(void);

#endif /* SHIM_H */
