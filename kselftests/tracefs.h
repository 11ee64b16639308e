/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A trace instance and kprobe events of this selftest's own.
 *
 * Both carry the runner's pid in their names: two selftests do not meet, and
 * what a killed one left behind is told from what is in use, and removed.
 */
#ifndef HX_TRACEFS_H
#define HX_TRACEFS_H

#include "types.h"

/*
 * Makes the instance, in which events of this process and of its children are
 * seen. Returns 0 or -errno, with what failed in *what.
 */
int tracefs_start(const char **what);

/* Removes all that was made, probes included; system calls only. */
void tracefs_stop(void);

/* The instance's folder. */
const char *tracefs_instance(void);

/* The folder of this selftest's own probe events, below the instance's events/. */
const char *tracefs_group(void);

/* Writes text to a file of the instance; 0 or -errno. */
int tracefs_write(const char *file, const char *text);

/* Makes a probe event; kind is 'p' (entry) or 'r' (return). 0 or -errno. */
int tracefs_add_probe(char kind, const char *event, const char *symbol, const char *args);

#endif /* HX_TRACEFS_H */
