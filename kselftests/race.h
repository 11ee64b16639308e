/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Blocks of a scenario in which several threads make steps at once, again and
 * again from the same state:
 *
 *	slot_add(vm, 1, 0x80000000, SZ_64K, BACKING_ANON | PREFILL, LOG_DIRTY);
 *	while (race_again(vm, 200, .from = 1, .pages = PAGES(0x80003000))) {
 *		guest_read(vm, 0, 0x80003000, 8);
 *		parallel(vm, BRANCHES(one, other), WORDS(0x80003000));
 *	}
 *	dirty_get(vm, 1);
 *
 * Each turn of the loop begins as the steps before step .from left the VM: slots
 * as they were, none of .pages mapped, nothing dirty. Without .pages the slots go,
 * and all steps are made again. The steps in front of the block write their records
 * the first time only; the block writes its own, how often each outcome was seen,
 * when the last turn is done. The steps behind the loop go on from what the last
 * turn left.
 */
#ifndef HX_RACE_H
#define HX_RACE_H

#include "guest.h"

extern const struct suite race_suite;

/* The steps of one branch, in their order. */
typedef void (*branch_fn)(struct vm *vm);

struct race_block {
	size_t branches;
	const branch_fn *branch;
	const struct page_list *words;	/* read when all branches are done, 8 bytes each */
	const struct page_list *hold;	/* pages whose faults wait for the other branches */
	bool unprotect;		/* a branch calls mprotect: words may be out of reach */
	bool goes_on;			/* steps follow: the last turn's state stays untouched */
};

#define BRANCHES(...)							\
	.branches = sizeof((branch_fn[]){ __VA_ARGS__ }) / sizeof(branch_fn),	\
	.branch = (const branch_fn[]){ __VA_ARGS__ }
#define WORDS(...)	.words = PAGES(__VA_ARGS__)
#define HOLD(...)	.hold = PAGES(__VA_ARGS__)
#define UNPROTECT	.unprotect = true
#define GOES_ON		.goes_on = true

/* The scenario's VM, as vm_create() makes it. */
struct vm *race_vm(struct vm_config config);

struct race_loop {
	u32 times;
	u32 from;		/* the first step inside of the loop */
	const struct page_list *pages;	/* addresses of the pages that its steps touch */
};

/* Whether the steps up to the block are to be made once more. */
#define race_again(vm, times_, ...) \
	race_turn(vm, (struct race_loop){ .times = times_, ##__VA_ARGS__ })
bool race_turn(struct vm *vm, struct race_loop wanted);

/* The block: a step of the scenario, in the last turn of its loop. */
#define parallel(vm, ...)	race_run(vm, (struct race_block){ __VA_ARGS__ })
void race_run(struct vm *vm, struct race_block block);

#endif /* HX_RACE_H */
