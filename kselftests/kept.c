// SPDX-License-Identifier: GPL-2.0-only
/* Filled memory that is kept from one scenario to the next. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "backing_parts.h"

#define KEPT_BASE	0xa00000000UL	/* far from what is a scenario's own */
#define MAX_KEPT	16
#define MAX_KEPT_SIZE	SZ_1M		/* of one; larger ones are rare */

static u64 next_kept = KEPT_BASE;

static struct kept {
	char *area;
	size_t size;
	bool in_use;
} kept[MAX_KEPT];

bool is_kept(const char *area)
{
	return (u64)area >= KEPT_BASE;
}

/* A page that is no longer what prefill() wrote is written anew. */
static void restore(char *page, size_t page_size, u64 code)
{
	if (page_is_filled(page, page_size, code))
		return;
	fill_page(page, page_size, code);
	memory_clean(page, page_size);
}

/* Memory of that size that is filled, and not in use: kept, or new and then kept. */
static char *take_kept(size_t size)
{
	size_t page_size = sysconf(_SC_PAGESIZE), n;
	struct kept *free_one = NULL, *one;

	for (one = kept; one < kept + MAX_KEPT; one++) {
		if (one->area && !one->in_use && one->size == size)
			break;
		if (!one->area)
			free_one = one;
	}
	if (one < kept + MAX_KEPT) {
		for (n = 0; n < size / page_size; n++)
			restore(one->area + n * page_size, page_size, page_code(n));
	} else if (free_one) {
		one = free_one;
		one->size = size;
		one->area = map_fresh(room_at(&next_kept, size, pmd_size()), size);
		if (!one->area)
			return NULL;
		prefill(one->area, size);
	} else {
		return NULL;
	}
	one->in_use = true;
	return one->area;
}

void give_back(const struct memory *memory)
{
	struct kept *one;

	for (one = kept; one < kept + MAX_KEPT; one++) {
		if (one->area != memory->area)
			continue;
		one->in_use = false;
		if (!memory->pristine) {
			munmap(one->area, one->size);
			one->area = NULL;
		}
	}
}

void memory_forget(void)
{
	struct kept *one;

	for (one = kept; one < kept + MAX_KEPT; one++) {
		if (!one->area || one->in_use)
			continue;
		munmap(one->area, one->size);
		one->area = NULL;
	}
}

/* Plain memory that begins at a boundary is all that is worth it. */
bool from_kept(struct memory *memory, const struct backing *backing, u64 size)
{
	memory->area_size = round_up(size, sysconf(_SC_PAGESIZE));
	if (backing->what != (BACKING_ANON | PREFILL) || backing->offset ||
	    memory->area_size > MAX_KEPT_SIZE)
		return false;
	memory->area = take_kept(memory->area_size);
	memory->slot = memory->area;
	memory->slot_size = memory->area_size;
	memory->pristine = true;
	return memory->area;
}

char *memory_private(size_t size)
{
	char *memory = map_fresh(room_at(&next_kept, size, SZ_2M), size);

	if (memory && madvise(memory, size, MADV_DONTFORK)) {
		munmap(memory, size);
		return NULL;
	}
	return memory;
}
