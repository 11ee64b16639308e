// SPDX-License-Identifier: GPL-2.0-only
/*
 * A batch program for the tests of harness/execute: it speaks the record
 * protocol, and what each "scenario" does is named by BEHAVIOURS, a list of
 * string literals given when it is compiled. Each scenario has three steps;
 * the behaviour comes in step 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const behaviours[] = { BEHAVIOURS };
#define COUNT ((int)(sizeof(behaviours) / sizeof(behaviours[0])))

static char buffer[1 << 16];
static size_t held;
static bool sync_lines;

static void flush(void)
{
	size_t at = 0;

	while (at < held) {
		ssize_t n = write(1, buffer + at, held - at);

		if (n <= 0)
			_exit(1);
		at += n;
	}
	held = 0;
}

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	held += vsnprintf(buffer + held, sizeof(buffer) - held, format, args);
	va_end(args);
	if (sync_lines)
		flush();
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		say("# cannot write %s\n", path);
	if (fd >= 0)
		close(fd);
}

/* The lines of a WARN as the kernel prints them, through its log. */
static void warn(int n)
{
	char text[160];

	put("/dev/kmsg", "<4>------------[ cut here ]------------");
	snprintf(text, sizeof(text),
		 "<4>WARNING: CPU: 0 PID: %d at arch/arm64/kvm/mmu.c:%d user_mem_abort+0x4/0x8",
		 getpid(), n);
	put("/dev/kmsg", text);
	put("/dev/kmsg", "<4>Call trace:");
	put("/dev/kmsg", "<4> user_mem_abort+0x4/0x8");
	put("/dev/kmsg", "<4>---[ end trace 0000000000000000 ]---");
}

/* Nothing of user space runs any more; the kernel does. */
static void starve(void)
{
	struct sched_param max = { .sched_priority = 99 };
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	put("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	/* since 6.12 what is left to others is set here */
	for (long cpu = 0; cpu < cpus; cpu++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/kernel/debug/sched/fair_server/cpu%ld/runtime",
			 cpu);
		if (!access(path, W_OK))
			put(path, "0");
	}
	for (long cpu = 1; cpu <= cpus; cpu++) {
		cpu_set_t one;

		if (cpu < cpus && fork() > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu % cpus, &one);
		sched_setaffinity(0, sizeof(one), &one);
		sched_setscheduler(0, SCHED_FIFO, &max);
		for (;;)
			;
	}
}

static void behave(const char *what)
{
	if (!strcmp(what, "panic"))
		put("/proc/sysrq-trigger", "c");
	else if (!strcmp(what, "reset"))
		put("/proc/sysrq-trigger", "b");
	else if (!strcmp(what, "off"))
		put("/proc/sysrq-trigger", "o");
	else if (!strcmp(what, "warn"))
		warn(312);
	else if (!strcmp(what, "starve"))
		starve();
	else if (!strcmp(what, "hang"))
		for (;;)
			pause();
	else if (!strcmp(what, "slow"))
		sleep(2);
	else if (!strcmp(what, "exit"))
		exit(7);
	else if (!strcmp(what, "killed"))
		raise(SIGKILL);
	else if (!strcmp(what, "sshd"))
		put("/proc/self/comm", "x"), system("killall dropbear");
	else if (!strcmp(what, "garbage"))
		say("# step {\"n\":1,\"ret\":\n\001\377 not a record\n");
	else if (!strcmp(what, "noise"))
		say("hello from a scenario\n");
}

static void scenario(int index)
{
	say("# start %d %d-%s\n", index, index, behaviours[index]);
	flush();
	for (int n = 0; n < 3; n++) {
		if (n == 1) {
			/* What is lost with a kernel that dies is lost here too. */
			behave(behaviours[index]);
		}
		say("# step {\"n\":%d,\"ret\":%d}\n", n, -n);
	}
	if (!strcmp(behaviours[index], "skip"))
		say("# end {\"status\":\"skip\",\"us\":5,\"detail\":\"not here\"}\nok %d %d-skip # SKIP not here\n",
		    index + 1, index);
	else
		say("# end {\"status\":\"done\",\"us\":123}\nok %d %d-%s\n",
		    index + 1, index, behaviours[index]);
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	int start = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--only") && i + 1 < argc)
			only = argv[++i];
		else if (!strcmp(argv[i], "--start") && i + 1 < argc)
			start = atoi(argv[++i]);
		else if ((!strcmp(argv[i], "--timeout") || !strcmp(argv[i], "--lane")) &&
			 i + 1 < argc)
			i++;
		else if (!strcmp(argv[i], "--sync"))
			sync_lines = true;
	}
	say("KTAP version 1\n1..%d\n# hello {\"protocol\":1,\"release\":\"test\",\"trace\":false}\n",
	    COUNT);
	for (int i = start; i < COUNT; i++) {
		bool wanted = !only;

		for (const char *at = only; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
			wanted = wanted || atoi(at) == i;
		if (wanted)
			scenario(i);
	}
	flush();
	return 0;
}
