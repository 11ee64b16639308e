/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The steps of a pgtable scenario, named as in the scenario language: elements of
 * an array, which run() has the kernel module execute in one go.
 *
 * What may be left out follows the arguments that every such step has, by name:
 *
 *	map(0x1000, SZ_4K, 0x42000, RW, .sw = 1, .flags = SHARED, .memcache = CACHE(2)),
 */
#ifndef HX_PGTABLE_STEPS_H
#define HX_PGTABLE_STEPS_H

#include "module/hx_pgtable.h"
#include "runner.h"
#include "types.h"

extern const struct suite pgtable_suite;

/* prot of map and relax_perms: what may be done, and the memory's type. */
enum {
	NO_ACCESS = 0,
	R = HX_PROT_R,
	W = HX_PROT_W,
	X = HX_PROT_X,
	RW = R | W,
	RX = R | X,
	WX = W | X,
	RWX = R | W | X,
	DEVICE = HX_PROT_DEVICE,
	NC = HX_PROT_NC,
};

/* .flags of map and relax_perms */
enum {
	SHARED = HX_WALK_SHARED,
	HANDLE_FAULT = HX_WALK_HANDLE_FAULT,
	IGNORE_EAGAIN = HX_WALK_IGNORE_EAGAIN,
};

/* The cache that table pages are taken from, of so many pages; or none. 0: the table's. */
enum { NO_CACHE = 1, SMALLEST_CACHE };
#define CACHE(n)	((n) + SMALLEST_CACHE)

/* A private stage-2 table in the kernel. */
struct table {
	u64 granule;		/* page size that the scenario is for; 0: any */
	u32 ipa_bits;
	u32 memcache;
};

/* Small: a batch has tens of thousands, and each crosses the link to the target. */
struct step {
	u8 code;		/* enum hx_code */
	u8 prot;
	u8 sw;
	u8 flags;
	u32 memcache;
	u64 ipa;
	u64 size;
	u64 pa_or_owner;
};

/*
 * Executes the steps inside the kernel, on such a table, and writes one record
 * per step. Ends the scenario as a SKIP where there is no module, where the page
 * size is another, or where the kernel lacks what a step asks for.
 */
void run(const struct table *table, const struct step *steps, u32 count);

#define STEP(code_, ipa_, size_, ...)	\
	{ .code = code_, .ipa = ipa_, .size = size_, __VA_ARGS__ }

#define map(ipa, size, pa, prot_, ...)	\
	STEP(HX_OP_MAP, ipa, size, .pa_or_owner = pa, .prot = prot_, __VA_ARGS__)
#define relax_perms(ipa, prot_, ...)	\
	STEP(HX_OP_RELAX_PERMS, ipa, 0, .prot = prot_, __VA_ARGS__)
#define annotate(ipa, size, owner, ...)	\
	STEP(HX_OP_ANNOTATE, ipa, size, .pa_or_owner = owner, __VA_ARGS__)
#define split(ipa, size, ...)		STEP(HX_OP_SPLIT, ipa, size, __VA_ARGS__)
#define unmap(ipa, size)		STEP(HX_OP_UNMAP, ipa, size)
#define wrprotect(ipa, size)		STEP(HX_OP_WRPROTECT, ipa, size)
/* What of the range a kernel looks at is its own affair: see the language. */
#define mkyoung(ipa, size)		STEP(HX_OP_MKYOUNG, ipa, size)
#define mkold(ipa, size)		STEP(HX_OP_MKOLD, ipa, size)
#define is_young(ipa, size)		STEP(HX_OP_IS_YOUNG, ipa, size)
#define flush(ipa, size)		STEP(HX_OP_FLUSH, ipa, size)
#define get_leaf(ipa)			STEP(HX_OP_GET_LEAF, ipa, 0)
#define destroy()			STEP(HX_OP_DESTROY, 0, 0)

#endif /* HX_PGTABLE_STEPS_H */
