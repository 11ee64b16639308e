// SPDX-License-Identifier: GPL-2.0-only
/* The host's own accesses to the memory behind a guest address. */
#include <errno.h>
#include <sys/mman.h>

#include "record.h"
#include "trace.h"
#include "vm.h"

static void *host_address(struct vm *vm, u64 gpa, u64 size)
{
	struct slot *slot = slot_at(vm, gpa, size);

	if (!slot)
		scenario_infra("no slot holds all of %#llx +%#llx", (unsigned long long)gpa,
			       (unsigned long long)size);
	return (char *)slot->memory + (gpa - slot->gpa);
}

void host_read(struct vm *vm, u64 gpa, u32 size)
{
	const volatile void *address;
	u64 data = 0;

	step_begin();
	address = host_address(vm, gpa, size);
	switch (size) {
	case 1:
		data = *(const volatile u8 *)address;
		break;
	case 2:
		data = *(const volatile u16 *)address;
		break;
	case 4:
		data = *(const volatile u32 *)address;
		break;
	case 8:
		data = *(const volatile u64 *)address;
		break;
	default:
		scenario_infra("there is no access of %u bytes", size);
	}
	step_s64("ret", 0);
	step_u64("data", data);
	trace_record();
	step_end();
}

void host_write(struct vm *vm, u64 gpa, u32 size, u64 value)
{
	char *address;

	step_begin();
	address = host_address(vm, gpa, size);
	switch (size) {
	case 1:
		*(volatile u8 *)address = value;
		break;
	case 2:
		*(volatile u16 *)address = value;
		break;
	case 4:
		*(volatile u32 *)address = value;
		break;
	case 8:
		*(volatile u64 *)address = value;
		break;
	default:
		scenario_infra("there is no access of %u bytes", size);
	}
	/* The page is there now: the guest may execute what was written. */
	if (vm->clean_stores)
		__builtin___clear_cache(address, address + size);
	step_s64("ret", 0);
	trace_record();
	step_end();
}

void host_madvise(struct vm *vm, u64 gpa, u64 size, enum advice advice)
{
	static const int advices[] = { [DONTNEED] = MADV_DONTNEED };
	void *address;

	step_begin();
	address = host_address(vm, gpa, size);
	step_s64("ret", madvise(address, size, advices[advice]) ? -errno : 0);
	trace_record();
	step_end();
}
