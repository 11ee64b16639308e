// SPDX-License-Identifier: GPL-2.0-only
/* Runs a program step by step, and writes down what each step left behind. */
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hx.h"
#include "scan.h"

struct hx hx;

int hx_fail(int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(hx.run->message, sizeof(hx.run->message), fmt, args);
	va_end(args);
	return error;
}

void hx_verdict(u32 verdict, const char *fmt, ...)
{
	va_list args;

	if (!hx.verdict) {
		va_start(args, fmt);
		vsnprintf(hx.why, sizeof(hx.why), fmt, args);
		va_end(args);
	}
	hx.verdict |= verdict;
}

/* The program that runs, or that stands between two calls. */
static struct {
	struct hx_program *program;	/* NULL: there is none */
	struct hx_scan scan;
	u32 delivered;			/* steps whose records were written */
	bool pending;			/* the next one ran, its record was not */
	s64 ret;			/* of that one */
} session;

/* Records go straight to the user's buffer. */
struct output {
	u64 address;
	u64 room;
	u64 used;
};

static int put(struct output *out, const void *data, size_t size)
{
	if (copy_to_user(u64_to_user_ptr(out->address + out->used), data, size))
		return hx_fail(-EFAULT, "the result buffer cannot be written");
	out->used += size;
	return 0;
}

/* -ENOSPC where the record does not fit; out->used then stands. */
static int put_step(struct output *out)
{
	const struct hx_scan *scan = &session.scan;
	struct hx_step step = {
		.index = session.delivered,
		.ret = session.ret,
		.tables = scan->tables,
		.alloc = hx.counts.alloc,
		.dcache = hx.counts.dcache,
		.icache = hx.counts.icache,
		.dcache_pages = hx.counts.dcache_pages,
		.icache_pages = hx.counts.icache_pages,
		.nr_bad = scan->nr_bad,
	};
	const void *leaves = hx_list_delta(&scan->leaves, &step.leaves);
	const void *annotations = hx_list_delta(&scan->annotations, &step.annotations);
	size_t leaf_bytes = step.leaves.nr_runs * sizeof(struct hx_leaf_run);
	size_t annotation_bytes = step.annotations.nr_runs * sizeof(struct hx_annotation_run);
	size_t bad_bytes = scan->nr_bad * sizeof(scan->bad[0]);
	int error;

	memcpy(step.tlbi, hx.counts.tlbi, sizeof(step.tlbi));
	step.size = sizeof(step) + leaf_bytes + annotation_bytes + bad_bytes;
	if (step.size > out->room - out->used) {
		hx.run->result_size = step.size;
		return hx_fail(-ENOSPC, "step %u takes %u bytes", session.delivered, step.size);
	}
	error = put(out, &step, sizeof(step));
	if (!error && leaf_bytes)
		error = put(out, leaves, leaf_bytes);
	if (!error && annotation_bytes)
		error = put(out, annotations, annotation_bytes);
	if (!error && bad_bytes)
		error = put(out, scan->bad, bad_bytes);
	return error;
}

/* --- steps ------------------------------------------------------------------- */

/*
 * A SHARED walk holds the RCU read lock from end to end, so that what it takes
 * has to be there: a table for each that the range can need, and for its edges.
 */
static u32 pages_at_hand(const struct hx_op *op)
{
	if (op->code != HX_OP_MAP || !(op->flags & HX_WALK_SHARED))
		return 0;
	return min_t(u64, hx.info.max_tables, (op->size >> (2 * PAGE_SHIFT - 3)) + 16);
}

static s64 run_op(const struct hx_op *op, u32 tables)
{
	struct kvm_mmu_memory_cache *cache;
	u64 start;
	s64 ret;

	cache = hx_tables_fill(op->memcache, pages_at_hand(op), tables);
	memset(&hx.counts, 0, sizeof(hx.counts));
	start = ktime_get_ns();
	WRITE_ONCE(hx.task, current);
	barrier();
	ret = hx_op_run(op, cache);
	barrier();
	WRITE_ONCE(hx.task, NULL);
	hx.run->api_nanoseconds += ktime_get_ns() - start;
	return ret;
}

