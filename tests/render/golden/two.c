// SPDX-License-Identifier: GPL-2.0-only
/*
 * 2 scenarios of suite guest.
 *
 * Build, in kselftests: aarch64-linux-gnu-gcc -static -I. -o FILE FILE.c *.c *.S
 */
#include "guest.h"

/*
 * hole-read: what a load from nowhere returns; * / int main; / * stays a comment, and so does a
 * title that goes on and on past the end of any line that a person would like to read
 */
static void test_hole_read(void)
{
	struct vm *vm = vm_create((struct vm_config){ .vcpus = 1, .ipa_bits = 40 });

	guest_read(vm, 0, 0x80000000, 8);		/* 0 */
}

/* 9.lives */
static void test_9_lives(void)
{
	struct vm *vm = vm_create((struct vm_config){ .vcpus = 1, .ipa_bits = 40 });

	slot_delete(vm, 3);				/* 0 */
}

static const struct scenario scenarios[] = {
	{ "hole-read", test_hole_read },
	{ "9.lives", test_9_lives },
};

int main(int argc, char **argv)
{
	return selftest_main(argc, argv, &guest_suite, scenarios, ARRAY_SIZE(scenarios));
}
