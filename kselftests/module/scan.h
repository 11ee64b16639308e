/* SPDX-License-Identifier: GPL-2.0-only */
/* What stands in the table: read entry by entry, with nothing of the kernel's. */
#ifndef HX_SCAN_H
#define HX_SCAN_H

#include "runs.h"

#define HX_MAX_BAD	64

struct hx_scan {
	struct hx_list leaves;
	struct hx_list annotations;
	struct hx_bad_table bad[HX_MAX_BAD];
	u32 nr_bad;
	u32 tables;
	bool incomplete;	/* no memory for all runs */
};

void hx_scan_init(struct hx_scan *scan);
/* Reads the whole table. 0, or -ENOMEM. */
int hx_scan_table(struct hx_scan *scan);
void hx_scan_free(struct hx_scan *scan);

#endif /* HX_SCAN_H */
