// SPDX-License-Identifier: GPL-2.0-only
/*
 * Scenarios run in child processes, with a limit on how long a step may take.
 *
 * Output (stdout): KTAP; every line that is not KTAP begins with "# ". The
 * lines of a scenario are written in one go, together with the announcement of
 * the next one, so that it is known which scenario a dying kernel was running;
 * where scenarios are short and share a child, those of a few are written at once.
 * A scenario that runs for long has its lines written from time to time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klog.h"
#include "record.h"
#include "runner.h"

#define PROTOCOL		1
#define DEFAULT_TIMEOUT		10	/* seconds for a step, or for the set-up */
#define FLUSH_INTERVAL		1	/* seconds between a long scenario's lines */
#define KILL_TIMEOUT		5	/* seconds until a killed child must be gone */
/*
 * Where so many scenarios in a row hang, the next will too: a kernel on which each of
 * them does is to be told in minutes. Each that follows has this part of the time.
 */
#define MANY_HANGS		3
#define SHORT_PART		5

struct options {
	bool sync;
	bool trace;
	bool list;
};

/* What is to run. */
static struct {
	const struct scenario *scenarios;
	u32 count;
	bool *chosen;
	double timeout;
	u32 hangs;		/* scenarios that hung, one after the other */
} plan = { .timeout = DEFAULT_TIMEOUT };

enum outcome { OUTCOME_EXITED, OUTCOME_HANG, OUTCOME_STUCK };

static const struct suite *suite;
static volatile sig_atomic_t child;	/* pid of the scenario that runs, or 0 */

/* --- time ------------------------------------------------------------------ */

static struct timespec seconds(double value)
{
	struct timespec time = { .tv_sec = (time_t)value };

	time.tv_nsec = (long)((value - time.tv_sec) * 1e9);
	return time;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* --- signals --------------------------------------------------------------- */

static const int ending_signals[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE };

/* Leaves nothing behind, wherever the runner was: system calls only. */
static void on_ending_signal(int signal)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	int i;

	if (child) {
		kill(child, SIGKILL);
		for (i = 0; i < KILL_TIMEOUT * 100; i++) {
			if (waitpid(child, NULL, WNOHANG))
				break;
			nanosleep(&pause, NULL);
		}
	}
	if (suite->stop)
		suite->stop();
	_exit(128 + signal);
}

static void ending_set(sigset_t *set)
{
	size_t i;

	sigemptyset(set);
	for (i = 0; i < ARRAY_SIZE(ending_signals); i++)
		sigaddset(set, ending_signals[i]);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_ending_signal };
	sigset_t blocked;
	size_t i;

	ending_set(&action.sa_mask);
	for (i = 0; i < ARRAY_SIZE(ending_signals); i++)
		sigaction(ending_signals[i], &action, NULL);

	/* SIGCHLD is waited for, never delivered. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

static void default_signals(void)
{
	size_t i;
	sigset_t none;

	for (i = 0; i < ARRAY_SIZE(ending_signals); i++)
		signal(ending_signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* --- how a scenario ended ---------------------------------------------------- */

/* What the kernel warned of since the last time, as a member of an object. */
static void print_warned(const char *before)
{
	u64 first, last;

	if (klog_warned(&first, &last))
		record_text("%s\"warned\":[%llu,%llu]", before, (unsigned long long)first,
			    (unsigned long long)last);
}

static void print_end(const char *status, const char *detail, bool with_step, long us)
{
	record_text("# end {\"status\":\"%s\"", status);
	if (detail && *detail) {
		record_text(",\"detail\":");
		record_json_string(detail);
	}
	if (with_step && shared->steps)
		record_text(",\"step\":%u", shared->steps - 1);
	if (shared->module_ns)
		record_text(",\"module_us\":%llu,\"api_us\":%llu",
			    (unsigned long long)shared->module_ns / 1000,
			    (unsigned long long)shared->api_ns / 1000);
	print_warned(",");
	record_text(",\"us\":%ld}", us);
	record_commit();
}

static void print_result(const char *result, unsigned int number, const char *id,
			 const char *skip)
{
	record_text("%s %u %s", result, number, id);
	if (skip)
		record_text(" # SKIP %s", skip);
	record_commit();
}

/* Seconds for a step. */
static double limit(void)
{
	return plan.hangs < MANY_HANGS ? plan.timeout : plan.timeout / SHORT_PART;
}

