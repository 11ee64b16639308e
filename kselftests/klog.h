/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel logged while a scenario ran.
 *
 * Whoever reads its log from outside, over a serial line or a second connection, cannot
 * tell which scenario a warning belongs to: log and records overtake each other. The
 * kernel puts a message into its ring before printk() returns, so that the one who made
 * the system call can tell.
 */
#ifndef HX_KLOG_H
#define HX_KLOG_H

#include "types.h"

/* Opens the kernel's log at its end; false where that is not allowed (CAP_SYSLOG). */
bool klog_open(void);

/*
 * Whether there were messages of level warning or worse since the last call, and the
 * times of the first and the last, in microseconds as the log has them. Shared with
 * children.
 */
bool klog_warned(u64 *first, u64 *last);

#endif /* HX_KLOG_H */
