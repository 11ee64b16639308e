// SPDX-License-Identifier: GPL-2.0-only
/* The vCPUs' dirty rings: taking what is in them, and giving it back. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>

#include "record.h"
#include "vm.h"

#ifndef KVM_DIRTY_LOG_PAGE_OFFSET
#define KVM_DIRTY_LOG_PAGE_OFFSET	0
#endif
/* The value on arm64; headers of kernels without the ring say 0. */
#define RING_PAGE_OFFSET	(KVM_DIRTY_LOG_PAGE_OFFSET ? KVM_DIRTY_LOG_PAGE_OFFSET : 64)

#ifndef KVM_RESET_DIRTY_RINGS
#define KVM_RESET_DIRTY_RINGS	_IO(KVMIO, 0xc7)
#endif
#define RING_F_DIRTY		(1u << 0)
#define RING_F_RESET		(1u << 1)
#define SLOT_ID(slot)		((slot) & 0xffff)	/* above it: the address space */

void ring_map(struct vm *vm, u32 index)
{
	struct vcpu *vcpu = &vm->vcpu[index];

	if (!vm->ring_entries)
		return;
	vcpu->ring = mmap(NULL, vm->ring_entries * sizeof(*vcpu->ring), PROT_READ | PROT_WRITE,
			  MAP_SHARED, vcpu->fd, RING_PAGE_OFFSET * vm->page_size);
	if (vcpu->ring == MAP_FAILED)
		scenario_infra("mmap of the dirty ring of vCPU %u: %s", index, strerror(errno));
}

void ring_unmap(struct vm *vm, u32 index)
{
	struct vcpu *vcpu = &vm->vcpu[index];

	if (vcpu->ring && vcpu->ring != MAP_FAILED)
		munmap(vcpu->ring, vm->ring_entries * sizeof(*vcpu->ring));
}

/* Takes entries until one is not dirty, and writes them into the record. */
static const char *harvest(struct vm *vm, u32 index, u64 count, const char *comma)
{
	struct vcpu *vcpu = &vm->vcpu[index];

	for (; vcpu->ring && count; count--) {
		struct ring_entry *entry = &vcpu->ring[vcpu->fetched % vm->ring_entries];

		if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & RING_F_DIRTY))
			break;
		record_text("%s[%u,%u,%llu]", comma, index, SLOT_ID(entry->slot),
			    (unsigned long long)entry->offset);
		comma = ",";
		__atomic_store_n(&entry->flags, RING_F_RESET, __ATOMIC_RELEASE);
		vcpu->fetched++;
	}
	return comma;
}

void ring_reset(struct vm *vm, u64 count)
{
	const char *comma = "";
	u32 i;

	step_begin();
	step_key("ring");
	record_text("[");
	for (i = 0; i < vm->vcpus; i++)
		comma = harvest(vm, i, count, comma);
	record_text("]");
	step_counts_flushes(vm);
	step_s64("ret", kvm_ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, NULL));
	step_finish(vm);
}
