// SPDX-License-Identifier: GPL-2.0-only
/* A trace instance and kprobe events of this selftest's own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracefs.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCES	TRACEFS "/instances"
#define KPROBE_EVENTS	TRACEFS "/kprobe_events"
#define INSTANCE_PREFIX	"hx-"
#define GROUP_PREFIX	"hx_"

#define MAX_PROBES	16

static char instance[64];
static char group[32];
static bool instance_made;
static char removals[MAX_PROBES][96];	/* what to write to be rid of each probe */
static size_t probe_count;

static int write_file(const char *path, int flags, const char *text)
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

/* --- what a killed selftest left behind ---------------------------------------- */

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

/* Lines such as "p:hx_123/map kvm_pgtable_stage2_map ipa=%x1:x64". */
static void sweep_probes(void)
{
	char line[512], pid[16], event[64], removal[96];
	FILE *file = fopen(KPROBE_EVENTS, "re");

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*[^:]:" GROUP_PREFIX "%15[0-9]/%63s", pid, event) != 2 ||
		    !is_dead(pid))
			continue;
		snprintf(removal, sizeof(removal), "-:" GROUP_PREFIX "%s/%s", pid, event);
		write_file(KPROBE_EVENTS, O_APPEND, removal);
	}
	fclose(file);
}

/* --- the instance ---------------------------------------------------------------- */

int tracefs_start(const char **what)
{
	char pid[16];

	*what = "no tracefs at " TRACEFS;
	if (access(INSTANCES, W_OK))
		return -errno;
	sweep_instances();
	sweep_probes();

	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(instance, sizeof(instance), INSTANCES "/" INSTANCE_PREFIX "%s", pid);
	snprintf(group, sizeof(group), GROUP_PREFIX "%s", pid);
	*what = "trace instance";
	/* Set first: a signal in between must not leave the folder behind. */
	instance_made = true;
	if (mkdir(instance, 0700)) {
		instance_made = false;
		return -errno;
	}
	/* Keeps others' events out of the buffer; the reader looks at the pid again. */
	tracefs_write("set_event_pid", pid);
	tracefs_write("options/event-fork", "1");
	return 0;
}

void tracefs_stop(void)
{
	/* Takes the events out of use, so that the probes can go. */
	if (instance_made)
		rmdir(instance);
	instance_made = false;
	while (probe_count)
		write_file(KPROBE_EVENTS, O_APPEND, removals[--probe_count]);
}

const char *tracefs_instance(void)
{
	return instance;
}

const char *tracefs_group(void)
{
	return group;
}

int tracefs_write(const char *file, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", instance, file);
	return write_file(path, O_TRUNC, text);
}

int tracefs_add_probe(char kind, const char *event, const char *symbol, const char *args)
{
	char text[192];
	int ret;

	if (probe_count == MAX_PROBES)
		return -ENOSPC;
	snprintf(removals[probe_count], sizeof(removals[0]), "-:%s/%s", group, event);
	probe_count++;
	snprintf(text, sizeof(text), "%c:%s/%s %s %s", kind, group, event, symbol, args);
	ret = write_file(KPROBE_EVENTS, O_APPEND, text);
	if (ret)
		probe_count--;
	return ret;
}
