// SPDX-License-Identifier: GPL-2.0-only
/* Lists of runs, and how one step's list differs from that of the step before. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "runs.h"

#define FIRST_ROOM	64
#define MAX_ROOM	(1U << 20)

void hx_list_next(struct hx_list *list)
{
	swap(list->now, list->before);
	hx_list_restart(list);
}

void hx_list_restart(struct hx_list *list)
{
	list->now.nr = 0;
	list->same_head = 0;
	list->same_tail = 0;
}

static bool make_room(struct hx_list *list, u32 count)
{
	u32 room = max_t(u32, FIRST_ROOM, list->now.room);
	void *items;

	if (list->now.nr + count <= list->now.room)
		return true;
	while (room < list->now.nr + count)
		room *= 2;
	if (room > MAX_ROOM)
		return false;
	items = kvmalloc_array(room, list->item_size, GFP_KERNEL);
	if (!items)
		return false;
	if (list->now.nr)
		memcpy(items, list->now.items, list->now.nr * list->item_size);
	kvfree(list->now.items);
	list->now.items = items;
	list->now.room = room;
	return true;
}

void *hx_list_add(struct hx_list *list)
{
	if (!make_room(list, 1))
		return NULL;
	return list->now.items + list->item_size * list->now.nr++;
}

bool hx_list_copy(struct hx_list *list, u32 first, u32 count)
{
	size_t size = list->item_size;

	if (!make_room(list, count))
		return false;
	memcpy(list->now.items + size * list->now.nr, list->before.items + size * first,
	       size * count);
	list->now.nr += count;
	return true;
}

const void *hx_list_delta(const struct hx_list *list, struct hx_delta *delta)
{
	size_t size = list->item_size;
	u32 nr = list->now.nr, common = min(nr, list->before.nr);
	const void *now = list->now.items, *before = list->before.items;
	const void *now_end = now + size * nr, *before_end = before + size * list->before.nr;
	u32 head = list->same_head, tail = list->same_tail;

	while (head + tail < common && !memcmp(now + size * head, before + size * head, size))
		head++;
	while (head + tail < common &&
	       !memcmp(now_end - size * (tail + 1), before_end - size * (tail + 1), size))
		tail++;
	*delta = (struct hx_delta){
		.keep_head = head,
		.keep_tail = tail,
		.nr_runs = nr - head - tail,
	};
	return now + size * head;
}

void hx_list_free(struct hx_list *list)
{
	kvfree(list->now.items);
	kvfree(list->before.items);
	memset(&list->now, 0, sizeof(list->now));
	memset(&list->before, 0, sizeof(list->before));
}
