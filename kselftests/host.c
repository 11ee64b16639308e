// SPDX-License-Identifier: GPL-2.0-only
/* The host's own accesses to the memory behind a guest address. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "record.h"
#include "vm.h"

/* Stage-1 descriptors: 4K granule, identity map, EL1 read-write-execute. */
#define TABLE_DESC	3UL		/* valid, a table */
#define BLOCK_DESC	0x0040000000000301UL	/* valid, normal, inner shareable, UXN */
#define DESC_AF		(1UL << 10)
#define TABLE_ENTRIES	512

static __thread sigjmp_buf fault_taken;

char *host_address(struct vm *vm, u64 gpa, u64 size)
{
	struct slot *slot = slot_at(vm, gpa, size);

	if (!slot)
		scenario_infra("no slot holds all of %#llx +%#llx", (unsigned long long)gpa,
			       (unsigned long long)size);
	return slot->memory.slot + (gpa - slot->gpa);
}

char *host_mapping(struct vm *vm, u64 gpa, u64 size)
{
	struct slot *slot = slot_at(vm, gpa, size);

	if (slot)
		slot->memory.pristine = false;
	return host_address(vm, gpa, size);
}

static void on_fault(int signal)
{
	siglongjmp(fault_taken, signal);
}

/* Loads or stores data; -EFAULT where that raises SIGSEGV or SIGBUS. */
static int access_memory(char *address, u32 size, u64 *data, bool write)
{
	struct sigaction action = { .sa_handler = on_fault }, segv, bus;
	volatile int ret = 0;

	sigaction(SIGSEGV, &action, &segv);
	sigaction(SIGBUS, &action, &bus);
	if (sigsetjmp(fault_taken, 1)) {
		ret = -EFAULT;
	} else if (write) {
		switch (size) {
		case 1:
			*(volatile u8 *)address = *data;
			break;
		case 2:
			*(volatile u16 *)address = *data;
			break;
		case 4:
			*(volatile u32 *)address = *data;
			break;
		default:
			*(volatile u64 *)address = *data;
		}
	} else {
		switch (size) {
		case 1:
			*data = *(volatile u8 *)address;
			break;
		case 2:
			*data = *(volatile u16 *)address;
			break;
		case 4:
			*data = *(volatile u32 *)address;
			break;
		default:
			*data = *(volatile u64 *)address;
		}
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return ret;
}

static char *accessed(struct vm *vm, u64 gpa, u32 size)
{
	if (size != 1 && size != 2 && size != 4 && size != 8)
		scenario_infra("there is no access of %u bytes", size);
	return host_address(vm, gpa, size);
}

void host_read(struct vm *vm, u64 gpa, u32 size)
{
	u64 data = 0;
	int ret;

	step_begin();
	ret = access_memory(accessed(vm, gpa, size), size, &data, false);
	step_s64("ret", ret);
	if (ret)
		step_null("data");
	else
		step_u64("data", data);
	step_finish(vm);
}

void host_write(struct vm *vm, u64 gpa, u32 size, u64 value)
{
	char *address = accessed(vm, gpa, size);
	int ret;

	step_begin();
	ret = access_memory(address, size, &value, true);
	/* The page is there now: the guest may execute what was written, but from a device. */
	if (!ret && slot_at(vm, gpa, size)->memory.kind != BACKING_DEVICE)
		memory_clean(address, size);
	step_s64("ret", ret);
	step_finish(vm);
}

void stage1_tables(struct vm *vm, u64 gpa, bool af)
{
	u64 *level0 = (u64 *)host_address(vm, gpa, 2 * SZ_4K);
	u64 *level1 = level0 + TABLE_ENTRIES;
	u64 i;

	step_begin();
	memset(level0, 0, SZ_4K);
	level0[0] = (gpa + SZ_4K) | TABLE_DESC;
	for (i = 0; i < TABLE_ENTRIES; i++)
		level1[i] = i * SZ_1G | BLOCK_DESC | (af ? DESC_AF : 0);
	asm volatile("dsb ish" : : : "memory");
	if (!af)
		vm->walks_without_af = gpa + 1;
	else if (vm->walks_without_af == gpa + 1)
		vm->walks_without_af = 0;
	step_s64("ret", 0);
	step_finish(vm);
}
