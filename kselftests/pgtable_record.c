// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's structures as JSON.
 *
 * After a table's first step, what is as in the step before is left out, and
 * "same" says so: a channel, or one of its counts. Runs are written in full where
 * that is as short as what is not as in the step before, which is [head, tail,
 * runs]: the first head and the last tail runs of that step stay, and these runs
 * are in between.
 */
#include <stdlib.h>
#include <string.h>

#include "pgtable_record.h"
#include "record.h"

#define LONGEST_RUN	160	/* bytes of JSON of one run */

/* The runs of the step before, which the next step's difference is to. */
struct list {
	size_t size;
	u32 nr;
	u32 room;
	char *items;
};

static struct list leaves = { .size = sizeof(struct hx_leaf_run) };
static struct list annotations = { .size = sizeof(struct hx_annotation_run) };

/* The step before; NULL at a table's first. */
static struct hx_step last;
static const struct hx_step *before;

void pgtable_record_restart(void)
{
	before = NULL;
	leaves.nr = 0;
	annotations.nr = 0;
}

/* The line being made, apart from the records: numbers without printf(). */
static char *line;
static size_t used, room;

static void need(size_t bytes)
{
	if (used + bytes < room)
		return;
	room = 2 * room + bytes + 4096;
	line = realloc(line, room);
	if (!line)
		scenario_infra("no memory for a record");
}

static void put_text(const char *text)
{
	size_t length = strlen(text);

	need(length + 1);
	memcpy(line + used, text, length + 1);
	used += length;
}

static void put_number(u64 value)
{
	char digits[DECIMAL_SIZE];

	put_text(decimal(value, digits));
}

static void put_next(u64 value)
{
	put_text(",");
	put_number(value);
}

static void put_signed(s64 value)
{
	if (value < 0)
		put_text("-");
	put_number(value < 0 ? -(u64)value : (u64)value);
}

static void put_key(const char *key, const char *open)
{
	put_text(",\"");
	put_text(key);
	put_text("\":");
	put_text(open);
}

/* --- runs -------------------------------------------------------------------- */

static const char *attr_name(const struct hx_leaf_run *run)
{
	switch (run->attr & HX_ATTR_MASK) {
	case HX_ATTR_NORMAL:
		return "normal";
	case HX_ATTR_NC:
		return "nc";
	case HX_ATTR_DEVICE:
		return "device";
	default:
		return NULL;
	}
}

/* Bits that the kernel's API cannot make are shown as they are. */
static void put_attr(const struct hx_leaf_run *run)
{
	const char *name = attr_name(run);

	put_text(name ? name : "bits ");
	if (!name)
		put_number(run->bits);
}

static void put_leaf(const void *item)
{
	const struct hx_leaf_run *run = item;

	put_text("[");
	put_number(run->ipa);
	put_next(1ULL << run->shift);
	put_next(run->pa);
	put_text(",\"");
	put_text(run->prot & HX_PROT_R ? "r" : "");
	put_text(run->prot & HX_PROT_W ? "w" : "");
	put_text(run->prot & HX_PROT_X ? "x" : "");
	put_text("\"");
	put_next(run->sw);
	put_text(run->attr & HX_ATTR_AF ? ",true,\"" : ",false,\"");
	put_attr(run);
	put_text("\"");
	put_next(run->count);
	put_text("]");
}

static void put_annotation(const void *item)
{
	const struct hx_annotation_run *run = item;

	put_text("[");
	put_number(run->ipa);
	put_next(1ULL << run->shift);
	put_next(run->value);
	put_next(run->count);
	put_text("]");
}

static void put_items(const char *items, u32 count, size_t size, void (*put)(const void *))
{
	u32 i;

	need((size_t)count * LONGEST_RUN);
	for (i = 0; i < count; i++) {
		if (i)
			put_text(",");
		put(items + i * size);
	}
}

static bool is_same(const struct list *list, const struct hx_delta *delta)
{
	return before && !delta->nr_runs && delta->keep_head + delta->keep_tail == list->nr;
}

/* Makes the list that of this step. */
static void apply(struct list *list, const struct hx_delta *delta, const char *items)
{
	u32 nr = delta->keep_head + delta->nr_runs + delta->keep_tail;
	size_t size = list->size;

	if (nr > list->room) {
		list->room = 2 * nr;
		list->items = realloc(list->items, list->room * size);
		if (!list->items)
			scenario_infra("no memory for %u runs", nr);
	}
	if (delta->keep_tail)
		memmove(list->items + (nr - delta->keep_tail) * size,
			list->items + (list->nr - delta->keep_tail) * size,
			delta->keep_tail * size);
	if (delta->nr_runs)
		memcpy(list->items + delta->keep_head * size, items, delta->nr_runs * size);
	list->nr = nr;
}

