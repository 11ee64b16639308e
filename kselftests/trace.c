// SPDX-License-Identifier: GPL-2.0-only
/*
 * From trace events to the channels faults, maps, marks and flushes.
 *
 * The runner and all its children stay on one CPU, whose buffer is all there is
 * to read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guest_layout.h"
#include "record.h"
#include "trace.h"
#include "trace_ring.h"
#include "tracefs.h"

#define MAX_CALLS	4096	/* of the page-table API, in one step */
#define MAX_MARKS	4096	/* pages marked dirty in one step */
#define MAX_FLUSHES	16	/* of ranges, in one step */

#define MAP_ARGS	"ipa=%x1:x64 size=%x2:x64 prot=%x4:x64"
#define RELAX_ARGS	"ipa=%x1:x64 prot=%x2:x64"
#define RETURN		"ret=$retval:s32"
/*
 * Takes (kvm, slot, gfn). Before 5.11 it was inlined into mark_page_dirty(kvm, gfn), which
 * the fault path called.
 */
#define MARK_SYMBOL	"mark_page_dirty_in_slot"
#define MARK_ARGS	"ipa=%x2:x64"
#define MARK_SYMBOL_OLD	"mark_page_dirty"
#define MARK_ARGS_OLD	"ipa=%x1:x64"

/*
 * Takes (kvm, gfn, nr_pages). Since 6.6; before it, who protects a slot asks for a flush of
 * the whole VM, which KVM counts.
 */
#define FLUSH_SYMBOL	"kvm_arch_flush_remote_tlbs_range"
#define FLUSH_ARGS	"ipa=%x1:x64 size=%x2:x64"

enum kind { FAULT, MAP, MAP_RETURN, RELAX, RELAX_RETURN, MARK, FLUSH };

/* In protected mode, kernels from 7.0 on call the pkvm_ functions instead. */
static const struct probe {
	enum kind kind;
	char type;
	const char *event;
	const char *symbol;
	const char *args;
	bool needed;
} probes[] = {
	{ MAP, 'p', "map", "kvm_pgtable_stage2_map", MAP_ARGS, true },
	{ MAP_RETURN, 'r', "map_ret", "kvm_pgtable_stage2_map", RETURN, true },
	{ RELAX, 'p', "relax", "kvm_pgtable_stage2_relax_perms", RELAX_ARGS, true },
	{ RELAX_RETURN, 'r', "relax_ret", "kvm_pgtable_stage2_relax_perms", RETURN, true },
	{ MAP, 'p', "pkvm_map", "pkvm_pgtable_stage2_map", MAP_ARGS, false },
	{ MAP_RETURN, 'r', "pkvm_map_ret", "pkvm_pgtable_stage2_map", RETURN, false },
	{ RELAX, 'p', "pkvm_relax", "pkvm_pgtable_stage2_relax_perms", RELAX_ARGS, false },
	{ RELAX_RETURN, 'r', "pkvm_relax_ret", "pkvm_pgtable_stage2_relax_perms", RETURN, false },
};

/* A kind of event as it lies in the buffer; fields that it lacks have no size. */
struct layout {
	enum kind kind;
	u32 id;
	struct trace_field ipa;
	struct trace_field size;
	struct trace_field prot;
	struct trace_field ret;
};

struct call {
	bool relax;
	bool returned;
	u64 ipa;
	u64 size;
	u64 prot;
	s32 ret;
};

static struct layout layouts[3 + ARRAY_SIZE(probes)];
static size_t layout_count;
static struct trace_field type_field, pid_field;
static bool have_faults, have_maps, have_marks, have_flushes;
static u32 own_pid;
static u64 page_size;

/* What happened since the last step. */
static u64 faults;
static struct call calls[MAX_CALLS];
static size_t call_count;
static u64 marks[MAX_MARKS];
static size_t mark_count;
static struct {
	u64 ipa;
	u64 size;
} flushes[MAX_FLUSHES];
static size_t flush_count;
static bool wants_flushes;	/* the step is one that may ask for them */
static u64 own_calls;		/* for the runtime's own pages; not part of a step */
static bool lost;
static bool expects_guest;	/* a vCPU was run in this step */
static bool shows_guest;	/* a vCPU was seen to run in this scenario */

/* --- set-up ---------------------------------------------------------------------- */

