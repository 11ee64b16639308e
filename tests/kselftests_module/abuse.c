// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything a caller can do wrong to the module's device, and a few things that
 * are right and large. Prints "ok NAME" or "not ok NAME: WHY" per check; the
 * exit status is 0 where all are ok.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "module/hx_pgtable.h"

#define NODE		"/dev/" HX_DEVICE
#define MAX_RESULT	(8 << 20)

static struct hx_info info;
static int device;
static bool failed;
static char why[512];
static char *result;		/* of the last run */
static struct hx_run last;

static bool no(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return false;
}

/* --- running programs ----------------------------------------------------------- */

struct text {
	struct hx_program program;
	struct hx_op ops[64];
};

static struct text text(unsigned int count, const struct hx_op *ops)
{
	struct text text = { .program = { .abi = HX_ABI, .ipa_bits = 40, .nr_ops = count } };

	memcpy(text.ops, ops, count * sizeof(*ops));
	return text;
}

#define PROGRAM(...)	\
	text(sizeof((struct hx_op[]){ __VA_ARGS__ }) / sizeof(struct hx_op), \
	     (struct hx_op[]){ __VA_ARGS__ })

#define MAP(...)	{ .code = HX_OP_MAP, .prot = HX_PROT_R, __VA_ARGS__ }

static uint64_t page(void)
{
	return 1ULL << info.page_shift;
}

static uint64_t per_table(void)
{
	return page() / 8;
}

/* 0 or -errno; into a buffer of room bytes. */
static int run_raw(const void *program, uint64_t size, uint64_t room)
{
	last = (struct hx_run){
		.program = (uintptr_t)program,
		.program_size = size,
		.result = (uintptr_t)result,
		.result_size = room,
	};
	return ioctl(device, HX_IOCTL_RUN, &last) ? -errno : 0;
}

static int run(const struct text *text)
{
	uint64_t size = sizeof(text->program) + text->program.nr_ops * sizeof(text->ops[0]);

	return run_raw(text, size, MAX_RESULT);
}

static const struct hx_step *step(unsigned int number)
{
	const char *at = result;

	while (number--)
		at += ((const struct hx_step *)at)->size;
	return (const struct hx_step *)at;
}

/* The device still does as it should. */
static bool works(void)
{
	struct text good = PROGRAM(MAP(.size = page(), .memcache = 8),
				   { .code = HX_OP_UNMAP, .size = page() },
				   { .code = HX_OP_DESTROY });
	int error = run(&good);

	if (error || last.steps != 3 || last.verdict)
		return no("a good program: %d, %u steps, %s", error, last.steps, last.message);
	if (step(0)->ret || step(0)->tables != step(0)->alloc || !step(0)->tables ||
	    step(0)->leaves.nr_runs != 1 || step(1)->tables || step(2)->nr_bad)
		return no("a good program's result is wrong");
	return true;
}

/* --- malformed programs --------------------------------------------------------- */

static bool refused(const char *what, int error, int wanted)
{
	if (error != wanted)
		return no("%s: %d (%s), not %d", what, error, last.message, wanted);
	if (!last.message[0] || memchr(last.message, 0, sizeof(last.message)) == NULL)
		return no("%s: no message", what);
	if (last.steps)
		return no("%s: %u steps ran", what, last.steps);
	return true;
}

static bool malformed_operations(void)
{
	static const struct {
		const char *what;
		struct hx_op op;
	} bad[] = {
		{ "no code", {} },
		{ "unknown code", { .code = HX_OP_LAST + 1 } },
		{ "reserved", { .code = HX_OP_UNMAP, .reserved = 1 } },
		{ "unknown prot", { .code = HX_OP_MAP, .prot = 0x20 } },
		{ "unknown flag", { .code = HX_OP_MAP, .flags = 8 } },
		{ "sw too large", { .code = HX_OP_MAP, .sw = 16 } },
		{ "wraps", { .code = HX_OP_UNMAP, .ipa = ~0ULL, .size = 2 } },
		{ "memcache below", { .code = HX_OP_MAP, .memcache = -2 } },
		{ "memcache above", { .code = HX_OP_MAP, .memcache = HX_MAX_MEMCACHE + 1 } },
		{ "split without cache", { .code = HX_OP_SPLIT, .memcache = HX_NO_MEMCACHE } },
		{ "unmap with pa", { .code = HX_OP_UNMAP, .pa = 1 } },
		{ "unmap with prot", { .code = HX_OP_UNMAP, .prot = 1 } },
		{ "unmap with sw", { .code = HX_OP_UNMAP, .sw = 1 } },
		{ "unmap with flags", { .code = HX_OP_UNMAP, .flags = 1 } },
		{ "unmap with memcache", { .code = HX_OP_UNMAP, .memcache = 1 } },
		{ "get_leaf with size", { .code = HX_OP_GET_LEAF, .size = 1 } },
		{ "destroy with ipa", { .code = HX_OP_DESTROY, .ipa = 1 } },
	};
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct text program = PROGRAM(MAP(.size = page(), .memcache = 8), bad[i].op);

		if (!refused(bad[i].what, run(&program), -EINVAL))
			return false;
	}
	return works();
}

