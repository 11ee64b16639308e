// SPDX-License-Identifier: GPL-2.0-only
/* The suite of scenarios that call the stage-2 page-table API inside the kernel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pgtable.h"
#include "pgtable_module.h"
#include "pgtable_record.h"
#include "record.h"

/* Records of many steps; one that is larger makes the buffer grow. */
#define RESULT_SIZE	SZ_1M

/*
 * Nanoseconds after which the module hands out what it has, so that records come
 * while a long program runs; and after each step, where a kernel may die of one.
 */
#define SLICE		(500UL * 1000 * 1000)
#define EACH_STEP	1

/* struct hx_bad_table.level for a count of what is no live table page. */
#define NO_TABLE	10

/* Why there is no module, or NULL. */
static const char *unusable;

static bool suite_start(bool trace, missing_fn missing)
{
	(void)trace;
	unusable = module_open();
	if (unusable) {
		missing("module", unusable);
		return false;
	}
	if (!(module_info()->channels & HX_CHANNEL_CMO)) {
		missing("cmo", "this kernel's page tables have no cache callbacks");
		missing("cmo_pages", "this kernel's page tables have no cache callbacks");
	}
	if (!(module_info()->channels & HX_CHANNEL_TLBI))
		missing("tlbi", "no kprobe where this kernel invalidates TLBs: see its log");
	return false;
}

const struct suite pgtable_suite = {
	.name = "pgtable",
	.share_child = true,
	.start = suite_start,
	.stop = module_close,
};

static void *allocate(void *old, size_t size)
{
	void *memory = realloc(old, size);

	if (!memory)
		scenario_infra("no memory for %zu bytes", size);
	return memory;
}

/* --- the program ---------------------------------------------------------------- */

static size_t program_size(u32 steps)
{
	return sizeof(struct hx_program) + steps * sizeof(struct hx_op);
}

static struct hx_op op_of(const struct step *step, const struct table *table)
{
	u32 memcache = step->memcache ?: table->memcache;
	struct hx_op op = {
		.code = step->code,
		.prot = step->prot,
		.sw = step->sw,
		.flags = step->flags,
		.ipa = step->ipa,
		.size = step->size,
		.pa = step->pa_or_owner,
	};

	if (op.code == HX_OP_MAP || op.code == HX_OP_ANNOTATE || op.code == HX_OP_SPLIT)
		op.memcache = memcache == NO_CACHE ? HX_NO_MEMCACHE :
						     (s64)memcache - SMALLEST_CACHE;
	return op;
}

/* Of the scenario that runs: one that ended early did not give its own back. */
static struct hx_program *program_of(const struct table *table, const struct step *steps,
				     u32 count)
{
	static struct hx_program *program;
	u32 i;

	program = allocate(program, program_size(count));
	*program = (struct hx_program){
		.abi = HX_ABI,
		.ipa_bits = table->ipa_bits,
		.nr_ops = count,
	};
	for (i = 0; i < count; i++)
		program->ops[i] = op_of(&steps[i], table);
	return program;
}

/* --- running it ---------------------------------------------------------------- */

/* Does not return where there is no result. */
static void __noreturn no_result(int error, const struct hx_run *result)
{
	const char *why = result->message[0] ? result->message : strerror(-error);

	if (error == -EOPNOTSUPP)
		scenario_skip("%s", why);
	scenario_infra("the module: %s (%s)", why, strerror(-error));
}

/* The next records of the program, after so many steps; grows the buffer. */
static struct hx_run execute(const struct hx_program *program, u32 first)
{
	static size_t size = RESULT_SIZE;
	static char *buffer;
	struct hx_run result;
	int error;

	if (!buffer)
		buffer = allocate(NULL, size);
	for (;;) {
		result = (struct hx_run){
			.program = (uintptr_t)program,
			.program_size = program_size(program->nr_ops),
			.result = (uintptr_t)buffer,
			.result_size = size,
			.slice = record_is_sync() ? EACH_STEP : SLICE,
			.first = first,
		};
		error = module_run(&result);
		if (error != -ENOSPC)
			break;
		size = 2 * result.result_size;
		buffer = allocate(buffer, size);
	}
	if (error)
		no_result(error, &result);
	shared->module_ns += result.nanoseconds;
	shared->api_ns += result.api_nanoseconds;
	return result;
}

/* What is wrong beside any step shows in the last one's reference counts. */
static const struct hx_bad_table *verdict(const struct hx_run *result)
{
	static struct hx_bad_table bad;

	if (!result->verdict)
		return NULL;
	record_text("# note ");
	record_text("%s", result->message);
	record_commit();
	bad = (struct hx_bad_table){ .level = NO_TABLE };
	if (result->verdict & HX_VERDICT_LEAK)
		bad = (struct hx_bad_table){ .level = HX_UNREACHABLE, .count = result->leaked };
	return &bad;
}

static void write_records(const struct hx_run *result, u32 first)
{
	const struct hx_bad_table *wrong = verdict(result);
	const char *at = (const char *)(uintptr_t)result->result;
	u32 i;

	for (i = first; i < result->steps; i++) {
		const struct hx_step *step = (const struct hx_step *)at;

		pgtable_record(step, module_info()->channels, i == result->steps - 1 ? wrong : NULL);
		at += step->size;
	}
}

void run(const struct table *table, const struct step *steps, u32 count)
{
	u64 page_size = 1ULL << module_info()->page_shift;
	struct hx_program *program;
	struct hx_run result;
	u32 done = 0;

	if (unusable)
		scenario_skip("%s", unusable);
	if (table->granule && table->granule != page_size)
		scenario_skip("the scenario is for pages of %llu bytes, the kernel has %llu",
			      (unsigned long long)table->granule, (unsigned long long)page_size);
	program = program_of(table, steps, count);
	pgtable_record_restart();
	while (done < count) {
		result = execute(program, done);
		write_records(&result, done);
		done = result.steps;
		if (done < count)
			record_flush_due();
	}
}
