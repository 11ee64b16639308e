/* SPDX-License-Identifier: GPL-2.0-only */
/* What stands in the table: read entry by entry, with nothing of the kernel's. */
#ifndef HX_SCAN_H
#define HX_SCAN_H

#include "runs.h"

#define HX_MAX_BAD	64
#define HX_ROOT_PAGES	16	/* at most, of a concatenated root */

struct hx_scan {
	struct hx_list leaves;
	struct hx_list annotations;
	struct hx_bad_table bad[HX_MAX_BAD];
	u32 nr_bad;
	u32 tables;		/* below the root */

	/* Of each entry of the root, as it was last read. */
	struct hx_root_entry {
		u32 tables;	/* below this entry */
		bool counted;
	} *root;
	u32 root_entries;
	u32 root_counted[HX_ROOT_PAGES];	/* counted entries of each of its pages */
	u32 steps;
};

/* For the table of hx.pgt. 0, or -ENOMEM. */
int hx_scan_init(struct hx_scan *scan);
/*
 * After a step on [ipa, ipa + size): reads what stands below the root's entries
 * that the range lies in; everything, where all is set, now and then without
 * being asked, and where something is wrong. 0, or -ENOMEM.
 */
int hx_scan_step(struct hx_scan *scan, u64 ipa, u64 size, bool all);
void hx_scan_free(struct hx_scan *scan);

#endif /* HX_SCAN_H */
