/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters of KVM's own (KVM_GET_STATS_FD, since 5.14), as what a step added to them. */
#ifndef HX_STATS_H
#define HX_STATS_H

#include "runner.h"

struct vm;

/* Learns where the counters are; tells missing() the channel stats where there are none. */
void stats_start(missing_fn missing);

/* A scenario begins: the last one may have ended within a step. */
void stats_forget(void);

/* A vCPU ran: its step's record has the exits for MMIO, but that of the doorbell. */
void stats_of_vcpu(struct vm *vm, u32 index, bool rang);

/* An ioctl or system call follows: its step's record has the flushes of TLBs it asked for. */
void stats_before_host(struct vm *vm);

/* Adds the step's channel to its record, where one of the above was called in it. */
void stats_record(struct vm *vm);

#endif /* HX_STATS_H */
