// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel says of this process's pages. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "pages.h"

#define PAGEMAP_PRESENT	(1UL << 63)
#define PAGEMAP_FRAME	((1UL << 55) - 1)
#define KPF_ZERO_PAGE	(1UL << 24)

/*
 * One fault mapped it all, or the last page would not be there. smaps has a counter of
 * huge mappings, but formats every mapping of the process to give it.
 */
bool pages_came_at_once(const char *start, size_t size, u64 block)
{
	size_t page = sysconf(_SC_PAGESIZE), end;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool huge = fd >= 0 && size % block == 0;
	u64 entry;

	for (end = block; huge && end <= size; end += block)
		huge = pread(fd, &entry, sizeof(entry), ((u64)start + end) / page * 8 - 8) ==
			       sizeof(entry) &&
		       (entry & PAGEMAP_PRESENT);
	if (fd >= 0)
		close(fd);
	return huge;
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