/* Learns the layout of an event, named as below events/, and turns it on. */
static int enable_event(enum kind kind, const char *event)
{
	struct layout *layout = &layouts[layout_count];
	char path[192], file[96];
	int id;

	snprintf(path, sizeof(path), "%s/events/%s/id", tracefs_instance(), event);
	id = trace_event_id(path);
	if (id < 0)
		return id;
	snprintf(path, sizeof(path), "%s/events/%s/format", tracefs_instance(), event);
	memset(layout, 0, sizeof(*layout));
	layout->kind = kind;
	layout->id = id;
	if (trace_field_find(path, "common_type", &type_field) ||
	    trace_field_find(path, "common_pid", &pid_field))
		return -ENOENT;
	/* What it has of these; which it must have is told by its kind. */
	trace_field_find(path, "ipa", &layout->ipa);
	trace_field_find(path, "size", &layout->size);
	trace_field_find(path, "prot", &layout->prot);
	trace_field_find(path, "ret", &layout->ret);
	if (!(kind == MAP_RETURN || kind == RELAX_RETURN ? layout->ret : layout->ipa).size)
		return -ENOENT;
	layout_count++;
	snprintf(file, sizeof(file), "events/%s/enable", event);
	return tracefs_write(file, "1");
}

static int start_faults(void)
{
	char filter[64];

	/* Keeps the doorbell out of the buffer; the reader looks at the IPA again. */
	snprintf(filter, sizeof(filter), "ipa < %#x || ipa >= %#x", RESERVED_START, RESERVED_END);
	tracefs_write("events/kvm/kvm_guest_fault/filter", filter);
	return enable_event(FAULT, "kvm/kvm_guest_fault");
}

/* Returns 0 or -errno with the symbol that cannot be probed. */
static int start_maps(const char **symbol)
{
	const struct probe *probe;
	char event[64];
	int ret;

	for (probe = probes; probe < probes + ARRAY_SIZE(probes); probe++) {
		*symbol = probe->symbol;
		ret = tracefs_add_probe(probe->type, probe->event, probe->symbol, probe->args);
		if (!ret) {
			snprintf(event, sizeof(event), "%s/%s", tracefs_group(), probe->event);
			ret = enable_event(probe->kind, event);
		}
		if (ret && probe->needed)
			return ret;
	}
	return 0;
}

/* The field is called ipa like the others', and holds a page number. */
static int start_marks(void)
{
	struct utsname name;
	unsigned int major, minor;
	char event[64];
	bool old;
	int ret;

	uname(&name);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return -EINVAL;
	old = major * 100 + minor < 511;
	ret = tracefs_add_probe('p', "mark", old ? MARK_SYMBOL_OLD : MARK_SYMBOL,
				old ? MARK_ARGS_OLD : MARK_ARGS);
	if (ret)
		return ret;
	snprintf(event, sizeof(event), "%s/mark", tracefs_group());
	return enable_event(MARK, event);
}

/* Its fields hold page numbers, too. */
static int start_flushes(void)
{
	char event[64];
	int ret = tracefs_add_probe('p', "flush", FLUSH_SYMBOL, FLUSH_ARGS);

	if (ret)
		return ret;
	snprintf(event, sizeof(event), "%s/flush", tracefs_group());
	return enable_event(FLUSH, event);
}

/* Stays on the CPU that it runs on; its number, or -errno. */
static int stay_on_cpu(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu < 0)
		return -errno;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : cpu;
}

static bool none(missing_fn missing, const char *what, int ret)
{
	char reason[160];

	snprintf(reason, sizeof(reason), "%s%s%s", what, ret ? ": " : "",
		 ret ? strerror(-ret) : "");
	missing("faults", reason);
	missing("maps", reason);
	missing("marks", reason);
	missing("flushes", reason);
	trace_stop();
	return false;
}

bool trace_start(bool wanted, missing_fn missing)
{
	const char *what;
	char reason[160];
	int cpu, ret;

	cpu = stay_on_cpu();
	page_size = sysconf(_SC_PAGESIZE);
	if (!wanted)
		return none(missing, "not asked for (--no-trace)", 0);
	ret = tracefs_start(&what);
	if (ret)
		return none(missing, what, ret);
	ret = cpu < 0 ? cpu : trace_ring_open(tracefs_instance(), cpu);
	if (ret)
		return none(missing, "trace_pipe_raw", ret);

	ret = start_faults();
	have_faults = !ret;
	if (ret) {
		snprintf(reason, sizeof(reason), "event kvm_guest_fault: %s", strerror(-ret));
		missing("faults", reason);
	}
	ret = start_maps(&what);
	have_maps = !ret;
	if (ret) {
		snprintf(reason, sizeof(reason), "kprobe on %s: %s", what, strerror(-ret));
		missing("maps", reason);
	}
	ret = start_marks();
	have_marks = !ret;
	if (ret) {
		snprintf(reason, sizeof(reason), "kprobe on " MARK_SYMBOL ": %s", strerror(-ret));
		missing("marks", reason);
	}
	ret = start_flushes();
	have_flushes = !ret;
	if (ret) {
		snprintf(reason, sizeof(reason), "kprobe on " FLUSH_SYMBOL ": %s", strerror(-ret));
		missing("flushes", reason);
	}
	return have_faults || have_maps || have_marks || have_flushes;
}

void trace_stop(void)
{
	trace_ring_close();
	tracefs_stop();
	have_faults = false;
	have_maps = false;
	have_marks = false;
	have_flushes = false;
}

