// SPDX-License-Identifier: GPL-2.0-only
/*
 * 1 scenario of suite guest.
 *
 * Build, in kselftests: aarch64-linux-gnu-gcc -static -I. -o FILE FILE.c *.c *.S
 */
#include "guest.h"

/* every-op: each operation of the suite, with and without what may be left out */
static void test_every_op(void)
{
	struct vm *vm = vm_create((struct vm_config){
		.vcpus = 2,
		.ipa_bits = 36,
		.manual_protect = INIT_SET,
	});

	slot_add(vm, 1, 0x80000000, SZ_2M, BACKING_ANON, 0);	/* 0 */
	/* 1 */
	slot_add(vm, 2, 0x90000000, 0x3000, BACKING_ANON | PREFILL, LOG_DIRTY | READONLY);
	guest_read(vm, 0, 0x80000000, 8);		/* 2 */
	guest_read(vm, 1, 0x80000002, 2);		/* 3 */
	guest_write(vm, 0, 0x80000008, 8, 0x1122334455667788);	/* 4 */
	guest_write(vm, 1, 0x80000001, 1, 0x0);		/* 5 */
	guest_exec(vm, 1, 0x90001000);			/* 6 */
	slot_flags(vm, 1, LOG_DIRTY);			/* 7 */
	slot_flags(vm, 1, 0);				/* 8 */
	slot_move(vm, 1, 0xa0000000);			/* 9 */
	dirty_get(vm, 1);				/* 10 */
	dirty_clear(vm, 1, 0, TO_SLOT_END, ALL_PAGES);	/* 11 */
	dirty_clear(vm, 1, 64, 64, PAGES(64, 65));	/* 12 */
	dirty_clear(vm, 1, 0, 0x1000, PAGES());		/* 13 */
	/* 14 */
	dirty_clear(vm, 1, 0, TO_SLOT_END, PAGES(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,
		29, 31, 33, 35, 37, 39, 41));
	host_read(vm, 0xa0000000, 4);			/* 15 */
	host_write(vm, 0xa0000000, 4, 0xd65f03c0);	/* 16 */
	host_madvise(vm, 0xa0000000, SZ_64K, DONTNEED);	/* 17 */
	slot_delete(vm, 1);				/* 18 */
}

static const struct scenario scenarios[] = {
	{ "every-op", test_every_op },
};

int main(int argc, char **argv)
{
	return selftest_main(argc, argv, &guest_suite, scenarios, ARRAY_SIZE(scenarios));
}
