/* SPDX-License-Identifier: GPL-2.0-only */
/* Host memory of every kind that can stand behind a slot. */
#ifndef HX_BACKING_H
#define HX_BACKING_H

#include "guest.h"

/* Some address space, and where in it a slot's bytes begin. */
struct memory {
	char *area;
	size_t area_size;	/* whole pages, more than the slot where blocks reach out of it */
	char *slot;
	size_t slot_size;	/* whole pages of the host */
	u32 kind;		/* BACKING_… */
	bool pristine;		/* as PREFILL leaves it, but for what was written to it */
};

/*
 * Fresh memory for a slot of so many bytes, filled where that is asked for. Ends the
 * scenario where it cannot be had.
 */
struct memory memory_new(const struct backing *backing, u64 size);

/* Fresh memory of the runtime's own: no huge pages, not seen by fork_touch(); stays. */
char *memory_private(size_t size);

/*
 * Gives memory back: to the kernel, or where it is pristine, for the next slot that
 * wants the same. Saves half of the time that a page costs.
 */
void memory_free(const struct memory *memory);

/* Gives back to the kernel what waits for its next use. */
void memory_forget(void);

/* Ends a scenario: none of its memory is left, and addresses begin anew. */
void memory_end(void);

/* Whether what was written must be made visible to instruction fetches; and to do it. */
bool memory_needs_cleaning(void);
void memory_clean(const void *start, size_t size);

/* The first number in a file of the kernel's; -1: no such file. */
long kernel_number(const char *path);

#endif /* HX_BACKING_H */
