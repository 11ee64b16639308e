// SPDX-License-Identifier: GPL-2.0-only
/* Threads that make the branches of a block from a common start line. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "race_team.h"
#include "record.h"

/* Not much longer than a short turn takes: a thread that spins keeps a CPU from the others. */
#define YIELDS_BEFORE_SLEEP	20
#define STACK_SIZE		(256UL << 10)

static struct {
	u32 threads;		/* beside the caller's */
	u32 turn;		/* a futex: the threads wait for its next value */
	u32 born;		/* its value when new threads are made */
	u32 asleep;		/* threads that only a call wakes */
	u32 variation;
	u32 ready;		/* at the start line */
	u32 finished;		/* branches */
	u32 done;		/* threads, those without a branch too */
	struct vm *vm;
	const struct race_block *block;
	char (*text)[BRANCH_TEXT];
	int first_cpu;
} team;

static u32 load(const u32 *number)
{
	return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static void futex(u32 *number, int op, u32 value)
{
	syscall(SYS_futex, number, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Now and then in a loop that waits for another branch: lets it have the CPU. */
static void give_way(u32 spins)
{
	static long cpus;

	if (spins % 64)
		return;
	if (!cpus)
		cpus = sysconf(_SC_NPROCESSORS_ONLN);
	/* More threads than CPUs: among many that only yield, the right one may wait for long. */
	if (team.block->branches > (size_t)cpus)
		usleep(20);
	else
		sched_yield();
}

/* A while that no clock measures: the difference between two branches is what counts. */
static void linger(u32 variation, u32 branch)
{
	u32 x = (variation + 1) * 2654435761u + (branch + 1) * 40503u;
	u32 i;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	/* From nothing at all to longer than a fault takes. */
	x &= (1u << (variation % 8 * 2)) - 1;
	for (i = 0; i < x; i++)
		asm volatile("");
}

/* Some turns have an order: one branch after another, the first or the last one first. */
static bool take_turns(u32 number)
{
	u32 before, spins = 0;

	if (team.variation % 8 == 3)
		before = number;
	else if (team.variation % 8 == 6)
		before = team.block->branches - 1 - number;
	else
		return false;
	while (load(&team.finished) < before)
		give_way(++spins);
	return true;
}

static void run_branch(u32 number)
{
	const struct race_block *block = team.block;
	u32 spins = 0;

	record_capture(team.text[number], BRANCH_TEXT);
	__atomic_add_fetch(&team.ready, 1, __ATOMIC_ACQ_REL);
	while (load(&team.ready) < block->branches)
		give_way(++spins);
	if (block->hold || !take_turns(number))
		linger(team.variation, number);
	block->branch[number](team.vm);
	record_capture(NULL, 0);
	__atomic_add_fetch(&team.finished, 1, __ATOMIC_ACQ_REL);
	__atomic_add_fetch(&team.done, 1, __ATOMIC_ACQ_REL);
}

/* Different CPUs, as far as there are any. */
static void take_cpu(u32 number)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((team.first_cpu + number) % (cpus > 0 ? cpus : 1), &set);
	/* Without it the branches run where the scheduler likes. */
	sched_setaffinity(0, sizeof(set), &set);
}

static void wait_for_turn(u32 seen)
{
	u32 spins;

	for (spins = 0; spins < 64 * YIELDS_BEFORE_SLEEP; spins++) {
		if (load(&team.turn) != seen)
			return;
		if (spins % 64 == 63)
			sched_yield();
	}
	__atomic_add_fetch(&team.asleep, 1, __ATOMIC_SEQ_CST);
	while (load(&team.turn) == seen)
		futex(&team.turn, FUTEX_WAIT, seen);
	__atomic_sub_fetch(&team.asleep, 1, __ATOMIC_SEQ_CST);
}

static void *member(void *argument)
{
	u32 number = (u32)(u64)argument, seen = team.born;

	take_cpu(number);
	for (;;) {
		wait_for_turn(seen);
		seen = load(&team.turn);
		if (number < team.block->branches)
			run_branch(number);
		else
			__atomic_add_fetch(&team.done, 1, __ATOMIC_ACQ_REL);
	}
	return NULL;
}

static void grow(u32 threads)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	while (team.threads < threads) {
		u64 number = ++team.threads;

		error = pthread_create(&thread, &attributes, member, (void *)number);
		if (error)
			scenario_infra("thread of branch %u: %s", team.threads, strerror(error));
	}
	pthread_attr_destroy(&attributes);
}

u32 team_done(void)
{
	return load(&team.finished);
}

void team_run(struct vm *vm, const struct race_block *block, u32 variation,
	      char text[MAX_BRANCHES][BRANCH_TEXT])
{
	u32 spins = 0;

	if (!team.threads)
		team.first_cpu = sched_getcpu() < 0 ? 0 : sched_getcpu();
	team.vm = vm;
	team.block = block;
	team.text = text;
	team.ready = 0;
	team.finished = 0;
	team.done = 0;
	team.variation = variation;
	team.born = team.turn;
	grow(block->branches - 1);
	__atomic_add_fetch(&team.turn, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&team.asleep, __ATOMIC_SEQ_CST))
		futex(&team.turn, FUTEX_WAKE, MAX_BRANCHES);
	run_branch(0);
	while (load(&team.done) < team.threads + 1)
		give_way(++spins);
}