static int next_step(void)
{
	const struct hx_op *op = &session.program->ops[session.delivered];
	bool last = session.delivered == session.program->nr_ops - 1;

	session.ret = run_op(op, session.scan.tables);
	session.pending = true;
	if (hx.out_of_memory)
		return hx_fail(-ENOMEM, "step %u: no table page beyond %u", session.delivered,
			       hx.info.max_tables);
	if (hx_scan_step(&session.scan, op->ipa, op->size, last))
		return hx_fail(-ENOMEM, "step %u: no memory for all runs", session.delivered);
	return 0;
}

/* --- a program's life ----------------------------------------------------------- */

/* Whatever happened before: no table outlives its program. */
static void tear_down(void)
{
	static const struct hx_op destroy = { .code = HX_OP_DESTROY };

	if (hx.pgt.pgd)
		run_op(&destroy, 0);
	hx.run->leaked = hx_tables_reclaim();
	if (hx.run->leaked)
		hx_verdict(HX_VERDICT_LEAK, "destroy left %u table pages behind", hx.run->leaked);
	hx.run->verdict = hx.verdict;
	if (hx.verdict && !hx.run->message[0])
		strscpy(hx.run->message, hx.why, sizeof(hx.run->message));
	memset(&hx.pgt, 0, sizeof(hx.pgt));
	hx_scan_free(&session.scan);
	kvfree(session.program);
	session.program = NULL;
}

void hx_session_end(void)
{
	static struct hx_run nobody;

	if (!session.program)
		return;
	hx.run = &nobody;
	tear_down();
	hx.run = NULL;
}

bool hx_session_stands(void)
{
	return session.program;
}

static int begin(struct hx_run *run)
{
	struct hx_program *program;
	int error;

	if (!hx_el2_answers())
		return hx_fail(-ENXIO, "KVM is not at EL2 now: keep a VM open");
	program = hx_program_load(run->program, run->program_size);
	if (IS_ERR(program))
		return PTR_ERR(program);
	session.program = program;
	session.delivered = 0;
	session.pending = false;
	hx.verdict = 0;
	hx.out_of_memory = false;
	error = hx_table_create(program->ipa_bits);
	if (error)
		return hx_fail(error, "no table of %u bits: the kernel's init failed",
			       program->ipa_bits);
	if (hx_scan_init(&session.scan))
		return hx_fail(-ENOMEM, "no memory");
	return 0;
}

static int run_steps(struct hx_run *run, struct output *out, u64 start)
{
	while (session.delivered < session.program->nr_ops) {
		int error = session.pending ? 0 : next_step();

		if (!error)
			error = put_step(out);
		if (error == -ENOSPC && out->used) {
			run->message[0] = 0;
			return 0;
		}
		if (error)
			return error;
		session.pending = false;
		run->steps = ++session.delivered;
		if (fatal_signal_pending(current))
			return hx_fail(-EINTR, "killed at step %u", session.delivered);
		if (run->slice && ktime_get_ns() - start >= run->slice)
			return 0;
		cond_resched();
	}
	return 0;
}

int hx_session_run(struct hx_run *run)
{
	struct output out = { .address = run->result, .room = run->result_size };
	u64 start = ktime_get_ns();
	int error = 0;

	if (!run->first || (session.program && run->first != session.delivered))
		hx_session_end();
	hx.run = run;
	run->steps = session.program ? session.delivered : 0;
	if (!session.program && run->first)
		error = hx_fail(-EINVAL, "no program stands at step %u", run->first);
	else if (!session.program)
		error = begin(run);
	if (!error)
		error = run_steps(run, &out, start);
	if (session.program && error != -ENOSPC &&
	    (error || session.delivered == session.program->nr_ops))
		tear_down();
	if (error != -ENOSPC)
		run->result_size = out.used;
	run->nanoseconds = ktime_get_ns() - start;
	hx.run = NULL;
	return error;
}
