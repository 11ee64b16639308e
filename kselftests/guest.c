// SPDX-License-Identifier: GPL-2.0-only
/* The suite of scenarios that drive guests through /dev/kvm. */
#include "guest.h"
#include "live.h"
#include "trace.h"

static bool start(bool trace, missing_fn missing)
{
	live_start(missing);
	return trace_start(trace, missing);
}

static void stop(void)
{
	trace_stop();
	live_stop();
}

const struct suite guest_suite = {
	.name = "guest",
	.start = start,
	.stop = stop,
};
