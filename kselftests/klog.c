// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel logged while a scenario ran: /dev/kmsg (Documentation/ABI/testing/dev-kmsg). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "klog.h"

/* A record is never longer than this (CONSOLE_EXT_LOG_MAX, PRINTKRB_RECORD_MAX). */
#define KLOG_RECORD	8192
#define KLOG_LEVEL	7	/* of the number in front: the rest is the facility */
#define KLOG_WARNING	4

static int kmsg = -1;

bool klog_open(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0 && lseek(kmsg, 0, SEEK_END) < 0) {
		close(kmsg);
		kmsg = -1;
	}
	return kmsg >= 0;
}

bool klog_warned(u64 *first, u64 *last)
{
	static char record[KLOG_RECORD];
	bool any = false;

	while (kmsg >= 0) {
		ssize_t n = read(kmsg, record, sizeof(record) - 1);
		unsigned int level;
		unsigned long long us;

		/* EPIPE: some were overwritten, and the next read goes on behind them. */
		if (n < 0 && (errno == EINTR || errno == EPIPE))
			continue;
		if (n <= 0)
			break;
		record[n] = '\0';
		if (sscanf(record, "%u,%*u,%llu,", &level, &us) != 2 ||
		    (level & KLOG_LEVEL) > KLOG_WARNING)
			continue;
		if (!any)
			*first = us;
		*last = us;
		any = true;
	}
	return any;
}
