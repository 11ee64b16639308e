/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel says of this process's pages (/proc/self/pagemap, smaps). */
#ifndef HX_PAGES_H
#define HX_PAGES_H

#include "types.h"

/*
 * Whether every block of this size in the range is one huge page. Nothing but the first
 * byte of each has been touched.
 */
bool pages_came_at_once(const char *start, size_t size, u64 block);

/* How many pages of the range are mapped at their address, the zero page aside; -errno. */
long pages_present(const char *start, size_t size);

#endif /* HX_PAGES_H */
