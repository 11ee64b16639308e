// SPDX-License-Identifier: GPL-2.0-only
/*
 * 2 scenarios of suite guest.
 *
 * Build, in kselftests: aarch64-linux-gnu-gcc -static -I. -o FILE FILE.c *.c *.S
 */
#include "guest.h"

/* memory: kinds of backing memory, and what the host does to it */
static void test_memory(void)
{
	struct vm *vm = vm_create((struct vm_config){
		.vcpus = 2,
		.ipa_bits = 40,
		.dirty_ring = 512,
		.ring_bitmap = true,
		.eager_split = SZ_2M,
		.nisv_to_user = true,
		.stage1_off = true,
	});

	slot_add(vm, 1, 0x80000000, SZ_2M, BACKING_ANON | THP_MADVISE | PREFILL, 0);	/* 0 */
	/* 1 */
	slot_add(vm, 2, 0x90001000, 0x400000, BACKING_ANON | THP_ALWAYS, 0, .offset = SZ_4K);
	/* 2 */
	slot_add(vm, 3, 0xa0000000, SZ_2M, BACKING_HUGETLB | PREFILL, LOG_DIRTY,
		.page_size = SZ_2M);
	slot_add(vm, 4, 0xb0000000, SZ_64K, BACKING_MEMFD, 0);	/* 3 */
	slot_add(vm, 5, 0xb0100000, SZ_64K, BACKING_SHMEM, 0);	/* 4 */
	slot_add(vm, 6, 0xb0200000, SZ_64K, BACKING_ZERO, 0);	/* 5 */
	slot_add(vm, 7, 0xb0300000, SZ_64K, BACKING_FILE_RO, READONLY);	/* 6 */
	ring_reset(vm, ALL_ENTRIES);			/* 7 */
	ring_reset(vm, 2);				/* 8 */
	host_madvise(vm, 0x80000000, SZ_64K, PAGEOUT);	/* 9 */
	host_madvise(vm, 0x80000000, SZ_2M, COLLAPSE);	/* 10 */
	host_mprotect(vm, 0x80000000, SZ_4K, PROT_OF_NONE);	/* 11 */
	host_remap(vm, 0x80000000, SZ_4K);		/* 12 */
	host_unmap(vm, 0x80000000, SZ_4K);		/* 13 */
	host_age(vm, 0x80010000, SZ_4K);		/* 14 */
	punch_hole(vm, 0xb0000000, SZ_4K);		/* 15 */
	fork_touch(vm, 0x80010000, 0x2000);		/* 16 */
	uffd_register(vm, 0xb0100000, SZ_64K, UFFD_MISSING | UFFD_WP);	/* 17 */
	uffd_copy(vm, 0xb0100000, SZ_4K, 0x42);		/* 18 */
	uffd_zero(vm, 0xb0101000, SZ_4K);		/* 19 */
	uffd_continue(vm, 0xb0102000, SZ_4K);		/* 20 */
	uffd_protect(vm, 0xb0100000, SZ_4K);		/* 21 */
	uffd_unprotect(vm, 0xb0100000, SZ_4K);		/* 22 */
}

/* accesses: every way in which the guest gets at memory */
static void test_accesses(void)
{
	struct vm *vm = vm_create((struct vm_config){ .vcpus = 1, .ipa_bits = 40 });

	slot_add(vm, 1, 0x80000000, SZ_64K, BACKING_ANON | PREFILL, 0);	/* 0 */
	guest_read(vm, 0, 0x80003000, 8, .form = PAIR);	/* 1 */
	guest_read(vm, 0, 0x80003001, 2, .form = WRITEBACK);	/* 2 */
	guest_write(vm, 0, 0x80003000, 1, 0x11, .form = SIMD);	/* 3 */
	guest_cas(vm, 0, 0x80003000, 8, 0x11, 0x12);	/* 4 */
	guest_dc_zva(vm, 0, 0x80004000, 512);		/* 5 */
	guest_dc_civac(vm, 0, 0x80004000);		/* 6 */
	stage1_tables(vm, 0x80008000, WITH_AF);		/* 7 */
	stage1_tables(vm, 0x8000a000, WITHOUT_AF);	/* 8 */
	guest_read(vm, 0, 0x80003000, 8, TABLES(0x80008000));	/* 9 */
	guest_write(vm, 0, 0x80003000, 8, 0x1, .form = PAIR, TABLES(0x8000a000));	/* 10 */
	guest_exec(vm, 0, 0x80005000, TABLES(0x80008000));	/* 11 */
	guest_at_read(vm, 0, 0x80005000);		/* 12 */
	guest_at_write(vm, 0, 0x80005000, TABLES(0x80008000));	/* 13 */
}

static const struct scenario scenarios[] = {
	{ "memory", test_memory },
	{ "accesses", test_accesses },
};

int main(int argc, char **argv)
{
	return selftest_main(argc, argv, &guest_suite, scenarios, ARRAY_SIZE(scenarios));
}
