/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's own stage-1 tables. */
#ifndef HX_STAGE1_H
#define HX_STAGE1_H

#include "vm.h"

/* Makes those of a new VM; they map the runtime. */
void stage1_begin(struct vm *vm);

/*
 * Lets them cover the gigabyte that holds this address. No vCPU may run meanwhile
 * that has not been covered for it before.
 */
void stage1_cover(struct vm *vm, u64 gpa);

/* What TTBR0_EL1 and TCR_EL1.T0SZ have to be for them. */
u64 stage1_base(const struct vm *vm);
u64 stage1_t0sz(const struct vm *vm);

#endif /* HX_STAGE1_H */
