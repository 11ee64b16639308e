/* SPDX-License-Identifier: GPL-2.0-only */
/* A list of equal-sized records of this step, and that of the step before. */
#ifndef HX_RUNS_H
#define HX_RUNS_H

#include <linux/types.h>

#include "hx_pgtable.h"

struct hx_list {
	size_t item_size;
	struct {
		void *items;
		u32 nr;
		u32 room;
	} now, before;
	/* Known to be as before, so that they need no comparison. */
	u32 same_head;
	u32 same_tail;
};

/* Begins the next step's list: empty; the current one is the one before. */
void hx_list_next(struct hx_list *list);
/* Begins the current list anew. */
void hx_list_restart(struct hx_list *list);
/* A new record at the end, or NULL: no memory. Earlier pointers are stale. */
void *hx_list_add(struct hx_list *list);
/* Appends count records of the step before, from number first on. */
bool hx_list_copy(struct hx_list *list, u32 first, u32 count);
/* What of the list is not as in the step before; returns its first record. */
const void *hx_list_delta(const struct hx_list *list, struct hx_delta *delta);
void hx_list_free(struct hx_list *list);

#endif /* HX_RUNS_H */
