// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events of this selftest's processes only, in a trace instance of its own.
 *
 * Instance and probes carry the runner's pid in their names: two selftests do
 * not meet, and what a killed one left behind is told from what is in use.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_layout.h"
#include "record.h"
#include "trace.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCES	TRACEFS "/instances"
#define KPROBE_EVENTS	TRACEFS "/kprobe_events"
#define INSTANCE_PREFIX	"hx-"
#define GROUP_PREFIX	"hx_"

#define MAX_CALLS	4096	/* of the page-table API, in one step */

#define MAP_ARGS	"ipa=%x1:x64 size=%x2:x64 prot=%x4:x64"
#define RELAX_ARGS	"ipa=%x1:x64 prot=%x2:x64"
#define RETURN		"ret=$retval:s32"

/* The pkvm_ variants stand in for the others in protected mode, from 7.0 on. */
static const struct {
	char kind;
	const char *event;
	const char *symbol;
	const char *args;
	bool needed;
} probes[] = {
	{ 'p', "map", "kvm_pgtable_stage2_map", MAP_ARGS, true },
	{ 'r', "map_ret", "kvm_pgtable_stage2_map", RETURN, true },
	{ 'p', "relax", "kvm_pgtable_stage2_relax_perms", RELAX_ARGS, true },
	{ 'r', "relax_ret", "kvm_pgtable_stage2_relax_perms", RETURN, true },
	{ 'p', "pkvm_map", "pkvm_pgtable_stage2_map", MAP_ARGS, false },
	{ 'r', "pkvm_map_ret", "pkvm_pgtable_stage2_map", RETURN, false },
	{ 'p', "pkvm_relax", "pkvm_pgtable_stage2_relax_perms", RELAX_ARGS, false },
	{ 'r', "pkvm_relax_ret", "pkvm_pgtable_stage2_relax_perms", RETURN, false },
};

struct call {
	bool relax;
	bool returned;
	u64 ipa;
	u64 size;
	u64 prot;
	int ret;
};

static char instance[64];
static char group[32];
static bool instance_made;
static bool probe_made[ARRAY_SIZE(probes)];
static int pipe_fd = -1;
static bool have_faults, have_maps;

/* What happened since the last step. */
static u64 faults;
static struct call calls[MAX_CALLS];
static size_t call_count;
static bool lost;

/* --- files of tracefs ---------------------------------------------------------- */

static int write_at(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int write_instance(const char *file, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", instance, file);
	return write_at(path, O_TRUNC, text);
}

static void remove_probe(const char *group_name, const char *event)
{
	char text[96];

	snprintf(text, sizeof(text), "-:%s/%s", group_name, event);
	write_at(KPROBE_EVENTS, O_APPEND, text);
}

/* --- what a killed selftest left behind ------------------------------------------ */

static bool is_dead(const char *pid)
{
	return kill(atoi(pid), 0) && errno == ESRCH;
}

static void sweep_instances(void)
{
	size_t length = strlen(INSTANCE_PREFIX);
	char path[sizeof(INSTANCES) + 256];
	struct dirent *entry;
	DIR *directory = opendir(INSTANCES);

	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		if (strncmp(entry->d_name, INSTANCE_PREFIX, length) ||
		    !is_dead(entry->d_name + length))
			continue;
		snprintf(path, sizeof(path), "%s/%s", INSTANCES, entry->d_name);
		rmdir(path);
	}
	closedir(directory);
}

static void sweep_probes(void)
{
	char line[512], name[64], event[64];
	FILE *file = fopen(KPROBE_EVENTS, "re");

	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%*[^:]:" GROUP_PREFIX "%40[0-9]/%63s", name, event) == 2 &&
		    is_dead(name)) {
			char full[80];

			snprintf(full, sizeof(full), GROUP_PREFIX "%s", name);
			remove_probe(full, event);
		}
	fclose(file);
}

/* --- set-up and removal ------------------------------------------------------------ */

static int start_instance(void)
{
	char pid[16];

	snprintf(instance, sizeof(instance), INSTANCES "/" INSTANCE_PREFIX "%d", getpid());
	snprintf(group, sizeof(group), GROUP_PREFIX "%d", getpid());
	instance_made = true;
	if (mkdir(instance, 0700)) {
		instance_made = false;
		return -errno;
	}
	/* This process and its children; the reader looks at the pid once more. */
	snprintf(pid, sizeof(pid), "%d", getpid());
	write_instance("set_event_pid", pid);
	write_instance("options/event-fork", "1");
	return 0;
}

static int start_faults(void)
{
	char filter[64];

	/* Keeps the doorbell out of the buffer; the reader looks once more. */
	snprintf(filter, sizeof(filter), "ipa < %#x || ipa >= %#x", RESERVED_START, RESERVED_END);
	write_instance("events/kvm/kvm_guest_fault/filter", filter);
	return write_instance("events/kvm/kvm_guest_fault/enable", "1");
}

/* Returns the probe that could not be made, or NULL. */
static const char *start_maps(int *ret)
{
	char text[160];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(text, sizeof(text), "%c:%s/%s %s %s", probes[i].kind, group,
			 probes[i].event, probes[i].symbol, probes[i].args);
		probe_made[i] = true;
		*ret = write_at(KPROBE_EVENTS, O_APPEND, text);
		if (*ret)
			probe_made[i] = false;
		if (*ret && probes[i].needed)
			return probes[i].symbol;
	}
	snprintf(text, sizeof(text), "events/%s/enable", group);
	*ret = write_instance(text, "1");
	return *ret ? "enable" : NULL;
}

