/* SPDX-License-Identifier: GPL-2.0-only */
/* A step of the module's result as a step record. */
#ifndef HX_PGTABLE_RECORD_H
#define HX_PGTABLE_RECORD_H

#include "module/hx_pgtable.h"
#include "types.h"

/* Forgets the step before: the next one is a table's first. */
void pgtable_record_reset(void);

/*
 * Takes one step's structures and, where print is set, writes them as a record
 * of these channels. extra, if it is not NULL, is one more bad table.
 */
void pgtable_record(const struct hx_step *step, u64 channels, bool print,
		    const struct hx_bad_table *extra);

#endif /* HX_PGTABLE_RECORD_H */
