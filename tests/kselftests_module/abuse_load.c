// SPDX-License-Identifier: GPL-2.0-only
/* What is right and large, many callers at once, and callers that die. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abuse.h"

static uint64_t per_table(void)
{
	return page() / 8;
}

bool gigabyte_of_pages(void)
{
	uint64_t size = 1ULL << 30, leaves = size / page();
	struct text program = PROGRAM(
		MAP(.size = size, .pa = page(), .memcache = 2048),
		{ .code = HX_OP_WRPROTECT, .ipa = size / 2, .size = page() },
		{ .code = HX_OP_UNMAP, .ipa = page(), .size = page() },
		MAP(.size = size, .pa = page(), .memcache = 2048, .flags = HX_WALK_SHARED));
	const struct hx_leaf_run *run_of_all;

	if (!(info.features & HX_FEATURE_SHARED))
		program.program.nr_ops = 3;
	if (run(&program))
		return no("%s", last.message);
	run_of_all = (const struct hx_leaf_run *)(step(0) + 1);
	if (step(0)->leaves.nr_runs != 1 || run_of_all->count != leaves)
		return no("%u runs, the first of %u leaves", step(0)->leaves.nr_runs,
			  run_of_all->count);
	if (step(0)->alloc < leaves / per_table() || step(0)->alloc != step(0)->tables)
		return no("%u tables taken, %u there", step(0)->alloc, step(0)->tables);
	if (step(2)->leaves.keep_head + step(2)->leaves.nr_runs + step(2)->leaves.keep_tail != 2)
		return no("a hole does not make two runs");
	return works();
}

/* Tables without end: the module's own limit is no result of the kernel. */
bool more_than_the_limit(void)
{
	struct text program = PROGRAM(MAP(.size = 1ULL << 40, .pa = page(),
					  .memcache = HX_MAX_MEMCACHE));

	if (run(&program) != -ENOMEM || !strstr(last.message, "table"))
		return no("%s", last.message);
	return works();
}

static uint64_t available_kib(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib;
}

bool nothing_stays_behind(void)
{
	struct text program = PROGRAM(MAP(.size = 1ULL << 30, .pa = page(), .memcache = 2048),
				      MAP(.ipa = 1ULL << 30, .size = page(), .memcache = 0));
	uint64_t before = 0, after;
	int i;

	for (i = 0; i < 16; i++) {
		if (i == 6)
			before = available_kib();
		if (run(&program))
			return no("%s", last.message);
		if (step(1)->ret != -ENOMEM)
			return no("an empty cache: %lld", (long long)step(1)->ret);
	}
	after = available_kib();
	/* Ten times 2 MiB would be 20. */
	if (after + (10 << 10) < before)
		return no("%llu KiB less", (unsigned long long)(before - after));
	return works();
}

/* --- many callers, and dying ones ------------------------------------------------- */

bool many_at_once(void)
{
	pid_t pids[6];
	int i;

	for (i = 0; i < 6; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int k;

			for (k = 0; k < 50; k++) {
				if (!works())
					_exit(1);
			}
			_exit(0);
		}
	}
	for (i = 0; i < 6; i++) {
		if (!child_ok(pids[i], "one of six"))
			return false;
	}
	return works();
}

/* A program that stands keeps others waiting until its file is closed. */
bool others_wait(void)
{
	const struct timespec pause = { .tv_nsec = 300 * 1000 * 1000 };
	struct text program = PROGRAM(MAP(.size = page(), .memcache = 8), MAP(.size = page()));
	struct hx_run request = {
		.program = (uintptr_t)&program,
		.program_size = sizeof(program.program) + 2 * sizeof(program.ops[0]),
		.result = (uintptr_t)result,
		.result_size = MAX_RESULT,
		.slice = 1,
	};
	int file = open("/dev/" HX_DEVICE, O_RDWR), status;
	pid_t pid;

	if (file < 0 || ioctl(file, HX_IOCTL_RUN, &request) || request.steps != 1)
		return no("the program that stands: %s", request.message);
	pid = fork();
	if (pid == 0) {
		/* Else the table would be this process's as well. */
		close(file);
		_exit(works() ? 0 : 1);
	}
	nanosleep(&pause, NULL);
	if (waitpid(pid, &status, WNOHANG))
		return no("another program ran meanwhile: %#x", status);
	close(file);
	return child_ok(pid, "the one that waited") && works();
}

/* A program that takes long, and a caller that is killed in the middle of it. */
bool killed(void)
{
	const struct timespec pause = { .tv_nsec = 300 * 1000 * 1000 };
	size_t size = sizeof(struct hx_program) + HX_MAX_OPS * sizeof(struct hx_op);
	struct hx_program *program = calloc(1, size);
	struct timespec from, to;
	int i, status;
	pid_t pid;

	*program = (struct hx_program){ .abi = HX_ABI, .ipa_bits = 40, .nr_ops = HX_MAX_OPS };
	for (i = 0; i < HX_MAX_OPS; i++)
		program->ops[i] = (struct hx_op)MAP(.size = 1ULL << 30, .pa = page(),
						    .memcache = 2048);
	pid = fork();
	if (pid == 0) {
		run_raw(program, size, MAX_RESULT);
		_exit(0);
	}
	free(program);
	nanosleep(&pause, NULL);
	kill(pid, SIGKILL);
	clock_gettime(CLOCK_MONOTONIC, &from);
	waitpid(pid, &status, 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	if (!WIFSIGNALED(status))
		return no("it ended before it was killed: %#x", status);
	if (to.tv_sec - from.tv_sec > 20)
		return no("it died %ld s later", (long)(to.tv_sec - from.tv_sec));
	return works();
}
