/* SPDX-License-Identifier: GPL-2.0-only */
/* How often the fault path did what, in all threads of a block together. */
#ifndef HX_RACE_TRACE_H
#define HX_RACE_TRACE_H

#include "types.h"

enum race_count {
	COUNT_FAULTS,		/* kvm_guest_fault */
	COUNT_MAPPED,		/* calls of map and relax_perms that returned 0, */
	COUNT_REFUSED,		/* and those that returned -EAGAIN */
	COUNT_MARKED,		/* pages marked dirty */
	RACE_COUNTS,
};

/*
 * A block begins: forgets what was. Where nothing can be counted the trace is turned
 * off, so that its buffers do not overflow.
 */
void race_trace_begin(void);

/* The block is over: adds what happened in it to the sums. */
void race_trace_end(void);

/* Writes the sums as the channel counts, and forgets them. */
void race_trace_record(void);

#endif /* HX_RACE_TRACE_H */