static bool malformed_programs(void)
{
	struct hx_op unmap = { .code = HX_OP_UNMAP };
	struct text good = PROGRAM(unmap), early = PROGRAM({ .code = HX_OP_DESTROY }, unmap);
	struct text abi = good, none = good, many = good, reserved = good, low = good, high = good;
	uint64_t size = sizeof(good.program) + sizeof(good.ops[0]);

	abi.program.abi++;
	none.program.nr_ops = 0;
	many.program.nr_ops = HX_MAX_OPS + 1;
	reserved.program.reserved = 1;
	low.program.ipa_bits = 31;
	high.program.ipa_bits = 53;
	return refused("abi", run(&abi), -EINVAL) && refused("no step", run(&none), -EINVAL) &&
	       refused("many steps", run_raw(&many, size, 0), -EINVAL) &&
	       refused("reserved", run(&reserved), -EINVAL) &&
	       refused("31 bits", run(&low), -EINVAL) && refused("53 bits", run(&high), -EINVAL) &&
	       refused("early destroy", run(&early), -EINVAL) &&
	       refused("short", run_raw(&good, size - 1, 0), -EINVAL) &&
	       refused("long", run_raw(&good, size + 1, 0), -EINVAL) &&
	       refused("tiny", run_raw(&good, 3, 0), -EINVAL) &&
	       refused("huge", run_raw(&good, 1ULL << 40, 0), -EINVAL) && works();
}

static bool random_bytes(void)
{
	static unsigned char bytes[sizeof(struct text)];
	unsigned int i, k;

	srandom(1);
	for (i = 0; i < 3000; i++) {
		struct text *program = (struct text *)bytes;
		int error;

		for (k = 0; k < sizeof(bytes); k++)
			bytes[k] = random() >> 8;
		program->program = (struct hx_program){
			.abi = HX_ABI, .ipa_bits = 32 + random() % 21, .nr_ops = 1 + random() % 8,
		};
		/* Half of them nearly right, so that some run. */
		for (k = 0; i % 2 && k < program->program.nr_ops; k++)
			program->ops[k] = (struct hx_op){
				.code = HX_OP_MAP, .prot = random() % 16, .flags = random() % 8,
				.sw = random() % 16, .memcache = random() % 9 - 1,
				.ipa = random() % (1ULL << 31) << random() % 20,
				.size = random() % (1ULL << 31),
				.pa = (uint64_t)random() << random() % 32,
			};
		error = run(program);
		if (error && error != -EINVAL && error != -EOPNOTSUPP)
			return no("program %u: %d (%s)", i, error, last.message);
		if (last.verdict)
			return no("program %u: %s", i, last.message);
	}
	return works();
}

/* --- buffers --------------------------------------------------------------------- */

static bool result_too_small(void)
{
	struct text program = PROGRAM(MAP(.size = page(), .memcache = 8), MAP(.size = page()));
	uint64_t size = sizeof(program.program) + 2 * sizeof(program.ops[0]), need;

	if (run_raw(&program, size, 0) != -ENOSPC)
		return no("no room at all is not ENOSPC");
	need = last.result_size;
	if (run_raw(&program, size, need - 1) != -ENOSPC || last.result_size != need)
		return no("one byte short of %llu is not ENOSPC", (unsigned long long)need);
	memset(result, 0x55, need + 8);
	if (run_raw(&program, size, need) || last.result_size != need)
		return no("the size that it asked for is not enough");
	if (result[need] != 0x55)
		return no("it wrote past the buffer");
	return works();
}