static bool nothing(missing_fn missing, const char *what, int ret)
{
	char reason[160];

	snprintf(reason, sizeof(reason), "%s%s%s", what, ret ? ": " : "",
		 ret ? strerror(-ret) : "");
	missing("faults", reason);
	missing("maps", reason);
	trace_stop();
	return false;
}

bool trace_start(bool wanted, missing_fn missing)
{
	const char *symbol;
	char path[96], reason[160];
	int ret;

	if (!wanted)
		return nothing(missing, "not asked for (--no-trace)", 0);
	if (access(INSTANCES, W_OK))
		return nothing(missing, "no tracefs at " TRACEFS, -errno);
	sweep_instances();
	sweep_probes();
	ret = start_instance();
	if (ret)
		return nothing(missing, "trace instance", ret);
	snprintf(path, sizeof(path), "%s/trace_pipe", instance);
	pipe_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (pipe_fd < 0)
		return nothing(missing, "trace_pipe", -errno);

	ret = start_faults();
	have_faults = !ret;
	if (ret) {
		snprintf(reason, sizeof(reason), "event kvm_guest_fault: %s", strerror(-ret));
		missing("faults", reason);
	}
	symbol = start_maps(&ret);
	have_maps = !symbol;
	if (symbol) {
		snprintf(reason, sizeof(reason), "kprobe_events: %s: %s", symbol, strerror(-ret));
		missing("maps", reason);
	}
	return have_faults || have_maps;
}

void trace_stop(void)
{
	size_t i;

	if (pipe_fd >= 0)
		close(pipe_fd);
	pipe_fd = -1;
	/* Takes the events out of use, so that the probes can go. */
	if (instance_made)
		rmdir(instance);
	instance_made = false;
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probe_made[i])
			remove_probe(group, probes[i].event);
		probe_made[i] = false;
	}
	have_faults = false;
	have_maps = false;
}

/* --- reading ------------------------------------------------------------------------- */

static bool reserved(u64 ipa)
{
	return ipa >= RESERVED_START && ipa < RESERVED_END;
}

/* "comm-pid [cpu] flags time: event: ...": is it ours? */
static bool is_own(const char *line)
{
	const char *bracket = strstr(line, " [");

	if (!bracket)
		return false;
	while (bracket > line && bracket[-1] == ' ')
		bracket--;
	while (bracket > line && bracket[-1] >= '0' && bracket[-1] <= '9')
		bracket--;
	return atoi(bracket) == getpid();
}

static u64 field(const char *line, const char *name)
{
	const char *at = strstr(line, name);

	return at ? strtoull(at + strlen(name), NULL, 0) : 0;
}

static void call_entered(const char *line, bool relax)
{
	struct call *call;

	if (call_count == MAX_CALLS) {
		lost = true;
		return;
	}
	call = &calls[call_count];
	call->relax = relax;
	call->returned = false;
	call->ipa = field(line, " ipa=");
	call->size = field(line, " size=");
	call->prot = field(line, " prot=");
	if (!reserved(call->ipa))
		call_count++;
}

/* A return without its entry belongs to a call that was left out. */
static void call_returned(const char *line, bool relax)
{
	const char *ret = strstr(line, " ret=");
	struct call *call;

	if (!call_count || !ret)
		return;
	call = &calls[call_count - 1];
	if (call->returned || call->relax != relax)
		return;
	call->returned = true;
	call->ret = strtol(ret + 5, NULL, 10);
}

static void parse_line(const char *line)
{
	if (strstr(line, "[LOST "))
		lost = true;
	else if (!is_own(line))
		return;
	else if (strstr(line, ": kvm_guest_fault: "))
		faults += !reserved(field(line, ": ipa "));
	else if (strstr(line, "map: ("))
		call_entered(line, false);
	else if (strstr(line, "map_ret: ("))
		call_returned(line, false);
	else if (strstr(line, "relax: ("))
		call_entered(line, true);
	else if (strstr(line, "relax_ret: ("))
		call_returned(line, true);
}

/* Reads all there is; a line may come in two pieces. */
static void collect(void)
{
	static char text[1 << 16];
	static size_t kept;
	ssize_t n;
	char *line, *end;

	while (pipe_fd >= 0) {
		n = read(pipe_fd, text + kept, sizeof(text) - 1 - kept);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text[kept + n] = '\0';
		for (line = text; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			parse_line(line);
		}
		kept = text + kept + n - line;
		memmove(text, line, kept);
	}
}

static void forget(void)
{
	faults = 0;
	call_count = 0;
}

void trace_discard(void)
{
	collect();
	forget();
}

static void record_call(const struct call *call)
{
	if (call->relax)
		record_text("[\"relax\",%llu,%llu,%d]", (unsigned long long)call->ipa,
			    (unsigned long long)call->prot, call->ret);
	else
		record_text("[\"map\",%llu,%llu,%llu,%d]", (unsigned long long)call->ipa,
			    (unsigned long long)call->size, (unsigned long long)call->prot,
			    call->ret);
}

void trace_record(void)
{
	size_t i;

	collect();
	if (lost)
		scenario_infra("trace events were lost: more than the buffer holds");
	if (have_faults)
		step_u64("faults", faults);
	if (have_maps) {
		step_key("maps");
		record_text("[");
		for (i = 0; i < call_count; i++) {
			if (i)
				record_text(",");
			record_call(&calls[i]);
		}
		record_text("]");
	}
	forget();
}