/* Judges how the scenario ended and writes the lines that close it. */
static void close_scenario(enum outcome outcome, int wstatus)
{
	const char *id = plan.scenarios[shared->index].id;
	long us = (long)((now() - shared->start) * 1e6);
	unsigned int number = ++shared->number;
	char detail[sizeof(shared->detail)];

	if (outcome != OUTCOME_EXITED) {
		snprintf(detail, sizeof(detail), "no step within %g s%s", limit(),
			 outcome == OUTCOME_STUCK ? ", and SIGKILL does not end it" : "");
		print_end("hang", detail, true, us);
	} else if (shared->status == STATUS_DONE) {
		print_end("done", NULL, false, us);
		print_result("ok", number, id, NULL);
		return;
	} else if (shared->status == STATUS_SKIP) {
		print_end("skip", shared->detail, true, us);
		print_result("ok", number, id, shared->detail);
		return;
	} else if (shared->status == STATUS_INFRA) {
		print_end("infra", shared->detail, true, us);
	} else if (WIFSIGNALED(wstatus)) {
		snprintf(detail, sizeof(detail), "killed by signal %d (%s)", WTERMSIG(wstatus),
			 strsignal(WTERMSIG(wstatus)));
		print_end("crash", detail, true, us);
	} else {
		snprintf(detail, sizeof(detail), "exit status %d without a word",
			 WEXITSTATUS(wstatus));
		print_end("infra", detail, true, us);
	}
	print_result("not ok", number, id, NULL);
}

/* --- in the child ---------------------------------------------------------- */

static u32 next_chosen(u32 i)
{
	while (i < plan.count && !plan.chosen[i])
		i++;
	return i;
}

/* Announces a scenario, so that it is known what a dying kernel was running. */
static bool begin(u32 index)
{
	bool heard;

	record_text("# start %u %s", index, plan.scenarios[index].id);
	record_commit();
	heard = suite->share_child ? record_flush_due() : record_flush();
	record_begin(index);
	return heard;
}

static void run_scenario(u32 index)
{
	jmp_buf end;

	if (suite->share_child) {
		record_set_end(&end);
		if (setjmp(end)) {
			/* It may have ended within a step, whose line is dropped. */
			record_adopt();
			return;
		}
	}
	plan.scenarios[index].run();
	scenario_done();
}

/* The last scenario of a child is closed by the runner, once the child is gone. */
static void __noreturn run_child(pid_t parent)
{
	u32 next = shared->index;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	default_signals();
	for (;;) {
		run_scenario(next);
		if (suite->share_child && suite->after)
			suite->after();
		next = next_chosen(next + 1);
		if (next == plan.count)
			_exit(0);
		close_scenario(OUTCOME_EXITED, 0);
		if (!begin(next))
			_exit(0);
	}
}

/* --- and outside of it ----------------------------------------------------- */

/* Whether the child ended before the deadline; waits for that no longer. */
static bool wait_until(pid_t pid, double deadline, int *wstatus)
{
	sigset_t sigchld;

	sigemptyset(&sigchld);
	sigaddset(&sigchld, SIGCHLD);
	for (;;) {
		double left = deadline - now();
		struct timespec timeout = seconds(left > 0 ? left : 0);

		if (waitpid(pid, wstatus, WNOHANG) == pid)
			return true;
		if (left <= 0)
			return false;
		sigtimedwait(&sigchld, NULL, &timeout);
	}
}

/* Whether the child ended, with no step that took longer than the limit. */
static bool wait_for_steps(pid_t pid, double limit, int *wstatus)
{
	double deadline = now() + limit;
	u32 beats = shared->beats, seen;

	while (now() < deadline) {
		double tick = now() + FLUSH_INTERVAL;

		if (wait_until(pid, tick < deadline ? tick : deadline, wstatus))
			return true;
		/* A child that runs many writes by itself. */
		if (!record_is_sync() && !suite->share_child)
			record_flush();
		seen = __atomic_load_n(&shared->beats, __ATOMIC_ACQUIRE);
		if (seen != beats)
			deadline = now() + limit;
		beats = seen;
	}
	return false;
}

/* Runs the scenario that was begun, and those after it that the child takes on. */
static enum outcome run_bounded(int *wstatus)
{
	enum outcome outcome = OUTCOME_EXITED;
	pid_t parent = getpid();
	sigset_t ending;
	pid_t pid;

	ending_set(&ending);
	sigprocmask(SIG_BLOCK, &ending, NULL);
	pid = fork();
	if (pid == 0)
		run_child(parent);
	child = pid > 0 ? pid : 0;
	sigprocmask(SIG_UNBLOCK, &ending, NULL);

	if (pid < 0) {
		shared->status = STATUS_INFRA;
		snprintf(shared->detail, sizeof(shared->detail), "fork: %s", strerror(errno));
		return OUTCOME_EXITED;
	}
	if (!wait_for_steps(pid, limit(), wstatus)) {
		kill(pid, SIGKILL);
		outcome = wait_until(pid, now() + KILL_TIMEOUT, wstatus) ? OUTCOME_HANG :
									  OUTCOME_STUCK;
	}
	child = 0;
	return outcome;
}

/* --- all of them ----------------------------------------------------------- */

static bool any_missing;

static void print_missing(const char *channel, const char *reason)
{
	record_text("%s\"%s\":", any_missing ? "," : "", channel);
	record_json_string(reason);
	any_missing = true;
}

