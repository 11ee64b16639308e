// SPDX-License-Identifier: GPL-2.0-only
/* Parallel blocks: their turns, and how often each outcome was seen. */
#include <linux/kvm.h>
#include <stdlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "damon.h"
#include "live.h"
#include "race.h"
#include "race_hold.h"
#include "race_restore.h"
#include "race_team.h"
#include "race_trace.h"
#include "record.h"
#include "stage1.h"
#include "trace.h"
#include "tracefs.h"
#include "vm.h"

#define MAX_OUTCOMES	4096
#define OUTCOME_TEXT	(MAX_BRANCHES * BRANCH_TEXT)

static bool start(bool trace, missing_fn missing)
{
	damon_stop();
	live_start_ageing();
	return trace_start(trace, missing);
}

static void stop(void)
{
	trace_stop();
	live_stop();
	damon_resume();
}

const struct suite race_suite = {
	.name = "race",
	.start = start,
	.stop = stop,
};

static struct {
	bool active;		/* between the first and the last turn of a loop */
	u32 turn;
	u32 times;
} loop;

static struct {
	char *text;
	u32 count;
} outcomes[MAX_OUTCOMES];
static u32 outcome_count;

static char branch_text[MAX_BRANCHES][BRANCH_TEXT];
static char outcome_text[OUTCOME_TEXT];

/* --- the loop -------------------------------------------------------------------- */

struct vm *race_vm(struct vm_config config)
{
	struct vm *vm;

	/* A scenario that was killed inside a block left it off. */
	tracefs_write("tracing_on", "1");
	vm = vm_create(config);
	/* What one vCPU touched is mapped for all. */
	vcpu_warm(vm, 0);
	return vm;
}

bool race_turn(struct vm *vm, struct race_loop wanted)
{
	if (!loop.active) {
		loop.active = true;
		loop.turn = 0;
		loop.times = wanted.times;
		if (shared->steps == wanted.from) {
			restore_learn(vm, &wanted);
			return true;
		}
	} else if (++loop.turn == loop.times) {
		loop.active = false;
		return false;
	}
	restore(vm, &wanted);
	record_replay(wanted.from);
	return true;
}

/* --- one outcome ------------------------------------------------------------------ */

static size_t outcome_used;

static void __printf(1, 2) add(const char *fmt, ...)
{
	size_t left = OUTCOME_TEXT - outcome_used;
	va_list args;
	int length;

	va_start(args, fmt);
	length = vsnprintf(outcome_text + outcome_used, left, fmt, args);
	va_end(args);
	if (length < 0 || (size_t)length >= left)
		scenario_infra("an outcome does not fit into %zu bytes", sizeof(outcome_text));
	outcome_used += length;
}

static u64 word_at(struct vm *vm, const struct race_block *block, u64 gpa)
{
	u64 page = gpa / vm->page_size * vm->page_size;

	if (block->unprotect)
		mprotect(host_address(vm, page, vm->page_size), vm->page_size,
			 PROT_READ | PROT_WRITE);
	return *(const volatile u64 *)host_address(vm, gpa, 8);
}

static void add_dirty_log(struct vm *vm, u32 id)
{
	u64 words = round_up(vm->slot[id].size / vm->page_size, 64) / 64, i, word;
	u64 *bitmap = calloc(words + 1, sizeof(*bitmap));
	struct kvm_dirty_log log = { .slot = id, .dirty_bitmap = bitmap };
	const char *comma = "";

	if (!bitmap || kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log))
		scenario_infra("the dirty log of slot %u cannot be read behind a block", id);
	add("\"%u\":[", id);
	for (i = 0; i < words; i++) {
		for (word = bitmap[i]; word; word &= word - 1) {
			add("%s%llu", comma,
			    (unsigned long long)(i * 64 + __builtin_ctzll(word)));
			comma = ",";
		}
	}
	add("]");
	free(bitmap);
}

/* What the branches left behind: dirty logs, and the words that they touched. */
static void add_after(struct vm *vm, const struct race_block *block)
{
	const char *comma = "";
	u32 id;
	size_t i;

	add(",\"after\":{\"dirty\":{");
	for (id = 0; id < vm->slots && !vm->ring_entries; id++) {
		if (!vm->slot[id].used || !(vm->slot[id].flags & LOG_DIRTY))
			continue;
		add("%s", comma);
		add_dirty_log(vm, id);
		comma = ",";
	}
	add("},\"memory\":[");
	for (i = 0, comma = ""; block->words && i < block->words->count; i++) {
		u64 gpa = block->words->pages[i];

		if (!slot_at(vm, gpa, 8))
			continue;
		add("%s[%llu,%llu]", comma, (unsigned long long)gpa,
		    (unsigned long long)word_at(vm, block, gpa));
		comma = ",";
	}
	add("]}");
}

static void count_outcome(void)
{
	u32 i;

	for (i = 0; i < outcome_count; i++) {
		if (!strcmp(outcomes[i].text, outcome_text)) {
			outcomes[i].count++;
			return;
		}
	}
	if (outcome_count == MAX_OUTCOMES)
		scenario_infra("the block has more than %d different outcomes", MAX_OUTCOMES);
	outcomes[i].text = strdup(outcome_text);
	outcomes[i].count = 1;
	if (!outcomes[i].text)
		scenario_infra("no memory for outcomes");
	outcome_count++;
}

static void record_histogram(void)
{
	u32 i;

	step_begin();
	step_key("histogram");
	record_text("[");
	for (i = 0; i < outcome_count; i++) {
		record_text("%s[%u,%s]", i ? "," : "", outcomes[i].count, outcomes[i].text);
		free(outcomes[i].text);
	}
	record_text("]");
	race_trace_record();
	step_end();
	outcome_count = 0;
}

/* --- the block -------------------------------------------------------------------- */

static void run_branches(struct vm *vm, const struct race_block *block, u32 variation)
{
	size_t i;

	if (!block->branches || block->branches > MAX_BRANCHES)
		scenario_infra("%zu branches are more than %d", block->branches, MAX_BRANCHES);
	/* The branches make no stage-1 tables: they would make them at once. */
	for (i = 0; block->words && i < block->words->count; i++)
		stage1_cover(vm, block->words->pages[i]);
	if (block->hold)
		hold_pages(vm, block);
	team_run(vm, block, variation, branch_text);
	if (block->hold)
		hold_end();
}

void race_run(struct vm *vm, struct race_block block)
{
	bool last = loop.turn + 1 == loop.times;
	size_t i;

	record_beat();
	race_trace_begin();
	run_branches(vm, &block, loop.turn);
	if (record_is_replay()) {
		/* A block in front of the one that the loop is about. */
		step_begin();
		step_end();
		return;
	}
	race_trace_end();
	outcome_used = 0;
	add("{\"branches\":[");
	for (i = 0; i < block.branches; i++)
		add("%s[%s]", i ? "," : "", branch_text[i]);
	add("]");
	if (!last || !block.goes_on)
		add_after(vm, &block);
	add("}");
	count_outcome();
	if (last)
		record_histogram();
}
