// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the table from its memory, not through the kernel's own walker.
 *
 * A step changes what its range lies in, so most steps read that much, and what
 * was read of the rest at the step before still stands. To find what a step did
 * elsewhere, everything is read every AUDIT steps and at the last one.
 */
#include <linux/mm.h>
#include <linux/sched.h>

#include "desc.h"
#include "reader.h"

#define AUDIT	64

/* The part of the root, and of the IPA space, that is read. */
struct window {
	u32 first;		/* entry of the root */
	u32 end;
	u64 from;		/* IPA */
	u64 to;
};

/* --- table pages ------------------------------------------------------------ */

static void add_bad(struct hx_scan *scan, u64 ipa, int level, int count, int expected)
{
	if (scan->nr_bad < HX_MAX_BAD)
		scan->bad[scan->nr_bad++] = (struct hx_bad_table){
			.ipa = ipa, .level = level, .count = count, .expected = expected,
		};
}

/* Where the next entry that is not 0 stands, or ENTRIES. */
static u32 next_used(const u64 *table, u32 i)
{
	while (i < ENTRIES && i % 8 && !table[i])
		i++;
	if (i % 8)
		return i;
	for (; i < ENTRIES; i += 8) {
		const u64 *at = table + i;

		if (at[0] | at[1] | at[2] | at[3] | at[4] | at[5] | at[6] | at[7])
			break;
	}
	while (i < ENTRIES && !table[i])
		i++;
	return i;
}

static u32 read_table(struct hx_reader *reader, const u64 *table, u64 ipa, int level);

/* An entry that is not 0; returns the number of tables from it on downwards. */
static u32 read_entry(struct hx_reader *reader, u64 desc, u64 ipa, int level)
{
	if (desc_is_table(desc, level))
		return 1 + read_table(reader, phys_to_virt(desc_address(desc)), ipa, level + 1);
	if (desc & DESC_VALID)
		hx_add_leaf(reader, desc, ipa, level);
	else if (desc_is_counted(desc))
		hx_add_annotations(reader, desc, ipa, desc_shift(level), 1);
	return 0;
}

static u32 read_table(struct hx_reader *reader, const u64 *table, u64 ipa, int level)
{
	u64 size = BIT_ULL(desc_shift(level));
	int refs = hx_tables_refs(table), counted = 0;
	u32 i = 0, tables = 0;

	hx_tables_mark(table);
	while ((i = next_used(table, i)) < ENTRIES) {
		u64 desc = READ_ONCE(table[i]);
		u32 start = i++;

		tables += read_entry(reader, desc, ipa + start * size, level);
		if (reader->tail && reader->next_ipa == ipa + i * size &&
		    reader->tail->shift == desc_shift(level))
			i = hx_add_more_leaves(reader, table, i, level);
		if (desc_is_counted(desc))
			counted += i - start;
	}
	if (refs != counted + 1)
		add_bad(reader->scan, ipa, level, refs, counted + 1);
	cond_resched();
	return tables;
}

/* --- the root ---------------------------------------------------------------- */

static u8 root_shift(void)
{
	return desc_shift(hx.pgt.start_level);
}

static void read_root(struct hx_reader *reader, const struct window *window)
{
	const u64 *root = (const u64 *)hx.pgt.pgd;
	struct hx_scan *scan = reader->scan;
	u32 i;

	for (i = window->first; i < window->end; i++) {
		u64 desc = READ_ONCE(root[i]);
		struct hx_root_entry *entry = &scan->root[i];
		u32 tables = 0;
		bool counted;

		/* Nothing there, and nothing was: most of a root. */
		if (!desc && !entry->tables && !entry->counted)
			continue;
		if (desc)
			tables = read_entry(reader, desc, (u64)i << root_shift(),
					    hx.pgt.start_level);
		scan->tables += tables - entry->tables;
		entry->tables = tables;
		counted = desc_is_counted(desc);
		scan->root_counted[i / ENTRIES] += counted - entry->counted;
		entry->counted = counted;
	}
}

