// SPDX-License-Identifier: GPL-2.0-only
/* The suite of scenarios that drive guests through /dev/kvm. */
#include "damon.h"
#include "guest.h"
#include "keeper.h"
#include "live.h"
#include "stats.h"
#include "trace.h"
#include "vm.h"

static bool start(bool trace, missing_fn missing)
{
	damon_stop();
	keeper_start();
	live_start(missing);
	stats_start(missing);
	return trace_start(trace, missing);
}

static void stop(void)
{
	trace_stop();
	live_stop();
	damon_resume();
}

const struct suite guest_suite = {
	.name = "guest",
	.share_child = true,
	.after = vm_end,
	.start = start,
	.stop = stop,
};
