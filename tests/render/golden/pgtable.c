// SPDX-License-Identifier: GPL-2.0-only
/*
 * 2 scenarios of suite pgtable.
 *
 * Build, in kselftests: aarch64-linux-gnu-gcc -static -I. -o FILE FILE.c *.c *.S
 */
#include "pgtable.h"

/* every-op: each operation once, with and without what may be left out */
static void test_every_op(void)
{
	static const struct table table = {
		.granule = SZ_4K, .ipa_bits = 40, .memcache = CACHE(64),
	};
	static const struct step steps[] = {
		map(0x80002000, SZ_4K, 0x42000, RW),	/* 0 */
		/* 1 */
		map(0x80000000, SZ_16K, 0x40000, RWX, .sw = 0x5, .flags = HANDLE_FAULT | SHARED,
			.memcache = CACHE(2)),
		map(0x40000000, SZ_1G, 0x80000000, RW | DEVICE, .memcache = NO_CACHE),	/* 2 */
		map(0x0, 0x1234, 0x1, NO_ACCESS | NC),	/* 3 */
		unmap(0x80002000, SZ_2M),		/* 4 */
		wrprotect(0x0, SZ_512M),		/* 5 */
		relax_perms(0x80000000, X, .flags = IGNORE_EAGAIN),	/* 6 */
		mkyoung(0x80000000, 0),			/* 7 */
		mkold(0x80000000, SZ_64K),		/* 8 */
		is_young(0x80000000, 12),		/* 9 */
		flush(0x0, SZ_32M),			/* 10 */
		annotate(0x1000, SZ_4K, 1),		/* 11 */
		split(0x40000000, SZ_1G, .memcache = CACHE(513)),	/* 12 */
		split(0x40000000, SZ_1G),		/* 13 */
		get_leaf(0x80000000),			/* 14 */
		destroy(),				/* 15 */
	};

	run(&table, steps, ARRAY_SIZE(steps));
}

/* no-cache */
static void test_no_cache(void)
{
	static const struct table table = { .ipa_bits = 40, .memcache = NO_CACHE };
	static const struct step steps[] = {
		map(0xffffffffffffe000, SZ_4K, 0xfffffffffffff000, NO_ACCESS),	/* 0 */
	};

	run(&table, steps, ARRAY_SIZE(steps));
}

static const struct scenario scenarios[] = {
	{ "every-op", test_every_op },
	{ "no-cache", test_no_cache },
};

int main(int argc, char **argv)
{
	return selftest_main(argc, argv, &pgtable_suite, scenarios, ARRAY_SIZE(scenarios));
}
