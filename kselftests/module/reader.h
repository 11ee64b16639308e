/* SPDX-License-Identifier: GPL-2.0-only */
/* Puts what is read, in ascending order of IPA, together into runs. */
#ifndef HX_READER_H
#define HX_READER_H

#include "scan.h"

struct hx_reader {
	struct hx_scan *scan;
	/* The run that the next leaf may continue: the last in scan->leaves. */
	struct hx_leaf_run *tail;
	u64 next_ipa;
	u64 next_desc;
	bool failed;		/* no memory */
};

void hx_add_leaf(struct hx_reader *reader, u64 desc, u64 ipa, int level);
/* The leaves from table[i] on that just go on with the run; where they end. */
u32 hx_add_more_leaves(struct hx_reader *reader, const u64 *table, u32 i, int level);
void hx_add_annotations(struct hx_reader *reader, u64 value, u64 ipa, u8 shift, u32 count);
/* What is not read again in [from, to) stands as the step before found it. */
void hx_add_old(struct hx_reader *reader, u64 from, u64 to);

#endif /* HX_READER_H */
