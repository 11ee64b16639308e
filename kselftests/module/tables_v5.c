// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages that tables are made of, on a kernel without mm_ops (5.10): ordinary
 * pages, whose reference counts are the kernel's own and which it frees itself.
 * The allocator alone is the module's, see divert.c. Of a page that the kernel
 * forgets to free nothing is seen here.
 */
#include <linux/mm.h>

#include "hx.h"

#define MAX_TABLES	32768

static struct kvm_mmu_memory_cache cache;
static u32 allowed;		/* pages that the current step may still take */

/* In the place of kvm_mmu_memory_cache_alloc(), which never fails. */
void *hx_cache_alloc(struct kvm_mmu_memory_cache *from)
{
	void *page;

	if (from->nobjs <= 0)
		return NULL;
	page = allowed ? (void *)get_zeroed_page(GFP_KERNEL) : NULL;
	if (!page) {
		hx.out_of_memory = true;
		return NULL;
	}
	from->nobjs--;
	allowed--;
	hx.counts.alloc++;
	return page;
}

int hx_tables_init(void)
{
	hx.info.max_tables = min_t(u64, MAX_TABLES, totalram_pages() / 4);
	return 0;
}

void hx_tables_exit(void)
{
}

struct kvm_mmu_memory_cache *hx_tables_fill(s64 memcache, u32 at_hand, u32 tables)
{
	if (memcache == HX_NO_MEMCACHE)
		return NULL;
	allowed = tables < hx.info.max_tables ? hx.info.max_tables - tables : 0;
	cache.nobjs = memcache;
	return &cache;
}

int hx_tables_refs(const void *table)
{
	return page_count(virt_to_page(table));
}

u32 hx_tables_reclaim(void)
{
	return 0;
}

u32 hx_tables_live(void)
{
	return 0;
}

void hx_tables_mark_begin(void)
{
}

void hx_tables_mark(const void *table)
{
}

void hx_tables_unmarked(void (*fn)(int refs, void *arg), void *arg)
{
}
