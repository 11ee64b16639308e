// SPDX-License-Identifier: GPL-2.0-only
/* The suite of scenarios that drive guests through /dev/kvm. */
#include "guest.h"
#include "trace.h"

const struct suite guest_suite = {
	.name = "guest",
	.start = trace_start,
	.stop = trace_stop,
};
