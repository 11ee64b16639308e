// SPDX-License-Identifier: GPL-2.0-only
/*
 * 1 scenario of suite guest.
 *
 * Beside each step: its number, and what the model allows under profile v6.12.
 *
 * Build, in kselftests: aarch64-linux-gnu-gcc -static -I. -o FILE FILE.c *.c *.S
 */
#include "guest.h"

/* dirty-after-clear: a page written after the dirty log was read is reported again */
static void test_dirty_after_clear(void)
{
	struct vm *vm = vm_create((struct vm_config){ .vcpus = 1, .ipa_bits = 40 });

	slot_add(vm, 1, 0x80000000, SZ_2M, BACKING_ANON | PREFILL, LOG_DIRTY);	/* 0: ret 0 */
	guest_write(vm, 0, 0x80003000, 8, 0x11);	/* 1: ret 0, 1 fault, map 4K */
	dirty_get(vm, 1);				/* 2: ret 0, dirty { 0-3, 7 } */
	guest_read(vm, 0, 0x80003000, 8);		/* 3: ret 0, data 0x11 or ret -EFAULT */
	/* 4: ret 0, data 0x5a5a, MMIO read, 1 fault */
	guest_read(vm, 0, 0x90000000, 8);
	guest_exec(vm, 0, 0x90000000);			/* 5: ret 0, guest takes iabt fsc 0x10 */
	guest_write(vm, 0, 0x80003000, 8, 0x12);	/* 6: ret 0, 2 faults, relax -EAGAIN */
}

static const struct scenario scenarios[] = {
	{ "dirty-after-clear", test_dirty_after_clear },
};

int main(int argc, char **argv)
{
	return selftest_main(argc, argv, &guest_suite, scenarios, ARRAY_SIZE(scenarios));
}
