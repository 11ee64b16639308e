// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel says of this process's pages. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pages.h"

#define PAGEMAP_PRESENT	(1UL << 63)
#define PAGEMAP_FRAME	((1UL << 55) - 1)
#define KPF_ZERO_PAGE	(1UL << 24)

/*
 * The counter AnonHugePages of smaps, over the mappings inside [start, end): a page of
 * the page tables' level 2 is one huge page by what is mapped, not by what is allocated.
 */
bool pages_are_huge(const char *start, size_t size, u64 block)
{
	unsigned long begin, end, kib, huge = 0;
	FILE *file = fopen("/proc/self/smaps", "re");
	bool inside = false;
	char line[512];

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
			inside = begin >= (u64)start && end <= (u64)start + size;
		else if (inside && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			huge += kib;
	}
	fclose(file);
	return huge * 1024 == size && size % block == 0;
}

/* The zero page, small or huge: shared by all, and nobody's to page out. */
static bool is_zero_page(int flags_fd, u64 frame)
{
	u64 flags;

	return pread(flags_fd, &flags, sizeof(flags), frame * sizeof(flags)) == sizeof(flags) &&
	       (flags & KPF_ZERO_PAGE);
}

long pages_present(const char *start, size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE), at;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), flags_fd;
	long present = 0;
	u64 entry;

	if (fd < 0)
		return -errno;
	flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	for (at = 0; at < size; at += page) {
		if (pread(fd, &entry, sizeof(entry), ((u64)start + at) / page * 8) !=
		    sizeof(entry)) {
			present = -EIO;
			break;
		}
		present += (entry & PAGEMAP_PRESENT) &&
			   !is_zero_page(flags_fd, entry & PAGEMAP_FRAME);
	}
	if (flags_fd >= 0)
		close(flags_fd);
	close(fd);
	return present;
}
