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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abuse.h"

#define NODE		"/dev/" HX_DEVICE

struct hx_info info;
int device;
char *result;
struct hx_run last;

static bool failed;
static char why[512];

bool no(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return false;
}

/* --- running programs ----------------------------------------------------------- */

struct text text(unsigned int count, const struct hx_op *ops)
{
	struct text text = { .program = { .abi = HX_ABI, .ipa_bits = 40, .nr_ops = count } };

	memcpy(text.ops, ops, count * sizeof(*ops));
	return text;
}

uint64_t page(void)
{
	return 1ULL << info.page_shift;
}

int run_raw(const void *program, uint64_t size, uint64_t room)
{
	last = (struct hx_run){
		.program = (uintptr_t)program,
		.program_size = size,
		.result = (uintptr_t)result,
		.result_size = room,
	};
	return ioctl(device, HX_IOCTL_RUN, &last) ? -errno : 0;
}

int run(const struct text *text)
{
	uint64_t size = sizeof(text->program) + text->program.nr_ops * sizeof(text->ops[0]);

	return run_raw(text, size, MAX_RESULT);
}

const struct hx_step *step(unsigned int number)
{
	const char *at = result;

	while (number--)
		at += ((const struct hx_step *)at)->size;
	return (const struct hx_step *)at;
}

bool works(void)
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

bool child_ok(pid_t pid, const char *what)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return no("%s: no child", what);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return no("%s: child status %#x", what, status);
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
	for (i = 0; i < 1500; i++) {
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

/* Two steps; the second one's record is larger than the first. */
static struct text two_steps(void)
{
	return PROGRAM(MAP(.size = page(), .memcache = 8),
		       MAP(.ipa = 4 * page(), .size = page()));
}

static int go_on(struct text *text, uint64_t room, unsigned int first, uint64_t slice)
{
	last = (struct hx_run){
		.program = (uintptr_t)text,
		.program_size = sizeof(text->program) +
				text->program.nr_ops * sizeof(text->ops[0]),
		.result = (uintptr_t)result,
		.result_size = room,
		.slice = slice,
		.first = first,
	};
	return ioctl(device, HX_IOCTL_RUN, &last) ? -errno : 0;
}

static bool small_buffers(void)
{
	struct text program = two_steps();
	uint64_t need;

	if (go_on(&program, 0, 0, 0) != -ENOSPC || last.steps)
		return no("no room at all: %u steps", last.steps);
	need = last.result_size;
	if (go_on(&program, need - 1, 0, 0) != -ENOSPC || last.result_size != need)
		return no("one byte short of %llu is not ENOSPC", (unsigned long long)need);
	memset(result, 0x55, need + 8);
	if (go_on(&program, need, 0, 0) || last.result_size != need || last.steps != 1)
		return no("the size that it asked for: %u steps", last.steps);
	if (result[need] != 0x55)
		return no("it wrote past the buffer");
	if (go_on(&program, 1, 1, 0) != -ENOSPC || last.steps != 1)
		return no("the second step fits into a byte");
	if (go_on(&program, last.result_size, 1, 0) || last.steps != 2 || step(0)->index != 1)
		return no("the second step: %u, %s", last.steps, last.message);
	if (step(0)->leaves.keep_head != 1 || step(0)->leaves.nr_runs != 1)
		return no("the second step is no difference to the first");
	return works();
}

static bool step_by_step(void)
{
	struct text program = two_steps();

	if (go_on(&program, MAX_RESULT, 0, 1) || last.steps != 1)
		return no("a slice of a nanosecond: %u steps", last.steps);
	if (go_on(&program, MAX_RESULT, 2, 1) != -EINVAL || !last.message[0])
		return no("to go on at a step that was not reached");
	if (go_on(&program, MAX_RESULT, 1, 1) != -EINVAL)
		return no("to go on with what was given up");
	if (go_on(&program, MAX_RESULT, 0, 1) || go_on(&program, MAX_RESULT, 1, 1) ||
	    last.steps != 2 || step(0)->ret)
		return no("the second slice: %u steps, %s", last.steps, last.message);
	if (go_on(&program, MAX_RESULT, 2, 1) != -EINVAL)
		return no("to go on after the end");
	if (go_on(&program, MAX_RESULT, 0, 1))
		return no("%s", last.message);
	/* Another program instead, while the first one stands. */
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
	CHECK(small_buffers);
	CHECK(step_by_step);
	CHECK(bad_addresses);
	CHECK(not_root);
	CHECK(gigabyte_of_pages);
	CHECK(more_than_the_limit);
	CHECK(nothing_stays_behind);
	CHECK(many_at_once);
	CHECK(others_wait);
	CHECK(killed);
	CHECK(live_leaves);
	CHECK(live_age);
	return failed;
}
