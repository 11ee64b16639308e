// SPDX-License-Identifier: GPL-2.0-only
/* Memslots: KVM_SET_USER_MEMORY_REGION, and the memory behind them. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "record.h"
#include "vm.h"

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
		.userspace_addr = (u64)wanted->memory.slot,
	};

	return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void record_region(struct vm *vm, int ret)
{
	step_s64("ret", ret);
	step_finish(vm);
}

/* --- slots -------------------------------------------------------------------- */

void slot_make(struct vm *vm, u32 id, u64 gpa, u64 size, u32 flags, struct backing backing)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = { .used = true, .flags = flags, .gpa = gpa, .size = size };
	int ret;

	step_begin();
	wanted.memory = memory_new(&backing, size);
	ret = set_region(vm, id, &wanted);
	if (ret) {
		memory_free(&wanted.memory);
	} else {
		if (slot->used)
			memory_free(&slot->memory);
		*slot = wanted;
	}
	record_region(vm, ret);
}

void slot_flags(struct vm *vm, u32 id, u32 flags)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret = -ENOENT;

	step_begin();
	wanted.flags = flags;
	step_counts_flushes(vm);
	if (slot->used)
		ret = set_region(vm, id, &wanted);
	if (!ret)
		*slot = wanted;
	record_region(vm, ret);
}

void slot_move(struct vm *vm, u32 id, u64 gpa)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret = -ENOENT;

	step_begin();
	wanted.gpa = gpa;
	step_counts_flushes(vm);
	if (slot->used)
		ret = set_region(vm, id, &wanted);
	if (!ret)
		*slot = wanted;
	record_region(vm, ret);
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
		memory_free(&slot->memory);
		memset(slot, 0, sizeof(*slot));
	}
	record_region(vm, ret);
}
