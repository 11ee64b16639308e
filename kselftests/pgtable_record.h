/* SPDX-License-Identifier: GPL-2.0-only */
/* A step of the module's result as a step record. */
#ifndef HX_PGTABLE_RECORD_H
#define HX_PGTABLE_RECORD_H

#include "module/hx_pgtable.h"
#include "types.h"

/* A new table's steps follow. */
void pgtable_record_restart(void);

/*
 * Writes one step's structures as a record of these channels; steps come in their
 * order. extra, if it is not NULL, is one more
 * bad table.
 */
void pgtable_record(const struct hx_step *step, u64 channels, const struct hx_bad_table *extra);

#endif /* HX_PGTABLE_RECORD_H */
