/* SPDX-License-Identifier: GPL-2.0-only */
/* Faults that wait inside the kernel, so that others overtake them. */
#ifndef HX_RACE_HOLD_H
#define HX_RACE_HOLD_H

#include "race.h"

/*
 * Takes the block's held pages away, content kept. Who faults on one waits until
 * every other branch is done or waits too, or nothing has happened for a while;
 * then all go on at once, and find the page as it was.
 */
void hold_pages(struct vm *vm, const struct race_block *block);

/* All branches are done: the pages are as any other. */
void hold_end(void);

#endif /* HX_RACE_HOLD_H */
