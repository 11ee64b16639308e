// SPDX-License-Identifier: GPL-2.0-only
/* Counts of trace events over all CPUs, one distribution per count. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "race_trace.h"
#include "record.h"
#include "trace_ring.h"
#include "tracefs.h"

#define MAX_CPUS	64
#define MOST		256	/* of one count in one turn; more is counted as so many */
#define MAX_EVENTS	8

static const char *const names[RACE_COUNTS] = {
	[COUNT_FAULTS] = "faults",
	[COUNT_MAPPED] = "mapped",
	[COUNT_REFUSED] = "refused",
	[COUNT_MARKED] = "marked",
};

/* Events of kselftests/trace.c, below events/; %s is this selftest's own group. */
static const struct {
	const char *path;
	enum race_count count;
	bool returns;		/* whether it succeeded or was refused is in its field ret */
} known[] = {
	{ "kvm/kvm_guest_fault", COUNT_FAULTS, false },
	{ "%s/map_ret", COUNT_MAPPED, true },
	{ "%s/relax_ret", COUNT_MAPPED, true },
	{ "%s/pkvm_map_ret", COUNT_MAPPED, true },
	{ "%s/pkvm_relax_ret", COUNT_MAPPED, true },
	{ "%s/mark", COUNT_MARKED, false },
};

static struct {
	u32 id;
	enum race_count count;
	struct trace_field ret;
} events[MAX_EVENTS];
static size_t event_count;
static struct trace_field type_field;

static int rings[MAX_CPUS];
static size_t ring_count;
static enum { UNKNOWN, COUNTING, NOTHING } state;

static u32 now[RACE_COUNTS];
static u32 sums[RACE_COUNTS][MOST + 1];
static bool seen[RACE_COUNTS];

/* --- set-up -------------------------------------------------------------------------- */

static void learn_events(void)
{
	char event[64], path[192];
	size_t i;
	int id;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		snprintf(event, sizeof(event), known[i].path, tracefs_group());
		snprintf(path, sizeof(path), "%s/events/%s/id", tracefs_instance(), event);
		id = trace_event_id(path);
		if (id < 0)
			continue;
		snprintf(path, sizeof(path), "%s/events/%s/format", tracefs_instance(), event);
		memset(&events[event_count], 0, sizeof(events[0]));
		if (trace_field_find(path, "common_type", &type_field) ||
		    (known[i].returns &&
		     trace_field_find(path, "ret", &events[event_count].ret)))
			continue;
		events[event_count].id = id;
		events[event_count].count = known[i].count;
		event_count++;
		seen[known[i].count] = true;
		if (known[i].returns)
			seen[COUNT_REFUSED] = true;
	}
}

static void open_rings(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF), cpu;
	char path[160];
	int fd;

	for (cpu = 0; cpu < cpus && cpu < MAX_CPUS; cpu++) {
		snprintf(path, sizeof(path), "%s/per_cpu/cpu%ld/trace_pipe_raw",
			 tracefs_instance(), cpu);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			rings[ring_count++] = fd;
	}
}

/* --- events -------------------------------------------------------------------------- */

static void on_event(const char *data, size_t size)
{
	u32 type = trace_field_value(data, size, &type_field);
	size_t i;

	for (i = 0; i < event_count; i++) {
		enum race_count count = events[i].count;

		if (events[i].id != type)
			continue;
		if (events[i].ret.size &&
		    (s32)trace_field_value(data, size, &events[i].ret) == -EAGAIN)
			count = COUNT_REFUSED;
		now[count]++;
		return;
	}
}

static void read_rings(void)
{
	size_t i;

	for (i = 0; i < ring_count; i++)
		if (!trace_ring_read_from(rings[i], on_event))
			scenario_infra("trace events of a block were lost");
}

void race_trace_begin(void)
{
	if (state == UNKNOWN) {
		learn_events();
		if (event_count)
			open_rings();
		state = ring_count ? COUNTING : NOTHING;
		if (state == NOTHING)
			tracefs_write("tracing_on", "0");
	}
	read_rings();
	memset(now, 0, sizeof(now));
}

void race_trace_end(void)
{
	size_t i;

	if (state != COUNTING)
		return;
	read_rings();
	for (i = 0; i < RACE_COUNTS; i++)
		sums[i][now[i] < MOST ? now[i] : MOST]++;
}

void race_trace_record(void)
{
	const char *comma = "", *inner;
	size_t i, j;

	if (state != COUNTING)
		return;
	step_key("counts");
	record_text("{");
	for (i = 0; i < RACE_COUNTS; i++) {
		if (!seen[i])
			continue;
		record_text("%s\"%s\":[", comma, names[i]);
		for (j = 0, inner = ""; j <= MOST; j++) {
			if (!sums[i][j])
				continue;
			record_text("%s[%u,%zu]", inner, sums[i][j], j);
			inner = ",";
		}
		record_text("]");
		comma = ",";
	}
	record_text("}");
	memset(sums, 0, sizeof(sums));
}
