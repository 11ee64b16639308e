// SPDX-License-Identifier: GPL-2.0-only
/* Reading and clearing a slot's dirty log. */
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "vm.h"

#define PAGES_PER_WORD	64
/* Behind every bitmap that the kernel writes to, for one that writes too much. */
#define BITMAP_SLACK	4096

static u64 pages_of(const struct vm *vm, const struct slot *slot)
{
	return slot->used ? slot->size / vm->page_size : 0;
}

static u64 *new_bitmap(u64 pages)
{
	u64 *bitmap = calloc(1, round_up(pages, PAGES_PER_WORD) / 8 + BITMAP_SLACK);

	if (!bitmap)
		scenario_infra("no memory for the dirty bitmap of %llu pages",
			       (unsigned long long)pages);
	return bitmap;
}

static void set_bit(u64 *bitmap, u64 page)
{
	bitmap[page / PAGES_PER_WORD] |= 1UL << page % PAGES_PER_WORD;
}

static void record_dirty(const u64 *bitmap, u64 words)
{
	const char *before = "[";
	u64 i, word;

	step_key("dirty");
	for (i = 0; i < words; i++) {
		for (word = bitmap[i]; word; word &= word - 1) {
			record_word(before);
			record_u64(i * PAGES_PER_WORD + __builtin_ctzll(word));
			before = ",";
		}
	}
	record_word(*before == '[' ? "[]" : "]");
}

void dirty_get(struct vm *vm, u32 id)
{
	u64 pages = pages_of(vm, slot_of(vm, id));
	u64 *bitmap = new_bitmap(pages);
	struct kvm_dirty_log log = { .slot = id, .dirty_bitmap = bitmap };
	int ret;

	step_begin();
	step_counts_flushes(vm);
	ret = kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	step_s64("ret", ret);
	if (!ret)
		record_dirty(bitmap, (round_up(pages, PAGES_PER_WORD) + BITMAP_SLACK * 8) /
					     PAGES_PER_WORD);
	step_finish(vm);
	free(bitmap);
}

void dirty_clear(struct vm *vm, u32 id, u64 first_page, u64 num_pages,
		 const struct page_list *list)
{
	u64 pages = pages_of(vm, slot_of(vm, id));
	u64 *bitmap = new_bitmap(pages);
	struct kvm_clear_dirty_log log = {
		.slot = id,
		.first_page = first_page,
		.dirty_bitmap = bitmap,
	};
	u64 page, span;
	size_t i;

	step_begin();
	if (num_pages == TO_SLOT_END)
		num_pages = first_page < pages ? pages - first_page : 0;
	log.num_pages = num_pages < UINT32_MAX ? num_pages : UINT32_MAX;

	/* More than the slot has is for the kernel to refuse, not to read. */
	span = num_pages < pages ? num_pages : pages;
	for (page = 0; list == ALL_PAGES && page < span; page++)
		set_bit(bitmap, page);
	span = round_up(span, PAGES_PER_WORD);
	for (i = 0; list && i < list->count; i++)
		if (list->pages[i] >= first_page && list->pages[i] - first_page < span)
			set_bit(bitmap, list->pages[i] - first_page);
	step_counts_flushes(vm);
	step_s64("ret", kvm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log));
	step_finish(vm);
	free(bitmap);
}
