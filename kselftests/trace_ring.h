/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trace ring buffer of one CPU in its binary form (trace_pipe_raw): several
 * times cheaper than text, which the kernel formats with symbol lookups.
 */
#ifndef HX_TRACE_RING_H
#define HX_TRACE_RING_H

#include "types.h"

/* One event: its data as the event's "format" file lays it out. */
typedef void (*event_fn)(const char *data, size_t size);

struct trace_field {
	u32 offset;
	u32 size;
};

/* Where a field is in an event, from its "format" file; 0 or -errno. */
int trace_field_find(const char *format_path, const char *name, struct trace_field *field);

/* The number in an event's "id" file; negative: -errno. */
int trace_event_id(const char *id_path);

/* The value of a field, not sign-extended; 0 where the event is too short. */
u64 trace_field_value(const char *data, size_t size, const struct trace_field *field);

/* Opens the buffer of one CPU of a trace instance; 0 or -errno. */
int trace_ring_open(const char *instance, int cpu);
void trace_ring_close(void);

/* Hands over all events there are; false where some were lost. */
bool trace_ring_read(event_fn event);

/* The same from a buffer (trace_pipe_raw) that someone else opened, once one was here. */
bool trace_ring_read_from(int fd, event_fn event);

#endif /* HX_TRACE_RING_H */
