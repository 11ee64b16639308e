/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM as the runtime keeps it, for the files that make up the runtime. */
#ifndef HX_VM_H
#define HX_VM_H

#include "guest.h"
#include "guest_layout.h"

#define MAX_VCPUS	16
#define MAX_SLOTS	512

struct kvm_run;

/* The page at RUNTIME_MAILBOXES is an array of these; see guest_layout.h. */
struct mailbox {
	u32 op;
	u32 clean;		/* make a store visible to instruction fetches */
	u64 gpa;
	u64 value;
	u32 event;
	u32 unused;
	u64 data;
	u64 esr;
	u64 far;
} __attribute__((aligned(MAILBOX_SIZE)));

struct vcpu {
	int fd;
	struct kvm_run *run;
	struct mailbox *mailbox;
};

struct slot {
	bool used;
	u32 flags;
	u64 gpa;
	u64 size;
	void *memory;
	size_t mapped;		/* bytes mapped at memory: size in whole pages */
};

struct vm {
	int fd;
	u32 vcpus;
	size_t page_size;
	bool clean_stores;	/* CTR_EL0.IDC is 0 */
	char *runtime;		/* host address of RESERVED_START */
	u32 tables;		/* stage-1 tables handed out */
	u32 slots;		/* slot ids seen are below this */
	struct vcpu vcpu[MAX_VCPUS];
	struct slot slot[MAX_SLOTS];
};

/* What runs in the guest (guest_code.S), to be copied to RUNTIME_CODE. */
extern const char guest_code[], guest_next[], guest_code_end[];

/* ioctl: its value, or -errno. */
int kvm_ioctl(int fd, unsigned long request, const void *argument);

/* Lets the guest's stage-1 tables cover the gigabyte that holds this address. */
void stage1_cover(struct vm *vm, u64 gpa);

/* Fresh private memory without huge pages, aligned to 2M; NULL with errno. */
void *anon_memory(size_t size);

/* The slot of this id, in use or not; ends the scenario where no slot can have it. */
struct slot *slot_of(struct vm *vm, u32 id);

/* The slot in use that holds all of [gpa, gpa + size), or NULL. */
struct slot *slot_at(struct vm *vm, u64 gpa, u64 size);

/* Sets up a vCPU to run the guest loop with the MMU on. */
void vcpu_create(struct vm *vm, u32 index, int run_size);

/* Lets a vCPU touch every page that it needs, so that no step has to. */
void vcpu_warm(struct vm *vm, u32 index);

#endif /* HX_VM_H */