/* --- events ------------------------------------------------------------------------ */

static bool reserved(u64 ipa)
{
	return ipa >= RESERVED_START && ipa < RESERVED_END;
}

static void call_entered(const struct layout *layout, const char *data, size_t size)
{
	u64 ipa = trace_field_value(data, size, &layout->ipa);

	if (reserved(ipa)) {
		own_calls++;
		return;
	}
	if (call_count == MAX_CALLS) {
		lost = true;
		return;
	}
	calls[call_count++] = (struct call){
		.relax = layout->kind == RELAX,
		.ipa = ipa,
		.size = trace_field_value(data, size, &layout->size),
		.prot = trace_field_value(data, size, &layout->prot),
	};
}

/* A return without its entry belongs to a call that was left out. */
static void call_returned(const struct layout *layout, const char *data, size_t size)
{
	struct call *call;

	if (!call_count)
		return;
	call = &calls[call_count - 1];
	if (call->returned || call->relax != (layout->kind == RELAX_RETURN))
		return;
	call->returned = true;
	call->ret = (s32)trace_field_value(data, size, &layout->ret);
}

static void page_marked(u64 ipa)
{
	if (reserved(ipa))
		return;
	if (mark_count == MAX_MARKS)
		lost = true;
	else
		marks[mark_count++] = ipa;
}

static void range_flushed(u64 ipa, u64 size)
{
	if (reserved(ipa))
		return;
	if (flush_count == MAX_FLUSHES) {
		lost = true;
		return;
	}
	flushes[flush_count].ipa = ipa;
	flushes[flush_count++].size = size;
}

static void on_event(const char *data, size_t size)
{
	u32 type = trace_field_value(data, size, &type_field);
	const struct layout *layout;

	if (trace_field_value(data, size, &pid_field) != own_pid)
		return;
	for (layout = layouts; layout < layouts + layout_count; layout++) {
		if (layout->id != type)
			continue;
		if (layout->kind == FAULT)
			faults += !reserved(trace_field_value(data, size, &layout->ipa));
		else if (layout->kind == MAP || layout->kind == RELAX)
			call_entered(layout, data, size);
		else if (layout->kind == MARK)
			page_marked(trace_field_value(data, size, &layout->ipa) * page_size);
		else if (layout->kind == FLUSH)
			range_flushed(trace_field_value(data, size, &layout->ipa) * page_size,
				      trace_field_value(data, size, &layout->size) * page_size);
		else
			call_returned(layout, data, size);
		return;
	}
}

static void collect(void)
{
	if (!trace_ring_read(on_event))
		lost = true;
}

static void forget(void)
{
	faults = 0;
	call_count = 0;
	mark_count = 0;
	flush_count = 0;
	wants_flushes = false;
	own_calls = 0;
}

void trace_begin(void)
{
	own_pid = getpid();
	collect();
	/* A scenario that was killed may have left more than the buffers hold. */
	lost = false;
	shows_guest = false;
	forget();
}

void trace_expect_guest(void)
{
	expects_guest = true;
}

void trace_expect_flushes(void)
{
	wants_flushes = true;
}

/* Nothing seen of a guest's start means nothing would be seen of its steps either. */
static void check_guest(void)
{
	if (own_calls)
		shows_guest = true;
	if (have_maps && expects_guest && !shows_guest)
		scenario_infra("the trace shows nothing of the guest's start");
	expects_guest = false;
}

static void record_call(const struct call *call)
{
	record_word(call->relax ? "[\"relax\"," : "[\"map\",");
	record_u64(call->ipa);
	if (!call->relax) {
		record_word(",");
		record_u64(call->size);
	}
	record_word(",");
	record_u64(call->prot);
	record_word(",");
	record_s64(call->ret);
	record_word("]");
}

void trace_record(void)
{
	size_t i;

	collect();
	if (lost)
		scenario_infra("trace events were lost: there are more than the buffers hold");
	check_guest();
	if (have_faults)
		step_u64("faults", faults);
	if (have_maps) {
		step_key("maps");
		for (i = 0; i < call_count; i++) {
			record_word(i ? "," : "[");
			record_call(&calls[i]);
		}
		record_word(call_count ? "]" : "[]");
	}
	if (have_marks) {
		step_key("marks");
		for (i = 0; i < mark_count; i++) {
			record_word(i ? "," : "[");
			record_u64(marks[i]);
		}
		record_word(mark_count ? "]" : "[]");
	}
	if (have_flushes && wants_flushes) {
		step_key("flushes");
		for (i = 0; i < flush_count; i++) {
			record_word(i ? ",[" : "[[");
			record_u64(flushes[i].ipa);
			record_word(",");
			record_u64(flushes[i].size);
			record_word("]");
		}
		record_word(flush_count ? "]" : "[]");
	}
	forget();
}
