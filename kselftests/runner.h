/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs the scenarios of a selftest, each in a child process with a time limit,
 * and prints KTAP with one machine-readable record per step in between.
 */
#ifndef HX_RUNNER_H
#define HX_RUNNER_H

#include "types.h"

struct scenario {
	const char *id;
	void (*run)(void);
};

/* Called for each channel that this machine does not have. */
typedef void (*missing_fn)(const char *channel, const char *reason);

/*
 * What all scenarios of a family share. start() may be NULL, is called once
 * before the first scenario and returns whether kernel events can be traced;
 * stop() undoes it. stop() runs in signal handlers: system calls only.
 *
 * With share_child, one child runs scenario after scenario for as long as it
 * lives: for suites that leave nothing behind in their process, and run in one
 * thread. Else each has a child of its own. after(), which may be NULL, clears up
 * behind each scenario of a shared child.
 */
struct suite {
	const char *name;
	bool share_child;
	void (*after)(void);
	bool (*start)(bool trace, missing_fn missing);
	void (*stop)(void);
};

/* The main() of every selftest; returns the exit status. */
int selftest_main(int argc, char **argv, const struct suite *suite,
		  const struct scenario *scenarios, unsigned int count);

#endif /* HX_RUNNER_H */
