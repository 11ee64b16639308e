// SPDX-License-Identifier: GPL-2.0-only
/* What a virtual machine monitor, and the host's kernel, do to guest memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live.h"
#include "pages.h"
#include "record.h"
#include "vm.h"

/* Not in the headers of older kernels and libraries. */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define PAGEOUT_ATTEMPTS	5
#define SWAP_KIB		(32 * 1024)

static void record_ret(struct vm *vm, int ret)
{
	step_s64("ret", ret);
	step_finish(vm);
}

/*
 * A huge page that finds no free run of its size in swap is split, and swap that is half
 * full is given up as its pages come back (vm_swap_full()): where swap is short, other
 * things happen than where it is not.
 */
static void need_swap(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	unsigned long size, used, total = 0, free = 0;
	char line[256];

	/* Lines that have no sizes are its heading. */
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*s %*s %lu %lu", &size, &used) != 2)
			continue;
		total += size;
		free += size - used;
	}
	if (file)
		fclose(file);
	if (!total)
		scenario_skip("needs a swap device (swapon)");
	if (free < SWAP_KIB || free < total / 2)
		scenario_skip("needs %u KiB of swap free, and half of it; %lu of %lu are",
			      SWAP_KIB, free, total);
}

/* The kernel may leave pages that it is busy with: it is asked again for those. */
static int page_out(char *address, size_t size)
{
	long left = 0;
	int i, ret;

	need_swap();
	for (i = 0; i < PAGEOUT_ATTEMPTS; i++) {
		ret = madvise(address, size, MADV_PAGEOUT) ? -errno : 0;
		/* -ENOMEM tells of a hole in the range; the rest of it was asked for as well. */
		left = ret && ret != -ENOMEM ? 0 : pages_present(address, size);
		if (left == 0)
			return ret;
		usleep(1000);
	}
	if (left < 0)
		scenario_skip("needs /proc/self/pagemap: %s", strerror(-left));
	scenario_skip("%ld pages stay in memory whatever MADV_PAGEOUT says", left);
}

void host_madvise(struct vm *vm, u64 gpa, u64 size, enum advice advice)
{
	static const int advices[] = {
		[DONTNEED] = MADV_DONTNEED,
		[PAGEOUT] = MADV_PAGEOUT,
		[HUGEPAGE] = MADV_HUGEPAGE,
		[NOHUGEPAGE] = MADV_NOHUGEPAGE,
		[COLLAPSE] = MADV_COLLAPSE,
		[FREE] = MADV_FREE,
	};
	char *address;
	int ret;

	step_begin();
	address = host_mapping(vm, gpa, size);
	/* In a branch others may touch the pages: they go, or stay. */
	if (advice == PAGEOUT && !record_is_captured())
		ret = page_out(address, size);
	else
		ret = madvise(address, size, advices[advice]) ? -errno : 0;
	record_ret(vm, ret);
}

void host_mprotect(struct vm *vm, u64 gpa, u64 size, enum host_prot prot)
{
	static const int prots[] = {
		[PROT_OF_NONE] = PROT_NONE,
		[PROT_OF_R] = PROT_READ,
		[PROT_OF_RW] = PROT_READ | PROT_WRITE,
	};

	step_begin();
	record_ret(vm, mprotect(host_mapping(vm, gpa, size), size, prots[prot]) ? -errno : 0);
}

void host_remap(struct vm *vm, u64 gpa, u64 size)
{
	char *address, *fresh;

	step_begin();
	address = host_mapping(vm, gpa, size);
	fresh = mmap(address, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	/* EINVAL: a kernel without huge pages has none to avoid. */
	if (fresh != MAP_FAILED && madvise(fresh, size, MADV_NOHUGEPAGE) && errno != EINVAL)
		scenario_infra("MADV_NOHUGEPAGE: %s", strerror(errno));
	record_ret(vm, fresh == MAP_FAILED ? -errno : 0);
}

void host_unmap(struct vm *vm, u64 gpa, u64 size)
{
	step_begin();
	record_ret(vm, munmap(host_mapping(vm, gpa, size), size) ? -errno : 0);
}

void punch_hole(struct vm *vm, u64 gpa, u64 size)
{
	step_begin();
	record_ret(vm, madvise(host_mapping(vm, gpa, size), size, MADV_REMOVE) ? -errno : 0);
}

/* Writes the byte that is there, and is gone, whatever happens to it. */
static void __noreturn touch(char *address, size_t size, size_t page_size)
{
	size_t at;

	for (at = 0; at < size; at += page_size) {
		volatile char *byte = address + at;

		*byte = *byte;
	}
	_exit(0);
}

/* A child shares every page of the process: none is then as it was before. */
static void share_nothing_kept(struct vm *vm)
{
	u32 id;

	for (id = 0; id < vm->slots; id++)
		vm->slot[id].memory.pristine = false;
	memory_forget();
}

void fork_touch(struct vm *vm, u64 gpa, u64 size)
{
	char *address;
	int status;
	pid_t pid;

	address = host_mapping(vm, gpa, size);
	share_nothing_kept(vm);
	step_begin();
	pid = fork();
	if (pid == 0)
		touch(address, size, vm->page_size);
	if (pid < 0)
		scenario_infra("fork: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			scenario_infra("waitpid: %s", strerror(errno));
	}
	if (!WIFEXITED(status))
		scenario_infra("the child that touches memory died: signal %d", WTERMSIG(status));
	record_ret(vm, 0);
}

void host_age(struct vm *vm, u64 gpa, u64 size)
{
	char *address = host_mapping(vm, gpa, size);
	const char *failure;

	step_begin();
	step_counts_flushes(vm);
	failure = live_age(address, round_up(size, vm->page_size));
	if (failure)
		scenario_skip("needs the white-box module, which ages pages: %s", failure);
	record_ret(vm, 0);
}
