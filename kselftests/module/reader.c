// SPDX-License-Identifier: GPL-2.0-only
/* Puts what is read, in ascending order of IPA, together into runs. */
#include "desc.h"
#include "reader.h"

void hx_add_leaf(struct hx_reader *reader, u64 desc, u64 ipa, int level)
{
	struct hx_leaf_run *run = reader->tail;
	u64 bits = desc & ~desc_address_bits();
	u8 shift = desc_shift(level);

	if (run && ipa == reader->next_ipa && shift == run->shift && bits == run->bits &&
	    desc_address(desc) == run->pa + ((u64)run->count << shift)) {
		run->count++;
	} else {
		run = hx_list_add(&reader->scan->leaves);
		reader->tail = run;
		if (!run) {
			reader->failed = true;
			return;
		}
		*run = (struct hx_leaf_run){
			.ipa = ipa,
			.pa = desc_address(desc),
			.bits = bits,
			.count = 1,
			.shift = shift,
			.prot = desc_prot(bits),
			.sw = FIELD_GET(DESC_SW, bits),
			.attr = desc_attr(bits, level),
		};
	}
	reader->next_ipa = ipa + BIT_ULL(shift);
	reader->next_desc = desc + BIT_ULL(shift);
}

u32 hx_add_more_leaves(struct hx_reader *reader, const u64 *table, u32 i, int level)
{
	u64 size = BIT_ULL(desc_shift(level)), desc = reader->next_desc;
	u32 start = i;

	while (i < ENTRIES && table[i] == desc) {
		desc += size;
		i++;
	}
	reader->tail->count += i - start;
	reader->next_ipa += (i - start) * size;
	reader->next_desc = desc;
	return i;
}

static u64 end_of(const struct hx_leaf_run *run)
{
	return run->ipa + ((u64)run->count << run->shift);
}

/* The part in [from, to) of a run of the step before; may go on with the last one. */
static void add_old_part(struct hx_reader *reader, const struct hx_leaf_run *old, u64 from, u64 to)
{
	u64 start = max(old->ipa, from), end = min(end_of(old), to);
	u64 pa = old->pa + (start - old->ipa);
	struct hx_leaf_run *run = reader->tail;

	if (start >= end)
		return;
	if (!run || start != reader->next_ipa || run->shift != old->shift ||
	    run->bits != old->bits || pa != run->pa + ((u64)run->count << run->shift)) {
		run = hx_list_add(&reader->scan->leaves);
		reader->tail = run;
		if (!run) {
			reader->failed = true;
			return;
		}
		*run = *old;
		run->ipa = start;
		run->pa = pa;
		run->count = 0;
	}
	run->count += (end - start) >> run->shift;
	reader->next_ipa = end;
	/* Never equal to an entry: the next leaf takes the long way. */
	reader->next_desc = 0;
}

/* The first run of the step before that ends above ipa. */
static u32 find_old(const struct hx_list *list, u64 ipa)
{
	const struct hx_leaf_run *runs = list->before.items;
	u32 low = 0, high = list->before.nr;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (end_of(&runs[middle]) > ipa)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* As many whole runs as there are from number first on, below ipa. */
static u32 copy_old(struct hx_reader *reader, u32 first, u64 to)
{
	struct hx_list *list = &reader->scan->leaves;
	u32 end = find_old(list, to);

	if (first >= end)
		return first;
	if (!hx_list_copy(list, first, end - first)) {
		reader->failed = true;
		return list->before.nr;
	}
	reader->tail = (struct hx_leaf_run *)list->now.items + list->now.nr - 1;
	reader->next_ipa = end_of(reader->tail);
	reader->next_desc = 0;
	return end;
}

/*
 * What the step before found in [from, to). Only a run that the borders cut, and
 * the first, which may go on with what was read, need a look.
 */
static void add_old_leaves(struct hx_reader *reader, u64 from, u64 to)
{
	struct hx_list *list = &reader->scan->leaves;
	const struct hx_leaf_run *runs = list->before.items;
	u32 first = find_old(list, from), next = first;

	if (from && next < list->before.nr)
		add_old_part(reader, &runs[next++], from, to);
	first = next;
	next = copy_old(reader, first, to);
	/* The last run on the left may yet grow. */
	if (!from && next > first)
		list->same_head = next - first - 1;
	if (to == U64_MAX)
		list->same_tail = next - first;
	else if (next < list->before.nr)
		add_old_part(reader, &runs[next], from, to);
}

void hx_add_annotations(struct hx_reader *reader, u64 value, u64 ipa, u8 shift, u32 count)
{
	struct hx_list *list = &reader->scan->annotations;
	struct hx_annotation_run *run = list->now.items;

	run += list->now.nr;
	if (list->now.nr && run[-1].value == value && run[-1].shift == shift &&
	    run[-1].ipa + ((u64)run[-1].count << shift) == ipa) {
		run[-1].count += count;
		return;
	}
	run = hx_list_add(list);
	if (!run) {
		reader->failed = true;
		return;
	}
	*run = (struct hx_annotation_run){
		.ipa = ipa, .value = value, .count = count, .shift = shift,
	};
}

static void add_old_annotations(struct hx_reader *reader, u64 from, u64 to)
{
	const struct hx_annotation_run *old = reader->scan->annotations.before.items;
	const struct hx_annotation_run *last = old + reader->scan->annotations.before.nr;

	for (; old < last; old++) {
		u64 start = max(old->ipa, from);
		u64 end = min(old->ipa + ((u64)old->count << old->shift), to);

		if (start < end)
			hx_add_annotations(reader, old->value, start, old->shift,
					(end - start) >> old->shift);
	}
}

void hx_add_old(struct hx_reader *reader, u64 from, u64 to)
{
	if (from == to)
		return;
	add_old_leaves(reader, from, to);
	add_old_annotations(reader, from, to);
}
