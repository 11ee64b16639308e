// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's own stage-1 tables: 4K granule, the identity, EL1 read-write-execute.
 *
 * A VM begins with one table of level 1 for the first 32G, small enough to stand in
 * the page of the mailboxes. The first address beyond makes it level 0 and level 1s of
 * 512 entries each.
 */
#include <string.h>

#include "record.h"
#include "stage1.h"

#define DESC_VALID		(1UL << 0)
#define DESC_TABLE		(1UL << 1)
#define DESC_ATTR_NORMAL	(0UL << 2)	/* MAIR_EL1.Attr0 */
#define DESC_SH_INNER		(3UL << 8)
#define DESC_AF			(1UL << 10)
#define DESC_UXN		(1UL << 54)

#define BLOCK_SHIFT		30		/* of a block at level 1 */
#define TABLE_SHIFT		39		/* of a table at level 1 */
#define TABLE_ENTRIES		512
#define SMALL_VA_BITS		35
#define SMALL_ENTRIES		(1UL << (SMALL_VA_BITS - BLOCK_SHIFT))
#define LARGE_VA_BITS		48
#define MAX_TABLES		((RUNTIME_CODE + RUNTIME_SIZE - RUNTIME_TABLES) / SZ_4K)

_Static_assert(RUNTIME_TABLE % (SMALL_ENTRIES * 8) == 0 &&
	       RUNTIME_MAILBOXES + MAX_VCPUS * MAILBOX_SIZE <= RUNTIME_TABLE &&
	       RUNTIME_TABLE + SMALL_ENTRIES * 8 <= RUNTIME_TABLES,
	       "TTBR0_EL1 needs a table that is aligned to its size, behind the mailboxes");

u64 stage1_base(const struct vm *vm)
{
	return vm->tables ? RUNTIME_TABLES : RUNTIME_TABLE;
}

u64 stage1_t0sz(const struct vm *vm)
{
	return 64 - (vm->tables ? LARGE_VA_BITS : SMALL_VA_BITS);
}

static u64 *table_at(struct vm *vm, u64 gpa)
{
	return (u64 *)runtime_memory(vm, gpa);
}

static u64 new_table(struct vm *vm)
{
	u64 table = RUNTIME_TABLES + SZ_4K * vm->tables;

	if (vm->tables == MAX_TABLES)
		scenario_infra("no room for another stage-1 table");
	vm->tables++;
	memset(table_at(vm, table), 0, SZ_4K);
	return table;
}

/* The level-1 table for this address. */
static u64 *level1_of(struct vm *vm, u64 gpa)
{
	u64 *entry;

	if (!vm->tables)
		return table_at(vm, RUNTIME_TABLE);
	entry = table_at(vm, RUNTIME_TABLES) + (gpa >> TABLE_SHIFT) % TABLE_ENTRIES;
	if (!*entry)
		*entry = new_table(vm) | DESC_VALID | DESC_TABLE;
	return table_at(vm, *entry & ~(SZ_4K - 1));
}

/* What the small table maps is mapped alike by the large ones. */
static void grow(struct vm *vm)
{
	u32 i;

	new_table(vm);
	memcpy(level1_of(vm, 0), table_at(vm, RUNTIME_TABLE), SMALL_ENTRIES * sizeof(u64));
	for (i = 0; i < vm->vcpus; i++)
		vcpu_new_tables(vm, i);
}

void stage1_begin(struct vm *vm)
{
	vm->tables = 0;
	memset(table_at(vm, RUNTIME_TABLE), 0, SMALL_ENTRIES * sizeof(u64));
	stage1_cover(vm, RUNTIME_CODE);
}

void stage1_cover(struct vm *vm, u64 gpa)
{
	u64 *entry;

	if (!vm->tables && gpa >> SMALL_VA_BITS)
		grow(vm);
	entry = level1_of(vm, gpa) + (gpa >> BLOCK_SHIFT) % TABLE_ENTRIES;
	if (*entry)
		return;
	*entry = (gpa & ~(SZ_1G - 1)) | DESC_VALID | DESC_ATTR_NORMAL | DESC_SH_INNER | DESC_AF |
		 DESC_UXN;
	/* An invalid entry is in no TLB; the walker only has to see the new one. */
	asm volatile("dsb ish" : : : "memory");
}
