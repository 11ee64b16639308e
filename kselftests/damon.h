/* SPDX-License-Identifier: GPL-2.0-only */
/* A thread of the kernel that ages pages by itself, out of the way. */
#ifndef HX_DAMON_H
#define HX_DAMON_H

#include "types.h"

/* Where it runs, and may be told: no more until damon_resume(). */
void damon_stop(void);

/* As it was; system calls only. */
void damon_resume(void);

#endif /* HX_DAMON_H */
