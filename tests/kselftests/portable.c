// SPDX-License-Identifier: GPL-2.0-only
/* Scenarios that need no KVM: each ends in its own way. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"
#include "runner.h"

static void step(s64 ret)
{
	step_begin();
	step_s64("ret", ret);
	step_end();
}

static void run_done(void)
{
	step(0);
	step_begin();
	step_s64("ret", -14);
	step_u64("data", UINT64_MAX);
	step_null("exit");
	step_end();
}

static void run_crash(void)
{
	step(0);
	step_begin();
	step_s64("ret", 1);
	raise(SIGSEGV);
}

static void run_hang(void)
{
	step(0);
	step_begin();
	pause();
}

static void run_stubborn(void)
{
	signal(SIGTERM, SIG_IGN);
	run_hang();
}

static void run_skip(void)
{
	scenario_skip("needs \"more\" than \\ %d\n", 7);
}

static void run_infra(void)
{
	step(0);
	scenario_infra("no memory");
}

static void run_exit(void)
{
	_exit(3);
}

/* More than a pipe holds, and more than the runner keeps between scenarios. */
static void run_large(void)
{
	int i;

	for (i = 0; i < 100000; i++)
		step(i);
}

static void run_too_large(void)
{
	static char word[1 << 20];
	int i;

	memset(word, '1', sizeof(word) - 1);
	step_begin();
	for (i = 0; i < 1024; i++)
		record_text("%s", word);
	step_end();
}

/* Longer than a step may take, but no step does. */
static void run_slow(void)
{
	int i;

	for (i = 0; i < 5; i++) {
		step(i);
		usleep(500 * 1000);
	}
}

static bool start(bool trace, missing_fn missing)
{
	const char *folder = getenv("STARTED");
	FILE *file = folder ? fopen(folder, "w") : NULL;

	if (file)
		fclose(file);
	if (!trace) {
		missing("maps", "not asked for");
		missing("faults", "a \"quoted\" reason");
	}
	return trace;
}

static void stop(void)
{
	const char *folder = getenv("STARTED");

	if (folder)
		unlink(folder);
}

static const struct suite suite = { .name = "portable", .start = start, .stop = stop };

static const struct scenario scenarios[] = {
	{ "done", run_done },
	{ "crash", run_crash },
	{ "hang", run_hang },
	{ "skip", run_skip },
	{ "infra", run_infra },
	{ "exit", run_exit },
	{ "large", run_large },
	{ "too-large", run_too_large },
	{ "stubborn", run_stubborn },
	{ "slow", run_slow },
	{ "hang-2", run_hang },
	{ "hang-3", run_hang },
	{ "hang-4", run_hang },
	{ "hang-5", run_hang },
	{ "last", run_done },
	{ "hang-6", run_hang },
};

int main(int argc, char **argv)
{
	return selftest_main(argc, argv, &suite, scenarios, ARRAY_SIZE(scenarios));
}
