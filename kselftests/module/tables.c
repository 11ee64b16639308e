// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages that tables are made of, and the callbacks through which the kernel
 * takes, counts and frees them. The counts are the module's own, so a walker
 * that counts wrongly is found out instead of freeing somebody's page.
 *
 * A page below the root has a slot for as long as the module is loaded or until
 * it is given back between programs; its page->private is the slot's number + 1.
 */
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "hx.h"

/* Free pages that are kept from one program to the next. */
#define KEEP_PAGES	256
#define MAX_TABLES	32768
#define MAX_ROOT_PAGES	16

struct slot {
	struct page *page;
	u32 refs;		/* 0: free */
	u32 mark;
};

static struct slot *slots;
static u32 nr_slots;		/* slots that have a page */
static u32 *free_slots;		/* numbers of those whose page is free */
static u32 nr_free;
static u32 mark;		/* of the slots that the current scan has met */

static bool may_sleep;		/* in the walk of the current step */

static void *root;
static u32 root_pages;
static u32 root_refs[MAX_ROOT_PAGES];

#ifndef HX_HAS_SPLIT
static struct kvm_mmu_memory_cache own_cache;
#endif

static struct kvm_mmu_memory_cache *cache(void)
{
#ifdef HX_HAS_SPLIT
	return &hx_mmu()->split_page_cache;
#else
	return &own_cache;
#endif
}

/* --- slots ----------------------------------------------------------------- */

static bool add_slot(gfp_t gfp)
{
	struct page *page;

	if (nr_slots == hx.info.max_tables)
		return false;
	page = alloc_page(gfp);
	if (!page)
		return false;
	slots[nr_slots] = (struct slot){ .page = page };
	set_page_private(page, nr_slots + 1);
	free_slots[nr_free++] = nr_slots++;
	return true;
}

static struct slot *slot_of(const void *address)
{
	struct page *page;
	unsigned long number;

	if (!virt_addr_valid(address))
		return NULL;
	page = virt_to_page(address);
	number = page_private(page);
	if (!number || number > nr_slots || slots[number - 1].page != page)
		return NULL;
	return &slots[number - 1];
}

static u32 *refs_of(const void *address)
{
	struct slot *slot;
	size_t offset = address - root;

	if (root && address >= root && offset < root_pages * PAGE_SIZE)
		return &root_refs[offset / PAGE_SIZE];
	slot = slot_of(address);
	return slot && slot->refs ? &slot->refs : NULL;
}

/* Gives back the pages of the last slots; only where every slot is free. */
static void trim(u32 keep)
{
	u32 i;

	while (nr_slots > keep) {
		struct page *page = slots[--nr_slots].page;

		set_page_private(page, 0);
		__free_page(page);
	}
	nr_free = nr_slots;
	for (i = 0; i < nr_free; i++)
		free_slots[i] = i;
}

/* --- callbacks ------------------------------------------------------------- */

static void *zalloc_page(void *arg)
{
	struct kvm_mmu_memory_cache *from = arg;
	struct slot *slot;

	if (from->nobjs <= 0)
		return NULL;
	if (!nr_free && !add_slot(may_sleep ? GFP_KERNEL : GFP_ATOMIC | __GFP_NOWARN)) {
		hx.out_of_memory = true;
		return NULL;
	}
	from->nobjs--;
	hx.counts.alloc++;
	slot = &slots[free_slots[--nr_free]];
	slot->refs = 1;
	clear_page(page_address(slot->page));
	return page_address(slot->page);
}

static void *zalloc_pages_exact(size_t size)
{
	u32 i;

	if (root || size > MAX_ROOT_PAGES * PAGE_SIZE)
		return NULL;
	root = alloc_pages_exact(size, GFP_KERNEL | __GFP_ZERO);
	if (!root)
		return NULL;
	root_pages = size / PAGE_SIZE;
	for (i = 0; i < root_pages; i++)
		root_refs[i] = 1;
	return root;
}

static void free_pages_exact_root(void *address, size_t size)
{
	if (address != root || size != root_pages * PAGE_SIZE) {
		hx_verdict(HX_VERDICT_BAD_REF, "free_pages_exact of what is not the root");
		return;
	}
	free_pages_exact(root, size);
	root = NULL;
	root_pages = 0;
}

