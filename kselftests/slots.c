// SPDX-License-Identifier: GPL-2.0-only
/* Memslots: KVM_SET_USER_MEMORY_REGION, and the memory behind them. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>

#include "record.h"
#include "trace.h"
#include "vm.h"

/* The code in a prefilled page: movz w0, #n; ret. */
#define INSN_MOVZ_W0	0x52800000UL
#define INSN_RET	0xd65f03c0UL

/* --- bookkeeping ------------------------------------------------------------- */

struct slot *slot_of(struct vm *vm, u32 id)
{
	if (id >= MAX_SLOTS || id == RUNTIME_SLOT)
		scenario_infra("slot %u is not for scenarios", id);
	if (id >= vm->slots)
		vm->slots = id + 1;
	return &vm->slot[id];
}

struct slot *slot_at(struct vm *vm, u64 gpa, u64 size)
{
	struct slot *slot;

	for (slot = vm->slot; slot < vm->slot + vm->slots; slot++)
		if (slot->used && gpa >= slot->gpa && size <= slot->size &&
		    gpa - slot->gpa <= slot->size - size)
			return slot;
	return NULL;
}

/* The slot as the kernel is to see it; it becomes the slot if the kernel agrees. */
static int set_region(struct vm *vm, u32 id, const struct slot *wanted)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.flags = wanted->flags,
		.guest_phys_addr = wanted->gpa,
		.memory_size = wanted->size,
		.userspace_addr = (u64)wanted->memory,
	};

	return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void record_region(int ret)
{
	step_s64("ret", ret);
	trace_record();
	step_end();
}

/* --- slots -------------------------------------------------------------------- */

/* Writes every page, so that the host's page tables hold a writable one. */
static void prefill(struct vm *vm, struct slot *slot)
{
	char *page = slot->memory;
	size_t n, length;
	u64 code;

#ifdef MADV_POPULATE_WRITE
	/* Saves the faults; a kernel that lacks it takes them below. */
	madvise(slot->memory, slot->mapped, MADV_POPULATE_WRITE);
#endif
	for (n = 0; n < slot->mapped / vm->page_size; n++, page += vm->page_size) {
		code = INSN_RET << 32 | INSN_MOVZ_W0 | (n & 0xffff) << 5;
		memcpy(page, &code, sizeof(code));
		for (length = sizeof(code); length < vm->page_size; length *= 2)
			memcpy(page + length, page, length);
	}
	if (vm->clean_stores)
		__builtin___clear_cache(slot->memory, (char *)slot->memory + slot->mapped);
}

void slot_add(struct vm *vm, u32 id, u64 gpa, u64 size, u32 backing, u32 flags)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = { .used = true, .flags = flags, .gpa = gpa, .size = size };
	int ret;

	step_begin();
	wanted.mapped = round_up(size, vm->page_size);
	wanted.memory = anon_memory(wanted.mapped);
	if (!wanted.memory)
		scenario_infra("%llu bytes for slot %u: %s", (unsigned long long)size, id,
			       strerror(errno));
	if (backing & PREFILL)
		prefill(vm, &wanted);
	ret = set_region(vm, id, &wanted);
	if (ret) {
		munmap(wanted.memory, wanted.mapped);
	} else {
		if (slot->used)
			munmap(slot->memory, slot->mapped);
		*slot = wanted;
	}
	record_region(ret);
}

void slot_flags(struct vm *vm, u32 id, u32 flags)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret = -ENOENT;

	step_begin();
	wanted.flags = flags;
	if (slot->used)
		ret = set_region(vm, id, &wanted);
	if (!ret)
		*slot = wanted;
	record_region(ret);
}

void slot_move(struct vm *vm, u32 id, u64 gpa)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret = -ENOENT;

	step_begin();
	wanted.gpa = gpa;
	if (slot->used)
		ret = set_region(vm, id, &wanted);
	if (!ret)
		*slot = wanted;
	record_region(ret);
}

void slot_delete(struct vm *vm, u32 id)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret;

	step_begin();
	wanted.size = 0;
	wanted.flags = 0;
	ret = set_region(vm, id, &wanted);
	if (!ret && slot->used) {
		munmap(slot->memory, slot->mapped);
		memset(slot, 0, sizeof(*slot));
	}
	record_region(ret);
}
