// SPDX-License-Identifier: GPL-2.0-only
/*
 * Back to the state in which a loop began, without a new VM: unmapping a page costs
 * less than a slot, and a slot less than a VM.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pages.h"
#include "race_restore.h"
#include "record.h"
#include "vm.h"

#define MAX_PAGES	256
#define SCRATCH_TEXT	65536

static struct {
	char *page[MAX_PAGES];
	char *content[MAX_PAGES];	/* NULL: there was no page */
	size_t pages;
	u32 flags[MAX_SLOTS];
	bool learnt;
} before;

static char scratch[SCRATCH_TEXT];

/* --- steps that are none of the scenario ------------------------------------------- */

static void drop_slot(struct vm *vm, u32 id)
{
	record_capture(scratch, sizeof(scratch));
	slot_delete(vm, id);
	record_capture(NULL, 0);
}

static void reset_flags(struct vm *vm, u32 id, u32 flags)
{
	record_capture(scratch, sizeof(scratch));
	slot_flags(vm, id, flags);
	record_capture(NULL, 0);
	if (vm->slot[id].flags != flags)
		scenario_infra("slot %u does not take its flags back: %s", id, scratch);
}

/* Clearing works whether or not reading clears too. */
static void reset_log(struct vm *vm, u32 id)
{
	record_capture(scratch, sizeof(scratch));
	dirty_clear(vm, id, 0, TO_SLOT_END, ALL_PAGES);
	record_capture(NULL, 0);
}

/* --- the loop's pages ---------------------------------------------------------------- */

void restore_learn(struct vm *vm, const struct race_loop *loop)
{
	u32 id;
	size_t i;

	if (!loop->pages)
		return;
	if (loop->pages->count > MAX_PAGES)
		scenario_infra("a loop can touch %d pages, not %zu", MAX_PAGES, loop->pages->count);
	for (id = 0; id < vm->slots; id++)
		before.flags[id] = vm->slot[id].flags;
	before.pages = loop->pages->count;
	for (i = 0; i < before.pages; i++) {
		/* Named in 4K; the host's pages may be larger. */
		u64 gpa = loop->pages->pages[i] / vm->page_size * vm->page_size;
		char *page = host_address(vm, gpa, vm->page_size);

		before.page[i] = page;
		if (pages_present(page, vm->page_size) != 1)
			continue;
		before.content[i] = malloc(vm->page_size);
		if (!before.content[i])
			scenario_infra("no memory to remember a page");
		memcpy(before.content[i], page, vm->page_size);
	}
	before.learnt = true;
}

static void restore_page(struct vm *vm, size_t i)
{
	/* Takes it out of the guest's tables too. */
	if (madvise(before.page[i], vm->page_size, MADV_DONTNEED))
		scenario_infra("madvise: %s", strerror(errno));
	if (!before.content[i])
		return;
	memcpy(before.page[i], before.content[i], vm->page_size);
	if (vm->clean_stores)
		memory_clean(before.page[i], vm->page_size);
}

void restore(struct vm *vm, const struct race_loop *loop)
{
	u32 id;
	size_t i;

	if (!loop->pages) {
		for (id = 0; id < vm->slots; id++)
			if (vm->slot[id].used)
				drop_slot(vm, id);
		return;
	}
	if (!before.learnt)
		scenario_infra("a loop goes back to a state that was never learnt");
	for (id = 0; id < vm->slots; id++)
		if (vm->slot[id].used && vm->slot[id].flags != before.flags[id])
			reset_flags(vm, id, before.flags[id]);
	for (i = 0; i < before.pages; i++)
		restore_page(vm, i);
	for (id = 0; id < vm->slots; id++)
		if (vm->slot[id].used && vm->slot[id].flags & LOG_DIRTY)
			reset_log(vm, id);
}
