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

	if (!hx.run->verdict) {
		va_start(args, fmt);
		vsnprintf(hx.run->message, sizeof(hx.run->message), fmt, args);
		va_end(args);
	}
	hx.run->verdict |= verdict;
}

/* Result records go straight to the user's buffer; past its end they only count. */
struct output {
	u64 address;
	u64 room;
	u64 used;
};

static int put(struct output *out, const void *data, size_t size)
{
	int error = 0;

	if (out->used + size <= out->room &&
	    copy_to_user(u64_to_user_ptr(out->address + out->used), data, size))
		error = hx_fail(-EFAULT, "the result buffer cannot be written");
	out->used += size;
	return error;
}

static int put_step(struct output *out, const struct hx_scan *scan, u32 index, s64 ret)
{
	struct hx_step step = {
		.index = index,
		.ret = ret,
		.tables = scan->tables,
		.alloc = hx.counts.alloc,
		.dcache = hx.counts.dcache,
		.icache = hx.counts.icache,
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
	error = put(out, &step, sizeof(step));
	if (!error && leaf_bytes)
		error = put(out, leaves, leaf_bytes);
	if (!error && annotation_bytes)
		error = put(out, annotations, annotation_bytes);
	if (!error && bad_bytes)
		error = put(out, scan->bad, bad_bytes);
	return error;
}

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

static int run_steps(const struct hx_program *program, struct hx_scan *scan, struct output *out)
{
	u32 i;

	for (i = 0; i < program->nr_ops; i++) {
		const struct hx_op *op = &program->ops[i];
		s64 ret = run_op(op, scan->tables);
		int error;

		if (hx.out_of_memory)
			return hx_fail(-ENOMEM, "step %u: no table page beyond %u", i,
				       scan->tables);
		if (hx_scan_step(scan, op->ipa, op->size, i == program->nr_ops - 1))
			return hx_fail(-ENOMEM, "step %u: no memory for all runs", i);
		error = put_step(out, scan, i, ret);
		if (error)
			return error;
		hx.run->steps = i + 1;
		if (fatal_signal_pending(current))
			return hx_fail(-EINTR, "killed at step %u", i);
		cond_resched();
	}
	return 0;
}

/* Whatever happened before: no table outlives its program. */
static void tear_down(void)
{
	static const struct hx_op destroy = { .code = HX_OP_DESTROY };

	if (hx.pgt.pgd)
		run_op(&destroy, 0);
	hx.run->leaked = hx_tables_reclaim();
	if (hx.run->leaked)
		hx_verdict(HX_VERDICT_LEAK, "destroy left %u table pages behind", hx.run->leaked);
	memset(&hx.pgt, 0, sizeof(hx.pgt));
}

int hx_run_program(const struct hx_program *program, struct hx_run *run)
{
	struct output out = { .address = run->result, .room = run->result_size };
	u64 start = ktime_get_ns();
	struct hx_scan *scan;
	int error;

	if (!hx_el2_answers())
		return hx_fail(-ENXIO, "KVM is not at EL2 now: without VHE, keep a VM open");
	scan = kzalloc(sizeof(*scan), GFP_KERNEL);
	if (!scan)
		return hx_fail(-ENOMEM, "no memory");
	hx.out_of_memory = false;
	error = hx_table_create(program->ipa_bits);
	if (error)
		hx_fail(error, "the kernel's init of a table of %u bits failed", program->ipa_bits);
	else if (hx_scan_init(scan))
		error = hx_fail(-ENOMEM, "no memory");
	else
		error = run_steps(program, scan, &out);
	tear_down();
	hx_scan_free(scan);
	kfree(scan);
	run->result_size = out.used;
	run->nanoseconds = ktime_get_ns() - start;
	if (!error && out.used > out.room)
		error = hx_fail(-ENOSPC, "the result takes %llu bytes", out.used);
	return error;
}
