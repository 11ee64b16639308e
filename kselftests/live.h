/* SPDX-License-Identifier: GPL-2.0-only */
/* What the white-box module tells of a running VM; all of it optional. */
#ifndef HX_LIVE_H
#define HX_LIVE_H

#include "runner.h"

struct vm;

/* Loads the module where there is one; tells missing() the channel leaves where not. */
void live_start(missing_fn missing);

/* The same for ageing alone: no leaves are recorded. */
void live_start_ageing(void);

/* Unloads it; system calls only. */
void live_stop(void);

/* A scenario begins: its first record has the leaves in full. */
void live_begin(void);

/* Adds the leaves of the VM's stage-2 table to the record, or that they are as before. */
void live_record(struct vm *vm);

/* Ages the pages in [start, start + size); why that cannot be done, or NULL. */
const char *live_age(const void *start, size_t size);

#endif /* HX_LIVE_H */
