/* SPDX-License-Identifier: GPL-2.0-only */
/* The module's device, and running programs on it. */
#ifndef ABUSE_H
#define ABUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "module/hx_pgtable.h"

#define MAX_RESULT	(8 << 20)

extern struct hx_info info;
extern int device;
extern char *result;		/* of the last run */
extern struct hx_run last;

struct text {
	struct hx_program program;
	struct hx_op ops[64];
};

struct text text(unsigned int count, const struct hx_op *ops);

#define PROGRAM(...)	\
	text(sizeof((struct hx_op[]){ __VA_ARGS__ }) / sizeof(struct hx_op), \
	     (struct hx_op[]){ __VA_ARGS__ })

#define MAP(...)	{ .code = HX_OP_MAP, .prot = HX_PROT_R, __VA_ARGS__ }

/* Says why a check failed; false. */
bool no(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t page(void);

/* 0 or -errno; into a buffer of room bytes. */
int run_raw(const void *program, uint64_t size, uint64_t room);
int run(const struct text *text);
const struct hx_step *step(unsigned int number);

/* The device still does as it should. */
bool works(void);

/* The child ended well. */
bool child_ok(pid_t pid, const char *what);

/* abuse_load.c: what is right and large, many callers, and dying ones. */
bool gigabyte_of_pages(void);
bool more_than_the_limit(void);
bool nothing_stays_behind(void);
bool many_at_once(void);
bool others_wait(void);
bool killed(void);

/* abuse_live.c: running VMs. */
bool live_leaves(void);
bool live_age(void);

#endif /* ABUSE_H */
