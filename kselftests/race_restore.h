/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM as it was when a loop began. */
#ifndef HX_RACE_RESTORE_H
#define HX_RACE_RESTORE_H

#include "race.h"

/* The first turn begins: remembers what the loop's pages hold, and slots' flags. */
void restore_learn(struct vm *vm, const struct race_loop *loop);

/* Another turn begins: makes it so again, or a VM without slots. */
void restore(struct vm *vm, const struct race_loop *loop);

#endif /* HX_RACE_RESTORE_H */