static bool bad_addresses(void)
{
	struct text good = PROGRAM(MAP(.size = page(), .memcache = 8));
	uint64_t size = sizeof(good.program) + sizeof(good.ops[0]);
	struct hx_run request = { .program_size = size, .result_size = MAX_RESULT };

	if (!ioctl(device, HX_IOCTL_RUN, &request) || errno != EFAULT)
		return no("a program at address 0: %d", errno);
	request.program = (uintptr_t)&good;
	request.result = 8;
	request.result_size = MAX_RESULT;
	if (!ioctl(device, HX_IOCTL_RUN, &request) || errno != EFAULT)
		return no("a result at address 8: %d", errno);
	if (!ioctl(device, HX_IOCTL_RUN, NULL) || errno != EFAULT)
		return no("a request at address 0: %d", errno);
	if (!ioctl(device, HX_IOCTL_RUN + 1, &request) || errno != ENOTTY)
		return no("an unknown ioctl: %d", errno);
	return works();
}

/* --- who may ------------------------------------------------------------------- */

static bool child_ok(pid_t pid, const char *what)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return no("%s: no child", what);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return no("%s: child status %#x", what, status);
	return true;
}

static bool not_root(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct text good = PROGRAM(MAP(.size = page(), .memcache = 8));

		if (setgid(65534) || setuid(65534))
			_exit(1);
		if (open(NODE, O_RDWR) >= 0 || errno != EACCES)
			_exit(2);
		_exit(run(&good) == -EPERM ? 0 : 3);
	}
	return child_ok(pid, "as nobody") && works();
}

/* --- large ---------------------------------------------------------------------- */

static bool gigabyte_of_pages(void)
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
static bool more_than_the_limit(void)
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

static bool nothing_stays_behind(void)
{
	struct text program = PROGRAM(MAP(.size = 1ULL << 30, .pa = page(), .memcache = 2048),
				      MAP(.ipa = 1ULL << 30, .size = page(), .memcache = 0));
	uint64_t before = 0, after;
	int i;

	for (i = 0; i < 40; i++) {
		if (i == 10)
			before = available_kib();
		if (run(&program))
			return no("%s", last.message);
		if (step(1)->ret != -ENOMEM)
			return no("an empty cache: %lld", (long long)step(1)->ret);
	}
	after = available_kib();
	/* 30 times 2 MiB would be 60. */
	if (after + (20 << 10) < before)
		return no("%llu KiB less", (unsigned long long)(before - after));
	return works();
}

/* --- many callers, and dying ones ------------------------------------------------- */

static bool many_at_once(void)
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

/* A program that takes long, and a caller that is killed in the middle of it. */
static bool killed(void)
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

/* ------------------------------------------------------------------------------- */

static bool facts(void)
{
	if (info.abi != HX_ABI || page() != (uint64_t)getpagesize() || info.ipa_limit < 32 ||
	    info.ipa_limit > 52 || !info.max_tables)
		return no("abi %u, shift %u, limit %u", info.abi, info.page_shift, info.ipa_limit);
	return works();
}

static void check(const char *name, bool (*function)(void))
{
	why[0] = 0;
	if (function()) {
		printf("ok %s\n", name);
	} else {
		printf("not ok %s: %s\n", name, why);
		failed = true;
	}
	fflush(stdout);
}

#define CHECK(function)	check(#function, function)

int main(void)
{
	device = open(NODE, O_RDWR);
	result = malloc(MAX_RESULT + 64);
	if (device < 0 || !result || ioctl(device, HX_IOCTL_INFO, &info)) {
		printf("not ok device: %s\n", strerror(errno));
		return 1;
	}
	/* Without VHE, KVM may be at EL2 only while there is a VM. */
	if (!(info.host & HX_HOST_VHE) && ioctl(open("/dev/kvm", O_RDWR), KVM_CREATE_VM, 0) < 0) {
		printf("not ok vm: %s\n", strerror(errno));
		return 1;
	}
	CHECK(facts);
	CHECK(malformed_operations);
	CHECK(malformed_programs);
	CHECK(random_bytes);
	CHECK(result_too_small);
	CHECK(bad_addresses);
	CHECK(not_root);
	CHECK(gigabyte_of_pages);
	CHECK(more_than_the_limit);
	CHECK(nothing_stays_behind);
	CHECK(many_at_once);
	CHECK(killed);
	return failed;
}
