// SPDX-License-Identifier: GPL-2.0-only
/* The module's reading of tables as a library: tables are made from outside. */
#include "shim.h"
#include "desc.h"
#include "scan.h"

struct hx hx;

#define MAX_PAGES	4096

static struct {
	u64 *page;
	int refs;
	u32 mark;
} pages[MAX_PAGES];
static u32 nr_pages, mark;
static u32 root_pages;		/* the first of them */
static struct hx_scan scan;
static struct hx_delta deltas[2];

static u32 number_of(const void *table)
{
	u32 i;

	for (i = 0; i < nr_pages; i++) {
		if ((const u64 *)table >= pages[i].page &&
		    (const u64 *)table < pages[i].page + ENTRIES)
			return i;
	}
	abort();
}

int hx_tables_refs(const void *table)
{
	return pages[number_of(table)].refs;
}

u32 hx_tables_live(void)
{
	u32 i, live = 0;

	for (i = 0; i < nr_pages; i++)
		live += pages[i].refs > 0;
	return live;
}

void hx_tables_mark_begin(void)
{
	mark++;
}

void hx_tables_mark(const void *table)
{
	pages[number_of(table)].mark = mark;
}

void hx_tables_unmarked(void (*fn)(int refs, void *arg), void *arg)
{
	u32 i;

	for (i = root_pages; i < nr_pages; i++) {
		if (pages[i].refs && pages[i].mark != mark)
			fn(pages[i].refs, arg);
	}
}

/* --- what the test calls ------------------------------------------------------- */

/* Registers memory that holds count table pages, one behind the other. */
void host_add(u64 *memory, u32 count)
{
	while (count--) {
		if (nr_pages == MAX_PAGES)
			abort();
		pages[nr_pages].page = memory;
		pages[nr_pages++].refs = 0;
		memory += ENTRIES;
	}
}

void host_refs(const u64 *table, int refs)
{
	pages[number_of(table)].refs = refs;
}

int host_begin(u64 *root, u32 ia_bits, int start_level, u64 host)
{
	hx.info.host = host;
	root_pages = nr_pages;
	hx.pgt = (struct kvm_pgtable){
		.ia_bits = ia_bits, .start_level = start_level, .pgd = root,
	};
	return hx_scan_init(&scan);
}

void host_end(void)
{
	hx_scan_free(&scan);
	nr_pages = 0;
}

int host_step(u64 ipa, u64 size, bool all)
{
	int error = hx_scan_step(&scan, ipa, size, all);

	hx_list_delta(&scan.leaves, &deltas[0]);
	hx_list_delta(&scan.annotations, &deltas[1]);
	return error;
}

const struct hx_leaf_run *host_leaves(u32 *count)
{
	*count = scan.leaves.now.nr;
	return scan.leaves.now.items;
}

const struct hx_annotation_run *host_annotations(u32 *count)
{
	*count = scan.annotations.now.nr;
	return scan.annotations.now.items;
}

const struct hx_bad_table *host_bad(u32 *count)
{
	*count = scan.nr_bad;
	return scan.bad;
}

const struct hx_delta *host_deltas(void)
{
	return deltas;
}

u32 host_tables(void)
{
	return scan.tables;
}
