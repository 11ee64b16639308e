/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a scenario leaves behind: one line of JSON per step, and how it ended.
 *
 * The lines are collected in memory that the runner shares with the scenario's
 * child process, so that a child that dies loses none of the steps it finished.
 */
#ifndef HX_RECORD_H
#define HX_RECORD_H

#include <setjmp.h>

#include "types.h"

enum status {
	STATUS_NONE,		/* the child said nothing: it died, or still runs */
	STATUS_DONE,
	STATUS_SKIP,
	STATUS_INFRA,
};

/* Memory shared between the runner and the child that runs scenarios. */
struct shared {
	/* the scenario that runs */
	u32 index;
	u32 steps;		/* steps begun */
	double start;		/* CLOCK_MONOTONIC, seconds */
	enum status status;
	bool full;		/* a line did not fit into the text */
	u64 module_ns;		/* spent in the white-box module, */
	u64 api_ns;		/* and there in the kernel's own functions */
	char detail[512];
	/* all of them */
	u32 beats;		/* scenarios and steps begun */
	u32 number;		/* scenarios closed */
	size_t committed;	/* bytes of text that are whole lines */
	size_t written;		/* bytes of these that were written out */
	char text[];
};

extern struct shared *shared;

/* Allocates the shared memory; 0 or -errno. */
int record_init(void);

/* The next scenario begins: forgets the last one, and text that was written out. */
void record_begin(u32 index);

/* After a scenario ended: drops the line that it left half-written. */
void record_adopt(void);

/*
 * Where scenario_done() and its like lead in a child that runs one scenario after
 * another; NULL: they end the child.
 */
void record_set_end(jmp_buf *to);

/* Writes every line out at once instead of once per scenario. */
void record_set_sync(bool on);
bool record_is_sync(void);

/* Appends text; only lines that were committed are ever written. */
void record_text(const char *fmt, ...) __printf(1, 2);

/* The same without printf(), which costs more than what it writes. */
void record_word(const char *text);
void record_u64(u64 value);
void record_s64(s64 value);

/* A number as text without printf(): where it begins in digits. */
#define DECIMAL_SIZE	21
static inline const char *decimal(u64 value, char digits[DECIMAL_SIZE])
{
	char *at = digits + DECIMAL_SIZE - 1;

	*at = '\0';
	do {
		*--at = '0' + value % 10;
		value /= 10;
	} while (value);
	return at;
}

/* Appends text as a JSON string, quotes included. */
void record_json_string(const char *text);

/* Ends the current line and counts it as whole. */
void record_commit(void);

/*
 * Writes the committed lines that were not yet written to stdout, in one go;
 * false where nobody reads. The runner may do so while the child adds lines.
 */
bool record_flush(void);

/* The same, but only where the last time is long enough ago. */
bool record_flush_due(void);

/* The same in a child that runs many scenarios; for one that runs one, the runner does it. */
void record_stream(void);

/* A step's line: begin, its channels, end. */
void step_begin(void);
void step_key(const char *key);
void step_s64(const char *key, s64 value);
void step_u64(const char *key, u64 value);
void step_null(const char *key);
void step_end(void);

/*
 * The steps of this thread go into a text of their own, {…},{…}, until this is
 * called with NULL. What does not fit ends the scenario.
 */
void record_capture(char *text, size_t size);
bool record_is_captured(void);

/*
 * The scenario goes on from this step: up to the last one that was begun so far,
 * steps are made without a record. Whether the next one is of these.
 */
void record_replay(u32 from);
bool record_is_replay(void);
/* The step that runs is of these. */
bool record_is_muted(void);

/* A sign of life where no step begins for long. */
void record_beat(void);

/* Ends the scenario here, in the child. */
void scenario_done(void) __noreturn;
void scenario_skip(const char *fmt, ...) __printf(1, 2) __noreturn;
void scenario_infra(const char *fmt, ...) __printf(1, 2) __noreturn;

#endif /* HX_RECORD_H */