static void get_table(void *address)
{
	u32 *refs = refs_of(address);

	if (refs)
		(*refs)++;
	else
		hx_verdict(HX_VERDICT_BAD_REF, "get_page of what is no live table page");
}

static void put_table(void *address)
{
	u32 *refs = refs_of(address);

	if (!refs || (*refs == 1 && !slot_of(address))) {
		hx_verdict(HX_VERDICT_BAD_REF, "put_page of what is no live table page");
		return;
	}
	if (!--*refs)
		free_slots[nr_free++] = slot_of(address) - slots;
}

static int count_table(void *address)
{
	u32 *refs = refs_of(address);

	if (refs)
		return *refs;
	hx_verdict(HX_VERDICT_BAD_REF, "page_count of what is no live table page");
	return 0;
}

/* Leaves' addresses pass through here as well; nobody reads what is there. */
static void *to_virt(phys_addr_t phys)
{
	return phys_to_virt(phys);
}

static phys_addr_t to_phys(void *address)
{
	return virt_to_phys(address);
}

#ifdef HX_HAS_FREE_UNLINKED
/* At once: no other walker is there to see the table. */
static void free_unlinked(void *address, s8 level)
{
	hx.kernel.free_unlinked(&hx_mm_ops, address, level);
}
#endif

static void count_dcache(void *address, size_t size)
{
	hx.counts.dcache++;
	hx.counts.dcache_pages += size >> PAGE_SHIFT;
}

static void count_icache(void *address, size_t size)
{
	hx.counts.icache++;
	hx.counts.icache_pages += size >> PAGE_SHIFT;
}

struct kvm_pgtable_mm_ops hx_mm_ops = {
	.zalloc_page		= zalloc_page,
	.zalloc_pages_exact	= zalloc_pages_exact,
	.free_pages_exact	= free_pages_exact_root,
#ifdef HX_HAS_FREE_UNLINKED
	.free_unlinked_table	= free_unlinked,
#endif
	.get_page		= get_table,
	.put_page		= put_table,
	.page_count		= count_table,
	.phys_to_virt		= to_virt,
	.virt_to_phys		= to_phys,
	.dcache_clean_inval_poc	= count_dcache,
	.icache_inval_pou	= count_icache,
};

/* --- what the rest of the module asks ---------------------------------------- */

int hx_tables_init(void)
{
	u64 quarter = totalram_pages() / 4;

	hx.info.channels |= HX_CHANNEL_CMO;
	hx.info.max_tables = min_t(u64, MAX_TABLES, quarter);
	slots = vzalloc(array_size(hx.info.max_tables, sizeof(*slots)));
	free_slots = vzalloc(array_size(hx.info.max_tables, sizeof(*free_slots)));
	return slots && free_slots ? 0 : -ENOMEM;
}

void hx_tables_exit(void)
{
	if (slots)
		trim(0);
	vfree(free_slots);
	vfree(slots);
	slots = NULL;
	free_slots = NULL;
}

struct kvm_mmu_memory_cache *hx_tables_fill(s64 memcache, u32 at_hand, u32 tables)
{
	may_sleep = !at_hand;
	if (memcache == HX_NO_MEMCACHE)
		return NULL;
	while (nr_free < min_t(s64, memcache, at_hand) && add_slot(GFP_KERNEL))
		;
	cache()->nobjs = memcache;
	return cache();
}

int hx_tables_refs(const void *table)
{
	u32 *refs = refs_of(table);

	return refs ? *refs : -1;
}

u32 hx_tables_live(void)
{
	return nr_slots - nr_free + root_pages;
}

void hx_tables_mark_begin(void)
{
	mark++;
}

void hx_tables_mark(const void *table)
{
	struct slot *slot = slot_of(table);

	if (slot)
		slot->mark = mark;
}

void hx_tables_unmarked(void (*fn)(int refs, void *arg), void *arg)
{
	u32 i;

	for (i = 0; i < nr_slots; i++) {
		if (slots[i].refs && slots[i].mark != mark)
			fn(slots[i].refs, arg);
	}
}

u32 hx_tables_reclaim(void)
{
	u32 left = hx_tables_live();
	u32 i;

	for (i = 0; left && i < nr_slots; i++)
		slots[i].refs = 0;
	if (root)
		free_pages_exact_root(root, root_pages * PAGE_SIZE);
	trim(min_t(u32, nr_slots, KEEP_PAGES));
	return left;
}
