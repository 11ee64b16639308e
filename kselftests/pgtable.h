/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The steps of a pgtable scenario, named as in the scenario language. Each call
 * is the next step of the table's program; run() has the kernel module execute
 * all of them and writes one record per step.
 *
 * What may be left out follows the arguments that every such step has, by name:
 *
 *	map(t, 0x1000, SZ_4K, 0x42000, RW, .sw = 1, .flags = SHARED, .memcache = CACHE(2));
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

/* The cache that table pages are taken from, of so many pages; or none. */
struct memcache {
	bool given;		/* else it is the table's */
	s64 pages;
};

#define CACHE(n)	((struct memcache){ .given = true, .pages = (n) })
#define NO_CACHE	CACHE(HX_NO_MEMCACHE)

struct table_config {
	u64 granule;		/* page size that the scenario is for; 0: any */
	u32 ipa_bits;
	struct memcache memcache;
};

struct step_options {
	u32 sw;
	u32 flags;
	struct memcache memcache;
};

struct table;

/*
 * A private stage-2 table in the kernel; no step of its own. Ends the scenario
 * as a SKIP where there is no module, or the page size is another.
 */
#define table_create(...)	table_new((struct table_config){ __VA_ARGS__ })
struct table *table_new(struct table_config config);

/* Executes the steps inside the kernel and writes their records. */
void run(struct table *table);

void step_add(struct table *table, struct hx_op op, struct step_options options);

#define OPTIONS(...)	((struct step_options){ __VA_ARGS__ })

#define map(t, ipa_, size_, pa_, prot_, ...)						\
	step_add(t, (struct hx_op){ .code = HX_OP_MAP, .ipa = ipa_, .size = size_,	\
				    .pa = pa_, .prot = prot_ }, OPTIONS(__VA_ARGS__))

#define relax_perms(t, ipa_, prot_, ...)						\
	step_add(t, (struct hx_op){ .code = HX_OP_RELAX_PERMS, .ipa = ipa_,		\
				    .prot = prot_ }, OPTIONS(__VA_ARGS__))

#define annotate(t, ipa_, size_, owner_, ...)						\
	step_add(t, (struct hx_op){ .code = HX_OP_ANNOTATE, .ipa = ipa_, .size = size_,	\
				    .owner = owner_ }, OPTIONS(__VA_ARGS__))

#define split(t, ipa_, size_, ...)							\
	step_add(t, (struct hx_op){ .code = HX_OP_SPLIT, .ipa = ipa_, .size = size_ },	\
		 OPTIONS(__VA_ARGS__))

static inline void range_step(struct table *t, u8 code, u64 ipa, u64 size)
{
	step_add(t, (struct hx_op){ .code = code, .ipa = ipa, .size = size }, OPTIONS());
}

static inline void unmap(struct table *t, u64 ipa, u64 size)
{
	range_step(t, HX_OP_UNMAP, ipa, size);
}

static inline void wrprotect(struct table *t, u64 ipa, u64 size)
{
	range_step(t, HX_OP_WRPROTECT, ipa, size);
}

/* What of the range a kernel looks at is its own affair: see the language. */
static inline void mkyoung(struct table *t, u64 ipa, u64 size)
{
	range_step(t, HX_OP_MKYOUNG, ipa, size);
}

static inline void mkold(struct table *t, u64 ipa, u64 size)
{
	range_step(t, HX_OP_MKOLD, ipa, size);
}

static inline void is_young(struct table *t, u64 ipa, u64 size)
{
	range_step(t, HX_OP_IS_YOUNG, ipa, size);
}

static inline void flush(struct table *t, u64 ipa, u64 size)
{
	range_step(t, HX_OP_FLUSH, ipa, size);
}

static inline void get_leaf(struct table *t, u64 ipa)
{
	range_step(t, HX_OP_GET_LEAF, ipa, 0);
}

static inline void destroy(struct table *t)
{
	range_step(t, HX_OP_DESTROY, 0, 0);
}

#endif /* HX_PGTABLE_STEPS_H */
