/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The steps of a guest scenario, one function each, named as in the scenario
 * language. Each call is the next step, and writes that step's record.
 */
#ifndef HX_GUEST_H
#define HX_GUEST_H

#include "runner.h"
#include "types.h"

struct vm;

extern const struct suite guest_suite;

enum manual_protect {
	PROTECT_AUTO,		/* reading the dirty log also clears it */
	MANUAL_PROTECT,		/* KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE */
	INIT_SET,		/* and KVM_DIRTY_LOG_INITIALLY_SET */
};

struct vm_config {
	u32 vcpus;
	u32 ipa_bits;
	enum manual_protect manual_protect;
};

/* Backing memory of a slot. */
#define BACKING_ANON	0x0	/* private anonymous memory, no huge pages */
#define PREFILL		0x1	/* each page holds: movz w0, #page number; ret */

/* Flags of a slot: those of KVM_SET_USER_MEMORY_REGION. */
#define LOG_DIRTY	0x1
#define READONLY	0x2

/* For dirty_clear(). */
#define TO_SLOT_END	UINT64_MAX
struct page_list {
	size_t count;
	const u64 *pages;
};
#define ALL_PAGES	NULL
#define PAGES(...)	(&(const struct page_list){				\
				.count = sizeof((u64[]){ __VA_ARGS__ }) / 8,	\
				.pages = (const u64[]){ __VA_ARGS__ } })

enum advice {
	DONTNEED,		/* MADV_DONTNEED */
};

/*
 * The scenario's VM, with all its vCPUs; no step of its own. Ends the scenario
 * as a SKIP where this machine cannot have such a VM.
 */
struct vm *vm_create(struct vm_config config);

/* One access by a vCPU, of 1, 2, 4 or 8 bytes; exec calls the address. */
void guest_read(struct vm *vm, u32 vcpu, u64 gpa, u32 size);
void guest_write(struct vm *vm, u32 vcpu, u64 gpa, u32 size, u64 value);
void guest_exec(struct vm *vm, u32 vcpu, u64 gpa);

/*
 * KVM_SET_USER_MEMORY_REGION. Where the kernel refuses, the slots stay as they
 * were. slot_add with an id that is in use is the same call with new memory.
 * slot_flags and slot_move of an id that is not in use record -ENOENT: there is
 * no memory that the ioctl could be given.
 */
void slot_add(struct vm *vm, u32 slot, u64 gpa, u64 size, u32 backing, u32 flags);
void slot_flags(struct vm *vm, u32 slot, u32 flags);
void slot_move(struct vm *vm, u32 slot, u64 gpa);
void slot_delete(struct vm *vm, u32 slot);

/* KVM_GET_DIRTY_LOG. */
void dirty_get(struct vm *vm, u32 slot);

/*
 * KVM_CLEAR_DIRTY_LOG of [first_page, first_page + num_pages). TO_SLOT_END is
 * what remains of the slot behind first_page, which is 0 where nothing does or
 * no such slot is. The ioctl holds 32 bits of num_pages: more is cut to the
 * largest, which no slot has. The kernel looks at whole words of 64 pages; what
 * lies outside of the range's words cannot be named to it and is left out.
 */
void dirty_clear(struct vm *vm, u32 slot, u64 first_page, u64 num_pages,
		 const struct page_list *pages);

/* The host's own access to the memory behind a guest address. */
void host_read(struct vm *vm, u64 gpa, u32 size);
void host_write(struct vm *vm, u64 gpa, u32 size, u64 value);
void host_madvise(struct vm *vm, u64 gpa, u64 size, enum advice advice);

#endif /* HX_GUEST_H */
