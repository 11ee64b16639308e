// SPDX-License-Identifier: GPL-2.0-only
/* Memory of huge pages: transparent ones, and those of a hugetlb pool. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "backing_parts.h"
#include "pages.h"
#include "record.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT	26
#endif

#define THP	"/sys/kernel/mm/transparent_hugepage/"

static bool thp_is(const char *choice)
{
	char text[64] = "", chosen[16];
	int fd = open(THP "enabled", O_RDONLY | O_CLOEXEC);
	bool is = false;

	if (fd < 0)
		scenario_skip("needs transparent huge pages, this kernel has none");
	snprintf(chosen, sizeof(chosen), "[%s]", choice);
	if (read(fd, text, sizeof(text) - 1) > 0)
		is = strstr(text, chosen);
	close(fd);
	return is;
}

void map_thp(struct memory *memory, u32 what)
{
	if (thp_is("never") || ((what & THP_ALWAYS) && !thp_is("always")))
		scenario_skip("needs transparent huge pages: " THP "enabled is not %s",
			      what & THP_ALWAYS ? "always" : "always or madvise");
	memory->area = map_at(memory->area, memory->area_size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (memory->area && (what & THP_MADVISE) &&
	    madvise(memory->area, memory->area_size, MADV_HUGEPAGE))
		scenario_infra("MADV_HUGEPAGE: %s", strerror(errno));
}

/* A second time after compaction where a block is of small pages. */
void fill_with_thp(const struct memory *memory)
{
	u64 block = pmd_size();
	int attempt, fd;
	size_t at;

	for (attempt = 0; attempt < 2; attempt++) {
		for (at = 0; at < memory->area_size; at += block)
			*(volatile char *)(memory->area + at) = 0;
		if (pages_came_at_once(memory->area, memory->area_size, block))
			return;
		madvise(memory->area, memory->area_size, MADV_DONTNEED);
		fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
		if (fd >= 0) {
			if (write(fd, "1", 1) < 0)
				attempt = 1;
			close(fd);
		}
	}
	scenario_skip("no huge page of %llu bytes to be had", (unsigned long long)block);
}

void map_hugetlb(struct memory *memory, u64 page_size)
{
	char path[96];
	long pages, free_pages;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
		 (unsigned long long)page_size / 1024);
	pages = kernel_number(path);
	if (pages < 0)
		scenario_skip("needs hugetlb pages of %llu bytes, this kernel has no such size",
			      (unsigned long long)page_size);
	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/free_hugepages",
		 (unsigned long long)page_size / 1024);
	free_pages = kernel_number(path);
	memory->area = map_at(memory->area, memory->area_size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
				      __builtin_ctzll(page_size) << MAP_HUGE_SHIFT, -1);
	if (!memory->area && errno == ENOMEM)
		scenario_skip("needs %llu hugetlb pages of %llu bytes, %ld of %ld are free",
			      (unsigned long long)(memory->area_size / page_size),
			      (unsigned long long)page_size, free_pages, pages);
}
