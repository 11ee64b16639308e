/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM's fault path did during a step, from tracefs: guest faults, and the
 * calls of the page-table API and of the dirty log that they led to.
 */
#ifndef HX_TRACE_H
#define HX_TRACE_H

#include "runner.h"

/*
 * Sets up a private trace instance; tells missing() the channels that this
 * kernel does not offer. Returns whether at least one can be read.
 */
bool trace_start(bool wanted, missing_fn missing);

/* Removes it, and the probes; system calls only. */
void trace_stop(void);

/* A VM was made: forgets what happened before. */
void trace_begin(void);

/* A vCPU runs in this step: its start, at least, must be seen in the trace. */
void trace_expect_guest(void);

/* This step may ask for flushes of TLB entries: its record has those of ranges. */
void trace_expect_flushes(void);

/* Adds what happened since the last step to the record: faults, maps, marks and flushes. */
void trace_record(void);

#endif /* HX_TRACE_H */