static void put_list(const struct list *list, const struct hx_delta *delta, const char *key,
		     const char *delta_key, void (*put)(const void *))
{
	if (delta->nr_runs == list->nr) {
		put_key(key, "[");
		put_items(list->items, list->nr, list->size, put);
		put_text("]");
		return;
	}
	put_key(delta_key, "[");
	put_number(delta->keep_head);
	put_next(delta->keep_tail);
	put_text(",[");
	put_items(list->items + delta->keep_head * list->size, delta->nr_runs, list->size, put);
	put_text("]]");
}

/* --- the rest of a step ------------------------------------------------------ */

static void put_bad_table(const struct hx_bad_table *bad)
{
	put_text("[");
	put_number(bad->ipa);
	put_text(",");
	put_signed(bad->level);
	put_text(",");
	put_signed(bad->count);
	put_text(",");
	put_signed(bad->expected);
	put_text("]");
}

static void put_refcounts(const struct hx_bad_table *bad, u32 count,
			  const struct hx_bad_table *extra)
{
	u32 i;

	if (!count && !extra) {
		put_key("refcounts", "\"ok\"");
		return;
	}
	put_key("refcounts", "[");
	for (i = 0; i < count; i++) {
		if (i)
			put_text(",");
		put_bad_table(&bad[i]);
	}
	if (extra) {
		if (count)
			put_text(",");
		put_bad_table(extra);
	}
	put_text("]");
}

static void put_count(const char *open, u32 count)
{
	put_text(open);
	put_number(count);
}

/* An object of counts: those that are not as in the step before. */
static void put_counts(const char *key, const u64 *counts, const u64 *old,
		       const char * const *names, u32 nr)
{
	bool any = false;
	u32 i;

	for (i = 0; i < nr; i++) {
		if (old && counts[i] == old[i])
			continue;
		if (any)
			put_text(",");
		else
			put_key(key, "{");
		any = true;
		put_text(names[i]);
		put_number(counts[i]);
	}
	put_text(any ? "}" : "");
}

static void put_cmo(const struct hx_step *step)
{
	static const char * const names[] = { "\"dcache\":", "\"icache\":" };
	u64 counts[] = { step->dcache, step->icache };
	u64 old[] = { last.dcache, last.icache };
	u64 pages[] = { step->dcache_pages, step->icache_pages };
	u64 old_pages[] = { last.dcache_pages, last.icache_pages };

	put_counts("cmo", counts, before ? old : NULL, names, ARRAY_SIZE(names));
	put_counts("cmo_pages", pages, before ? old_pages : NULL, names, ARRAY_SIZE(names));
}

static void put_tlbi(const struct hx_step *step)
{
	static const char * const names[HX_NR_TLBI] = {
		[HX_TLBI_IPA] = "\"ipa\":",
		[HX_TLBI_IPA_NSH] = "\"ipa_nsh\":",
		[HX_TLBI_VMID] = "\"vmid\":",
		[HX_TLBI_RANGE] = "\"range\":",
	};

	u64 counts[HX_NR_TLBI], old[HX_NR_TLBI];
	u32 i;

	for (i = 0; i < HX_NR_TLBI; i++) {
		counts[i] = step->tlbi[i];
		old[i] = last.tlbi[i];
	}
	put_counts("tlbi", counts, before ? old : NULL, names, HX_NR_TLBI);
}

void pgtable_record(const struct hx_step *step, u64 channels, const struct hx_bad_table *extra)
{
	const char *leaf_items = (const char *)(step + 1);
	const char *note_items = leaf_items + step->leaves.nr_runs * leaves.size;
	const char *bad = note_items + step->annotations.nr_runs * annotations.size;
	bool same_leaves = is_same(&leaves, &step->leaves);
	bool same_notes = is_same(&annotations, &step->annotations);

	used = 0;
	need(1);
	line[0] = 0;
	put_text(before ? ",\"same\":true" : "");
	if (!before || before->ret != step->ret) {
		put_key("ret", "");
		put_signed(step->ret);
	}
	apply(&leaves, &step->leaves, leaf_items);
	if (!same_leaves)
		put_list(&leaves, &step->leaves, "leaves", "leaves_delta", put_leaf);
	apply(&annotations, &step->annotations, note_items);
	if (!same_notes)
		put_list(&annotations, &step->annotations, "annotations", "annotations_delta",
			 put_annotation);
	if (!before || before->tables != step->tables)
		put_count(",\"tables\":", step->tables);
	if (!before || before->alloc != step->alloc)
		put_count(",\"alloc\":", step->alloc);
	if (!before || before->nr_bad || step->nr_bad || extra)
		put_refcounts((const struct hx_bad_table *)bad, step->nr_bad, extra);
	if (channels & HX_CHANNEL_CMO)
		put_cmo(step);
	if (channels & HX_CHANNEL_TLBI)
		put_tlbi(step);
	step_begin();
	record_text("%s", line);
	step_end();
	last = *step;
	before = &last;
}
