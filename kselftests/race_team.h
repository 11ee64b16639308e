/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads that make the branches of a block from a common start line. */
#ifndef HX_RACE_TEAM_H
#define HX_RACE_TEAM_H

#include "race.h"

#define MAX_BRANCHES	16
#define BRANCH_TEXT	16384	/* bytes of the records of one branch */

/*
 * Runs each branch in its thread, the first one in the caller's; branches of one
 * number always run in the same thread. variation says who is how late. Returns when
 * all are done; text[i] holds the records of branch i.
 */
void team_run(struct vm *vm, const struct race_block *block, u32 variation,
	      char text[MAX_BRANCHES][BRANCH_TEXT]);

/* How many of the branches are done; for whoever holds one back. */
u32 team_done(void);

#endif /* HX_RACE_TEAM_H */