static void print_hello(bool trace)
{
	struct utsname name;
	bool traced = false;

	uname(&name);
	record_text("# hello {\"protocol\":%d,\"suite\":\"%s\",\"release\":", PROTOCOL,
		    suite->name);
	record_json_string(name.release);
	record_text(",\"missing\":{");
	if (suite->start)
		traced = suite->start(trace, print_missing);
	record_text("},\"trace\":%s}", traced ? "true" : "false");
	record_commit();
}

/* Says that nobody need wait for the kernel's log, or why. */
static bool print_bye(void)
{
	record_text("# bye {");
	print_warned("");
	record_text("}");
	record_commit();
	return record_flush();
}

static bool run_all(void)
{
	u32 next = next_chosen(0);

	while (next < plan.count) {
		u32 before = shared->number;
		enum outcome outcome;
		int wstatus = 0;

		if (!begin(next))
			return false;
		outcome = run_bounded(&wstatus);
		record_adopt();
		if (shared->number != before)
			plan.hangs = 0;	/* the child ended some before */
		close_scenario(outcome, wstatus);
		plan.hangs = outcome == OUTCOME_EXITED ? 0 : plan.hangs + 1;
		next = next_chosen(shared->index + 1);
	}
	return record_flush();
}

/* --- arguments ------------------------------------------------------------- */

static void __noreturn usage(const char *name, const char *problem)
{
	fprintf(stderr,
		"%s: %s\n"
		"usage: %s [--only I,J,K] [--start K] [--timeout SECONDS] [--lane N] [--sync] "
		"[--no-trace] [--list]\n",
		name, problem, name);
	exit(2);
}

static unsigned long parse_index(const char *name, char **text)
{
	char *end;
	unsigned long index;

	errno = 0;
	index = strtoul(*text, &end, 10);
	if (errno || end == *text || (*end && *end != ',') || index >= plan.count)
		usage(name, "no scenario of that number");
	*text = *end ? end + 1 : end;
	return index;
}

static void choose_only(const char *name, char *list)
{
	memset(plan.chosen, 0, plan.count * sizeof(*plan.chosen));
	while (*list)
		plan.chosen[parse_index(name, &list)] = true;
}

/* Programs that run side by side have a CPU each: number lane of those that this one may use. */
static bool enter_lane(unsigned long lane)
{
	cpu_set_t all, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(all), &all))
		return false;
	lane %= CPU_COUNT(&all);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && !lane--)
			break;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return !sched_setaffinity(0, sizeof(one), &one);
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "only", required_argument, NULL, 'o' },
		{ "start", required_argument, NULL, 's' },
		{ "timeout", required_argument, NULL, 't' },
		{ "lane", required_argument, NULL, 'c' },
		{ "sync", no_argument, NULL, 'y' },
		{ "no-trace", no_argument, NULL, 'n' },
		{ "list", no_argument, NULL, 'l' },
		{},
	};
	unsigned long start = 0;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'o':
			choose_only(argv[0], optarg);
			break;
		case 's':
			start = parse_index(argv[0], &optarg);
			break;
		case 't':
			plan.timeout = strtod(optarg, &end);
			if (*end || !(plan.timeout > 0 && plan.timeout < 1e6))
				usage(argv[0], "--timeout is a number of seconds above 0");
			break;
		case 'c':
			if (!enter_lane(strtoul(optarg, &end, 10)) || *end)
				usage(argv[0], "--lane is a number, and takes a CPU to stay on");
			break;
		case 'y':
			options->sync = true;
			break;
		case 'n':
			options->trace = false;
			break;
		case 'l':
			options->list = true;
			break;
		default:
			usage(argv[0], "bad arguments");
		}
	}
	if (optind != argc)
		usage(argv[0], "bad arguments");
	if (start)
		memset(plan.chosen, 0, start * sizeof(*plan.chosen));
}

int selftest_main(int argc, char **argv, const struct suite *the_suite,
		  const struct scenario *scenarios, unsigned int count)
{
	struct options options = { .trace = true };
	unsigned int i, number = 0;
	bool heard, hears_kernel;
	int ret;

	plan.scenarios = scenarios;
	plan.count = count;
	plan.chosen = malloc(count * sizeof(*plan.chosen) + 1);
	ret = record_init();
	if (!plan.chosen || ret) {
		fprintf(stderr, "%s: no memory\n", argv[0]);
		return 1;
	}
	memset(plan.chosen, true, count * sizeof(*plan.chosen));
	parse(argc, argv, &options);
	if (options.list) {
		for (i = 0; i < count; i++)
			printf("%u %s\n", i, scenarios[i].id);
		return 0;
	}

	suite = the_suite;
	record_set_sync(options.sync);
	catch_signals();
	for (i = 0; i < count; i++)
		number += plan.chosen[i];
	record_text("KTAP version 1\n1..%u", number);
	record_commit();
	print_hello(options.trace);
	hears_kernel = klog_open();
	heard = run_all();
	if (suite->stop)
		suite->stop();
	if (heard && hears_kernel)
		heard = print_bye();
	return heard ? 0 : 1;
}
