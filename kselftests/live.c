// SPDX-License-Identifier: GPL-2.0-only
/*
 * The leaves of a running VM, and ageing, through the white-box module; without it,
 * leaves as the kernel prints them, where it does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live.h"
#include "live_dump.h"
#include "pgtable_module.h"
#include "record.h"
#include "vm.h"

#define FIRST_ROOM	32
#define MAX_DUMPED	1024
#define MAX_TOLD	64

static char reason[320] = "the white-box module is not loaded";
static u64 features;
static struct hx_leaf_run *runs;
static u32 room;
static bool dumps;		/* leaves are read from what the kernel prints */

/* The leaves that the last record of this scenario has; -1: none, or too many. */
static struct hx_leaf_run told_runs[MAX_TOLD];
static int told = -1;

void live_start(missing_fn missing)
{
	const char *failure = module_open_live();

	if (!failure) {
		features = module_info()->features;
		if (features & HX_FEATURE_LIVE_LEAVES)
			return;
		failure = "kvm_vm_ioctl is not found in this kernel";
	}
	snprintf(reason, sizeof(reason), "%s", failure);
	dumps = dump_start();
	if (!dumps)
		missing("leaves", reason);
}

void live_start_ageing(void)
{
	const char *failure = module_open_live();

	if (failure)
		snprintf(reason, sizeof(reason), "%s", failure);
	else
		features = module_info()->features & HX_FEATURE_LIVE_AGE;
}

void live_stop(void)
{
	module_close();
	features = 0;
}

/* --- leaves ------------------------------------------------------------------------ */

static bool make_room(u32 wanted)
{
	struct hx_leaf_run *more = realloc(runs, wanted * sizeof(*runs));

	if (!more)
		return false;
	runs = more;
	room = wanted;
	return true;
}

/* The runs there are; ends the scenario where they cannot be read. */
static u32 read_leaves(const struct vm *vm)
{
	struct hx_live live = {
		.vm = vm->fd,
		.skip_from = RESERVED_START,
		.skip_to = RESERVED_END,
	};
	u32 wanted = room ? room : FIRST_ROOM;
	int ret;

	do {
		if (wanted > HX_MAX_LIVE_RUNS || (wanted > room && !make_room(wanted)))
			scenario_infra("no room for %u runs of leaves", wanted);
		live.runs = (u64)runs;
		live.room = room;
		ret = module_ioctl(HX_IOCTL_LIVE, &live);
		if (ret)
			scenario_infra("leaves of the VM: %s", strerror(-ret));
		wanted = live.nr;
	} while (live.nr > room);
	return live.nr;
}

static void record_run(const struct hx_leaf_run *run)
{
	static const char *const attrs[] = {
		[HX_ATTR_NORMAL] = ",\"normal\",",
		[HX_ATTR_NC] = ",\"nc\",",
		[HX_ATTR_DEVICE] = ",\"device\",",
		[HX_ATTR_OTHER] = ",\"other\",",
	};

	record_word("[");
	record_u64(run->ipa);
	record_word(",");
	record_u64(1ULL << run->shift);
	record_word(",0,\"");
	if (run->prot & HX_PROT_R)
		record_word("r");
	if (run->prot & HX_PROT_W)
		record_word("w");
	if (run->prot & HX_PROT_X)
		record_word("x");
	record_word(run->attr & HX_ATTR_AF ? "\",0,true" : "\",0,false");
	record_word(attrs[run->attr & HX_ATTR_MASK & 3]);
	record_u64(run->count);
	record_word("]");
}

/* As read_leaves(), but -1 where what is printed does not show all of them, or their type. */
static int read_dump(const struct vm *vm)
{
	u32 i;

	for (i = 0; i < vm->slots; i++)
		if (vm->slot[i].used &&
		    (vm->slot[i].gpa + vm->slot[i].size >= 1UL << vm->ipa_bits ||
		     vm->slot[i].memory.kind == BACKING_DEVICE))
			return -1;
	if (room < MAX_DUMPED && !make_room(MAX_DUMPED))
		return -1;
	return dump_leaves(vm->fd, RESERVED_START, RESERVED_END, runs, room);
}

/* Whether the step before showed the same; what it showed is now what there is. */
static bool as_before(u32 nr)
{
	size_t size = nr * sizeof(*runs);
	bool same = told == (int)nr && !memcmp(told_runs, runs, size);

	if (!same && nr <= ARRAY_SIZE(told_runs)) {
		memcpy(told_runs, runs, size);
		told = nr;
	} else if (!same) {
		told = -1;
	}
	return same;
}

void live_begin(void)
{
	told = -1;
}

void live_record(struct vm *vm)
{
	int i, nr;

	if ((!dumps && !(features & HX_FEATURE_LIVE_LEAVES)) || record_is_muted())
		return;
	nr = dumps ? read_dump(vm) : (int)read_leaves(vm);
	if (nr < 0) {
		told = -1;
		return;
	}
	if (as_before(nr)) {
		step_key("leaves_delta");
		record_word("[");
		record_u64(nr);
		record_word(",0,[]]");
		return;
	}
	step_key("leaves");
	for (i = 0; i < nr; i++) {
		record_word(i ? "," : "[");
		record_run(&runs[i]);
	}
	record_word(nr ? "]" : "[]");
}

/* --- ageing ------------------------------------------------------------------------- */

const char *live_age(const void *start, size_t size)
{
	struct hx_age age = { .start = (u64)start, .size = size };
	int ret;

	if (!(features & HX_FEATURE_LIVE_AGE))
		return reason;
	ret = module_ioctl(HX_IOCTL_AGE, &age);
	return ret ? strerror(-ret) : NULL;
}
