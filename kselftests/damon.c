// SPDX-License-Identifier: GPL-2.0-only
/*
 * DAMON_STAT (mm/damon/stat.c, on by default in Debian's kernels from 7.2 on) samples all
 * memory of the machine: every few milliseconds it clears the access flag of some pages,
 * KVM's too (mmu_notifier_clear_young), so that now and then a leaf is old that no step
 * has aged.
 */
#include <fcntl.h>
#include <unistd.h>

#include "damon.h"

#define ENABLED	"/sys/module/damon_stat/parameters/enabled"

static bool stopped;

static bool write_letter(char letter)
{
	int fd = open(ENABLED, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, &letter, 1) == 1;

	if (fd >= 0)
		close(fd);
	return done;
}

void damon_stop(void)
{
	int fd = open(ENABLED, O_RDONLY | O_CLOEXEC);
	char letter = 'N';

	if (fd < 0)
		return;
	if (read(fd, &letter, 1) == 1 && letter == 'Y')
		stopped = write_letter('N');
	close(fd);
}

void damon_resume(void)
{
	if (stopped)
		write_letter('Y');
	stopped = false;
}
