/* SPDX-License-Identifier: GPL-2.0-only */
/* The leaves of a running VM as the kernel prints them; where there is no module. */
#ifndef HX_LIVE_DUMP_H
#define HX_LIVE_DUMP_H

#include "module/hx_pgtable.h"
#include "types.h"

/*
 * Whether this kernel prints the tables of VMs: CONFIG_PTDUMP_STAGE2_DEBUGFS, from 6.12
 * on, and debugfs. A VM of this process has to be there.
 */
bool dump_start(void);

/*
 * Reads the leaves of the VM of that file descriptor which lie outside of
 * [skip_from, skip_to) into runs. Their number, or -1 where what is printed is not
 * whole, or they are more than room.
 */
int dump_leaves(int vm, u64 skip_from, u64 skip_to, struct hx_leaf_run *runs, u32 room);

#endif /* HX_LIVE_DUMP_H */