/* Each page of a concatenated root has a count of its own. */
static void check_root(struct hx_scan *scan, const struct window *window)
{
	const u64 *root = (const u64 *)hx.pgt.pgd;
	u32 page;

	for (page = window->first / ENTRIES; page * ENTRIES < window->end; page++) {
		int refs = hx_tables_refs(root + page * ENTRIES);
		int counted = scan->root_counted[page];

		if (refs != counted + 1)
			add_bad(scan, (u64)page * ENTRIES << root_shift(), hx.pgt.start_level,
				refs, counted + 1);
	}
}

static void add_unreachable(int refs, void *arg)
{
	add_bad(arg, 0, HX_UNREACHABLE, refs, 0);
}

static bool some_unreachable(const struct hx_scan *scan)
{
	u32 root_pages = DIV_ROUND_UP(scan->root_entries, ENTRIES);

	return hx_tables_live() > scan->tables + root_pages;
}

static int read_window(struct hx_scan *scan, const struct window *window)
{
	struct hx_reader reader = { .scan = scan };

	hx_list_restart(&scan->leaves);
	hx_list_restart(&scan->annotations);
	scan->nr_bad = 0;
	hx_add_old(&reader, 0, window->from);
	read_root(&reader, window);
	hx_add_old(&reader, window->to, U64_MAX);
	check_root(scan, window);
	return reader.failed ? -ENOMEM : 0;
}

static int read_all(struct hx_scan *scan)
{
	struct window everything = { .end = scan->root_entries, .to = U64_MAX };
	int error;

	hx_tables_mark_begin();
	error = read_window(scan, &everything);
	if (!error && some_unreachable(scan))
		hx_tables_unmarked(add_unreachable, scan);
	return error;
}

static struct window window_of(const struct hx_scan *scan, u64 ipa, u64 size)
{
	u64 last = size ? ipa + size - 1 : ipa;
	struct window window = {
		.first = min_t(u64, ipa >> root_shift(), scan->root_entries),
		.end = min_t(u64, (last >> root_shift()) + 1, scan->root_entries),
	};

	window.from = (u64)window.first << root_shift();
	window.to = (u64)window.end << root_shift();
	return window;
}

/* After destroy there is no root, and nothing is left but what was forgotten. */
static int read_nothing(struct hx_scan *scan)
{
	scan->nr_bad = 0;
	scan->tables = 0;
	scan->root_entries = 0;
	hx_tables_mark_begin();
	if (some_unreachable(scan))
		hx_tables_unmarked(add_unreachable, scan);
	return 0;
}

int hx_scan_step(struct hx_scan *scan, u64 ipa, u64 size, bool all)
{
	struct window window = window_of(scan, ipa, size);
	bool was_bad = scan->nr_bad;
	int error;

	hx_list_next(&scan->leaves);
	hx_list_next(&scan->annotations);
	if (!hx.pgt.pgd)
		return read_nothing(scan);
	if (all || was_bad || ++scan->steps % AUDIT == 0)
		return read_all(scan);
	error = read_window(scan, &window);
	if (!error && (scan->nr_bad || some_unreachable(scan)))
		return read_all(scan);
	return error;
}

int hx_scan_init(struct hx_scan *scan)
{
	memset(scan, 0, sizeof(*scan));
	scan->leaves.item_size = sizeof(struct hx_leaf_run);
	scan->annotations.item_size = sizeof(struct hx_annotation_run);
	scan->root_entries = BIT_ULL(hx.pgt.ia_bits - root_shift());
	scan->root = kvcalloc(scan->root_entries, sizeof(*scan->root), GFP_KERNEL);
	return scan->root ? 0 : -ENOMEM;
}

void hx_scan_free(struct hx_scan *scan)
{
	hx_list_free(&scan->leaves);
	hx_list_free(&scan->annotations);
	kvfree(scan->root);
	scan->root = NULL;
}
