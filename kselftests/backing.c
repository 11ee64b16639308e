// SPDX-License-Identifier: GPL-2.0-only
/* Host memory behind slots: where it is, its kinds, and what stands in it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backing.h"
#include "backing_parts.h"
#include "record.h"

/* Where memory is mapped: far from everything, below 36 bits. */
#define MEMORY_BASE	0x400000000UL	/* a scenario's own */

#define MAX_AREAS	1024		/* of one scenario */

/* The code in a prefilled page: movz w0, #n; ret. */
#define INSN_MOVZ_W0	0x52800000UL
#define INSN_RET	0xd65f03c0UL

#define CTR_EL0_IDC	(1UL << 28)

/* --- small things ----------------------------------------------------------------- */

long kernel_number(const char *path)
{
	char text[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

bool memory_needs_cleaning(void)
{
	u64 ctr;

	asm("mrs %0, ctr_el0" : "=r"(ctr));
	return !(ctr & CTR_EL0_IDC);
}

void memory_clean(const void *start, size_t size)
{
	if (memory_needs_cleaning())
		__builtin___clear_cache((char *)start, (char *)start + size);
}

static u64 round_down(u64 value, u64 multiple)
{
	return value / multiple * multiple;
}

/* What a level-2 entry of the host's own tables maps: a table of 8-byte entries. */
u64 pmd_size(void)
{
	u64 page = sysconf(_SC_PAGESIZE);

	return page * (page / 8);
}

/* --- where ------------------------------------------------------------------------- */

static u64 next_area = MEMORY_BASE;
static struct {
	char *area;
	size_t size;
} areas[MAX_AREAS];
static u32 area_count;

/* Room that nothing is mapped in, of a multiple of align at one, with a gap behind it. */
char *room_at(u64 *next, size_t size, u64 align)
{
	u64 area = round_up(*next, align);

	*next = area + round_up(size, align) + SZ_2M;
	return (char *)area;
}

/* What the scenario maps there is gone when it ends, whatever happens in between. */
static void note_area(char *area, size_t size)
{
	if (area_count == MAX_AREAS)
		scenario_infra("more than %u mappings in one scenario", MAX_AREAS);
	areas[area_count].area = area;
	areas[area_count++].size = size;
}

static void drop_area(char *area)
{
	u32 i;

	for (i = 0; i < area_count; i++) {
		if (areas[i].area != area)
			continue;
		munmap(area, areas[i].size);
		areas[i] = areas[--area_count];
		return;
	}
}

/* Maps exactly there; with NULL, or what mmap() says. */
char *map_part_at(char *area, size_t size, int prot, int flags, int fd, u64 offset)
{
	char *memory = mmap(area, size, prot, flags | MAP_FIXED_NOREPLACE, fd, offset);

	if (memory == MAP_FAILED)
		return NULL;
	if (memory != area) {
		/* A kernel before 4.17 takes the address for a hint. */
		munmap(memory, size);
		errno = EEXIST;
		return NULL;
	}
	return memory;
}

char *map_at(char *area, size_t size, int prot, int flags, int fd)
{
	return map_part_at(area, size, prot, flags, fd, 0);
}

char *map_fresh(char *area, size_t size)
{
	char *memory = map_at(area, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	/* EINVAL: a kernel without huge pages has none to avoid. */
	if (memory && madvise(memory, size, MADV_NOHUGEPAGE) && errno != EINVAL) {
		munmap(memory, size);
		return NULL;
	}
	return memory;
}

/* --- what stands in it ------------------------------------------------------------------- */

u64 page_code(size_t n)
{
	return INSN_RET << 32 | INSN_MOVZ_W0 | (n & 0xffff) << 5;
}

/* 16 bytes at a time: memcpy() and memcmp() take several times as long in QEMU. */
typedef u64 pair __attribute__((vector_size(16), may_alias));

void fill_page(char *page, size_t page_size, u64 value)
{
	const pair filled = { value, value };
	pair *at = (pair *)page, *end = (pair *)(page + page_size);

	for (; at < end; at += 4) {
		at[0] = filled;
		at[1] = filled;
		at[2] = filled;
		at[3] = filled;
	}
}

bool page_is_filled(const char *page, size_t page_size, u64 value)
{
	const pair filled = { value, value };
	const pair *at = (const pair *)page, *end = (const pair *)(page + page_size);
	pair unlike = {};

	for (; at < end; at += 4)
		unlike |= (at[0] ^ filled) | (at[1] ^ filled) | (at[2] ^ filled) |
			  (at[3] ^ filled);
	return !(unlike[0] | unlike[1]);
}

/* Page n holds n. */
void prefill(char *memory, size_t size)
{
	size_t page_size = sysconf(_SC_PAGESIZE), n;

#ifdef MADV_POPULATE_WRITE
	/* Saves the faults; a kernel that lacks it takes them below. */
	madvise(memory, size, MADV_POPULATE_WRITE);
#endif
	for (n = 0; n < size / page_size; n++)
		fill_page(memory + n * page_size, page_size, page_code(n));
	memory_clean(memory, size);
}

static void write_whole_area(const struct memory *memory)
{
	size_t page_size = sysconf(_SC_PAGESIZE), at;

	for (at = 0; memory->area_size > memory->slot_size && at < memory->area_size;
	     at += page_size)
		*(volatile char *)(memory->area + at) = 0;
	prefill(memory->slot, memory->slot_size);
}

static void read_every_page(const struct memory *memory)
{
	size_t page_size = sysconf(_SC_PAGESIZE), at;

	for (at = 0; at < memory->slot_size; at += page_size)
		(void)*(volatile char *)(memory->slot + at);
}

/* --- files ---------------------------------------------------------------------------------- */

static int new_file(size_t size)
{
	int fd = memfd_create("hx", MFD_CLOEXEC);

	if (fd < 0 && errno == ENOSYS)
		scenario_skip("needs memfd_create, this kernel has none");
	if (fd < 0 || ftruncate(fd, size))
		scenario_infra("memfd of %zu bytes: %s", size, strerror(errno));
	return fd;
}

static void map_memfd(struct memory *memory)
{
	int fd = new_file(memory->area_size);

	memory->area = map_at(memory->area, memory->area_size, PROT_READ | PROT_WRITE,
			      MAP_SHARED, fd);
	close(fd);
}

/* Written through another mapping, which is gone then; opened anew, for reading only. */
static void map_file_ro(struct memory *memory)
{
	size_t size = memory->area_size;
	int fd = new_file(size), reader;
	char path[40], *writer;

	writer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (writer == MAP_FAILED)
		scenario_infra("mapping of a file of %zu bytes: %s", size, strerror(errno));
	prefill(writer, size);
	munmap(writer, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	if (reader < 0)
		scenario_infra("%s: %s", path, strerror(errno));
	memory->area = map_at(memory->area, size, PROT_READ, MAP_SHARED, reader);
	close(reader);
}

/* --- the place of a slot --------------------------------------------------------------------- */

/* Small pages: the slot's alone. Huge ones: out to their boundaries on both sides. */
static void place(struct memory *memory, const struct backing *backing, u64 size)
{
	u64 page = sysconf(_SC_PAGESIZE), block = pmd_size(), reach = page, begin, end;
	u64 base;

	if (backing->page_size > block)
		block = backing->page_size;
	if (memory->kind == BACKING_HUGETLB)
		reach = backing->page_size;
	else if (backing->what & (THP_MADVISE | THP_ALWAYS))
		reach = block;
	begin = round_down(backing->offset, reach);
	end = round_up(backing->offset + size, reach);
	base = (u64)room_at(&next_area, end, block);
	memory->slot_size = round_up(size, page);
	memory->slot = (char *)(base + backing->offset);
	memory->area = (char *)(base + begin);
	memory->area_size = end - begin;
	note_area(memory->area, memory->area_size);
}

/* --- all kinds ------------------------------------------------------------------------------- */

struct memory memory_new(const struct backing *backing, u64 size)
{
	struct memory memory = { .kind = backing->what & BACKING_KIND };
	bool huge = backing->what & (THP_MADVISE | THP_ALWAYS);

	if (from_kept(&memory, backing, size))
		return memory;
	memory.pristine = false;
	place(&memory, backing, size);
	switch (memory.kind) {
	case BACKING_ANON:
		if (huge)
			map_thp(&memory, backing->what);
		else
			memory.area = map_fresh(memory.area, memory.area_size);
		break;
	case BACKING_ZERO:
		memory.area = map_fresh(memory.area, memory.area_size);
		break;
	case BACKING_SHMEM:
		memory.area = map_at(memory.area, memory.area_size, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1);
		break;
	case BACKING_MEMFD:
		map_memfd(&memory);
		break;
	case BACKING_HUGETLB:
		map_hugetlb(&memory, backing->page_size);
		break;
	case BACKING_FILE_RO:
		map_file_ro(&memory);
		break;
	default:
		map_device(&memory);
	}
	if (!memory.area)
		scenario_infra("%llu bytes of memory: %s", (unsigned long long)size,
			       strerror(errno));
	if (memory.kind == BACKING_ZERO || memory.kind == BACKING_FILE_RO) {
		read_every_page(&memory);
	} else if (backing->what & PREFILL) {
		if (huge)
			fill_with_thp(&memory);
		write_whole_area(&memory);
	}
	return memory;
}

void memory_free(const struct memory *memory)
{
	if (is_kept(memory->area))
		give_back(memory);
	else
		drop_area(memory->area);
}

void memory_end(void)
{
	while (area_count)
		drop_area(areas[area_count - 1].area);
	next_area = MEMORY_BASE;
	device_end();
}
